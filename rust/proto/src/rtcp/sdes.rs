//! Source descriptions (RFC 3550 §6.5): only CNAME is read and written.

use super::{packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

const CNAME: u8 = 1;

/// A parsed source description.
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    chunks: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(chunks: u8, body: &'a [u8]) -> Sdes<'a> {
        Sdes { chunks, body }
    }

    /// `(source, CNAME)` of every chunk that has one; ends at the first malformed chunk. The name is raw bytes.
    pub fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> + use<'a> {
        let (mut left, mut rest) = (self.chunks, self.body);
        std::iter::from_fn(move || {
            while left > 0 {
                left -= 1;
                let ssrc = Ssrc(u32_at(rest, 0)?);
                let (name, len) = read_items(&rest[4..])?;
                rest = rest.get(4 + len..)?;
                if let Some(name) = name {
                    return Some((ssrc, name));
                }
            }
            None
        })
    }
}

/// Reads the items of one chunk: its CNAME and its length with the padding to 32 bits.
fn read_items(items: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    let (mut at, mut name) = (0, None);
    loop {
        let kind = *items.get(at)?;
        if kind == 0 {
            // The chunk starts on a word, so the end of its items is the next word border after the null.
            return Some((name, (at + 4) & !3));
        }
        let len = usize::from(*items.get(at + 1)?);
        let value = items.get(at + 2..at + 2 + len)?;
        if kind == CNAME {
            name = Some(value);
        }
        at += 2 + len;
    }
}

/// Appends a description with one CNAME per source; at most 31 sources, names cut at 255 bytes.
pub fn write_cname(out: &mut Vec<u8>, sources: &[(Ssrc, &str)]) {
    let sources = &sources[..sources.len().min(31)];
    write_packet(out, packet_type::SDES, sources.len() as u8, |out| {
        for (ssrc, name) in sources {
            let name = &name.as_bytes()[..name.len().min(255)];
            out.extend_from_slice(&ssrc.0.to_be_bytes());
            out.extend_from_slice(&[CNAME, name.len() as u8]);
            out.extend_from_slice(name);
            let padding = 4 - (2 + name.len()) % 4;
            out.extend_from_slice(&[0; 4][..padding]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};
    use proptest::prelude::*;

    const FIXTURE: &[u8] = &[
        0x82, 0xca, 0x00, 0x06, // SDES, two chunks
        0x00, 0x00, 0x00, 0x01, 0x01, 0x02, b'a', b'b', 0, 0, 0, 0, // a full word of padding
        0x00, 0x00, 0x00, 0x02, 0x01, 0x05, b'c', b'd', b'e', b'f', b'g', 0,
    ];

    #[test]
    fn two_chunks_are_parsed_and_written_alike() {
        let Some(Ok(RtcpPacket::Sdes(sdes))) = packets(FIXTURE).next() else { panic!("not a description") };
        let names: Vec<_> = sdes.cnames().collect();
        assert_eq!(names, [(Ssrc(1), &b"ab"[..]), (Ssrc(2), &b"cdefg"[..])]);
        let mut out = Vec::new();
        write_cname(&mut out, &[(Ssrc(1), "ab"), (Ssrc(2), "cdefg")]);
        assert_eq!(out, FIXTURE);
    }

    proptest! {
        #[test]
        fn names_round_trip(names in proptest::collection::vec("[a-z]{0,40}", 1..5)) {
            let sources: Vec<_> = names.iter().map(|name| (Ssrc(7), name.as_str())).collect();
            let mut out = Vec::new();
            write_cname(&mut out, &sources);
            let Some(Ok(RtcpPacket::Sdes(sdes))) = packets(&out).next() else { panic!("not a description") };
            let read: Vec<_> = sdes.cnames().map(|(ssrc, name)| (ssrc, std::str::from_utf8(name).unwrap())).collect();
            prop_assert_eq!(read, sources);
        }
    }
}
