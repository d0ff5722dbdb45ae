//! Picture loss indication (RFC 4585 §6.3.1).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

pub(super) const FORMAT: u8 = 1;

/// A parsed picture loss indication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender: Ssrc,
    /// Whose picture is lost.
    pub media: Ssrc,
}

impl Pli {
    pub(super) fn parse(body: &[u8]) -> Result<Pli, RtcpError> {
        Ok(Pli {
            sender: Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?),
            media: Ssrc(u32_at(body, 4).ok_or(RtcpError::Short)?),
        })
    }
}

/// Appends a picture loss indication.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) {
    write_packet(out, packet_type::PSFB, FORMAT, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&media.0.to_be_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};

    #[test]
    fn an_indication_is_parsed_and_written_alike() {
        let fixture = [0x81, 0xce, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let Some(Ok(RtcpPacket::Pli(pli))) = packets(&fixture).next() else { panic!("not a PLI") };
        assert_eq!(pli, Pli { sender: Ssrc(1), media: Ssrc(2) });
        let mut out = Vec::new();
        write(&mut out, pli.sender, pli.media);
        assert_eq!(out, fixture);
    }
}
