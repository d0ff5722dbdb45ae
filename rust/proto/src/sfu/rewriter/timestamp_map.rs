//! RTP timestamps of one receiver: one timeline that goes on with the clock, over changing sources.

use crate::time::Time;

/// Most of a correction that one frame takes, as a share of the time since the frame before it: two to the minus one.
const CORRECTION_SHIFT: u32 = 1;
/// A correction beyond this is a source with a broken clock, and is not made.
const MAX_CORRECTION_S: u64 = 5;

/// Timestamp units that pass in `nanos` nanoseconds at `clock_rate` Hz, modulo 2^32.
pub fn units(nanos: u64, clock_rate: u32) -> u32 {
    (u128::from(nanos) * u128::from(clock_rate) / 1_000_000_000) as u32
}

/// When a sample was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// The instant.
    pub at: Time,
    /// Whether a sender report tells it; otherwise it is the arrival, which comes close.
    pub exact: bool,
}

impl Capture {
    /// Known only by arrival.
    pub fn estimated(at: Time) -> Capture {
        Capture { at, exact: false }
    }

    /// Told by a sender report.
    pub fn exact(at: Time) -> Capture {
        Capture { at, exact: true }
    }
}

/// Maps the timestamps of changing sources to one timeline that goes on with the clock.
///
/// A switch before the new source's first sender report goes by arrival. When the report has come the timeline is led
/// back to what it would have been, a bit with every frame, and never backwards.
#[derive(Clone, Copy, Debug)]
pub struct TimestampMap {
    shift: u32,
    newest: u32,
    capture: Capture,
    clock_rate: u32,
    started: bool,
    /// An instant whose place in the timeline was exact, kept while a source without reports is mapped.
    anchor: Option<(Time, u32)>,
    correction: i32,
}

impl TimestampMap {
    /// The first timestamp given out will be `initial`.
    pub fn new(initial: u32) -> TimestampMap {
        TimestampMap {
            shift: 0,
            newest: initial,
            capture: Capture::default(),
            clock_rate: 0,
            started: false,
            anchor: None,
            correction: 0,
        }
    }

    /// Begins a new source, whose packet with `timestamp` was sampled at `capture`. The time since the newest packet
    /// of the old source passes in the timeline, at the new source's clock rate; at least one unit.
    pub fn start(&mut self, timestamp: u32, capture: Capture, clock_rate: u32) {
        if self.started && self.capture.exact && self.correction == 0 {
            self.anchor = Some((self.capture.at, self.newest));
        }
        let mut out = if self.started { self.at(capture.at, clock_rate) } else { self.newest };
        self.correction = 0;
        if let (Some((at, anchored)), true, true) = (self.anchor, capture.exact, self.clock_rate == clock_rate) {
            let exact = anchored.wrapping_add(units(capture.at.0.saturating_sub(at.0), clock_rate));
            // Never backwards: the difference is left to the correction.
            out = if is_newer(exact, self.newest) { exact } else { self.newest.wrapping_add(1) };
            self.correct(exact.wrapping_sub(out) as i32);
        }
        if self.clock_rate != clock_rate {
            self.anchor = None;
        }
        self.shift = out.wrapping_sub(timestamp);
        self.newest = out;
        self.capture = capture;
        self.clock_rate = clock_rate;
        self.started = true;
    }

    /// The receiver's timestamp of a packet of the current source.
    pub fn map(&mut self, timestamp: u32, capture: Capture) -> u32 {
        let mut out = timestamp.wrapping_add(self.shift);
        if out == self.newest {
            return out;
        }
        if is_newer(out, self.newest) {
            if capture.exact && !self.capture.exact {
                self.aim(out, capture.at);
            }
            if self.correction != 0 {
                let most = (out.wrapping_sub(self.newest) >> CORRECTION_SHIFT).min(self.clock_rate) as i32;
                let step = self.correction.clamp(-most, most);
                self.correction -= step;
                self.shift = self.shift.wrapping_add_signed(step);
                out = out.wrapping_add_signed(step);
            }
            self.newest = out;
            self.capture = capture;
        }
        out
    }

    /// Whether a packet of the current source lies behind all that was mapped.
    pub fn is_ahead(&self, timestamp: u32) -> bool {
        is_newer(timestamp.wrapping_add(self.shift), self.newest)
    }

