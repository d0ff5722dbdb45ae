//! The test cases 5.1 to 5.8 of RFC 8867, and a few of our own.
//!
//! Unless a case says otherwise (§4 and §5): one-way delay 50 ms, queue 300 ms drop-tail, no random loss, jitter up to
//! 30 ms (normal, deviation 5 ms, cut at three), packets in order.

use std::time::Duration;

use super::case::{Case, Direction, MediaSpec, SourceKind, TcpLoad, TcpSpec};
use crate::link::{LinkConfig, QueueLimit};
use crate::loss::Loss;
use crate::schedule::Schedule;

const MBIT: f64 = 1e6;

fn line(steps: &[(f64, f64)], seed: u64) -> LinkConfig {
    let steps: Vec<_> = steps.iter().map(|&(at_s, mbit)| (at_s, mbit * MBIT)).collect();
    LinkConfig {
        rate: Schedule::steps(&steps),
        delay: Duration::from_millis(50),
        jitter: Duration::from_millis(5),
        reorders: false,
        loss: Loss::None,
        queue: QueueLimit::Time(Duration::from_millis(300)),
        seed,
    }
}

/// Wide enough never to be the bottleneck.
fn wide(seed: u64) -> LinkConfig {
    line(&[(0.0, 100.0)], seed)
}

fn flow(source: SourceKind, from_s: f64, to_s: f64) -> MediaSpec {
    MediaSpec { direction: Direction::Forward, active_s: (from_s, to_s), pause_s: None, extra_ms: 0, source }
}

fn case(name: &'static str, title: &str, seconds: f64, forward: LinkConfig, media: Vec<MediaSpec>) -> Case {
    let lines = [forward, wide(2)];
    Case { name, title: title.to_owned(), seconds, lines, media, tcp: Vec::new(), seed: 1, fair_from_s: 0.0 }
}

/// §5.1: one flow; 1, 2.5, 0.6 and 1 Mbit/s.
pub fn variable_single(source: SourceKind) -> Case {
    let forward = line(&[(0.0, 1.0), (40.0, 2.5), (60.0, 0.6), (80.0, 1.0)], 1);
    case("5_1", "variable capacity, one flow", 100.0, forward, vec![flow(source, 0.0, 100.0)])
}

/// §5.2: two flows; 4, 2, 3.5, 1 and 2 Mbit/s.
pub fn variable_multiple(source: SourceKind) -> Case {
    let forward = line(&[(0.0, 4.0), (25.0, 2.0), (50.0, 3.5), (75.0, 1.0), (100.0, 2.0)], 1);
    let media = vec![flow(source, 0.0, 125.0), flow(source, 0.0, 125.0)];
    Case { fair_from_s: 25.0, ..case("5_2", "variable capacity, two flows", 125.0, forward, media) }
}

/// §5.3: a flow in either direction, both lines vary, feedback shares them.
pub fn congested_feedback(source: SourceKind) -> Case {
    let forward = line(&[(0.0, 2.0), (20.0, 1.0), (40.0, 0.5), (60.0, 2.0)], 1);
    let back = MediaSpec { direction: Direction::Backward, ..flow(source, 0.0, 100.0) };
    let media = vec![flow(source, 0.0, 100.0), back];
    let mut case = case("5_3", "congested feedback, a flow each way", 100.0, forward, media);
    case.lines[1] = line(&[(0.0, 2.0), (35.0, 0.8), (70.0, 2.0)], 2);
    case
}

/// §5.4: three flows that start 20 s apart share 3.5 Mbit/s.
pub fn competing(source: SourceKind) -> Case {
    let media = [0.0, 20.0, 40.0].map(|from_s| flow(source, from_s, 120.0)).to_vec();
    Case { fair_from_s: 60.0, ..case("5_4", "three flows, one after the other", 120.0, line(&[(0.0, 3.5)], 1), media) }
}

