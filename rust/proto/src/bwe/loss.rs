//! The loss-based controller: tells the loss that a path always has from the loss that we cause.
//!
//! draft-ietf-rmcat-gcc-02 §6 lowers the rate whenever more than 10 % is lost, which makes a path with steady random
//! loss useless. Here loss above what is known to belong to the path is put to a test: the rate goes down to what
//! arrives, and is looked at again. Loss that goes away with the rate was ours, and the lower rate stays; loss that
//! remains belongs to the path, and the limit is lifted.

use crate::time::Time;
use std::time::Duration;

/// A sample has at least this many packets and this length, or is as long as can be waited for.
const SAMPLE_PACKETS: u32 = 25;
const SAMPLE: Duration = Duration::from_millis(250);
const SAMPLE_MAX: Duration = Duration::from_millis(2_000);
/// Loss this far above the path's own is put to the test (2 % is `no loss` in the draft).
const MARGIN: f64 = 0.02;
/// Standard deviations of a sample's loss that chance explains, and samples in a row that it does not.
const CHANCE: f64 = 2.0;
const STREAK: u32 = 2;
/// What is sampled at the lower rate must be longer, because it decides.
const TEST_PACKETS: u32 = 40;
const TEST: Duration = Duration::from_millis(400);
/// More than this is never taken as the path's own.
const INHERENT_MAX: f64 = 0.25;
/// What a test leaves of the rate at the least where little was sent: a large frame may have been lost at once.
const IDLE_KEEPS: f64 = 0.5;
/// Share of the loss that must remain at the lower rate to be the path's own.
const REMAINS: f64 = 0.6;
/// Weight of a new sample in the path's own loss.
const WEIGHT: f64 = 0.15;

/// What a test has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Our rate was the cause; this one is not.
    Congestion {
        /// The rate at which the loss went away.
        bps: f64,
    },
    /// The path loses packets whatever we send.
    Inherent,
}

/// A test: the rate was lowered because of `loss`; what is sent from `after` on tells why.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Test {
    loss: f64,
    limit_bps: f64,
    after: Time,
}

/// What the controller looks at beside the packets.
#[derive(Clone, Copy, Debug)]
pub struct LossInput {
    /// The estimate in force.
    pub estimate_bps: f64,
    /// The acknowledged rate, when known.
    pub acked_bps: Option<f64>,
    /// The round trip.
    pub round_trip: Duration,
    /// Whether a long queue explains the loss, so that nothing is learnt of the path.
    pub overflows: bool,
    /// Whether so little is sent that what arrives says nothing of what the line carries.
    pub idle: bool,
}

/// The controller: a limit while a test runs, and what the path is known to lose.
#[derive(Debug, Default)]
pub struct LossControl {
    test: Option<Test>,
    inherent: f64,
    /// Variance of the samples around it.
    variance: f64,
    streak: u32,
    learning_only: bool,
    lost: u32,
    packets: u32,
    since: Option<Time>,
    fraction: f64,
}

impl LossControl {
    /// Highest rate while a test runs; infinite otherwise.
    pub fn limit_bps(&self) -> f64 {
        self.test.map_or(f64::INFINITY, |test| test.limit_bps)
    }

    /// Only learns, and tests nothing, while another flow fills the queue: its losses are ours too.
    pub fn set_learning_only(&mut self, learning_only: bool) {
        self.learning_only = learning_only;
        if learning_only {
            self.test = None;
        }
    }

    /// Share of packets lost in the last sample.
    pub fn fraction(&self) -> f64 {
        self.fraction
    }

    /// Share of packets that the path loses whatever we send.
    pub fn inherent(&self) -> f64 {
        self.inherent
    }

    /// Takes packets reported about: how many were lost, how many there were; `taken_back` had been lost before.
    pub fn packets(
        &mut self,
        lost: u32,
        packets: u32,
        taken_back: u32,
        input: &LossInput,
        now: Time,
    ) -> Option<Verdict> {
        if self.test.is_some_and(|test| now < test.after) {
            return None; // Still from before the rate was lowered.
        }
        let since = *self.since.get_or_insert(now);
        self.lost = self.lost.saturating_add(lost).saturating_sub(taken_back);
        self.packets = self.packets.saturating_add(packets);
        let length = now.since(since);
        let (packets_needed, time_needed) =
            if self.test.is_some() { (TEST_PACKETS, TEST) } else { (SAMPLE_PACKETS, SAMPLE) };
        let enough = self.packets >= packets_needed && length >= time_needed;
        if !enough && (length < SAMPLE_MAX || self.packets == 0) {
            return None;
        }
        let (loss, count) = ((f64::from(self.lost) / f64::from(self.packets)).min(1.0), self.packets);
        (self.lost, self.packets, self.since) = (0, 0, Some(now));
        self.fraction = loss;
        if let Some(test) = self.test {
            return self.judge(test, loss, input, now);
        }
        self.streak = if !input.overflows && self.is_suspect(loss, count) { self.streak + 1 } else { 0 };
        if self.streak >= STREAK && !self.learning_only {
            self.streak = 0;
            self.begin(loss, input, now);
        } else if self.streak == 0 && (!input.overflows || loss < self.inherent) {
            self.learn(loss);
        }
        None
    }

    /// Whether the loss is more than the path and chance explain. Loss that comes in bursts has a greater variance
    /// than single losses have.
    fn is_suspect(&self, loss: f64, count: u32) -> bool {
        let single = (self.inherent * (1.0 - self.inherent)).max(0.01) / f64::from(count);
        loss > self.inherent + MARGIN + CHANCE * single.max(self.variance).sqrt() || loss > INHERENT_MAX + MARGIN
    }

