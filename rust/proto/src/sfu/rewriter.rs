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
