//! Rooms: who speaks is told, and a slot that shows one publisher after the other stays one clean stream.

use super::tests::{WALL, add_transport, bytes_of, payload};
use super::*;
use crate::codec::MediaKind;
use crate::rtcp::{self, RtcpPacket};
use crate::rtp::{AudioLevel, ExtensionKind, HeaderWriter, RtpPacket, Token};
use crate::sfu::packet::{Departure, UpPacket};
use crate::sfu::{DownTrackConfig, Gate, UpTrackConfig};

const VIEWER: TransportId = TransportId(9);
const SOUND_SLOT: DownTrackId = DownTrackId(90);
const PICTURE_SLOT: DownTrackId = DownTrackId(91);
const LEVEL_ID: u8 = 5;
const KEYFRAME: &[u8] = &[0x90, 0x80, 0x85, 0x11, 0x10, 0x00];
const DELTA: &[u8] = &[0x90, 0x80, 0x85, 0x12, 0x11, 0x00];

#[derive(Default)]
struct Wire {
    rtp: Vec<Vec<u8>>,
    keyframes_asked: Vec<TransportId>,
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
        self.rtp.push(packet);
        Some(len)
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        let asked = rtcp::packets(compound).any(|packet| matches!(packet, Ok(RtcpPacket::Pli(_))));
        self.keyframes_asked.extend(asked.then_some(transport));
    }
}

impl Wire {
    /// SSRC and sequence number of everything that left.
    fn taken(&mut self) -> Vec<(Ssrc, u16)> {
        let parsed = self.rtp.iter().map(|bytes| RtpPacket::parse(bytes).unwrap());
        let found = parsed.map(|packet| (packet.ssrc, packet.sequence)).collect();
        self.rtp.clear();
        found
    }
}

fn sound(of: u64) -> UpTrackId {
    UpTrackId(10 * of)
}

fn picture(of: u64) -> UpTrackId {
    UpTrackId(10 * of + 1)
}

/// Publishers 1 to 3 with sound and picture, and a viewer with a slot for each.
fn room() -> Router {
    let mut router = Router::new();
    let (opus, vp8) = (payload(111, "opus", 48_000, &[]), payload(100, "VP8", 90_000, &["nack pli"]));
    for of in 1..=3 {
        add_transport(&mut router, TransportId(of), true);
        let mut extensions = router.extensions(TransportId(of)).unwrap();
        extensions.set(u16::from(LEVEL_ID), ExtensionKind::AudioLevel.uri()).unwrap();
        router.set_extensions(TransportId(of), extensions).unwrap();
        for (id, kind, mid, row) in
            [(sound(of), MediaKind::Audio, b"0", &opus), (picture(of), MediaKind::Video, b"1", &vp8)]
        {
            let config = UpTrackConfig {
                id,
                transport: TransportId(of),
                kind,
                mid: Token::new(mid),
                payloads: vec![row.clone()],
                ssrcs: Vec::new(),
                rtx_ssrcs: Vec::new(),
                rids: Vec::new(),
                closed_gates: Vec::new(),
            };
            router.add_up_track(config).unwrap();
        }
        router.watch_speech(sound(of), true).unwrap();
    }
    add_transport(&mut router, VIEWER, true);
    for (id, kind, ssrc, row) in
        [(SOUND_SLOT, MediaKind::Audio, 0xd0, opus), (PICTURE_SLOT, MediaKind::Video, 0xd1, vp8)]
    {
        let config = DownTrackConfig {
            id,
            transport: VIEWER,
            kind,
            mid: Token::new(b"s"),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: None,
            cname: "room".to_owned(),
            payloads: vec![row],
        };
        router.add_down_track(config).unwrap();
    }
    router
}

/// One packet of publisher `of`, forwarded where somebody has it in a slot.
fn send(router: &mut Router, of: u64, mid: &[u8], sequence: u16, payload: &[u8], ms: u64, wire: &mut Wire) -> Received {
    let is_sound = mid == b"0";
    let header = HeaderWriter {
        marker: false,
        payload_type: if is_sound { 111 } else { 100 },
        sequence,
        timestamp: u32::from(sequence) * 960,
        ssrc: Ssrc(0xa0 + 10 * of as u32 + u32::from(!is_sound)),
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes, |extensions| {
        extensions.push(1, mid);
        if is_sound {
            extensions.push(LEVEL_ID, &[AudioLevel { voice: true, level: 25 }.to_byte()]);
        }
    });
    bytes.extend_from_slice(payload);
    let now = Time::from_millis(ms);
    let received = router.handle_rtp(TransportId(of), &bytes, now).unwrap();
    router.forward(&UpPacket { meta: received.meta, payload: received.meta.payload(&bytes) }, now, wire);
    received
}

