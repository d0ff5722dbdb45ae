//! From what the delay says to a rate: additive increase near the known capacity, multiplicative far from it,
//! multiplicative decrease (draft-ietf-rmcat-gcc-02 §5.5).

use super::trendline::Usage;
use crate::time::Time;
use std::time::Duration;

/// What is left of the acknowledged rate after over-use (`beta`).
const DECREASE: f64 = 0.85;
/// What is left until the queue is gone, when it is long, so that it is gone within about a second.
const DRAIN: f64 = 0.6;
const DRAIN_MS: f64 = 600.0;
/// A queue this long has kept the line busy for a while, in milliseconds.
const STANDING_MS: f64 = 25.0;
/// A queue this short is gone, in milliseconds.
const DRAINED_MS: f64 = 15.0;
/// Growth per second far from the known capacity (`eta` of the draft is 1.08) and how far it speeds up when nothing
/// stands in the way: a line that became four times as wide is filled within ten seconds.
const GROWTH: f64 = 0.08;
const GROWTH_MAX: f64 = 0.40;
/// Growth adds this much per second to itself.
const GROWTH_RAMP: f64 = 0.06;
/// The estimate is not more than this times what arrives, plus a little: what was not sent was not tested.
const ACKED_FACTOR: f64 = 1.5;
const ACKED_ROOM_BPS: f64 = 10_000.0;
/// Additive increase per second. The draft adds a packet per response time, which favours short round trips; this is
/// about that packet for a response time of 150 ms, and less for very slow flows alone: an increase in proportion to
/// the rate would not let flows that share a line come closer to each other.
const ADDITIVE_BPS: f64 = 64_000.0;
const ADDITIVE_SHARE: f64 = 0.15;
/// The same beside a flow that fills the queue, where a decrease comes seldom.
const COMPETING_BPS: f64 = 65_000.0;
const COMPETING_SHARE: f64 = 0.05;
const COMPETING_DECREASE: f64 = 0.88;
const COMPETING_CHANCE: f64 = 0.85;
/// The response time is the round trip and this much for over-use to be seen.
const DETECTION: Duration = Duration::from_millis(100);
/// Weight of a new sample of the capacity.
const CAPACITY_WEIGHT: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Increase,
    Hold,
}

/// The rate at which the line was last found full: mean and normalised variance.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    mean_bps: f64,
    variance: f64,
}

/// What the controller looks at.
#[derive(Clone, Copy, Debug)]
pub struct RateInput {
    /// What the delay says.
    pub usage: Usage,
    /// Delay above the smallest lately, in milliseconds.
    pub queue_ms: f64,
    /// The acknowledged rate, when known.
    pub acked_bps: Option<f64>,
    /// The same over a shorter time.
    pub recent_bps: Option<f64>,
    /// The round trip.
    pub round_trip: Duration,
    /// What a TCP flow would reach with the loss and the round trip of this path, in bits per second.
    pub tcp_friendly_bps: f64,
    /// Whether another flow fills the queue, so that only loss lowers the rate; and whether there was loss.
    pub competing: bool,
    /// Whether packets were lost.
    pub lost: bool,
}

/// The delay-based controller.
#[derive(Debug)]
pub struct RateControl {
    rate_bps: f64,
    /// Rate to go back to when the queue is gone.
    drained_bps: Option<f64>,
    bounds_bps: (f64, f64),
    state: State,
    capacity: Option<Capacity>,
    updated: Option<Time>,
    decreased: Option<Time>,
    growth: f64,
}

impl RateControl {
    /// Begins at `start_bps`; never leaves `bounds_bps`.
    pub fn new(start_bps: f64, bounds_bps: (f64, f64)) -> RateControl {
        RateControl {
            rate_bps: start_bps.clamp(bounds_bps.0, bounds_bps.1),
            drained_bps: None,
            bounds_bps,
            state: State::Increase,
            capacity: None,
            updated: None,
            decreased: None,
            growth: GROWTH,
        }
    }

    /// The rate now.
    pub fn bps(&self) -> f64 {
        self.rate_bps
    }

    /// When over-use last lowered the rate.
    pub fn decreased(&self) -> Option<Time> {
        self.decreased
    }

