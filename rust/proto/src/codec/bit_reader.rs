//! Reads fields that end anywhere in a byte, the highest bit first (AV1 §4.10).

/// A position in a byte string, in bits.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// At the first bit.
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// At bit `at`, counted from zero.
    pub fn starting_at(bytes: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader { bytes, at }
    }

    /// How many bits lie behind.
    pub fn position(&self) -> usize {
        self.at
    }

    /// `f(n)` (§4.10.2) of at most 32 bits; `None` at the end.
    pub fn read(&mut self, count: u32) -> Option<u32> {
        let end = self.at + count as usize;
        if count > 32 || end > self.bytes.len() * 8 {
            return None;
        }
        let mut value = 0u64;
        while self.at < end {
            let rest = 8 - self.at % 8;
            let take = rest.min(end - self.at);
            let byte = u64::from(self.bytes[self.at / 8]) & ((1 << rest) - 1);
            value = (value << take) | (byte >> (rest - take));
            self.at += take;
        }
        Some(value as u32)
    }

    /// One bit.
    pub fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// `ns(n)` (§4.10.7): a value below `n`, which is at most 2^16 and at least 1.
    pub fn below(&mut self, n: u32) -> Option<u32> {
        let width = u32::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.read(width.checked_sub(1)?)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }

    /// `uvlc()` (§4.10.3); more than 31 leading zeros are refused, which no encoder needs.
    pub fn variable(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(self.read(zeros)? + (1 << zeros) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_over_the_ends_of_bytes() {
        let mut bits = BitReader::new(&[0b1011_0110, 0b0101_1100, 0xff]);
        assert_eq!([bits.read(1), bits.read(3), bits.read(7), bits.read(0)], [Some(1), Some(3), Some(50), Some(0)]);
        assert_eq!(bits.position(), 11);
        assert_eq!(bits.read(14), None, "over the end");
        assert_eq!(bits.read(13), Some(0b1_1100_1111_1111));
        assert_eq!(bits.read(1), None);
    }

    #[test]
    fn values_below_five_take_two_or_three_bits() {
        // The table of the dependency descriptor's A.8.2: 00, 01, 10, 110, 111.
        let mut bits = BitReader::new(&[0b0001_1011, 0b0111_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.below(5)).collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(BitReader::new(&[]).below(1), Some(0), "takes no bits");
        assert_eq!(BitReader::new(&[]).below(0), None);
    }

    #[test]
    fn variable_lengths() {
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([bits.variable(), bits.variable(), bits.variable()], [Some(0), Some(1), Some(2)]);
        assert_eq!(BitReader::new(&[0; 8]).variable(), None);
    }

    proptest! {
        #[test]
        fn reading_is_the_same_bit_by_bit(bytes in proptest::collection::vec(any::<u8>(), 0..12), at in 0usize..40, count in 0u32..=32) {
            let at = at % (bytes.len() * 8 + 1);
            let mut one_by_one = BitReader::starting_at(&bytes, at);
            let expected = (0..count).try_fold(0u32, |value, _| Some((value << 1) | one_by_one.read(1)?));
            prop_assert_eq!(BitReader::starting_at(&bytes, at).read(count), expected);
        }
    }
}
