//! A publisher with simulcast layers and a viewer, on virtual time: codec by fault, and the viewer gets one clean stream.

mod pauses;
mod publisher;
mod room;

use super::*;
use crate::rtp::Token;
use crate::sfu::Target;
use publisher::{Format, RID, Source};
use room::{DOWN, FAULTS, FRAME_MS, Fault, Seen, UP, room};

#[test]
fn the_viewer_gets_one_clean_stream_whatever_the_codec_and_the_fault() {
    for format in Format::ALL {
        for fault in FAULTS {
            let mut room = room(format);
            room.run(fault);
            let case = format!("{format:?}, {fault:?}");
            assert_eq!(room.layer_at(1_950), 0, "{case}: the best layer at first");
            assert_eq!(room.layer_at(3_950), 1, "{case}: 360 lines");
            assert_eq!(room.layer_at(5_990), 0, "{case}: the best layer again");
            assert!(room.seen[0].key, "{case}: begins with a keyframe");
            // What overtook a keyframe could not be decoded when it came; a keyframe in the only stream is a true loss.
            let lossy = matches!(fault, Fault::LossAtSwitch | Fault::Reordered)
                || (format.is_one_stream() && fault == Fault::KeyframeLost);
            let pictures = room.pictures();
            for pair in pictures.concat().windows(2) {
                let step = pair[1].sequence.wrapping_sub(pair[0].sequence);
                assert!(step == 1 || (lossy && step < 5), "{case}: {pair:?}");
            }
            for pair in pictures.windows(2) {
                check_pair(&pair[0], &pair[1], lossy, &case);
            }
            check_frames(&pictures, lossy, &case);
            let [first, last] = [pictures[0][0], pictures.last().unwrap()[0]];
            let drift = i64::from(last.timestamp.wrapping_sub(first.timestamp)) - 90 * (last.ms - first.ms) as i64;
            assert!(drift.abs() < 90 * 40, "{case}: the timeline is off by {drift}");
            let longest = room.seen.windows(2).map(|pair| pair[1].ms - pair[0].ms).max().unwrap();
            let twin = fault == Fault::DuplicateRid;
            assert!(longest <= if twin { 1_100 } else { 300 }, "{case}: a freeze of {longest} ms");
        }
    }
}

/// Two pictures, the one behind the other: time and ids go on, the picture ends where its marker is, and there is
/// everything that its layers are predicted from.
fn check_pair(before: &[Seen], after: &[Seen], lossy: bool, case: &str) {
    let [old, new] = [before[0], after[0]];
    let passed = new.timestamp.wrapping_sub(old.timestamp);
    assert!(passed > 0 && passed < 90 * 700, "{case}: {passed} between {old:?} {new:?}");
    assert!(after.iter().all(|part| part.picture == new.picture), "{case}: {after:?}");
    if let (Some(old), Some(new)) = (old.picture, new.picture) {
        let step = new.wrapping_sub(old) & 0x7fff;
        assert!(step == 1 || (lossy && step < 4), "{case}: {before:?} {after:?}");
    }
    if lossy {
        return;
    }
    let markers: Vec<_> = after.iter().map(|part| part.marker).collect();
    assert!(markers.iter().rev().skip(1).all(|marker| !marker) && markers[markers.len() - 1], "{case}: {after:?}");
    for part in after {
        let (inter, inter_layer) = part.inter;
        let had = !inter || before.iter().any(|other| other.layer == part.layer);
        let has = !inter_layer || after.iter().any(|other| other.layer == part.layer + 1);
        assert!(had && has, "{case}: {part:?} behind {before:?}");
    }
}

/// Dependency descriptors: every frame has a number of its own, and what it refers to was sent.
fn check_frames(pictures: &[Vec<Seen>], lossy: bool, case: &str) {
    let mut sent = std::collections::HashSet::new();
    for seen in pictures.iter().flatten() {
        let Some(frame) = seen.frame else { continue };
        assert!(sent.insert(frame.number), "{case}: {seen:?} again");
        for back in (0..63).filter(|bit| frame.references >> bit & 1 != 0) {
            let number = frame.number.wrapping_sub(back as u16 + 1);
            assert!(lossy || sent.contains(&number), "{case}: {seen:?} refers to {number}");
        }
    }
}

#[test]
fn a_viewer_of_a_lower_layer_is_told_which_decode_targets_are_left() {
    for format in [Format::Av1Svc, Format::Av1KeySvc] {
        let mut room = room(format);
        room.run(Fault::None);
        let active = |ms: u64| room.seen.iter().rev().find(|seen| seen.ms <= ms).unwrap().frame.unwrap().active;
        // Targets of the highest layer first, three for each.
        assert_eq!(
            [active(450), active(1_950), active(3_950), active(5_990)],
            [0x1c0, 0x1ff, 0x1f8, 0x1ff],
            "{format:?}"
        );
    }
}

#[test]
fn every_temporal_layer_less_halves_the_pictures_per_second() {
    for format in [Format::Av1Svc, Format::Av1KeySvc] {
        let mut room = room(format);
        room.run(Fault::None);
        for (max_temporal, pictures) in [(2, 40), (1, 20), (0, 10), (1, 20), (2, 40)] {
            let target = Target { max_temporal, ..Target::default() };
            room.router.set_target(DOWN, target, Time::from_millis(room.ms)).unwrap();
            room.seen.clear();
            for frame in 0..40 {
                room.ms += FRAME_MS;
                room.frame(0, frame, Fault::None);
                room.run_timers();
            }
            let seen = room.pictures();
            check_frames(&seen[1..], true, "numbers");
            assert!(seen.len().abs_diff(pictures) <= 1, "{format:?}, {max_temporal}: {}", seen.len());
            for pair in seen.windows(2) {
                check_pair(&pair[0], &pair[1], false, &format!("{format:?}, {max_temporal}"));
            }
        }
    }
}

