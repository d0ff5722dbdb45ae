//! Turns received telephone events into digits, each once (RFC 4733 §2.5.2).

use crate::codec::telephone_event::TelephoneEvent;
use crate::rtp::Ssrc;
use crate::time::Time;
use std::time::Duration;

/// An event whose end was lost is taken to be over when nothing about it came for this long.
const LOST_END: Duration = Duration::from_millis(100);

/// A digit that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// One of `0-9*#A-D`.
    pub digit: char,
    /// How long it sounded, in milliseconds.
    pub duration_ms: u32,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    ssrc: Ssrc,
    timestamp: u32,
    event: TelephoneEvent,
    clock_rate: u32,
    reported: bool,
    last: Time,
}

/// The event that was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub struct DtmfReceiver {
    current: Option<Progress>,
}

impl DtmfReceiver {
    /// Takes one report; a digit comes out at the first end report, or, when all of those were lost, at the next event.
    /// All reports of one event have its timestamp, and a marker is not relied on.
    pub fn handle_event(
        &mut self,
        ssrc: Ssrc,
        timestamp: u32,
        clock_rate: u32,
        event: TelephoneEvent,
        now: Time,
    ) -> Option<Digit> {
        if let Some(current) = &mut self.current
            && (current.ssrc, current.timestamp) == (ssrc, timestamp)
        {
            current.last = now;
            current.event.duration = current.event.duration.max(event.duration);
            return if event.end { finish(current) } else { None };
        }
        let before = self.current.as_mut().and_then(finish);
        let mut progress = Progress { ssrc, timestamp, event, clock_rate, reported: false, last: now };
        // Two digits at once happen only when a lost end and a lone end meet; the older one is told, the newer is
        // told by its next end report.
        let now_over = if event.end && before.is_none() { finish(&mut progress) } else { None };
        self.current = Some(progress);
        before.or(now_over)
    }

    /// Sound goes on: the event is over even if its end reports were lost.
    pub fn handle_sound(&mut self, now: Time) -> Option<Digit> {
        let current = self.current.as_mut().filter(|current| now.since(current.last) >= LOST_END)?;
        finish(current)
    }
}

fn finish(progress: &mut Progress) -> Option<Digit> {
    if std::mem::replace(&mut progress.reported, true) {
        return None;
    }
    let duration_ms = u32::from(progress.event.duration) * 1000 / progress.clock_rate.max(1);
    progress.event.digit().map(|digit| Digit { digit, duration_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: u8, end: bool, duration: u16) -> TelephoneEvent {
        TelephoneEvent { event: code, end, volume: 10, duration }
    }

    fn at(receiver: &mut DtmfReceiver, timestamp: u32, event: TelephoneEvent, ms: u64) -> Option<char> {
        let digit = receiver.handle_event(Ssrc(1), timestamp, 8000, event, Time::from_millis(ms));
        digit.map(|digit| digit.digit)
    }

    #[test]
    fn three_end_reports_are_one_digit() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(at(&mut receiver, 100, event(5, false, 160), 0), None);
        let digit = receiver.handle_event(Ssrc(1), 100, 8000, event(5, true, 800), Time::from_millis(100));
        assert_eq!(digit, Some(Digit { digit: '5', duration_ms: 100 }));
        assert_eq!(at(&mut receiver, 100, event(5, true, 800), 120), None);
        assert_eq!(at(&mut receiver, 100, event(5, true, 800), 140), None);
    }

    #[test]
    fn the_same_digit_twice_is_two_digits() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(at(&mut receiver, 100, event(5, true, 800), 0), Some('5'));
        assert_eq!(at(&mut receiver, 2000, event(5, true, 800), 200), Some('5'));
    }

    #[test]
    fn a_digit_whose_end_is_lost_comes_with_the_next_event_or_with_sound() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(at(&mut receiver, 100, event(1, false, 160), 0), None);
        assert_eq!(at(&mut receiver, 2000, event(2, false, 160), 200), Some('1'));
        assert_eq!(receiver.handle_sound(Time::from_millis(250)), None);
        assert_eq!(receiver.handle_sound(Time::from_millis(300)).map(|digit| digit.digit), Some('2'));
        assert_eq!(receiver.handle_sound(Time::from_millis(900)), None);
    }

    #[test]
    fn events_that_are_no_digits_are_silent() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(at(&mut receiver, 100, event(32, true, 800), 0), None);
    }
}
