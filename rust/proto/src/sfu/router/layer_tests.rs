//! A publisher with simulcast layers and a viewer, on virtual time: codec by fault, and the viewer gets one clean stream.

mod publisher;
mod room;

use super::*;
use crate::rtp::Token;
use crate::sfu::Target;
use publisher::{Format, RID, Source};
use room::{DOWN, FAULTS, FRAME_MS, Fault, UP, room};

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
fn a_publisher_whom_nobody_has_ever_looked_at_hears_of_it_after_a_while() {
    let mut room = room(Format::Vp8);
    room.router.unsubscribe(DOWN, Time::ZERO).unwrap();
    // At first the viewer's slot shows somebody else.
    room.run_timers();
    room.events.clear();
    room.run(Fault::None);
    room.ms += 6_000;
    room.run_timers();
    let wanted = |room: &mut room::Room| {
        let wanted = room.events.drain(..).filter_map(|event| match event {
            RouterEvent::UpTrackLayersWanted { wanted, .. } => Some(wanted),
            _ => None,
        });
        wanted.collect::<Vec<_>>()
    };
    assert_eq!(wanted(&mut room), [0]);
    room.router.subscribe(DOWN, UP, Time::from_millis(room.ms)).unwrap();
    room.run_timers();
    assert_eq!(wanted(&mut room), [0b111], "and at once when somebody does");
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
