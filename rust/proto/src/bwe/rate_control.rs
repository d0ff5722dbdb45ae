//! From what the delay says to a rate: additive increase near the known capacity, multiplicative far from it,
//! multiplicative decrease (draft-ietf-rmcat-gcc-02 §5.5).

use super::trendline::Usage;
use crate::time::Time;
use std::time::Duration;

/// What is left of the acknowledged rate after over-use (`beta`).
const DECREASE: f64 = 0.85;
/// Growth per second far from the known capacity (`eta` of the draft is 1.08) and how far it speeds up when nothing
/// stands in the way: a line that became four times as wide is filled within ten seconds.
const GROWTH: f64 = 0.08;
const GROWTH_MAX: f64 = 0.40;
/// Growth adds this much per second to itself.
const GROWTH_RAMP: f64 = 0.06;
/// The estimate is not more than this times what arrives, plus a little: what was not sent was not tested.
const ACKED_FACTOR: f64 = 1.5;
const ACKED_ROOM_BPS: f64 = 10_000.0;
/// A typical packet: additive increase adds one of these per response time.
const PACKET_BITS: f64 = 9_600.0;
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

/// The delay-based controller.
#[derive(Debug)]
pub struct RateControl {
    rate_bps: f64,
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
        self.rate_bps = bps.clamp(self.bounds_bps.0, self.bounds_bps.1);
        self.updated = Some(now);
        if self.capacity.is_some_and(|capacity| self.rate_bps > capacity.high()) {
            self.capacity = None;
        }
    }

    /// The loss says that this rate, and no more, goes through.
    pub fn congested(&mut self, bps: f64, now: Time) {
        Capacity::sample(&mut self.capacity, bps);
        self.growth = GROWTH;
        self.decreased = Some(now);
        self.rate_bps = bps.min(self.rate_bps).clamp(self.bounds_bps.0, self.bounds_bps.1);
    }

    /// Takes what the delay says, the acknowledged rate and the round trip.
    pub fn update(&mut self, usage: Usage, acked_bps: Option<f64>, round_trip: Duration, now: Time) {
        let elapsed_s = self.updated.map_or(0.0, |updated| now.since(updated).as_secs_f64()).min(1.0);
        self.updated = Some(now);
        match usage {
            Usage::Over => self.decrease(acked_bps, round_trip, now),
            Usage::Under => self.state = State::Hold,
            Usage::Normal => {
                if self.state == State::Hold {
                    self.state = State::Increase;
                } else {
                    self.increase(acked_bps, round_trip, elapsed_s);
                }
            }
        }
    }

    fn decrease(&mut self, acked_bps: Option<f64>, round_trip: Duration, now: Time) {
        self.state = State::Hold;
        self.growth = GROWTH;
        let acked_bps = acked_bps.unwrap_or(self.rate_bps);
        // One decrease per response time, unless the line has lost so much that the first was not enough.
        let again = self.decreased.is_none_or(|last| now.since(last) >= round_trip + DETECTION);
        if !again && acked_bps > 0.5 * self.rate_bps {
            return;
        }
        Capacity::sample(&mut self.capacity, acked_bps);
        self.decreased = Some(now);
        let lowered = (DECREASE * acked_bps).min(self.rate_bps);
        self.rate_bps = lowered.clamp(self.bounds_bps.0, self.bounds_bps.1);
    }

    fn increase(&mut self, acked_bps: Option<f64>, round_trip: Duration, elapsed_s: f64) {
        if self.capacity.is_some_and(|capacity| self.rate_bps > capacity.high()) {
            self.capacity = None; // It holds more than it did: what was known is wrong.
        }
        let near = self.near_capacity();
        let step = if near {
            let response_s = (round_trip + DETECTION).as_secs_f64();
            (PACKET_BITS / response_s * elapsed_s).max(1_000.0 * elapsed_s)
        } else {
            self.growth = (self.growth + GROWTH_RAMP * elapsed_s).min(GROWTH_MAX);
            self.rate_bps * self.growth * elapsed_s
        };
        let ceiling = acked_bps.map_or(f64::INFINITY, |acked| ACKED_FACTOR * acked + ACKED_ROOM_BPS);
        let raised = (self.rate_bps + step).min(ceiling.max(self.rate_bps));
        self.rate_bps = raised.clamp(self.bounds_bps.0, self.bounds_bps.1);
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

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    fn control(start_bps: f64) -> RateControl {
        RateControl::new(start_bps, (50_000.0, 10_000_000.0))
    }

    /// Seconds of normal use with everything that is sent arriving.
    fn calm(control: &mut RateControl, now: &mut Time, seconds: u64) {
        for _ in 0..seconds * 20 {
            *now = *now + Duration::from_millis(50);
            control.update(Usage::Normal, Some(control.bps()), ROUND_TRIP, *now);
        }
    }

    #[test]
    fn over_use_leaves_85_percent_of_what_arrives_once_per_response_time() {
        let (mut control, now) = (control(1_000_000.0), Time::from_millis(1_000));
        control.update(Usage::Over, Some(800_000.0), ROUND_TRIP, now);
        assert_eq!(control.bps(), 680_000.0);
        control.update(Usage::Over, Some(700_000.0), ROUND_TRIP, now + Duration::from_millis(50));
        assert_eq!(control.bps(), 680_000.0);
        control.update(Usage::Over, Some(600_000.0), ROUND_TRIP, now + Duration::from_millis(250));
        assert_eq!(control.bps(), 510_000.0);
    }

    #[test]
    fn near_the_known_capacity_it_creeps_and_beyond_it_runs() {
        let (mut control, mut now) = (control(1_000_000.0), Time::from_millis(1_000));
        control.update(Usage::Over, Some(1_000_000.0), ROUND_TRIP, now);
        control.set(960_000.0, now);
        let before = control.bps();
        calm(&mut control, &mut now, 1);
        assert!((control.bps() - before) < 60_000.0, "{}", control.bps());
        calm(&mut control, &mut now, 9);
        assert!(control.bps() > 2_000_000.0, "{}", control.bps());
    }

    #[test]
    fn it_does_not_grow_beyond_half_more_than_what_arrives() {
        let (mut control, mut now) = (control(1_000_000.0), Time::from_millis(0));
        for _ in 0..1_000 {
            now = now + Duration::from_millis(50);
            control.update(Usage::Normal, Some(1_000_000.0), ROUND_TRIP, now);
        }
        assert_eq!(control.bps(), 1_510_000.0);
        control.update(Usage::Normal, Some(10_000.0), ROUND_TRIP, now);
        assert_eq!(control.bps(), 1_510_000.0);
    }
}
