//! Behaviour of the router as a whole, on virtual time: a publisher on transport 1, a receiver on transport 2.

mod clips;
mod feedback;

use super::*;
use crate::codec::{Feedback, MediaKind, Payload};
use crate::player::{ClipPacket, ClipTrack};
use crate::rtcp::{self, NtpTime, ReportBlock, RtcpPacket, WallClock};
use crate::rtp::{ExtensionKind, ExtensionMap, HeaderWriter, RtpPacket, Token};
use crate::sfu::gates::Gate;
use crate::sfu::packet::{Departure, UpPacket};
use crate::sfu::{DownTrackConfig, Target, UpTrackConfig};
use std::time::Duration;

const PUBLISHER: TransportId = TransportId(1);
const RECEIVER: TransportId = TransportId(2);
const UP_AUDIO: UpTrackId = UpTrackId(10);
const UP_VIDEO: UpTrackId = UpTrackId(11);
const DOWN_AUDIO: DownTrackId = DownTrackId(20);
const DOWN_VIDEO: DownTrackId = DownTrackId(21);
const AUDIO_SSRC: Ssrc = Ssrc(0xa0);
const VIDEO_SSRC: Ssrc = Ssrc(0xb0);
pub(super) const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(5000 << 32) };
const KEYFRAME: &[u8] = &[0x90, 0x80, 0x85, 0x11, 0x10, 0x00];
const DELTA: &[u8] = &[0x90, 0x80, 0x85, 0x12, 0x11, 0x00];

#[derive(Default)]
struct Sent {
    rtp: Vec<(TransportId, Vec<u8>)>,
    rtcp: Vec<(TransportId, Vec<u8>)>,
}

impl Output for Sent {
    fn rtp(
        &mut self,
        transport: TransportId,
        rewrite: &Rewrite,
        departure: &Departure,
        payload: &[u8],
    ) -> Option<usize> {
        let packet = bytes_of(rewrite, departure, payload);
        let len = packet.len();
        self.rtp.push((transport, packet));
        Some(len)
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        self.rtcp.push((transport, compound.to_vec()));
    }
}

/// The plaintext packet of a record.
pub(super) fn bytes_of(rewrite: &Rewrite, departure: &Departure, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite.write_packet(departure, payload, &mut out);
    out
}

impl Sent {
    fn payload_types(&self) -> Vec<u8> {
        self.rtp.iter().map(|(_, bytes)| RtpPacket::parse(bytes).unwrap().payload_type).collect()
    }

    /// Every RTCP packet sent to `transport`, by a short name.
    fn rtcp_names(&self, transport: TransportId) -> Vec<&'static str> {
        let datagrams = self.rtcp.iter().filter(|(to, _)| *to == transport);
        datagrams.flat_map(|(_, bytes)| rtcp::packets(bytes)).map(|packet| name(&packet.unwrap())).collect()
    }
}

