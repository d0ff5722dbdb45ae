//! A publisher with simulcast layers and a viewer, on virtual time: codec by fault, and the viewer gets one clean stream.

use super::tests::{WALL, add_transport, payload};
use super::*;
use crate::codec::MediaKind;
use crate::rtcp::{self, NtpTime, RtcpPacket, SenderInfo};
use crate::rtp::{ExtensionKind, ExtensionMap, HeaderWriter, RtpPacket, Token};
use crate::sfu::packet::{Departure, UpPacket};
use crate::sfu::{DownTrackConfig, Target, UpTrackConfig};

const PUBLISHER: TransportId = TransportId(1);
const VIEWER: TransportId = TransportId(2);
const UP: UpTrackId = UpTrackId(10);
const DOWN: DownTrackId = DownTrackId(20);
const FRAME_MS: u64 = 33;
const PAYLOAD_TYPE: u8 = 96;
/// Extension ids: mid by the shared map, then rid and repaired-rid.
const MID: u8 = 1;
const RID: u8 = 3;
/// Name, height, bytes of a frame, start in ms: Chromium starts the small layers first.
const LAYERS: [(&str, u16, usize, u64); 3] = [("h", 720, 1100, 900), ("m", 360, 500, 500), ("l", 180, 150, 100)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
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

const FAULTS: [Fault; 12] = [
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Vp8,
    H264,
}

/// An H.264 parameter set of the baseline profile for a picture of 16:9.
fn parameter_set(height: u16) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| (0..count).rev().for_each(|bit| bits.push((value >> bit) & 1));
    let golomb = |put: &mut dyn FnMut(u32, u32), value: u32| {
        let len = (value + 1).ilog2();
        put(0, len);
        put(value + 1, len + 1);
    };
    let (width, height) = (u32::from(height) / 9 * 16, u32::from(height));
    put(0x42_c01f, 24);
    for value in [0, 0, 2, 1] {
        golomb(&mut put, value);
    }
    put(0, 1);
    golomb(&mut put, width.div_ceil(16) - 1);
    golomb(&mut put, height.div_ceil(16) - 1);
    put(0b111, 3);
    for value in [0, (width.next_multiple_of(16) - width) / 2, 0, (height.next_multiple_of(16) - height) / 2] {
        golomb(&mut put, value);
    }
    put(0b01, 2);
    let mut unit = vec![0x67];
    for byte in bits.chunks(8) {
        unit.push(byte.iter().enumerate().fold(0, |all, (index, bit)| all | ((*bit as u8) << (7 - index))));
    }
    unit
}

/// One layer of the publisher: a frame is one packet.
struct Source {
    index: usize,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    picture: u16,
    announced: bool,
    wants_key: bool,
}

impl Source {
    fn new(index: usize) -> Source {
        let index32 = index as u32;
        Source {
            index,
            ssrc: 0xa0 + index32,
            sequence: 1_000 + 20_000 * index as u16,
            timestamp: 0x4000_0000u32.wrapping_mul(index32).wrapping_sub(5_000),
            picture: 0x7ff0 + index as u16 * 3,
            announced: false,
            wants_key: true,
        }
    }

    fn payload(&mut self, format: Format, key: bool) -> Vec<u8> {
        let (_, height, len, _) = LAYERS[self.index];
        let width = height / 9 * 16;
        let mut payload = match format {
            Format::Vp8 => {
                let picture = (self.picture & 0x7fff).to_be_bytes();
                self.picture = self.picture.wrapping_add(1) & 0x7fff;
                let mut payload = vec![0x90, 0x80, 0x80 | picture[0], picture[1], u8::from(!key), 0, 0];
                if key {
                    let [width, height] = [width.to_le_bytes(), height.to_le_bytes()];
                    payload.extend_from_slice(&[0x9d, 0x01, 0x2a, width[0], width[1], height[0], height[1]]);
                }
                payload
            }
            Format::H264 if key => {
                let unit = parameter_set(height);
                let mut payload = vec![0x78, 0, unit.len() as u8];
                payload.extend_from_slice(&unit);
                payload.extend_from_slice(&[0, 2, 0x65, 0x88]);
                payload
            }
            Format::H264 => vec![0x61, 0x88],
        };
        payload.resize(payload.len() + len, 0xee);
        // The viewer looks here: which layer, and whether its frame is a keyframe.
        payload.extend_from_slice(&[self.index as u8, u8::from(key)]);
        payload
    }

