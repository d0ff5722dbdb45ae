//! Going over to another source: what still waits of the old one is of no use then, and its numbers are taken back.

use super::{DownTrack, Source};
use crate::rtp::Ssrc;
use crate::sfu::packet::PacketMeta;

impl DownTrack {
    /// Whether this packet begins another source than the one that flows.
    pub fn goes_over_with(&self, meta: &PacketMeta) -> bool {
        let source = Source { up: meta.up, layer: meta.layer, stream: meta.stream };
        meta.keyframe_start
            && self.active
            && self.playing.is_none()
            && self.source.is_some_and(|current| current != source)
            && self.check_layer(source).is_ok()
    }

    /// The SSRCs under which it sends: pictures, and what is sent again.
    pub fn ssrcs(&self) -> (Ssrc, Option<Ssrc>) {
        (self.config.ssrc, self.config.rtx_ssrc)
    }

    /// Whether the frame with this timestamp, of which `sequence` waits, has begun to leave; where that is not known, yes.
    pub fn has_begun(&self, timestamp: u32, sequence: u64) -> bool {
        let Some(retransmitter) = &self.retransmitter else { return true };
        sequence.checked_sub(1).and_then(|before| retransmitter.timestamp_of(before)) == Some(timestamp)
    }

    /// Takes back the latest sequence numbers as far as `waits` says of each that its packet has not left; gives out the
    /// first of them. What was sent before is not sent again: the receiver goes on without it.
    pub fn take_back(&mut self, waits: impl Fn(u64) -> bool) -> u64 {
        let first = self.sequence.take_back(waits);
        if let Some(retransmitter) = &mut self.retransmitter {
            retransmitter.abandon_before(first);
        }
        first
    }

    /// So many packets and pictures of what was forwarded never leave.
    pub fn uncount(&mut self, packets: u64, octets: u64, pictures: u64) {
        self.stats.packets = self.stats.packets.saturating_sub(packets);
        self.stats.octets = self.stats.octets.saturating_sub(octets);
        self.vp8.take_back(pictures);
        self.vp9.take_back(pictures);
    }
}
