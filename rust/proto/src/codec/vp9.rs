//! VP9 over RTP (RFC 9628): the payload descriptor, the part of it that is rewritten, and where decoding can start.

/// Longest part of a descriptor that is rewritten, in bytes: flags, picture id, layer indices, TL0PICIDX.
pub const MAX_REWRITTEN: usize = 5;
/// Most reference pictures of one frame in flexible mode (RFC 9628 §4.2).
pub const MAX_REFERENCES: usize = 3;

const HAS_PICTURE_ID: u8 = 0x80;
const INTER_PICTURE: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const START_OF_FRAME: u8 = 0x08;
const END_OF_FRAME: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;

/// A parsed payload descriptor (RFC 9628 §4.2), as far as a forwarder needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The first byte: I, P, L, F, B, E, V, Z.
    pub flags: u8,
    /// Picture id, 7 or 15 bits; the same for all spatial layers of a picture.
    pub picture_id: Option<u16>,
    /// Whether the picture id has 15 bits.
    pub long_picture_id: bool,
    /// The byte of layer indices: TID, U, SID, D.
    pub layers: Option<u8>,
    /// Index of the last picture of temporal layer 0; not in flexible mode.
    pub tl0_picture_index: Option<u8>,
    /// How many pictures back each reference lies, in flexible mode; zero for none.
    pub references: [u8; MAX_REFERENCES],
    /// Length of the part that [`Descriptor::write`] replaces, 1 to 5 bytes.
    pub rewritten_len: u8,
    /// Length up to the scalability structure, which is the end without one; 1 to 8 bytes.
    pub len: u8,
}

