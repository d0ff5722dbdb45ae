//! Packets that left together are one group; what is compared is how groups follow each other.
//!
//! draft-ietf-rmcat-gcc-02 §5.1 and §5.2: packets sent within a burst time belong together, and so do packets that
//! arrive closer together than they were sent, because a queue that opens again lets them out in one go.

use crate::time::Time;
use std::time::Duration;

/// Packets sent within this time of the first are one group (`burst_time`).
const BURST: Duration = Duration::from_millis(5);
/// A burst by arrival ends after this time, so that a long overload does not become one group.
const LONGEST_BURST_US: i64 = 100_000;
const BURST_US: i64 = 5_000;

#[derive(Clone, Copy, Debug)]
struct Group {
    first_departure: Time,
    last_departure: Time,
    first_arrival_us: i64,
    last_arrival_us: i64,
}

/// How a group followed the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta {
    /// Time between their last departures in milliseconds.
    pub departure_ms: f64,
    /// Time between their last arrivals in milliseconds.
    pub arrival_ms: f64,
    /// Last arrival of the newer one on the receiver's clock, in microseconds.
    pub arrival_us: i64,
}

impl Delta {
    /// Growth of the one-way delay in milliseconds (`d(i)` of the draft).
    pub fn growth_ms(&self) -> f64 {
        self.arrival_ms - self.departure_ms
    }
}

/// The group that is being filled and the one before it.
#[derive(Debug, Default)]
pub struct ArrivalGroups {
    current: Option<Group>,
    previous: Option<Group>,
}

impl ArrivalGroups {
    /// Takes a received packet; packets come in the order of their sequence numbers. Gives out a comparison when the
    /// packet opens a new group and two are complete.
    pub fn packet(&mut self, departure: Time, arrival_us: i64) -> Option<Delta> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group::new(departure, arrival_us));
            return None;
        };
        if departure < current.first_departure {
            return None; // Reordered into a group that is closed.
        }
        if current.takes(departure, arrival_us) {
            current.last_departure = current.last_departure.max(departure);
            current.last_arrival_us = current.last_arrival_us.max(arrival_us);
            return None;
        }
        let complete = *current;
        let delta = self.previous.map(|previous| complete.after(&previous));
        self.previous = Some(complete);
        self.current = Some(Group::new(departure, arrival_us));
        // Arrivals that run backwards by more than reordering explains say nothing about a queue.
        delta.filter(|delta| delta.arrival_ms > 0.0)
    }

    /// Forgets what was seen: the receiver's clock has jumped.
    pub fn reset(&mut self) {
        *self = ArrivalGroups::default();
    }
}

impl Group {
    fn new(departure: Time, arrival_us: i64) -> Group {
        Group {
            first_departure: departure,
            last_departure: departure,
            first_arrival_us: arrival_us,
            last_arrival_us: arrival_us,
        }
    }

    fn takes(&self, departure: Time, arrival_us: i64) -> bool {
        if departure.since(self.first_departure) <= BURST {
            return true;
        }
        let gap_us = arrival_us - self.last_arrival_us;
        let sent_us = departure.since(self.last_departure).as_micros() as i64;
        gap_us <= BURST_US && gap_us < sent_us && arrival_us - self.first_arrival_us < LONGEST_BURST_US
    }

    fn after(&self, previous: &Group) -> Delta {
        Delta {
            departure_ms: self.last_departure.since(previous.last_departure).as_secs_f64() * 1e3,
            arrival_ms: (self.last_arrival_us - previous.last_arrival_us) as f64 / 1e3,
            arrival_us: self.last_arrival_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn frames_are_compared_by_their_last_packets() {
        let mut groups = ArrivalGroups::default();
        for (sent, arrival_ms) in [(0, 50), (1, 55), (33, 90), (34, 99)] {
            assert_eq!(groups.packet(ms(sent), arrival_ms * 1000), None);
        }
        let delta = groups.packet(ms(66), 130_000).unwrap();
        assert_eq!((delta.departure_ms, delta.arrival_ms, delta.arrival_us), (33.0, 44.0, 99_000));
        assert_eq!(delta.growth_ms(), 11.0);
    }

    #[test]
    fn packets_that_a_blocked_link_lets_out_together_are_one_group() {
        let mut groups = ArrivalGroups::default();
        groups.packet(ms(0), 50_000);
        groups.packet(ms(20), 120_000);
        assert_eq!(groups.packet(ms(40), 121_000), None);
        assert_eq!(groups.packet(ms(60), 122_000), None);
        let delta = groups.packet(ms(80), 130_000).unwrap();
        assert_eq!((delta.departure_ms, delta.arrival_ms), (60.0, 72.0));
    }

    #[test]
    fn a_packet_from_before_the_group_is_passed_over() {
        let mut groups = ArrivalGroups::default();
        groups.packet(ms(0), 50_000);
        groups.packet(ms(20), 70_000);
        assert_eq!(groups.packet(ms(1), 500_000), None);
        assert_eq!(groups.packet(ms(40), 90_000).unwrap().growth_ms(), 0.0);
    }
}
