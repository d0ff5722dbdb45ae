//! Continuity of what one receiver gets: sequence numbers, timestamps and VP8 picture ids over drops and switches.

use crate::codec::vp8;
use crate::rtp::SequenceWindow;
use crate::rtp::sequence::Seen;
use crate::time::Time;

/// Why a sequence number has no place in the receiver's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// From before what the map remembers, or from before the switch to this source.
    TooLate,
    /// Its place was given out already.
    Duplicate,
}

/// From `start` on, out = in + shift.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    start: u64,
    shift: i64,
}

impl Segment {
    fn map(self, sequence: u64) -> u64 {
        sequence.wrapping_add_signed(self.shift)
    }
}

/// Most changes of the shift that are remembered for late packets.
const SEGMENTS: usize = 16;

/// Maps the sequence numbers of changing sources to one without gaps, except for true loss.
///
/// No number is ever given out twice: with SRTP that would be two plaintexts under one index.
#[derive(Clone, Debug)]
pub struct SequenceMap {
    segments: [Segment; SEGMENTS],
    len: usize,
    highest_in: u64,
    next_out: u64,
    sent: SequenceWindow<8>,
}

impl SequenceMap {
    /// The first number given out will be `initial`.
    pub fn new(initial: u16) -> SequenceMap {
        SequenceMap {
            segments: [Segment::default(); SEGMENTS],
            len: 0,
            highest_in: 0,
            next_out: u64::from(initial),
            sent: SequenceWindow::default(),
        }
    }

    /// Begins a new source at `sequence` (at least 1), which gets the next number; earlier packets of the source have
    /// no place.
    pub fn start(&mut self, sequence: u64) {
        self.segments[0] = Segment { start: sequence, shift: (self.next_out as i64).wrapping_sub(sequence as i64) };
        self.len = 1;
        self.highest_in = sequence.saturating_sub(1);
    }

    /// The receiver's number for a packet that is forwarded.
    pub fn map(&mut self, sequence: u64) -> Result<u64, Refused> {
        let index = self.segments[..self.len].iter().rposition(|segment| segment.start <= sequence);
        let index = index.ok_or(Refused::TooLate)?;
        let out = self.segments[index].map(sequence);
        let next = self.segments[..self.len].get(index + 1);
        if next.is_some_and(|next| out >= next.map(next.start)) {
            // A packet that was skipped comes again: its number went to the one after it.
            return Err(Refused::Duplicate);
        }
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
    /// its number stays unused, which the receiver takes for a loss.
    pub fn skip(&mut self, sequence: u64) {
        if self.len == 0 || sequence <= self.highest_in {
            return;
        }
        let last = self.segments[self.len - 1];
        self.highest_in = sequence;
        self.next_out = last.map(sequence);
        self.push(Segment { start: sequence + 1, shift: last.shift - 1 });
    }

    /// Takes the next number for a packet of our own between those of the source.
    pub fn insert(&mut self) -> u64 {
        let out = self.next_out;
        self.next_out += 1;
        self.sent.insert(out);
        if self.len > 0 {
            let last = self.segments[self.len - 1];
            self.push(Segment { start: self.highest_in + 1, shift: last.shift + 1 });
        }
        out
    }

    fn push(&mut self, segment: Segment) {
        if self.segments[self.len - 1].start == segment.start {
            self.segments[self.len - 1] = segment;
            return;
        }
        if self.len == SEGMENTS {
            self.segments.copy_within(1.., 0);
            self.len -= 1;
        }
        self.segments[self.len] = segment;
        self.len += 1;
    }
}

/// Timestamp units that pass in `nanos` nanoseconds at `clock_rate` Hz, modulo 2^32.
pub fn units(nanos: u64, clock_rate: u32) -> u32 {
    (u128::from(nanos) * u128::from(clock_rate) / 1_000_000_000) as u32
}

/// Maps the timestamps of changing sources to one timeline that goes on with the clock.
#[derive(Clone, Copy, Debug)]
pub struct TimestampMap {
    shift: u32,
    newest: u32,
    capture: Time,
    clock_rate: u32,
    started: bool,
}

impl TimestampMap {
    /// The first timestamp given out will be `initial`.
    pub fn new(initial: u32) -> TimestampMap {
        TimestampMap { shift: 0, newest: initial, capture: Time::ZERO, clock_rate: 0, started: false }
    }

