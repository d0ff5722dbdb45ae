//! The rate at which packets arrive at the receiver, from its own arrival times.

/// Time that is looked back on, in microseconds.
const WINDOW_US: i64 = 400_000;
/// The same for the quick view.
const RECENT_US: i64 = 200_000;
/// Less than this says nothing.
const SHORTEST_US: i64 = 120_000;
/// Steps of arrival time in which bytes are added up, in microseconds.
const STEP_US: i64 = 5_000;
/// More than the window has steps.
const STEPS: usize = 96;

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    arrival_us: i64,
    bytes: u32,
}

/// Bytes that arrived in the last [`WINDOW_US`], in steps.
#[derive(Debug)]
pub struct AckedRate {
    steps: [Step; STEPS],
    first: usize,
    len: usize,
    /// Sum of all steps.
    bytes: u64,
    last_bps: Option<f64>,
}

impl Default for AckedRate {
    fn default() -> Self {
        AckedRate { steps: [Step::default(); STEPS], first: 0, len: 0, bytes: 0, last_bps: None }
    }
}

impl AckedRate {
    /// Takes a received packet.
    pub fn packet(&mut self, arrival_us: i64, size: u16) {
        let newest = self.newest().map_or(i64::MIN, |step| step.arrival_us);
        if self.len > 0 && arrival_us < newest + STEP_US {
            // Late ones count where the newest are: what matters is the sum.
            let index = (self.first + self.len - 1) % STEPS;
            self.steps[index].bytes = self.steps[index].bytes.saturating_add(u32::from(size));
            self.bytes += u64::from(size);
            return;
        }
        while self.len > 0 && (self.len == STEPS || arrival_us - self.steps[self.first].arrival_us > WINDOW_US) {
            self.bytes -= u64::from(self.steps[self.first].bytes);
            self.first = (self.first + 1) % STEPS;
            self.len -= 1;
        }
        self.steps[(self.first + self.len) % STEPS] = Step { arrival_us, bytes: u32::from(size) };
        self.len += 1;
        self.bytes += u64::from(size);
        self.measure();
    }

    /// Bits per second, once there is enough to tell.
    pub fn bps(&self) -> Option<f64> {
        self.last_bps
    }

    /// Bits per second of the last 200 ms alone: coarse, but quick to fall with the line.
    pub fn recent_bps(&self) -> Option<f64> {
        let newest = self.newest()?;
        let (mut bytes, mut oldest_us) = (0u64, newest.arrival_us);
        for back in 1..self.len {
            let step = self.steps[(self.first + self.len - 1 - back) % STEPS];
            if newest.arrival_us - step.arrival_us > RECENT_US {
                break;
            }
            bytes += u64::from(step.bytes);
            oldest_us = step.arrival_us;
        }
        let span_us = newest.arrival_us - oldest_us;
        (span_us >= SHORTEST_US).then(|| bytes as f64 * 8e6 / span_us as f64)
    }

    /// Forgets what was seen: the receiver's clock has jumped.
    pub fn reset(&mut self) {
        *self = AckedRate::default();
    }

    /// What arrived at the last step belongs to the time that follows it, so it is left out.
    fn measure(&mut self) {
        let (Some(newest), oldest) = (self.newest(), self.steps[self.first]) else { return };
        let span_us = newest.arrival_us - oldest.arrival_us;
        if span_us >= SHORTEST_US {
            let bytes = self.bytes - u64::from(newest.bytes);
            self.last_bps = Some(bytes as f64 * 8e6 / span_us as f64);
        }
    }

    fn newest(&self) -> Option<Step> {
        (self.len > 0).then(|| self.steps[(self.first + self.len - 1) % STEPS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_steady_rate_give_that_rate() {
        let mut rate = AckedRate::default();
        for frame in 0..60i64 {
            for packet in 0..4 {
                rate.packet(frame * 33_333 + packet * 500, 1000);
            }
        }
        let bps = rate.bps().unwrap();
        assert!((bps / 960_000.0 - 1.0).abs() < 0.02, "{bps}");
    }

    #[test]
    fn a_fall_is_seen_within_the_window() {
        let mut rate = AckedRate::default();
        for packet in 0..200i64 {
            rate.packet(packet * 5_000, 1000);
        }
        for packet in 0..25i64 {
            rate.packet(1_000_000 + packet * 20_000, 1000);
        }
        assert!((rate.bps().unwrap() / 400_000.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_quick_view_sees_a_fall_after_200_ms() {
        let mut rate = AckedRate::default();
        for packet in 0..200i64 {
            rate.packet(packet * 5_000, 1000);
        }
        for packet in 0..12i64 {
            rate.packet(1_000_000 + packet * 20_000, 1000);
        }
        assert!(rate.bps().unwrap() > 700_000.0);
        assert!((rate.recent_bps().unwrap() / 400_000.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn too_little_says_nothing() {
        let mut rate = AckedRate::default();
        rate.packet(0, 1000);
        rate.packet(50_000, 1000);
        assert_eq!(rate.bps(), None);
    }
}
