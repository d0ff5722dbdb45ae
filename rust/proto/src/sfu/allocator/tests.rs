//! The allocator on virtual time.

use proptest::prelude::*;

use super::*;
use crate::sfu::down_track::Allocation;

const fn ms(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn picture(id: u64, priority: u8, kbps: &[u32]) -> TrackNeed {
    let mut need = TrackNeed::picture(DownTrackId(id), priority);
    for (rank, kbps) in kbps.iter().enumerate() {
        need.push(Rung { max_spatial: rank as u8, max_temporal: u8::MAX, bitrate_bps: kbps * 1000 });
    }
    need
}

const CAMERA: [u32; 3] = [150, 500, 1_500];

/// An allocator, its tracks and a clock.
struct Bench {
    allocator: Allocator,
    tracks: Vec<TrackNeed>,
    now_ms: u64,
    /// When which track went where.
    steps: Vec<(u64, u64, Option<u8>)>,
}

impl Bench {
    fn new(tracks: &[TrackNeed]) -> Bench {
        Bench { allocator: Allocator::new(), tracks: tracks.to_vec(), now_ms: 10_000, steps: Vec::new() }
    }

    /// Runs for a while with one estimate, every 100 ms.
    fn run(&mut self, for_ms: u64, kbps: u64) -> &mut Bench {
        self.run_with(for_ms, |_| kbps)
    }

    fn run_with(&mut self, for_ms: u64, kbps: impl Fn(u64) -> u64) -> &mut Bench {
        let end = self.now_ms + for_ms;
        while self.now_ms < end {
            for grant in self.allocator.allocate(&self.tracks, kbps(self.now_ms) * 1000, ms(self.now_ms)) {
                let Allocation { max_spatial, paused, .. } = grant.allocation;
                self.steps.push((self.now_ms, grant.id.0, (!paused).then_some(max_spatial)));
            }
            self.now_ms += 100;
        }
        self
    }

    /// The highest layer of each track; `None` when it is paused.
    fn layers(&self) -> Vec<Option<u8>> {
        let granted = self.tracks.iter().map(|track| self.allocator.granted(track.id).unwrap().allocation);
        granted.map(|allocation| (!allocation.paused).then_some(allocation.max_spatial)).collect()
    }

    fn demand_kbps(&self) -> Option<u64> {
        self.allocator.demand().next_step_bps.map(|bps| bps / 1000)
    }
}

#[test]
fn every_track_gets_its_lowest_layer_before_any_gets_more() {
    let mut bench = Bench::new(&[picture(1, 200, &CAMERA), picture(2, 100, &CAMERA), picture(3, 100, &CAMERA)]);
    assert_eq!(bench.run(2_000, 500).layers(), [Some(0), Some(0), Some(0)]);
    assert_eq!(bench.demand_kbps(), Some(840));
    assert_eq!(bench.run(2_000, 850).layers(), [Some(1), Some(0), Some(0)]);
}

#[test]
fn higher_priority_goes_up_first_and_equals_go_up_in_turn() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA), picture(2, 100, &CAMERA), picture(3, 200, &CAMERA)]);
    assert_eq!(bench.run(3_000, 2_000).layers(), [Some(0), Some(0), Some(2)]);
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA), picture(2, 100, &CAMERA)]);
    assert_eq!(bench.run(3_000, 1_200).layers(), [Some(1), Some(1)]);
    assert_eq!(bench.run(3_000, 2_200).layers(), [Some(2), Some(1)]);
    assert_eq!(bench.run(3_000, 3_200).layers(), [Some(2), Some(2)]);
}

#[test]
fn what_does_not_fit_is_paused_and_comes_back() {
    let mut bench = Bench::new(&[picture(1, 200, &[800]), picture(2, 100, &[800])]);
    assert_eq!(bench.run(3_000, 1_000).layers(), [Some(0), None]);
    assert_eq!(bench.allocator.stats().paused, 1);
    assert_eq!(bench.demand_kbps(), Some(1_680));
    assert_eq!(bench.run(500, 1_700).layers(), [Some(0), Some(0)]);
    assert_eq!(bench.run(40_000, 1_700).layers(), [Some(0), Some(0)]);
    assert_eq!(bench.run(1_500, 1_000).layers(), [Some(0), Some(0)], "below it is only a picture that stands still");
    assert_eq!(bench.run(3_000, 1_000).layers(), [Some(0), None]);
}

