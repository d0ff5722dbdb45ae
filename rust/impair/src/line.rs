//! One direction of a line: a drop-tail queue, a rate, random loss, delay and jitter. Sans-IO; time is an argument.
//!
//! The virtual wire of `mediaserver-netem` knows its rate over time beforehand; here a test changes it while packets
//! are on their way, and what already waits in the queue leaves at the new rate.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;

/// A point in time: nanoseconds since the program began.
pub type Nanos = u64;

/// How a direction behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Bits per second of UDP payload with 28 bytes of IPv4 and UDP header each; none is without limit.
    pub rate_bps: Option<f64>,
    /// Propagation delay.
    pub delay: Duration,
    /// Most that is added to the delay, evenly spread; packets keep their order.
    pub jitter: Duration,
    /// Probability that a packet which has left the queue is lost.
    pub loss: f64,
    /// Longest wait in the queue; what would wait longer is dropped. Without a rate nothing ever waits.
    pub queue: Duration,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            rate_bps: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: Duration::from_millis(300),
        }
    }
}

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the other side.
    pub delivered: u64,
    /// Bytes of those, without headers.
    pub bytes: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
}

/// IPv4 and UDP header: a line carries them too.
const HEADERS: usize = 28;
/// Packets that may be anywhere in one direction; bounds memory when no rate is set and the delay is long.
const MOST: usize = 20_000;

/// A direction; `T` goes with each packet (who it belongs to).
#[derive(Debug)]
pub struct Line<T> {
    shape: Shape,
    waiting: VecDeque<(Vec<u8>, T)>,
    waiting_bytes: usize,
    /// When the packet at the head began to leave; its end follows from the rate of the moment.
    head_since: Nanos,
    /// Bits of the head that had left when the rate changed.
    head_done: f64,
    flying: BTreeMap<(Nanos, u64), (Vec<u8>, T)>,
    number: u64,
    last_arrival: Nanos,
    random: Rng,
    counts: Counts,
}

impl<T> Line<T> {
    /// An empty line without any impairment.
    pub fn new(seed: u64) -> Line<T> {
        Line {
            shape: Shape::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            head_since: 0,
            head_done: 0.0,
            flying: BTreeMap::new(),
            number: 0,
            last_arrival: 0,
            random: Rng::with_seed(seed),
            counts: Counts::default(),
        }
    }

    /// Changes how the line behaves from now on; what is already flying arrives as it would have.
    pub fn reshape(&mut self, shape: Shape, now: Nanos) {
        self.advance(now);
        if !self.waiting.is_empty() {
            self.head_done += self.carried(now.saturating_sub(self.head_since));
            self.head_since = now;
        }
        self.shape = shape;
        self.advance(now);
    }

    /// A packet comes in; it is dropped where the queue is full.
    pub fn send(&mut self, packet: Vec<u8>, tag: T, now: Nanos) {
        self.advance(now);
        let full = match self.shape.rate_bps {
            // The time that a packet waits is what stands before it. One always fits into an empty queue.
            Some(bps) => self.waiting_bytes as f64 * 8.0 - self.head_left(now) > bps * self.shape.queue.as_secs_f64(),
            None => false,
        };
        if full || self.waiting.len() + self.flying.len() >= MOST {
            self.counts.overflowed += 1;
            return;
        }
        if self.waiting.is_empty() {
            (self.head_since, self.head_done) = (now, 0.0);
        }
        self.waiting_bytes += packet.len() + HEADERS;
        self.waiting.push_back((packet, tag));
        self.advance(now);
    }

