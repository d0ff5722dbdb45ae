//! The payload of a packet of redundant text: blocks of T.140, the oldest first, each with its length (RFC 2198 §3).

/// Most blocks of a packet; more is refused. RFC 4103 §4.2 recommends three.
pub const MAX_BLOCKS: usize = 8;
/// Longest block that another may follow, in bytes: its length has ten bits.
pub const MAX_BLOCK_BYTES: usize = 1023;
/// Length of the header of a block that is not the last one, in bytes.
const BLOCK_HEADER: usize = 4;

/// The blocks of one packet, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    blocks: [&'a [u8]; MAX_BLOCKS],
    len: usize,
}

impl<'a> Blocks<'a> {
    /// A packet without redundancy: its payload is one block.
    pub fn single(payload: &'a [u8]) -> Blocks<'a> {
        let mut blocks = [&payload[..0]; MAX_BLOCKS];
        blocks[0] = payload;
        Blocks { blocks, len: 1 }
    }

    /// Reads a redundant packet whose blocks all have the payload type `t140`. `None` for other formats, for what is
    /// cut short and for too much.
    pub fn parse(payload: &'a [u8], t140: u8) -> Option<Blocks<'a>> {
        let mut lengths = [0; MAX_BLOCKS];
        let (mut at, mut len) = (0, 0);
        loop {
            let first = *payload.get(at)?;
            if first & 0x7f != t140 || len == MAX_BLOCKS {
                return None;
            }
            if first & 0x80 == 0 {
                break;
            }
            // 1 bit that another block follows, 7 of payload type, 14 of timestamp offset, 10 of length.
            let header = payload.get(at..at + BLOCK_HEADER)?;
            lengths[len] = usize::from(header[2] & 0x03) << 8 | usize::from(header[3]);
            len += 1;
            at += BLOCK_HEADER;
        }
        at += 1;
        let mut blocks = [&payload[..0]; MAX_BLOCKS];
        for (block, length) in blocks.iter_mut().zip(&lengths[..len]) {
            *block = payload.get(at..at + length)?;
            at += length;
        }
        blocks[len] = &payload[at..];
        Some(Blocks { blocks, len: len + 1 })
    }

    /// The blocks, the oldest first; the last is the packet's own.
    pub fn all(&self) -> &[&'a [u8]] {
        &self.blocks[..self.len]
    }
}

/// Appends a redundant packet: each of `earlier` with how much older it is in milliseconds, the oldest first, then `own`.
///
/// A block of more than [`MAX_BLOCK_BYTES`] among `earlier` is left empty.
pub fn write<'a>(t140: u8, earlier: impl Iterator<Item = (u64, &'a [u8])> + Clone, own: &[u8], out: &mut Vec<u8>) {
    let fitting = earlier.map(|(age, block)| (age, if block.len() <= MAX_BLOCK_BYTES { block } else { &[] }));
    for (age, block) in fitting.clone() {
        // Older than 14 bits can say are only blocks that are empty: where they were says nothing.
        let offset = u32::try_from(age).unwrap_or(u32::MAX).min(0x3fff);
        let word = 1 << 31 | u32::from(t140 & 0x7f) << 24 | offset << 10 | block.len() as u32;
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(t140 & 0x7f);
    for (_, block) in fitting {
        out.extend_from_slice(block);
    }
    out.extend_from_slice(own);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two generations in front of "d", each of one character, 600 and 300 ms old, payload type 98.
    const FIXTURE: &[u8] = include_bytes!("../../tests/data/rtp_text.bin");

    #[test]
    fn a_packet_with_two_generations_is_read_and_written() {
        let blocks = Blocks::parse(FIXTURE, 98).unwrap();
        assert_eq!(blocks.all(), [&b"b"[..], b"c", b"d"]);
        let mut out = Vec::new();
        write(98, [(600, &b"b"[..]), (300, b"c")].into_iter(), b"d", &mut out);
        assert_eq!(out, FIXTURE);
    }

    #[test]
    fn what_is_cut_short_strange_or_too_much_is_refused() {
        for len in 0..11 {
            assert_eq!(Blocks::parse(&FIXTURE[..len], 98), None, "length {len}");
        }
        assert_eq!(Blocks::parse(FIXTURE, 99), None, "another format");
        assert_eq!(Blocks::parse(&[0xe2; 200], 98), None, "too many blocks");
        assert_eq!(Blocks::parse(&[98], 98).unwrap().all(), [&b""[..]]);
    }

    #[test]
    fn a_block_that_is_too_long_to_be_repeated_is_left_out() {
        let (long, mut out) = ([b'x'; MAX_BLOCK_BYTES + 1], Vec::new());
        write(98, [(300, &long[..])].into_iter(), b"own", &mut out);
        assert_eq!(Blocks::parse(&out, 98).unwrap().all(), [&b""[..], b"own"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), t140 in 0u8..128) {
            if let Some(blocks) = Blocks::parse(&bytes, t140) {
                prop_assert!(blocks.all().iter().map(|block| block.len()).sum::<usize>() < bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            earlier in proptest::collection::vec((0u64..20_000, proptest::collection::vec(any::<u8>(), 0..40)), 0..7),
            own in proptest::collection::vec(any::<u8>(), 0..40), t140 in 0u8..128,
        ) {
            let mut out = Vec::new();
            write(t140, earlier.iter().map(|(age, block)| (*age, &block[..])), &own, &mut out);
            let mut wanted: Vec<&[u8]> = earlier.iter().map(|(_, block)| &block[..]).collect();
            wanted.push(&own);
            let blocks = Blocks::parse(&out, t140).unwrap();
            prop_assert_eq!(blocks.all(), &wanted[..]);
        }
    }
}