    /// Whether the rate is where the line was last found full.
    pub fn near_capacity(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.rate_bps > capacity.low())
    }

    /// Sets the rate to what a probe or another controller has found.
    pub fn set(&mut self, bps: f64, now: Time) {
        self.rate_bps = self.within(bps);
        self.updated = Some(now);
        self.drained_bps = None;
        if self.capacity.is_some_and(|capacity| self.rate_bps > capacity.high()) {
            self.capacity = None;
        }
    }

    /// The loss says that this rate, and no more, goes through.
    pub fn congested(&mut self, bps: f64, now: Time) {
        Capacity::sample(&mut self.capacity, bps);
        self.growth = GROWTH;
        self.decreased = Some(now);
        self.rate_bps = self.within(bps.min(self.rate_bps));
        self.drained_bps = None;
    }

    /// Takes what the delay says; true when it has lowered the rate.
    pub fn update(&mut self, input: &RateInput, now: Time) -> bool {
        let elapsed_s = self.updated.map_or(0.0, |updated| now.since(updated).as_secs_f64()).min(1.0);
        self.updated = Some(now);
        if input.competing {
            return self.compete(input, elapsed_s, now);
        }
        if input.queue_ms < DRAINED_MS
            && let Some(drained_bps) = self.drained_bps.take()
        {
            self.rate_bps = self.rate_bps.max(drained_bps);
        }
        match input.usage {
            Usage::Over => return self.decrease(input, now),
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => self.state = State::Increase,
            Usage::Normal => self.increase(input.acked_bps, elapsed_s),
        }
        false
    }

    fn decrease(&mut self, input: &RateInput, now: Time) -> bool {
        self.state = State::Hold;
        self.growth = GROWTH;
        // While a queue stands what arrives is what the line carries, and the quick view has the least of the past.
        let (slow_bps, quick_bps) = (input.acked_bps.unwrap_or(self.rate_bps), input.recent_bps);
        let quick_bps = quick_bps.unwrap_or(slow_bps);
        let acked_bps = if input.queue_ms > STANDING_MS { quick_bps } else { quick_bps.max(slow_bps) };
        // One decrease per response time, unless the line has lost so much that the first was not enough.
        let again = self.decreased.is_none_or(|last| now.since(last) >= input.round_trip + DETECTION);
        if !again && acked_bps > 0.5 * self.rate_bps {
            return false;
        }
        Capacity::sample(&mut self.capacity, acked_bps);
        self.decreased = Some(now);
        let drain = (1.0 - input.queue_ms / DRAIN_MS).clamp(DRAIN, DECREASE);
        self.drained_bps = Some((DECREASE * acked_bps).min(self.rate_bps));
        self.rate_bps = self.within((drain * acked_bps).min(self.rate_bps));
        true
    }

    fn increase(&mut self, acked_bps: Option<f64>, elapsed_s: f64) {
        if self.capacity.is_some_and(|capacity| self.rate_bps > capacity.high()) {
            self.capacity = None; // It holds more than it did: what was known is wrong.
        }
        let step_bps = if self.near_capacity() {
            ADDITIVE_BPS.min(ADDITIVE_SHARE * self.rate_bps) * elapsed_s
        } else {
            self.growth = (self.growth + GROWTH_RAMP * elapsed_s).min(GROWTH_MAX);
            self.rate_bps * self.growth * elapsed_s
        };
        self.raise(step_bps, acked_bps);
    }

    /// Like those who fill the queue: up until something is lost.
    fn compete(&mut self, input: &RateInput, elapsed_s: f64, now: Time) -> bool {
        let again = self.decreased.is_none_or(|last| now.since(last) >= input.round_trip + DETECTION);
        if input.lost && again {
            self.decreased = Some(now);
            // Of the few packets of a slow flow more or fewer arrive by chance.
            let least_bps = COMPETING_CHANCE * self.rate_bps;
            let acked_bps = input.acked_bps.map_or(self.rate_bps, |acked| acked.clamp(least_bps, self.rate_bps));
            self.rate_bps =
                self.within((COMPETING_DECREASE * acked_bps).max(input.tcp_friendly_bps.min(self.rate_bps)));
            return true;
        }
        self.raise((COMPETING_BPS + COMPETING_SHARE * self.rate_bps) * elapsed_s, input.acked_bps);
        false
    }

    fn raise(&mut self, step_bps: f64, acked_bps: Option<f64>) {
        let ceiling = acked_bps.map_or(f64::INFINITY, |acked| ACKED_FACTOR * acked + ACKED_ROOM_BPS);
        self.rate_bps = self.within((self.rate_bps + step_bps).min(ceiling.max(self.rate_bps)));
    }

    fn within(&self, bps: f64) -> f64 {
        bps.clamp(self.bounds_bps.0, self.bounds_bps.1)
    }
}

