//! The estimator as a whole: what a peer may say, and that nothing it says does harm.

use std::time::Duration;

use proptest::prelude::*;

use super::estimator::{Bounds, Estimator};
use super::fault::Fault;
use super::history::CAPACITY;
use super::probe::Demand;
use crate::rtcp::{RtcpPacket, packets, twcc};
use crate::rtp::Ssrc;
use crate::time::Time;

const BOUNDS: Bounds = Bounds { min_bps: 50_000, start_bps: 300_000, max_bps: 5_000_000 };

const fn ms(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// Feeds a feedback about `arrivals`, beginning with number `base`.
fn report(estimator: &mut Estimator, base: u16, arrivals: &[Option<Time>], now: Time) {
    let mut out = Vec::new();
    twcc::write(&mut out, Ssrc(1), Ssrc(2), base, 0, arrivals);
    for packet in packets(&out) {
        let Ok(RtcpPacket::Twcc(feedback)) = packet else { panic!("not a feedback") };
        estimator.feedback(&feedback, now);
    }
}

/// Sends `packets` of 1000 bytes each 10 ms from `from_ms` on and reports them all, ten at a time, after 50 ms.
fn run(estimator: &mut Estimator, sequence: &mut u16, from_ms: u64, packets: u64) {
    for batch in 0..packets / 10 {
        let base = *sequence;
        let start_ms = from_ms + batch * 100;
        for index in 0..10 {
            estimator.sent(*sequence, 1_000, None, ms(start_ms + index * 10));
            *sequence = sequence.wrapping_add(1);
        }
        let arrivals: Vec<_> = (0..10).map(|index| Some(ms(start_ms + index * 10 + 30))).collect();
        report(estimator, base, &arrivals, ms(start_ms + 150));
    }
}

#[test]
fn what_arrives_lets_the_estimate_grow_but_not_beyond_what_was_tested() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 65_500);
    run(&mut estimator, &mut sequence, 1_000, 2_000);
    let figures = estimator.figures(ms(21_000));
    assert!((780_000..=820_000).contains(&figures.acked_bps), "{figures:?}");
    assert!((1_000_000..=1_250_000).contains(&figures.estimate_bps), "{figures:?}");
    assert!(figures.round_trip < Duration::from_millis(100));
}

#[test]
fn feedback_about_packets_that_never_left_changes_nothing() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 100);
    let before = estimator.estimate_bps(ms(2_000));
    report(&mut estimator, 5_000, &[Some(ms(2_000)); 100], ms(2_000));
    assert_eq!(estimator.estimate_bps(ms(2_000)), before);
    assert_eq!(estimator.faults_mut().get(Fault::NeverSent), 100);
}

#[test]
fn repeated_and_forgotten_reports_are_counted_and_harmless() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, CAPACITY as u64 + 100);
    let before = estimator.figures(ms(30_000));
    report(&mut estimator, sequence.wrapping_sub(10), &[Some(ms(22_000)); 10], ms(30_000));
    report(&mut estimator, 0, &[Some(ms(22_000)); 10], ms(30_000));
    assert_eq!(estimator.figures(ms(30_000)).estimate_bps, before.estimate_bps);
    let faults = *estimator.faults_mut();
    assert_eq!((faults.get(Fault::Repeated), faults.get(Fault::Forgotten)), (10, 10));
}

#[test]
fn arrival_times_that_jump_are_counted_and_do_not_move_the_estimate() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 200);
    let before = estimator.estimate_bps(ms(3_000));
    estimator.sent(sequence, 1_000, None, ms(3_000));
    report(&mut estimator, sequence, &[Some(ms(900_000))], ms(3_100));
    assert_eq!(estimator.faults_mut().get(Fault::Impossible), 1);
    let after = estimator.estimate_bps(ms(3_100));
    assert!(after.abs_diff(before) < before / 10, "{before} {after}");
}

#[test]
fn feedback_about_more_packets_than_can_be_in_flight_is_cut_and_counted() {
    let mut estimator = Estimator::new(BOUNDS);
    estimator.sent(0, 1_000, None, ms(1_000));
    // 65535 packets from number 0 on, none received: eight runs of 8191 and one of 7.
    let mut bytes = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    (0..8).for_each(|_| bytes.extend([0x1f, 0xff]));
    bytes.extend([0, 7, 0, 0]);
    for packet in packets(&bytes) {
        let Ok(RtcpPacket::Twcc(feedback)) = packet else { panic!("not a feedback") };
        estimator.feedback(&feedback, ms(1_100));
    }
    let faults = *estimator.faults_mut();
    assert_eq!((faults.get(Fault::TooLong), faults.get(Fault::NeverSent)), (1, CAPACITY as u64 - 1));
}

