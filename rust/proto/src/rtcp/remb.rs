//! Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

/// Application layer feedback (RFC 4585 §6.4).
pub(super) const FORMAT: u8 = 15;
const IDENTIFIER: &[u8; 4] = b"REMB";

pub(super) fn is_remb(body: &[u8]) -> bool {
    body.get(8..12) == Some(IDENTIFIER)
}

/// A parsed estimate.
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender: Ssrc,
    /// The estimate in bits per second, saturated.
    pub bitrate_bps: u64,
    sources: &'a [u8],
}

impl<'a> Remb<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Remb<'a>, RtcpError> {
        let sender = Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?);
        let word = u32_at(body, 12).ok_or(RtcpError::Short)?;
        let (count, exponent, mantissa) = ((word >> 24) as usize, (word >> 18) & 0x3f, u64::from(word & 0x3_ffff));
        let sources = body.get(16..16 + 4 * count).ok_or(RtcpError::Short)?;
        let bitrate_bps = if mantissa.leading_zeros() >= exponent { mantissa << exponent } else { u64::MAX };
        Ok(Remb { sender, bitrate_bps, sources })
    }

    /// The sources that the estimate is about.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.sources.chunks_exact(4).filter_map(|word| u32_at(word, 0)).map(Ssrc)
    }
}

/// Appends an estimate; the bitrate is rounded down to 18 significant bits; at most 255 sources.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, bitrate_bps: u64, sources: &[Ssrc]) {
    let sources = &sources[..sources.len().min(255)];
    let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate_bps >> exponent) as u32;
    write_packet(out, packet_type::PSFB, FORMAT, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(IDENTIFIER);
        out.extend_from_slice(&(((sources.len() as u32) << 24) | (exponent << 18) | mantissa).to_be_bytes());
        for source in sources {
            out.extend_from_slice(&source.0.to_be_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};
    use proptest::prelude::*;

    #[test]
    fn an_estimate_is_parsed_and_written_alike() {
        let fixture =
            [0x8f, 0xce, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0b, 0xd0, 0x90, 0, 0, 0, 9];
        let Some(Ok(RtcpPacket::Remb(remb))) = packets(&fixture).next() else { panic!("not an estimate") };
        assert_eq!(remb.bitrate_bps, 0x3_d090 << 2);
        assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [Ssrc(9)]);
        let mut out = Vec::new();
        write(&mut out, remb.sender, remb.bitrate_bps, &[Ssrc(9)]);
        assert_eq!(out, fixture);
    }

    #[test]
    fn other_application_feedback_is_passed_over() {
        let bytes = [0x8f, 0xce, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'X', b'Y', b'Z', b'Z'];
        assert!(matches!(packets(&bytes).next(), Some(Ok(RtcpPacket::Other { packet_type: 206, count: 15 }))));
    }

    proptest! {
        #[test]
        fn a_bitrate_keeps_its_eighteen_leading_bits(bitrate: u64) {
            let mut out = Vec::new();
            write(&mut out, Ssrc(1), bitrate, &[]);
            let Some(Ok(RtcpPacket::Remb(remb))) = packets(&out).next() else { panic!("not an estimate") };
            prop_assert!(remb.bitrate_bps <= bitrate);
            prop_assert!(bitrate - remb.bitrate_bps <= bitrate >> 17);
        }
    }
}
