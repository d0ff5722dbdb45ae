//! VP8 over RTP (RFC 7741): the payload descriptor, its rewriting, and where a keyframe starts.

/// Longest descriptor in bytes.
pub const MAX_DESCRIPTOR: usize = 6;

/// A parsed payload descriptor (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Length of the descriptor in bytes, 1 to 6.
    pub len: u8,
    /// Non-reference frame.
    pub non_reference: bool,
    /// Start of a VP8 partition.
    pub partition_start: bool,
    /// Partition index, 0 to 7.
    pub partition: u8,
    /// Picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether the picture id has 15 bits.
    pub long_picture_id: bool,
    /// Index of the last temporal layer 0 picture.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer index, 0 to 3, and whether the frame is a layer sync point.
    pub temporal: Option<(u8, bool)>,
    /// Key frame index, 0 to 31.
    pub key_index: Option<u8>,
}

impl Descriptor {
    /// Parses the descriptor at the start of a payload; `None` when it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let head = *payload.first()?;
        let mut descriptor = Descriptor {
            non_reference: head & 0x20 != 0,
            partition_start: head & 0x10 != 0,
            partition: head & 0x07,
            ..Descriptor::default()
        };
        let mut at = 1;
        if head & 0x80 != 0 {
            let flags = *payload.get(at)?;
            at += 1;
            if flags & 0x80 != 0 {
                let first = *payload.get(at)?;
                at += 1;
                if first & 0x80 != 0 {
                    descriptor.long_picture_id = true;
                    descriptor.picture_id = Some(u16::from_be_bytes([first & 0x7f, *payload.get(at)?]));
                    at += 1;
                } else {
                    descriptor.picture_id = Some(u16::from(first));
                }
            }
            if flags & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(*payload.get(at)?);
                at += 1;
            }
            if flags & 0x30 != 0 {
                let byte = *payload.get(at)?;
                at += 1;
                descriptor.temporal = (flags & 0x20 != 0).then_some((byte >> 6, byte & 0x20 != 0));
                descriptor.key_index = (flags & 0x10 != 0).then_some(byte & 0x1f);
            }
        }
        descriptor.len = at as u8;
        Some(descriptor)
    }

    /// Writes the descriptor; returns its length. A picture id is written with 15 bits when `long_picture_id`.
    pub fn write<const N: usize>(&self, out: &mut [u8; N]) -> u8 {
        const { assert!(N >= MAX_DESCRIPTOR) }
        let mut at = 1;
        let mut flags = 0;
        if let Some(id) = self.picture_id {
            flags |= 0x80;
            let [high, low] = id.to_be_bytes();
            at += 1;
            if self.long_picture_id {
                out[at] = 0x80 | high;
                at += 1;
            }
            out[at] = if self.long_picture_id { low } else { low & 0x7f };
        }
        if let Some(index) = self.tl0_picture_index {
            flags |= 0x40;
            at += 1;
            out[at] = index;
        }
        if self.temporal.is_some() || self.key_index.is_some() {
            let (layer, sync) = self.temporal.unwrap_or_default();
            flags |= if self.temporal.is_some() { 0x20 } else { 0 } | if self.key_index.is_some() { 0x10 } else { 0 };
            at += 1;
            out[at] = (layer << 6) | (u8::from(sync) << 5) | self.key_index.unwrap_or(0);
        }
        out[0] = (u8::from(self.non_reference) << 5) | (u8::from(self.partition_start) << 4) | self.partition;
        if flags == 0 {
            return 1;
        }
        out[0] |= 0x80;
        out[1] = flags;
        at as u8 + 1
    }

    /// Whether this is the first packet of a keyframe: start of partition 0 and P=0 in the frame tag (RFC 7741 §4.3).
    pub fn starts_keyframe(&self, payload: &[u8]) -> bool {
        let tag = payload.get(usize::from(self.len));
        self.partition_start && self.partition == 0 && tag.is_some_and(|tag| tag & 1 == 0)
    }
}

/// Width and height in pixels, at the first packet of a keyframe (RFC 6386 §9.1); the scaling bits are left out.
pub fn frame_size(payload: &[u8], descriptor: &Descriptor) -> Option<(u16, u16)> {
    let frame = payload.get(usize::from(descriptor.len)..)?;
    let [tag, _, _, 0x9d, 0x01, 0x2a, width_low, width_high, height_low, height_high, ..] = *frame else { return None };
    if tag & 1 != 0 || !descriptor.partition_start || descriptor.partition != 0 {
        return None;
    }
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(width_low, width_high), size(height_low, height_high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn starts_keyframe(payload: &[u8]) -> bool {
        Descriptor::parse(payload).unwrap().starts_keyframe(payload)
    }

    #[test]
    fn a_descriptor_of_chromium_is_parsed() {
        let payload = [0x90, 0xe0, 0xc3, 0x21, 0x07, 0x60, 0x10, 0x02];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.len, 6);
        assert_eq!(descriptor.picture_id, Some(0x4321));
        assert_eq!(descriptor.tl0_picture_index, Some(7));
        assert_eq!(descriptor.temporal, Some((1, true)));
        assert_eq!(descriptor.key_index, None);
        assert!(starts_keyframe(&payload));
    }

    #[test]
    fn delta_frames_and_continuations_do_not_start_a_keyframe() {
        assert!(!starts_keyframe(&[0x10, 0x01]));
        assert!(!starts_keyframe(&[0x00, 0x00]));
        assert!(!starts_keyframe(&[0x11, 0x00]), "partition 1");
        assert!(!starts_keyframe(&[0x10]), "nothing after the descriptor");
        assert!(starts_keyframe(&[0x10, 0x00]));
    }

    #[test]
    fn the_size_is_read_from_the_keyframe_header() {
        let frame = [0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0x01];
        let descriptor = Descriptor::parse(&frame).unwrap();
        assert_eq!(frame_size(&frame, &descriptor), Some((640, 360)));
        assert_eq!(frame_size(&frame[..10], &descriptor), None, "cut short");
        let delta = [&[0x10, 0x11], &frame[2..]].concat();
        assert_eq!(frame_size(&delta, &descriptor), None);
    }

    #[test]
    fn a_descriptor_cut_short_is_refused() {
        let full = [0x90, 0xf0, 0x80, 0x01, 0x02, 0x03];
        assert!(Descriptor::parse(&full).is_some());
        for len in 0..full.len() {
            assert_eq!(Descriptor::parse(&full[..len]), None, "length {len}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..10)) {
            if let Some(descriptor) = Descriptor::parse(&bytes) {
                let _ = descriptor.starts_keyframe(&bytes);
                let _ = frame_size(&bytes, &descriptor);
            }
        }

        #[test]
        fn descriptors_round_trip(
            non_reference: bool, partition_start: bool, partition in 0u8..8,
            id in proptest::option::of(0u16..0x8000), tl0 in proptest::option::of(any::<u8>()),
            temporal in proptest::option::of((0u8..4, any::<bool>())), key in proptest::option::of(0u8..32),
        ) {
            let mut descriptor = Descriptor {
                len: 0, non_reference, partition_start, partition, picture_id: id, long_picture_id: id.is_some(),
                tl0_picture_index: tl0, temporal, key_index: key,
            };
            let mut out = [0; MAX_DESCRIPTOR];
            descriptor.len = descriptor.write(&mut out);
            prop_assert_eq!(Descriptor::parse(&out[..usize::from(descriptor.len)]), Some(descriptor));
        }
    }
}