/// §5.5: five flows with one-way delays from 10 to 150 ms share 4 Mbit/s.
pub fn round_trip_fairness(source: SourceKind) -> Case {
    let own = [(10, 0.0), (25, 10.0), (50, 20.0), (100, 30.0), (150, 40.0)];
    let media = own.map(|(delay_ms, from_s)| MediaSpec { extra_ms: delay_ms - 10, ..flow(source, from_s, 300.0) });
    let mut forward = line(&[(0.0, 4.0)], 1);
    forward.delay = Duration::from_millis(10);
    let title = "five flows, round trips apart";
    let mut case = Case { fair_from_s: 80.0, ..case("5_5", title, 300.0, forward, media.to_vec()) };
    case.lines[1].delay = Duration::from_millis(10);
    case
}

/// §5.6: beside a long TCP flow on 2 Mbit/s, with a queue of so many milliseconds.
pub fn long_tcp(source: SourceKind, queue_ms: u64) -> Case {
    let mut forward = line(&[(0.0, 2.0)], 1);
    forward.queue = QueueLimit::Time(Duration::from_millis(queue_ms));
    let name = match queue_ms {
        20 => "5_6_queue_20",
        300 => "5_6_queue_300",
        _ => "5_6_queue_1000",
    };
    let mut case = case(name, "beside a long TCP flow", 120.0, forward, vec![flow(source, 5.0, 120.0)]);
    case.tcp = vec![TcpSpec { active_s: (0.0, 120.0), load: TcpLoad::Long }];
    case
}

/// §5.7: two flows beside ten short TCP flows on 2 Mbit/s, two of which begin with a transfer.
pub fn short_tcp(source: SourceKind) -> Case {
    let media = vec![flow(source, 5.0, 300.0), flow(source, 5.0, 300.0)];
    let mut case = case("5_7", "two flows beside ten short TCP flows", 300.0, line(&[(0.0, 2.0)], 1), media);
    let tcp = |index: usize| TcpSpec { active_s: (0.0, 300.0), load: TcpLoad::Short { on: index < 2 } };
    case.tcp = (0..10).map(tcp).collect();
    case.fair_from_s = 25.0;
    case
}

/// §5.8: three flows on 3.5 Mbit/s, one of which pauses from 40 to 60 s.
pub fn pause_and_resume(source: SourceKind) -> Case {
    let mut media = [0.0, 20.0, 40.0].map(|_| flow(source, 0.0, 120.0)).to_vec();
    media[0].pause_s = Some((40.0, 60.0));
    Case {
        fair_from_s: 80.0,
        ..case("5_8", "three flows, one pauses 40 to 60 s", 120.0, line(&[(0.0, 3.5)], 1), media)
    }
}

/// Not of the RFC: one flow on 2 Mbit/s with so much random loss, or bursts of four packets with the same mean.
pub fn lossy(source: SourceKind, name: &'static str, loss: Loss) -> Case {
    let mut forward = line(&[(0.0, 2.0)], 1);
    forward.loss = loss;
    case(name, "loss that is not ours", 60.0, forward, vec![flow(source, 0.0, 60.0)])
}

/// Not of the RFC: a line of 3 Mbit/s that is limited to 600 kbit/s for 20 s.
pub fn limited_for_a_while(source: SourceKind) -> Case {
    let forward = line(&[(0.0, 3.0), (20.0, 0.6), (40.0, 3.0)], 1);
    case("limit", "3 Mbit/s, limited to 0.6 for 20 s", 60.0, forward, vec![flow(source, 0.0, 60.0)])
}

/// The cases of RFC 8867 with one kind of source.
pub fn all(source: SourceKind) -> Vec<Case> {
    vec![
        variable_single(source),
        variable_multiple(source),
        congested_feedback(source),
        competing(source),
        round_trip_fairness(source),
        long_tcp(source, 20),
        long_tcp(source, 300),
        long_tcp(source, 1_000),
        short_tcp(source),
        pause_and_resume(source),
    ]
}