fn name(packet: &RtcpPacket<'_>) -> &'static str {
    match packet {
        RtcpPacket::SenderReport(_) => "sr",
        RtcpPacket::ReceiverReport(_) => "rr",
        RtcpPacket::Sdes(_) => "sdes",
        RtcpPacket::Pli(_) => "pli",
        RtcpPacket::Fir(_) => "fir",
        RtcpPacket::Twcc(_) => "twcc",
        _ => "other",
    }
}

pub(super) fn payload(payload_type: u8, name: &str, clock_rate: u32, feedback: &[&str]) -> Payload {
    Payload {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels: 1,
        parameters: Vec::new(),
        feedback: Feedback::from_values(feedback.iter().copied()),
    }
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::default();
    map.set(1, ExtensionKind::Mid.uri()).unwrap();
    map.set(2, ExtensionKind::TransportSequence.uri()).unwrap();
    map
}

pub(super) fn add_transport(router: &mut Router, id: TransportId, reduced_size: bool) {
    let config = TransportConfig {
        id,
        rtcp_ssrc: Ssrc(0xeeee_0000 + id.0 as u32),
        cname: "own".to_owned(),
        reduced_size,
        max_streams: 8,
    };
    router.add_transport(config).unwrap();
    router.set_extensions(id, extensions()).unwrap();
}

fn up(id: UpTrackId, kind: MediaKind, mid: &[u8], payloads: Vec<Payload>) -> UpTrackConfig {
    UpTrackConfig {
        id,
        transport: PUBLISHER,
        kind,
        mid: Token::new(mid),
        payloads,
        ssrcs: Vec::new(),
        rtx_ssrcs: Vec::new(),
        rids: Vec::new(),
        closed_gates: Vec::new(),
    }
}

fn down(id: DownTrackId, kind: MediaKind, ssrc: u32, payloads: Vec<Payload>) -> DownTrackConfig {
    let mid = Token::new(b"d");
    DownTrackConfig {
        id,
        transport: RECEIVER,
        kind,
        mid,
        ssrc: Ssrc(ssrc),
        rtx_ssrc: None,
        cname: "peer".to_owned(),
        payloads,
    }
}

/// A publisher and a receiver of sound and picture, subscribed.
fn call(video_feedback: &[&str]) -> Router {
    let mut router = Router::new();
    add_transport(&mut router, PUBLISHER, true);
    add_transport(&mut router, RECEIVER, true);
    let opus = payload(111, "opus", 48_000, &[]);
    let events = payload(101, "telephone-event", 48_000, &[]);
    let vp8 = payload(100, "VP8", 90_000, video_feedback);
    router.add_up_track(up(UP_AUDIO, MediaKind::Audio, b"0", vec![opus, events.clone()])).unwrap();
    router.add_up_track(up(UP_VIDEO, MediaKind::Video, b"1", vec![vp8])).unwrap();
    let opus = payload(109, "opus", 48_000, &[]);
    router.add_down_track(down(DOWN_AUDIO, MediaKind::Audio, 0xd0, vec![opus, events])).unwrap();
    router.add_down_track(down(DOWN_VIDEO, MediaKind::Video, 0xd1, vec![payload(120, "VP8", 90_000, &[])])).unwrap();
    router.subscribe(DOWN_AUDIO, UP_AUDIO, Time::ZERO).unwrap();
    router.subscribe(DOWN_VIDEO, UP_VIDEO, Time::ZERO).unwrap();
    router
}

struct Rtp<'a> {
    ssrc: Ssrc,
    payload_type: u8,
    sequence: u16,
    mid: Option<&'a [u8]>,
    transport_sequence: Option<u16>,
    payload: &'a [u8],
}

const SOUND: Rtp<'static> =
    Rtp { ssrc: AUDIO_SSRC, payload_type: 111, sequence: 1, mid: Some(b"0"), transport_sequence: None, payload: &[7] };
const PICTURE: Rtp<'static> = Rtp {
    ssrc: VIDEO_SSRC,
    payload_type: 100,
    sequence: 1,
    mid: Some(b"1"),
    transport_sequence: None,
    payload: KEYFRAME,
};

impl Rtp<'_> {
    fn bytes(&self) -> Vec<u8> {
        let header = HeaderWriter {
            marker: false,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 960,
            ssrc: self.ssrc,
        };
        let mut out = Vec::new();
        header.write(&mut out, |extensions| {
            if let Some(mid) = self.mid {
                extensions.push(1, mid);
            }
            if let Some(sequence) = self.transport_sequence {
                extensions.push(2, &sequence.to_be_bytes());
            }
        });
        out.extend_from_slice(self.payload);
        out
    }
}