    fn packet(&mut self, payload: &[u8], rid_id: u8, names: bool) -> Vec<u8> {
        let header = HeaderWriter {
            marker: true,
            payload_type: PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: Ssrc(self.ssrc),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        header.write(&mut out, |extensions| {
            if names {
                extensions.push(MID, b"0");
                extensions.push(rid_id, LAYERS[self.index].0.as_bytes());
            }
        });
        out.extend_from_slice(payload);
        out
    }
}

#[derive(Default)]
struct Wire {
    to_viewer: Vec<Vec<u8>>,
    to_publisher: Vec<Vec<u8>>,
}

impl Output for Wire {
    fn rtp(&mut self, transport: TransportId, rewrite: &Rewrite, payload: &[u8]) {
        assert_eq!(transport, VIEWER);
        let mut out = Vec::new();
        rewrite.write_packet(&Departure { now: Time::ZERO, transport_sequence: 0 }, payload, &mut out);
        self.to_viewer.push(out);
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        if transport == PUBLISHER {
            self.to_publisher.push(compound.to_vec());
        }
    }
}

/// What one packet of the clean stream said.
#[derive(Clone, Copy, Debug)]
struct Seen {
    ms: u64,
    sequence: u16,
    timestamp: u32,
    picture: Option<u16>,
    layer: u8,
    key: bool,
}

struct Room {
    router: Router,
    format: Format,
    sources: Vec<Source>,
    rid_id: u8,
    ms: u64,
    wire: Wire,
    seen: Vec<Seen>,
    events: Vec<RouterEvent>,
    held: Option<Vec<u8>>,
    plis: Vec<(u64, u32)>,
}

fn extensions(rid: u8) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    map.set(u16::from(MID), ExtensionKind::Mid.uri()).unwrap();
    map.set(u16::from(rid), ExtensionKind::Rid.uri()).unwrap();
    map
}

fn room(format: Format) -> Room {
    let mut router = Router::new();
    add_transport(&mut router, PUBLISHER, true);
    add_transport(&mut router, VIEWER, true);
    router.set_extensions(PUBLISHER, extensions(RID)).unwrap();
    let codec = match format {
        Format::Vp8 => payload(PAYLOAD_TYPE, "VP8", 90_000, &["nack pli"]),
        Format::H264 => payload(PAYLOAD_TYPE, "H264", 90_000, &["nack pli"]),
    };
    let up = UpTrackConfig {
        id: UP,
        transport: PUBLISHER,
        kind: MediaKind::Video,
        mid: Token::new(b"0"),
        payloads: vec![codec.clone()],
        ssrcs: vec![],
        rtx_ssrcs: vec![],
        rids: LAYERS.iter().map(|layer| Token::new(layer.0.as_bytes()).unwrap()).collect(),
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
    let sources = (0..LAYERS.len()).map(Source::new).collect();
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
    }
}

impl Room {
    fn receive(&mut self, datagram: &[u8]) {
        let now = Time::from_millis(self.ms);
        if let Ok(received) = self.router.handle_rtp(PUBLISHER, datagram, now) {
            let packet = UpPacket { meta: received.meta, payload: received.meta.payload(datagram) };
            self.router.forward(&packet, now, &mut self.wire);
        }
        for bytes in std::mem::take(&mut self.wire.to_viewer) {
            let packet = RtpPacket::parse(&bytes).unwrap();
            let [.., layer, key] = *packet.payload else { panic!("an empty packet was forwarded") };
            let picture = (self.format == Format::Vp8)
                .then(|| crate::codec::vp8::Descriptor::parse(packet.payload).unwrap().picture_id.unwrap());
            let (sequence, timestamp) = (packet.sequence, packet.timestamp);
            self.seen.push(Seen { ms: self.ms, sequence, timestamp, picture, layer, key: key == 1 });
        }
    }