#[test]
fn a_storm_of_feedback_is_not_looked_at_and_counted() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 100);
    let before = estimator.estimate_bps(ms(2_100));
    (0..10_000).for_each(|_| report(&mut estimator, 5_000, &[Some(ms(2_100)); 20], ms(2_100)));
    let faults = *estimator.faults_mut();
    assert_eq!((faults.get(Fault::TooOften), faults.get(Fault::NeverSent)), (9_600, 400 * 20));
    assert_eq!(estimator.estimate_bps(ms(2_100)), before);
    // Who has calmed down is heard again.
    run(&mut estimator, &mut sequence, 3_100, 100);
    assert_eq!(estimator.faults_mut().get(Fault::TooOften), 9_600);
}

#[test]
fn receiver_reports_of_more_loss_than_packets_lower_no_further_than_the_least() {
    let mut estimator = Estimator::new(BOUNDS);
    estimator.sent_untracked(1_000, ms(1_000));
    for step in 0..50 {
        estimator.receiver_report(u32::MAX, 1 + step, ms(1_000 + 500 * u64::from(step)));
    }
    assert_eq!(estimator.estimate_bps(ms(26_000)), BOUNDS.min_bps);
}

#[test]
fn an_estimate_of_zero_means_the_smallest_and_is_counted() {
    let mut estimator = Estimator::new(BOUNDS);
    estimator.remb(0, ms(1_000));
    assert_eq!(estimator.estimate_bps(ms(1_000)), BOUNDS.min_bps);
    estimator.remb(u64::MAX, ms(2_000));
    assert_eq!(estimator.estimate_bps(ms(2_000)), BOUNDS.max_bps);
    assert_eq!(estimator.faults_mut().get(Fault::EstimateTooLow), 1);
}

#[test]
fn a_peer_that_falls_silent_gets_half_and_half_again() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 1_000);
    let before = estimator.estimate_bps(ms(11_050));
    estimator.sent(sequence, 1_000, None, ms(11_060));
    estimator.sent(sequence + 1, 1_000, None, ms(11_100));
    for _ in 0..2 {
        let silence_ends = ms(estimator.poll_timeout().unwrap().as_millis().max(13_050));
        estimator.handle_timeout(silence_ends);
        estimator.sent(sequence + 2, 1_000, None, silence_ends + Duration::from_millis(1));
        estimator.handle_timeout(silence_ends + Duration::from_secs(3));
    }
    assert!(estimator.estimate_bps(ms(20_000)) <= before / 4);
}

#[test]
fn the_next_step_of_the_allocator_is_probed_at_its_price() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 100);
    let first = estimator.poll_probe(ms(2_000)).unwrap();
    estimator.cancel_probe(first.cluster);
    estimator.set_demand(Demand { next_step_bps: Some(2_000_000), ..Demand::default() });
    let probe = estimator.poll_probe(ms(4_000)).unwrap();
    assert_eq!(probe.rate_bps, 2_160_000);
    assert!(probe.bytes >= 5_000 && probe.packets >= 5);
}

#[test]
fn a_peer_that_was_sent_nothing_for_a_while_is_probed_whatever_the_queue_was() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 400);
    let train = estimator.poll_probe(ms(5_100)).unwrap();
    estimator.cancel_probe(train.cluster);
    // A queue that grows by 10 ms each packet is the last that is heard of.
    for index in 0..60u64 {
        estimator.sent(sequence, 1_000, None, ms(5_200 + index * 10));
        report(&mut estimator, sequence, &[Some(ms(5_230 + index * 20))], ms(5_250 + index * 20));
        sequence += 1;
    }
    estimator.set_demand(Demand { next_step_bps: Some(2_000_000), ..Demand::default() });
    assert_eq!(estimator.poll_probe(ms(6_500)), None);
    assert!(estimator.poll_probe(ms(9_500)).is_some());
}

