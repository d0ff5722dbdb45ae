//! A shared screen and two cameras on a line that falls and recovers: the cameras give way, the screen goes on.

use std::time::Duration;

use mediaserver_netem::{LinkConfig, QueueLimit, Schedule};
use mediaserver_proto::rtcp::pli;
use mediaserver_proto::rtp::Ssrc;

use crate::publisher::{CAMERA, Pace, TEXT};
use crate::stage::{SCREEN_PRIORITY, Stage, line};

const TOP: u8 = 2;
const SEEDS: [u64; 4] = [7, 21, 58, 93];
const FALLS_MS: u64 = 12_000;
const ENDS_MS: u64 = 30_000;
const OVER_MS: u64 = 60_000;
/// A keyframe of the screen alone takes the line for 0.7 s, and a second one follows where the first was lost.
const STILL_MS: u64 = 2_500;

/// What went wrong, if anything.
fn story(round_trip_ms: u64, seed: u64) -> Option<String> {
    let rate = Schedule::steps(&[(0.0, 6e6), (FALLS_MS as f64 / 1e3, 7e5), (ENDS_MS as f64 / 1e3, 6e6)]);
    let mut stage = Stage::new(&[&TEXT, &CAMERA, &CAMERA]);
    stage.publishers[0].pace = Pace::WRITING;
    let line = LinkConfig { delay: Duration::from_micros(round_trip_ms * 500), seed, ..line(rate) };
    stage.view(line, &[(0, SCREEN_PRIORITY), (1, 100), (2, 100)]);
    stage.run(OVER_MS);
    let [screen, cameras @ ..] = stage.viewers[0].pictures.as_slice() else { unreachable!("three pictures") };
    let late = cameras.iter().any(|camera| camera.layer_at(FALLS_MS) != Some(TOP));
    let stays = cameras.iter().any(|camera| {
        let mut shown = camera.shown.iter().filter(|shown| (FALLS_MS + 3_000..ENDS_MS).contains(&shown.ms));
        shown.any(|shown| shown.layer == TOP)
    });
    let (still_ms, rate) = (screen.longest_freeze(FALLS_MS, OVER_MS), screen.frames_per_s(FALLS_MS + 3_000, ENDS_MS));
    let lost = cameras.iter().any(|camera| camera.layer_at(OVER_MS) != Some(TOP));
    let seen = format!("late {late}, stays {stays}, still {still_ms} ms, {rate:.1} a second, lost {lost}");
    let wrong = late || stays || lost || still_ms > STILL_MS || rate < 4.0;
    wrong.then(|| format!("seed {seed}: {seen}\n{}\n", stage.story(0)))
}

fn holds(round_trip_ms: u64) {
    let wrong: Vec<_> = SEEDS.iter().filter_map(|seed| story(round_trip_ms, *seed)).collect();
    assert!(wrong.is_empty(), "{} at {round_trip_ms} ms:\n{}", wrong.len(), wrong.concat());
}

#[test]
fn over_a_short_path_a_screen_goes_on_and_cameras_give_way() {
    holds(10);
}

#[test]
fn over_a_path_of_50_ms_a_screen_goes_on_and_cameras_give_way() {
    holds(50);
}

#[test]
fn a_screen_whose_keyframe_is_on_its_way_is_not_asked_for_another() {
    let mut stage = Stage::new(&[&TEXT]);
    stage.publishers[0].pace = Pace::WRITING;
    stage.view(line(Schedule::constant(6e5)), &[(0, SCREEN_PRIORITY)]);
    // Its 60 kilobytes leave within 0.8 s; what each request brings, at the publisher and at us.
    let brings = [10_000, 10_500, 14_000].map(|ms| {
        stage.run(ms);
        let viewer = &stage.viewers[0];
        let (transport, media, mut said) = (viewer.transport, viewer.pictures[0].ssrc, Vec::new());
        let before = (stage.publishers[0].plis, stage.counted("keyframe_under_way"));
        pli::write(&mut said, Ssrc(1), media);
        stage.say(transport, &said);
        let refused = stage.counted("keyframe_under_way") - before.1;
        stage.run(ms + 100);
        (stage.publishers[0].plis - before.0, refused)
    });
    assert_eq!(brings, [(1, 0), (0, 1), (1, 0)], "{}", stage.story(0));
}

/// Its keyframes of 60 kilobytes take such a line for 2.4 s each, when nothing else comes and nothing is lost.
#[test]
fn on_a_line_of_twice_its_rate_a_screen_is_seen_and_goes_on() {
    let lines =
        [10, 50, 150].into_iter().flat_map(|round_trip_ms| [100, 300, 1_000].map(|queue| (round_trip_ms, queue)));
    for (round_trip_ms, queue_ms) in lines {
        let mut stage = Stage::new(&[&TEXT]);
        stage.publishers[0].pace = Pace::WRITING;
        let line = LinkConfig {
            delay: Duration::from_micros(round_trip_ms * 500),
            queue: QueueLimit::Time(Duration::from_millis(queue_ms)),
            ..line(Schedule::constant(2e5))
        };
        stage.view(line, &[(0, SCREEN_PRIORITY)]);
        stage.run(35_000);
        let picture = &stage.viewers[0].pictures[0];
        let (first_ms, rate) =
            (picture.shown.first().map_or(u64::MAX, |shown| shown.ms), picture.frames_per_s(15_000, 35_000));
        let seen = format!("{round_trip_ms} ms, queue {queue_ms}: first {first_ms}, {rate:.1} a second");
        assert!(first_ms < 15_000 && rate > 2.5, "{seen}\n{}", stage.story(0));
    }
}
