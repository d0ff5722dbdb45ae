//! A publisher with simulcast layers and a viewer, on virtual time, and the faults that befall them.

use super::super::tests::{WALL, add_transport, bytes_of, payload};
use super::publisher::{DEPENDENCY, Format, LAYERS, MID, PAYLOAD_TYPE, Part, RID, Source};
use super::*;
use crate::codec::dependency::{Dependencies, Frame};
use crate::codec::{Descriptor, MediaKind, PayloadTable};
use crate::rtcp::{self, NtpTime, RtcpPacket, SenderInfo};
use crate::rtp::{ExtensionKind, ExtensionMap, Extensions, RtpPacket};
use crate::sfu::packet::{Departure, UpPacket};
use crate::sfu::{DownTrackConfig, UpTrackConfig};

pub(super) const PUBLISHER: TransportId = TransportId(1);
pub(super) const VIEWER: TransportId = TransportId(2);
pub(super) const UP: UpTrackId = UpTrackId(10);
pub(super) const DOWN: DownTrackId = DownTrackId(20);
pub(super) const FRAME_MS: u64 = 33;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    NoReports,
    LateReports,
    Reordered,
    LossAtSwitch,
    KeyframeLost,
    Padding,
    DuplicateRid,
    LowestSilent,
    SsrcRestart,
    SequenceRestart,
    ExtensionIdsChange,
}

pub(super) const FAULTS: [Fault; 12] = [
    Fault::None,
    Fault::NoReports,
    Fault::LateReports,
    Fault::Reordered,
    Fault::LossAtSwitch,
    Fault::KeyframeLost,
    Fault::Padding,
    Fault::DuplicateRid,
    Fault::LowestSilent,
    Fault::SsrcRestart,
    Fault::SequenceRestart,
    Fault::ExtensionIdsChange,
];

#[derive(Default)]
pub(super) struct Wire {
    pub(super) to_viewer: Vec<Vec<u8>>,
    pub(super) to_publisher: Vec<Vec<u8>>,
}

impl Output for Wire {
    fn rtp(
        &mut self,
        transport: TransportId,
        rewrite: &Rewrite,
        departure: &Departure,
        payload: &[u8],
    ) -> Option<usize> {
        assert_eq!(transport, VIEWER);
        let packet = bytes_of(rewrite, departure, payload);
        let len = packet.len();
        self.to_viewer.push(packet);
        Some(len)
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        if transport == PUBLISHER {
            self.to_publisher.push(compound.to_vec());
        }
    }
}

/// What one packet of the clean stream said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) ms: u64,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) picture: Option<u16>,
    /// Needs another picture; needs the layer below.
    pub(super) inter: (bool, bool),
    /// Index in [`LAYERS`].
    pub(super) layer: u8,
    pub(super) key: bool,
    /// What its dependency descriptor says.
    pub(super) frame: Option<Frame>,
}

pub(super) struct Room {
    pub(super) router: Router,
    pub(super) format: Format,
    pub(super) sources: Vec<Source>,
    pub(super) rid_id: u8,
    pub(super) ms: u64,
    pub(super) wire: Wire,
    pub(super) seen: Vec<Seen>,
    pub(super) events: Vec<RouterEvent>,
    pub(super) held: Option<Vec<u8>>,
    pub(super) plis: Vec<(u64, u32)>,
    /// What the publisher was asked to send at most, in bits per second.
    pub(super) asked: Vec<(u64, u64)>,
    pub(super) viewer: Dependencies,
}

pub(super) fn extensions(rid: u8) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    map.set(u16::from(MID), ExtensionKind::Mid.uri()).unwrap();
    map.set(u16::from(rid), ExtensionKind::Rid.uri()).unwrap();
    map.set(u16::from(DEPENDENCY), ExtensionKind::DependencyDescriptor.uri()).unwrap();
    map
}

pub(super) fn room(format: Format) -> Room {
    let mut router = Router::new();
    add_transport(&mut router, PUBLISHER, true);
    add_transport(&mut router, VIEWER, true);
    router.set_extensions(PUBLISHER, extensions(RID)).unwrap();
    // Without feedback, so that only the target decides.
    router.set_extensions(VIEWER, extensions(RID)).unwrap();
    let codec = payload(PAYLOAD_TYPE, format.name(), 90_000, &["nack pli"]);
    let streams = if format.is_one_stream() { 1 } else { LAYERS.len() };
    let rids = LAYERS.iter().filter(|_| streams > 1).map(|layer| Token::new(layer.0.as_bytes()).unwrap());
    let up = UpTrackConfig {
        id: UP,
        transport: PUBLISHER,
        kind: MediaKind::Video,
        mid: Token::new(b"0"),
        payloads: vec![payload(PAYLOAD_TYPE, format.name(), 90_000, &["nack pli", "goog-remb"])],
        ssrcs: vec![],
        rtx_ssrcs: vec![],
        rids: rids.collect(),
        closed_gates: vec![],
    };
    router.add_up_track(up).unwrap();
    let down = DownTrackConfig {
        id: DOWN,
        transport: VIEWER,
        kind: MediaKind::Video,
        mid: None,
        ssrc: Ssrc(0xd0),
        rtx_ssrc: None,
        cname: "p".to_owned(),
        payloads: vec![codec],
    };
    router.add_down_track(down).unwrap();
    router.subscribe(DOWN, UP, Time::ZERO).unwrap();
    let sources = (0..streams).map(Source::new).collect();
    Room {
        router,
        format,
        sources,
        rid_id: RID,
        ms: 0,
        wire: Wire::default(),
        seen: Vec::new(),
        events: Vec::new(),
        held: None,
        plis: Vec::new(),
        asked: Vec::new(),
        viewer: Dependencies::default(),
    }
}