    /// Lets the clock run; the publisher hears requests, and answers with its next frame.
    fn run_timers(&mut self) {
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
                    _ => {}
                }
            }
        }
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
        }
    }

    fn report(&mut self, index: usize) {
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

    fn frame(&mut self, index: usize, frame: u64, fault: Fault) {
        let rid_id = self.rid_id;
        let format = self.format;
        let source = &mut self.sources[index];
        source.timestamp = source.timestamp.wrapping_add(FRAME_MS as u32 * 90);
        let key = std::mem::take(&mut source.wants_key);
        let payload = source.payload(format, key);
        let names = !source.announced;
        if fault == Fault::Padding && frame.is_multiple_of(5) {
            let mut padding = source.packet(&[], rid_id, names);
            padding[0] |= 0x20;
            padding.extend_from_slice(&[0, 0, 0, 4]);
            self.receive(&padding);
        }
        let source = &mut self.sources[index];
        let packet = source.packet(&payload, rid_id, names);
        let around_switch = (2_000..2_300).contains(&self.ms) || (4_000..4_300).contains(&self.ms);
        match fault {
            Fault::KeyframeLost if key && around_switch && !(2_200..4_000).contains(&self.ms) && self.ms < 4_150 => {}
            Fault::LossAtSwitch if around_switch && !key && frame.is_multiple_of(3) => {}
            Fault::Reordered if around_switch && index == 1 && self.held.is_none() => self.held = Some(packet),
            _ => {
                self.receive(&packet);
                if index == 1
                    && let Some(held) = self.held.take()
                {
                    self.receive(&held);
                }
            }
        }
    }

    /// Six seconds: everything, then at most 360 lines, then everything again.
    fn run(&mut self, fault: Fault) {
        let mut twin = Source { ssrc: 0xbad, sequence: 7, ..Source::new(1) };
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
            for (index, (_, _, _, start)) in LAYERS.into_iter().enumerate() {
                let silent = fault == Fault::LowestSilent && index == 2;
                if self.ms >= start && !silent {
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
                let payload = twin.payload(self.format, key);
                let packet = twin.packet(&payload, self.rid_id, true);
                self.receive(&packet);
            }
            self.run_timers();
        }
    }

    fn target(&mut self, max_height: u16) {
        let target = Target { max_height, ..Target::default() };
        self.router.set_target(DOWN, target, Time::from_millis(self.ms)).unwrap();
    }

    fn layer_at(&self, ms: u64) -> u8 {
        self.seen.iter().rev().find(|seen| seen.ms <= ms).unwrap().layer
    }
}

#[test]
fn the_viewer_gets_one_clean_stream_whatever_the_codec_and_the_fault() {
    for format in [Format::Vp8, Format::H264] {
        for fault in FAULTS {
            let mut room = room(format);
            room.run(fault);
            let case = format!("{format:?}, {fault:?}");
            let twin = fault == Fault::DuplicateRid;
            assert_eq!(room.layer_at(1_950), 0, "{case}: the best layer at first");
            assert_eq!(room.layer_at(3_950), 1, "{case}: 360 lines");
            assert_eq!(room.layer_at(5_990), 0, "{case}: the best layer again");
            assert!(room.seen[0].key, "{case}: begins with a keyframe");
            // What overtook a keyframe could not be decoded when it came.
            let lossy = matches!(fault, Fault::LossAtSwitch | Fault::Reordered);
            let mut ordered = room.seen.clone();
            ordered.sort_by_key(|seen| seen.sequence.wrapping_sub(room.seen[0].sequence));
            for pair in ordered.windows(2) {
                let [before, after] = [pair[0], pair[1]];
                let step = after.sequence.wrapping_sub(before.sequence);
                assert!(step == 1 || (lossy && step < 4), "{case}: {before:?} {after:?}");
                let passed = after.timestamp.wrapping_sub(before.timestamp);
                assert!(passed > 0 && passed < 90 * 700, "{case}: {passed} between {before:?} {after:?}");
                if after.layer != before.layer {
                    assert!(after.key, "{case}: {before:?} {after:?}");
                }
                if let (Some(old), Some(new)) = (before.picture, after.picture) {
                    let step = new.wrapping_sub(old) & 0x7fff;
                    assert!(step == 1 || (lossy && step < 4), "{case}: {before:?} {after:?}");
                }
            }
            let [first, last] = [ordered[0], *ordered.last().unwrap()];
            let drift = i64::from(last.timestamp.wrapping_sub(first.timestamp)) - 90 * (last.ms - first.ms) as i64;
            assert!(drift.abs() < 90 * 40, "{case}: the timeline is off by {drift}");
            let longest = room.seen.windows(2).map(|pair| pair[1].ms - pair[0].ms).max().unwrap();
            assert!(longest <= if twin { 1_100 } else { 300 }, "{case}: a freeze of {longest} ms");
        }
    }
}

#[test]
fn a_switch_asks_the_target_layer_alone_for_a_keyframe() {
    let mut room = room(Format::Vp8);
    room.run(Fault::None);
    let asked: Vec<u32> = room.plis.iter().filter(|(ms, _)| *ms > 1_500).map(|(_, ssrc)| *ssrc).collect();
    assert_eq!(asked, [0xa1, 0xa0]);
}