#[test]
fn what_is_far_too_much_goes_at_once_and_what_is_a_little_too_much_soon() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 3_000);
    assert_eq!(bench.run(100, 600).layers(), [Some(1)]);
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 3_000);
    assert_eq!(bench.run(900, 1_300).layers(), [Some(2)], "it goes up and down a little all the time");
    assert_eq!(bench.run(300, 1_300).layers(), [Some(1)]);
}

#[test]
fn the_lines_limit_is_followed_within_seconds_in_both_directions() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 3_000).run(20_000, 600);
    assert_eq!(bench.layers(), [Some(1)]);
    assert_eq!(bench.demand_kbps(), Some(1_575));
    assert_eq!(bench.run(200, 3_000).layers(), [Some(2)]);
}

#[test]
fn a_step_that_does_not_hold_is_taken_back_and_waits_longer_each_time() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 600);
    // Each probe says that 1.6 Mbit/s go through; half a second later they do not.
    let mut ups = Vec::new();
    for _ in 0..2_000 {
        let top = bench.layers() == [Some(2)];
        // While steps rest, what would end the rest is asked for, which is more.
        let rested = bench.demand_kbps().is_some_and(|kbps| kbps < 1_700);
        if top {
            bench.run(500, 1_600).run(500, 400);
        } else if rested {
            ups.push(bench.now_ms);
            bench.run(100, 1_600);
        } else {
            assert_eq!(bench.layers(), [Some(1)], "what held before comes back, whatever the estimate is meanwhile");
            bench.run(100, 600);
        }
    }
    let waits: Vec<_> = ups.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e3).collect();
    for (wait_s, least_s) in waits.iter().zip([10.0, 20.0, 40.0, 60.0, 60.0]) {
        assert!((least_s..least_s * 1.31 + 1.0).contains(wait_s), "{waits:?}");
    }
    assert!(bench.allocator.stats().failed >= 4);
}

#[test]
fn a_line_that_became_much_wider_ends_a_long_rest() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 600);
    for _ in 0..4 {
        bench.run(200, 1_600).run(70_000, 600);
    }
    assert_eq!(bench.run(200, 1_600).layers(), [Some(2)]);
    assert_eq!(bench.run(300, 600).run(12_000, 600).run(200, 1_600).layers(), [Some(1)]);
    assert_eq!(bench.run(200, 2_600).layers(), [Some(2)]);
}

#[test]
fn while_a_step_rests_it_is_asked_whether_the_line_has_become_wide_and_then_all_of_it_is_given() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(40_000, 200).run(3_000, 600);
    assert_eq!(bench.run(3_000, 370).layers(), [Some(0)], "the step did not hold");
    assert_eq!(bench.run(2_000, 370).demand_kbps(), Some(1_575), "three times what did not hold");
    bench.run(8_000, 1_600);
    assert_eq!(bench.layers(), [Some(2)]);
    let ups: Vec<_> = bench.steps.iter().filter(|(.., layer)| *layer > Some(0)).map(|(at, ..)| *at).collect();
    assert!(ups.len() == 2 && ups[1] - ups[0] >= 10_000, "{:?}", bench.steps);
}

#[test]
fn a_picture_that_stands_still_does_not_wait_for_what_another_could_not_hold() {
    let mut bench = Bench::new(&[picture(1, 200, &CAMERA), picture(2, 100, &CAMERA)]);
    bench.run(40_000, 400).run(3_000, 800);
    assert_eq!(bench.layers(), [Some(1), Some(0)]);
    assert_eq!(bench.run(5_000, 200).layers(), [Some(0), None]);
    assert_eq!(bench.run(4_000, 400).layers(), [Some(0), Some(0)]);
}

#[test]
fn what_cannot_be_sent_for_less_is_told() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA), picture(2, 200, &CAMERA)]);
    bench.tracks.push(TrackNeed::sound(DownTrackId(3), 0, 40_000));
    bench.run(3_000, 2_500);
    let Demand { least_bps, lowest_bps, .. } = bench.allocator.demand();
    assert_eq!((least_bps, lowest_bps), (190_000, 340_000));
}