/// Receives on the publisher's transport and forwards on this shard.
fn feed(router: &mut Router, rtp: &Rtp<'_>, ms: u64, sent: &mut Sent) -> Result<Received, MediaDrop> {
    let (bytes, now) = (rtp.bytes(), Time::from_millis(ms));
    let received = router.handle_rtp(PUBLISHER, &bytes, now)?;
    let packet = UpPacket { meta: received.meta, payload: received.meta.payload(&bytes) };
    router.forward(&packet, now, sent);
    Ok(received)
}

fn run_until(router: &mut Router, ms: u64, sent: &mut Sent) {
    while let Some(at) = router.poll_timeout().filter(|at| *at <= Time::from_millis(ms)) {
        router.handle_timeout(&WALL, at, sent);
    }
}

fn events(router: &mut Router) -> Vec<RouterEvent> {
    std::iter::from_fn(|| router.poll_event()).collect()
}

#[test]
fn sound_and_picture_reach_the_receiver_under_its_own_payload_types() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    feed(&mut router, &SOUND, 0, &mut sent).unwrap();
    feed(&mut router, &PICTURE, 1, &mut sent).unwrap();
    assert_eq!(sent.payload_types(), [109, 120]);
    assert!(sent.rtp.iter().all(|(to, _)| *to == RECEIVER));
    let started = |up, codec, ssrc| RouterEvent::UpTrackStarted { up, codec, ssrc };
    let expected = [started(UP_AUDIO, Codec::Opus, AUDIO_SSRC), started(UP_VIDEO, Codec::Vp8, VIDEO_SSRC)];
    assert_eq!(events(&mut router), expected);
}

#[test]
fn a_binding_by_mid_holds_when_the_mid_is_no_longer_sent() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    feed(&mut router, &SOUND, 0, &mut sent).unwrap();
    let later = feed(&mut router, &Rtp { sequence: 2, mid: None, ..SOUND }, 3_600_000, &mut sent).unwrap();
    assert_eq!(later.meta.up, UP_AUDIO);
}

#[test]
fn an_ssrc_without_mid_is_bound_by_a_payload_type_of_one_track_only() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    assert!(feed(&mut router, &Rtp { mid: None, ..SOUND }, 0, &mut sent).is_ok());
    let opus = payload(111, "opus", 48_000, &[]);
    router.add_up_track(up(UpTrackId(12), MediaKind::Audio, b"2", vec![opus])).unwrap();
    let other = Rtp { ssrc: Ssrc(0xa1), mid: None, ..SOUND };
    assert_eq!(feed(&mut router, &other, 20, &mut sent).unwrap_err(), MediaDrop::UnknownSsrc);
    let named = Rtp { mid: Some(b"2"), ..other };
    assert_eq!(feed(&mut router, &named, 40, &mut sent).unwrap().meta.up, UpTrackId(12));
    assert_eq!(router.drops().get(MediaDrop::UnknownSsrc), 1);
}

#[test]
fn an_ssrc_of_the_sdp_is_bound_before_its_first_packet() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    let opus = payload(111, "opus", 48_000, &[]);
    let config = UpTrackConfig { ssrcs: vec![Ssrc(0xa2)], ..up(UpTrackId(12), MediaKind::Audio, b"2", vec![opus]) };
    router.add_up_track(config).unwrap();
    let rtp = Rtp { ssrc: Ssrc(0xa2), mid: None, ..SOUND };
    assert_eq!(feed(&mut router, &rtp, 0, &mut sent).unwrap().meta.up, UpTrackId(12));
}

#[test]
fn ssrcs_are_bounded_and_a_silent_one_makes_room() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    let nth = |index: u32| Rtp { ssrc: Ssrc(1000 + index), mid: None, ..SOUND };
    for index in 0..8 {
        feed(&mut router, &nth(index), 0, &mut sent).unwrap();
    }
    assert_eq!(feed(&mut router, &nth(8), 100, &mut sent).unwrap_err(), MediaDrop::SsrcLimit);
    assert!(feed(&mut router, &nth(8), 10_000, &mut sent).is_ok());
}