impl Room {
    pub(super) fn receive(&mut self, datagram: &[u8]) {
        let now = Time::from_millis(self.ms);
        if let Ok(received) = self.router.handle_rtp(PUBLISHER, datagram, now) {
            let packet = UpPacket { meta: received.meta, payload: received.meta.payload(datagram) };
            self.router.forward(&packet, now, &mut self.wire);
        }
        for bytes in std::mem::take(&mut self.wire.to_viewer) {
            let packet = RtpPacket::parse(&bytes).unwrap();
            let [.., layer, key] = *packet.payload else { panic!("an empty packet was forwarded") };
            let codec = Codec::from_payload(&payload(PAYLOAD_TYPE, self.format.name(), 90_000, &[])).unwrap();
            let (picture, inter) = match codec.describe(packet.payload, &PayloadTable::default()) {
                Descriptor::Vp8(descriptor) => (descriptor.picture_id, (key == 0, false)),
                Descriptor::Vp9(descriptor) => {
                    (descriptor.picture_id, (descriptor.is_inter_picture(), descriptor.is_inter_layer()))
                }
                _ => (None, (key == 0, false)),
            };
            let RtpPacket { sequence, timestamp, marker, .. } = packet;
            let extensions = Extensions::read(packet.extension_profile, packet.extension, &extensions(RID));
            let descriptor = extensions.dependency_descriptor;
            assert_eq!(descriptor.is_some(), self.format.is_av1() && self.format != Format::Av1Bare);
            let frame = descriptor.map(|placed| self.viewer.read(placed.value, timestamp).unwrap());
            let goes_on = self.seen.last().is_some_and(|last| last.timestamp == timestamp);
            let inter = frame.map_or(inter, |frame| (!frame.is_intra_unit, goes_on && frame.references & 1 != 0));
            let key = key == 1;
            self.seen.push(Seen { ms: self.ms, sequence, timestamp, marker, picture, inter, layer, key, frame });
        }
    }

