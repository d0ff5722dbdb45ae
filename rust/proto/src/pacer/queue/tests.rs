//! Bursts, spacing, precedence and bounds on virtual time.

use super::*;
use std::num::NonZeroU8;

const RATE_BPS: u64 = 1_200_000;

/// Sends `packets` of 1000 bytes at `now`; gives out how many left at once.
fn frame(pacer: &mut Pacer<u32>, packets: u32, now: Time) -> u32 {
    let mut left = 0;
    for record in 0..packets {
        match pacer.admit(Class::Video, 1_000, now) {
            Admission::Now => left += 1,
            Admission::Hold => pacer.hold(Class::Video, 1_000, record, now).unwrap(),
        }
    }
    left
}

/// Runs until nothing waits; gives out when each record left.
fn drain(pacer: &mut Pacer<u32>) -> Vec<(u64, Release<u32>)> {
    let mut released = Vec::new();
    while let Some(at) = pacer.poll_timeout() {
        while let Some(release) = pacer.poll(at) {
            if let Release::Padding { bytes, .. } = release {
                pacer.padded(bytes, at);
            }
            released.push((at.as_millis(), release));
        }
    }
    released
}

fn probe(rate_bps: u64) -> Probe {
    Probe { cluster: ClusterId(NonZeroU8::MIN), rate_bps, bytes: 5_000, packets: 5 }
}

#[test]
fn where_the_line_has_room_a_larger_frame_leaves_at_once() {
    let mut pacer = Pacer::new(RATE_BPS);
    assert_eq!(frame(&mut pacer, 10, Time::ZERO), 6);
    let mut pacer = Pacer::new(RATE_BPS);
    pacer.set_roomy(true);
    assert_eq!(frame(&mut pacer, 10, Time::ZERO), 10);
    assert!(pacer.is_empty());
    // Not without end.
    assert_eq!(frame(&mut pacer, 10, Time::ZERO), 2);
}

#[test]
fn frames_leave_whole_while_less_is_sent_than_the_estimate() {
    let mut pacer = Pacer::new(RATE_BPS);
    for index in 0..300 {
        let packets = if index % 30 == 0 { 6 } else { 3 };
        assert_eq!(frame(&mut pacer, packets, Time::from_millis(1_000 + index * 33)), packets);
    }
}

#[test]
fn what_goes_beyond_the_burst_is_spaced_a_little_faster_than_the_estimate() {
    let mut pacer = Pacer::new(RATE_BPS);
    let now = Time::from_millis(1_000);
    assert_eq!(frame(&mut pacer, 36, now), 6);
    let released = drain(&mut pacer);
    assert_eq!(released.len(), 30);
    let span_ms = released[29].0 - released[0].0;
    assert!((145..165).contains(&span_ms), "{span_ms}");
    assert!(released.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 7), "{released:?}");
}

#[test]
fn a_frame_is_spread_where_bursts_are_lost() {
    let mut pacer = Pacer::new(RATE_BPS);
    pacer.set_spread(true);
    assert_eq!(frame(&mut pacer, 8, Time::from_millis(1_000)), 3);
    let released = drain(&mut pacer);
    assert!((20..40).contains(&(released[4].0 - 1_000)), "{released:?}");
}

#[test]
fn audio_never_waits_and_a_retransmission_goes_before_video() {
    let mut pacer = Pacer::new(RATE_BPS);
    let now = Time::from_millis(1_000);
    frame(&mut pacer, 20, now);
    assert_eq!(pacer.admit(Class::Audio, 200, now), Admission::Now);
    assert_eq!(pacer.admit(Class::Retransmission, 900, now), Admission::Hold);
    pacer.hold(Class::Retransmission, 900, 77, now).unwrap();
    let (_, first) = drain(&mut pacer)[0];
    assert!(matches!(first, Release::Packet { held, class: Class::Retransmission, .. } if held.record == 77));
}

#[test]
fn a_train_takes_media_first_then_padding_and_is_spaced_at_its_rate() {
    let mut pacer = Pacer::new(RATE_BPS);
    let now = Time::from_millis(1_000);
    pacer.start_probe(probe(4_000_000), now);
    assert_eq!(frame(&mut pacer, 2, now), 0);
    let released = drain(&mut pacer);
    assert_eq!(released.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1000, 1002, 1004, 1006, 1008]);
    assert!(released[..2].iter().all(|(_, release)| matches!(release, Release::Packet { cluster: Some(_), .. })));
    assert!(released[2..].iter().all(|(_, release)| matches!(release, Release::Padding { .. })));
    assert_eq!(frame(&mut pacer, 1, Time::from_millis(1_100)), 1);
}

#[test]
fn a_train_without_anything_to_pad_with_ends() {
    let mut pacer: Pacer<u32> = Pacer::new(RATE_BPS);
    pacer.start_probe(probe(4_000_000), Time::ZERO);
    assert!(matches!(pacer.poll(Time::ZERO), Some(Release::Padding { .. })));
    assert_eq!(pacer.padded(0, Time::ZERO), Some(ClusterId(NonZeroU8::MIN)));
    assert_eq!(pacer.poll_timeout(), None);
}