impl Capacity {
    fn sample(this: &mut Option<Capacity>, acked_bps: f64) {
        *this = Some(match *this {
            Some(old) if (old.low()..=old.high()).contains(&acked_bps) => {
                let mean_bps = (1.0 - CAPACITY_WEIGHT) * old.mean_bps + CAPACITY_WEIGHT * acked_bps;
                let error = (acked_bps - mean_bps).powi(2) / mean_bps.max(1.0);
                let variance = (1.0 - CAPACITY_WEIGHT) * old.variance + CAPACITY_WEIGHT * error;
                // 0.4 and 2.5 kbit/s as the normalised variance: known well, and hardly known.
                Capacity { mean_bps, variance: variance.clamp(400.0, 2_500.0) }
            }
            _ => Capacity { mean_bps: acked_bps, variance: 400.0 },
        });
    }

    /// Three standard deviations.
    fn margin(&self) -> f64 {
        3.0 * (self.variance * self.mean_bps).sqrt()
    }

    fn low(&self) -> f64 {
        self.mean_bps - self.margin()
    }

    fn high(&self) -> f64 {
        self.mean_bps + self.margin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(usage: Usage, acked_bps: f64) -> RateInput {
        RateInput {
            usage,
            queue_ms: 20.0,
            acked_bps: Some(acked_bps),
            recent_bps: None,
            tcp_friendly_bps: 0.0,
            round_trip: Duration::from_millis(100),
            competing: false,
            lost: false,
        }
    }

    fn control(start_bps: f64) -> RateControl {
        RateControl::new(start_bps, (50_000.0, 10_000_000.0))
    }

    /// Seconds of normal use with everything that is sent arriving.
    fn calm(control: &mut RateControl, now: &mut Time, seconds: u64) {
        for _ in 0..seconds * 20 {
            *now = *now + Duration::from_millis(50);
            control.update(&input(Usage::Normal, control.bps()), *now);
        }
    }

    #[test]
    fn over_use_leaves_85_percent_of_what_arrives_once_per_response_time() {
        let (mut control, now) = (control(1_000_000.0), Time::from_millis(1_000));
        control.update(&input(Usage::Over, 800_000.0), now);
        assert_eq!(control.bps(), 680_000.0);
        control.update(&input(Usage::Over, 700_000.0), now + Duration::from_millis(50));
        assert_eq!(control.bps(), 680_000.0);
        control.update(&input(Usage::Over, 600_000.0), now + Duration::from_millis(250));
        assert_eq!(control.bps(), 510_000.0);
    }

    #[test]
    fn near_the_known_capacity_it_creeps_and_beyond_it_runs() {
        let (mut control, mut now) = (control(1_000_000.0), Time::from_millis(1_000));
        control.update(&input(Usage::Over, 1_000_000.0), now);
        control.set(960_000.0, now);
        let before = control.bps();
        calm(&mut control, &mut now, 1);
        assert!((control.bps() - before) < 70_000.0, "{}", control.bps());
        calm(&mut control, &mut now, 9);
        assert!(control.bps() > 2_000_000.0, "{}", control.bps());
    }

    #[test]
    fn it_does_not_grow_beyond_half_more_than_what_arrives() {
        let (mut control, mut now) = (control(1_000_000.0), Time::from_millis(0));
        for _ in 0..1_000 {
            now = now + Duration::from_millis(50);
            control.update(&input(Usage::Normal, 1_000_000.0), now);
        }
        assert_eq!(control.bps(), 1_510_000.0);
        control.update(&input(Usage::Normal, 10_000.0), now);
        assert_eq!(control.bps(), 1_510_000.0);
    }

    #[test]
    fn a_long_queue_is_drained_first_and_then_the_rate_comes_back() {
        let (mut control, now) = (control(1_000_000.0), Time::from_millis(1_000));
        control.update(&RateInput { queue_ms: 300.0, ..input(Usage::Over, 1_000_000.0) }, now);
        assert_eq!(control.bps(), 600_000.0);
        control.update(&RateInput { queue_ms: 100.0, ..input(Usage::Under, 600_000.0) }, now);
        assert_eq!(control.bps(), 600_000.0);
        control.update(&RateInput { queue_ms: 10.0, ..input(Usage::Under, 600_000.0) }, now);
        assert_eq!(control.bps(), 850_000.0);
    }

    #[test]
    fn beside_a_flow_that_fills_the_queue_only_loss_lowers_the_rate() {
        let (mut control, now) = (control(1_000_000.0), Time::from_millis(1_000));
        let competing = RateInput { competing: true, ..input(Usage::Over, 1_000_000.0) };
        assert!(!control.update(&competing, now));
        assert!(!control.update(&competing, now + Duration::from_millis(100)));
        assert_eq!(control.bps(), 1_011_500.0);
        assert!(control.update(&RateInput { lost: true, ..competing }, now + Duration::from_millis(100)));
        assert!(control.bps() < 900_000.0);
    }
}
