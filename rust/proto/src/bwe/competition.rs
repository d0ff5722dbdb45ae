//! Is somebody else filling the queue? Then making room for it only makes room for him.
//!
//! The threshold that adapts (draft-ietf-rmcat-gcc-02 §5.4) keeps a flow from starving beside TCP, but every decrease
//! still loses a share that a loss-driven flow takes at once. So each decrease is looked back at: when we alone were
//! the cause, the queue is gone soon after, or more arrives than is sent until it is. When most of it is still there and
//! no more arrives than is sent, others fill it: the decrease is taken back, and for a while only loss lowers the rate,
//! as it does for those we compete with. The while ends by itself, and the next decrease finds out again.
//!
//! A flow that joins a queue which another keeps full sees few losses, and between two of its decreases the other's
//! window may fall by itself. So what happened over several decreases is looked at, too: a queue that is as long as ever
//! after we have given way to it for some seconds is not ours.

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
const BELIEF: Duration = Duration::from_millis(40_000);

/// And the queue must have overflowed twice in this time, with so much time between: flows like us do not let it.
const OVERFLOWS_WITHIN: Duration = Duration::from_millis(60_000);
const OVERFLOWS_APART: Duration = Duration::from_millis(2_000);

/// A queue that stays is longer than this, in milliseconds; beside loss, or on a slow path, than the second. Flows like
/// us keep a queue of some tens of milliseconds between them.
const PRESSURE_MS: f64 = 100.0;
const PRESSURE_LOST_MS: f64 = 60.0;
/// The loss was no longer ago than this.
const PRESSURE_LOST: Duration = Duration::from_millis(10_000);
/// It has lasted for so long, and we send no more than this share of what we sent when it began.
const PRESSURE_AFTER: Duration = Duration::from_millis(3_000);
const GAVE_WAY: f64 = 0.6;
/// A round trip of more than this is a queue that was there before us, more likely than a path: less will do then.
const SLOW: Duration = Duration::from_millis(700);
const SLOW_AFTER: Duration = Duration::from_millis(1_000);
const SLOW_GAVE_WAY: f64 = 0.85;
/// Less than this share arrives of what arrived so long after it began.
const TAKEN: f64 = 0.95;
const PRESSURE_BEFORE: Duration = Duration::from_millis(500);
/// It is at least this share of the longest meanwhile.
const STAYS: f64 = 0.8;
/// A queue that was short for so long is another one.
const ANOTHER: Duration = Duration::from_millis(3_000);
/// On a line on which the queue was shorter than this (milliseconds) for so long nobody fills one now.
const EMPTY_MS: f64 = 20.0;
const PAUSES: Duration = Duration::from_millis(3_000);