    /// Where a packet of the current source lies, without moving on.
    pub fn peek(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.shift)
    }

    /// Whether nothing later than `capture` was mapped.
    pub fn precedes(&self, capture: Time) -> bool {
        !self.started || self.capture.at <= capture
    }

    /// The first report of a source that was mapped by arrival: how far off is the packet that goes to `out`?
    fn aim(&mut self, out: u32, capture: Time) {
        let Some((at, anchored)) = self.anchor else { return };
        let exact = anchored.wrapping_add(units(capture.0.saturating_sub(at.0), self.clock_rate));
        self.correct(exact.wrapping_sub(out) as i32);
    }

    fn correct(&mut self, error: i32) {
        let limit = u64::from(self.clock_rate) * MAX_CORRECTION_S;
        self.correction = if u64::from(error.unsigned_abs()) <= limit { error } else { 0 };
    }

    /// Begins the timeline without a source, for packets of our own.
    pub fn begin(&mut self, now: Time, clock_rate: u32) {
        if !self.started {
            (self.capture, self.clock_rate, self.started) = (Capture::estimated(now), clock_rate, true);
        }
    }

    /// Clock of the current source in Hz; zero before the first.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The timestamp of the instant `time` in the receiver's timeline; later than the newest by at least one unit.
    pub fn at(&self, time: Time, clock_rate: u32) -> u32 {
        let nanos = time.0.saturating_sub(self.capture.at.0);
        self.newest.wrapping_add(units(nanos, clock_rate).max(1))
    }

    /// The timestamp that belongs to `now` in a sender report; `None` before the first packet.
    pub fn report(&self, now: Time) -> Option<u32> {
        self.started.then(|| self.newest.wrapping_add(units(now.0.saturating_sub(self.capture.at.0), self.clock_rate)))
    }
}

fn is_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_go_on_with_the_clock_over_a_switch() {
        let mut map = TimestampMap::new(u32::MAX - 100);
        map.start(5_000, Capture::estimated(Time::from_millis(0)), 8_000);
        assert_eq!(map.map(5_000, Capture::estimated(Time::from_millis(0))), u32::MAX - 100);
        assert_eq!(map.map(5_160, Capture::estimated(Time::from_millis(20))), 59, "over the wrap");
        map.start(777, Capture::estimated(Time::from_millis(60)), 8_000);
        assert_eq!(map.map(777, Capture::estimated(Time::from_millis(60))), 59 + 320);
    }

    #[test]
    fn a_switch_to_another_clock_counts_the_pause_in_the_new_one() {
        let mut map = TimestampMap::new(0);
        map.start(0, Capture::estimated(Time::ZERO), 48_000);
        map.map(0, Capture::estimated(Time::ZERO));
        map.start(9, Capture::estimated(Time::from_millis(20)), 8_000);
        assert_eq!(map.map(9, Capture::estimated(Time::from_millis(20))), 160);
        assert_eq!(map.report(Time::from_millis(40)), Some(320));
    }

    #[test]
    fn a_switch_without_time_between_still_moves_forward() {
        let mut map = TimestampMap::new(10);
        map.start(0, Capture::estimated(Time::from_millis(5)), 90_000);
        map.start(0, Capture::estimated(Time::from_millis(5)), 90_000);
        assert_eq!(map.map(0, Capture::estimated(Time::from_millis(5))), 11);
    }

    #[test]
    fn late_packets_keep_their_timestamp_and_do_not_move_the_clock() {
        let mut map = TimestampMap::new(0);
        map.start(1_000, Capture::estimated(Time::ZERO), 8_000);
        map.map(1_320, Capture::estimated(Time::from_millis(40)));
        assert_eq!(map.map(1_160, Capture::estimated(Time::from_millis(41))), 160);
        assert_eq!(map.report(Time::from_millis(40)), Some(320));
    }

    const RATE: u32 = 90_000;

    fn exact(ms: u64) -> Capture {
        Capture::exact(Time::from_millis(ms))
    }

    #[test]
    fn with_sender_reports_a_switch_is_exact_whatever_the_packets_waited() {
        let mut map = TimestampMap::new(0);
        map.start(0, exact(0), RATE);
        map.map(3_000, exact(33));
        map.start(500_000, exact(66), RATE);
        assert_eq!(map.map(500_000, exact(66)), 3_000 + 2_970);
    }

    #[test]
    fn an_estimate_is_led_back_by_the_first_report_and_never_goes_backwards() {
        for late_ms in [0u64, 30, 200] {
            let mut map = TimestampMap::new(0);
            map.start(0, exact(0), RATE);
            map.map(900, exact(10));
            // Sampled at 20 ms, believed to be sampled when it came.
            let mut last = 0;
            map.start(0, Capture::estimated(Time::from_millis(20 + late_ms)), RATE);
            for frame in 0..80u32 {
                let at = 20 + 10 * u64::from(frame);
                let capture = if frame < 5 { Capture::estimated(Time::from_millis(at + late_ms)) } else { exact(at) };
                let out = map.map(900 * frame, capture);
                assert!(frame == 0 || out > last, "late by {late_ms} ms, frame {frame}: {out} after {last}");
                assert!(frame == 0 || out - last <= 1_800);
                last = out;
            }
            assert_eq!(last, 90 * (20 + 790), "late by {late_ms} ms");
        }
    }

    #[test]
    fn a_report_that_tells_nonsense_moves_nothing() {
        let mut map = TimestampMap::new(0);
        map.start(0, exact(0), RATE);
        map.start(0, Capture::estimated(Time::from_millis(10)), RATE);
        assert_eq!(map.map(900, exact(3_600_000)), 1_800);
        assert_eq!(map.map(1_800, exact(3_600_010)), 2_700);
    }
}
