//! Sequence numbers of one receiver, over changing sources and packets left out.

use super::segments::{Mapped, Segments};
use crate::rtp::SequenceWindow;
use crate::rtp::sequence::Seen;

/// Why a sequence number has no place in the receiver's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// From before what the map remembers, or from before the switch to this source.
    TooLate,
    /// Its place was given out already.
    Duplicate,
}

/// Numbers that were given out and are remembered.
const WORDS: usize = 8;
pub const REMEMBERED: u64 = 64 * WORDS as u64;

/// Maps the sequence numbers of changing sources to one without gaps, except for true loss.
///
/// No number is ever given out twice: with SRTP that would be two plaintexts under one index.
#[derive(Clone, Debug)]
pub struct SequenceMap {
    segments: Segments,
    highest_in: u64,
    next_out: u64,
    sent: SequenceWindow<WORDS>,
}

impl SequenceMap {
    /// The first number given out will be `initial`.
    pub fn new(initial: u16) -> SequenceMap {
        SequenceMap {
            segments: Segments::default(),
            highest_in: 0,
            next_out: u64::from(initial),
            sent: SequenceWindow::default(),
        }
    }

    /// Begins a new source at `sequence` (at least 1), which gets the next number; earlier packets of the source have
    /// no place.
    pub fn start(&mut self, sequence: u64) {
        self.segments.begin(sequence, (self.next_out as i64).wrapping_sub(sequence as i64));
        self.highest_in = sequence.saturating_sub(1);
    }

    /// The receiver's number for a packet that is forwarded.
    pub fn map(&mut self, sequence: u64) -> Result<u64, Refused> {
        let out = match self.segments.map(sequence) {
            Mapped::To(out) => out,
            Mapped::Before => return Err(Refused::TooLate),
            // A packet that was skipped comes again: its number went to the one after it.
            Mapped::Skipped => return Err(Refused::Duplicate),
        };
        match self.sent.insert(out) {
            Seen::New => {}
            Seen::Duplicate => return Err(Refused::Duplicate),
            Seen::TooOld => return Err(Refused::TooLate),
        }
        if sequence > self.highest_in {
            self.highest_in = sequence;
            self.next_out = out + 1;
        }
        Ok(out)
    }

    /// Closes the sequence over a packet that is not forwarded on purpose. When a later packet was forwarded already
    /// its number stays unused: that number is given, because the receiver will take it for a loss.
    pub fn skip(&mut self, sequence: u64) -> Option<u64> {
        if self.segments.is_empty() {
            return None;
        }
        if sequence <= self.highest_in {
            let Mapped::To(hole) = self.segments.map(sequence) else { return None };
            return (self.sent.insert(hole) == Seen::New).then_some(hole);
        }
        self.highest_in = sequence;
        if let Mapped::To(next) = self.segments.map(sequence) {
            self.next_out = next;
        }
        self.segments.close(sequence);
        None
    }

    /// Takes back the latest numbers, as far as `waits` says of each that its packet has not left; gives out the first of
    /// them, which the next packet gets. [`SequenceMap::start`] comes next.
    pub fn take_back(&mut self, waits: impl Fn(u64) -> bool) -> u64 {
        let mut first = self.next_out;
        for number in (self.next_out.saturating_sub(REMEMBERED)..self.next_out).rev() {
            // What was lost on its way here never had its number.
            if self.sent.contains(number) {
                if !waits(number) {
                    break;
                }
                first = number;
            }
        }
        self.sent.forget_from(first);
        self.next_out = first;
        first
    }

