//! Full intra request (RFC 5104 §4.3.1).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

pub(super) const FORMAT: u8 = 4;

/// A parsed full intra request.
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender: Ssrc,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Fir<'a>, RtcpError> {
        let sender = Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?);
        Ok(Fir { sender, entries: body.get(8..).ok_or(RtcpError::Short)? })
    }

    /// `(source asked, command number)`; a repeated number is a retransmission of the same request.
    pub fn entries(&self) -> impl Iterator<Item = (Ssrc, u8)> + use<'a> {
        self.entries.chunks_exact(8).filter_map(|entry| Some((Ssrc(u32_at(entry, 0)?), entry[4])))
    }
}

/// Appends a request to one source.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, command: u8) {
    write_packet(out, packet_type::PSFB, FORMAT, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&media.0.to_be_bytes());
        out.extend_from_slice(&[command, 0, 0, 0]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};

    #[test]
    fn a_request_is_parsed_and_written_alike() {
        let fixture = [0x84, 0xce, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 7, 0, 0, 0];
        let Some(Ok(RtcpPacket::Fir(fir))) = packets(&fixture).next() else { panic!("not a FIR") };
        assert_eq!(fir.entries().collect::<Vec<_>>(), [(Ssrc(2), 7)]);
        let mut out = Vec::new();
        write(&mut out, fir.sender, Ssrc(2), 7);
        assert_eq!(out, fixture);
    }
}