impl Descriptor {
    /// Parses the descriptor at the start of a payload; `None` when it is cut short, or names more references than the
    /// format has.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let mut rest = payload.iter().copied();
        let mut descriptor = Descriptor { flags: rest.next()?, ..Descriptor::default() };
        let flags = descriptor.flags;
        let mut len = 1;
        if flags & HAS_PICTURE_ID != 0 {
            let first = rest.next()?;
            len += 1;
            descriptor.picture_id = Some(u16::from(first));
            if first & 0x80 != 0 {
                descriptor.picture_id = Some(u16::from_be_bytes([first & 0x7f, rest.next()?]));
                descriptor.long_picture_id = true;
                len += 1;
            }
        }
        if flags & HAS_LAYERS != 0 {
            descriptor.layers = Some(rest.next()?);
            len += 1;
            if flags & FLEXIBLE == 0 {
                descriptor.tl0_picture_index = Some(rest.next()?);
                len += 1;
            }
        }
        descriptor.rewritten_len = len;
        if flags & FLEXIBLE != 0 && flags & INTER_PICTURE != 0 {
            let mut more = true;
            for reference in &mut descriptor.references {
                let byte = rest.next()?;
                (*reference, more) = (byte >> 1, byte & 1 != 0);
                len += 1;
                if !more {
                    break;
                }
            }
            if more {
                return None;
            }
        }
        descriptor.len = len;
        Some(descriptor)
    }

    /// Whether the frame is predicted from another picture (P).
    pub fn is_inter_picture(&self) -> bool {
        self.flags & INTER_PICTURE != 0
    }

    /// Whether references are named frame by frame (F).
    pub fn is_flexible(&self) -> bool {
        self.flags & FLEXIBLE != 0
    }

    /// Whether a frame, that is one spatial layer of a picture, begins here (B).
    pub fn starts_frame(&self) -> bool {
        self.flags & START_OF_FRAME != 0
    }

    /// Whether a frame ends here (E).
    pub fn ends_frame(&self) -> bool {
        self.flags & END_OF_FRAME != 0
    }

    /// Whether a scalability structure follows at [`Descriptor::len`] (V).
    pub fn has_structure(&self) -> bool {
        self.flags & HAS_STRUCTURE != 0
    }

    /// Spatial layer, 0 to 7; 0 without layer indices.
    pub fn spatial(&self) -> u8 {
        self.layers.map_or(0, |byte| (byte >> 1) & 0x07)
    }

    /// Temporal layer, 0 to 7; `None` without layer indices.
    pub fn temporal(&self) -> Option<u8> {
        self.layers.map(|byte| byte >> 5)
    }

    /// Whether higher temporal layers may be entered behind this picture (U).
    pub fn is_switching_up_point(&self) -> bool {
        self.layers.is_some_and(|byte| byte & 0x10 != 0)
    }

    /// Whether the frame is predicted from the next lower spatial layer of its picture (D).
    pub fn is_inter_layer(&self) -> bool {
        self.layers.is_some_and(|byte| byte & 0x01 != 0)
    }

    /// Whether decoding can start at this packet: the beginning of a frame that needs no other frame. In a picture with
    /// several spatial layers that is the lowest one.
    pub fn starts_keyframe(&self) -> bool {
        self.starts_frame() && !self.is_inter_picture() && !self.is_inter_layer()
    }

    /// Writes what stands before references and structure; returns its length. A picture id is written with 15 bits when
    /// `long_picture_id`.
    pub fn write<const N: usize>(&self, out: &mut [u8; N]) -> u8 {
        const { assert!(N >= MAX_REWRITTEN) }
        let mut len = 0;
        let mut put = |byte| {
            out[len] = byte;
            len += 1;
        };
        put(self.flags);
        if let Some(id) = self.picture_id {
            let [high, low] = id.to_be_bytes();
            if self.long_picture_id {
                put(0x80 | high);
            }
            put(if self.long_picture_id { low } else { low & 0x7f });
        }
        if let Some(layers) = self.layers {
            put(layers);
        }
        if let Some(index) = self.tl0_picture_index {
            put(index);
        }
        len as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Chromium sends L3T3_KEY: temporal layer 2 of spatial layer 1, a switching up point, TL0PICIDX 7.
    const NON_FLEXIBLE: [u8; 6] = [0xec, 0xc3, 0x21, 0x52, 0x07, 0xaa];

    #[test]
    fn a_non_flexible_descriptor_is_parsed() {
        let descriptor = Descriptor::parse(&NON_FLEXIBLE).unwrap();
        assert_eq!((descriptor.picture_id, descriptor.long_picture_id), (Some(0x4321), true));
        assert_eq!((descriptor.temporal(), descriptor.spatial()), (Some(2), 1));
        assert!(descriptor.is_switching_up_point() && !descriptor.is_inter_layer());
        assert!(descriptor.is_inter_picture() && !descriptor.is_flexible());
        assert!(descriptor.starts_frame() && descriptor.ends_frame());
        assert_eq!(descriptor.tl0_picture_index, Some(7));
        assert_eq!((descriptor.rewritten_len, descriptor.len), (5, 5));
    }

    #[test]
    fn a_flexible_descriptor_names_its_references_and_has_no_tl0_index() {
        // I P L F B, picture id 5, layers, P_DIFF 1 and 4.
        let descriptor = Descriptor::parse(&[0xf8, 0x05, 0x01, 0x03, 0x08, 0xaa]).unwrap();
        assert_eq!((descriptor.picture_id, descriptor.long_picture_id), (Some(5), false));
        assert_eq!(descriptor.tl0_picture_index, None);
        assert_eq!(descriptor.references, [1, 4, 0]);
        assert_eq!((descriptor.rewritten_len, descriptor.len), (3, 5));
        assert!(descriptor.is_inter_layer());
    }

    #[test]
    fn a_descriptor_cut_short_or_with_too_many_references_is_refused() {
        let flexible = [0xf8, 0x80, 0x05, 0x01, 0x03, 0x05, 0x06];
        for full in [&NON_FLEXIBLE[..5], &flexible] {
            assert!(Descriptor::parse(full).is_some());
            for len in 0..full.len() {
                assert_eq!(Descriptor::parse(&full[..len]), None, "length {len}");
            }
        }
        assert_eq!(Descriptor::parse(&[0xf8, 0x05, 0x01, 0x03, 0x05, 0x07, 0x08]), None, "four references");
    }

    #[test]
    fn decoding_starts_at_a_frame_that_needs_no_other() {
        let starts = |payload: &[u8]| Descriptor::parse(payload).unwrap().starts_keyframe();
        assert!(starts(&[0x08]));
        assert!(starts(&[0xa8, 0x81, 0x02, 0x00, 0x00]));
        assert!(starts(&[0xa8, 0x01, 0x02, 0x00]), "the lowest layer that the encoder sends");
        assert!(!starts(&[0x48]), "predicted from another picture");
        assert!(!starts(&[0x00]), "goes on");
        assert!(!starts(&[0xa8, 0x01, 0x03, 0x00]), "predicted from the layer below");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Some(descriptor) = Descriptor::parse(&bytes) {
                prop_assert!(usize::from(descriptor.len) <= bytes.len());
            }
        }

        #[test]
        fn what_is_rewritten_round_trips(
            flags: u8, id in 0u16..0x8000, long: bool, layers: u8, tl0: u8, rest in proptest::collection::vec(any::<u8>(), 3),
        ) {
            let written = Descriptor {
                flags,
                picture_id: (flags & HAS_PICTURE_ID != 0).then_some(if long { id } else { id & 0x7f }),
                long_picture_id: long && flags & HAS_PICTURE_ID != 0,
                layers: (flags & HAS_LAYERS != 0).then_some(layers),
                tl0_picture_index: (flags & (HAS_LAYERS | FLEXIBLE) == HAS_LAYERS).then_some(tl0),
                ..Descriptor::default()
            };
            let mut out = [0; MAX_REWRITTEN];
            let len = written.write(&mut out);
            let bytes = [&out[..usize::from(len)], &rest].concat();
            if let Some(parsed) = Descriptor::parse(&bytes) {
                let expected = Descriptor {
                    references: parsed.references, rewritten_len: len, len: parsed.len, ..written
                };
                prop_assert_eq!(parsed, expected);
            }
        }
    }
}