#[test]
fn the_queue_is_bounded_by_records_bytes_and_time() {
    let mut pacer = Pacer::new(RATE_BPS);
    for record in 0..MOST_RECORDS {
        pacer.hold(Class::Video, 1, record, Time::ZERO).unwrap();
    }
    assert_eq!(pacer.hold(Class::Video, 1, 0, Time::ZERO), Err(PacerDrop::QueueFull));
    assert_eq!(pacer.hold(Class::Retransmission, MOST_BYTES, 0, Time::ZERO), Err(PacerDrop::TooManyBytes));
    assert!(pacer.poll(Time::from_millis(1_501)).is_none());
    assert_eq!(pacer.drops_mut().get(PacerDrop::Stale), MOST_RECORDS as u64);
    assert_eq!((pacer.waiting_bytes(), pacer.is_empty()), (0, true));
}

#[test]
fn what_is_of_no_use_any_more_makes_room_for_what_is() {
    let mut pacer = Pacer::new(RATE_BPS);
    let now = Time::from_millis(1_000);
    frame(&mut pacer, 20, now);
    pacer.hold(Class::Retransmission, 900, 77, now).unwrap();
    assert_eq!(pacer.waiting_video().count(), 14);
    pacer.abandon(|record| *record >= 8);
    assert_eq!((pacer.waiting_bytes(), pacer.drops_mut().get(PacerDrop::Abandoned)), (2_000, 13));
    assert_eq!(drain(&mut pacer).len(), 2);
}

#[test]
fn what_waits_leaves_within_half_a_second_even_above_the_rate() {
    let mut pacer = Pacer::new(100_000);
    let now = Time::from_millis(1_000);
    frame(&mut pacer, 200, now);
    let released = drain(&mut pacer);
    assert!(released.last().unwrap().0 < 2_500, "{:?}", released.last());
    assert_eq!(pacer.drops_mut().get(PacerDrop::Stale), 0);
}

fn hold(pacer: &mut Pacer<u32>, class: Class, records: std::ops::Range<u32>, now: Time) {
    for record in records {
        match pacer.admit(class, 1_000, now) {
            Admission::Now => {}
            Admission::Hold => pacer.hold(class, 1_000, record, now).unwrap(),
        }
    }
}

#[test]
fn a_keyframe_of_a_screen_goes_before_cameras_takes_its_time_and_leaves_whole() {
    let mut pacer = Pacer::new(200_000);
    let now = Time::from_millis(1_000);
    hold(&mut pacer, Class::Video, 0..40, now);
    hold(&mut pacer, Class::Retransmission, 100..110, now);
    hold(&mut pacer, Class::Screen, 200..260, now);
    let released = drain(&mut pacer);
    let of_screen = |release: &Release<u32>| matches!(release, Release::Packet { class: Class::Screen, .. });
    let (screen, cameras) = released.split_at(60);
    assert!(screen.iter().all(|(_, release)| of_screen(release)), "{screen:?}");
    // 60 packets at a quarter more than the rate.
    assert!((2_800..3_050).contains(&screen[59].0), "{:?}", screen[59]);
    assert!(screen.windows(10).all(|ten| ten[9].0 - ten[0].0 >= 280), "{screen:?}");
    assert_eq!((cameras.len(), pacer.drops_mut().get(PacerDrop::Stale)), (0, 44), "what waited behind it is late");
}

#[test]
fn a_small_frame_of_a_screen_leaves_at_once_though_cameras_wait() {
    let mut pacer = Pacer::new(1_200_000);
    let now = Time::from_millis(1_000);
    hold(&mut pacer, Class::Video, 0..30, now);
    let later = Time::from_millis(1_020);
    while pacer.poll(later).is_some() {}
    assert_eq!(pacer.admit(Class::Screen, 900, later), Admission::Now);
    assert_eq!(pacer.admit(Class::Video, 900, later), Admission::Hold);
}

#[test]
fn a_train_is_of_repairs_and_padding_where_a_screen_waits() {
    let mut pacer = Pacer::new(200_000);
    let now = Time::from_millis(1_000);
    hold(&mut pacer, Class::Screen, 0..20, now);
    pacer.hold(Class::Retransmission, 1_000, 100, now).unwrap();
    pacer.start_probe(probe(400_000), now);
    let released = drain(&mut pacer);
    let in_train = released.iter().filter_map(|(_, release)| match release {
        Release::Packet { held, cluster: Some(_), .. } => Some(Some(held.record)),
        Release::Padding { .. } => Some(None),
        Release::Packet { .. } => None,
    });
    let in_train: Vec<_> = in_train.collect();
    assert_eq!(in_train[0], Some(100));
    assert!(in_train.len() > 1 && in_train[1..].iter().all(Option::is_none), "{in_train:?}");
}

#[test]
fn a_record_that_does_not_leave_is_no_debt() {
    let left_at = |forgives: bool| {
        let mut pacer = Pacer::new(200_000);
        let now = Time::from_millis(1_000);
        hold(&mut pacer, Class::Video, 0..20, now);
        let mut at = Time::ZERO;
        while let Some(due) = pacer.poll_timeout() {
            while let Some(Release::Packet { held, .. }) = pacer.poll(due) {
                at = due;
                if forgives {
                    pacer.forgive(held.size);
                }
            }
        }
        at.as_millis()
    };
    assert!(left_at(false) >= 1_300, "{}", left_at(false));
    assert!(left_at(true) <= 1_100, "{}", left_at(true));
}
