//! How long to wait before the next attempt to reach an Edge.

use std::time::Duration;

/// The longest wait before the first attempt after a loss.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait before every attempt while paths exist: calls are silent for as long, and a refusal costs nothing.
const BUSY: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Counts attempts that came to nothing.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt. `random` in 0 to 1 spreads it over its upper half, so that many who lost the same
    /// Edge do not come together. While paths exist it does not grow: media shall be back within a second of the Edge.
    pub(crate) fn next(&mut self, busy: bool, random: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let ceiling = if busy { BUSY } else { doubled };
        ceiling.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// The Edge was reached.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_link_comes_back_within_half_a_second_and_then_ever_more_slowly() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..6).map(|_| backoff.next(false, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(false, 0.0), Duration::from_millis(250));
    }

    #[test]
    fn a_busy_link_never_waits_longer_than_a_fifth_of_a_second() {
        let mut backoff = Backoff::default();
        let waits = (0..1000).map(|_| backoff.next(true, fastrand::f64()));
        assert!(waits.map(|wait| wait.as_millis()).all(|wait| (100..=200).contains(&wait)));
    }
}