/// A queue that stays although we give way.
#[derive(Clone, Copy, Debug)]
struct Pressure {
    since: Time,
    seen: Time,
    before_bps: f64,
    most_ms: f64,
    /// What arrived of what we send, some time after it began.
    acked_bps: Option<f64>,
}

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
    pressure: Option<Pressure>,
    /// When one was last found to be another's.
    pressed: Option<Time>,
    /// Since when there has been no queue.
    empty: Option<Time>,
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

    /// The queue is `queue_ms` long.
    pub fn saw(&mut self, queue_ms: f64, now: Time) {
        self.empty = self.empty.filter(|_| queue_ms < EMPTY_MS).or_else(|| (queue_ms < EMPTY_MS).then_some(now));
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

    /// Looks at a queue that stays: the rate was `before_bps` and is `bps` now, and `acked_bps` arrives. Gives out the
    /// rate to go back to when we have given way for nothing.
    pub fn pressed(
        &mut self,
        (before_bps, bps): (f64, f64),
        queue_ms: f64,
        acked_bps: f64,
        round_trip: Duration,
        now: Time,
    ) -> Option<f64> {
        if self.is_on(now) {
            self.pressure = None;
            return None;
        }
        let slow = round_trip > SLOW;
        let lost = self.overflowed.is_some_and(|at| now.since(at) < PRESSURE_LOST);
        if queue_ms < if slow || lost { PRESSURE_LOST_MS } else { PRESSURE_MS } {
            self.pressure = self.pressure.filter(|pressure| now.since(pressure.seen) <= ANOTHER);
            return None;
        }
        let new = Pressure { since: now, seen: now, before_bps, most_ms: queue_ms, acked_bps: None };
        let pressure = self.pressure.get_or_insert(new);
        pressure.seen = now;
        pressure.most_ms = pressure.most_ms.max(queue_ms);
        let (after, share) = if slow { (SLOW_AFTER, SLOW_GAVE_WAY) } else { (PRESSURE_AFTER, GAVE_WAY) };
        let Pressure { since, before_bps, most_ms, .. } = *pressure;
        // While a queue of ours is emptied as much arrives as ever; where somebody else takes the room, less.
        if now.since(since) < PRESSURE_BEFORE {
            return None;
        }
        let taken = acked_bps <= TAKEN * *pressure.acked_bps.get_or_insert(acked_bps);
        if !taken || now.since(since) < after || bps > share * before_bps || queue_ms < STAYS * most_ms {
            return None;
        }
        self.pressure = None;
        self.pressed = Some(now);
        (self.futile, self.first) = (FUTILE_MAX, Some(now));
        self.until = Some(now + BELIEF);
        Some(before_bps)
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
        let mut evidence = [self.overflows[0], self.pressed].into_iter().flatten();
        let overflows = evidence.any(|at| now.since(at) < OVERFLOWS_WITHIN);
        if !overflows || self.futile < FUTILE || self.first.is_some_and(|first| now.since(first) < SPREAD) {
            return None;
        }
        self.until = Some(now + BELIEF);
        Some(decrease.before_bps)
    }

    /// Whether a train would only meet the queue of another. He may pause or have left, and it may have been a machine
    /// that stood still for some moments: without a queue a train tells what the line carries.
    pub fn hides_line(&self, now: Time) -> bool {
        self.is_on(now) && self.empty.is_none_or(|since| now.since(since) < PAUSES)
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
        assert!(!competition.is_on(Time::from_millis(49_900)));
    }

    /// Feeds a queue every 100 ms while the rate is lowered by a tenth each half second, and of what is sent as much
    /// arrives as others leave of the line; when it was found to be another's, in milliseconds, and the rate to go back to.
    fn press(lost: bool, trip: Duration, queue_ms: impl Fn(u64) -> f64) -> Option<(u64, f64)> {
        press_beside(lost, trip, queue_ms, |bps| bps)
    }

    fn press_beside(
        lost: bool,
        trip: Duration,
        queue_ms: impl Fn(u64) -> f64,
        acked_bps: impl Fn(f64) -> f64,
    ) -> Option<(u64, f64)> {
        let (mut competition, mut bps) = (Competition::default(), 1e6);
        (0..100u64).find_map(|step| {
            let now = Time::from_millis(step * 100);
            if lost && step == 5 {
                competition.lost(queue_ms(step * 100), now);
            }
            let before_bps = bps;
            bps *= if step % 5 == 4 { 0.9 } else { 1.0 };
            let back = competition.pressed((before_bps, bps), queue_ms(step * 100), acked_bps(bps), trip, now)?;
            assert!(competition.is_on(now));
            Some((step * 100, back))
        })
    }

    #[test]
    fn a_queue_that_is_as_long_as_ever_after_we_gave_way_is_anothers() {
        assert_eq!(press(false, TRIP, |_| 150.0), Some((3_000, 1e6)));
        assert_eq!(press(false, TRIP, |ms| if ms % 2_000 < 600 { 10.0 } else { 150.0 }), Some((3_600, 9e5)));
        assert_eq!(press(false, TRIP, |_| 80.0), None, "flows like us may do that");
        assert_eq!(press(true, TRIP, |_| 80.0), Some((3_500, 9e5)));
    }

    #[test]
    fn a_competitor_hides_the_line_only_while_there_is_a_queue() {
        let (mut competition, _) = run(0.8, 2);
        let mut hides = |ms: u64, queue_ms: f64| {
            competition.saw(queue_ms, Time::from_millis(ms));
            competition.hides_line(Time::from_millis(ms))
        };
        assert!((10_000..14_000).step_by(50).all(|ms| hides(ms, 5.0 + (ms % 1_000 / 20) as f64)));
        assert!((14_000..17_000).step_by(50).all(|ms| hides(ms, 5.0)));
        assert!(!hides(17_000, 5.0));
        assert!(hides(17_050, 30.0));
    }

    #[test]
    fn a_queue_of_which_as_much_arrives_as_before_is_ours_and_is_being_emptied() {
        assert_eq!(press_beside(false, Duration::from_millis(1_000), |_| 800.0, |_| 6e5), None);
    }

    #[test]
    fn a_queue_that_gets_shorter_was_ours() {
        assert_eq!(press(true, TRIP, |ms| 400.0 - ms as f64 / 12.0), None);
    }

    #[test]
    fn on_a_path_with_a_round_trip_of_a_second_less_will_do() {
        assert_eq!(press(false, Duration::from_millis(1_000), |_| 80.0), Some((1_000, 1e6)));
    }
}
