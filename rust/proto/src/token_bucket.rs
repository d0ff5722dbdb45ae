//! A rate with a burst: so many a second, so many at once.

use crate::time::Time;

/// Parts of a token that are kept: a nanosecond's worth of one token a second.
const PARTS: u64 = 1_000_000_000;

/// Tokens that come back steadily up to a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    parts: u64,
    filled_at: Time,
}

impl TokenBucket {
    /// A full bucket that regains `per_second` tokens a second and holds at most `burst`.
    pub const fn new(per_second: u32, burst: u32) -> TokenBucket {
        TokenBucket { per_second, burst, parts: burst as u64 * PARTS, filled_at: Time::ZERO }
    }

    /// Takes `count` tokens, or none and says false.
    pub fn take(&mut self, count: u32, now: Time) -> bool {
        let full = u64::from(self.burst) * PARTS;
        let passed = now.0.saturating_sub(self.filled_at.0);
        self.parts = self.parts.saturating_add(passed.saturating_mul(u64::from(self.per_second))).min(full);
        self.filled_at = self.filled_at.max(now);
        let price = u64::from(count) * PARTS;
        let enough = self.parts >= price;
        if enough {
            self.parts -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 5);
        let start = Time::from_millis(77);
        assert!((0..5).all(|_| bucket.take(1, start)));
        assert!(!bucket.take(1, start));
        assert!(!bucket.take(1, start + Duration::from_millis(99)));
        assert!(bucket.take(1, start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(5, later));
        assert!(!bucket.take(1, later), "an hour gives no more than the burst");
    }

    #[test]
    fn more_than_the_burst_never_passes_and_takes_nothing() {
        let mut bucket = TokenBucket::new(10, 5);
        assert!(!bucket.take(6, Time::from_millis(1)));
        assert!(bucket.take(5, Time::from_millis(1)));
    }
}
