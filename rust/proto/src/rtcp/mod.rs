//! RTCP (RFC 3550 §6, RFC 4585, RFC 5104): compound iteration here, one file per format beside it.

pub mod bye;
pub mod fir;
pub mod nack;
pub mod ntp;
pub mod pli;
pub mod receiver_report;
pub mod remb;
pub mod report_block;
pub mod sdes;
pub mod sender_report;
pub mod tmmbr;
pub mod twcc;

pub use bye::Bye;
pub use fir::Fir;
pub use nack::Nack;
pub use ntp::{NtpTime, WallClock};
pub use pli::Pli;
pub use receiver_report::ReceiverReport;
pub use remb::Remb;
pub use report_block::ReportBlock;
pub use sdes::Sdes;
pub use sender_report::{SenderInfo, SenderReport};
pub use tmmbr::Tmmbr;
pub use twcc::TwccFeedback;

use crate::rtp::bytes::u16_at;

/// RTCP packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611).
pub mod packet_type {
    /// Sender report.
    pub const SR: u8 = 200;
    /// Receiver report.
    pub const RR: u8 = 201;
    /// Source description.
    pub const SDES: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Transport-layer feedback.
    pub const RTPFB: u8 = 205;
    /// Payload-specific feedback.
    pub const PSFB: u8 = 206;
    /// Extended reports, ignored.
    pub const XR: u8 = 207;
}

/// Why bytes are not an RTCP compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet or its contents are cut short.
    #[error("an RTCP packet runs over its end")]
    Short,
    /// Not version 2.
    #[error("the RTCP version is not 2")]
    Version,
    /// The padding count does not fit.
    #[error("the RTCP padding count does not fit the packet")]
    Padding,
    /// A field has a value that the format does not allow.
    #[error("an RTCP field has an impossible value")]
    Value,
}

