//! Bounds of the test cases of RFC 8867 on virtual time, so that a change that makes estimation worse is seen at once.
//! `make bench-bwe` prints all figures of all cases.

use mediaserver_netem::Loss;
use mediaserver_netem::eval::case::SourceKind::{Elastic, Layers};
use mediaserver_netem::eval::score::{Score, score};
use mediaserver_netem::eval::{Case, rfc8867, run};

/// The aims that hold for every case without TCP.
fn aimed(case: &Case) -> Score {
    let score = score(case, &run(case), false);
    assert!(score.utilisation >= 0.85, "{score:?}");
    assert!(score.queue_p95_ms <= 100.0, "{score:?}");
    assert!(score.loss < 0.02, "{score:?}");
    assert!(score.down_s.is_none_or(|down_s| down_s <= 2.0), "{score:?}");
    assert!(score.up_s.is_none_or(|up_s| up_s <= 10.0), "{score:?}");
    score
}

#[test]
fn one_flow_follows_the_capacity_down_within_two_seconds_and_up_within_ten() {
    aimed(&rfc8867::variable_single(Elastic));
}

#[test]
fn a_congested_feedback_path_is_no_obstacle() {
    aimed(&rfc8867::congested_feedback(Elastic));
}

#[test]
fn three_flows_that_begin_one_after_the_other_share_fairly() {
    let score = aimed(&rfc8867::competing(Elastic));
    assert!(score.fairness >= Some(0.9), "{score:?}");
}

#[test]
fn a_flow_that_pauses_gets_its_share_back() {
    let score = aimed(&rfc8867::pause_and_resume(Elastic));
    assert!(score.fairness >= Some(0.9), "{score:?}");
}

#[test]
fn a_long_tcp_flow_does_not_starve_us_nor_we_it() {
    let case = rfc8867::long_tcp(Elastic, 300);
    let (mean, _) = score(&case, &run(&case), false).tcp_share.unwrap();
    assert!((0.25..1.75).contains(&mean), "{mean}");
}

#[test]
fn ten_percent_random_loss_leaves_most_of_the_line() {
    let case = rfc8867::lossy(Elastic, "loss_10", Loss::Random(0.1));
    let score = score(&case, &run(&case), false);
    assert!(score.utilisation >= 0.7, "{score:?}");
}

#[test]
fn with_ten_percent_random_loss_nearly_all_frames_are_shown() {
    let case = rfc8867::lossy(Layers, "loss_10", Loss::Random(0.1));
    let shown = run(&case).media[0].shown_ms.len();
    assert!(shown as f64 >= 0.8 * 30.0 * case.seconds, "{shown}");
}

#[test]
fn a_limit_is_followed_without_a_long_freeze() {
    let case = rfc8867::limited_for_a_while(Layers);
    let outcome = run(&case);
    let layers = score(&case, &outcome, true).layers.unwrap();
    assert!(layers.frozen_ms.1 <= 1_000, "{layers:?}");
    let steps = &outcome.media[0].layer_steps;
    let down = steps.iter().find(|(at_ms, layer)| *at_ms > 20_000 && *layer < Some(2)).unwrap();
    assert!(down.0 < 23_000, "{steps:?}");
    let up = steps.iter().find(|(at_ms, layer)| *at_ms > 40_000 && *layer == Some(2)).unwrap();
    assert!(up.0 < 50_000, "{steps:?}");
}

#[test]
fn a_run_repeats_itself() {
    let case = rfc8867::variable_multiple(Elastic);
    assert!(run(&case) == run(&case));
}
