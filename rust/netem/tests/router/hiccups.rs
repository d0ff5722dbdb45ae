//! A machine that stands still for moments: a queue that comes and goes at once, and that nobody on the line has made.

use std::time::Duration;

use mediaserver_netem::{LinkConfig, QueueLimit, Random, Schedule};

use crate::TOP;
use crate::publisher::CAMERA;
use crate::stage::{Stage, line};

/// The publisher's top layer begins then.
const TOP_BEGINS_MS: u64 = 20_000;
/// So long after the last moment of standing still the top layer is there.
const BACK_MS: u64 = 15_000;

/// A line without limits on which nothing moves for moments of up to `longest_s`; and when the last of them is over.
fn hiccups(seed: u64, longest_s: f64) -> (LinkConfig, u64) {
    const OPEN: f64 = 50e6;
    const SHUT: f64 = 2e3;
    let mut random = Random::new(seed);
    let mut steps = vec![(0.0, OPEN)];
    let mut at = random.between(16.0, 20.0);
    let end = at + random.between(1.0, 10.0);
    while at < end {
        steps.push((at, SHUT));
        at += random.between(0.05, longest_s);
        steps.push((at, OPEN));
        at += random.between(0.05, 1.0);
    }
    let config = LinkConfig {
        queue: QueueLimit::Time(Duration::from_millis(1_000)),
        delay: Duration::from_millis(1),
        ..line(Schedule::steps(&steps))
    };
    (config, (end * 1000.0) as u64)
}

#[test]
fn a_machine_that_stands_still_for_moments_is_no_competitor_on_the_line() {
    // The last seeds are those with which it took 40 s and more when it was taken for one.
    let cases = (1..=12).map(|seed| (seed, 0.3)).chain([(97, 0.15), (4, 0.6), (18, 0.6), (26, 0.6), (97, 0.6)]);
    for (seed, longest_s) in cases {
        let (config, over_ms) = hiccups(seed, longest_s);
        let mut stage = Stage::new(&[&CAMERA]);
        stage.publishers[0].top_begins_ms = TOP_BEGINS_MS;
        stage.view(config, &[(0, 100)]);
        let end_ms = over_ms.max(TOP_BEGINS_MS) + BACK_MS;
        stage.run(end_ms);
        let picture = &stage.viewers[0].pictures[0];
        assert_eq!(picture.layer_at(end_ms), Some(TOP), "seed {seed}, {longest_s} s: {}", stage.story(0));
    }
}
