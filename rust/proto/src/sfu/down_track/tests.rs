//! Behaviour of a down track, on virtual time.

mod described;
mod redundancy;

use super::*;
use crate::codec::vp8;
use crate::codec::{Feedback, MediaKind};
use crate::rtcp::{NtpTime, ReportBlock, WallClock};
use crate::rtp::{AudioLevel, Extensions, RtpPacket, Ssrc, Token};
use crate::sfu::drops::MediaDrop;
use crate::sfu::dtmf_sender::DtmfError;
use crate::sfu::packet::{Departure, PacketMeta, Rewrite, UpPacket};
use crate::sfu::rewriter::Capture;
use crate::sfu::{DownTrackId, TransportId};

const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(1000 << 32) };

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

fn track(kind: MediaKind, payloads: Vec<Payload>) -> DownTrack {
    let config = DownTrackConfig {
        id: DownTrackId(1),
        transport: TransportId(1),
        kind,
        mid: Token::new(b"0"),
        ssrc: Ssrc(0x1234_0010),
        rtx_ssrc: None,
        cname: "c".to_owned(),
        payloads,
    };
    DownTrack::new(config, &extensions())
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::default();
    map.set(4, ExtensionKind::Mid.uri()).unwrap();
    map.set(5, ExtensionKind::AudioLevel.uri()).unwrap();
    map.set(6, ExtensionKind::TransportSequence.uri()).unwrap();
    map.set(7, ExtensionKind::AbsSendTime.uri()).unwrap();
    map
}

fn audio() -> DownTrack {
    track(
        MediaKind::Audio,
        vec![payload(109, "opus", 48_000), payload(0, "PCMU", 8_000), payload(101, "telephone-event", 48_000)],
    )
}

fn video() -> DownTrack {
    track(MediaKind::Video, vec![payload(120, "VP8", 90_000)])
}

const SOUND: &[u8] = &[1, 2, 3];
const KEYFRAME: &[u8] = &[0x90, 0x80, 0x85, 0x11, 0x10, 0x00];
const DELTA: &[u8] = &[0x90, 0x80, 0x85, 0x12, 0x11, 0x00];

fn packet(up: u64, sequence: u64, ms: u64, codec: Codec, payload: &[u8]) -> UpPacket<'_> {
    let clock_rate = u64::from(codec.clock_rate());
    let descriptor = codec.describe(payload, &published());
    let meta = PacketMeta {
        up: UpTrackId(up),
        layer: 0,
        stream: 1,
        sequence,
        timestamp: (up * 1_000_000 + ms * clock_rate / 1000) as u32,
        marker: false,
        codec,
        keyframe_start: codec.starts_keyframe(payload, &descriptor),
        audio_level: None,
        video_orientation: None,
        playout_delay: None,
        descriptor,
        arrival: Time::from_millis(ms),
        capture: Capture::estimated(Time::from_millis(ms)),
        payload_start: 12,
        payload_len: payload.len() as u16,
    };
    UpPacket { meta, payload }
}

/// What the payload types inside redundant audio mean to the publisher.
fn published() -> PayloadTable {
    PayloadTable::new(&[payload(111, "opus", 48_000)])
}

fn forward(track: &mut DownTrack, packet: &UpPacket<'_>) -> Result<Rewrite, MediaDrop> {
    track.forward(packet, packet.meta.arrival)
}

#[test]
fn the_codec_is_sent_under_the_payload_type_of_the_receiver() {
    let mut track = audio();
    let rewrite = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    assert_eq!((rewrite.payload_type, rewrite.ssrc), (109, Ssrc(0x1234_0010)));
    let rewrite = forward(&mut track, &packet(1, 101, 20, Codec::Pcmu, SOUND)).unwrap();
    assert_eq!(rewrite.payload_type, 0);
    assert_eq!(forward(&mut track, &packet(1, 102, 40, Codec::Pcma, SOUND)).unwrap_err(), MediaDrop::DownNoPayloadType);
}

