//! A bulk TCP flow as traffic that competes: CUBIC (RFC 9438) with selective acknowledgements and an ACK clock.
//!
//! A model, not a TCP: every segment is acknowledged on its own, one is lost when three later ones have arrived, and
//! the retransmission timer is that of RFC 6298 with a floor of 200 ms.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_proto::time::Time;

/// Bytes of a full segment on the wire.
pub const SEGMENT: usize = 1_500;
/// Segments at the start (RFC 6928).
const START: f64 = 10.0;
/// CUBIC: decrease, and the constant that scales its growth.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Later arrivals that make a segment lost (RFC 6675).
const REORDERING: u64 = 3;
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
const TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    sent: Time,
}

/// The sending side of a flow.
#[derive(Debug)]
pub struct TcpSender {
    outstanding: VecDeque<Outstanding>,
    next: u64,
    /// Segments that are still to be sent, lost ones included.
    left: u64,
    window: f64,
    threshold: f64,
    /// CUBIC: window before the last decrease, and when that was.
    max: f64,
    epoch: Option<Time>,
    /// Segments below this were sent before the last decrease and cause no other.
    recover: u64,
    smoothed: Option<Duration>,
    variation: Duration,
    backoff: u32,
    progress: Time,
    delivered: u64,
}

impl TcpSender {
    /// A flow with `bytes` to send.
    pub fn new(bytes: u64, now: Time) -> TcpSender {
        TcpSender {
            outstanding: VecDeque::new(),
            next: 0,
            left: bytes.div_ceil(SEGMENT as u64),
            window: START,
            threshold: f64::INFINITY,
            max: 0.0,
            epoch: None,
            recover: 0,
            smoothed: None,
            variation: Duration::ZERO,
            backoff: 0,
            progress: now,
            delivered: 0,
        }
    }

    /// The number of the segment to send now, of [`SEGMENT`] bytes.
    pub fn poll_segment(&mut self, now: Time) -> Option<u64> {
        if self.left == 0 || self.outstanding.len() as f64 >= self.window.floor().max(1.0) {
            return None;
        }
        if self.outstanding.is_empty() {
            self.progress = now;
        }
        self.left -= 1;
        let number = self.next;
        self.next += 1;
        self.outstanding.push_back(Outstanding { number, sent: now });
        Some(number)
    }

    /// Takes the acknowledgement of one segment.
    pub fn handle_ack(&mut self, number: u64, now: Time) {
        let Ok(index) = self.outstanding.binary_search_by_key(&number, |segment| segment.number) else { return };
        let Some(segment) = self.outstanding.remove(index) else { return };
        (self.progress, self.backoff) = (now, 0);
        self.delivered += 1;
        let sample = now.since(segment.sent);
        self.measure(sample);
        let lost = self.outstanding.iter().take_while(|earlier| earlier.number + REORDERING <= number).count();
        if lost > 0 {
            let newest = self.outstanding[lost - 1].number;
            self.outstanding.drain(..lost);
            self.left += lost as u64;
            if newest >= self.recover {
                self.decrease();
            }
            return;
        }
        self.grow(sample, now);
    }

    /// Does what is due: the retransmission timer.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            self.left += self.outstanding.len() as u64;
            self.outstanding.clear();
            self.decrease();
            self.window = 1.0;
            self.backoff += 1;
            self.progress = now;
        }
    }

    /// When the retransmission timer runs out.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.outstanding.is_empty() {
            return None;
        }
        let timeout = self.smoothed.map_or(Duration::from_secs(1), |smoothed| smoothed + 4 * self.variation);
        let timeout = timeout.max(TIMEOUT_MIN) * 2u32.pow(self.backoff.min(6));
        Some(self.progress + timeout.min(TIMEOUT_MAX))
    }

    /// Whether everything was delivered.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.outstanding.is_empty()
    }

    fn measure(&mut self, sample: Duration) {
        match self.smoothed {
            None => (self.smoothed, self.variation) = (Some(sample), sample / 2),
            Some(smoothed) => {
                self.variation = (3 * self.variation + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((7 * smoothed + sample) / 8);
            }
        }
    }

    fn decrease(&mut self) {
        // RFC 9438 §4.7, fast convergence: who is on the way down makes room sooner.
        self.max = if self.window < self.max { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
        self.recover = self.next;
    }

    fn grow(&mut self, round_trip: Duration, now: Time) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        if self.epoch.is_none() && self.max < self.window {
            self.max = self.window;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let at_s = (now.since(epoch) + round_trip).as_secs_f64();
        let k_s = ((self.max - self.max * BETA).max(0.0) / C).cbrt();
        let cubic = C * (at_s - k_s).powi(3) + self.max;
        // RFC 9438 §4.3: not slower than Reno would be.
        let reno = self.max * BETA + 3.0 * (1.0 - BETA) / (1.0 + BETA) * at_s / round_trip.as_secs_f64().max(0.001);
        let target = cubic.max(reno).clamp(self.window, 1.5 * self.window);
        self.window += (target - self.window) / self.window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Link, LinkConfig, Loss, QueueLimit, Schedule};

    /// Runs one flow alone over 10 Mbit/s and 40 ms for some seconds; gives out bits per second delivered.
    fn run(queue: Duration, loss: Loss, seconds: u64, bytes: u64) -> (f64, bool) {
        let mut link = Link::new(LinkConfig {
            rate: Schedule::constant(10e6),
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            reorders: false,
            loss,
            queue: QueueLimit::Time(queue),
            seed: 3,
        });
        let mut sender = TcpSender::new(bytes, Time::ZERO);
        let mut acks: VecDeque<(Time, u64)> = VecDeque::new();
        let mut now = Time::ZERO;
        while now < Time::from_millis(seconds * 1_000) {
            sender.handle_timeout(now);
            while let Some((_, number)) = acks.front().copied().filter(|(at, _)| *at <= now) {
                acks.pop_front();
                sender.handle_ack(number, now);
            }
            while let Some(number) = sender.poll_segment(now) {
                link.send(0, SEGMENT, Duration::ZERO, number, now);
            }
            while let Some(delivery) = link.poll(now) {
                acks.push_back((now + Duration::from_millis(20), delivery.payload));
            }
            now = now + Duration::from_micros(500);
        }
        (sender.delivered as f64 * 8.0 * SEGMENT as f64 / seconds as f64, sender.is_done())
    }

    #[test]
    fn a_bulk_flow_fills_a_line_with_a_decent_queue() {
        let (bps, _) = run(Duration::from_millis(40), Loss::None, 20, u64::MAX / 4);
        assert!((0.85..1.01).contains(&(bps / 10e6)), "{bps}");
    }

    #[test]
    fn random_loss_costs_it_most_of_the_line() {
        let (bps, _) = run(Duration::from_millis(40), Loss::Random(0.02), 20, u64::MAX / 4);
        assert!((0.05..0.6).contains(&(bps / 10e6)), "{bps}");
    }

    #[test]
    fn a_short_flow_ends_and_has_sent_everything() {
        let (bps, done) = run(Duration::from_millis(40), Loss::Random(0.01), 3, 300_000);
        assert!(done);
        assert_eq!(bps, 200.0 * 8.0 * SEGMENT as f64 / 3.0);
    }
}
