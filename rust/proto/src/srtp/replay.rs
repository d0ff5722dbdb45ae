//! A sliding window of packet indices (RFC 3711 §3.3.2), as a ring of words (RFC 6479).

const WORDS: usize = 17;
/// Indices behind the newest one that are still told apart. Browsers use the same.
pub(super) const WINDOW: u64 = (WORDS as u64 - 1) * 64;

/// What an index is to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    Seen,
    TooOld,
}

/// Which indices were used; one word more than the window, so that moving it never clears what is still inside.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    words: [u64; WORDS],
    /// Everything up to here counts as used, whatever the words say (set by an import).
    floor: Option<u64>,
}

impl ReplayWindow {
    /// A window in which everything up to `index` is used.
    pub(super) fn restored(index: u64) -> ReplayWindow {
        ReplayWindow { highest: Some(index), words: [0; WORDS], floor: Some(index) }
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn check(&self, index: u64) -> Verdict {
        let Some(highest) = self.highest else { return Verdict::Fresh };
        if index > highest {
            return Verdict::Fresh;
        }
        if highest - index >= WINDOW {
            return Verdict::TooOld;
        }
        if self.floor.is_some_and(|floor| index <= floor) {
            return Verdict::Seen;
        }
        if self.words[slot(index)] & bit(index) == 0 { Verdict::Fresh } else { Verdict::Seen }
    }

    /// Marks an index that [`ReplayWindow::check`] found fresh.
    pub(super) fn insert(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {}
            Some(highest) => {
                // Clear the words that the window moves onto, at most all of them.
                let word = index / 64;
                let first = (highest / 64 + 1).max((word + 1).saturating_sub(WORDS as u64));
                for moved_onto in first..=word {
                    self.words[(moved_onto % WORDS as u64) as usize] = 0;
                }
                self.highest = Some(index);
            }
            None => self.highest = Some(index),
        }
        self.words[slot(index)] |= bit(index);
    }
}

fn slot(index: u64) -> usize {
    (index / 64 % WORDS as u64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn an_index_is_fresh_once() {
        let mut window = ReplayWindow::default();
        for index in [5, 3, 4, 1000, 999, 5000] {
            assert_eq!(window.check(index), Verdict::Fresh, "{index}");
            window.insert(index);
            assert_eq!(window.check(index), Verdict::Seen, "{index}");
        }
        assert_eq!(window.check(5000 - WINDOW), Verdict::TooOld);
        assert_eq!(window.check(5000 - WINDOW + 1), Verdict::Fresh);
    }

    #[test]
    fn everything_up_to_a_restored_index_is_used() {
        let mut window = ReplayWindow::restored(1000);
        assert_eq!(window.check(1000), Verdict::Seen);
        assert_eq!(window.check(900), Verdict::Seen);
        assert_eq!(window.check(1001), Verdict::Fresh);
        window.insert(1001);
        assert_eq!(window.check(999), Verdict::Seen);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(steps in proptest::collection::vec(-2000i64..3000, 1..300)) {
            let mut window = ReplayWindow::default();
            let mut seen = HashSet::new();
            let mut at = 10_000i64;
            let mut highest = None::<i64>;
            for step in steps {
                at = (at + step).max(0);
                let expected = match highest {
                    Some(high) if at <= high && high - at >= WINDOW as i64 => Verdict::TooOld,
                    _ if seen.contains(&at) => Verdict::Seen,
                    _ => Verdict::Fresh,
                };
                prop_assert_eq!(window.check(at as u64), expected);
                if expected == Verdict::Fresh {
                    window.insert(at as u64);
                    seen.insert(at);
                    highest = Some(highest.map_or(at, |high| high.max(at)));
                }
            }
        }
    }
}