fn loudness(router: &mut Router) -> Vec<(UpTrackId, u8)> {
    let events = std::iter::from_fn(|| router.poll_event());
    events
        .filter_map(|event| match event {
            RouterEvent::SpeechChanged { up, loudness } => Some((up, loudness)),
            _ => None,
        })
        .collect()
}

fn run_until(router: &mut Router, ms: u64, wire: &mut Wire) {
    while let Some(at) = router.poll_timeout().filter(|at| *at <= Time::from_millis(ms)) {
        router.handle_timeout(&WALL, at, wire);
    }
}

#[test]
fn who_speaks_is_told_and_who_stops_to_send_is_told_silent() {
    let (mut router, mut wire) = (room(), Wire::default());
    for index in 0..10 {
        send(&mut router, 2, b"0", index, &[7], 20 * u64::from(index), &mut wire);
    }
    let told = loudness(&mut router);
    assert!(told.iter().all(|(up, step)| *up == sound(2) && *step > 0) && !told.is_empty(), "{told:?}");
    run_until(&mut router, 2_000, &mut wire);
    assert_eq!(loudness(&mut router), [(sound(2), 0)]);
}

#[test]
fn nobody_speaks_behind_a_closed_gate_or_where_it_is_not_watched() {
    let (mut router, mut wire) = (room(), Wire::default());
    router.set_gate(sound(1), Gate::Mute, false, Time::ZERO).unwrap();
    router.watch_speech(sound(2), false).unwrap();
    for index in 0..50u16 {
        let at = 20 * u64::from(index);
        send(&mut router, 2, b"0", index, &[7], at, &mut wire);
        let bytes = {
            let header = HeaderWriter {
                marker: false,
                payload_type: 111,
                sequence: index,
                timestamp: u32::from(index) * 960,
                ssrc: Ssrc(0xaa),
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes, |extensions| extensions.push(LEVEL_ID, &[10]));
            bytes.push(7);
            bytes
        };
        assert!(router.handle_rtp(TransportId(1), &bytes, Time::from_millis(at)).is_err());
    }
    assert_eq!(loudness(&mut router), []);
}

#[test]
fn sound_that_is_in_no_slot_goes_nowhere() {
    let (mut router, mut wire) = (room(), Wire::default());
    router.subscribe(SOUND_SLOT, sound(1), Time::ZERO).unwrap();
    let unheard = send(&mut router, 2, b"0", 1, &[7], 0, &mut wire);
    assert_eq!((unheard.local, unheard.remote_shards, wire.taken()), (false, 0, vec![]));
}

#[test]
fn a_slot_that_goes_from_speaker_to_speaker_stays_one_stream_of_sound() {
    let (mut router, mut wire) = (room(), Wire::default());
    for (turn, of) in [1, 2, 1, 3].into_iter().enumerate() {
        let at = 100 * turn as u64;
        router.subscribe(SOUND_SLOT, sound(of), Time::from_millis(at)).unwrap();
        for index in 0..3u16 {
            // Everybody sends, each by a count of its own.
            for other in 1..=3 {
                let sequence = 1_000 * other as u16 + 3 * turn as u16 + index;
                send(&mut router, other, b"0", sequence, &[7], at + 20 * u64::from(index), &mut wire);
            }
        }
    }
    let taken = wire.taken();
    assert_eq!(taken.len(), 12);
    assert!(taken.windows(2).all(|pair| pair[1] == (Ssrc(0xd0), pair[0].1 + 1)), "{taken:?}");
}

#[test]
fn a_picture_slot_changes_with_a_keyframe_that_is_asked_for_at_once() {
    let (mut router, mut wire) = (room(), Wire::default());
    router.subscribe(PICTURE_SLOT, picture(1), Time::ZERO).unwrap();
    send(&mut router, 1, b"1", 1, KEYFRAME, 0, &mut wire);
    send(&mut router, 1, b"1", 2, DELTA, 30, &mut wire);
    send(&mut router, 2, b"1", 700, KEYFRAME, 40, &mut wire);
    run_until(&mut router, 5_000, &mut wire);
    wire.keyframes_asked.clear();
    router.subscribe(PICTURE_SLOT, picture(2), Time::from_millis(5_000)).unwrap();
    run_until(&mut router, 5_050, &mut wire);
    assert_eq!(wire.keyframes_asked, [TransportId(2)]);
    send(&mut router, 2, b"1", 701, DELTA, 5_060, &mut wire);
    send(&mut router, 1, b"1", 3, DELTA, 5_060, &mut wire);
    send(&mut router, 2, b"1", 702, KEYFRAME, 5_090, &mut wire);
    send(&mut router, 2, b"1", 703, DELTA, 5_120, &mut wire);
    let taken = wire.taken();
    assert_eq!(taken.len(), 4, "two of each: {taken:?}");
    assert!(taken.windows(2).all(|pair| pair[1] == (Ssrc(0xd1), pair[0].1 + 1)), "{taken:?}");
}
