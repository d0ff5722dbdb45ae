//! The sending side of a media flow: source, pacer and estimator, put together as the engine does it.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_proto::bwe::{Bounds, ClusterId, Estimator};
use mediaserver_proto::pacer::{Admission, Class, Pacer, Release};
use mediaserver_proto::rtcp::{RtcpPacket, packets};
use mediaserver_proto::time::Time;

use super::case::MediaSpec;
use super::metrics::FlowMetrics;
use super::source::Source;

/// Packets that can be sent again.
const REPAIRABLE: u64 = 1_024;
/// Bounds of the estimate in the cases.
pub const BOUNDS: Bounds = Bounds { min_bps: 50_000, start_bps: 300_000, max_bps: 10_000_000 };

/// A media packet on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// Transport-wide sequence number.
    pub transport_sequence: u16,
    /// What it carries; `None` for padding.
    pub part: Option<Part>,
}

/// A part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the packet in the stream.
    pub number: u64,
    /// The frame it belongs to.
    pub frame: u64,
    /// Packets in that frame.
    pub count: usize,
    /// Bytes.
    pub size: usize,
}

/// The sending side.
#[derive(Debug)]
pub struct Sender {
    spec: MediaSpec,
    source: Source,
    pacer: Pacer<Part>,
    /// The estimator under test.
    pub estimator: Estimator,
    transport_sequence: u16,
    number: u64,
    recent: VecDeque<Part>,
    paused: bool,
    /// What was recorded.
    pub metrics: FlowMetrics,
}

impl Sender {
    /// A sender for `spec`.
    pub fn new(spec: MediaSpec, seed: u64) -> Sender {
        Sender {
            source: Source::new(spec.source, seconds(spec.active_s.0), seed),
            spec,
            pacer: Pacer::new(BOUNDS.start_bps),
            estimator: Estimator::new(BOUNDS),
            transport_sequence: 65_000,
            number: 0,
            recent: VecDeque::new(),
            paused: false,
            metrics: FlowMetrics::default(),
        }
    }

    /// Takes RTCP from the receiver.
    pub fn handle_rtcp(&mut self, compound: &[u8], now: Time) {
        for packet in packets(compound) {
            if let Ok(RtcpPacket::Twcc(feedback)) = packet {
                self.estimator.feedback(&feedback, now);
            }
        }
    }

    /// Takes requests for packets.
    pub fn handle_nack(&mut self, numbers: &[u64], now: Time, out: &mut Vec<(usize, MediaPacket)>) {
        for &number in numbers {
            let Some(part) = self.recent.iter().find(|part| part.number == number).copied() else { continue };
            self.offer(Class::Retransmission, part, now, out);
        }
    }

    /// Does what is due; appends packets with their sizes.
    pub fn run(&mut self, now: Time, out: &mut Vec<(usize, MediaPacket)>) {
        self.estimator.handle_timeout(now);
        let estimate_bps = self.estimator.estimate_bps(now);
        self.pacer.set_rate(estimate_bps, now);
        self.pacer.set_spread(self.estimator.wants_spread());
        self.pacer.set_roomy(self.estimator.leaves_room(now));
        self.frames(estimate_bps, now, out);
        self.estimator.set_demand(self.source.demand());
        if self.is_active(now)
            && let Some(probe) = self.estimator.poll_probe(now)
        {
            self.pacer.start_probe(probe, now);
        }
        while let Some(release) = self.pacer.poll(now) {
            match release {
                Release::Packet { held, cluster, .. } => self.send(held.size, Some(held.record), cluster, now, out),
                Release::Padding { bytes, cluster } => {
                    self.send(bytes, None, Some(cluster), now, out);
                    self.pacer.padded(bytes, now);
                }
            }
        }
    }

    /// When to call [`Sender::run`] next.
    pub fn poll_timeout(&self, now: Time) -> Option<Time> {
        let ended = now >= seconds(self.spec.active_s.1);
        let frame = (!ended).then(|| match self.spec.pause_s {
            Some((from_s, to_s)) if now >= seconds(from_s) && now < seconds(to_s) => seconds(to_s),
            _ => self.source.poll_timeout(),
        });
        let probes = self.estimator.poll_timeout().filter(|_| self.is_active(now));
        [frame, self.pacer.poll_timeout(), probes.filter(|at| *at > now)].into_iter().flatten().min()
    }

    /// Closes the record.
    pub fn finish(mut self) -> FlowMetrics {
        let steps = self.source.allocation.steps.iter();
        self.metrics.layer_steps = steps.map(|(at, layer)| (at.as_millis(), *layer)).collect();
        self.metrics
    }

    fn is_active(&self, now: Time) -> bool {
        let within = |(from_s, to_s): (f64, f64)| now >= seconds(from_s) && now < seconds(to_s);
        within(self.spec.active_s) && !self.spec.pause_s.is_some_and(within)
    }

    fn frames(&mut self, estimate_bps: u64, now: Time, out: &mut Vec<(usize, MediaPacket)>) {
        if !self.is_active(now) {
            self.paused = true;
            return;
        }
        if std::mem::take(&mut self.paused) {
            self.source.resume(now);
        }
        while self.source.poll_timeout() <= now {
            let Some(frame) = self.source.poll(estimate_bps, now) else { continue };
            for _ in 0..frame.packets {
                let part =
                    Part { number: self.number, frame: frame.number, count: frame.packets, size: frame.packet_size };
                self.number += 1;
                self.recent.push_back(part);
                self.offer(Class::Video, part, now, out);
            }
            while self.recent.len() as u64 > REPAIRABLE {
                self.recent.pop_front();
            }
        }
    }

    fn offer(&mut self, class: Class, part: Part, now: Time, out: &mut Vec<(usize, MediaPacket)>) {
        match self.pacer.admit(class, part.size, now) {
            Admission::Now => self.send(part.size, Some(part), None, now, out),
            // What the pacer drops it counts; to the receiver it is lost.
            Admission::Hold => drop(self.pacer.hold(class, part.size, part, now)),
        }
    }

    fn send(
        &mut self,
        size: usize,
        part: Option<Part>,
        cluster: Option<ClusterId>,
        now: Time,
        out: &mut Vec<(usize, MediaPacket)>,
    ) {
        let transport_sequence = self.transport_sequence;
        self.transport_sequence = transport_sequence.wrapping_add(1);
        self.estimator.sent(transport_sequence, size, cluster, now);
        self.metrics.sent += 1;
        out.push((size, MediaPacket { transport_sequence, part }));
    }
}

/// A point in time by seconds.
pub fn seconds(at_s: f64) -> Time {
    Time::ZERO + Duration::from_secs_f64(at_s)
}
