//! The run itself: two directions of a line, media flows and TCP flows, from event to event.

use std::time::Duration;

use mediaserver_proto::time::Time;

use super::case::{Case, Direction, SourceKind, TcpLoad, TcpSpec};
use super::metrics::FlowMetrics;
use super::receiver::Receiver;
use super::sender::{MediaPacket, Sender, seconds};
use crate::link::{Delivery, Link, LinkCounts};
use crate::random::Random;
use crate::tcp::{SEGMENT, TcpSender};

/// Bytes of an acknowledgement, and of IP, UDP and SRTCP around feedback.
const ACK: usize = 40;
const RTCP_AROUND: usize = 42;

#[derive(Clone, Debug)]
enum Payload {
    Media(MediaPacket),
    Rtcp(Vec<u8>),
    Nack(Vec<u64>),
    Segment { transfer: u64, number: u64 },
    Ack { transfer: u64, number: u64 },
}

struct MediaFlow {
    direction: usize,
    extra: Duration,
    sender: Sender,
    receiver: Receiver,
}

struct TcpFlow {
    spec: TcpSpec,
    sender: Option<TcpSender>,
    transfer: u64,
    /// When the next transfer begins.
    next: Time,
    random: Random,
    metrics: FlowMetrics,
}

/// What a run has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Media flows, in the order of the case.
    pub media: Vec<FlowMetrics>,
    /// TCP flows.
    pub tcp: Vec<FlowMetrics>,
    /// The two directions.
    pub lines: [LinkCounts; 2],
}

struct Wire {
    lines: [Link<Payload>; 2],
    media: Vec<MediaFlow>,
    tcp: Vec<TcpFlow>,
    packets: Vec<(usize, MediaPacket)>,
}

/// Runs a case; the same case gives the same outcome.
pub fn run(case: &Case) -> Outcome {
    let mut wire = Wire::new(case);
    let end = seconds(case.seconds);
    let mut now = Time::ZERO;
    while now < end {
        wire.step(now);
        // Never twice at one time without an end: whatever was due at `now` is done.
        now = wire.next(now).unwrap_or(end).max(now + Duration::from_nanos(1));
    }
    wire.finish()
}

impl Wire {
    fn new(case: &Case) -> Wire {
        let media = case.media.iter().enumerate().map(|(index, spec)| MediaFlow {
            direction: usize::from(spec.direction == Direction::Backward),
            extra: Duration::from_millis(spec.extra_ms),
            sender: Sender::new(spec.clone(), 1_000 * case.seed + index as u64),
            receiver: Receiver::new(spec.source == SourceKind::Layers),
        });
        let tcp = case
            .tcp
            .iter()
            .enumerate()
            .map(|(index, spec)| TcpFlow::new(*spec, 1_000 * case.seed + 500 + index as u64));
        Wire {
            lines: case.lines.clone().map(Link::new),
            media: media.collect(),
            tcp: tcp.collect(),
            packets: Vec::new(),
        }
    }

    fn step(&mut self, now: Time) {
        for direction in 0..2 {
            while let Some(delivery) = self.lines[direction].poll(now) {
                self.deliver(delivery, now);
            }
        }
        for index in 0..self.media.len() {
            self.run_media(index, now);
        }
        for index in 0..self.tcp.len() {
            self.run_tcp(index, now);
        }
    }

    fn deliver(&mut self, delivery: Delivery<Payload>, now: Time) {
        let flow = delivery.flow;
        match delivery.payload {
            Payload::Media(packet) => {
                let media = &mut self.media[flow];
                media.sender.metrics.arrived(delivery.size, delivery.queued, now);
                media.receiver.handle(&packet, now);
            }
            Payload::Rtcp(bytes) => self.media[flow].sender.handle_rtcp(&bytes, now),
            Payload::Nack(numbers) => {
                self.media[flow].sender.handle_nack(&numbers, now, &mut self.packets);
                self.flush(flow, now);
            }
            Payload::Segment { transfer, number } => {
                self.tcp[flow - self.media.len()].metrics.arrived(delivery.size, delivery.queued, now);
                self.lines[1].send(flow, ACK, Duration::ZERO, Payload::Ack { transfer, number }, now);
            }
            Payload::Ack { transfer, number } => {
                let tcp = &mut self.tcp[flow - self.media.len()];
                if let Some(sender) = tcp.sender.as_mut().filter(|_| tcp.transfer == transfer) {
                    sender.handle_ack(number, now);
                }
            }
        }
    }