    /// The next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Nanos) -> Option<(Vec<u8>, T)> {
        self.advance(now);
        let entry = self.flying.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (packet, tag) = entry.remove();
        self.counts.delivered += 1;
        self.counts.bytes += packet.len() as u64;
        Some((packet, tag))
    }

    /// When [`Line::poll`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let arrival = self.flying.first_key_value().map(|(&(at, _), _)| at);
        [arrival, self.head_end()].into_iter().flatten().min()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many packets are in it.
    pub fn inside(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    fn carried(&self, time: Nanos) -> f64 {
        self.shape.rate_bps.map_or(0.0, |bps| bps * time as f64 / 1e9)
    }

    /// Bits of the head that have left.
    fn head_left(&self, now: Nanos) -> f64 {
        if self.waiting.is_empty() { 0.0 } else { self.head_done + self.carried(now.saturating_sub(self.head_since)) }
    }

    fn head_end(&self) -> Option<Nanos> {
        let (packet, _) = self.waiting.front()?;
        let left = ((packet.len() + HEADERS) as f64 * 8.0 - self.head_done).max(0.0);
        Some(self.head_since + self.shape.rate_bps.map_or(0, |bps| (left / bps * 1e9).ceil() as Nanos))
    }

    /// Moves what has left the queue by `now` into flight.
    fn advance(&mut self, now: Nanos) {
        while let Some(end) = self.head_end().filter(|&end| end <= now) {
            let Some((packet, tag)) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= packet.len() + HEADERS;
            (self.head_since, self.head_done) = (end, 0.0);
            if self.random.f64() < self.shape.loss {
                self.counts.lost += 1;
                continue;
            }
            let jitter = (self.shape.jitter.as_nanos() as f64 * self.random.f64()) as Nanos;
            // RFC 8868 Appendix A.1 asks for jitter without reordering.
            self.last_arrival = self.last_arrival.max(end + self.shape.delay.as_nanos() as Nanos + jitter);
            self.flying.insert((self.last_arrival, self.number), (packet, tag));
            self.number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn line(shape: Shape) -> Line<u64> {
        let mut line = Line::new(1);
        line.reshape(shape, 0);
        line
    }

    /// Arrivals of everything inside: when (ms), and the tag.
    fn drain(line: &mut Line<u64>) -> Vec<(u64, u64)> {
        let mut seen = Vec::new();
        while let Some(at) = line.poll_timeout() {
            while let Some((_, tag)) = line.poll(at) {
                seen.push((at / MS, tag));
            }
        }
        seen
    }

    fn packet() -> Vec<u8> {
        vec![0; 1_000 - HEADERS]
    }

    #[test]
    fn packets_wait_for_each_other_at_the_rate_and_then_travel() {
        let mut line = line(Shape { rate_bps: Some(800_000.0), delay: Duration::from_millis(40), ..Shape::default() });
        for tag in 0..3 {
            line.send(packet(), tag, 0);
        }
        assert_eq!(drain(&mut line), [(50, 0), (60, 1), (70, 2)]);
    }

    #[test]
    fn what_would_wait_longer_than_the_queue_is_dropped() {
        let queue = Duration::from_millis(100);
        let mut line = line(Shape { rate_bps: Some(800_000.0), queue, ..Shape::default() });
        for tag in 0..20 {
            line.send(packet(), tag, 0);
        }
        assert_eq!(line.counts().overflowed, 9);
        assert_eq!(drain(&mut line).last(), Some(&(110, 10)));
    }

    #[test]
    fn a_change_of_rate_holds_for_what_waits() {
        let slow = Shape { rate_bps: Some(80_000.0), ..Shape::default() };
        let mut line = line(slow);
        line.send(packet(), 0, 0);
        line.send(packet(), 1, 0);
        // Half of the first packet has left after 50 ms; the rest takes a tenth of what it would have.
        line.reshape(Shape { rate_bps: Some(800_000.0), ..slow }, 50 * MS);
        assert_eq!(drain(&mut line), [(55, 0), (65, 1)]);
    }

    #[test]
    fn taking_the_rate_away_lets_everything_go_at_once() {
        let mut line = line(Shape { rate_bps: Some(8_000.0), queue: Duration::from_secs(9), ..Shape::default() });
        for tag in 0..4 {
            line.send(packet(), tag, 0);
        }
        line.reshape(Shape::default(), 10 * MS);
        assert_eq!(drain(&mut line), [(10, 0), (10, 1), (10, 2), (10, 3)]);
    }

    #[test]
    fn loss_is_as_stated_and_a_seed_repeats_it() {
        let run = || {
            let mut line = line(Shape { loss: 0.1, ..Shape::default() });
            for tag in 0..10_000 {
                line.send(packet(), tag, tag * MS);
                while line.poll(tag * MS).is_some() {}
            }
            line.counts()
        };
        let counts = run();
        assert!((900..1_100).contains(&counts.lost), "{counts:?}");
        assert_eq!(counts, run());
        assert_eq!(counts.lost + counts.delivered, 10_000);
    }

    #[test]
    fn jitter_is_bounded_and_keeps_the_order() {
        let shape = Shape { delay: Duration::from_millis(10), jitter: Duration::from_millis(30), ..Shape::default() };
        let mut line = line(shape);
        let mut seen = Vec::new();
        for tag in 0..1_000 {
            let now = tag * 5 * MS;
            line.send(packet(), tag, now);
            while let Some((_, came)) = line.poll(now) {
                seen.push(came);
            }
        }
        seen.extend(drain(&mut line).iter().map(|&(at, tag)| {
            assert!(at - tag * 5 <= 40);
            tag
        }));
        assert!(seen.iter().copied().eq(0..1_000));
    }

    #[test]
    fn memory_is_bounded() {
        let mut line = line(Shape { delay: Duration::from_secs(60), ..Shape::default() });
        for tag in 0..MOST as u64 + 5 {
            line.send(Vec::new(), tag, 0);
        }
        assert_eq!((line.inside(), line.counts().overflowed), (MOST, 5));
    }
}
