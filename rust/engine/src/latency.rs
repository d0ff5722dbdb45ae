//! How long something takes: a histogram with a fixed number of buckets, one increment for each run of packets.

use std::time::Duration;

use crate::counters::{Counters, set};

/// Buckets for each doubling of the time; below 16 µs there is one for each microsecond.
const STEPS: usize = 16;
/// Longer ones count as 16.8 s.
const DOUBLINGS: usize = 24;
const BUCKETS: usize = (DOUBLINGS - 3) * STEPS;
/// Bounds that are published: each doubling from 8 µs to 1 s, and half-way between.
const FIRST_DOUBLING: u32 = 3;
const LAST_DOUBLING: u32 = 20;
const QUANTILES: [(&str, u64); 3] = [("p50", 500), ("p99", 990), ("p999", 999)];

/// See the module. A bucket holds times up to its bound and more than the bound before it.
#[derive(Debug)]
pub struct Latency {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum_us: u64,
    max_us: u64,
    name: &'static str,
    /// Names below that and bounds, in µs, of what is published; made once.
    bounds: Vec<(String, u64)>,
}

impl Latency {
    /// Nothing counted yet; what is published begins with `name`.
    pub fn new(name: &'static str) -> Latency {
        let doublings = (FIRST_DOUBLING..LAST_DOUBLING).flat_map(|doubling| [1 << doubling, 3 << (doubling - 1)]);
        let bounds = doublings.chain([1 << LAST_DOUBLING]);
        Latency {
            counts: Box::new([0; BUCKETS]),
            count: 0,
            sum_us: 0,
            max_us: 0,
            name,
            bounds: bounds.map(|us| (format!("le.{us}"), us)).collect(),
        }
    }

    /// Counts `packets` that took `time`, begun microseconds as whole ones.
    pub fn add(&mut self, packets: u64, time: Duration) {
        let us = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX).clamp(1, 1 << DOUBLINGS);
        self.counts[bucket(us)] += packets;
        self.count += packets;
        self.sum_us += us * packets;
        self.max_us = self.max_us.max(us);
    }

    /// Writes count, sum, greatest, quantiles (to a sixteenth) and the numbers up to each published bound.
    pub fn write(&self, counters: &mut Counters) {
        let mut name = String::with_capacity(32);
        let mut named = |of: &str, value| {
            name.clear();
            name.extend([self.name, ".", of]);
            set(counters, &name, value);
        };
        named("count", self.count);
        named("sum", self.sum_us);
        named("max", self.max_us);
        let mut reached = [0; QUANTILES.len()];
        let mut quantiles =
            QUANTILES.iter().map(|(_, of)| (self.count * of).div_ceil(1000)).zip(&mut reached).peekable();
        let mut bounds = self.bounds.iter().peekable();
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            let upper = upper_us(index);
            while let Some((_, quantile)) = quantiles.next_if(|(wanted, _)| seen >= *wanted) {
                *quantile = upper.min(self.max_us);
            }
            if let Some((bound, _)) = bounds.next_if(|(_, bound)| *bound == upper) {
                named(bound, seen);
            }
        }
        drop(quantiles);
        for ((name, _), value) in QUANTILES.iter().zip(reached) {
            named(name, value);
        }
    }
}

fn bucket(us: u64) -> usize {
    let below = us - 1;
    if below < STEPS as u64 {
        return below as usize;
    }
    let doubling = below.ilog2();
    (doubling as usize - 3) * STEPS + ((below >> (doubling - 4)) as usize & (STEPS - 1))
}

/// The bound of a bucket, which is in it.
fn upper_us(index: usize) -> u64 {
    if index < STEPS {
        return index as u64 + 1;
    }
    ((STEPS + index % STEPS + 1) as u64) << (index / STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(latency: &Latency) -> Counters {
        let mut counters = Counters::default();
        latency.write(&mut counters);
        counters
    }

    #[test]
    fn every_time_is_in_the_bucket_whose_bounds_hold_it() {
        for us in (1..5_000).chain((5_000..1 << DOUBLINGS).step_by(7_777)).chain([1 << DOUBLINGS]) {
            let index = bucket(us);
            let lower = index.checked_sub(1).map_or(0, upper_us);
            assert!(lower < us && us <= upper_us(index), "{us} in bucket {index}");
            assert!(us <= 16 || (upper_us(index) - lower) * 16 <= us + 15, "a bucket is a sixteenth wide");
        }
        assert_eq!(bucket(1 << DOUBLINGS), BUCKETS - 1);
    }

    #[test]
    fn packets_are_counted_up_to_every_bound() {
        let mut latency = Latency::new("forward_latency_us");
        latency.add(99, Duration::from_micros(50));
        latency.add(1, Duration::from_nanos(1_048_576_000));
        let counters = written(&latency);
        assert_eq!(counters.get("forward_latency_us.count").unwrap(), 100);
        assert_eq!(counters.get("forward_latency_us.sum").unwrap(), 99 * 50 + 1_048_576);
        assert_eq!(counters.get("forward_latency_us.le.48").unwrap(), 0);
        assert_eq!(counters.get("forward_latency_us.le.64").unwrap(), 99);
        assert_eq!(counters.get("forward_latency_us.le.786432").unwrap(), 99);
        assert_eq!(counters.get("forward_latency_us.le.1048576").unwrap(), 100, "a bound is in its bucket");
        assert_eq!(counters.get("forward_latency_us.p50").unwrap(), 50);
        assert_eq!(counters.get("forward_latency_us.p99").unwrap(), 50);
        assert_eq!(counters.get("forward_latency_us.p999").unwrap(), 1_048_576);
        assert_eq!(counters.get("forward_latency_us.max").unwrap(), 1_048_576);
    }

    #[test]
    fn nothing_counted_is_written_as_nothing_and_an_hour_as_the_last_bucket() {
        let mut latency = Latency::new("forward_latency_us");
        assert!(written(&latency).iter().all(|(_, value)| value == 0));
        latency.add(1, Duration::from_secs(3600));
        let counters = written(&latency);
        assert_eq!(counters.get("forward_latency_us.max").unwrap(), 1 << DOUBLINGS);
        assert_eq!(counters.get("forward_latency_us.le.1048576").unwrap(), 0);
        assert_eq!(counters.iter().filter(|(name, _)| name.contains(".le.")).count(), 35);
    }
}
