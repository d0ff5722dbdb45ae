//! What publishers are asked to send, and what operators bound.

use mediaserver_netem::Schedule;

use crate::publisher::{CAMERA, Shape};
use crate::stage::{Stage, line};

/// A camera of one layer, as a browser sends it that was not asked for more.
const ONE_LAYER: [Shape; 1] = [Shape { rid: "", height: 720, bps: 1_500_000 }];

#[test]
fn a_publisher_of_one_layer_is_asked_for_what_its_only_receivers_line_carries() {
    let mut stage = Stage::new(&[&ONE_LAYER]);
    stage.obey(0);
    stage.view(line(Schedule::steps(&[(0.0, 5e6), (10.0, 6e5), (50.0, 5e6)])), &[(0, 100)]);
    stage.run(90_000);
    let (viewer, publisher) = (&stage.viewers[0], &stage.publishers[0]);
    let (picture, story) = (&viewer.pictures[0], format!("{:?}\n{}", publisher.asked_for, stage.story(0)));
    assert!(picture.longest_freeze(2_000, 90_000) <= 1_000, "{} {story}", picture.longest_freeze(2_000, 90_000));
    let slow = viewer.arrives_bps(20_000, 50_000);
    assert!((350_000.0..600_000.0).contains(&slow), "{slow} {story}");
    assert!(picture.frames_per_s(20_000, 50_000) > 27.0, "{} {story}", picture.frames_per_s(20_000, 50_000));
    assert!(viewer.worst_queue_ms(20_000, 50_000) < 310, "{}", viewer.worst_queue_ms(20_000, 50_000));
    let back = viewer.arrives_bps(75_000, 90_000);
    assert!(back > 1_400_000.0, "{back} {story}");
}

#[test]
fn the_best_receiver_of_a_publisher_decides() {
    let mut stage = Stage::new(&[&ONE_LAYER]);
    stage.obey(0);
    stage.view(line(Schedule::constant(4e5)), &[(0, 100)]);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(20_000);
    let asked = stage.publishers[0].asked_at(20_000);
    assert!(asked.is_none_or(|bps| bps > 1_500_000), "{asked:?} {}", stage.story(0));
    assert!(stage.viewers[1].pictures[0].frames_per_s(10_000, 20_000) > 28.0, "{}", stage.story(1));
}

#[test]
fn two_publishers_share_a_slow_line_evenly() {
    let mut stage = Stage::new(&[&ONE_LAYER, &ONE_LAYER]);
    (0..2).for_each(|publisher| stage.obey(publisher));
    stage.view(line(Schedule::constant(1e6)), &[(0, 100), (1, 100)]);
    stage.run(40_000);
    for (publisher, picture) in stage.publishers.iter().zip(&stage.viewers[0].pictures) {
        let asked = publisher.asked_at(40_000).unwrap_or(0);
        assert!((250_000..550_000).contains(&asked), "{asked} {}", stage.story(0));
        assert!(picture.frames_per_s(20_000, 40_000) > 25.0, "{}", stage.story(0));
    }
}

#[test]
fn a_publisher_of_layers_is_asked_for_nothing_by_slow_lines() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.obey(0);
    stage.view(line(Schedule::constant(4e5)), &[(0, 100)]);
    stage.run(20_000);
    assert!(stage.publishers[0].asked_for.is_empty(), "{:?}", stage.publishers[0].asked_for);
}

#[test]
fn a_limit_holds_on_a_line_that_carries_more() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(8_000);
    assert_eq!(stage.viewers[0].pictures[0].layer_at(8_000), Some(2), "{}", stage.story(0));
    stage.limit_viewer(0, Some(700_000));
    stage.run(30_000);
    let (picture, rate) = (&stage.viewers[0].pictures[0], stage.viewers[0].arrives_bps(10_000, 30_000));
    assert!(rate < 700_000.0, "{rate} {}", stage.story(0));
    assert!(picture.shows(1, 10_000, 30_000), "{}", stage.story(0));
    assert!(picture.longest_freeze(8_000, 30_000) < 500, "{}", picture.longest_freeze(8_000, 30_000));
    stage.limit_viewer(0, None);
    stage.run(50_000);
    assert_eq!(stage.viewers[0].pictures[0].layer_at(50_000), Some(2), "{}", stage.story(0));
}

#[test]
fn what_waits_for_its_turn_is_measured_as_it_leaves() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view(line(Schedule::constant(4e5)), &[(0, 100)]);
    stage.run(10_000);
    let paced = stage.take_paced();
    assert!(!paced.is_empty(), "{}", stage.story(0));
    let waited_ms: Vec<_> = paced.iter().map(|packet| packet.until.since(packet.since).as_millis()).collect();
    assert!(waited_ms.iter().all(|ms| *ms <= 1_500), "{waited_ms:?}");
    assert!(waited_ms.iter().any(|ms| *ms >= 5), "{waited_ms:?}");
    assert_eq!(stage.take_paced(), [], "each is told once");
}

#[test]
fn a_limit_holds_for_a_peer_that_never_reports() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view_silently(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.limit_viewer(0, Some(700_000));
    stage.run(20_000);
    let rate = stage.viewers[0].arrives_bps(6_000, 20_000);
    assert!(rate < 700_000.0, "{rate} {}", stage.story(0));
    assert!(stage.viewers[0].pictures[0].frames_per_s(6_000, 20_000) > 28.0, "{}", stage.story(0));
}

#[test]
fn a_limit_is_asked_for_although_the_peer_never_reports() {
    let mut stage = Stage::new(&[&ONE_LAYER]);
    stage.obey(0);
    stage.view_silently(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.limit_viewer(0, Some(700_000));
    stage.run(20_000);
    let asked = stage.publishers[0].asked_at(20_000);
    assert!(asked.is_some_and(|bps| (500_000..700_000).contains(&bps)), "{asked:?}");
    assert!(stage.viewers[0].pictures[0].frames_per_s(6_000, 20_000) > 27.0, "{}", stage.story(0));
}

#[test]
fn the_only_picture_keeps_within_a_limit_when_its_publisher_obeys_and_is_cut_off_when_it_does_not() {
    for obeys in [true, false] {
        let mut stage = Stage::new(&[&ONE_LAYER]);
        stage.publishers[0].obeys = obeys;
        stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
        stage.limit_viewer(0, Some(700_000));
        stage.run(30_000);
        let (viewer, rate) = (&stage.viewers[0], stage.viewers[0].arrives_bps(10_000, 30_000));
        assert!(rate < 700_000.0, "{rate} {}", stage.story(0));
        let frames = viewer.pictures[0].frames_per_s(10_000, 30_000);
        assert_eq!(frames > 27.0, obeys, "{frames} {}", stage.story(0));
        assert!(stage.publishers[0].asked_at(30_000).is_some_and(|bps| bps < 700_000));
    }
}

#[test]
fn a_publisher_with_layers_hears_of_its_own_limit_and_of_its_end() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.obey(0);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(5_000);
    stage.limit_publisher(0, Some(800_000));
    stage.run(15_000);
    assert_eq!(stage.publishers[0].asked_at(15_000).map(|bps| bps / 10_000), Some(80), "{}", stage.story(0));
    assert!(stage.viewers[0].arrives_bps(8_000, 15_000) < 800_000.0, "{}", stage.story(0));
    stage.limit_publisher(0, None);
    stage.run(30_000);
    assert!(stage.publishers[0].asked_at(30_000).is_some_and(|bps| bps > 900_000_000));
    assert_eq!(stage.publishers[0].asked_for.iter().filter(|(ms, _)| *ms >= 15_000).count(), 3);
}
