//! A small index of one receiver that goes on by one when its source changes: TL0PICIDX, KEYIDX.

/// Shifts an index of `BITS` bits (at most 8) by a constant for each source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IndexShift<const BITS: u32> {
    shift: u8,
    newest: Option<u8>,
}

impl<const BITS: u32> IndexShift<BITS> {
    const MASK: u8 = (u8::MAX) >> (8 - BITS);

    /// The receiver's index; `fresh` says that this is the first one of a new source.
    pub(super) fn map(&mut self, index: u8, fresh: bool) -> u8 {
        if fresh {
            self.shift = self.newest.map_or(0, |newest| newest.wrapping_add(1).wrapping_sub(index));
        }
        let out = index.wrapping_add(self.shift) & Self::MASK;
        if self.newest.is_none_or(|newest| out.wrapping_sub(newest) & Self::MASK <= Self::MASK / 2) {
            self.newest = Some(out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_goes_on_over_a_change_of_source_and_its_wrap() {
        let mut key = IndexShift::<5>::default();
        assert_eq!(key.map(30, true), 30);
        assert_eq!(key.map(31, false), 31);
        assert_eq!(key.map(7, true), 0);
        assert_eq!(key.map(6, false), 31, "reordered");
        assert_eq!(key.map(9, true), 1, "goes on behind the newest one");
    }
}
