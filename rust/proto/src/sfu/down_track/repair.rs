//! Packets that the receiver missed.

use super::DownTrack;
use crate::codec::payload::PayloadEntry;
use crate::codec::{Codec, MediaKind, PayloadTable};
use crate::sfu::drops::MediaDrop;
use crate::sfu::packet::{Rewrite, UpPacket};
use crate::sfu::retransmitter::{Answer, Original, Retransmitter};
use crate::time::Time;

impl DownTrack {
    pub(super) fn prepare_repair(&mut self) {
        let negotiated = self.payloads.entries().iter().any(|entry| matches!(entry.codec, Codec::Rtx { .. }));
        match self.config.rtx_ssrc.filter(|_| negotiated && self.config.kind == MediaKind::Video) {
            // One that exists goes on: its sequence numbers are used up.
            Some(ssrc) if self.retransmitter.is_none() => {
                self.retransmitter = Some(Box::new(Retransmitter::new(ssrc)));
            }
            _ => {}
        }
    }

    /// Forgets what was sent, because its source is another one from now on.
    pub fn forget_sent(&mut self) {
        if let Some(retransmitter) = &mut self.retransmitter {
            retransmitter.forget();
        }
    }

    /// How the receiver is answered about a packet that it misses; `find` gives the payload.
    pub fn answer_nack<'a>(
        &mut self,
        sequence: u16,
        find: impl FnOnce(&Original) -> Option<UpPacket<'a>>,
        now: Time,
    ) -> Result<Answer<'a>, MediaDrop> {
        self.stats.nacked += 1;
        let blank = self.repair_blank();
        let retransmitter = self.retransmitter.as_mut().ok_or(MediaDrop::NackUnknown)?;
        let repair_type = |original| repair_type(&self.payloads, original);
        let answer = retransmitter.answer(sequence, repair_type, find, self.stats.round_trip, &blank, now)?;
        self.stats.retransmitted += 1;
        self.stats.recovered += u64::from(answer.is_first && answer.packet.is_some());
        Ok(answer)
    }

    /// Timestamp under which the last keyframe was forwarded; it may still wait for its turn.
    pub fn keyframe_sent(&self) -> Option<u32> {
        self.keyframe
    }

    /// A packet of the past that fills a probe of the line, or, when there is none, one of padding; `None` where the
    /// receiver takes no retransmissions. `find` gives the payload.
    pub fn pad<'a>(&mut self, find: impl Fn(&Original) -> Option<UpPacket<'a>>) -> Option<Answer<'a>> {
        let blank = self.repair_blank();
        let retransmitter = self.retransmitter.as_mut().filter(|_| self.active)?;
        let repeated = retransmitter.pad(|original| repair_type(&self.payloads, original), find, &blank);
        repeated.or_else(|| {
            let is_repair = |entry: &&PayloadEntry| matches!(entry.codec, Codec::Rtx { .. });
            let payload_type = self.payloads.entries().iter().find(is_repair)?.payload_type;
            Some(Answer { rewrite: retransmitter.padding(payload_type, &blank), packet: None, is_first: false })
        })
    }

    /// What all repairs share. They always name their section: no report ever says that the SSRC of repairs is known
    /// (RFC 9143 §14), and Firefox takes nothing of a section that has a `mid` but what comes under an SSRC with it.
    fn repair_blank(&self) -> Rewrite {
        let mid = self.config.mid.filter(|_| self.ids.mid != 0);
        Rewrite { mid, ..self.blank(0, 0, 0, false) }
    }
}

/// The payload type under which the receiver takes packets of `original` again.
fn repair_type(payloads: &PayloadTable, original: u8) -> Option<u8> {
    let mut entries = payloads.entries().iter();
    entries.find(|entry| entry.codec == Codec::Rtx { original }).map(|entry| entry.payload_type)
}
