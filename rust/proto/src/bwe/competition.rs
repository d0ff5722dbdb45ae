//! Is somebody else filling the queue? Then making room for it only makes room for him.
//!
//! The threshold that adapts (draft-ietf-rmcat-gcc-02 §5.4) keeps a flow from starving beside TCP, but every decrease
//! still loses a share that a loss-driven flow takes at once. So each decrease is looked back at: when we alone were
//! the cause, the queue is gone soon after, or more arrives than is sent until it is. When most of it is still there and
//! no more arrives than is sent, others fill it: the decrease is taken back, and for a while only loss lowers the rate,
//! as it does for those we compete with. The while ends by itself, and the next decrease finds out again.

use crate::time::Time;
use std::time::Duration;

/// Less of a queue proves nothing, in milliseconds.
const QUEUE_MS: f64 = 40.0;
/// Share of the queue that is left when it was not ours.
const LEFT: f64 = 0.5;
/// When a decrease is looked back at, beside the round trip.
const PATIENCE: Duration = Duration::from_millis(700);
/// So many more decreases that did not help than ones that did make a competitor; more are not counted.
const FUTILE: u32 = 2;
const FUTILE_MAX: u32 = 4;
/// They must lie this far apart: after a fall of the capacity several flows like us need some seconds to find out.
const SPREAD: Duration = Duration::from_millis(3_000);
/// How long that is believed.
const BELIEF: Duration = Duration::from_millis(20_000);

/// And the queue must have overflowed twice in this time, with so much time between: flows like us do not let it.
const OVERFLOWS_WITHIN: Duration = Duration::from_millis(60_000);
const OVERFLOWS_APART: Duration = Duration::from_millis(2_000);

/// A decrease that is to be looked back at.
#[derive(Clone, Copy, Debug)]
struct Decrease {
    before_bps: f64,
    queue_ms: f64,
    look: Time,
}

/// The memory of decreases.
#[derive(Debug, Default)]
pub struct Competition {
    last: Option<Decrease>,
    futile: u32,
    /// When the first of them was.
    first: Option<Time>,
    until: Option<Time>,
    /// The last loss with a queue, and the beginnings of the last two stretches of it.
    overflowed: Option<Time>,
    overflows: [Option<Time>; 2],
}

impl Competition {
    /// Packets were lost while the queue was `queue_ms` long.
    pub fn lost(&mut self, queue_ms: f64, now: Time) {
        if queue_ms < QUEUE_MS {
            return;
        }
        if self.overflowed.is_none_or(|last| now.since(last) > OVERFLOWS_APART) {
            self.overflows = [self.overflows[1], Some(now)];
        }
        self.overflowed = Some(now);
    }

    /// The rate was lowered from `before_bps` because of a queue of `queue_ms`.
    pub fn decreased(&mut self, before_bps: f64, queue_ms: f64, round_trip: Duration, now: Time) {
        if queue_ms < QUEUE_MS {
            self.last = None;
            return;
        }
        // A second decrease before the first was looked back at belongs to it.
        let first = self.last.get_or_insert(Decrease { before_bps, queue_ms, look: now + round_trip + PATIENCE });
        first.queue_ms = first.queue_ms.max(queue_ms);
    }

    /// Looks back when it is time; gives out the rate to go back to when the decrease was futile. `draining` says that
    /// more arrives than is sent.
    pub fn look_back(&mut self, queue_ms: f64, draining: bool, now: Time) -> Option<f64> {
        let decrease = self.last.filter(|last| now >= last.look)?;
        self.last = None;
        if draining {
            return None; // It proves nothing in either direction.
        }
        if queue_ms < LEFT * decrease.queue_ms {
            self.futile = self.futile.saturating_sub(1);
            return None;
        }
        if self.futile == 0 {
            self.first = Some(now);
        }
        self.futile = (self.futile + 1).min(FUTILE_MAX);
        let overflows = self.overflows[0].is_some_and(|first| now.since(first) < OVERFLOWS_WITHIN);
        if !overflows || self.futile < FUTILE || self.first.is_some_and(|first| now.since(first) < SPREAD) {
            return None;
        }
        self.until = Some(now + BELIEF);
        Some(decrease.before_bps)
    }

    /// Whether only loss is to lower the rate now.
    pub fn is_on(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(100);

    /// A decrease each four and a half seconds; the share `left` of the queue is still there when it is looked back at.
    fn run(left: f64, times: u64) -> (Competition, Vec<Option<f64>>) {
        let mut competition = Competition::default();
        competition.lost(100.0, Time::ZERO);
        competition.lost(100.0, Time::from_millis(4_000));
        let seen = (1..=times).map(|time| {
            let now = Time::from_millis(time * 4_500);
            competition.decreased(1e6, 100.0, TRIP, now);
            assert_eq!(competition.look_back(100.0 * left, false, now + TRIP), None);
            competition.look_back(100.0 * left, false, now + TRIP + PATIENCE)
        });
        let seen = seen.collect();
        (competition, seen)
    }

    #[test]
    fn a_queue_that_goes_away_was_ours() {
        let (competition, seen) = run(0.2, 5);
        assert_eq!(seen, [None; 5]);
        assert!(!competition.is_on(Time::from_millis(24_000)));
    }

    #[test]
    fn without_loss_nobody_fills_the_queue() {
        let mut competition = Competition::default();
        competition.lost(100.0, Time::ZERO);
        for time in 1..5 {
            let now = Time::from_millis(time * 4_500);
            competition.decreased(1e6, 100.0, TRIP, now);
            assert_eq!(competition.look_back(90.0, false, now + TRIP + PATIENCE), None);
        }
    }

    #[test]
    fn a_long_queue_that_is_being_emptied_is_ours() {
        let mut competition = Competition::default();
        for time in 1..5 {
            let now = Time::from_millis(time * 2_000);
            competition.decreased(1e6, 300.0, TRIP, now);
            assert_eq!(competition.look_back(200.0, true, now + TRIP + PATIENCE), None);
        }
    }

    #[test]
    fn a_queue_that_stays_is_anothers_and_that_is_believed_for_a_while() {
        let (competition, seen) = run(0.8, 2);
        assert_eq!(seen, [None, Some(1e6)]);
        assert!(competition.is_on(Time::from_millis(16_700)));
        assert!(!competition.is_on(Time::from_millis(29_900)));
    }
}