    /// Begins a new source, whose packet with `timestamp` was sampled at `capture`. The time since the newest packet
    /// of the old source passes in the timeline, at the new source's clock rate; at least one unit.
    pub fn start(&mut self, timestamp: u32, capture: Time, clock_rate: u32) {
        let out = if self.started { self.at(capture, clock_rate) } else { self.newest };
        self.shift = out.wrapping_sub(timestamp);
        self.newest = out;
        self.capture = capture;
        self.clock_rate = clock_rate;
        self.started = true;
    }

    /// The receiver's timestamp of a packet of the current source.
    pub fn map(&mut self, timestamp: u32, capture: Time) -> u32 {
        let out = timestamp.wrapping_add(self.shift);
        if out.wrapping_sub(self.newest) < 0x8000_0000 {
            self.newest = out;
            self.capture = capture;
        }
        out
    }

    /// Begins the timeline without a source, for packets of our own.
    pub fn begin(&mut self, now: Time, clock_rate: u32) {
        if !self.started {
            (self.capture, self.clock_rate, self.started) = (now, clock_rate, true);
        }
    }

    /// Clock of the current source in Hz; zero before the first.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The timestamp of the instant `time` in the receiver's timeline; later than the newest by at least one unit.
    pub fn at(&self, time: Time, clock_rate: u32) -> u32 {
        let nanos = time.0.saturating_sub(self.capture.0);
        self.newest.wrapping_add(units(nanos, clock_rate).max(1))
    }

    /// The timestamp that belongs to `now` in a sender report; `None` before the first packet.
    pub fn report(&self, now: Time) -> Option<u32> {
        self.started.then(|| self.newest.wrapping_add(units(now.0.saturating_sub(self.capture.0), self.clock_rate)))
    }
}

/// Keeps VP8 picture ids and TL0PICIDX continuous over source switches (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Vp8Map {
    newest_in: u16,
    newest_out: Option<u16>,
    fresh: bool,
    tl0_shift: u8,
    newest_tl0: Option<u8>,
}

impl Vp8Map {
    /// The next descriptor belongs to a new source.
    pub fn start(&mut self) {
        self.fresh = true;
    }

