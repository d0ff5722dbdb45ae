//! A receiver: transport-wide feedback, receiver reports, a NACK for each gap, and now and then a keyframe request.

use std::collections::HashMap;
use std::time::Duration;

use mediaserver_proto::bwe::FeedbackGenerator;
use mediaserver_proto::rtcp::{ReportBlock, RtcpPacket, nack, packets, pli, receiver_report};
use mediaserver_proto::rtp::{ExtensionMap, Extensions, RtpPacket, SequenceUnwrapper, Ssrc};
use mediaserver_proto::time::Time;

use crate::peer::{EXTENSIONS, RTX};

/// What the receiver calls itself.
const OURS: Ssrc = Ssrc(1);
/// Keyframe requests of one receiver are so far apart.
const PLI_EVERY: Duration = Duration::from_secs(4);

#[derive(Default)]
struct Stream {
    unwrapper: SequenceUnwrapper,
    highest: Option<u64>,
    received: u64,
    first: u64,
    is_repair: bool,
    last_report: u32,
    reported: Time,
}

/// See the module.
pub(crate) struct Receiver {
    /// Packets that came.
    pub(crate) packets: u64,
    /// Of these, those that were sent again.
    pub(crate) repaired: u64,
    /// Numbers asked for again.
    pub(crate) nacked: u64,
    /// Packets with a dependency descriptor.
    pub(crate) described: u64,
    /// Feedback messages sent.
    pub(crate) feedbacks: u64,
    map: ExtensionMap,
    generator: FeedbackGenerator,
    streams: HashMap<u32, Stream>,
    missing: Vec<(u32, u16)>,
    next_report: Time,
    next_pli: Time,
    wants_pictures: bool,
    scratch: Vec<u8>,
}

impl Receiver {
    /// Begins with nothing; `number` spreads its timers.
    pub(crate) fn new(number: u8, wants_pictures: bool) -> Receiver {
        let mut map = ExtensionMap::default();
        for (id, kind) in EXTENSIONS {
            map.set(u16::from(id), kind.uri()).unwrap();
        }
        let spread = Time::from_millis(u64::from(number) * 137);
        Receiver {
            packets: 0,
            repaired: 0,
            described: 0,
            nacked: 0,
            feedbacks: 0,
            map,
            generator: FeedbackGenerator::default(),
            streams: HashMap::new(),
            missing: Vec::new(),
            next_report: spread,
            next_pli: spread + PLI_EVERY,
            wants_pictures,
            scratch: Vec::new(),
        }
    }

    /// A decrypted packet.
    pub(crate) fn handle_rtp(&mut self, datagram: &[u8], now: Time) {
        let packet = RtpPacket::parse(datagram).unwrap();
        let extensions = Extensions::read(packet.extension_profile, packet.extension, &self.map);
        if let Some(sequence) = extensions.transport_sequence {
            self.generator.set_media(packet.ssrc);
            self.generator.arrived(sequence, now);
        }
        self.packets += 1;
        self.described += u64::from(extensions.dependency_descriptor.is_some());
        let stream = self.streams.entry(packet.ssrc.0).or_default();
        let sequence = stream.unwrapper.unwrap(packet.sequence);
        stream.received += 1;
        stream.is_repair = packet.payload_type == RTX;
        self.repaired += u64::from(stream.is_repair);
        let Some(highest) = stream.highest else {
            (stream.highest, stream.first) = (Some(sequence), sequence);
            return;
        };
        if !stream.is_repair && self.wants_pictures {
            let lost = (highest + 1..sequence).map(|sequence| (packet.ssrc.0, sequence as u16));
            self.missing.extend(lost);
        }
        stream.highest = Some(highest.max(sequence));
    }

    /// A decrypted compound.
    pub(crate) fn handle_rtcp(&mut self, compound: &[u8], now: Time) {
        for packet in packets(compound) {
            if let RtcpPacket::SenderReport(report) = packet.unwrap() {
                let stream = self.streams.entry(report.info.ssrc.0).or_default();
                (stream.last_report, stream.reported) = (report.info.ntp.compact(), now);
            }
        }
    }

    /// Says what is due.
    pub(crate) fn act(&mut self, now: Time, mut send: impl FnMut(&[u8])) {
        loop {
            self.scratch.clear();
            if !self.generator.write(OURS, now, &mut self.scratch) {
                break;
            }
            self.feedbacks += 1;
            send(&self.scratch);
        }
        self.scratch.clear();
        for run in self.missing.chunk_by(|a, b| a.0 == b.0) {
            let sequences: Vec<u16> = run.iter().map(|(_, sequence)| *sequence).collect();
            nack::write(&mut self.scratch, OURS, Ssrc(run[0].0), &sequences);
            self.nacked += sequences.len() as u64;
        }
        self.missing.clear();
        if now >= self.next_report {
            self.next_report = now + Duration::from_millis(900);
            let blocks: Vec<ReportBlock> =
                self.streams.iter().map(|(&ssrc, stream)| block(ssrc, stream, now)).collect();
            receiver_report::write(&mut self.scratch, OURS, &blocks);
        }
        if now >= self.next_pli && self.wants_pictures {
            self.next_pli = now + PLI_EVERY;
            for (&ssrc, _) in self.streams.iter().filter(|(_, stream)| !stream.is_repair) {
                pli::write(&mut self.scratch, OURS, Ssrc(ssrc));
            }
        }
        if !self.scratch.is_empty() {
            send(&self.scratch);
        }
    }
}

fn block(ssrc: u32, stream: &Stream, now: Time) -> ReportBlock {
    let highest = stream.highest.unwrap_or_default();
    ReportBlock {
        ssrc: Ssrc(ssrc),
        cumulative_lost: (highest + 1 - stream.first) as i32 - stream.received as i32,
        highest_sequence: highest as u32,
        jitter: 40,
        last_sr: stream.last_report,
        delay_since_last_sr: mediaserver_proto::rtcp::ntp::to_compact(now.since(stream.reported)),
        ..ReportBlock::default()
    }
}