/// One packet of a compound; borrows the datagram.
#[derive(Clone, Copy, Debug)]
pub enum RtcpPacket<'a> {
    /// Sender report.
    SenderReport(SenderReport<'a>),
    /// Receiver report.
    ReceiverReport(ReceiverReport<'a>),
    /// Source description.
    Sdes(Sdes<'a>),
    /// Goodbye.
    Bye(Bye<'a>),
    /// Generic NACK.
    Nack(Nack<'a>),
    /// Picture loss indication.
    Pli(Pli),
    /// Full intra request.
    Fir(Fir<'a>),
    /// Receiver's estimate of the bitrate.
    Remb(Remb<'a>),
    /// Request for a lower rate.
    Tmmbr(Tmmbr<'a>),
    /// Transport-wide congestion control feedback.
    Twcc(TwccFeedback<'a>),
    /// A well-formed packet of a type that this project does not read (APP, XR, other feedback).
    Other {
        /// RTCP packet type.
        packet_type: u8,
        /// Count or feedback message type.
        count: u8,
    },
}

/// Iterates over the packets of a compound or reduced-size (RFC 5506) datagram; ends after the first error.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram }
}

/// Iterator of [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split(self.rest) {
            Ok((header, body, rest)) => {
                self.rest = rest;
                let parsed = parse_body(header, body);
                if parsed.is_err() {
                    self.rest = &[];
                }
                Some(parsed)
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Count (or format) and type of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    count: u8,
    packet_type: u8,
}

/// Splits the first packet off: its header, its body without padding, and what follows.
fn split(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), RtcpError> {
    let words = u16_at(bytes, 2).ok_or(RtcpError::Short)?;
    if bytes[0] >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let len = 4 * (usize::from(words) + 1);
    if bytes.len() < len {
        return Err(RtcpError::Short);
    }
    let (packet, rest) = bytes.split_at(len);
    let mut body = &packet[4..];
    if packet[0] & 0x20 != 0 {
        let padding = usize::from(body.last().copied().ok_or(RtcpError::Padding)?);
        if padding == 0 {
            return Err(RtcpError::Padding);
        }
        body = &body[..body.len().checked_sub(padding).ok_or(RtcpError::Padding)?];
    }
    Ok((Header { count: packet[0] & 0x1f, packet_type: packet[1] }, body, rest))
}

fn parse_body(header: Header, body: &[u8]) -> Result<RtcpPacket<'_>, RtcpError> {
    Ok(match (header.packet_type, header.count) {
        (packet_type::SR, count) => RtcpPacket::SenderReport(SenderReport::parse(count, body)?),
        (packet_type::RR, count) => RtcpPacket::ReceiverReport(ReceiverReport::parse(count, body)?),
        (packet_type::SDES, count) => RtcpPacket::Sdes(Sdes::parse(count, body)),
        (packet_type::BYE, count) => RtcpPacket::Bye(Bye::parse(count, body)?),
        (packet_type::RTPFB, nack::FORMAT) => RtcpPacket::Nack(Nack::parse(body)?),
        (packet_type::RTPFB, tmmbr::FORMAT) => RtcpPacket::Tmmbr(Tmmbr::parse(body)?),
        (packet_type::RTPFB, twcc::FORMAT) => RtcpPacket::Twcc(TwccFeedback::parse(body)?),
        (packet_type::PSFB, pli::FORMAT) => RtcpPacket::Pli(Pli::parse(body)?),
        (packet_type::PSFB, fir::FORMAT) => RtcpPacket::Fir(Fir::parse(body)?),
        (packet_type::PSFB, remb::FORMAT) if remb::is_remb(body) => RtcpPacket::Remb(Remb::parse(body)?),
        (packet_type, count) => RtcpPacket::Other { packet_type, count },
    })
}

/// Appends one packet: head, then what `body` writes, then the length; `body` must write whole words.
fn write_packet(out: &mut Vec<u8>, packet_type: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | (count & 0x1f), packet_type, 0, 0]);
    body(out);
    debug_assert!((out.len() - start).is_multiple_of(4), "an RTCP packet is made of 32-bit words");
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Ssrc;
    use proptest::prelude::*;

    #[test]
    fn a_compound_is_iterated_in_order() {
        let mut out = Vec::new();
        receiver_report::write(&mut out, Ssrc(1), &[]);
        sdes::write_cname(&mut out, &[(Ssrc(1), "c")]);
        pli::write(&mut out, Ssrc(1), Ssrc(2));
        let kinds: Vec<_> = packets(&out).map(|packet| std::mem::discriminant(&packet.unwrap())).collect();
        assert_eq!(kinds.len(), 3);
        assert!(matches!(packets(&out).last(), Some(Ok(RtcpPacket::Pli(_)))));
    }

    #[test]
    fn a_cut_compound_ends_with_one_error() {
        let mut out = Vec::new();
        pli::write(&mut out, Ssrc(1), Ssrc(2));
        pli::write(&mut out, Ssrc(1), Ssrc(2));
        let results: Vec<_> = packets(&out[..out.len() - 1]).collect();
        assert_eq!(results.len(), 2);
        assert_eq!(results[1].unwrap_err(), RtcpError::Short);
    }

    #[test]
    fn extended_reports_are_passed_over() {
        let mut out = vec![0x80, packet_type::XR, 0, 1, 0, 0, 0, 1];
        pli::write(&mut out, Ssrc(1), Ssrc(2));
        let all: Result<Vec<_>, _> = packets(&out).collect();
        assert!(matches!(all.unwrap()[..], [RtcpPacket::Other { packet_type: 207, .. }, RtcpPacket::Pli(_)]));
    }

    #[test]
    fn padding_is_taken_off_and_checked() {
        let mut out = Vec::new();
        pli::write(&mut out, Ssrc(1), Ssrc(2));
        out[0] |= 0x20;
        out[3] += 1;
        out.extend_from_slice(&[0, 0, 0, 4]);
        assert!(matches!(packets(&out).next(), Some(Ok(RtcpPacket::Pli(_)))));
        *out.last_mut().unwrap() = 200;
        assert_eq!(packets(&out).next().unwrap().unwrap_err(), RtcpError::Padding);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            kind in 200u8..208, count in 0u8..32, body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut datagram = vec![0x80 | count, kind, 0, (body.len() / 4) as u8];
            datagram.extend_from_slice(&body);
            for packet in packets(&datagram) {
                exhaust(packet);
            }
            for packet in packets(&body) {
                exhaust(packet);
            }
        }
    }

    fn exhaust(packet: Result<RtcpPacket<'_>, RtcpError>) {
        match packet {
            Ok(RtcpPacket::SenderReport(report)) => drop(report.blocks().count()),
            Ok(RtcpPacket::ReceiverReport(report)) => drop(report.blocks().count()),
            Ok(RtcpPacket::Sdes(sdes)) => drop(sdes.cnames().count()),
            Ok(RtcpPacket::Bye(bye)) => drop(bye.ssrcs().count()),
            Ok(RtcpPacket::Nack(nack)) => drop(nack.sequences().count()),
            Ok(RtcpPacket::Fir(fir)) => drop(fir.entries().count()),
            Ok(RtcpPacket::Remb(remb)) => drop(remb.ssrcs().count()),
            Ok(RtcpPacket::Tmmbr(tmmbr)) => drop(tmmbr.entries().count()),
            Ok(RtcpPacket::Twcc(twcc)) => drop(twcc.packets().count()),
            Ok(RtcpPacket::Pli(_) | RtcpPacket::Other { .. }) | Err(_) => {}
        }
    }
}
