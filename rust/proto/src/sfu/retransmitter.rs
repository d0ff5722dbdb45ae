//! Answers one receiver's NACKs (RFC 4585) by retransmissions under an SSRC of their own (RFC 4588).
//!
//! A packet is never encrypted twice under its own index. What went out is remembered by how it was rewritten; the
//! payload stays in the ring of its source layer.

use super::drops::MediaDrop;
use super::packet::{MAX_DESCRIPTOR, PacketMeta, Rewrite, UpPacket};
use crate::codec::dependency_writer::Outgoing;
use crate::rtp::Ssrc;
use crate::time::Time;
use std::time::Duration;

/// Packets remembered; a power of two.
const REMEMBERED: usize = 512;
/// Bytes of the original sequence number in front of the payload (RFC 4588 §4).
pub const ORIGINAL_SEQUENCE: usize = 2;
/// Retransmissions may take a quarter of what is sent, saved up to a burst.
const SHARE_SHIFT: u32 = 2;
const BURST_OCTETS: u32 = 48 * 1024;
/// Least time between two answers about one packet, when the round trip is not known or tiny.
const LEAST_INTERVAL: Duration = Duration::from_millis(15);
/// Answers about one packet.
const MOST_ANSWERS: u8 = 6;

/// Probes are filled with the longest of so many of the latest packets, if it is longer than this.
const PADDED: u64 = 16;
const WORTH_PADDING: usize = 100;

/// How a packet left.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    sequence: u64,
    /// Where its payload is: layer, generation and number in its source. A hole has none.
    source_sequence: u64,
    stream: u32,
    layer: u8,
    is_hole: bool,
    marker: bool,
    payload_type: u8,
    timestamp: u32,
    prefix: [u8; MAX_DESCRIPTOR],
    prefix_len: u8,
    skip: u16,
    dependency: Option<Outgoing>,
    answers: u8,
    answered_ms: u64,
}

impl Sent {
    fn original(&self) -> Original {
        Original { layer: self.layer, stream: self.stream, sequence: self.source_sequence }
    }
}

/// Where the payload of a packet that is sent later, or again, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Index of the layer.
    pub layer: u8,
    /// Generation of its stream.
    pub stream: u32,
    /// Sequence number in the source.
    pub sequence: u64,
}

impl Original {
    /// Where a packet lies once its layer's ring has it.
    pub fn of(meta: &PacketMeta) -> Original {
        Original { layer: meta.layer, stream: meta.stream, sequence: meta.sequence }
    }
}

/// What answers one missing number.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// How the packet left, with its sequence number in front of the payload.
    pub rewrite: Rewrite,
    /// What it carries; `None` for a number that was left open on purpose.
    pub packet: Option<UpPacket<'a>>,
    /// Whether it is the first answer about this packet.
    pub is_first: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Retransmitter {
    ssrc: Ssrc,
    sequence: u64,
    sent: Box<[Sent]>,
    budget: u32,
    newest: u64,
    /// Numbers before this are not sent again.
    abandoned: u64,
}

impl Retransmitter {
    /// Nothing sent yet.
    pub fn new(ssrc: Ssrc) -> Retransmitter {
        // RFC 3711 §3.3.1: below 2^15, as every first sequence number.
        let sequence = u64::from(ssrc.0.wrapping_mul(0x9e37_79b1) >> 17);
        let sent = vec![Sent { sequence: u64::MAX, ..Sent::default() }; REMEMBERED].into_boxed_slice();
        Retransmitter { ssrc, sequence, sent, budget: BURST_OCTETS / 2, newest: 0, abandoned: 0 }
    }

    /// Forgets what was sent: its source is another one now.
    pub fn forget(&mut self) {
        self.sent.fill(Sent { sequence: u64::MAX, ..Sent::default() });
    }

    /// The timestamp under which a number was forwarded.
    pub fn timestamp_of(&self, sequence: u64) -> Option<u32> {
        let sent = &self.sent[sequence as usize % REMEMBERED];
        (sent.sequence == sequence && !sent.is_hole).then_some(sent.timestamp)
    }

    /// What lies before `sequence` is not sent again: the line is full, and the receiver goes on without it.
    pub fn abandon_before(&mut self, sequence: u64) {
        self.abandoned = sequence;
        self.newest = sequence.saturating_sub(1);
    }

    /// Remembers a packet that leaves.
    pub fn remember(&mut self, rewrite: &Rewrite, meta: &PacketMeta, octets: usize) {
        self.budget = (self.budget + (octets as u32 >> SHARE_SHIFT)).min(BURST_OCTETS);
        let mut prefix = [0; MAX_DESCRIPTOR];
        let len = rewrite.prefix().len().min(prefix.len());
        prefix[..len].copy_from_slice(&rewrite.prefix()[..len]);
        self.newest = rewrite.sequence;
        self.sent[rewrite.sequence as usize % REMEMBERED] = Sent {
            sequence: rewrite.sequence,
            source_sequence: meta.sequence,
            stream: meta.stream,
            layer: meta.layer,
            is_hole: false,
            marker: rewrite.marker,
            payload_type: rewrite.payload_type,
            timestamp: rewrite.timestamp,
            prefix,
            prefix_len: len as u8,
            skip: rewrite.skip,
            dependency: rewrite.dependency,
            answers: 0,
            answered_ms: 0,
        };
    }