    /// Takes the next number for a packet of our own between those of the source.
    pub fn insert(&mut self) -> u64 {
        let out = self.next_out;
        self.next_out += 1;
        self.sent.insert(out);
        self.segments.shift_from(self.highest_in + 1, 1);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// One step of a table: what happens, and the number that comes out.
    enum Step {
        Start(u64),
        Map(u64, Result<u64, Refused>),
        Skip(u64),
        Insert(u64),
    }
    use Refused::{Duplicate, TooLate};
    use Step::{Insert, Map, Skip, Start};

    fn run(name: &str, initial: u16, steps: &[Step]) {
        let mut map = SequenceMap::new(initial);
        for (index, step) in steps.iter().enumerate() {
            match *step {
                Start(sequence) => map.start(sequence),
                Map(sequence, expected) => assert_eq!(map.map(sequence), expected, "{name}, step {index}"),
                Skip(sequence) => drop(map.skip(sequence)),
                Insert(expected) => assert_eq!(map.insert(), expected, "{name}, step {index}"),
            }
        }
    }

    #[test]
    fn sequences_are_continuous_in_every_case_of_the_table() {
        run("in order", 7, &[Start(100), Map(100, Ok(7)), Map(101, Ok(8)), Map(102, Ok(9))]);
        run("reordered", 7, &[Start(100), Map(100, Ok(7)), Map(102, Ok(9)), Map(101, Ok(8)), Map(103, Ok(10))]);
        run("true loss stays a gap", 7, &[Start(100), Map(100, Ok(7)), Map(102, Ok(9)), Map(103, Ok(10))]);
        run("duplicate", 7, &[Start(100), Map(100, Ok(7)), Map(100, Err(Duplicate)), Map(101, Ok(8))]);
        run("before the start", 7, &[Start(100), Map(100, Ok(7)), Map(99, Err(TooLate)), Map(101, Ok(8))]);
        run("skipped on purpose", 7, &[Start(100), Map(100, Ok(7)), Skip(101), Map(102, Ok(8)), Map(103, Ok(9))]);
        run("skipped first packet", 7, &[Start(100), Skip(100), Map(101, Ok(7))]);
        run(
            "late packet from before a skip",
            7,
            &[Start(100), Map(100, Ok(7)), Skip(102), Map(103, Ok(9)), Map(101, Ok(8)), Map(104, Ok(10))],
        );
        run(
            "a skipped packet that comes again",
            7,
            &[Start(100), Map(100, Ok(7)), Skip(101), Map(102, Ok(8)), Map(101, Err(Duplicate))],
        );
        run(
            "a skip that comes too late leaves a gap",
            7,
            &[Start(100), Map(100, Ok(7)), Map(102, Ok(9)), Skip(101), Map(103, Ok(10))],
        );
        run(
            "source switch",
            7,
            &[Start(100), Map(100, Ok(7)), Map(101, Ok(8)), Start(90_000), Map(90_000, Ok(9)), Map(90_001, Ok(10))],
        );
        run(
            "straggler of the old source",
            7,
            &[Start(100), Map(100, Ok(7)), Start(90_000), Map(90_000, Ok(8)), Map(101, Err(TooLate))],
        );
        run(
            "over the wrap",
            65_534,
            &[Start(100), Map(100, Ok(65_534)), Map(101, Ok(65_535)), Map(102, Ok(65_536)), Map(103, Ok(65_537))],
        );
        run(
            "inserted packets",
            7,
            &[Start(100), Map(100, Ok(7)), Insert(8), Insert(9), Map(101, Ok(10)), Insert(11), Map(102, Ok(12))],
        );
        run(
            "inserted while one is missing",
            7,
            &[Start(100), Map(100, Ok(7)), Map(102, Ok(9)), Insert(10), Map(101, Ok(8))],
        );
        run("inserted before any source", 7, &[Insert(7), Start(100), Map(100, Ok(8))]);
        run("switch behind skips", 7, &[Start(100), Map(100, Ok(7)), Skip(101), Skip(102), Start(5), Map(5, Ok(8))]);
    }

    proptest! {
        #[test]
        fn no_number_is_given_out_twice(
            steps in proptest::collection::vec((0u8..10, 1u64..80), 1..300), initial: u16,
        ) {
            let mut map = SequenceMap::new(initial & 0x7fff);
            let mut given = HashSet::new();
            map.start(40);
            for (kind, sequence) in steps {
                match kind {
                    0 => map.start(sequence),
                    1 | 2 => drop(map.skip(sequence)),
                    3 => prop_assert!(given.insert(map.insert())),
                    _ => {
                        if let Ok(out) = map.map(sequence) {
                            prop_assert!(given.insert(out), "number {} twice", out);
                        }
                    }
                }
            }
        }

        #[test]
        fn no_number_that_has_left_is_given_out_again_when_others_are_taken_back(
            steps in proptest::collection::vec((0u8..10, 1u64..80, any::<bool>()), 1..300), initial: u16,
        ) {
            let mut map = SequenceMap::new(initial & 0x7fff);
            let (mut left, mut waiting) = (HashSet::new(), HashSet::new());
            map.start(40);
            for (kind, sequence, leaves) in steps {
                match kind {
                    0 => {
                        let first = map.take_back(|number| waiting.contains(&number));
                        prop_assert!(left.iter().all(|&number| number < first));
                        waiting.retain(|&number| number < first);
                        map.start(sequence);
                    }
                    1 => drop(map.skip(sequence)),
                    2 => left.extend(waiting.drain()),
                    _ => {
                        if let Ok(out) = map.map(sequence) {
                            prop_assert!(!left.contains(&out) && !waiting.contains(&out), "number {} twice", out);
                            if leaves { left.insert(out) } else { waiting.insert(out) };
                        }
                    }
                }
            }
        }

        #[test]
        fn packets_in_order_leave_without_a_gap_whatever_is_skipped(
            keep in proptest::collection::vec(any::<bool>(), 1..200)
        ) {
            let mut map = SequenceMap::new(0);
            map.start(1000);
            let mut expected = 0;
            for (index, keep) in keep.into_iter().enumerate() {
                let sequence = 1000 + index as u64;
                if keep {
                    prop_assert_eq!(map.map(sequence), Ok(expected));
                    expected += 1;
                } else {
                    map.skip(sequence);
                }
            }
        }
    }

    #[test]
    fn a_late_packet_finds_its_place_behind_many_that_were_left_out() {
        let mut map = SequenceMap::new(0);
        map.start(1_000);
        let mut expected = Vec::new();
        for picture in 0..30 {
            // Two packets of each picture are sent, ten are left out; one of the first two is late.
            let first = 1_000 + 12 * picture;
            let out = map.map(first).unwrap();
            for left_out in 2..12 {
                map.skip(first + left_out);
            }
            expected.push((first + 1, out + 1));
        }
        for (late, out) in expected {
            assert_eq!(map.map(late), Ok(out));
        }
    }

    #[test]
    fn what_waits_is_taken_back_and_the_next_source_goes_on_behind_what_has_left() {
        let mut map = SequenceMap::new(7);
        map.start(100);
        // 103 was lost on its way.
        for sequence in [100, 101, 102, 104, 105] {
            map.map(sequence).unwrap();
        }
        assert_eq!(map.take_back(|number| number >= 9), 9);
        map.start(5_000);
        assert_eq!([5_000, 5_001, 5_002, 5_003].map(|sequence| map.map(sequence)), [Ok(9), Ok(10), Ok(11), Ok(12)]);
        assert_eq!(map.take_back(|number| number != 11), 12, "only the latest");
    }

    #[test]
    fn the_number_that_a_late_skip_leaves_open_is_told_once() {
        let mut map = SequenceMap::new(7);
        map.start(100);
        for sequence in [100, 102] {
            map.map(sequence).unwrap();
        }
        assert_eq!(map.skip(103), None);
        assert_eq!(map.skip(101), Some(8));
        assert_eq!(map.skip(101), None);
        assert_eq!(map.map(101), Err(Duplicate));
    }
}
