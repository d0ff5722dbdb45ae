//! The receiver's clock as feedback shows it: 24 bits of 64 ms that wrap after twelve days, and may be lies.

use crate::time::Time;

/// One turn of the reference time in microseconds (24 bits of 64 ms).
const TURN_US: i64 = (1 << 24) * 64_000;
/// How far the receiver's clock may run away from ours between two feedbacks, in microseconds.
const TOLERANCE_US: i64 = 3_000_000;

/// Unwraps arrival times and compares them with our own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArrivalClock {
    /// Last believable arrival, unwrapped, and when we heard of it.
    last: Option<(i64, Time)>,
}

/// What an arrival time is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Microseconds, unwrapped.
    At(i64),
    /// The clock has jumped; this is the time by the new one, which cannot be compared with what came before.
    Jumped(i64),
}

impl ArrivalClock {
    /// Takes an arrival time modulo [`TURN_US`] that was heard of at `now`.
    pub fn read(&mut self, arrival_us: i64, now: Time) -> Reading {
        let arrival_us = arrival_us.rem_euclid(TURN_US);
        let Some((last_us, heard)) = self.last else {
            self.last = Some((arrival_us, now));
            return Reading::Jumped(arrival_us);
        };
        let ahead = (arrival_us - last_us).rem_euclid(TURN_US);
        let step_us = if ahead < TURN_US / 2 { ahead } else { ahead - TURN_US };
        let elapsed_us = i64::try_from(now.since(heard).as_micros()).unwrap_or(i64::MAX / 2);
        let unwrapped = last_us + step_us;
        if step_us < -TOLERANCE_US || step_us > elapsed_us + TOLERANCE_US {
            // Begin again low, so that no chain of jumps runs out of numbers.
            self.last = Some((arrival_us, now));
            return Reading::Jumped(arrival_us);
        }
        if step_us > 0 {
            self.last = Some((unwrapped, now));
        }
        Reading::At(unwrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_over_the_wrap() {
        let mut clock = ArrivalClock::default();
        assert_eq!(clock.read(TURN_US - 1_000, Time::ZERO), Reading::Jumped(TURN_US - 1_000));
        assert_eq!(clock.read(2_000, Time::from_millis(3)), Reading::At(TURN_US + 2_000));
        assert_eq!(clock.read(1_000, Time::from_millis(3)), Reading::At(TURN_US + 1_000));
    }

    #[test]
    fn a_time_that_did_not_pass_here_is_a_jump() {
        let mut clock = ArrivalClock::default();
        clock.read(1_000_000, Time::ZERO);
        assert_eq!(clock.read(60_000_000, Time::from_millis(100)), Reading::Jumped(60_000_000));
        assert_eq!(clock.read(60_100_000, Time::from_millis(200)), Reading::At(60_100_000));
        assert_eq!(clock.read(1_000_000, Time::from_millis(300)), Reading::Jumped(1_000_000));
    }

    #[test]
    fn silence_is_not_a_jump() {
        let mut clock = ArrivalClock::default();
        clock.read(0, Time::ZERO);
        assert_eq!(clock.read(3_600_000_000, Time::from_millis(3_600_000)), Reading::At(3_600_000_000));
    }
}
