//! The memory of one track: what its rungs cost, smoothed, and where it stands.

use std::time::Duration;

use super::STOOD;
use super::need::{MAX_RUNGS, Rung, TrackNeed};
use crate::sfu::down_track::Allocation;
use crate::sfu::ids::DownTrackId;
use crate::time::Time;

/// What a rung costs follows what is measured: quickly upwards, slowly downwards, because a picture that is still now
/// moves again soon.
const RISE: Duration = Duration::from_millis(1_000);
const FALL: Duration = Duration::from_millis(3_000);
/// What is above what the publisher was asked for does not come again soon.
const FALL_ASKED: Duration = Duration::from_millis(500);
/// A layer that has just begun has not been measured for long enough to be stepped up to.
const SETTLE: Duration = Duration::from_millis(1_000);

/// A rung with its smoothed cost.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    place: (u8, u8),
    cost_bps: f64,
    since: Time,
}

/// One track over time. Its levels are 0 for nothing and `k` for the `k`-th rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder {
    pub(super) id: DownTrackId,
    pub(super) priority: u8,
    pub(super) is_sound: bool,
    steps: [Step; MAX_RUNGS],
    len: usize,
    /// Where it stands, where it stood before the last step up of anyone, and where it is to stand.
    pub(super) level: usize,
    pub(super) before: usize,
    pub(super) plan: usize,
    /// When it last went up.
    pub(super) raised: Option<Time>,
    /// What was granted last.
    pub(super) told: Option<Allocation>,
    /// Whether it is among the tracks of this run.
    pub(super) present: bool,
}

impl Ladder {
    pub(super) fn new(need: &TrackNeed) -> Ladder {
        Ladder {
            id: need.id,
            priority: need.priority,
            is_sound: need.is_sound,
            steps: [Step::default(); MAX_RUNGS],
            len: 0,
            level: 0,
            before: 0,
            plan: 0,
            raised: None,
            told: None,
            present: true,
        }
    }

    /// Takes what the track needs now; true when its rungs or its priority are others than before.
    pub(super) fn update(&mut self, need: &TrackNeed, elapsed: Duration, now: Time) -> bool {
        let (old, old_len) = (self.steps, self.len);
        let (level, before) = (self.place(self.level), self.place(self.before));
        let mut at = 0;
        for (index, rung) in need.rungs().iter().enumerate() {
            while at < old_len && old[at].place < rung.place() {
                at += 1;
            }
            let known = old[..old_len].get(at).filter(|step| step.place == rung.place());
            self.steps[index] =
                known.map_or_else(|| Step::new(rung, now), |step| step.follow(rung, need.asked_bps, elapsed));
            if index > 0 {
                // What is smoothed may cross; a step up never saves anything.
                self.steps[index].cost_bps = self.steps[index].cost_bps.max(self.steps[index - 1].cost_bps);
            }
        }
        self.len = need.rungs().len();
        self.level = self.level_of(level);
        self.before = self.level_of(before);
        let places = old[..old_len].iter().map(|step| step.place);
        let changed = places.ne(self.steps[..self.len].iter().map(|step| step.place)) || self.priority != need.priority;
        (self.priority, self.is_sound, self.present) = (need.priority, need.is_sound, true);
        changed
    }

    /// Where it goes when the last step up of anyone did not hold; that alone pauses nothing.
    pub(super) fn stood(&self) -> usize {
        self.before.max(1).min(self.level)
    }

    /// Bits per second at a level.
    pub(super) fn cost_bps(&self, level: usize) -> f64 {
        level.checked_sub(1).map_or(0.0, |index| self.steps[index].cost_bps)
    }

    /// The highest level.
    pub(super) fn top(&self) -> usize {
        self.len
    }

    /// Whether it may go to a level above its own without more ado: the next one, some time after the last.
    pub(super) fn is_next(&self, level: usize, now: Time) -> bool {
        level == self.level + 1 && self.raised.is_none_or(|raised| now.since(raised) >= STOOD)
    }

    /// Whether a level has been measured for long enough to go there; the lowest always has.
    pub(super) fn is_settled(&self, level: usize, now: Time) -> bool {
        level <= 1 || now.since(self.steps[level - 1].since) >= SETTLE
    }

    /// What its level means to the track. Without rungs it may begin at the bottom as soon as there is one.
    pub(super) fn allocation(&self) -> Allocation {
        match self.place(self.level) {
            Some((max_spatial, max_temporal)) => Allocation { max_spatial, max_temporal, paused: false },
            None => Allocation { max_spatial: 0, paused: self.len > 0, ..Allocation::default() },
        }
    }

    fn place(&self, level: usize) -> Option<(u8, u8)> {
        level.checked_sub(1).map(|index| self.steps[index].place)
    }

    /// The level of what was granted before, or of the best below it; never nothing because a layer went away.
    fn level_of(&self, place: Option<(u8, u8)>) -> usize {
        let Some(place) = place else { return 0 };
        let at_most = self.steps[..self.len].iter().take_while(|step| step.place <= place).count();
        at_most.max(1).min(self.len)
    }
}

impl Step {
    fn new(rung: &Rung, now: Time) -> Step {
        Step { place: rung.place(), cost_bps: f64::from(rung.bitrate_bps), since: now }
    }

    fn follow(&self, rung: &Rung, asked_bps: u32, elapsed: Duration) -> Step {
        let measured = f64::from(rung.bitrate_bps);
        let fall = if self.cost_bps > f64::from(asked_bps) { FALL_ASKED } else { FALL };
        let time = if measured > self.cost_bps { RISE } else { fall };
        let weight = (elapsed.as_secs_f64() / time.as_secs_f64()).min(1.0);
        Step { cost_bps: self.cost_bps + weight * (measured - self.cost_bps), ..*self }
    }
}
