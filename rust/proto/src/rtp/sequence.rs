//! Sequence numbers: wrapping compare, unwrapping to 64 bits, and a window that remembers what was seen.

/// Whether 16-bit sequence number `a` is newer than `b` in wrapping order.
pub fn is_newer(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

/// Turns 16-bit sequence numbers into 64-bit ones that never wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceUnwrapper {
    highest: Option<u64>,
}

impl SequenceUnwrapper {
    /// The first number lies one cycle above zero, so that packets from before it have a place.
    const FIRST_CYCLE: u64 = 0x1_0000;

    /// The unwrapped number nearest to the highest seen; does not move the highest.
    pub fn peek(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            return Self::FIRST_CYCLE + u64::from(sequence);
        };
        let forward = sequence.wrapping_sub(highest as u16);
        if forward < 0x8000 {
            highest.saturating_add(u64::from(forward))
        } else {
            highest.saturating_sub(u64::from(0u16.wrapping_sub(forward)))
        }
    }

    /// Unwraps and moves the highest forward.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let value = self.peek(sequence);
        self.highest = Some(self.highest.map_or(value, |highest| highest.max(value)));
        value
    }

    /// Highest unwrapped number so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Goes on above everything seen, at the next number whose low bits are `sequence` (a sender that restarted).
    pub fn restart(&mut self, sequence: u16) -> u64 {
        let base = self.highest.map_or(0, |highest| highest & !0xffff);
        let value = base + 2 * Self::FIRST_CYCLE + u64::from(sequence);
        self.highest = Some(value);
        value
    }
}

/// What a [`SequenceWindow`] says about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen before; now it is.
    New,
    /// Seen before.
    Duplicate,
    /// Too far behind the highest to tell.
    TooOld,
}

/// Remembers which of the last `64 * WORDS` unwrapped sequence numbers were seen.
#[derive(Clone, Debug)]
pub struct SequenceWindow<const WORDS: usize> {
    bits: [u64; WORDS],
    highest: Option<u64>,
}

impl<const WORDS: usize> Default for SequenceWindow<WORDS> {
    fn default() -> Self {
        SequenceWindow { bits: [0; WORDS], highest: None }
    }
}

impl<const WORDS: usize> SequenceWindow<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    /// Marks `sequence` as seen and says whether it was new.
    pub fn insert(&mut self, sequence: u64) -> Seen {
        let highest = match self.highest {
            None => {
                self.highest = Some(sequence);
                sequence
            }
            Some(highest) if sequence > highest => {
                if sequence - highest >= Self::SIZE {
                    self.bits = [0; WORDS];
                } else {
                    for skipped in highest + 1..=sequence {
                        let (word, bit) = Self::place(skipped);
                        self.bits[word] &= !bit;
                    }
                }
                self.highest = Some(sequence);
                sequence
            }
            Some(highest) => highest,
        };
        if highest - sequence >= Self::SIZE {
            return Seen::TooOld;
        }
        let (word, bit) = Self::place(sequence);
        if self.bits[word] & bit != 0 {
            return Seen::Duplicate;
        }
        self.bits[word] |= bit;
        Seen::New
    }

    /// Whether `sequence` was seen and is remembered.
    pub fn contains(&self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        let known = self.highest.is_some_and(|highest| sequence <= highest && highest - sequence < Self::SIZE);
        known && self.bits[word] & bit != 0
    }

    /// Forgets `sequence` and everything above it.
    pub fn forget_from(&mut self, sequence: u64) {
        let Some(highest) = self.highest.filter(|highest| *highest >= sequence) else { return };
        for forgotten in sequence.max((highest + 1).saturating_sub(Self::SIZE))..=highest {
            let (word, bit) = Self::place(forgotten);
            self.bits[word] &= !bit;
        }
        self.highest = sequence.checked_sub(1);
    }

    fn place(sequence: u64) -> (usize, u64) {
        let index = sequence % Self::SIZE;
        ((index / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn newer_wraps_at_the_end_of_the_range() {
        assert!(is_newer(0, 65535));
        assert!(!is_newer(65535, 0));
        assert!(!is_newer(7, 7));
    }

    #[test]
    fn unwrapping_goes_over_the_wrap_and_back_for_late_packets() {
        let mut unwrapper = SequenceUnwrapper::default();
        let first = unwrapper.unwrap(65534);
        assert_eq!(unwrapper.unwrap(1), first + 3);
        assert_eq!(unwrapper.unwrap(65535), first + 1);
        assert_eq!(unwrapper.highest(), Some(first + 3));
    }

    #[test]
    fn a_restart_continues_above_everything_seen() {
        let mut unwrapper = SequenceUnwrapper::default();
        let before = unwrapper.unwrap(60000);
        let after = unwrapper.restart(5);
        assert!(after > before + 0x8000);
        assert_eq!(after as u16, 5);
        assert_eq!(unwrapper.unwrap(6), after + 1);
    }

    #[test]
    fn what_a_window_forgets_is_new_again() {
        let mut window = SequenceWindow::<2>::default();
        for sequence in [5, 9, 10] {
            window.insert(sequence);
        }
        assert!(window.contains(9) && !window.contains(8) && !window.contains(200));
        window.forget_from(9);
        assert!(window.contains(5) && !window.contains(9));
        assert_eq!([window.insert(9), window.insert(10), window.insert(5)], [Seen::New, Seen::New, Seen::Duplicate]);
    }

    #[test]
    fn a_window_tells_new_duplicate_and_too_old() {
        let mut window = SequenceWindow::<2>::default();
        assert_eq!(window.insert(1000), Seen::New);
        assert_eq!(window.insert(1000), Seen::Duplicate);
        assert_eq!(window.insert(1127), Seen::New);
        assert_eq!(window.insert(1000), Seen::Duplicate);
        assert_eq!(window.insert(1128), Seen::New);
        assert_eq!(window.insert(1000), Seen::TooOld);
        assert_eq!(window.insert(1001), Seen::New);
        assert_eq!(window.insert(9000), Seen::New);
        assert_eq!(window.insert(8999), Seen::New);
    }

    proptest! {
        #[test]
        fn a_window_never_calls_a_number_new_twice(numbers in proptest::collection::vec(0u64..600, 0..400)) {
            let mut window = SequenceWindow::<4>::default();
            let mut seen = std::collections::HashSet::new();
            for number in numbers {
                if window.insert(number) == Seen::New {
                    prop_assert!(seen.insert(number));
                }
            }
        }
    }
}