#[test]
fn a_switch_of_the_source_leaves_neither_a_gap_nor_a_jump_in_time() {
    let mut track = audio();
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    let second = forward(&mut track, &packet(1, 101, 20, Codec::Opus, SOUND)).unwrap();
    assert!(first.marker && !second.marker);
    let switched = forward(&mut track, &packet(2, 70_000, 60, Codec::Opus, SOUND)).unwrap();
    assert_eq!(switched.sequence, second.sequence + 1);
    assert_eq!(switched.timestamp.wrapping_sub(second.timestamp), 48 * 40);
    assert!(switched.marker, "a talkspurt begins");
}

#[test]
fn padding_and_formats_without_payload_type_are_closed_over() {
    let mut track = audio();
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    assert_eq!(forward(&mut track, &packet(1, 101, 20, Codec::Opus, &[])).unwrap_err(), MediaDrop::PaddingOnly);
    assert!(forward(&mut track, &packet(1, 102, 40, Codec::Pcma, SOUND)).is_err());
    let next = forward(&mut track, &packet(1, 103, 60, Codec::Opus, SOUND)).unwrap();
    assert_eq!(next.sequence, first.sequence + 1);
}

#[test]
fn a_picture_starts_and_switches_only_with_a_keyframe() {
    let mut track = video();
    assert_eq!(track.awaited_stream(), Some(0));
    let waits = Err(MediaDrop::DownAwaitsKeyframe);
    assert_eq!(forward(&mut track, &packet(1, 100, 0, Codec::Vp8, DELTA)), waits);
    let first = forward(&mut track, &packet(1, 101, 30, Codec::Vp8, KEYFRAME)).unwrap();
    assert_eq!(track.awaited_stream(), None);
    assert_eq!(forward(&mut track, &packet(2, 900, 60, Codec::Vp8, DELTA)), waits);
    let second = forward(&mut track, &packet(2, 901, 90, Codec::Vp8, KEYFRAME)).unwrap();
    assert_eq!(second.sequence, first.sequence + 1);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 60 * 90);
}

#[test]
fn the_picture_id_goes_on_in_a_copy_of_the_descriptor() {
    let mut track = video();
    forward(&mut track, &packet(1, 100, 0, Codec::Vp8, KEYFRAME)).unwrap();
    let rewrite = forward(&mut track, &packet(2, 500, 30, Codec::Vp8, KEYFRAME)).unwrap();
    let mut out = Vec::new();
    let departure = Departure { now: Time::ZERO, transport_sequence: 0 };
    rewrite.write_packet(&departure, KEYFRAME, &mut out);
    let written = RtpPacket::parse(&out).unwrap();
    let descriptor = vp8::Descriptor::parse(written.payload).unwrap();
    assert_eq!(descriptor.picture_id, Some(0x0512));
    assert_eq!(&written.payload[usize::from(descriptor.len)..], &KEYFRAME[4..]);
}

#[test]
fn a_restarted_stream_goes_on_and_its_stragglers_are_refused() {
    let mut track = audio();
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    let mut restarted = packet(1, 5_000_000, 20, Codec::Opus, SOUND);
    restarted.meta.stream = 2;
    restarted.meta.timestamp = 3;
    let second = forward(&mut track, &restarted).unwrap();
    assert_eq!(second.sequence, first.sequence + 1);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960);
    let straggler = packet(1, 101, 25, Codec::Opus, SOUND);
    assert_eq!(forward(&mut track, &straggler).unwrap_err(), MediaDrop::DownOldStream);
}

#[test]
fn reordered_late_and_repeated_packets_have_their_own_fate() {
    let mut track = audio();
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    let third = forward(&mut track, &packet(1, 102, 40, Codec::Opus, SOUND)).unwrap();
    let second = forward(&mut track, &packet(1, 101, 20, Codec::Opus, SOUND)).unwrap();
    assert_eq!([second.sequence, third.sequence], [first.sequence + 1, first.sequence + 2]);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960);
    let again = forward(&mut track, &packet(1, 101, 20, Codec::Opus, SOUND));
    assert_eq!(again.unwrap_err(), MediaDrop::DownDuplicate);
    let before = forward(&mut track, &packet(1, 99, 0, Codec::Opus, SOUND));
    assert_eq!(before.unwrap_err(), MediaDrop::DownTooLate);
}

