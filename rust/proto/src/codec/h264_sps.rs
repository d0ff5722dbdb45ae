//! The picture's size in an H.264 sequence parameter set (ITU-T H.264 §7.3.2.1.1).

/// Longest parameter set that is looked at, in bytes; encoders write some 30.
const MAX_LEN: usize = 128;

/// Width and height in pixels after cropping; `None` for what is cut short, too large for a picture or out of range.
///
/// `unit` is the NAL unit with its header.
pub fn frame_size(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits { bytes: unit.get(1..)?.get(..(unit.len() - 1).min(MAX_LEN))?, at: 0, zeros: 0, bit: 0 };
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.golomb()?;
    let mut chroma_format = 1;
    // Profiles with chroma format and scaling lists.
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = bits.golomb()?;
        if chroma_format == 3 {
            bits.read(1)?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.read(1)?;
        if bits.read(1)? == 1 {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.read(1)? == 1 {
                    bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => drop(bits.golomb()?),
        1 => {
            bits.read(1)?;
            bits.golomb()?;
            bits.golomb()?;
            let cycle = bits.golomb()?;
            for _ in 0..cycle.min(256) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.read(1)?;
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.read(1)?;
    let height = map_units.checked_mul(16)?.checked_mul(2 - frames_only)?;
    if frames_only == 0 {
        bits.read(1)?;
    }
    bits.read(1)?;
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.read(1)? == 1 {
        let (left, right, top, bottom) = (bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?);
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        crop_x = left.checked_add(right)?.checked_mul(unit_x)?;
        crop_y = top.checked_add(bottom)?.checked_mul(unit_y)?.checked_mul(2 - frames_only)?;
    }
    let size = |full: u32, crop| full.checked_sub(crop).and_then(|size| u16::try_from(size).ok()).filter(|&n| n > 0);
    Some((size(width, crop_x)?, size(height, crop_y)?))
}

/// Reads bits, leaving out the emulation prevention bytes (§7.4.1: 3 after two zeros).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    bit: u8,
}

impl Bits<'_> {
    fn next(&mut self) -> Option<u32> {
        if self.bit == 0 {
            if self.zeros >= 2 && *self.bytes.get(self.at)? == 3 {
                (self.at, self.zeros) = (self.at + 1, 0);
            }
            self.zeros = if *self.bytes.get(self.at)? == 0 { self.zeros + 1 } else { 0 };
        }
        let value = (*self.bytes.get(self.at)? >> (7 - self.bit)) & 1;
        self.bit = (self.bit + 1) % 8;
        self.at += usize::from(self.bit == 0);
        Some(u32::from(value))
    }

    fn read(&mut self, count: u8) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some((value << 1) | self.next()?))
    }

    /// `ue(v)` (§9.1); more than 31 leading zeros are refused.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.next()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.read(zeros)?)
    }

    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..size {
            if next != 0 {
                let code = i64::from(self.golomb()?);
                let delta = if code & 1 == 1 { (code + 1) / 2 } else { -(code / 2) };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Baseline 3.1, 1280 x 720, no cropping.
    const HD: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x80];

    #[test]
    fn the_size_of_a_baseline_stream_is_read() {
        assert_eq!(frame_size(HD), Some((1280, 720)));
    }

    #[test]
    fn cropping_makes_1080_lines_of_1088() {
        // High 4.0 as x264 writes it, with an emulation prevention byte in the timing information.
        let full_hd = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
            0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
        ];
        assert_eq!(frame_size(&full_hd), Some((1920, 1080)));
    }

    #[test]
    fn a_parameter_set_cut_short_has_no_size() {
        for len in 0..8 {
            assert_eq!(frame_size(&HD[..len]), None, "length {len}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(profile: u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let unit = [&[0x67, profile][..], &bytes].concat();
            let _ = frame_size(&unit);
            let _ = frame_size(&bytes);
        }
    }
}
