//! Redundant audio over RTP (RFC 2198): a packet with earlier packets in front of it.

use super::Codec;

/// Most blocks that a packet may have; more is refused.
const MAX_BLOCKS: usize = 16;
/// The latest of the earlier packets that are remembered: what a receiver can be given in place of a loss.
pub const RECENT: usize = 2;
/// Length of the header of a block that is not the last one, in bytes.
const BLOCK_HEADER: usize = 4;
/// Longest list of block headers whose payload types are rewritten: two blocks.
pub const MAX_REWRITTEN: usize = BLOCK_HEADER + 1;

/// An earlier packet inside a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// How much earlier it was sampled, in timestamp units, below 2^14.
    pub offset: u16,
    /// Where it starts in the payload, in bytes.
    pub start: u16,
    /// Its length in bytes.
    pub len: u16,
}

/// The blocks of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Payload type of every block, in the publisher's numbers.
    pub payload_type: u8,
    /// What that means.
    pub codec: Codec,
    /// How many blocks, the last one among them.
    pub blocks: u8,
    /// Where the packet itself starts behind all that is earlier, in bytes.
    pub start: u16,
    /// The latest earlier packets, the one right before this first; of length zero where there is none.
    pub recent: [Earlier; RECENT],
}

impl Descriptor {
    /// Reads the headers of all blocks. `codec_of` says what a payload type means. `None` for blocks of several formats
    /// or of none that is sound by itself, and for what is cut short or too much.
    pub fn parse(payload: &[u8], codec_of: impl FnOnce(u8) -> Option<Codec>) -> Option<Descriptor> {
        let (mut at, mut body, mut blocks) = (0, 0, 1u8);
        let mut recent = [Earlier::default(); RECENT];
        let mut payload_type = None;
        // RFC 2198 §3: one bit says that another block follows; 7 of payload type, 14 of offset, 10 of length.
        while *payload.get(at)? & 0x80 != 0 {
            let bytes = payload.get(at..at + BLOCK_HEADER)?;
            let word = u32::from_be_bytes(bytes.try_into().ok()?);
            let len = (word & 0x3ff) as u16;
            let earlier = Earlier { offset: ((word >> 10) & 0x3fff) as u16, start: body, len };
            recent.rotate_right(1);
            recent[0] = earlier;
            if payload_type.replace(bytes[0] & 0x7f).is_some_and(|other| other != bytes[0] & 0x7f) {
                return None;
            }
            body += len;
            at += BLOCK_HEADER;
            blocks += 1;
            if usize::from(blocks) > MAX_BLOCKS {
                return None;
            }
        }
        let own = payload[at];
        if payload_type.is_some_and(|other| other != own) {
            return None;
        }
        let headers = at as u16 + 1;
        for earlier in &mut recent {
            earlier.start += headers;
        }
        let start = headers + body;
        let codec = codec_of(own).filter(|codec| codec.is_sound())?;
        (usize::from(start) <= payload.len()).then_some(Descriptor { payload_type: own, codec, blocks, start, recent })
    }

    /// The earlier packet sent `back` (from 1) packets before this one.
    pub fn earlier(&self, back: usize) -> Option<&Earlier> {
        self.recent.get(back.checked_sub(1)?).filter(|earlier| earlier.len > 0 && earlier.offset > 0)
    }

    /// Writes the block headers with another payload type, which must fit [`MAX_REWRITTEN`]; returns their length, or
    /// `None` when there are too many.
    pub fn write<const N: usize>(&self, payload_type: u8, out: &mut [u8; N]) -> Option<u8> {
        const { assert!(N >= MAX_REWRITTEN) }
        let mut len = 0;
        match self.blocks {
            1 => {}
            2 => {
                let Earlier { offset, len: block, .. } = self.recent[0];
                let word = (1 << 31) | (u32::from(payload_type) << 24) | (u32::from(offset) << 10) | u32::from(block);
                out[..BLOCK_HEADER].copy_from_slice(&word.to_be_bytes());
                len = BLOCK_HEADER;
            }
            _ => return None,
        }
        out[len] = payload_type;
        Some(len as u8 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(payload: &[u8]) -> Option<Descriptor> {
        Descriptor::parse(payload, |payload_type| match payload_type {
            111 => Some(Codec::Opus),
            63 => Some(Codec::Red { clock_rate: 48_000 }),
            _ => None,
        })
    }

    /// As Chromium sends it: the packet 20 ms before of three bytes, then two bytes.
    const PAIR: [u8; 10] = [0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3, 8, 9];

    #[test]
    fn the_packet_and_the_one_before_it_are_found() {
        let descriptor = parse(&PAIR).unwrap();
        assert_eq!((descriptor.codec, descriptor.payload_type, descriptor.blocks), (Codec::Opus, 111, 2));
        assert_eq!(&PAIR[usize::from(descriptor.start)..], [8, 9]);
        assert_eq!(descriptor.earlier(1), Some(&Earlier { offset: 960, start: 5, len: 3 }));
        assert_eq!(descriptor.earlier(2), None);
        assert_eq!(descriptor.earlier(0), None);
    }

    #[test]
    fn of_many_earlier_packets_the_latest_are_remembered() {
        let mut payload = Vec::new();
        for back in [3u32, 2, 1] {
            payload.extend_from_slice(&((1 << 31) | (111 << 24) | ((960 * back) << 10) | back).to_be_bytes());
        }
        payload.extend_from_slice(&[111, 3, 3, 3, 2, 2, 1, 9]);
        let descriptor = parse(&payload).unwrap();
        let bytes = |back| {
            let Earlier { start, len, .. } = *descriptor.earlier(back).unwrap();
            &payload[usize::from(start)..usize::from(start + len)]
        };
        assert_eq!((bytes(1), bytes(2)), (&[1][..], &[2, 2][..]));
        assert_eq!(payload[usize::from(descriptor.start)..], [9]);
        assert_eq!(descriptor.write(100, &mut [0; MAX_REWRITTEN]), None);
    }

    #[test]
    fn a_packet_alone_has_a_header_of_one_byte() {
        let descriptor = parse(&[111, 5, 6]).unwrap();
        assert_eq!((descriptor.start, descriptor.blocks, descriptor.earlier(1)), (1, 1, None));
    }

    #[test]
    fn the_payload_types_are_those_of_the_receiver() {
        let mut out = [0; MAX_REWRITTEN];
        assert_eq!(parse(&PAIR).unwrap().write(109, &mut out), Some(5));
        assert_eq!(out, [0xed, 0x0f, 0x00, 0x03, 0x6d]);
        assert_eq!(parse(&[111, 5]).unwrap().write(109, &mut out), Some(1));
        assert_eq!(out[0], 109);
    }

    #[test]
    fn what_is_cut_short_mixed_or_within_itself_is_refused() {
        for len in 0..8 {
            assert_eq!(parse(&PAIR[..len]), None, "length {len}");
        }
        assert_eq!(parse(&[0xef, 0x0f, 0x00, 0x00, 0x70]), None, "two formats");
        assert_eq!(parse(&[63, 1]), None, "redundancy of redundancy");
        assert_eq!(parse(&[0xef; 200]), None, "too many blocks");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(descriptor) = Descriptor::parse(&bytes, |_| Some(Codec::Opus)) {
                prop_assert!(usize::from(descriptor.start) <= bytes.len());
                for back in 1..=RECENT {
                    if let Some(earlier) = descriptor.earlier(back) {
                        prop_assert!(earlier.start + earlier.len <= descriptor.start);
                    }
                }
            }
        }
    }
}
