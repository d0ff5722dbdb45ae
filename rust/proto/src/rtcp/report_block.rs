//! Report blocks of sender and receiver reports (RFC 3550 §6.4.1).

use crate::rtp::Ssrc;
use crate::rtp::bytes::{u24_at, u32_at};

/// Length of one block in bytes.
pub const LEN: usize = 24;
/// Most blocks in one report (the count has five bits).
pub const MAX_BLOCKS: usize = 31;

/// What a receiver says about one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported about.
    pub ssrc: Ssrc,
    /// Part of the packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative with duplicates; 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; zero when there was none.
    pub last_sr: u32,
    /// Time since that report, in 1/65536 seconds.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Parses one block from its 24 bytes.
    pub fn parse(bytes: &[u8]) -> Option<ReportBlock> {
        if bytes.len() < LEN {
            return None;
        }
        Some(ReportBlock {
            ssrc: Ssrc(u32_at(bytes, 0)?),
            fraction_lost: bytes[4],
            cumulative_lost: ((u24_at(bytes, 5)? << 8) as i32) >> 8,
            highest_sequence: u32_at(bytes, 8)?,
            jitter: u32_at(bytes, 12)?,
            last_sr: u32_at(bytes, 16)?,
            delay_since_last_sr: u32_at(bytes, 20)?,
        })
    }

    /// Appends the block; the cumulative loss is clamped to 24 bits.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());
        out.push(self.fraction_lost);
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        out.extend_from_slice(&lost.to_be_bytes()[1..]);
        for word in [self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Iterates over the whole blocks in `bytes`.
pub(super) fn iterate(bytes: &[u8]) -> impl Iterator<Item = ReportBlock> + Clone {
    bytes.chunks_exact(LEN).filter_map(ReportBlock::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_negative_loss_keeps_its_sign() {
        let block = ReportBlock { cumulative_lost: -2, ..ReportBlock::default() };
        let mut out = Vec::new();
        block.write(&mut out);
        assert_eq!(&out[5..8], &[0xff, 0xff, 0xfe]);
        assert_eq!(ReportBlock::parse(&out), Some(block));
    }

    proptest! {
        #[test]
        fn blocks_round_trip(
            ssrc: u32, fraction_lost: u8, cumulative_lost in -0x80_0000i32..0x80_0000,
            highest_sequence: u32, jitter: u32, last_sr: u32, delay_since_last_sr: u32,
        ) {
            let block = ReportBlock {
                ssrc: Ssrc(ssrc), fraction_lost, cumulative_lost, highest_sequence, jitter, last_sr,
                delay_since_last_sr,
            };
            let mut out = Vec::new();
            block.write(&mut out);
            prop_assert_eq!(out.len(), LEN);
            prop_assert_eq!(ReportBlock::parse(&out), Some(block));
        }
    }
}