    /// Lowers the rate to a little less than what arrives.
    fn begin(&mut self, loss: f64, input: &LossInput, now: Time) {
        let kept = 1.0 - (loss - self.inherent).clamp(0.05, 0.5);
        let arriving = input.acked_bps.unwrap_or(input.estimate_bps * kept) / (1.0 - self.inherent);
        let least_bps = if input.idle { IDLE_KEEPS * input.estimate_bps } else { 0.0 };
        let limit_bps = (0.95 * arriving).min(input.estimate_bps * kept).max(least_bps);
        let after = now + input.round_trip + Duration::from_millis(100);
        self.test = Some(Test { loss, limit_bps, after });
        (self.lost, self.packets, self.since) = (0, 0, None);
    }

    /// The rate was lower during this sample: did the loss go with it?
    fn judge(&mut self, test: Test, loss: f64, input: &LossInput, now: Time) -> Option<Verdict> {
        if loss > INHERENT_MAX {
            self.begin(loss, input, now);
            return None;
        }
        self.test = None;
        if loss - self.inherent >= REMAINS * (test.loss - self.inherent) {
            self.inherent = test.loss.min(loss).clamp(self.inherent, INHERENT_MAX);
            self.variance = self.variance.max(((test.loss - loss) / 2.0).powi(2));
            return Some(Verdict::Inherent);
        }
        Some(Verdict::Congestion { bps: test.limit_bps })
    }

    /// The path's own loss follows slowly, downwards faster than upwards.
    fn learn(&mut self, loss: f64) {
        let weight = if loss < self.inherent { 2.0 * WEIGHT } else { WEIGHT };
        self.variance += WEIGHT * ((loss - self.inherent).powi(2) - self.variance);
        self.inherent = (self.inherent + weight * (loss - self.inherent)).clamp(0.0, INHERENT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY_BPS: f64 = 1_000_000.0;

    /// Runs `samples` of 100 packets each; the line loses `own`, and what is over its capacity.
    fn run(control: &mut LossControl, rate_bps: &mut f64, own: f64, samples: u64, clock_ms: &mut u64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..samples * 5 {
            *clock_ms += 100;
            let now = Time::from_millis(*clock_ms);
            let sent_bps = rate_bps.min(control.limit_bps());
            let through = (CAPACITY_BPS / sent_bps).min(1.0) * (1.0 - own);
            let lost = (20.0 * (1.0 - through)).round() as u32;
            let acked_bps = Some(sent_bps * through);
            let input = LossInput {
                estimate_bps: sent_bps,
                acked_bps,
                round_trip: Duration::from_millis(100),
                overflows: false,
                idle: false,
            };
            if let Some(verdict) = control.packets(lost, 20, 0, &input, now) {
                if let Verdict::Congestion { bps } = verdict {
                    *rate_bps = bps;
                }
                verdicts.push(verdict);
            }
        }
        verdicts
    }

    #[test]
    fn ten_percent_random_loss_is_tested_once_and_then_left_alone() {
        let (mut control, mut rate_bps) = (LossControl::default(), 500_000.0);
        assert_eq!(run(&mut control, &mut rate_bps, 0.1, 40, &mut 0), [Verdict::Inherent]);
        assert_eq!(control.limit_bps(), f64::INFINITY);
        assert!((control.inherent() - 0.1).abs() < 0.02);
    }

    #[test]
    fn loss_by_a_line_that_is_too_narrow_lowers_the_rate_to_what_goes_through() {
        let (mut control, mut rate_bps) = (LossControl::default(), 1_500_000.0);
        let verdicts = run(&mut control, &mut rate_bps, 0.0, 40, &mut 0);
        assert!(matches!(verdicts[..], [Verdict::Congestion { .. }]), "{verdicts:?}");
        assert!((0.85..1.02).contains(&(rate_bps / CAPACITY_BPS)), "{rate_bps}");
    }

    #[test]
    fn congestion_on_a_path_with_loss_of_its_own_is_still_seen() {
        let (mut control, mut rate_bps) = (LossControl::default(), 500_000.0);
        let mut clock_ms = 0;
        run(&mut control, &mut rate_bps, 0.05, 40, &mut clock_ms);
        rate_bps = 1_600_000.0;
        let verdicts = run(&mut control, &mut rate_bps, 0.05, 40, &mut clock_ms);
        assert!(matches!(verdicts[..], [Verdict::Congestion { .. }]), "{verdicts:?}");
        assert!((0.8..1.05).contains(&(rate_bps / CAPACITY_BPS)), "{rate_bps}");
    }

    #[test]
    fn loss_beyond_a_quarter_is_never_the_paths_own() {
        let (mut control, mut rate_bps) = (LossControl::default(), 1_000_000.0);
        run(&mut control, &mut rate_bps, 0.4, 10, &mut 0);
        assert!(control.inherent() <= 0.25);
        assert!(control.limit_bps() < 300_000.0);
    }

    #[test]
    fn what_comes_late_is_not_lost() {
        let mut control = LossControl::default();
        let input = LossInput {
            estimate_bps: 1e6,
            acked_bps: None,
            round_trip: Duration::from_millis(50),
            overflows: false,
            idle: false,
        };
        for index in 0..100 {
            control.packets(5, 20, 5, &input, Time::from_millis(index * 50));
        }
        assert_eq!((control.fraction(), control.limit_bps()), (0.0, f64::INFINITY));
    }
}
