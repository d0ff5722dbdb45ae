//! When to ask the other end for a sign of life, and when to give it up. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Between questions while paths exist.
pub(crate) const BUSY_INTERVAL: Duration = Duration::from_millis(500);
/// Between questions while there is nothing to lose.
pub(crate) const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// Without a sign of life for as long the other end is dead; of an idle link from the question on.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(2);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet.
    Wait,
    /// Send a question.
    Ask,
    /// The other end has not answered.
    Dead,
}

/// The keep-alive of one connection; at most one question is open.
#[derive(Debug)]
pub(crate) struct Pulse {
    busy: bool,
    last_sign: Instant,
    asked: Option<Instant>,
}

impl Pulse {
    /// A connection that shows life at `now`.
    pub(crate) fn new(now: Instant, busy: bool) -> Pulse {
        Pulse { busy, last_sign: now, asked: None }
    }

    /// Whether paths exist.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// When [`Pulse::handle_timeout`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match self.asked {
            Some(asked) if self.busy => self.last_sign.max(asked - BUSY_INTERVAL) + DEAD_AFTER,
            Some(asked) => asked + DEAD_AFTER,
            None if self.busy => self.last_sign + BUSY_INTERVAL,
            None => self.last_sign + IDLE_INTERVAL,
        }
    }

    /// What is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Beat {
        if now < self.poll_timeout() {
            return Beat::Wait;
        }
        if self.asked.is_some() {
            return Beat::Dead;
        }
        self.asked = Some(now);
        Beat::Ask
    }

    /// The question was answered.
    pub(crate) fn handle_answer(&mut self, now: Instant) {
        self.asked = None;
        self.last_sign = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at its time and answers at once, `rounds` times; gives when the last answer came.
    fn answered(pulse: &mut Pulse, rounds: u32) -> Instant {
        let mut now = pulse.last_sign;
        for _ in 0..rounds {
            now = pulse.poll_timeout();
            assert_eq!(pulse.handle_timeout(now), Beat::Ask);
            pulse.handle_answer(now);
        }
        now
    }

    #[test]
    fn a_busy_link_is_asked_every_half_second_and_is_dead_after_two() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, true);
        let last = answered(&mut pulse, 10);
        assert_eq!(last - start, Duration::from_secs(5));
        let asked = pulse.poll_timeout();
        assert_eq!((asked - last, pulse.handle_timeout(asked)), (BUSY_INTERVAL, Beat::Ask));
        let dead = pulse.poll_timeout();
        assert_eq!(dead - last, DEAD_AFTER);
        assert_eq!(pulse.handle_timeout(dead - Duration::from_millis(1)), Beat::Wait);
        assert_eq!(pulse.handle_timeout(dead), Beat::Dead);
    }

    #[test]
    fn an_idle_link_is_asked_every_five_seconds_and_has_two_to_answer() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, false);
        let asked = pulse.poll_timeout();
        assert_eq!((asked - start, pulse.handle_timeout(asked)), (IDLE_INTERVAL, Beat::Ask));
        assert_eq!(pulse.poll_timeout() - asked, DEAD_AFTER);
    }

    #[test]
    fn a_link_that_becomes_busy_is_asked_at_once_when_it_was_silent_for_long() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, false);
        let now = start + Duration::from_secs(3);
        assert_eq!(pulse.handle_timeout(now), Beat::Wait);
        pulse.set_busy(true);
        assert_eq!(pulse.handle_timeout(now), Beat::Ask);
        // It was not to be asked before, so its silence until then says nothing.
        assert_eq!(pulse.poll_timeout() - now, DEAD_AFTER - BUSY_INTERVAL);
    }
}