#[test]
fn another_speaker_takes_over_at_once_even_while_steps_rest() {
    let mut bench = Bench::new(&[picture(1, 200, &CAMERA), picture(2, 100, &CAMERA)]);
    bench.run(40_000, 3_000).run(1_500, 1_700);
    assert_eq!(bench.layers(), [Some(2), Some(0)]);
    bench.tracks = vec![picture(1, 100, &CAMERA), picture(2, 200, &CAMERA)];
    assert_eq!(bench.run(100, 1_700).layers(), [Some(0), Some(2)]);
    assert_eq!(bench.run(20_000, 1_700).layers(), [Some(0), Some(2)]);
}

#[test]
fn who_joins_gets_the_lowest_layer_at_once_even_while_steps_rest() {
    let mut bench = Bench::new(&[picture(1, 200, &CAMERA)]);
    bench.run(40_000, 3_000).run(500, 800);
    bench.tracks.push(picture(2, 100, &CAMERA));
    assert_eq!(bench.run(100, 800).layers(), [Some(1), Some(0)]);
}

#[test]
fn sound_goes_on_when_no_picture_does_and_the_first_one_always() {
    let sound = |id, priority| TrackNeed::sound(DownTrackId(id), priority, 40_000);
    let mut bench = Bench::new(&[picture(1, 255, &CAMERA), sound(2, 0), sound(3, 10), sound(4, 20)]);
    bench.run(40_000, 1_000);
    bench.run(5_000, 120);
    assert_eq!(bench.layers(), [None, Some(u8::MAX), Some(u8::MAX), Some(u8::MAX)]);
    bench.run(3_000, 70);
    assert_eq!(bench.layers(), [None, None, Some(u8::MAX), Some(u8::MAX)]);
    bench.run(3_000, 1);
    assert_eq!(bench.layers(), [None, None, None, Some(u8::MAX)]);
    bench.run(20_000, 1_000);
    assert_eq!(bench.layers(), [Some(1), Some(u8::MAX), Some(u8::MAX), Some(u8::MAX)]);
}

#[test]
fn a_layer_that_has_just_begun_is_not_stepped_up_to() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA[..2])]);
    bench.run(3_000, 3_000);
    bench.tracks[0] = picture(1, 100, &CAMERA);
    assert_eq!(bench.run(900, 3_000).layers(), [Some(1)]);
    assert_eq!(bench.run(300, 3_000).layers(), [Some(2)]);
    // And when it goes away, what is below it is given.
    bench.tracks[0] = picture(1, 100, &CAMERA[..2]);
    assert_eq!(bench.run(100, 3_000).layers(), [Some(1)]);
    assert_eq!(bench.allocator.stats().downs, 0);
}

#[test]
fn a_track_with_nothing_to_send_costs_nothing_and_may_begin_at_the_bottom() {
    let mut bench = Bench::new(&[picture(1, 100, &[]), picture(2, 100, &CAMERA)]);
    assert_eq!(bench.run(3_000, 1_600).layers(), [Some(0), Some(2)]);
    assert_eq!(bench.demand_kbps(), None);
}

#[test]
fn costs_that_vary_move_nothing() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA), picture(2, 100, &CAMERA)]);
    bench.run(40_000, 2_150);
    assert_eq!(bench.layers(), [Some(2), Some(1)]);
    let before = bench.steps.len();
    for step in 0..600u32 {
        // A fifth more in one second of four.
        let factor = |id: u32| if (step + 20 * id) % 40 < 10 { 12 } else { 10 };
        let kbps = |id: u32| CAMERA.map(|kbps| kbps * factor(id) / 10);
        bench.tracks = vec![picture(1, 100, &kbps(1)), picture(2, 100, &kbps(2))];
        bench.run(100, 2_250);
    }
    assert_eq!(bench.steps.len(), before, "{:?}", &bench.steps[before..]);
}

#[test]
fn a_demand_that_hardly_differs_stays_the_same() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.run(3_000, 600);
    let first = bench.demand_kbps();
    bench.tracks[0] = picture(1, 100, &[150, 510, 1_510]);
    assert_eq!(bench.run(2_000, 600).demand_kbps(), first);
    bench.tracks[0] = picture(1, 100, &[150, 500, 1_900]);
    assert!(bench.run(5_000, 600).demand_kbps() > first);
}

