//! Freezes of a picture, as the statistics of browsers define them, from when its frames come.

use crate::time::Time;
use std::time::Duration;

/// Frames over which the usual duration of one is taken.
const FRAMES: usize = 30;
/// A gap of this length is a pause: the camera is off, or nobody wants the picture.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts gaps between frames that a viewer would call a freeze (W3C webrtc-stats, `freezeCount`): a frame that takes at
/// least three times as long as the last 30 took on average, and at least 150 ms longer. Browsers look at frames when
/// they are shown; here it is the first packet of each.
#[derive(Clone, Debug, Default)]
pub struct FreezeMeter {
    last: Option<(u32, Time)>,
    /// Durations of the last frames in microseconds, the oldest at `next`; those not yet used are zero.
    durations: [u32; FRAMES],
    sum_us: u32,
    next: u8,
    count: u8,
    freezes: u32,
    frozen: Duration,
}

impl FreezeMeter {
    /// A packet of the frame `timestamp`, which may be the frame before.
    pub fn packet(&mut self, timestamp: u32, now: Time) {
        match self.last {
            // Also what comes late: it belongs to a frame that is over.
            Some((last, _)) if timestamp.wrapping_sub(last) as i32 <= 0 => {}
            Some((_, at)) => {
                self.last = Some((timestamp, now));
                self.frame(now.since(at));
            }
            None => self.last = Some((timestamp, now)),
        }
    }

    /// The picture stops on purpose: the gap that begins is no freeze, and its frames are counted anew.
    pub fn rest(&mut self) {
        let (freezes, frozen) = (self.freezes, self.frozen);
        *self = FreezeMeter { freezes, frozen, ..FreezeMeter::default() };
    }

    /// How often the picture froze, and for how long in all.
    pub fn total(&self) -> (u32, Duration) {
        (self.freezes, self.frozen)
    }

    fn frame(&mut self, duration: Duration) {
        if duration >= PAUSE {
            let last = self.last;
            self.rest();
            self.last = last;
            return;
        }
        let us = duration.as_micros() as u32;
        if self.count > 0 {
            let usual = self.sum_us / u32::from(self.count);
            if us >= (3 * usual).max(usual + 150_000) {
                self.freezes += 1;
                self.frozen += duration;
            }
        }
        let slot = &mut self.durations[usize::from(self.next)];
        self.sum_us = self.sum_us - *slot + us;
        *slot = us;
        self.next = (self.next + 1) % FRAMES as u8;
        self.count = (self.count + 1).min(FRAMES as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames at these times, each of two packets.
    fn after(times_ms: impl IntoIterator<Item = u64>) -> FreezeMeter {
        let mut meter = FreezeMeter::default();
        for (frame, ms) in times_ms.into_iter().enumerate() {
            meter.packet(frame as u32 * 3000, Time::from_millis(ms));
            meter.packet(frame as u32 * 3000, Time::from_millis(ms + 1));
        }
        meter
    }

    fn steady(frames: u64) -> impl Iterator<Item = u64> {
        (0..frames).map(|frame| frame * 33)
    }

    #[test]
    fn a_gap_of_150_ms_more_than_usual_is_a_freeze_and_one_of_less_is_not() {
        assert_eq!(after(steady(40)).total(), (0, Duration::ZERO));
        let end = 39 * 33;
        assert_eq!(after(steady(40).chain([end + 182])).total(), (0, Duration::ZERO));
        assert_eq!(after(steady(40).chain([end + 183])).total(), (1, Duration::from_millis(183)));
    }

    #[test]
    fn a_slow_picture_freezes_at_three_times_its_usual_gap() {
        let slow = || (0..40).map(|frame| frame * 200);
        assert_eq!(after(slow().chain([39 * 200 + 599])).total().0, 0);
        assert_eq!(after(slow().chain([39 * 200 + 600])).total(), (1, Duration::from_millis(600)));
    }

    #[test]
    fn every_freeze_counts_and_a_pause_is_none() {
        let end = 39 * 33;
        let meter = after(steady(40).chain([end + 500, end + 533, end + 1200, end + 6200, end + 6233]));
        assert_eq!(meter.total(), (2, Duration::from_millis(500 + 667)));
    }

    #[test]
    fn what_stops_on_purpose_does_not_freeze() {
        let mut meter = after(steady(40));
        meter.rest();
        meter.packet(40 * 3000, Time::from_millis(40 * 33 + 2000));
        meter.packet(41 * 3000, Time::from_millis(40 * 33 + 2033));
        assert_eq!(meter.total().0, 0);
    }

    #[test]
    fn late_packets_and_wraps_of_the_timestamp_begin_no_frame_of_their_own() {
        let mut meter = FreezeMeter::default();
        let start = u32::MAX - 10 * 3000;
        for frame in 0..40u32 {
            let at = Time::from_millis(u64::from(frame) * 33);
            meter.packet(start.wrapping_add(frame * 3000), at);
            meter.packet(start.wrapping_add(frame.saturating_sub(1) * 3000), at);
        }
        assert_eq!((meter.total().0, meter.count), (0, 30));
    }
}
