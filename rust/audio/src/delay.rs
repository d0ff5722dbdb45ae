//! How long packets are under way, and from that for how long they must wait before they are heard.
//!
//! The transit of a packet is its arrival less its timestamp; only differences mean anything. The least transit of the
//! last seconds is the line without queues; what a packet took longer is what the buffer must bridge. The clock of the
//! sender may run faster or slower than ours: the least transit of a window follows it.

use mediaserver_proto::time::Time;
use std::time::Duration;

/// A bin of the histogram of extra delays, and how many there are: up to 320 ms.
const BIN_US: i64 = 5_000;
const BINS: usize = 64;
/// Share of the memory that each packet leaves: 200 packets, 4 s of them.
const MEMORY: f32 = 0.995;
/// Of so many packets all but few shall be there when they are due.
const IN_TIME: f32 = 0.98;
/// Of what is believed before anything was measured.
const INITIAL_US: i64 = 40_000;
/// Least and most that is ever aimed at.
const LEAST_US: i64 = 10_000;
const MOST_US: i64 = 300_000;
/// Half of the window in which the least transit is sought.
const HALF_WINDOW: Duration = Duration::from_secs(4);

/// Measures one stream.
#[derive(Clone, Debug)]
pub struct DelayTracker {
    /// Least transit of the half window before, and of the current one, in microseconds.
    before_us: Option<i64>,
    current_us: Option<i64>,
    half_began: Time,
    /// Weights of extra delays by bin; their sum is 1.
    histogram: [f32; BINS],
}

impl Default for DelayTracker {
    fn default() -> DelayTracker {
        let mut histogram = [0.0; BINS];
        histogram[bin(INITIAL_US - 1)] = 1.0;
        DelayTracker { before_us: None, current_us: None, half_began: Time::ZERO, histogram }
    }
}

fn bin(extra_us: i64) -> usize {
    ((extra_us / BIN_US) as usize).min(BINS - 1)
}

impl DelayTracker {
    /// A packet arrived; `sent_us` is its timestamp in microseconds.
    pub fn arrived(&mut self, sent_us: i64, now: Time) {
        let transit = now.as_micros() as i64 - sent_us;
        if self.current_us.is_none() {
            self.half_began = now;
        } else if now.since(self.half_began) >= HALF_WINDOW {
            (self.before_us, self.current_us, self.half_began) = (self.current_us, None, now);
        }
        self.current_us = Some(self.current_us.map_or(transit, |least| least.min(transit)));
        let extra = transit - self.least_us().unwrap_or(transit);
        for weight in &mut self.histogram {
            *weight *= MEMORY;
        }
        self.histogram[bin(extra)] += 1.0 - MEMORY;
    }

    /// The stream begins anew with other timestamps: what was measured of the line stays.
    pub fn restart(&mut self) {
        (self.before_us, self.current_us) = (None, None);
    }

    /// The least transit, in microseconds.
    pub fn least_us(&self) -> Option<i64> {
        self.before_us.into_iter().chain(self.current_us).min()
    }

    /// For how long after the least transit a packet shall wait, in microseconds.
    pub fn target_us(&self) -> i64 {
        let mut sum = 0.0;
        let enough = self.histogram.iter().position(|weight| {
            sum += weight;
            sum >= IN_TIME
        });
        ((enough.unwrap_or(BINS - 1) as i64 + 1) * BIN_US).clamp(LEAST_US, MOST_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 20 ms, each delayed by what `extra_ms` says for its number.
    fn run(tracker: &mut DelayTracker, packets: std::ops::Range<u64>, extra_ms: impl Fn(u64) -> u64) {
        for number in packets {
            tracker.arrived(number as i64 * 20_000, Time::from_millis(500 + number * 20 + extra_ms(number)));
        }
    }

    #[test]
    fn a_steady_line_comes_down_to_the_least_target() {
        let mut tracker = DelayTracker::default();
        assert_eq!(tracker.target_us(), INITIAL_US);
        run(&mut tracker, 0..1_500, |_| 0);
        assert_eq!((tracker.target_us(), tracker.least_us()), (LEAST_US, Some(500_000)));
    }

    #[test]
    fn the_target_covers_what_all_but_two_in_a_hundred_take() {
        let mut tracker = DelayTracker::default();
        run(&mut tracker, 0..2_000, |number| if number % 10 == 0 { 63 } else { 0 });
        assert_eq!(tracker.target_us(), 65_000);
        run(&mut tracker, 2_000..4_000, |number| if number % 200 == 0 { 150 } else { 12 });
        assert!(tracker.target_us() < 20_000, "{}", tracker.target_us());
    }

    #[test]
    fn a_slower_clock_of_the_sender_is_followed() {
        let mut tracker = DelayTracker::default();
        // 0.1 %: a packet every 20.02 ms.
        for number in 0..3_000u64 {
            tracker.arrived(number as i64 * 20_000, Time(number * 20_020_000));
        }
        let now_us = 3_000 * 20;
        let lag = now_us - tracker.least_us().unwrap();
        assert!((0..9_000).contains(&lag), "{lag}");
    }
}
