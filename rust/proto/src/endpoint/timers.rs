//! When which transport wants to be called: a heap whose stale entries are dropped as they come up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Points in time with the slot that asked for them.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, usize)>>,
}

impl Timers {
    /// Asks for a call of `slot` at `at`. `armed` is what the slot remembers of its earliest entry here.
    pub(super) fn arm(&mut self, slot: usize, at: Option<Time>, armed: &mut Option<Time>) {
        let Some(at) = at else { return };
        // A later deadline than the one already here is found out when that one comes up: no entry per packet.
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.heap.push(Reverse((at, slot)));
        }
    }

    /// The earliest entry.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry when it is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, usize)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_makes_a_new_entry() {
        let mut timers = Timers::default();
        let mut armed = None;
        timers.arm(3, Some(Time(50)), &mut armed);
        timers.arm(3, Some(Time(70)), &mut armed);
        timers.arm(3, Some(Time(20)), &mut armed);
        assert_eq!(timers.heap.len(), 2);
        assert_eq!(timers.next(), Some(Time(20)));
        assert_eq!(timers.pop(Time(10)), None);
        assert_eq!(timers.pop(Time(20)), Some((Time(20), 3)));
    }
}
