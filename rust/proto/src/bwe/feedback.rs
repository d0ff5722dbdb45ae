//! Transport-wide feedback to publishers: which packets arrived and when, every 50 to 100 ms while packets come.

use crate::rtcp::twcc;
use crate::rtp::{SequenceUnwrapper, Ssrc};
use crate::time::Time;
use std::time::Duration;

/// Time from the first unreported packet to its feedback.
const INTERVAL: Duration = Duration::from_millis(50);
/// Packets that are remembered; the oldest are forgotten beyond it.
const WINDOW: usize = 512;
/// A full enough window does not wait for the interval.
const URGENT: u64 = 200;

/// Arrivals on one transport that were not yet reported.
#[derive(Debug)]
pub struct FeedbackGenerator {
    unwrapper: SequenceUnwrapper,
    arrivals: Box<[Option<Time>; WINDOW]>,
    /// First sequence number of the next feedback.
    base: Option<u64>,
    /// One past the highest number that arrived.
    end: u64,
    media: Option<Ssrc>,
    count: u8,
    due: Option<Time>,
    scratch: Vec<Option<Time>>,
}

impl Default for FeedbackGenerator {
    fn default() -> Self {
        FeedbackGenerator {
            unwrapper: SequenceUnwrapper::default(),
            arrivals: Box::new([None; WINDOW]),
            base: None,
            end: 0,
            media: None,
            count: 0,
            due: None,
            scratch: Vec::with_capacity(twcc::MAX_STATUSES),
        }
    }
}

impl FeedbackGenerator {
    /// Takes the arrival of a packet with its transport-wide sequence number.
    pub fn arrived(&mut self, sequence: u16, now: Time) {
        let sequence = self.unwrapper.unwrap(sequence);
        let base = *self.base.get_or_insert(sequence);
        if sequence < base {
            // Late: report it (again) from there, unless its place in the window is taken.
            if self.end - sequence > WINDOW as u64 {
                return;
            }
            self.base = Some(sequence);
        } else if sequence >= self.end {
            if sequence - self.end >= WINDOW as u64 {
                self.arrivals.fill(None);
                self.base = Some(sequence);
            } else {
                for skipped in self.end..sequence {
                    self.arrivals[skipped as usize % WINDOW] = None;
                }
                let oldest = (sequence + 1).saturating_sub(WINDOW as u64);
                self.base = Some(base.max(oldest));
            }
            self.end = sequence + 1;
            self.arrivals[sequence as usize % WINDOW] = None;
        }
        let slot = &mut self.arrivals[sequence as usize % WINDOW];
        if slot.is_none() {
            *slot = Some(now);
        }
        let urgent = self.base.is_some_and(|base| self.end - base >= URGENT);
        let due = if urgent { now } else { now + INTERVAL };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// A media source of this transport that is known to its sender. With an unknown one, such as 0, browsers drop
    /// their estimate to the floor, so nothing is sent before there is one.
    pub fn set_media(&mut self, media: Ssrc) {
        self.media = Some(media);
    }

    /// Whether there is one.
    pub fn has_media(&self) -> bool {
        self.media.is_some()
    }

    /// When [`FeedbackGenerator::write`] has something to write.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.filter(|_| self.media.is_some())
    }

    /// Appends the feedback that is due, from `sender`; false when there is none. Call again until it says false.
    pub fn write(&mut self, sender: Ssrc, now: Time, out: &mut Vec<u8>) -> bool {
        let (Some(media), Some(due), Some(base)) = (self.media, self.due, self.base) else { return false };
        if due > now {
            return false;
        }
        self.scratch.clear();
        let end = self.end.min(base + twcc::MAX_STATUSES as u64);
        self.scratch.extend((base..end).map(|sequence| self.arrivals[sequence as usize % WINDOW]));
        let covered = twcc::write(out, sender, media, base as u16, self.count, &self.scratch) as u64;
        if covered == 0 {
            // Nothing in this stretch arrived; go on behind it.
            self.base = Some(end);
            if end < self.end {
                return self.write(sender, now, out);
            }
            self.due = None;
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.base = Some(base + covered);
        if base + covered >= self.end {
            self.due = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};

    const fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn drain(generator: &mut FeedbackGenerator, now: Time) -> Vec<(u16, bool)> {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            if !generator.write(Ssrc(1), now, &mut out) {
                return all;
            }
            let Some(Ok(RtcpPacket::Twcc(feedback))) = packets(&out).next() else { panic!("not a feedback") };
            assert_eq!(feedback.media, Ssrc(9));
            all.extend(feedback.packets().map(|packet| (packet.sequence, packet.arrival_us.is_some())));
        }
    }

    fn generator() -> FeedbackGenerator {
        let mut generator = FeedbackGenerator::default();
        generator.set_media(Ssrc(9));
        generator
    }

    #[test]
    fn arrivals_are_reported_50_ms_after_the_first() {
        let mut generator = generator();
        generator.arrived(65535, ms(1000));
        generator.arrived(1, ms(1010));
        assert_eq!(generator.poll_timeout(), Some(ms(1050)));
        assert!(drain(&mut generator, ms(1049)).is_empty());
        assert_eq!(drain(&mut generator, ms(1050)), [(65535, true), (0, false), (1, true)]);
        assert_eq!(generator.poll_timeout(), None);
    }

    #[test]
    fn a_loss_between_two_feedbacks_is_told_in_the_second() {
        let mut generator = generator();
        generator.arrived(5, ms(0));
        drain(&mut generator, ms(50));
        generator.arrived(7, ms(60));
        assert_eq!(drain(&mut generator, ms(110)), [(6, false), (7, true)]);
    }

    #[test]
    fn a_late_packet_is_reported_again_from_its_place() {
        let mut generator = generator();
        generator.arrived(5, ms(0));
        generator.arrived(7, ms(0));
        drain(&mut generator, ms(50));
        generator.arrived(6, ms(60));
        assert_eq!(drain(&mut generator, ms(110)), [(6, true), (7, true)]);
    }

    #[test]
    fn nothing_is_sent_before_a_media_source_is_known() {
        let mut generator = FeedbackGenerator::default();
        generator.arrived(1, ms(0));
        assert_eq!(generator.poll_timeout(), None);
        assert!(!generator.write(Ssrc(1), ms(100), &mut Vec::new()));
    }

    #[test]
    fn many_packets_do_not_wait_and_are_split() {
        let mut generator = generator();
        for sequence in 0..450u16 {
            generator.arrived(sequence, ms(u64::from(sequence) / 100));
        }
        assert!(generator.poll_timeout().unwrap() < ms(10));
        let all = drain(&mut generator, ms(10));
        assert_eq!(all.len(), 450);
        assert!(all.iter().all(|(_, arrived)| *arrived));
    }

    #[test]
    fn a_jump_over_the_window_starts_anew() {
        let mut generator = generator();
        generator.arrived(5, ms(0));
        generator.arrived(20_000, ms(10));
        assert_eq!(drain(&mut generator, ms(60)), [(20_000, true)]);
    }
}
