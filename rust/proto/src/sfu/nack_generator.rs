//! Which packets of one SSRC are missing, and when their sender is asked for them again (RFC 4585 §6.2.1).

use crate::time::Time;
use std::time::Duration;

/// Most packets that are missed at one time; a larger hole is not worth filling.
const MOST_MISSING: usize = 128;
/// Packets that come in another order than they were sent, not lost, come within this.
const REORDERING: Duration = Duration::from_millis(10);
/// Least time between two requests for one packet.
const LEAST_INTERVAL: Duration = Duration::from_millis(25);
/// Requests for one packet before it is given up.
const MOST_REQUESTS: u8 = 8;
/// Most sequence numbers in one message.
pub const MOST_IN_MESSAGE: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    next: Time,
    requests: u8,
}

/// What [`NackGenerator::poll`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// How many sequence numbers were written, in ascending order.
    pub count: usize,
    /// How many of them were asked for the first time.
    pub first: usize,
    /// Packets were given up: only a keyframe helps.
    pub gave_up: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct NackGenerator {
    highest: Option<u64>,
    /// In ascending order.
    missing: Vec<Missing>,
    next: Option<Time>,
    overrun: bool,
}

impl NackGenerator {
    /// A packet came, by whichever way. True when [`NackGenerator::poll_timeout`] may have become earlier.
    pub fn received(&mut self, sequence: u64, now: Time) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return false;
        };
        if sequence == highest + 1 {
            self.highest = Some(sequence);
            return false;
        }
        if sequence <= highest {
            if let Ok(index) = self.missing.binary_search_by_key(&sequence, |missing| missing.sequence) {
                self.missing.remove(index);
            }
            return false;
        }
        self.highest = Some(sequence);
        if self.missing.len() + (sequence - highest - 1) as usize > MOST_MISSING {
            self.missing.clear();
            self.overrun = true;
            self.next = Some(now);
            return true;
        }
        let next = now + REORDERING;
        let missing = (highest + 1..sequence).map(|sequence| Missing { sequence, next, requests: 0 });
        self.missing.extend(missing);
        self.next = Some(self.next.map_or(next, |earlier| earlier.min(next)));
        true
    }

    /// Whether this packet is one that is asked for.
    pub fn misses(&self, sequence: u64) -> bool {
        self.missing.binary_search_by_key(&sequence, |missing| missing.sequence).is_ok()
    }

    /// A keyframe begins with this packet: nobody needs what came before.
    pub fn keyframe(&mut self, sequence: u64) {
        if !self.missing.is_empty() {
            self.missing.retain(|missing| missing.sequence >= sequence);
        }
        self.overrun = false;
    }

    /// The sender began anew, or nobody listens.
    pub fn reset(&mut self) {
        *self = NackGenerator { missing: std::mem::take(&mut self.missing), ..NackGenerator::default() };
        self.missing.clear();
    }

    /// When [`NackGenerator::poll`] has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next
    }

    /// Writes the numbers that are due; the next request for each comes after `round_trip`.
    pub fn poll(&mut self, now: Time, round_trip: Duration, out: &mut [u16; MOST_IN_MESSAGE]) -> Due {
        let mut due = Due { gave_up: std::mem::take(&mut self.overrun), ..Due::default() };
        if self.next.is_none_or(|next| next > now) {
            return due;
        }
        let before = self.missing.len();
        self.missing.retain(|missing| missing.next > now || missing.requests < MOST_REQUESTS);
        due.gave_up |= self.missing.len() != before;
        let interval = (round_trip + round_trip / 4).max(LEAST_INTERVAL);
        for missing in self.missing.iter_mut().filter(|missing| missing.next <= now) {
            let Some(place) = out.get_mut(due.count) else { break };
            *place = missing.sequence as u16;
            due.count += 1;
            due.first += usize::from(missing.requests == 0);
            missing.requests += 1;
            missing.next = now + interval;
        }
        self.next = self.missing.iter().map(|missing| missing.next).min();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(80);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn poll(generator: &mut NackGenerator, ms: u64) -> (Vec<u16>, bool) {
        let mut out = [0; MOST_IN_MESSAGE];
        let due = generator.poll(at(ms), ROUND_TRIP, &mut out);
        (out[..due.count].to_vec(), due.gave_up)
    }

    #[test]
    fn a_missing_packet_is_asked_for_after_the_time_of_reordering_and_again_after_a_round_trip() {
        let mut generator = NackGenerator::default();
        for sequence in [0x1_fffe, 0x2_0001] {
            generator.received(sequence, at(0));
        }
        assert_eq!(generator.poll_timeout(), Some(at(10)));
        assert_eq!(poll(&mut generator, 10), (vec![0xffff, 0], false));
        assert!(generator.misses(0x2_0000) && !generator.misses(0x2_0001));
        assert_eq!(generator.poll_timeout(), Some(at(110)));
        generator.received(0x2_0000, at(50));
        assert_eq!(poll(&mut generator, 110), (vec![0xffff], false));
    }

    #[test]
    fn reordered_packets_are_not_asked_for() {
        let mut generator = NackGenerator::default();
        for sequence in [10, 12, 11, 13] {
            generator.received(sequence, at(0));
        }
        assert_eq!(poll(&mut generator, 10), (vec![], false));
        assert_eq!(generator.poll_timeout(), None);
    }

    #[test]
    fn requests_end_with_giving_up() {
        let mut generator = NackGenerator::default();
        generator.received(10, at(0));
        generator.received(12, at(0));
        let mut requests = 0;
        while let Some(next) = generator.poll_timeout() {
            let (asked, gave_up) = poll(&mut generator, next.as_millis());
            requests += asked.len();
            assert_eq!(gave_up, asked.is_empty());
        }
        assert_eq!(requests, usize::from(MOST_REQUESTS));
    }

    #[test]
    fn a_hole_too_large_to_fill_is_given_up_at_once() {
        let mut generator = NackGenerator::default();
        generator.received(10, at(0));
        generator.received(10 + MOST_MISSING as u64 + 2, at(0));
        assert_eq!(poll(&mut generator, 0), (vec![], true));
        assert_eq!(generator.poll_timeout(), None);
    }

    #[test]
    fn a_keyframe_ends_the_search_for_what_came_before() {
        let mut generator = NackGenerator::default();
        for sequence in [10, 12, 15] {
            generator.received(sequence, at(0));
        }
        generator.keyframe(13);
        assert_eq!(poll(&mut generator, 10), (vec![13, 14], false));
    }
}