    /// The descriptor as the receiver gets it; picture ids always go out with 15 bits.
    pub fn map(&mut self, descriptor: &vp8::Descriptor) -> vp8::Descriptor {
        let mut mapped = *descriptor;
        let fresh = std::mem::take(&mut self.fresh);
        if let Some(id) = descriptor.picture_id {
            let out = match self.newest_out {
                None => {
                    (self.newest_in, self.newest_out) = (id, Some(id));
                    id
                }
                Some(newest) if fresh => {
                    let out = (newest + 1) & 0x7fff;
                    (self.newest_in, self.newest_out) = (id, Some(out));
                    out
                }
                Some(newest) => {
                    let bits = if descriptor.long_picture_id { 15 } else { 7 };
                    let mask = (1u16 << bits) - 1;
                    let forward = id.wrapping_sub(self.newest_in) & mask;
                    if forward <= mask / 2 {
                        let out = newest.wrapping_add(forward) & 0x7fff;
                        (self.newest_in, self.newest_out) = (id, Some(out));
                        out
                    } else {
                        newest.wrapping_sub((mask - forward) + 1) & 0x7fff
                    }
                }
            };
            mapped.picture_id = Some(out);
            mapped.long_picture_id = true;
        }
        if let Some(index) = descriptor.tl0_picture_index {
            if fresh {
                self.tl0_shift = self.newest_tl0.map_or(0, |newest| newest.wrapping_add(1).wrapping_sub(index));
            }
            let out = index.wrapping_add(self.tl0_shift);
            if self.newest_tl0.is_none_or(|newest| out.wrapping_sub(newest) < 0x80) {
                self.newest_tl0 = Some(out);
            }
            mapped.tl0_picture_index = Some(out);
        }
        mapped
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
                Skip(sequence) => map.skip(sequence),
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
                    1 | 2 => map.skip(sequence),
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
    fn timestamps_go_on_with_the_clock_over_a_switch() {
        let mut map = TimestampMap::new(u32::MAX - 100);
        map.start(5_000, Time::from_millis(0), 8_000);
        assert_eq!(map.map(5_000, Time::from_millis(0)), u32::MAX - 100);
        assert_eq!(map.map(5_160, Time::from_millis(20)), 59, "over the wrap");
        map.start(777, Time::from_millis(60), 8_000);
        assert_eq!(map.map(777, Time::from_millis(60)), 59 + 320);
    }

    #[test]
    fn a_switch_to_another_clock_counts_the_pause_in_the_new_one() {
        let mut map = TimestampMap::new(0);
        map.start(0, Time::ZERO, 48_000);
        map.map(0, Time::ZERO);
        map.start(9, Time::from_millis(20), 8_000);
        assert_eq!(map.map(9, Time::from_millis(20)), 160);
        assert_eq!(map.report(Time::from_millis(40)), Some(320));
    }

    #[test]
    fn a_switch_without_time_between_still_moves_forward() {
        let mut map = TimestampMap::new(10);
        map.start(0, Time::from_millis(5), 90_000);
        map.start(0, Time::from_millis(5), 90_000);
        assert_eq!(map.map(0, Time::from_millis(5)), 11);
    }

    #[test]
    fn late_packets_keep_their_timestamp_and_do_not_move_the_clock() {
        let mut map = TimestampMap::new(0);
        map.start(1_000, Time::ZERO, 8_000);
        map.map(1_320, Time::from_millis(40));
        assert_eq!(map.map(1_160, Time::from_millis(41)), 160);
        assert_eq!(map.report(Time::from_millis(40)), Some(320));
    }

    fn descriptor(picture_id: u16, long: bool, tl0: u8) -> vp8::Descriptor {
        vp8::Descriptor {
            picture_id: Some(picture_id),
            long_picture_id: long,
            tl0_picture_index: Some(tl0),
            ..vp8::Descriptor::default()
        }
    }

    fn ids(map: &mut Vp8Map, picture_id: u16, long: bool, tl0: u8) -> (u16, u8) {
        let mapped = map.map(&descriptor(picture_id, long, tl0));
        assert!(mapped.long_picture_id);
        (mapped.picture_id.unwrap(), mapped.tl0_picture_index.unwrap())
    }

    #[test]
    fn picture_ids_go_on_over_a_switch_and_their_wrap() {
        let mut map = Vp8Map::default();
        map.start();
        assert_eq!(ids(&mut map, 0x7ffe, true, 254), (0x7ffe, 254));
        assert_eq!(ids(&mut map, 0x7fff, true, 255), (0x7fff, 255));
        assert_eq!(ids(&mut map, 0, true, 0), (0, 0));
        map.start();
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1));
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1), "second packet of the picture");
        assert_eq!(ids(&mut map, 0x1236, true, 78), (3, 2));
        assert_eq!(ids(&mut map, 0x1235, true, 77), (2, 1), "reordered");
    }

    #[test]
    fn seven_bit_picture_ids_become_fifteen_bit_ones() {
        let mut map = Vp8Map::default();
        map.start();
        assert_eq!(ids(&mut map, 126, false, 0).0, 126);
        assert_eq!(ids(&mut map, 127, false, 1).0, 127);
        assert_eq!(ids(&mut map, 0, false, 2).0, 128);
        assert_eq!(ids(&mut map, 127, false, 1).0, 127, "reordered over the wrap");
    }
}
