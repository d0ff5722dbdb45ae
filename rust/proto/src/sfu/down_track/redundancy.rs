//! Redundant audio (RFC 2198) towards one receiver: as it is where that takes it, else its packets by themselves.

use super::{DownTrack, Source};
use crate::codec::{Codec, Descriptor, red};
use crate::sfu::packet::{Rewrite, UpPacket};
use crate::sfu::rewriter::Capture;
use crate::time::Time;
use std::time::Duration;

impl DownTrack {
    /// Whether the receiver negotiated redundancy of this format. Its payload type inside the blocks is rewritten where
    /// there are two of them, which is what browsers send.
    pub(super) fn takes_redundancy(&self, codec: Codec, red: &red::Descriptor) -> bool {
        let inner = self.payloads.type_for(red.codec);
        self.payloads.type_for(codec).is_some()
            && inner.is_some_and(|inner| inner == red.payload_type || red.blocks <= 2)
    }

    /// Puts the receiver's payload types into the headers of the blocks, or takes all off that was sent before.
    pub(super) fn rewrap(&self, red: &red::Descriptor, codec: Codec, rewrite: &mut Rewrite) {
        if !self.takes_redundancy(codec, red) {
            rewrite.skip = red.start;
            return;
        }
        if let Some(inner) = self.payloads.type_for(red.codec).filter(|inner| *inner != red.payload_type)
            && let Some(len) = red.write(inner, &mut rewrite.prefix)
        {
            (rewrite.prefix_len, rewrite.skip) = (len, u16::from(len));
        }
    }

    /// The packet sent `back` packets before this one, if it has not come and this one holds it, for a receiver that
    /// takes no redundancy: how it leaves, and its payload. Ask before [`DownTrack::forward`], the oldest first.
    pub fn recover<'a>(&mut self, packet: &UpPacket<'a>, back: usize, now: Time) -> Option<(Rewrite, &'a [u8])> {
        let meta = &packet.meta;
        let Descriptor::Red(red) = &meta.descriptor else { return None };
        let earlier = red.earlier(back)?;
        let source = Source { up: meta.up, layer: meta.layer, stream: meta.stream };
        let flows = self.active && self.playing.is_none() && self.source == Some(source) && !self.dtmf.in_event();
        // Behind what was sent last: what was not sound, or was sent already, is not meant.
        let timestamp = meta.timestamp.wrapping_sub(u32::from(earlier.offset));
        if !flows || self.takes_redundancy(meta.codec, red) || !self.timestamp.is_ahead(timestamp) {
            return None;
        }
        let sequence = meta.sequence.checked_sub(back as u64)?;
        let payload = packet.payload.get(usize::from(earlier.start)..usize::from(earlier.start + earlier.len))?;
        let payload_type = self.payload_type(red.codec).ok()?;
        let sequence = self.sequence.map(sequence).ok()?;
        let before = Duration::from_secs(1) * u32::from(earlier.offset) / red.codec.clock_rate().max(1);
        let at = Time(meta.capture.at.min(now).0.saturating_sub(before.as_nanos() as u64));
        let timestamp = self.timestamp.map(timestamp, Capture { at, ..meta.capture });
        self.count(payload.len());
        self.stats.recovered += 1;
        Some((self.blank(sequence, timestamp, payload_type, false), payload))
    }
}