#[test]
fn headers_carry_the_extensions_of_the_receiver() {
    let mut track = audio();
    let mut sound = packet(1, 100, 0, Codec::Opus, SOUND);
    sound.meta.audio_level = Some(AudioLevel { voice: true, level: 20 });
    let rewrite = forward(&mut track, &sound).unwrap();
    assert!(rewrite.has_transport_sequence());
    let mut out = Vec::new();
    let departure = Departure { now: Time::from_millis(1500), transport_sequence: 0x0102 };
    let header_len = rewrite.write_packet(&departure, SOUND, &mut out);
    assert_eq!(&out[header_len..], SOUND);
    let written = RtpPacket::parse(&out).unwrap();
    let found = Extensions::read(written.extension_profile, written.extension, &extensions());
    assert_eq!(found.mid, Some(&b"0"[..]));
    assert_eq!(found.audio_level, Some(AudioLevel { voice: true, level: 20 }));
    assert_eq!(found.transport_sequence, Some(0x0102));
    assert_eq!(found.abs_send_time, Some(3 << 17));
}

#[test]
fn the_mid_is_left_out_once_the_receiver_has_reported() {
    let mut track = audio();
    let block = ReportBlock { ssrc: Ssrc(0x1234_0010), cumulative_lost: 3, jitter: 48, ..ReportBlock::default() };
    track.handle_report(&block, Time::ZERO, &WALL);
    let rewrite = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    let mut out = Vec::new();
    rewrite.write_header(&Departure { now: Time::ZERO, transport_sequence: 0 }, SOUND, &mut out);
    let written = RtpPacket::parse(&out).unwrap();
    assert_eq!(Extensions::read(written.extension_profile, written.extension, &extensions()).mid, None);
    assert_eq!((track.stats().remote_lost, track.stats().remote_jitter), (3, 48));
}

#[test]
fn what_is_sent_again_names_its_section_whatever_the_receiver_has_reported() {
    let parameters = vec![("apt".to_owned(), "120".to_owned())];
    let repairs = Payload { parameters, ..payload(121, "rtx", 90_000) };
    let config = video().config().clone();
    let config = DownTrackConfig { rtx_ssrc: Some(Ssrc(0x1234_0011)), ..config };
    let payloads = vec![payload(120, "VP8", 90_000), repairs];
    let mut track = DownTrack::new(DownTrackConfig { payloads, ..config }, &extensions());
    track.handle_report(&ReportBlock { ssrc: Ssrc(0x1234_0010), ..ReportBlock::default() }, Time::ZERO, &WALL);
    let padding = track.pad(|_| None).unwrap().rewrite;
    assert_eq!((padding.ssrc, padding.mid), (Ssrc(0x1234_0011), Token::new(b"0")));
}

#[test]
fn the_sender_report_speaks_the_timeline_of_the_receiver() {
    let mut track = audio();
    assert_eq!(track.sender_info(Time::ZERO, &WALL), None);
    let rewrite = forward(&mut track, &packet(1, 100, 1000, Codec::Opus, SOUND)).unwrap();
    let info = track.sender_info(Time::from_millis(1500), &WALL).unwrap();
    assert_eq!(info.rtp_timestamp.wrapping_sub(rewrite.timestamp), 24_000);
    assert_eq!(info.ntp, NtpTime((1001 << 32) + 0x8000_0000));
    assert_eq!((info.packets, info.octets), (1, 3));
}

#[test]
fn the_round_trip_is_taken_from_a_report_about_our_report() {
    let mut track = audio();
    let last_sr = WALL.ntp_at(Time::from_millis(1000)).compact();
    let block = ReportBlock { last_sr, delay_since_last_sr: 0x8000, ..ReportBlock::default() };
    track.handle_report(&block, Time::from_millis(1750), &WALL);
    let round_trip = track.stats().round_trip.unwrap();
    assert!(round_trip.abs_diff(Duration::from_millis(250)) < Duration::from_millis(1), "{round_trip:?}");
}