    fn run_media(&mut self, index: usize, now: Time) {
        let flow = &mut self.media[index];
        flow.sender.run(now, &mut self.packets);
        let back = &mut self.lines[1 - flow.direction];
        let mut bytes = Vec::new();
        while flow.receiver.poll_feedback(now, &mut bytes) {
            let bytes = std::mem::take(&mut bytes);
            back.send(index, bytes.len() + RTCP_AROUND, flow.extra, Payload::Rtcp(bytes), now);
        }
        let missing = flow.receiver.poll_nack(now);
        if !missing.is_empty() {
            back.send(index, RTCP_AROUND + 12 + 4 * missing.len(), flow.extra, Payload::Nack(missing), now);
        }
        self.flush(index, now);
    }

    /// Puts what a sender has written on the line.
    fn flush(&mut self, index: usize, now: Time) {
        let flow = &self.media[index];
        for (size, packet) in self.packets.drain(..) {
            self.lines[flow.direction].send(index, size, flow.extra, Payload::Media(packet), now);
        }
    }

    fn run_tcp(&mut self, index: usize, now: Time) {
        let flow = index + self.media.len();
        let tcp = &mut self.tcp[index];
        tcp.begin_or_end(now);
        let Some(sender) = &mut tcp.sender else { return };
        tcp.metrics.busy(now);
        sender.handle_timeout(now);
        while let Some(number) = sender.poll_segment(now) {
            tcp.metrics.sent += 1;
            let payload = Payload::Segment { transfer: tcp.transfer, number };
            self.lines[0].send(flow, SEGMENT, Duration::ZERO, payload, now);
        }
    }

    fn next(&self, now: Time) -> Option<Time> {
        let lines = self.lines.iter().filter_map(Link::poll_timeout);
        let media = self.media.iter().flat_map(|flow| [flow.sender.poll_timeout(now), flow.receiver.poll_timeout()]);
        let tcp = self.tcp.iter().map(TcpFlow::poll_timeout);
        lines.chain(media.flatten()).chain(tcp.flatten()).min()
    }

    fn finish(self) -> Outcome {
        let media = self.media.into_iter().map(|flow| {
            let mut metrics = flow.sender.finish();
            metrics.shown_ms = flow.receiver.shown_ms;
            metrics
        });
        Outcome {
            media: media.collect(),
            tcp: self.tcp.into_iter().map(|flow| flow.metrics).collect(),
            lines: [self.lines[0].counts(), self.lines[1].counts()],
        }
    }
}

impl TcpFlow {
    fn new(spec: TcpSpec, seed: u64) -> TcpFlow {
        let mut random = Random::new(seed);
        let wait_s = if spec.load == (TcpLoad::Short { on: false }) { random.exponential(10.0) } else { 0.0 };
        let next = seconds(spec.active_s.0 + wait_s);
        TcpFlow { spec, sender: None, transfer: 0, next, random, metrics: FlowMetrics::default() }
    }

    fn begin_or_end(&mut self, now: Time) {
        if now >= seconds(self.spec.active_s.1) {
            self.sender = None;
            return;
        }
        if self.sender.as_ref().is_some_and(TcpSender::is_done) {
            self.sender = None;
            self.next = now + Duration::from_secs_f64(self.random.exponential(10.0));
        }
        if self.sender.is_none() && now >= self.next {
            let bytes = match self.spec.load {
                TcpLoad::Long => u64::MAX / 4,
                TcpLoad::Short { .. } => self.random.between(1e5, 1e6) as u64,
            };
            self.transfer += 1;
            self.sender = Some(TcpSender::new(bytes, now));
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match &self.sender {
            Some(sender) => sender.poll_timeout(),
            None => Some(self.next).filter(|next| *next < seconds(self.spec.active_s.1)),
        }
    }
}