#[test]
fn a_packet_of_a_structure_that_was_lost_is_counted_and_a_keyframe_asked_for() {
    let mut room = room(Format::Av1Svc);
    room.run(Fault::None);
    let (before, ms) = (room.seen.len(), room.ms);
    room.ms += FRAME_MS;
    let source = &mut room.sources[0];
    source.timestamp = source.timestamp.wrapping_add(3_000);
    let mut parts = source.picture(Format::Av1Svc, false, 0b111);
    // The ids of another structure: 0 to 14 instead of 50 to 64.
    parts[0].descriptor.as_mut().unwrap()[0] = 0xc0 | 10;
    let packet = room.sources[0].packet_of(&parts[0], RID, false);
    room.receive(&packet);
    room.run_timers();
    assert_eq!(room.router.drops().get(MediaDrop::UnknownTemplate), 1);
    assert_eq!(room.seen.len(), before);
    assert!(room.plis.iter().any(|(at, _)| *at > ms), "{:?}", room.plis);
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
fn a_publisher_that_goes_on_with_what_nobody_wants_is_bounded_until_somebody_does() {
    let mut room = room(Format::Vp8);
    room.run(Fault::None);
    room.target(200);
    room.go_on(&[0, 1, 2], 7_500);
    assert_eq!(room.asked, [], "told after five seconds, it has three to obey");
    room.go_on(&[0, 1, 2], 1_000);
    assert_eq!(room.asked[0].1, 200_000);
    // Its encoder gives the larger layers up, and the bound stays.
    room.go_on(&[2], 3_000);
    assert!(room.asked.len() >= 3 && room.asked.iter().all(|(_, bps)| *bps == 200_000), "{:?}", room.asked);
    room.target(400);
    room.go_on(&[2], 100);
    assert_eq!(room.asked.last().unwrap().1, 850_000, "the middle layer comes back, the largest does not");
    room.target(u16::MAX);
    room.go_on(&[1, 2], 100);
    assert!(room.asked.last().unwrap().1 > 100_000_000, "{:?}", room.asked.last());
}

#[test]
fn a_publisher_that_switches_off_what_nobody_wants_is_not_bounded() {
    let mut room = room(Format::Vp8);
    room.run(Fault::None);
    room.target(200);
    room.go_on(&[0, 1, 2], 5_500);
    room.go_on(&[2], 10_000);
    assert_eq!(room.asked, []);
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
        let payload = &source.picture(Format::Vp8, true, 0)[0].payload;
        let mut packet = source.packet(payload, true, RID, true);
        let name = packet.iter().position(|byte| *byte == b'h').unwrap();
        packet[name] = b'0' + (number % 10) as u8;
        room.receive(&packet);
    }
    assert_eq!(room.router.drops().get(MediaDrop::UnknownRid), 50);
    for number in 0..50u32 {
        let mut source = Source { ssrc: 2_000 + number, ..Source::new(0) };
        let payload = &source.picture(Format::Vp8, true, 0)[0].payload;
        let packet = source.packet(payload, true, RID, true);
        room.receive(&packet);
    }
    assert!(room.router.drops().get(MediaDrop::SsrcLimit) >= 40);
}

#[test]
fn a_simulcast_ssrc_without_a_name_is_not_reported_so_that_the_browser_goes_on_to_name_it() {
    let mut room = room(Format::Vp8);
    let mut source = Source::new(0);
    for _ in 0..10 {
        let payload = &source.picture(Format::Vp8, true, 0)[0].payload;
        let packet = source.packet(payload, true, RID, false);
        room.receive(&packet);
    }
    room.ms = 10_000;
    room.run_timers();
    assert!(!room.sources[0].announced);
    assert_eq!(room.router.drops().get(MediaDrop::UnknownRid), 10);
    let payload = &source.picture(Format::Vp8, true, 0)[0].payload;
    let packet = source.packet(payload, true, RID, true);
    room.receive(&packet);
    let packet = source.packet(payload, true, RID, false);
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

#[test]
fn a_spatial_layer_is_left_without_a_keyframe_and_entered_with_one() {
    for format in [Format::Vp9Svc, Format::Vp9KeySvc, Format::Av1Svc, Format::Av1KeySvc] {
        let mut room = room(format);
        room.run(Fault::None);
        let asked: Vec<u64> = room.plis.iter().map(|(ms, _)| *ms).filter(|ms| *ms > 1_500).collect();
        assert_eq!(asked, [3_993], "{format:?}");
        let told: Vec<_> = room
            .events
            .iter()
            .filter_map(|event| match event {
                RouterEvent::DownTrackLayerChanged { layer: Some(layer), .. } => Some((layer.spatial, layer.height)),
                _ => None,
            })
            .skip_while(|(_, height)| *height != 720)
            .collect();
        assert_eq!(told, [(2, 720), (1, 360), (2, 720)], "{format:?}");
        let layers = room.router.layer_states(UP);
        let rates: Vec<_> = layers.iter().map(|(layer, _)| layer.bitrate_bps / 10_000).collect();
        let expected = [4u32, 18, 45].iter().zip(&rates).all(|(expected, rate)| expected.abs_diff(*rate) <= 1);
        assert!(expected, "{format:?}: each with those below it: {rates:?}");
    }
}