#[test]
fn the_control_plane_hears_of_layers_switches_and_what_nobody_wants() {
    let mut room = room(Format::Vp8);
    room.run(Fault::None);
    let switched: Vec<_> = room
        .events
        .iter()
        .filter_map(|event| match event {
            RouterEvent::DownTrackLayerChanged { choice, layer, .. } => {
                Some((*choice, layer.map(|layer| layer.height)))
            }
            _ => None,
        })
        .collect();
    let layer = |index, height| (Choice::Layer(index), Some(height));
    assert_eq!(
        switched,
        [(Choice::Silent, None), layer(2, 180), layer(1, 360), layer(0, 720), layer(1, 360), layer(0, 720)]
    );
    let all = room.router.layer_states(UP);
    let heights: Vec<_> = all.iter().map(|(layer, wanted)| (layer.height, layer.alive, *wanted)).collect();
    assert_eq!(heights, [(180, true, true), (360, true, true), (720, true, true)]);
    assert!(all[2].0.bitrate_bps > 200_000, "{}", all[2].0.bitrate_bps);
    room.events.clear();
    room.target(200);
    room.ms += 4_900;
    room.run_timers();
    let wanted = |events: &[RouterEvent]| {
        let wanted = events.iter().filter_map(|event| match event {
            RouterEvent::UpTrackLayersWanted { wanted, .. } => Some(*wanted),
            _ => None,
        });
        wanted.collect::<Vec<_>>()
    };
    assert!(wanted(&room.events).is_empty(), "not before five seconds");
    room.ms += 200;
    room.run_timers();
    assert_eq!(wanted(&room.events), [0b100]);
    assert_eq!(room.router.name_layers(UP, 0b100), (vec![Token::new(b"l").unwrap()], Some(0)));
    room.target(u16::MAX);
    room.run_timers();
    assert_eq!(wanted(&room.events), [0b100, 0b111], "more is told at once");
}

#[test]
fn fifty_layers_are_bounded_and_counted() {
    let mut room = room(Format::Vp8);
    for number in 0..50u32 {
        let mut source = Source { ssrc: 1_000 + number, ..Source::new(0) };
        let payload = source.payload(Format::Vp8, true);
        let mut packet = source.packet(&payload, RID, true);
        let name = packet.iter().position(|byte| *byte == b'h').unwrap();
        packet[name] = b'0' + (number % 10) as u8;
        room.receive(&packet);
    }
    assert_eq!(room.router.drops().get(MediaDrop::UnknownRid), 50);
    for number in 0..50u32 {
        let mut source = Source { ssrc: 2_000 + number, ..Source::new(0) };
        let payload = source.payload(Format::Vp8, true);
        let packet = source.packet(&payload, RID, true);
        room.receive(&packet);
    }
    assert!(room.router.drops().get(MediaDrop::SsrcLimit) >= 40);
}

#[test]
fn a_simulcast_ssrc_without_a_name_is_not_reported_so_that_the_browser_goes_on_to_name_it() {
    let mut room = room(Format::Vp8);
    let mut source = Source::new(0);
    for _ in 0..10 {
        let payload = source.payload(Format::Vp8, true);
        let packet = source.packet(&payload, RID, false);
        room.receive(&packet);
    }
    room.ms = 10_000;
    room.run_timers();
    assert!(!room.sources[0].announced);
    assert_eq!(room.router.drops().get(MediaDrop::UnknownRid), 10);
    let payload = source.payload(Format::Vp8, true);
    let packet = source.packet(&payload, RID, true);
    room.receive(&packet);
    let packet = source.packet(&payload, RID, false);
    room.receive(&packet);
    assert_eq!(room.seen.len(), 2, "the name holds when it is no longer sent");
}

#[test]
fn a_strict_target_that_nothing_fits_pauses_and_says_why() {
    let mut room = room(Format::H264);
    room.run(Fault::None);
    let before = room.seen.len();
    room.events.clear();
    let target = Target { max_height: 100, strict: true, ..Target::default() };
    room.router.set_target(DOWN, target, Time::from_millis(room.ms)).unwrap();
    for frame in 0..10 {
        room.ms += FRAME_MS;
        (0..3).for_each(|index| room.frame(index, frame, Fault::None));
        room.run_timers();
    }
    assert_eq!(room.seen.len(), before);
    let told =
        |event: &RouterEvent| matches!(event, RouterEvent::DownTrackLayerChanged { choice: Choice::TooLarge, .. });
    assert_eq!(room.events.iter().filter(|event| told(event)).count(), 1);
}