#[test]
fn a_report_from_before_ours_or_long_after_is_named_and_gives_no_round_trip() {
    let mut track = audio();
    let last_sr = WALL.ntp_at(Time::from_millis(10_000)).compact();
    // Heard at 10.5 s: half a second is what there is to divide; 5 ms more is the error of a clock.
    for (delay_ms, impossible) in [(500, false), (505, false), (600, true), (60_000, true)] {
        let delay_since_last_sr = delay_ms * 65_536 / 1000;
        let block = ReportBlock { last_sr, delay_since_last_sr, ..ReportBlock::default() };
        let news = track.handle_report(&block, Time::from_millis(10_500), &WALL);
        assert_eq!(news.impossible_time, impossible, "{delay_ms} ms");
    }
    let block = ReportBlock { last_sr: last_sr.wrapping_sub(61 << 16), ..ReportBlock::default() };
    assert!(track.handle_report(&block, Time::from_millis(10_500), &WALL).impossible_time);
    assert!(track.stats().round_trip.unwrap() < Duration::from_millis(1), "only the first one counted");
}

#[test]
fn an_inactive_track_sends_nothing_and_goes_on_without_a_gap() {
    let mut track = audio();
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    track.update(&[payload(109, "opus", 48_000)], false);
    assert_eq!(forward(&mut track, &packet(1, 101, 20, Codec::Opus, SOUND)).unwrap_err(), MediaDrop::DownInactive);
    track.update(&[payload(96, "opus", 48_000)], true);
    let next = forward(&mut track, &packet(1, 102, 40, Codec::Opus, SOUND)).unwrap();
    assert_eq!((next.sequence, next.payload_type), (first.sequence + 1, 96));
}

#[test]
fn digits_take_the_place_of_sound_under_one_timestamp() {
    let mut track = audio();
    let sound = forward(&mut track, &packet(1, 100, 0, Codec::Opus, SOUND)).unwrap();
    let (tone, gap) = (Duration::from_millis(60), Duration::from_millis(40));
    track.send_dtmf("7", tone, gap, Time::from_millis(20)).unwrap();
    let mut sent = Vec::new();
    let mut sequence = 101;
    while let Some(at) = track.poll_timeout() {
        sent.push(track.poll_dtmf(at).unwrap());
        let during = forward(&mut track, &packet(1, sequence, at.as_millis(), Codec::Opus, SOUND));
        if track.poll_timeout().is_some() {
            assert_eq!(during.unwrap_err(), MediaDrop::DownSendingDtmf);
        }
        sequence += 1;
    }
    let timestamps: Vec<_> = sent.iter().map(|rewrite| rewrite.timestamp.wrapping_sub(sound.timestamp)).collect();
    assert_eq!(timestamps, [960; 5]);
    let sequences: Vec<_> = sent.iter().map(|rewrite| rewrite.sequence - sound.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert_eq!(sent.iter().map(|rewrite| rewrite.marker).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert!(sent.iter().all(|rewrite| rewrite.payload_type == 101 && rewrite.prefix().len() == 4));
    let after = forward(&mut track, &packet(1, sequence, 200, Codec::Opus, SOUND)).unwrap();
    assert_eq!(after.sequence, sound.sequence + 7);
}

#[test]
fn digits_need_a_negotiated_payload_type() {
    let mut track = track(MediaKind::Audio, vec![payload(0, "PCMU", 8_000)]);
    let ms = Duration::from_millis(100);
    assert_eq!(track.send_dtmf("1", ms, ms, Time::ZERO), Err(DtmfError::NotNegotiated));
}

#[test]
fn a_record_stays_small() {
    assert!(size_of::<Rewrite>() <= 88, "{}", size_of::<Rewrite>());
}