#[test]
fn what_passed_without_a_queue_is_believed_after_a_fall_that_a_large_frame_caused() {
    let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
    run(&mut estimator, &mut sequence, 1_000, 2_000);
    // A frame of thirty packets at 1.3 Mbit/s, over a line of 600 kbit/s: a queue of 240 ms.
    let base = sequence;
    for index in 0..30u64 {
        estimator.sent(sequence, 1_000, None, ms(21_000 + index * 6));
        sequence += 1;
    }
    for index in 0..30u64 {
        report(&mut estimator, base + index as u16, &[Some(ms(21_034 + index * 14))], ms(21_060 + index * 14));
    }
    let fallen = estimator.estimate_bps(ms(21_400));
    assert!(fallen < 700_000, "{fallen}");
    run(&mut estimator, &mut sequence, 21_400, 120);
    assert!(estimator.estimate_bps(ms(22_700)) >= 660_000, "{:?}", estimator.figures(ms(22_700)));
}

#[test]
fn what_cannot_be_sent_for_less_goes_on_as_long_as_it_arrives() {
    let after_a_long_queue = |least_bps| {
        let (mut estimator, mut sequence) = (Estimator::new(BOUNDS), 0);
        run(&mut estimator, &mut sequence, 1_000, 400);
        estimator.set_demand(Demand { least_bps, ..Demand::default() });
        // 800 kbit/s are sent, and 400 arrive.
        for index in 0..200u64 {
            estimator.sent(sequence, 1_000, None, ms(5_200 + index * 10));
            report(&mut estimator, sequence, &[Some(ms(5_230 + index * 20))], ms(5_250 + index * 20));
            sequence += 1;
        }
        [9_300, 15_000].map(|at_ms| estimator.estimate_bps(ms(at_ms)))
    };
    let without = after_a_long_queue(0);
    assert!(without[0] < 380_000, "{without:?}");
    let with = after_a_long_queue(380_000);
    assert!(with[0] == 380_000 && with[1] < 380_000, "what is not heard of any more is not believed: {with:?}");
    assert!(after_a_long_queue(600_000)[0] < 380_000, "it does not arrive");
}

/// One thing that a peer or we may do.
#[derive(Clone, Debug)]
enum Step {
    Send { count: u8, gap_us: u32 },
    Report { base: i16, arrivals: Vec<Option<u32>> },
    Remb(u64),
    ReceiverReport { lost: u32, packets: u32 },
    Wait { ms: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u8..60, 0u32..40_000).prop_map(|(count, gap_us)| Step::Send { count, gap_us }),
        (-300i16..300, proptest::collection::vec(proptest::option::of(any::<u32>()), 1..80))
            .prop_map(|(base, arrivals)| Step::Report { base, arrivals }),
        any::<u64>().prop_map(Step::Remb),
        (any::<u32>(), any::<u32>()).prop_map(|(lost, packets)| Step::ReceiverReport { lost, packets }),
        (0u32..60_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    #[test]
    fn whatever_a_peer_says_the_estimate_stays_within_its_bounds(
        steps in proptest::collection::vec(step(), 1..60), plausible: bool,
    ) {
        let (mut estimator, mut now, mut sequence) = (Estimator::new(BOUNDS), ms(1_000), 0u16);
        for step in steps {
            match step {
                Step::Send { count, gap_us } => for _ in 0..count {
                    now = now + Duration::from_micros(u64::from(gap_us));
                    let cluster = estimator.poll_probe(now).map(|probe| probe.cluster);
                    estimator.sent(sequence, 1_200, cluster, now);
                    sequence = sequence.wrapping_add(1);
                },
                Step::Report { base, arrivals } => {
                    let spread = if plausible { 100_000 } else { u32::MAX };
                    let arrivals: Vec<_> = arrivals.iter()
                        .map(|at| at.map(|at| now + Duration::from_micros(u64::from(at % spread)))).collect();
                    report(&mut estimator, sequence.wrapping_add_signed(base), &arrivals, now);
                }
                Step::Remb(bps) => estimator.remb(bps, now),
                Step::ReceiverReport { lost, packets } => estimator.receiver_report(lost, packets, now),
                Step::Wait { ms } => now = now + Duration::from_millis(u64::from(ms)),
            }
            estimator.handle_timeout(now);
            let figures = estimator.figures(now);
            prop_assert!((BOUNDS.min_bps..=BOUNDS.max_bps).contains(&figures.estimate_bps));
            prop_assert!(figures.queue_ms.is_finite() && (0.0..=1.0).contains(&figures.loss));
            prop_assert!(estimator.sent_bps(now).is_finite());
        }
    }
}