    /// Remembers a number that stays open on purpose: a packet left out after a later one had gone.
    pub fn remember_hole(&mut self, sequence: u64, timestamp: u32, payload_type: u8) {
        self.sent[sequence as usize % REMEMBERED] =
            Sent { sequence, is_hole: true, timestamp, payload_type, ..Sent::default() };
    }

    /// How a missing packet is sent again under `payload_type`; `blank` gives what all packets of the track share.
    ///
    /// The errors are [`MediaDrop::NackUnknown`], which only a keyframe helps, and [`MediaDrop::NackAbandoned`],
    /// [`MediaDrop::NackRepeated`] and [`MediaDrop::NackLimit`], which are nobody's loss but the receiver's.
    pub fn answer<'a>(
        &mut self,
        sequence: u16,
        payload_type: impl FnOnce(u8) -> Option<u8>,
        find: impl FnOnce(&Original) -> Option<UpPacket<'a>>,
        round_trip: Option<Duration>,
        blank: &Rewrite,
        now: Time,
    ) -> Result<Answer<'a>, MediaDrop> {
        let sent = &mut self.sent[usize::from(sequence) % REMEMBERED];
        if sent.sequence == u64::MAX || sent.sequence as u16 != sequence {
            return Err(MediaDrop::NackUnknown);
        }
        if sent.sequence < self.abandoned {
            return Err(MediaDrop::NackAbandoned);
        }
        let interval = round_trip.map_or(LEAST_INTERVAL, |round_trip| (round_trip / 2).max(LEAST_INTERVAL));
        let since_ms = u128::from(now.as_millis().saturating_sub(sent.answered_ms));
        if sent.answers >= MOST_ANSWERS || (sent.answers > 0 && since_ms < interval.as_millis()) {
            return Err(MediaDrop::NackRepeated);
        }
        let payload_type = payload_type(sent.payload_type).ok_or(MediaDrop::NackUnknown)?;
        let packet = if sent.is_hole { None } else { Some(find(&sent.original()).ok_or(MediaDrop::NackUnknown)?) };
        let octets = packet.map_or(0, |packet| packet.payload.len() as u32);
        self.budget = self.budget.checked_sub(octets).ok_or(MediaDrop::NackLimit)?;
        (sent.answers, sent.answered_ms) = (sent.answers + 1, now.as_millis());
        let sent = *sent;
        Ok(Answer { is_first: sent.answers == 1, ..self.again(&sent, payload_type, packet, blank) })
    }

    /// The longest of the latest packets once more, though nobody has asked for it: what fills a probe. `None` when there is
    /// nothing to repeat.
    pub fn pad<'a>(
        &mut self,
        payload_type: impl FnOnce(u8) -> Option<u8>,
        find: impl Fn(&Original) -> Option<UpPacket<'a>>,
        blank: &Rewrite,
    ) -> Option<Answer<'a>> {
        let latest = (0..PADDED).filter_map(|back| {
            let sequence = self.newest.checked_sub(back)?;
            let sent = self.sent[sequence as usize % REMEMBERED];
            let known = sent.sequence == sequence && !sent.is_hole;
            Some((sent, find(&sent.original()).filter(|packet| known && packet.payload.len() > WORTH_PADDING)?))
        });
        let (sent, packet) = latest.max_by_key(|(_, packet)| packet.payload.len())?;
        let payload_type = payload_type(sent.payload_type)?;
        Some(self.again(&sent, payload_type, Some(packet), blank))
    }

    /// A packet of nothing but padding, for when there is nothing to repeat.
    pub fn padding(&mut self, payload_type: u8, blank: &Rewrite) -> Rewrite {
        let sequence = self.sequence;
        self.sequence += 1;
        let timestamp = self.sent[self.newest as usize % REMEMBERED].timestamp;
        Rewrite { ssrc: self.ssrc, sequence, timestamp, payload_type, is_repair: true, is_padding: true, ..*blank }
    }

    fn again<'a>(
        &mut self,
        sent: &Sent,
        payload_type: u8,
        packet: Option<UpPacket<'a>>,
        blank: &Rewrite,
    ) -> Answer<'a> {
        let mut rewrite = Rewrite {
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp: sent.timestamp,
            payload_type,
            marker: sent.marker,
            is_repair: true,
            skip: sent.skip,
            prefix_len: (ORIGINAL_SEQUENCE + usize::from(sent.prefix_len)) as u8,
            ..*blank
        };
        self.sequence += 1;
        rewrite.prefix[..ORIGINAL_SEQUENCE].copy_from_slice(&(sent.sequence as u16).to_be_bytes());
        let end = ORIGINAL_SEQUENCE + usize::from(sent.prefix_len);
        rewrite.prefix[ORIGINAL_SEQUENCE..end].copy_from_slice(&sent.prefix[..usize::from(sent.prefix_len)]);
        if let Some(packet) = packet {
            rewrite.dependency = sent.dependency;
            rewrite.video_orientation = packet.meta.video_orientation.filter(|_| blank.ids.video_orientation != 0);
        }
        Answer { rewrite, packet, is_first: false }
    }
}
