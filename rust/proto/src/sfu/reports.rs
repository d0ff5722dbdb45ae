//! When a transport's reports are due (RFC 3550 §6.2, RFC 4585 §3.4).

use crate::time::Time;
use std::time::Duration;

/// Mean interval on transports with pictures.
const VIDEO_INTERVAL: Duration = Duration::from_secs(1);
/// Mean interval on transports with sound only: the minimum of RFC 3550 §6.2.
const AUDIO_INTERVAL: Duration = Duration::from_secs(5);
/// First report after the first packet, early so that a receiver can bring sound and picture together.
const FIRST: Duration = Duration::from_millis(250);

/// The report timer of one transport.
#[derive(Clone, Copy, Debug)]
pub struct ReportSchedule {
    next: Option<Time>,
    random: u32,
}

impl ReportSchedule {
    /// Not running yet; `seed` differs between transports so that their reports do not fall together.
    pub fn new(seed: u32) -> ReportSchedule {
        ReportSchedule { next: None, random: seed | 1 }
    }

    /// There is something to report; starts the timer when it does not run.
    pub fn start(&mut self, now: Time) {
        self.next.get_or_insert(now + FIRST);
    }

    /// When a report is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next
    }

    /// Whether a report is due; arms the next one, at 0.5 to 1.5 of the mean interval (RFC 3550 §6.3.1).
    pub fn poll(&mut self, now: Time, video: bool) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let mean = if video { VIDEO_INTERVAL } else { AUDIO_INTERVAL };
        // xorshift32: spreads the reports, hides nothing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let spread = mean.as_nanos() as u64 * u64::from(self.random >> 16) / 0x1_0000;
        self.next = Some(now + mean / 2 + Duration::from_nanos(spread));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_vary_around_their_mean() {
        let mut schedule = ReportSchedule::new(77);
        schedule.start(Time::ZERO);
        assert_eq!(schedule.poll_timeout(), Some(Time::from_millis(250)));
        let mut last = Time::ZERO;
        for round in 0..100 {
            let at = schedule.poll_timeout().unwrap();
            let passed = at.since(last);
            assert!(round == 0 || (passed >= VIDEO_INTERVAL / 2 && passed <= VIDEO_INTERVAL * 3 / 2));
            assert!(schedule.poll(at, true));
            assert!(!schedule.poll(at, true));
            last = at;
        }
        assert!((80_000..120_000).contains(&last.as_millis()));
    }

    #[test]
    fn nothing_is_due_before_there_is_something_to_report() {
        let mut schedule = ReportSchedule::new(1);
        assert!(!schedule.poll(Time::FAR_FUTURE, false));
    }
}
