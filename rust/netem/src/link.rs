//! One direction of a line: queue, rate, loss, delay, jitter. Several flows may share it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use mediaserver_proto::time::Time;

use crate::loss::{Loss, LossState};
use crate::random::Random;
use crate::schedule::Schedule;

/// What the queue before the line holds; what comes when it is full is dropped (drop-tail).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueueLimit {
    /// So many bytes.
    Bytes(usize),
    /// As much as the line carries in this time at its rate of the moment.
    Time(Duration),
}

/// How a line behaves.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Rate over time.
    pub rate: Schedule,
    /// Propagation delay.
    pub delay: Duration,
    /// Spread of a random delay on top: a normal distribution with this deviation, cut at three deviations to either
    /// side and shifted so that it is never negative (RFC 8868 Appendix A.1 calls it bounded packet delay variation).
    pub jitter: Duration,
    /// Whether jitter may change the order of packets of one flow.
    pub reorders: bool,
    /// Loss behind the queue.
    pub loss: Loss,
    /// The queue.
    pub queue: QueueLimit,
    /// Seed of jitter and loss.
    pub seed: u64,
}

/// A packet that came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery<T> {
    /// When.
    pub at: Time,
    /// The flow.
    pub flow: usize,
    /// Bytes.
    pub size: usize,
    /// Time it waited in the queue.
    pub queued: Duration,
    /// What the sender gave.
    pub payload: T,
}

/// What happened on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Packets that came out or are on their way.
    pub delivered: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Lost behind the queue.
    pub lost: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    flow: usize,
    size: usize,
    since: Time,
    extra: Duration,
    payload: T,
}

#[derive(Debug)]
struct Flight<T> {
    number: u64,
    delivery: Delivery<T>,
}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Flight<T> {}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Flight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.delivery.at, self.number).cmp(&(other.delivery.at, other.number))
    }
}

/// One direction of a line.
#[derive(Debug)]
pub struct Link<T> {
    config: LinkConfig,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    /// When the packet at the head began to leave, and when it will have left.
    head: Option<(Time, Time)>,
    flights: BinaryHeap<Reverse<Flight<T>>>,
    number: u64,
    /// Last arrival of each flow.
    last: Vec<Time>,
    loss: LossState,
    random: Random,
    counts: LinkCounts,
}

impl<T> Link<T> {
    /// An empty line.
    pub fn new(config: LinkConfig) -> Link<T> {
        Link {
            loss: LossState::new(config.loss),
            random: Random::new(config.seed),
            config,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            head: None,
            flights: BinaryHeap::new(),
            number: 0,
            last: Vec::new(),
            counts: LinkCounts::default(),
        }
    }

    /// Puts a packet into the queue; false when it is full. `extra` is delay of this flow's own, beside the line's.
    pub fn send(&mut self, flow: usize, size: usize, extra: Duration, payload: T, now: Time) -> bool {
        self.advance(now);
        let limit = match self.config.queue {
            QueueLimit::Bytes(bytes) => bytes,
            QueueLimit::Time(time) => (self.config.rate.at(now) * time.as_secs_f64() / 8.0) as usize,
        };
        // The packet on the line has left the queue; one always fits into an empty queue.
        if !self.waiting.is_empty() && self.waiting_bytes + size > limit.max(size) + self.waiting[0].size {
            self.counts.overflowed += 1;
            return false;
        }
        self.waiting_bytes += size;
        self.waiting.push_back(Waiting { flow, size, since: now, extra, payload });
        if self.head.is_none() {
            self.serve(now);
        }
        true
    }