#[test]
fn garbage_probes_and_unknown_types_are_counted_by_name() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    assert_eq!(router.handle_rtp(PUBLISHER, &[0x80; 5], Time::ZERO).unwrap_err(), MediaDrop::Malformed);
    let probe = Rtp { ssrc: Ssrc(0), ..SOUND };
    assert_eq!(feed(&mut router, &probe, 0, &mut sent).unwrap_err(), MediaDrop::Probe);
    let strange = Rtp { payload_type: 77, ..SOUND };
    assert_eq!(feed(&mut router, &strange, 0, &mut sent).unwrap_err(), MediaDrop::UnknownPayloadType);
    assert_eq!(router.handle_rtp(TransportId(9), &SOUND.bytes(), Time::ZERO).unwrap_err(), MediaDrop::UnknownTransport);
    let counted: u64 = router.drops().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, 4);
}

#[test]
fn no_packet_passes_a_closed_gate_and_opening_asks_for_a_keyframe() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    router.set_gate(UP_VIDEO, Gate::Consent, false, Time::ZERO).unwrap();
    for sequence in 1..=50 {
        let picture = Rtp { sequence, ..PICTURE };
        assert_eq!(feed(&mut router, &picture, u64::from(sequence), &mut sent).unwrap_err(), MediaDrop::GateConsent);
    }
    run_until(&mut router, 100, &mut sent);
    assert!(sent.rtp.is_empty());
    assert!(!sent.rtcp_names(PUBLISHER).contains(&"pli"), "nobody may see it yet");
    router.set_gate(UP_VIDEO, Gate::Consent, true, Time::from_millis(1000)).unwrap();
    run_until(&mut router, 1000, &mut sent);
    assert!(sent.rtcp_names(PUBLISHER).contains(&"pli"));
    feed(&mut router, &Rtp { sequence: 51, ..PICTURE }, 1100, &mut sent).unwrap();
    assert_eq!(sent.payload_types(), [120]);
    let stats = router.stats(PUBLISHER).unwrap();
    assert_eq!(stats.up[1].gated[0], (Gate::Consent, 50));
}

#[test]
fn a_receiver_on_another_shard_gets_the_packet_and_asks_back_by_event() {
    let (mut home, mut sent) = (call(&["nack pli"]), Sent::default());
    let mut away = Router::new();
    add_transport(&mut away, RECEIVER, true);
    away.add_down_track(down(DOWN_VIDEO, MediaKind::Video, 0xd1, vec![payload(97, "VP8", 90_000, &[])])).unwrap();
    away.subscribe(DOWN_VIDEO, UP_VIDEO, Time::ZERO).unwrap();
    let wanted = RouterEvent::RemoteKeyframeWanted { up: UP_VIDEO, layer: 0, want: Want::Picture };
    assert_eq!(events(&mut away), [wanted]);
    home.add_remote_receiver(UP_VIDEO, 3, Time::ZERO).unwrap();
    let received = feed(&mut home, &PICTURE, 10, &mut sent).unwrap();
    assert_eq!(received.remote_shards, 1 << 3);
    let mut there = Sent::default();
    away.forward(&UpPacket { meta: received.meta, payload: KEYFRAME }, Time::from_millis(10), &mut there);
    assert_eq!(there.payload_types(), [97]);
    home.remove_remote_receiver(UP_VIDEO, 3, Time::ZERO).unwrap();
    let received = feed(&mut home, &Rtp { sequence: 2, ..PICTURE }, 40, &mut sent).unwrap();
    assert_eq!(received.remote_shards, 0);
}

#[test]
fn two_down_tracks_of_a_transport_never_share_an_ssrc() {
    let mut router = call(&[]);
    let twin = down(DownTrackId(99), MediaKind::Audio, 0xd0, Vec::new());
    assert_eq!(router.add_down_track(twin), Err(RouterError::DuplicateSsrc(Ssrc(0xd0))));
}
