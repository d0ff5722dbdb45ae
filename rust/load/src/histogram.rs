//! A histogram of times: 16 steps for each doubling, from a microsecond to half an hour; nothing grows.

use std::time::Duration;

const STEPS: u64 = 16;
const BUCKETS: usize = 32 * STEPS as usize;

/// Counted times.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    most: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0, most: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        self.counts[bucket(time)] += 1;
        self.total += 1;
        self.most = self.most.max(time);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.most) = (0, Duration::ZERO);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The time that this share of all does not exceed, to a sixteenth; in milliseconds, 0 when there are none.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted {
                return (upper_us(index) / 1000.0).min(self.most_ms());
            }
        }
        0.0
    }

    /// The longest, in milliseconds.
    pub fn most_ms(&self) -> f64 {
        self.most.as_secs_f64() * 1000.0
    }
}

fn bucket(time: Duration) -> usize {
    let us = time.as_micros().clamp(1, 1 << 31) as u64;
    let doubling = us.ilog2() as u64;
    let within = ((us - (1 << doubling)) * STEPS) >> doubling;
    ((doubling * STEPS + within) as usize).min(BUCKETS - 1)
}

fn upper_us(index: usize) -> f64 {
    let (doubling, within) = (index as u64 / STEPS, index as u64 % STEPS);
    (1u64 << doubling) as f64 * (1.0 + (within + 1) as f64 / STEPS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.99), 0.0);
        for us in 1..=10_000 {
            histogram.add(Duration::from_micros(us));
        }
        for (share, exact) in [(0.5, 5.0), (0.99, 9.9), (0.999, 9.99)] {
            let found = histogram.quantile_ms(share);
            assert!((exact..exact * (1.0 + 1.0 / 15.0)).contains(&found), "{share}: {found}");
        }
        assert_eq!((histogram.quantile_ms(1.0), histogram.count()), (10.0, 10_000));
        histogram.add(Duration::from_secs(100_000));
        assert!(histogram.quantile_ms(1.0) > 2_000_000.0);
        histogram.clear();
        assert_eq!((histogram.most_ms(), histogram.count()), (0.0, 0));
    }
}
