//! Peers that lie, flood or break the rules: what they do is bounded and counted by name, and the others in the room see
//! their pictures as before.

use std::time::Duration;

use mediaserver_netem::Schedule;
use mediaserver_proto::bwe::FeedbackGenerator;
use mediaserver_proto::rtcp::{NtpTime, ReportBlock, SenderInfo, nack, pli, receiver_report, remb, sender_report};
use mediaserver_proto::rtp::{HeaderWriter, Ssrc};
use mediaserver_proto::sfu::TransportId;
use mediaserver_proto::time::Time;

use crate::publisher::{CAMERA, MID, PAYLOAD_TYPE, Shape};
use crate::stage::{Stage, line};
use crate::viewer::NUMBERS;

const LIAR: usize = 0;
const HONEST: usize = 1;
const TOP: u8 = 2;
const ME: Ssrc = Ssrc(1);

/// A camera with a viewer who lies and one who does not.
fn room() -> Stage {
    let mut stage = Stage::new(&[&CAMERA]);
    for _ in [LIAR, HONEST] {
        stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    }
    stage.run(6_000);
    stage
}

fn lie(stage: &mut Stage, every_ms: u64, mut words: impl FnMut(&Stage, &mut Vec<u8>)) {
    for step in 0..8_000 / every_ms {
        stage.run(6_000 + every_ms * step);
        let (transport, mut said) = (stage.viewers[LIAR].transport, Vec::new());
        words(stage, &mut said);
        stage.say(transport, &said);
    }
    stage.run(14_000);
}

/// The honest viewer saw the best layer all the time.
fn assert_harmless(stage: &Stage) {
    let picture = &stage.viewers[HONEST].pictures[0];
    assert!(picture.shows(TOP, 6_000, 14_000), "{}", stage.story(HONEST));
    assert!(picture.frames_per_s(6_000, 14_000) > 29.0, "{}", stage.story(HONEST));
    assert!(picture.longest_freeze(6_000, 14_000) < 150, "{}", stage.story(HONEST));
}

fn media(stage: &Stage) -> Ssrc {
    stage.viewers[LIAR].pictures[0].ssrc
}

#[test]
fn feedback_about_packets_that_were_never_sent() {
    let mut stage = room();
    let mut feedback = FeedbackGenerator::default();
    let mut number = 20_000u16;
    lie(&mut stage, 50, |stage, said| {
        feedback.set_media(media(stage));
        for _ in 0..30 {
            number = number.wrapping_add(1);
            feedback.arrived(number, Time::from_millis(1));
        }
        feedback.write(ME, Time::from_millis(60_000_000), said);
    });
    assert!(stage.counted("feedback_never_sent") > 1_000, "{}", stage.story(LIAR));
    assert_harmless(&stage);
}

#[test]
fn a_storm_of_nacks() {
    let mut stage = room();
    let before = stage.stats(stage.viewers[LIAR].transport).down[0].retransmitted;
    let mut first = 0u16;
    lie(&mut stage, 2, |stage, said| {
        let numbers: Vec<u16> = (0..200).map(|index| first.wrapping_add(index)).collect();
        first = first.wrapping_add(200);
        nack::write(said, ME, media(stage), &numbers);
    });
    let stats = stage.stats(stage.viewers[LIAR].transport);
    let (again, sent) = (stats.down[0].retransmitted - before, stats.down[0].packets);
    assert!(again * 2 < sent, "{again} of {sent}");
    let counted = ["nack_limit", "nack_unknown", "nack_repeated"].map(|name| stage.counted(name));
    assert!(counted.iter().sum::<u64>() > 100_000, "{counted:?}");
    assert_harmless(&stage);
}

#[test]
fn an_estimate_of_zero() {
    let mut stage = room();
    lie(&mut stage, 100, |_, said| remb::write(said, ME, 0, &[]));
    assert!(stage.counted("feedback_estimate_too_low") > 0, "{}", stage.story(LIAR));
    assert!(stage.stats(stage.viewers[LIAR].transport).bandwidth.unwrap().estimate_bps >= 50_000);
    assert_harmless(&stage);
}

#[test]
fn an_estimate_of_zero_by_the_only_receiver_leaves_the_publisher_a_picture() {
    let mut stage = Stage::new(&[&[Shape { rid: "", height: 720, bps: 1_500_000 }]]);
    stage.obey(0);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(6_000);
    lie(&mut stage, 100, |_, said| remb::write(said, ME, 0, &[]));
    assert_eq!(stage.publishers[0].asked_at(14_000), Some(100_000), "{:?}", stage.publishers[0].asked_for);
}

