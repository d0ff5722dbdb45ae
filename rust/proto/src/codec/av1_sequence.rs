//! The picture's size in an AV1 sequence header (AV1 §5.5).

use super::bit_reader::BitReader;

/// Width and height in pixels; `None` for what is cut short or too large for a picture.
///
/// `body` is the OBU without its header and size.
pub fn frame_size(body: &[u8]) -> Option<(u16, u16)> {
    let mut bits = BitReader::new(body);
    // seq_profile, still_picture
    bits.read(4)?;
    if bits.flag()? {
        // reduced_still_picture_header: seq_level_idx
        bits.read(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
    let mut size = |count| u16::try_from(bits.read(count)? + 1).ok();
    Some((size(width_bits)?, size(height_bits)?))
}

fn skip_operating_points(bits: &mut BitReader<'_>) -> Option<()> {
    let mut delay_length = None;
    if bits.flag()? {
        // timing_info(): two numbers of 32 bits, equal_picture_interval
        bits.read(32)?;
        bits.read(32)?;
        if bits.flag()? {
            bits.variable()?;
        }
        if bits.flag()? {
            // decoder_model_info()
            delay_length = Some(bits.read(5)? + 1);
            bits.read(32)?;
            bits.read(10)?;
        }
    }
    let has_display_delay = bits.flag()?;
    for _ in 0..=bits.read(5)? {
        // operating_point_idc
        bits.read(12)?;
        // seq_level_idx, with seq_tier above level 3.3
        if bits.read(5)? > 7 {
            bits.read(1)?;
        }
        if let Some(length) = delay_length
            && bits.flag()?
        {
            bits.read(length)?;
            bits.read(length)?;
            bits.read(1)?;
        }
        if has_display_delay && bits.flag()? {
            bits.read(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bits from pairs of value and width.
    fn pack(fields: &[(u64, u32)]) -> Vec<u8> {
        let bits: Vec<u8> = fields
            .iter()
            .flat_map(|&(value, count)| (0..count).rev().map(move |bit| (value >> bit & 1) as u8))
            .collect();
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | (bit << (7 - at)))).collect()
    }

    const SIZE: [(u64, u32); 4] = [(9, 4), (8, 4), (639, 10), (359, 9)];

    #[test]
    fn the_size_lies_behind_the_operating_points() {
        let plain = [&[(0, 5), (0, 1), (0, 1), (0, 5), (0, 12), (5, 5)][..], &SIZE].concat();
        assert_eq!(frame_size(&pack(&plain)), Some((640, 360)));
        let layered = [&[(0, 5), (0, 1), (0, 1), (1, 5), (0x303, 12), (8, 5), (0, 1), (0x101, 12), (5, 5)][..], &SIZE];
        assert_eq!(frame_size(&pack(&layered.concat())), Some((640, 360)));
        let still = [&[(0, 3), (3, 2), (5, 5)][..], &SIZE].concat();
        assert_eq!(frame_size(&pack(&still)), Some((640, 360)));
    }

    #[test]
    fn timing_and_decoder_models_are_passed_over() {
        let timing = [(0, 5), (1, 1), (1, 32), (30, 32), (1, 1), (0b011, 3), (1, 1), (9, 5), (1, 32), (0x155, 10)];
        let point = [(1, 1), (0, 5), (0, 12), (5, 5), (1, 1), (1, 10), (2, 10), (0, 1), (1, 1), (7, 4)];
        let full = pack(&[&timing[..], &point, &SIZE].concat());
        assert_eq!(frame_size(&full), Some((640, 360)));
        for len in 0..full.len() - 1 {
            assert_eq!(frame_size(&full[..len]), None, "length {len}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some((width, height)) = frame_size(&bytes) {
                prop_assert!(width > 0 && height > 0);
            }
        }
    }
}