#[test]
fn without_probes_a_step_is_tried_when_the_estimate_leaves_room() {
    let mut bench = Bench::new(&[picture(1, 100, &CAMERA)]);
    bench.allocator.set_trials(true);
    // The peer's estimate is half more than what it gets, and needs two seconds for that.
    bench.run(3_000, 170);
    assert_eq!(bench.layers(), [Some(0)], "it leaves no room");
    bench.run(100, 235);
    assert_eq!(bench.layers(), [Some(1)]);
    assert_eq!(bench.run(2_000, 235).run(3_000, 560).layers(), [Some(1)]);
    assert_eq!(bench.run(100, 750).layers(), [Some(2)]);
    assert_eq!(bench.run(500, 600).layers(), [Some(1)], "the line did not hold it");
    assert_eq!(bench.run(9_000, 750).layers(), [Some(1)]);
}

#[test]
fn it_is_due_after_a_while_or_when_the_estimate_has_moved() {
    let mut allocator = Allocator::new();
    assert!(allocator.is_due(500_000, ms(0)));
    assert_eq!(allocator.poll_timeout(), None);
    allocator.allocate(&[picture(1, 0, &CAMERA)], 500_000, ms(0));
    assert!(!allocator.is_due(510_000, ms(150)));
    assert!(!allocator.is_due(100_000, ms(20)));
    assert!(allocator.is_due(400_000, ms(60)));
    assert_eq!(allocator.poll_timeout(), Some(ms(200)));
    assert!(allocator.is_due(500_000, ms(200)));
}

#[test]
fn a_hundred_tracks_cost_a_bounded_time_and_order_does_not_matter() {
    let tracks: Vec<_> = (0..100).map(|id| picture(id, (id % 3) as u8, &CAMERA)).collect();
    let mut bench = Bench::new(&tracks);
    bench.run(3_000, 30_000);
    let layers = bench.layers();
    let reversed: Vec<_> = tracks.iter().rev().copied().collect();
    let mut other = Bench::new(&reversed);
    other.run(3_000, 30_000);
    assert!(other.layers().iter().rev().eq(layers.iter()));
    assert!(layers.iter().all(Option::is_some));
}

/// The points in time at which a track went up and, afterwards, down again.
fn oscillations(steps: &[(u64, u64, Option<u8>)], id: u64) -> Vec<(u64, u64)> {
    let (mut level, mut up, mut found) = (-2, None, Vec::new());
    for (at, _, layer) in steps.iter().filter(|(_, track, _)| *track == id) {
        let next = layer.map_or(-1, i32::from);
        if next > level {
            up = up.or(Some(*at));
        } else if let Some(up) = up.take() {
            found.push((up, *at));
        }
        level = next;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn on_a_steady_line_nothing_goes_up_and_down_twice_in_ten_seconds(
        line_kbps in 100u64..6_000, noise in proptest::collection::vec(60u64..125, 40..200), count in 1u64..6,
    ) {
        // The worst of estimators: it wanders about the line without reason, and every probe goes through.
        let tracks: Vec<_> = (0..count).map(|id| picture(id, 100 + (id % 2) as u8, &CAMERA)).collect();
        let mut bench = Bench::new(&tracks);
        for _ in 0..2 {
            for percent in &noise {
                bench.run(300, line_kbps * percent / 100);
            }
        }
        for id in 0..count {
            for pair in oscillations(&bench.steps, id).windows(2) {
                prop_assert!(pair[1].1 - pair[0].0 > 10_000, "{id}: {pair:?} in {:?}", bench.steps);
            }
        }
    }

    #[test]
    fn what_is_granted_fits_soon_and_the_least_important_goes_first(
        steps in proptest::collection::vec((50u64..8_000, 1u64..60), 1..30), priorities in proptest::collection::vec(0u8..4, 1..12),
    ) {
        let tracks: Vec<_> = priorities.iter().enumerate()
            .map(|(id, priority)| picture(id as u64, *priority, &CAMERA)).collect();
        let mut bench = Bench::new(&tracks);
        for (kbps, tenths) in steps {
            bench.run(tenths * 100, kbps);
        }
        bench.run(4_000, 700);
        let granted = bench.allocator.stats().granted_bps;
        prop_assert!(granted as f64 * TOLERANCE <= 700_000.0, "{granted}");
        let layers = bench.layers();
        for (one, high) in layers.iter().zip(&priorities) {
            for (other, low) in layers.iter().zip(&priorities) {
                prop_assert!(high <= low || one.is_some() || other.is_none(), "{layers:?} {priorities:?}");
            }
        }
        // And all of it is used again when there is room for long enough.
        bench.run(90_000, 30_000);
        prop_assert!(bench.layers().iter().all(|layer| *layer == Some(2)));
        prop_assert_eq!(bench.allocator.demand().next_step_bps, None);
    }
}