#[test]
fn reports_with_impossible_times() {
    let mut stage = room();
    let mut turn = 0u32;
    lie(&mut stage, 50, |stage, said| {
        turn = turn.wrapping_mul(0x9e37_79b9).wrapping_add(1);
        let block = ReportBlock {
            ssrc: media(stage),
            fraction_lost: 255,
            cumulative_lost: -0x80_0000,
            highest_sequence: turn,
            jitter: u32::MAX,
            last_sr: turn,
            delay_since_last_sr: !turn,
        };
        receiver_report::write(said, ME, &[block]);
    });
    let stats = stage.stats(stage.viewers[LIAR].transport);
    assert!(stats.round_trip.is_none_or(|round_trip| round_trip < Duration::from_secs(60)), "{stats:?}");
    assert!(stats.bandwidth.unwrap().estimate_bps >= 50_000);
    assert!(stage.counted("rtcp_impossible_time") > 100);
    assert_harmless(&stage);
}

#[test]
fn a_publisher_whose_clock_jumps() {
    let mut stage = room();
    for step in 0..800u64 {
        stage.run(6_000 + 10 * step);
        let ntp = NtpTime(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let info = SenderInfo { ssrc: Ssrc(1_002), ntp, rtp_timestamp: step as u32, packets: 0, octets: u32::MAX };
        let mut said = Vec::new();
        sender_report::write(&mut said, &info, &[]);
        stage.say(stage.publishers[0].transport, &said);
    }
    stage.run(14_000);
    assert_harmless(&stage);
}

#[test]
fn a_flood_of_picture_requests() {
    let mut stage = room();
    let before = stage.publishers[0].plis;
    lie(&mut stage, 1, |stage, said| {
        (0..20).for_each(|_| pli::write(said, ME, media(stage)));
    });
    let asked = stage.publishers[0].plis - before;
    assert!(asked <= 60, "{asked} in 8 s");
    assert!(stage.counted("keyframe_request_limit") > 100_000, "{}", stage.story(LIAR));
    assert_harmless(&stage);
}

/// A packet of a publisher with whatever extensions.
fn packet(ssrc: u32, sequence: u16, extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let header = HeaderWriter {
        marker: true,
        payload_type: PAYLOAD_TYPE,
        sequence,
        timestamp: 90 * u32::from(sequence),
        ssrc: Ssrc(ssrc),
    };
    let mut out = Vec::new();
    header.write(&mut out, |into| extensions.iter().for_each(|(id, value)| into.push(*id, value)));
    out.extend_from_slice(&[0x90, 0x80, 0x80, 1, 1, 0, 0, 0]);
    out
}

/// Two publishers; the first breaks the rules, the viewer in question sees the second only.
fn two_publishers() -> Stage {
    let mut stage = Stage::new(&[&[Shape { rid: "", height: 480, bps: 400_000 }], &CAMERA]);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.view(line(Schedule::constant(5e6)), &[(1, 100)]);
    stage.run(6_000);
    stage
}

#[test]
fn extension_ids_that_change() {
    let mut stage = two_publishers();
    for step in 0..1_000u16 {
        stage.run(6_000 + 8 * u64::from(step));
        let number = step.to_be_bytes();
        // What was a name is a number now, and the other way round; then an id that nobody has ever told.
        let swapped: [(u8, &[u8]); 2] = [(MID, &number), (NUMBERS, b"1")];
        let strange: [(u8, &[u8]); 1] = [(14, b"zzzz")];
        stage.slip_in(0, &packet(7_000 + u32::from(step % 3), step, if step % 2 == 0 { &swapped } else { &strange }));
    }
    stage.run(14_000);
    // Without a name a packet is taken by its payload type, but never two SSRCs of one layer in turn.
    let counted = ["unknown_ssrc", "superseded_ssrc"].map(|name| stage.counted(name));
    assert!(counted.iter().sum::<u64>() > 300, "{counted:?} {}", stage.story(LIAR));
    assert_harmless(&stage);
}

#[test]
fn an_ssrc_that_belongs_to_another_track_or_person() {
    let mut stage = two_publishers();
    for step in 0..1_000u16 {
        stage.run(6_000 + 8 * u64::from(step));
        // The SSRC of the other publisher's best layer, and a second sender under our own name.
        stage.slip_in(0, &packet(2_002, step, &[(MID, b"1")]));
        stage.slip_in(0, &packet(1_000, step.wrapping_mul(977), &[(MID, b"1")]));
    }
    stage.run(14_000);
    let names = ["superseded_ssrc", "sequence_jump", "duplicate", "too_old"];
    let counted: Vec<u64> = names.iter().map(|name| stage.counted(name)).collect();
    assert!(counted.iter().sum::<u64>() > 500, "{counted:?} {}", stage.story(LIAR));
    assert_harmless(&stage);
    assert!(stage.stats(TransportId(1)).up[0].packets > 0);
}