    /// Lets the clock run; the publisher hears requests, and answers with its next frame.
    pub(super) fn run_timers(&mut self) {
        let now = Time::from_millis(self.ms);
        while let Some(at) = self.router.poll_timeout().filter(|at| *at <= now) {
            self.router.handle_timeout(&WALL, at, &mut self.wire);
        }
        for datagram in std::mem::take(&mut self.wire.to_publisher) {
            for packet in rtcp::packets(&datagram) {
                match packet.unwrap() {
                    RtcpPacket::Pli(pli) => {
                        self.plis.push((self.ms, pli.media.0));
                        let asked = self.sources.iter_mut().filter(|source| source.ssrc == pli.media.0);
                        asked.for_each(|source| source.wants_key = true);
                    }
                    RtcpPacket::ReceiverReport(report) => {
                        for block in report.blocks() {
                            let acked = self.sources.iter_mut().filter(|source| source.ssrc == block.ssrc.0);
                            // RFC 8852 §3: from now on the browser leaves the names out.
                            acked.for_each(|source| source.announced = true);
                        }
                    }
                    RtcpPacket::Remb(remb) => self.asked.push((self.ms, remb.bitrate_bps)),
                    _ => {}
                }
            }
        }
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
        }
    }

    pub(super) fn report(&mut self, index: usize) {
        let source = &self.sources[index];
        let info = SenderInfo {
            ssrc: Ssrc(source.ssrc),
            ntp: NtpTime::from_unix(std::time::Duration::from_millis(1_000_000 + self.ms)),
            rtp_timestamp: source.timestamp,
            packets: 1,
            octets: 1,
        };
        let mut datagram = Vec::new();
        rtcp::sender_report::write(&mut datagram, &info, &[]);
        self.router.handle_rtcp(PUBLISHER, &datagram, &WALL, Time::from_millis(self.ms), &mut self.wire);
    }

    /// Spatial layers that the encoder sends, bit by layer: the small ones first, as those of simulcast.
    fn spatial(&self, fault: Fault) -> u8 {
        let silent = u8::from(fault == Fault::LowestSilent);
        let begun = LAYERS.iter().rev().enumerate().filter(|(_, row)| self.ms >= row.3);
        begun.fold(0, |bits, (spatial, _)| bits | (1 << spatial)) & !silent
    }

    pub(super) fn frame(&mut self, index: usize, frame: u64, fault: Fault) {
        let (rid_id, format, spatial) = (self.rid_id, self.format, self.spatial(fault));
        let source = &mut self.sources[index];
        source.timestamp = source.timestamp.wrapping_add(FRAME_MS as u32 * 90);
        let key = std::mem::take(&mut source.wants_key);
        let names = !source.announced;
        if fault == Fault::Padding && frame.is_multiple_of(5) {
            let mut padding = source.packet(&[], true, rid_id, names);
            padding[0] |= 0x20;
            padding.extend_from_slice(&[0, 0, 0, 4]);
            self.receive(&padding);
        }
        for part in self.sources[index].picture(format, key, spatial) {
            let packet = self.sources[index].packet_of(&part, rid_id, names);
            self.part(&part, packet, frame, fault);
        }
    }

    fn part(&mut self, part: &Part, packet: Vec<u8>, frame: u64, fault: Fault) {
        let around_switch = (2_000..2_300).contains(&self.ms) || (4_000..4_300).contains(&self.ms);
        let key_lost = part.key && around_switch && !(2_200..4_000).contains(&self.ms) && self.ms < 4_150;
        match fault {
            Fault::KeyframeLost if key_lost => {}
            Fault::LossAtSwitch if around_switch && !part.key && frame.is_multiple_of(3) && part.layer < 2 => {}
            Fault::Reordered if around_switch && part.layer == 1 && self.held.is_none() => self.held = Some(packet),
            _ => {
                self.receive(&packet);
                if (part.layer == 1 || self.format.is_one_stream())
                    && let Some(held) = self.held.take()
                {
                    self.receive(&held);
                }
            }
        }
    }

    /// Six seconds: everything, then at most 360 lines, then everything again.
    pub(super) fn run(&mut self, fault: Fault) {
        let index = usize::from(!self.format.is_one_stream());
        let mut twin = Source { ssrc: 0xbad, sequence: 7, ..Source::new(index) };
        for frame in 0..(6_000 / FRAME_MS) {
            self.ms = frame * FRAME_MS;
            match self.ms / FRAME_MS {
                60 => self.target(360),
                121 => self.target(u16::MAX),
                40 if fault == Fault::ExtensionIdsChange => {
                    self.rid_id = 9;
                    self.router.set_extensions(PUBLISHER, extensions(9)).unwrap();
                }
                45 if fault == Fault::SsrcRestart => {
                    let old = &self.sources[0];
                    let timestamp = old.timestamp.wrapping_add(0x1234_5678);
                    self.sources[0] =
                        Source { ssrc: 0xf0, sequence: 9, timestamp, picture: old.picture, ..Source::new(0) };
                }
                45 if fault == Fault::SequenceRestart => {
                    self.sources[0].sequence = self.sources[0].sequence.wrapping_add(30_000);
                    self.sources[0].wants_key = true;
                }
                _ => {}
            }
            for (index, row) in LAYERS.iter().enumerate().take(self.sources.len()) {
                let silent = fault == Fault::LowestSilent && index == 2;
                let one_stream = self.format.is_one_stream();
                let begun = if one_stream { self.spatial(fault) != 0 } else { self.ms >= row.3 };
                if begun && !silent {
                    self.frame(index, frame, fault);
                    let from = if fault == Fault::LateReports { 2_600 } else { 0 };
                    if fault != Fault::NoReports && self.ms >= from && frame.is_multiple_of(30) {
                        self.report(index);
                    }
                }
            }
            if fault == Fault::DuplicateRid && (800..3_000).contains(&self.ms) {
                twin.timestamp = twin.timestamp.wrapping_add(FRAME_MS as u32 * 90);
                let key = frame.is_multiple_of(10);
                for part in twin.picture(self.format, key, self.spatial(fault)) {
                    let packet = twin.packet_of(&part, self.rid_id, true);
                    self.receive(&packet);
                }
            }
            self.run_timers();
        }
    }

    /// The publisher goes on for a while with the layers that have these indices.
    pub(super) fn go_on(&mut self, layers: &[usize], ms: u64) {
        for frame in self.ms / FRAME_MS + 1..=(self.ms + ms) / FRAME_MS {
            self.ms = frame * FRAME_MS;
            layers.iter().for_each(|&index| self.frame(index, frame, Fault::None));
            self.run_timers();
        }
    }

    pub(super) fn target(&mut self, max_height: u16) {
        let target = Target { max_height, ..Target::default() };
        self.router.set_target(DOWN, target, Time::from_millis(self.ms)).unwrap();
    }

    /// What the viewer got, in its order: the packets of each picture.
    pub(super) fn pictures(&self) -> Vec<Vec<Seen>> {
        let mut ordered = self.seen.clone();
        ordered.sort_by_key(|seen| seen.sequence.wrapping_sub(self.seen[0].sequence));
        ordered.chunk_by(|a, b| a.timestamp == b.timestamp).map(<[Seen]>::to_vec).collect()
    }

    /// Index in [`LAYERS`] of the largest layer of the last picture.
    pub(super) fn layer_at(&self, ms: u64) -> u8 {
        let last = self.seen.iter().rev().find(|seen| seen.ms <= ms).unwrap();
        let picture = self.seen.iter().filter(|seen| seen.timestamp == last.timestamp && seen.ms <= ms);
        picture.map(|seen| seen.layer).min().unwrap()
    }
}
