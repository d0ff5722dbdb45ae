//! Behaviour of an up track, on virtual time.

use super::*;
use crate::codec::Feedback;

fn payload(payload_type: u8, name: &str, clock_rate: u32) -> Payload {
    Payload {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels: 1,
        parameters: Vec::new(),
        feedback: Feedback::default(),
    }
}

fn track(closed_gates: Vec<Gate>) -> UpTrack {
    UpTrack::new(UpTrackConfig {
        id: UpTrackId(1),
        transport: TransportId(1),
        kind: MediaKind::Audio,
        mid: None,
        payloads: vec![
            payload(0, "PCMU", 8_000),
            payload(8, "PCMA", 8_000),
            payload(101, "telephone-event", 8_000),
            payload(96, "VP8", 90_000),
        ],
        ssrcs: vec![Ssrc(5)],
        rtx_ssrcs: vec![],
        rids: vec![],
        closed_gates,
    })
}

struct Packet<'a> {
    ssrc: u32,
    payload_type: u8,
    sequence: u64,
    first: bool,
    restarted: bool,
    payload: &'a [u8],
}

const SOUND: Packet<'static> =
    Packet { ssrc: 5, payload_type: 0, sequence: 1, first: false, restarted: false, payload: &[1, 2] };

fn feed(track: &mut UpTrack, packet: &Packet<'_>, ms: u64) -> (Result<PacketMeta, MediaDrop>, News) {
    let rtp = RtpPacket {
        marker: false,
        payload_type: packet.payload_type,
        sequence: packet.sequence as u16,
        timestamp: packet.sequence as u32 * 160,
        ssrc: Ssrc(packet.ssrc),
        extension_profile: 0,
        extension: &[],
        extension_offset: 0,
        payload: packet.payload,
        payload_offset: 12,
        padding: 0,
    };
    let entry = *track.payloads().by_type(packet.payload_type).unwrap();
    let place = Place { sequence: packet.sequence, restarted: packet.restarted };
    let now = Time::from_millis(ms);
    let extensions = Extensions::default();
    let incoming = Incoming {
        packet: &rtp,
        extensions: &extensions,
        entry: &entry,
        place,
        first: packet.first,
        layer: 0,
        capture: Capture::estimated(now),
    };
    track.handle(&incoming, now)
}

#[test]
fn a_track_starts_once_and_tells_a_change_of_codec() {
    let mut track = track(Vec::new());
    assert_eq!(feed(&mut track, &SOUND, 0).1.started, Some((Codec::Pcmu, Ssrc(5))));
    assert_eq!(feed(&mut track, &Packet { sequence: 2, ..SOUND }, 20).1.started, None);
    let changed = feed(&mut track, &Packet { sequence: 3, payload_type: 8, ..SOUND }, 40);
    assert_eq!(changed.1.started, Some((Codec::Pcma, Ssrc(5))));
}

#[test]
fn a_closed_gate_drops_and_counts_and_opening_begins_a_new_stream() {
    let mut track = track(Vec::new());
    let before = feed(&mut track, &SOUND, 0).0.unwrap();
    track.set_gate(Gate::Mute, false);
    assert_eq!(feed(&mut track, &Packet { sequence: 2, ..SOUND }, 20).0.unwrap_err(), MediaDrop::GateMute);
    assert!(track.set_gate(Gate::Mute, true));
    let after = feed(&mut track, &Packet { sequence: 3, ..SOUND }, 40).0.unwrap();
    assert!(after.stream > before.stream, "what was gated is not a loss");
    assert_eq!(track.gates().dropped().nth(1), Some((Gate::Mute, 1)));
    assert_eq!(track.stats().packets, 3);
}

#[test]
fn digits_are_heard_through_a_closed_gate() {
    let mut track = track(vec![Gate::Queued]);
    let event = Packet { payload_type: 101, payload: &[9, 0x8a, 3, 0x20], ..SOUND };
    let (forwarded, news) = feed(&mut track, &event, 0);
    assert_eq!(forwarded.unwrap_err(), MediaDrop::GateQueued);
    assert_eq!(news.digit.map(|digit| (digit.digit, digit.duration_ms)), Some(('9', 100)));
}

#[test]
fn a_new_ssrc_is_followed_at_once_and_the_old_one_is_not() {
    let mut track = track(Vec::new());
    let old = feed(&mut track, &SOUND, 0).0.unwrap();
    let new = feed(&mut track, &Packet { ssrc: 6, first: true, ..SOUND }, 20).0.unwrap();
    assert!(new.stream > old.stream);
    let straggler = feed(&mut track, &Packet { sequence: 2, ..SOUND }, 40);
    assert_eq!(straggler.0.unwrap_err(), MediaDrop::SupersededSsrc);
    assert_eq!(track.ssrc(), Some(Ssrc(6)));
    let back = feed(&mut track, &Packet { sequence: 3, ..SOUND }, 600).0.unwrap();
    assert!(back.stream > new.stream, "the new one fell silent");
}

#[test]
fn a_restart_begins_a_new_stream() {
    let mut track = track(Vec::new());
    let before = feed(&mut track, &SOUND, 0).0.unwrap();
    let after = feed(&mut track, &Packet { sequence: 90_000, restarted: true, ..SOUND }, 20).0.unwrap();
    assert_eq!(after.stream, before.stream + 1);
}

#[test]
fn a_keyframe_of_several_packets_is_counted_once() {
    let mut track = track(Vec::new());
    let keyframe = Packet { payload_type: 96, payload: &[0x10, 0x00], ..SOUND };
    assert!(feed(&mut track, &keyframe, 0).0.unwrap().keyframe_start);
    feed(&mut track, &keyframe, 1).0.unwrap();
    assert_eq!(track.stats().keyframes, 1);
    feed(&mut track, &Packet { sequence: 2, ..keyframe }, 30).0.unwrap();
    assert_eq!(track.stats().keyframes, 2);
}
