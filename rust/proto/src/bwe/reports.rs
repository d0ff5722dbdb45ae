//! The estimate for a peer without transport-wide feedback: what it says itself (REMB), bounded by the loss in its
//! receiver reports.

use super::loss::{LossControl, LossInput, Verdict};
use crate::time::Time;
use std::time::Duration;

/// A receiver's estimate is repeated every second; after this it no longer binds.
const FRESH: Duration = Duration::from_millis(10_000);
/// Growth per second of the bound that loss has set.
const GROWTH: f64 = 0.08;

/// What the peer itself reports.
#[derive(Debug)]
pub struct Reports {
    remb: Option<(f64, Time)>,
    loss: LossControl,
    bound_bps: f64,
    reported: Option<Time>,
}

impl Default for Reports {
    fn default() -> Self {
        Reports { remb: None, loss: LossControl::default(), bound_bps: f64::INFINITY, reported: None }
    }
}

impl Reports {
    /// Takes a receiver's estimate.
    pub fn remb(&mut self, bps: f64, now: Time) {
        self.remb = Some((bps, now));
    }

    /// The receiver's estimate, unless it is stale.
    pub fn remb_bps(&self, now: Time) -> Option<f64> {
        self.remb.filter(|(_, heard)| now.since(*heard) < FRESH).map(|(bps, _)| bps)
    }

    /// Takes a receiver report: how many of how many packets were lost since the last, and the round trip.
    pub fn report(&mut self, lost: u32, packets: u32, sent_bps: f64, round_trip: Duration, now: Time) {
        let elapsed_s = self.reported.map_or(0.0, |last| now.since(last).as_secs_f64()).min(5.0);
        self.reported = Some(now);
        self.bound_bps *= 1.0 + GROWTH * elapsed_s;
        let input = LossInput { estimate_bps: sent_bps, acked_bps: None, round_trip, overflows: false, idle: false };
        if let Some(Verdict::Congestion { bps }) = self.loss.packets(lost.min(packets), packets, 0, &input, now) {
            self.bound_bps = bps;
        }
    }

    /// The estimate; `start_bps` while the peer has named none.
    pub fn bps(&self, start_bps: f64, now: Time) -> f64 {
        self.remb_bps(now).unwrap_or(start_bps).min(self.bound_bps).min(self.loss.limit_bps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_estimate_counts_while_it_is_fresh() {
        let mut reports = Reports::default();
        assert_eq!(reports.bps(300_000.0, Time::ZERO), 300_000.0);
        reports.remb(900_000.0, Time::from_millis(1_000));
        assert_eq!(reports.bps(300_000.0, Time::from_millis(10_999)), 900_000.0);
        assert_eq!(reports.bps(300_000.0, Time::from_millis(11_000)), 300_000.0);
    }

    #[test]
    fn loss_that_goes_away_with_the_rate_binds_and_the_bound_grows() {
        let mut reports = Reports::default();
        let trip = Duration::from_millis(100);
        for second in 1..=6u64 {
            reports.remb(1_000_000.0, Time::from_millis(second * 1_000));
            let lost = if reports.bps(0.0, Time::from_millis(second * 1_000)) > 800_000.0 { 20 } else { 0 };
            reports.report(lost, 100, 1_000_000.0, trip, Time::from_millis(second * 1_000));
        }
        let bound = reports.bps(0.0, Time::from_millis(6_000));
        assert!((700_000.0..900_000.0).contains(&bound), "{bound}");
        reports.report(0, 100, bound, trip, Time::from_millis(8_000));
        assert!(reports.bps(0.0, Time::from_millis(8_000)) > bound);
    }
}
