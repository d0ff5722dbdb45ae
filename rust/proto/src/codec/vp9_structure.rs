//! The scalability structure in front of a VP9 keyframe (RFC 9628 §4.2.1): how many spatial layers, and their sizes.

use super::vp9::Descriptor;

/// Most spatial layers of a stream: SID has three bits.
pub const MAX_SPATIAL: usize = 8;

/// Spatial layers as their encoder announces them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// How many, 1 to 8.
    pub count: u8,
    /// Width and height in pixels of each, the lowest layer first; zero where they are not told, and for a layer that
    /// is not sent.
    pub sizes: [(u16, u16); MAX_SPATIAL],
}

impl Structure {
    /// Reads the structure of a payload; `None` when the descriptor has none or it is cut short.
    ///
    /// The description of the picture group behind the sizes is not looked at: which pictures a receiver may be given is
    /// told by every packet itself.
    pub fn parse(payload: &[u8], descriptor: &Descriptor) -> Option<Structure> {
        if !descriptor.has_structure() {
            return None;
        }
        let (&head, mut rest) = payload.get(usize::from(descriptor.len)..)?.split_first()?;
        let mut structure = Structure { count: (head >> 5) + 1, ..Structure::default() };
        if head & 0x10 != 0 {
            for size in &mut structure.sizes[..usize::from(structure.count)] {
                let (bytes, after) = rest.split_first_chunk::<4>()?;
                let [width_high, width_low, height_high, height_low] = *bytes;
                let number = |high, low| u16::from_be_bytes([high, low]);
                *size = (number(width_high, width_low), number(height_high, height_low));
                rest = after;
            }
        }
        Some(structure)
    }

    /// Size of the largest layer.
    pub fn size(&self) -> (u16, u16) {
        self.sizes[usize::from(self.count).clamp(1, MAX_SPATIAL) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(payload: &[u8]) -> Option<Structure> {
        Structure::parse(payload, &Descriptor::parse(payload)?)
    }

    /// I, L, B, V; a structure of three layers with sizes and a picture group of one.
    const THREE: [u8; 23] = [
        0xaa, 0x80, 0x01, 0x00, 0x00, 0x58, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0x05, 0x00, 0x02, 0xd0,
        0x01, 0x04, 0x01, 0x49, 0x83,
    ];

    #[test]
    fn the_sizes_of_three_layers_are_read() {
        let structure = parse(&THREE).unwrap();
        assert_eq!(structure.count, 3);
        assert_eq!(structure.sizes[..3], [(320, 180), (640, 360), (1280, 720)]);
        assert_eq!(structure.size(), (1280, 720));
    }

    #[test]
    fn sizes_may_be_left_out_but_not_cut_short() {
        assert_eq!(parse(&[0x0a, 0x20]).unwrap(), Structure { count: 2, ..Structure::default() });
        assert_eq!(parse(&[0x08, 0x20]), None, "no structure");
        for len in 5..18 {
            assert_eq!(parse(&THREE[..len]), None, "length {len}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(flags: u8, bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let payload = [&[flags | 0x02][..], &bytes].concat();
            if let Some(structure) = parse(&payload) {
                prop_assert!((1..=8).contains(&structure.count));
                let _ = structure.size();
            }
        }
    }
}
