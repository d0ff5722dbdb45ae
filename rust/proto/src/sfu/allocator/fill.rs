//! One distribution of a budget: who gets which level.

use super::ladder::Ladder;
use super::need::MAX_RUNGS;
use crate::time::Time;

/// How far the sum of all costs may go, in bits per second, by what is added to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Sound that is had.
    pub(super) sound_bps: f64,
    /// The lowest rung of a picture that has it, and every other rung that is had.
    pub(super) lowest_bps: f64,
    /// The same for the picture that comes first: without it there is no picture at all.
    pub(super) last_picture_bps: f64,
    pub(super) keep_bps: f64,
    /// The lowest rung of what has nothing, and every other rung that is not had.
    pub(super) first_bps: f64,
    pub(super) up_bps: f64,
    /// What of the latter would be more than one rung at a time.
    pub(super) ample_bps: f64,
}

impl Limits {
    /// How far the sum may go with a step of `ladder` to `level`.
    fn of(&self, ladder: &Ladder, level: usize, now: Time) -> f64 {
        match (ladder.is_sound, level, level <= ladder.level) {
            (true, _, true) => self.sound_bps,
            (_, 1, true) => self.lowest_bps,
            (_, 1, false) => self.first_bps,
            (_, _, true) => self.keep_bps,
            (_, _, false) if ladder.is_next(level, now) => self.up_bps,
            (_, _, false) => self.ample_bps.min(self.up_bps),
        }
    }
}

/// Plans the level of each track. `order` has the indices of `ladders` by precedence; with `firm`, what a track has is
/// not taken from it for one that comes before. Takes time in proportion to tracks times rungs.
pub(super) fn fill(ladders: &mut [Ladder], order: &[u32], limits: &Limits, firm: bool, now: Time) {
    let mut sum_bps = 0.0;
    for ladder in &mut *ladders {
        ladder.plan = if firm { ladder.level } else { 0 };
        sum_bps += ladder.cost_bps(ladder.plan);
    }
    let mut pictures = 0;
    for (place, &index) in order.iter().enumerate() {
        let ladder = &mut ladders[index as usize];
        pictures += u32::from(!ladder.is_sound && ladder.top() > 0);
        if ladder.plan > 0 || step(ladder, limits, &mut sum_bps, now) {
            continue;
        }
        let after_bps = sum_bps + ladder.cost_bps(1);
        if !ladder.is_sound && pictures == 1 && ladder.level > 0 && after_bps <= limits.last_picture_bps {
            (ladder.plan, sum_bps) = (1, after_bps);
        }
        // The first sound is what is left of a call when nothing fits.
        if ladder.is_sound && place == 0 && ladder.top() > 0 {
            ladder.plan = 1;
            sum_bps += ladder.cost_bps(1);
        }
    }
    let mut rest = order;
    while let Some((&first, _)) = rest.split_first() {
        let class = |index: u32| (ladders[index as usize].is_sound, ladders[index as usize].priority);
        let count = rest.iter().take_while(|&&index| class(index) == class(first)).count();
        let (peers, others) = rest.split_at(count);
        raise(ladders, peers, limits, &mut sum_bps, now);
        rest = others;
    }
}

/// Raises tracks of one priority, rung by rung; of those, the ones that have a rung keep it before others get it.
fn raise(ladders: &mut [Ladder], peers: &[u32], limits: &Limits, sum_bps: &mut f64, now: Time) {
    for level in 2..=MAX_RUNGS {
        for had in [true, false] {
            for &index in peers {
                let ladder = &mut ladders[index as usize];
                if ladder.plan + 1 == level && (level <= ladder.level) == had {
                    step(ladder, limits, sum_bps, now);
                }
            }
        }
    }
}

/// One step of a track, if it fits.
fn step(ladder: &mut Ladder, limits: &Limits, sum_bps: &mut f64, now: Time) -> bool {
    let level = ladder.plan + 1;
    if level > ladder.top() || (level > ladder.level && !ladder.is_settled(level, now)) {
        return false;
    }
    let after_bps = *sum_bps + ladder.cost_bps(level) - ladder.cost_bps(level - 1);
    if after_bps > limits.of(ladder, level, now) {
        if level > ladder.level.max(1) && after_bps <= limits.up_bps {
            *sum_bps = after_bps; // It comes soon; who comes later does not get it meanwhile.
        }
        return false;
    }
    (ladder.plan, *sum_bps) = (level, after_bps);
    true
}
