//! Goodbyes (RFC 3550 §6.6).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

/// A parsed goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    sources: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Bye<'a>, RtcpError> {
        Ok(Bye { sources: body.get(..4 * usize::from(count)).ok_or(RtcpError::Short)? })
    }

    /// The sources that left.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.sources.chunks_exact(4).filter_map(|word| u32_at(word, 0)).map(Ssrc)
    }
}

/// Appends a goodbye without a reason, for at most 31 sources.
pub fn write(out: &mut Vec<u8>, sources: &[Ssrc]) {
    let sources = &sources[..sources.len().min(31)];
    write_packet(out, packet_type::BYE, sources.len() as u8, |out| {
        for source in sources {
            out.extend_from_slice(&source.0.to_be_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};

    #[test]
    fn a_goodbye_with_a_reason_names_its_sources() {
        let fixture = [0x81, 0xcb, 0, 3, 0, 0, 0, 9, 4, b'd', b'o', b'n', b'e', 0, 0, 0];
        let Some(Ok(RtcpPacket::Bye(bye))) = packets(&fixture).next() else { panic!("not a goodbye") };
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [Ssrc(9)]);
    }

    #[test]
    fn what_is_written_is_parsed_again() {
        let mut out = Vec::new();
        write(&mut out, &[Ssrc(1), Ssrc(2)]);
        let Some(Ok(RtcpPacket::Bye(bye))) = packets(&out).next() else { panic!("not a goodbye") };
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
    }
}
