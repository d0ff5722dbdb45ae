//! Sends DTMF digits as telephone events on a down track (RFC 4733 §2.5.1).

use crate::codec::telephone_event::{TelephoneEvent, event_of};
use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Interval of the reports about one event.
const UPDATE: Duration = Duration::from_millis(20);
/// How often the last report is sent (RFC 4733 §2.5.1.4).
const END_REPORTS: u8 = 3;
/// Most digits that wait.
pub const MAX_DIGITS: usize = 64;
/// Power level of the digits in -dBm0.
const VOLUME: u8 = 10;

/// Why digits are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtmfError {
    /// A character is not one of `0-9*#A-D`.
    #[error("{0:?} is not a DTMF digit")]
    Digit(char),
    /// More than [`MAX_DIGITS`] would wait.
    #[error("too many DTMF digits are waiting")]
    Full,
    /// The receiver negotiated no telephone events.
    #[error("the receiver negotiated no telephone-event payload type")]
    NotNegotiated,
}

/// One report to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The payload.
    pub event: TelephoneEvent,
    /// First report of its event: it has the marker, and fixes the timestamp of the others.
    pub first: bool,
}

/// Digits that wait and the event in progress.
#[derive(Clone, Debug, Default)]
pub struct DtmfSender {
    digits: VecDeque<Digit>,
    current: Option<Current>,
    next_at: Time,
}

#[derive(Clone, Copy, Debug)]
struct Digit {
    event: u8,
    duration: Duration,
    gap: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    updates: u32,
    sent: u32,
    ends: u8,
}

impl DtmfSender {
    /// Queues digits, each of `duration` (40 ms to what 16 bits of `clock_rate` hold) with `gap` (at least 40 ms)
    /// after it. All or none are taken.
    pub fn queue(
        &mut self,
        digits: &str,
        duration: Duration,
        gap: Duration,
        clock_rate: u32,
        now: Time,
    ) -> Result<(), DtmfError> {
        if let Some(wrong) = digits.chars().find(|&digit| event_of(digit).is_none()) {
            return Err(DtmfError::Digit(wrong));
        }
        if self.digits.len() + digits.len() > MAX_DIGITS {
            return Err(DtmfError::Full);
        }
        let longest = Duration::from_millis(u64::from(u16::MAX) * 1000 / u64::from(clock_rate.max(1)));
        let duration = duration.max(Duration::from_millis(40)).min(longest);
        let gap = gap.max(Duration::from_millis(40));
        if !self.is_busy() {
            self.next_at = self.next_at.max(now);
        }
        let events = digits.chars().filter_map(event_of);
        self.digits.extend(events.map(|event| Digit { event, duration, gap }));
        Ok(())
    }

    /// Whether an event is in progress, during which no sound is sent.
    pub fn in_event(&self) -> bool {
        self.current.is_some()
    }

    /// Whether anything is in progress or waits.
    pub fn is_busy(&self) -> bool {
        self.current.is_some() || !self.digits.is_empty()
    }

    /// When [`DtmfSender::poll`] has something to say.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.is_busy().then_some(self.next_at)
    }

    /// The report that is due, with its duration in units of `clock_rate`.
    pub fn poll(&mut self, now: Time, clock_rate: u32) -> Option<Report> {
        if !self.is_busy() || now < self.next_at {
            return None;
        }
        let mut current = match self.current {
            Some(current) => current,
            None => {
                let digit = self.digits.pop_front()?;
                let updates = (digit.duration.as_millis() / UPDATE.as_millis()).max(1) as u32;
                Current { digit, updates, sent: 0, ends: 0 }
            }
        };
        let first = current.sent == 0;
        current.sent = (current.sent + 1).min(current.updates);
        let end = current.sent == current.updates && !first;
        let units = u64::from(clock_rate) * u64::from(current.sent) * UPDATE.as_millis() as u64 / 1000;
        let duration = u16::try_from(units).unwrap_or(u16::MAX);
        current.ends += u8::from(end);
        let finished = current.ends == END_REPORTS;
        self.next_at = self.next_at + if finished { current.digit.gap } else { UPDATE };
        self.current = (!finished).then_some(current);
        let event = TelephoneEvent { event: current.digit.event, end, volume: VOLUME, duration };
        Some(Report { event, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sender: &mut DtmfSender, clock_rate: u32) -> Vec<(u64, Report)> {
        let mut reports = Vec::new();
        while let Some(at) = sender.poll_timeout() {
            reports.push((at.as_millis(), sender.poll(at, clock_rate).unwrap()));
        }
        reports
    }

    #[test]
    fn a_digit_starts_updates_every_20_ms_and_ends_three_times() {
        let mut sender = DtmfSender::default();
        let (tone, gap) = (Duration::from_millis(100), Duration::from_millis(60));
        sender.queue("5", tone, gap, 8000, Time::from_millis(1000)).unwrap();
        let reports = run(&mut sender, 8000);
        let times: Vec<_> = reports.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [1000, 1020, 1040, 1060, 1080, 1100, 1120]);
        let durations: Vec<_> = reports.iter().map(|(_, report)| report.event.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        assert_eq!(reports.iter().filter(|(_, report)| report.event.end).count(), 3);
        assert_eq!(reports.iter().filter(|(_, report)| report.first).count(), 1);
        assert!(reports[0].1.first);
    }

    #[test]
    fn the_next_digit_comes_after_the_gap() {
        let mut sender = DtmfSender::default();
        let (tone, gap) = (Duration::from_millis(40), Duration::from_millis(100));
        sender.queue("1#", tone, gap, 48_000, Time::ZERO).unwrap();
        let starts: Vec<_> = run(&mut sender, 48_000).into_iter().filter(|(_, report)| report.first).collect();
        assert_eq!(starts.len(), 2);
        assert_eq!(starts[1].0, 20 * 3 + 100);
        assert_eq!(starts[1].1.event.event, 11);
        assert!(!sender.is_busy());
    }

    #[test]
    fn wrong_digits_and_floods_are_refused_whole() {
        let mut sender = DtmfSender::default();
        let ms = Duration::from_millis(100);
        assert_eq!(sender.queue("12x", ms, ms, 8000, Time::ZERO), Err(DtmfError::Digit('x')));
        assert_eq!(sender.queue(&"1".repeat(65), ms, ms, 8000, Time::ZERO), Err(DtmfError::Full));
        assert!(!sender.is_busy());
    }

    #[test]
    fn a_duration_never_exceeds_sixteen_bits() {
        let mut sender = DtmfSender::default();
        sender.queue("1", Duration::from_secs(60), Duration::ZERO, 48_000, Time::ZERO).unwrap();
        let reports = run(&mut sender, 48_000);
        assert!(reports.windows(2).all(|pair| pair[0].1.event.duration <= pair[1].1.event.duration));
        assert!(reports.last().unwrap().1.event.end);
        assert!(reports.len() < 80);
    }
}
