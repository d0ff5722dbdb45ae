//! Temporary maximum media stream bit rate: request and notification (RFC 5104 §4.2.1, §4.2.2).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

pub(super) const FORMAT: u8 = 3;
const NOTIFICATION: u8 = 4;
/// Bits of the mantissa of a rate.
const MANTISSA_BITS: u32 = 17;
/// IPv4, UDP and RTP in front of a payload, in bytes; nine bits on the wire.
const OVERHEAD: u32 = 40;

/// What one source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source.
    pub media: Ssrc,
    /// Most bits per second, with the overhead of each packet; saturated.
    pub bitrate_bps: u64,
    /// Bytes of a packet that are not media.
    pub overhead: u16,
}

/// A parsed request.
#[derive(Clone, Copy, Debug)]
pub struct Tmmbr<'a> {
    /// Who asks.
    pub sender: Ssrc,
    entries: &'a [u8],
}

impl<'a> Tmmbr<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Tmmbr<'a>, RtcpError> {
        let sender = Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?);
        let entries = body.get(8..).ok_or(RtcpError::Short)?;
        if !entries.len().is_multiple_of(8) {
            return Err(RtcpError::Short);
        }
        Ok(Tmmbr { sender, entries })
    }

    /// What each source is asked for.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        self.entries.chunks_exact(8).filter_map(|entry| {
            let word = u32_at(entry, 4)?;
            let (exponent, mantissa) = (word >> 26, u64::from((word >> 9) & 0x1_ffff));
            let bitrate_bps = if mantissa.leading_zeros() >= exponent { mantissa << exponent } else { u64::MAX };
            Some(Entry { media: Ssrc(u32_at(entry, 0)?), bitrate_bps, overhead: (word & 0x1ff) as u16 })
        })
    }
}

/// Appends a request for the same rate of each source, rounded down to 17 significant bits.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, bitrate_bps: u64, sources: &[Ssrc]) {
    write_entries(out, FORMAT, sender, bitrate_bps, OVERHEAD, sources);
}

/// Appends the answer of the source `sender` to a request: the bound that it keeps to, and whose it is.
pub fn write_notification(out: &mut Vec<u8>, sender: Ssrc, bound: &Entry, owner: Ssrc) {
    write_entries(out, NOTIFICATION, sender, bound.bitrate_bps, u32::from(bound.overhead), &[owner]);
}

fn write_entries(out: &mut Vec<u8>, format: u8, sender: Ssrc, bitrate_bps: u64, overhead: u32, sources: &[Ssrc]) {
    let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = (bitrate_bps >> exponent) as u32;
    write_packet(out, packet_type::RTPFB, format, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        // RFC 5104 §4.2.1.2: the media source of the header is not used.
        out.extend_from_slice(&[0; 4]);
        for source in sources {
            out.extend_from_slice(&source.0.to_be_bytes());
            out.extend_from_slice(&((exponent << 26) | (mantissa << 9) | (overhead & 0x1ff)).to_be_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};
    use proptest::prelude::*;

    #[test]
    fn a_request_is_parsed_and_written_alike() {
        // 512000 = 0x1f400 << 2, with 40 bytes a packet.
        let fixture = [0x83, 0xcd, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0x0b, 0xe8, 0x00, 0x28];
        let Some(Ok(RtcpPacket::Tmmbr(tmmbr))) = packets(&fixture).next() else { panic!("not a request") };
        let expected = Entry { media: Ssrc(9), bitrate_bps: 512_000, overhead: 40 };
        assert_eq!(tmmbr.entries().collect::<Vec<_>>(), [expected]);
        let mut out = Vec::new();
        write(&mut out, tmmbr.sender, 512_000, &[Ssrc(9)]);
        assert_eq!(out, fixture);
    }

    proptest! {
        #[test]
        fn a_rate_keeps_its_seventeen_leading_bits(bitrate: u64) {
            let mut out = Vec::new();
            write(&mut out, Ssrc(1), bitrate, &[Ssrc(2)]);
            let Some(Ok(RtcpPacket::Tmmbr(tmmbr))) = packets(&out).next() else { panic!("not a request") };
            let read = tmmbr.entries().next().unwrap().bitrate_bps;
            prop_assert!(read <= bitrate);
            prop_assert!(bitrate - read <= bitrate >> 16);
        }
    }
}