    /// The next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Time) -> Option<Delivery<T>> {
        self.advance(now);
        if self.flights.peek()?.0.delivery.at > now {
            return None;
        }
        self.flights.pop().map(|Reverse(flight)| flight.delivery)
    }

    /// When [`Link::poll`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let arrival = self.flights.peek().map(|Reverse(flight)| flight.delivery.at);
        [arrival, self.head.map(|(_, end)| end)].into_iter().flatten().min()
    }

    /// How long a packet that came now would wait.
    pub fn queue_delay(&self, now: Time) -> Duration {
        let Some((_, end)) = self.head else { return Duration::ZERO };
        let behind = self.waiting_bytes - self.waiting.front().map_or(0, |head| head.size);
        end.since(now) + Duration::from_secs_f64(behind as f64 * 8.0 / self.config.rate.at(now))
    }

    /// The rate over time.
    pub fn rate(&self) -> &Schedule {
        &self.config.rate
    }

    /// What happened so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    fn serve(&mut self, now: Time) {
        let bits = self.waiting.front().map(|head| head.size as f64 * 8.0);
        self.head = bits.map(|bits| (now, self.config.rate.finish(now, bits)));
    }

    /// Moves what has left by `now` from the queue into flight.
    fn advance(&mut self, now: Time) {
        while let Some((begin, end)) = self.head.filter(|(_, end)| *end <= now) {
            let Some(packet) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= packet.size;
            self.serve(end);
            if self.loss.loses(&mut self.random) {
                self.counts.lost += 1;
                continue;
            }
            self.counts.delivered += 1;
            self.fly(packet, begin, end);
        }
    }

    fn fly(&mut self, packet: Waiting<T>, begin: Time, end: Time) {
        let deviations = self.random.normal().clamp(-3.0, 3.0) + 3.0;
        let mut at = end + self.config.delay + packet.extra + self.config.jitter.mul_f64(deviations);
        if self.last.len() <= packet.flow {
            self.last.resize(packet.flow + 1, Time::ZERO);
        }
        let last = &mut self.last[packet.flow];
        if !self.config.reorders {
            at = at.max(*last);
        }
        *last = at;
        let queued = begin.since(packet.since);
        let delivery = Delivery { at, flow: packet.flow, size: packet.size, queued, payload: packet.payload };
        self.number += 1;
        self.flights.push(Reverse(Flight { number: self.number, delivery }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bps: f64) -> LinkConfig {
        LinkConfig {
            rate: Schedule::constant(bps),
            delay: Duration::from_millis(50),
            jitter: Duration::ZERO,
            reorders: false,
            loss: Loss::None,
            queue: QueueLimit::Time(Duration::from_millis(100)),
            seed: 1,
        }
    }

    fn drain(link: &mut Link<u32>) -> Vec<Delivery<u32>> {
        let mut all = Vec::new();
        while let Some(at) = link.poll_timeout() {
            all.extend(std::iter::from_fn(|| link.poll(at)));
        }
        all
    }

    #[test]
    fn packets_wait_for_each_other_and_then_travel() {
        let mut link = Link::new(config(800_000.0));
        for payload in 0..3 {
            assert!(link.send(0, 1_000, Duration::ZERO, payload, Time::ZERO));
        }
        assert_eq!(link.queue_delay(Time::ZERO), Duration::from_millis(30));
        let seen: Vec<_> = drain(&mut link).iter().map(|one| (one.at.as_millis(), one.queued.as_millis())).collect();
        assert_eq!(seen, [(60, 0), (70, 10), (80, 20)]);
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let mut link = Link::new(config(800_000.0));
        let taken = (0..20).filter(|&payload| link.send(0, 1_000, Duration::ZERO, payload, Time::ZERO)).count();
        assert_eq!((taken, link.counts().overflowed), (11, 9));
        assert_eq!(drain(&mut link).len(), 11);
    }

    #[test]
    fn jitter_stays_within_six_deviations_and_in_order() {
        let jitter = Duration::from_millis(5);
        let mut link = Link::new(LinkConfig { jitter, ..config(1e9) });
        let mut seen = Vec::new();
        for payload in 0..1_000u32 {
            let now = Time::from_millis(u64::from(payload));
            link.send(0, 100, Duration::ZERO, payload, now);
            seen.extend(std::iter::from_fn(|| link.poll(now)));
        }
        seen.extend(drain(&mut link));
        assert!(seen.windows(2).all(|pair| pair[0].payload < pair[1].payload && pair[0].at <= pair[1].at));
        let delays = seen.iter().map(|one| one.at.as_millis() - u64::from(one.payload));
        assert!(delays.clone().all(|delay| (50..=81).contains(&delay)));
        assert!(delays.clone().max() > delays.min().map(|least| least + 10));
    }

    #[test]
    fn a_run_repeats_itself() {
        let run = || {
            let loss = Loss::Random(0.2);
            let mut link = Link::new(LinkConfig { loss, jitter: Duration::from_millis(5), ..config(1e6) });
            for payload in 0..300u32 {
                link.send(0, 100, Duration::ZERO, payload, Time::from_millis(u64::from(payload)));
            }
            (drain(&mut link), link.counts())
        };
        let (first, counts) = run();
        assert_eq!((first, counts), run());
        assert!((40..80).contains(&counts.lost));
    }
}
