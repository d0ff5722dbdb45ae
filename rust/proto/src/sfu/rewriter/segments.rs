//! A piecewise shift of numbers that never wrap, with a bounded memory for late ones.

/// From `start` on, out = in + shift.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    start: u64,
    shift: i64,
}

impl Segment {
    fn map(self, number: u64) -> u64 {
        number.wrapping_add_signed(self.shift)
    }
}

/// Most changes of the shift that are remembered: a second of pictures with upper layers left out of each.
const SEGMENTS: usize = 32;

/// Where a number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// There.
    To(u64),
    /// It lies before everything remembered.
    Before,
    /// It was left out: its place went to the next one.
    Skipped,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    segments: [Segment; SEGMENTS],
    len: usize,
}

impl Segments {
    /// Whether no source has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything and shifts all numbers from `start` on.
    pub(super) fn begin(&mut self, start: u64, shift: i64) {
        self.segments[0] = Segment { start, shift };
        self.len = 1;
    }

    /// Where a number goes.
    pub(super) fn map(&self, number: u64) -> Mapped {
        let known = &self.segments[..self.len];
        let Some(index) = known.iter().rposition(|segment| segment.start <= number) else { return Mapped::Before };
        let out = known[index].map(number);
        match known.get(index + 1) {
            Some(next) if out >= next.map(next.start) => Mapped::Skipped,
            _ => Mapped::To(out),
        }
    }

    /// Closes over `number`, the latest one: what follows takes its place. Numbers left out one after the other are one
    /// change.
    pub(super) fn close(&mut self, number: u64) {
        match self.segments[..self.len].split_last_mut() {
            Some((last, before)) if last.start == number && !before.is_empty() => {
                *last = Segment { start: number + 1, shift: last.shift - 1 };
            }
            _ => self.shift_from(number + 1, -1),
        }
    }

    /// Changes the shift by `change` from `start` on, which no earlier change may lie behind.
    pub(super) fn shift_from(&mut self, start: u64, change: i64) {
        let Some(last) = self.len.checked_sub(1) else { return };
        let segment = Segment { start, shift: self.segments[last].shift + change };
        if self.segments[last].start == start {
            self.segments[last] = segment;
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
