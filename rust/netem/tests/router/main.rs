//! The router as a whole on lines that change: simulcast cameras and a screen in, viewers behind slow lines out.

mod fall;
mod hiccups;
mod liars;
mod limits;
mod publisher;
mod screen;
mod stage;
mod viewer;

use mediaserver_netem::Schedule;
use publisher::{CAMERA, SCREEN, Shape};
use stage::{Stage, line};

const TOP: u8 = 2;

#[test]
fn a_viewer_on_a_good_line_gets_the_top_layer_and_keeps_it() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(30_000);
    let picture = &stage.viewers[0].pictures[0];
    assert!(picture.layer_at(4_000) == Some(TOP), "{}", stage.story(0));
    assert!(picture.shows(TOP, 4_000, 30_000), "{}", stage.story(0));
    assert!(picture.longest_freeze(2_000, 30_000) < 150, "{}", picture.longest_freeze(2_000, 30_000));
}

#[test]
fn a_line_that_becomes_slow_gets_a_lower_layer_soon_and_the_top_one_back_when_it_recovers() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view(line(Schedule::steps(&[(0.0, 4e6), (15.0, 6e5), (45.0, 4e6)])), &[(0, 100)]);
    stage.run(70_000);
    let (viewer, story) = (&stage.viewers[0], stage.story(0));
    let picture = &viewer.pictures[0];
    assert_eq!(picture.layer_at(15_000), Some(TOP), "{story}");
    assert!(picture.layer_at(18_000) < Some(TOP), "{story}");
    assert!(picture.longest_freeze(15_000, 45_000) <= 1_000, "{} {story}", picture.longest_freeze(15_000, 45_000));
    assert!(picture.layer_at(44_000) < Some(TOP), "{story}");
    assert!(viewer.worst_queue_ms(25_000, 45_000) < 400, "{}", viewer.worst_queue_ms(25_000, 45_000));
    let back = picture.shown.iter().find(|shown| shown.ms > 45_000 && shown.layer == TOP);
    assert!(back.is_some_and(|shown| shown.ms <= 55_000), "{story}");
    assert!(picture.switches(25_000, 45_000) <= 4, "{story}");
}

#[test]
fn two_viewers_with_different_lines_get_different_layers_of_one_publisher() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.view(line(Schedule::constant(3.5e5)), &[(0, 100)]);
    stage.run(20_000);
    let at_end = |viewer: usize| stage.viewers[viewer].pictures[0].layer_at(20_000);
    assert_eq!((at_end(0), at_end(1)), (Some(TOP), Some(0)), "{:?} {}", stage.story(0), stage.story(1));
}

#[test]
fn a_screen_keeps_its_rate_while_cameras_give_way() {
    let mut stage = Stage::new(&[&SCREEN, &CAMERA, &CAMERA]);
    stage.view(line(Schedule::constant(1.6e6)), &[(0, 200), (1, 100), (2, 100)]);
    stage.run(30_000);
    let pictures = &stage.viewers[0].pictures;
    let rate = pictures[0].frames_per_s(10_000, 30_000);
    assert!(rate > 28.0, "{rate} {}", stage.story(0));
    for camera in &pictures[1..] {
        assert!(camera.layer_at(30_000) < Some(TOP), "{}", stage.story(0));
        assert!(camera.frames_per_s(10_000, 30_000) > 25.0, "{}", camera.frames_per_s(10_000, 30_000));
    }
}

#[test]
fn at_ten_percent_loss_most_frames_are_shown() {
    let mut stage = Stage::new(&[&CAMERA]);
    let mut line = line(Schedule::constant(5e6));
    line.loss = mediaserver_netem::Loss::Random(0.1);
    stage.view(line, &[(0, 100)]);
    stage.run(30_000);
    let picture = &stage.viewers[0].pictures[0];
    let rate = picture.frames_per_s(5_000, 30_000);
    assert!(rate >= 0.8 * 30.0, "{rate} {}", stage.story(0));
}

#[test]
fn a_peer_that_never_reports_is_served_without_an_estimate() {
    let mut stage = Stage::new(&[&CAMERA]);
    stage.view_silently(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.run(10_000);
    assert_eq!(stage.viewers[0].pictures[0].layer_at(10_000), Some(TOP), "{}", stage.story(0));
}

#[test]
fn the_only_picture_of_a_call_goes_on_at_five_percent_loss_and_after_a_change_of_route() {
    let mut stage = Stage::new(&[&[Shape { rid: "", height: 480, bps: 220_000 }]]);
    let mut line = line(Schedule::constant(20e6));
    line.loss = mediaserver_netem::Loss::Random(0.05);
    stage.view(line, &[(0, 100)]);
    stage.run(4_000);
    stage.reroute(0, std::time::Duration::from_millis(40));
    stage.run(20_000);
    let rate = stage.viewers[0].pictures[0].frames_per_s(1_000, 20_000);
    assert!(rate > 27.0, "{rate} {}", stage.story(0));
}

#[test]
fn a_picture_that_was_paused_comes_back_when_the_line_does() {
    let mut stage = Stage::new(&[&[Shape { rid: "", height: 480, bps: 400_000 }]]);
    stage.view(line(Schedule::steps(&[(0.0, 4e6), (10.0, 8e4), (40.0, 4e6)])), &[(0, 100)]);
    stage.run(60_000);
    let picture = &stage.viewers[0].pictures[0];
    assert!(picture.frames_per_s(25_000, 40_000) < 10.0, "it does not fit: {}", stage.story(0));
    assert!(picture.frames_per_s(50_000, 60_000) > 28.0, "{}", stage.story(0));
}

#[test]
fn a_picture_of_one_size_on_a_slow_line_loses_frames_and_does_not_stand_still() {
    let mut stage = Stage::new(&[&[Shape { rid: "", height: 360, bps: 1_500_000 }]]);
    stage.publishers[0].temporal = true;
    stage.view(line(Schedule::constant(5e6)), &[(0, 100)]);
    stage.view(line(Schedule::steps(&[(0.0, 5e6), (10.0, 1.1e6), (40.0, 5e6)])), &[(0, 100)]);
    stage.run(60_000);
    let [free, bound] = [0, 1].map(|viewer| &stage.viewers[viewer].pictures[0]);
    assert!(free.frames_per_s(5_000, 60_000) > 29.0, "{}", stage.story(0));
    assert!(bound.frames_per_s(5_000, 10_000) > 29.0, "{}", stage.story(1));
    let slow = bound.frames_per_s(15_000, 40_000);
    assert!((10.0..25.0).contains(&slow), "{slow} {}", stage.story(1));
    assert!(bound.longest_freeze(10_000, 60_000) < 1_000, "{}", bound.longest_freeze(10_000, 60_000));
    assert!(bound.frames_per_s(50_000, 60_000) > 29.0, "{}", stage.story(1));
}
