//! What each track of one receiver gets of its transport's estimate.
//!
//! First the lowest rung of every track, by priority, sound before pictures; then, priority by priority, one rung after
//! the other. What does not fit is lowered at once and paused when there is nothing lower. A step up is taken when the
//! estimate pays for it with some room, which it does after a probe of the rate that [`Allocator::demand`] names. When
//! a step up does not hold, what there was before it comes back, and the next one waits: 10 s, then 20, 40, 60. So on
//! a line that stays as it is there is at most one such step in 10 s.

mod fill;
mod ladder;
mod need;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

use fill::{Limits, fill};
use ladder::Ladder;
pub use need::{Grant, MAX_RUNGS, Rung, TrackNeed};

use super::ids::DownTrackId;
use crate::bwe::Demand;
use crate::time::Time;

/// A step up needs this many times what everything costs then; the probe for it is asked for at this rate, too.
const UP_ROOM: f64 = 1.05;
/// What costs no more than the estimate through this stays: an estimate goes up and down a little all the time.
const TOLERANCE: f64 = 0.95;
/// What costs more than the estimate through this goes at once, other things after so long.
const AT_ONCE: f64 = 0.75;
const DOWN_AFTER: Duration = Duration::from_millis(1_000);
/// A step up begins with a keyframe, which makes a queue of its own; so long only an estimate below this share counts.
const KEYFRAME: Duration = Duration::from_millis(1_500);
const KEYFRAME_FALL: f64 = 0.5;
/// On a line that has just enough room that queue goes away slowly: so long only an estimate below this share counts.
const SETTLING: Duration = Duration::from_millis(2_500);
const SETTLING_FALL: f64 = 0.85;
/// The lowest rung of a picture stays for longer, because below it is only a picture that stands still; that of the
/// picture that comes first goes only after that time, and only beyond the first of these.
const PAUSE_AT_ONCE: f64 = 0.5;
const PAUSE_AFTER: Duration = Duration::from_millis(3_000);
/// Where a limit was set, the only picture may cost this many times that.
const LIMIT_ROOM: f64 = 1.25;
/// Sound may cost this many times the estimate before one is given up; it cannot be had for less.
const SOUND_ROOM: f64 = 1.25;
/// After a step down nothing goes up for so long.
const REST: Duration = Duration::from_millis(3_000);
/// A step down so soon after a step up means that the step did not hold; then rests begin at this and double.
const FAILED_WITHIN: Duration = Duration::from_millis(10_000);
const BACK_OFF: Duration = Duration::from_millis(10_000);
const BACK_OFF_MAX: Duration = Duration::from_millis(60_000);
/// Up to this share more, so that those who failed beside each other do not fail together again.
const SCATTER: f64 = 0.3;
/// A step up that has held for so long ends the doubling.
const PROVEN: Duration = Duration::from_millis(30_000);
/// The queue that a failed step has made needs this long to go away; the estimate says little meanwhile.
const GRACE: Duration = Duration::from_millis(1_000);
/// What was there for this long before a step up is what comes back when the step does not hold. A track that went up
/// goes on after so long, too, or at once where this many times the cost is there.
const AMPLE: f64 = 1.5;
const STOOD: Duration = Duration::from_millis(1_500);
/// An estimate so much above what did not hold means another line: then the first back-off will do.
const ANOTHER_LINE: f64 = 1.5;
/// And so much above it that what it pays for is given at once, not step by step.
const MUCH_WIDER: f64 = 3.0;
/// The only picture of a receiver comes back after so long.
const ONLY_PICTURE: Duration = Duration::from_millis(1_000);
/// Without probes an estimate grows to a little more than is sent and stops; this much of room makes a trial.
const TRIAL_ROOM: f64 = 1.25;
/// A trial has this long to raise the estimate, unless the estimate falls below this share of what it was.
const TRIAL: Duration = Duration::from_millis(5_000);
const TRIAL_FALL: f64 = 0.9;
/// Costs vary a little; a demand that has changed by less than this share is the same.
const DEMAND_STEP: f64 = 0.1;
/// Runs are this far apart, unless tracks or the estimate change.
const EVERY: Duration = Duration::from_millis(200);
const SOONEST: Duration = Duration::from_millis(50);
/// An estimate that has changed by this share is worth a run.
const NOTABLE: f64 = 0.05;

/// What the allocator did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Cost of everything that is granted, in bits per second.
    pub granted_bps: u64,
    /// Tracks that wait for bandwidth with nothing.
    pub paused: u32,
    /// Runs in which something went up, and in which something had to go down.
    pub ups: u64,
    /// See `ups`.
    pub downs: u64,
    /// Steps up that did not hold.
    pub failed: u64,
}

/// Until when nothing goes up.
#[derive(Clone, Copy, Debug, Default)]
struct Rests {
    /// Whatever the estimate is.
    all: Time,
    /// After a step up that did not hold, too, and then unless it is another line.
    hard: Time,
    soft: Time,
    /// The lowest rung of a picture that stands still, which does not wait for as long as one that could be better.
    first: Time,
}

/// The allocator of one transport.
#[derive(Debug, Default)]
pub struct Allocator {
    /// By id.
    ladders: Vec<Ladder>,
    /// Indices of `ladders` in order of precedence.
    order: Vec<u32>,
    grants: Vec<Grant>,
    trials: bool,
    limit_bps: Option<f64>,
    /// When it ran last, and with which estimate.
    ran: Option<(Time, f64)>,
    low_since: Option<Time>,
    /// The last step up that has neither failed nor been proven.
    raised: Option<Time>,
    rests: Rests,
    /// When a picture that had stood still last went on.
    resumed: Option<Time>,
    /// Until then the estimate is not judged, as long as it is not below the second.
    grace: (Time, f64),
    back_off: Option<Duration>,
    failed_bps: f64,
    next_bps: Option<f64>,
    demand: Demand,
    stats: AllocatorStats,
}

impl Allocator {
    /// An allocator that has granted nothing yet.
    pub fn new() -> Allocator {
        Allocator::default()
    }

    /// For a peer that cannot be probed, because it names its estimate itself (REMB): steps up are tried when the
    /// estimate leaves some room, although nothing has paid for them.
    pub fn set_trials(&mut self, trials: bool) {
        self.trials = trials;
    }

    /// Bounds everything together, whatever the line carries: the only picture goes, too, when it keeps beyond that.
    pub fn set_limit(&mut self, bps: Option<u64>) {
        let bps = bps.map(|bps| bps as f64);
        if bps != self.limit_bps {
            // What does not fit any more has not failed.
            (self.limit_bps, self.raised) = (bps, None);
        }
    }

    /// When to call [`Allocator::allocate`] next, if neither the tracks nor the estimate change before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.ran.filter(|_| !self.ladders.is_empty()).map(|(at, _)| at + EVERY)
    }

    /// Whether an estimate is so much another one that [`Allocator::allocate`] is to be called now.
    pub fn is_due(&self, estimate_bps: u64, now: Time) -> bool {
        self.ran.is_none_or(|(at, before_bps)| {
            let passed = now.since(at);
            let notable = (estimate_bps as f64 - before_bps).abs() > NOTABLE * before_bps;
            passed >= EVERY || (notable && passed >= SOONEST)
        })
    }

    /// Gives the estimate to the tracks; gives out the grants that are others than before, those of new tracks always.
    ///
    /// `tracks` are all tracks of the receiver, each id once, in any order. Nothing is allocated unless there are more
    /// of them than ever before. Call it at once when a track comes, goes, or gets another priority or target.
    pub fn allocate(&mut self, tracks: &[TrackNeed], estimate_bps: u64, now: Time) -> &[Grant] {
        let estimate_bps = estimate_bps as f64;
        let changed = self.sync(tracks, now);
        self.ran = Some((now, estimate_bps));
        let used_bps = self.cost_bps(|ladder| ladder.level);
        if self.raised.is_some_and(|raised| now.since(raised) >= PROVEN) {
            (self.raised, self.back_off) = (None, None);
        }
        let settles = self.raised.is_some_and(|raised| now.since(raised) < SETTLING);
        let excused = (now < self.grace.0 && estimate_bps >= self.grace.1)
            || (settles && estimate_bps >= SETTLING_FALL * used_bps);
        match (self.does_not_fit(used_bps, estimate_bps, now), excused) {
            (true, true) => {}
            (true, false) => self.lower(used_bps, estimate_bps, now),
            (false, _) => self.raise(used_bps, estimate_bps, changed, now),
        }
        self.want(now);
        self.tell();
        &self.grants
    }

    /// What the next step up would cost all in all, for [`crate::bwe::Estimator::set_demand`]; nothing while steps up
    /// rest.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// What it did so far.
    pub fn stats(&self) -> AllocatorStats {
        self.stats
    }

    /// Takes over what tracks there are; true when something differs that was decided by somebody, not measured.
    fn sync(&mut self, tracks: &[TrackNeed], now: Time) -> bool {
        let elapsed = self.ran.map_or(Duration::ZERO, |(at, _)| now.since(at));
        self.ladders.iter_mut().for_each(|ladder| ladder.present = false);
        let (known, mut changed) = (self.ladders.len(), false);
        for need in tracks {
            let found = self.ladders[..known].binary_search_by_key(&need.id, |ladder| ladder.id);
            let index = found.unwrap_or_else(|_| {
                self.ladders.push(Ladder::new(need));
                self.ladders.len() - 1
            });
            changed |= self.ladders[index].update(need, elapsed, now);
        }
        let all = self.ladders.len();
        self.ladders.retain(|ladder| ladder.present);
        if changed || known != all || self.ladders.len() != all {
            self.ladders.sort_unstable_by_key(|ladder| ladder.id);
            self.ladders.dedup_by_key(|ladder| ladder.id);
            self.order.clear();
            self.order.extend(0..self.ladders.len() as u32);
            let ladders = &self.ladders;
            self.order.sort_unstable_by_key(|&index| {
                let ladder = &ladders[index as usize];
                (Reverse(ladder.is_sound), Reverse(ladder.priority), ladder.id)
            });
            changed = true;
        }
        changed
    }

    fn cost_bps(&self, level: impl Fn(&Ladder) -> usize) -> f64 {
        self.ladders.iter().map(|ladder| ladder.cost_bps(level(ladder))).sum()
    }

    /// Whether something must go down now.
    fn does_not_fit(&mut self, used_bps: f64, estimate_bps: f64, now: Time) -> bool {
        if used_bps * TOLERANCE <= estimate_bps {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(now);
        used_bps * AT_ONCE > estimate_bps || now.since(since) >= DOWN_AFTER
    }

    /// Takes back a step up that did not hold, or lowers what does not fit.
    fn lower(&mut self, used_bps: f64, estimate_bps: f64, now: Time) {
        let low_for = self.low_since.map_or(Duration::ZERO, |since| now.since(since));
        let failed = self.raised.is_some_and(|raised| now.since(raised) < FAILED_WITHIN);
        if failed && self.cost_bps(Ladder::stood) < used_bps {
            self.ladders.iter_mut().for_each(|ladder| ladder.plan = ladder.stood());
            self.grace = (now + GRACE, 0.0);
        } else {
            let lowest_bps = if low_for >= PAUSE_AFTER { estimate_bps } else { estimate_bps / PAUSE_AT_ONCE };
            let limits = Limits {
                sound_bps: SOUND_ROOM * estimate_bps,
                lowest_bps,
                last_picture_bps: if low_for >= PAUSE_AFTER {
                    self.limit_bps.map_or(f64::INFINITY, |bps| LIMIT_ROOM * bps).min(estimate_bps / PAUSE_AT_ONCE)
                } else {
                    f64::INFINITY
                },
                keep_bps: estimate_bps,
                first_bps: 0.0,
                up_bps: 0.0,
                ample_bps: 0.0,
            };
            fill(&mut self.ladders, &self.order, &limits, false, now);
        }
        let first = self.rest_of_paused(now);
        let (_, downs) = self.settle();
        if downs == 0 {
            return; // Nothing but what stays for longer is left.
        }
        self.stats.downs += 1;
        let raised = self.raised.take().unwrap_or(now);
        let mut rest = REST;
        if failed {
            self.stats.failed += 1;
            rest = self.back_off.map_or(BACK_OFF, |last| (2 * last).min(BACK_OFF_MAX));
            self.back_off = Some(rest);
            rest = rest.mul_f64(1.0 + SCATTER * scatter(now));
            self.failed_bps = used_bps;
        }
        let Rests { all, hard, soft, .. } = self.rests;
        // Once up and down in so long, counted from the step up.
        let hard = if failed { hard.max(raised + BACK_OFF) } else { hard };
        self.rests =
            Rests { all: all.max(now + REST), hard, soft: soft.max(now + rest), first: first.max(self.rests.first) };
    }

    /// Until when pictures that are to be paused stand still at least.
    fn rest_of_paused(&self, now: Time) -> Time {
        let mut rest = Duration::ZERO;
        let pictures = || self.ladders.iter().filter(|ladder| !ladder.is_sound && ladder.top() > 0);
        for paused in pictures().filter(|ladder| ladder.level > 0 && ladder.plan == 0) {
            let came = [paused.raised, self.resumed].into_iter().flatten().max();
            let again = came.is_some_and(|came| now.since(came) < FAILED_WITHIN);
            rest = rest.max(if again { BACK_OFF } else { REST });
        }
        if pictures().all(|ladder| ladder.plan == 0) {
            rest = rest.min(ONLY_PICTURE);
        }
        now + rest
    }

    /// Raises what the estimate pays for.
    fn raise(&mut self, used_bps: f64, estimate_bps: f64, changed: bool, now: Time) {
        let trial_bps = self.next_bps.filter(|_| self.trials && estimate_bps >= TRIAL_ROOM * used_bps);
        let paid_bps = trial_bps.unwrap_or_default().max(estimate_bps / UP_ROOM);
        let rests = self.rests(estimate_bps, now);
        // A bit more, because sums depend on the order.
        let used_bps = used_bps + 1.0;
        let keep_bps = used_bps.max(estimate_bps * TOLERANCE);
        let up_bps = match (rests, changed) {
            (false, false) => paid_bps,
            (true, false) => 0.0,
            // Who comes first may have changed: what is in use is given out anew.
            (false, true) => paid_bps.max(used_bps),
            (true, true) => used_bps,
        };
        // A picture that stands still does not wait for as long as one that could be better.
        let first_bps = match changed {
            true => paid_bps.max(used_bps),
            false if now >= self.rests.first => paid_bps,
            false => 0.0,
        };
        let sound_bps = (SOUND_ROOM * estimate_bps).max(used_bps);
        // What is in use may be given out anew without a step between; who has failed lately goes step by step.
        let in_use_bps = if changed { used_bps } else { 0.0 };
        let much_wider = estimate_bps >= MUCH_WIDER * self.failed_bps;
        let ample_bps = match (self.back_off.is_none(), much_wider) {
            (true, _) => in_use_bps.max(estimate_bps / AMPLE),
            (false, true) => in_use_bps.max(paid_bps),
            (false, false) => in_use_bps,
        };
        let last_picture_bps = keep_bps;
        let limits =
            Limits { sound_bps, lowest_bps: keep_bps, last_picture_bps, keep_bps, first_bps, up_bps, ample_bps };
        // What went up a moment ago is not taken down for another, unless somebody decided so.
        let firm = !changed && self.raised.is_some_and(|raised| now.since(raised) < FAILED_WITHIN);
        fill(&mut self.ladders, &self.order, &limits, firm, now);
        if self.ladders.iter().any(|ladder| !ladder.is_sound && ladder.plan > ladder.level) {
            // Steps that follow each other at once count as one.
            if self.raised.is_none_or(|raised| now.since(raised) >= STOOD) {
                self.ladders.iter_mut().for_each(|ladder| ladder.before = ladder.level);
            }
            self.grace = if trial_bps.is_some_and(|bps| bps > estimate_bps / UP_ROOM) {
                (now + TRIAL, TRIAL_FALL * estimate_bps)
            } else {
                (now + KEYFRAME, KEYFRAME_FALL * self.cost_bps(|ladder| ladder.plan))
            };
            self.ladders.iter_mut().filter(|ladder| ladder.plan > ladder.level).for_each(|one| one.raised = Some(now));
            let waits = |ladder: &&Ladder| ladder.told.is_some_and(|told| told.paused);
            let resumes = self.ladders.iter().filter(waits).any(|ladder| !ladder.is_sound && ladder.plan > 0);
            self.resumed = if resumes { Some(now) } else { self.resumed };
            self.raised = Some(now);
            self.stats.ups += 1;
        }
        self.settle();
    }

    fn rests(&self, estimate_bps: f64, now: Time) -> bool {
        let Rests { all, hard, soft, .. } = self.rests;
        now < all.max(hard) || (now < soft && estimate_bps < ANOTHER_LINE * self.failed_bps)
    }

    /// What the line must carry for a rest to end early; `None` while nothing ends it.
    fn ends_rest_bps(&self, now: Time) -> Option<f64> {
        let factor = if now < self.rests.hard { MUCH_WIDER } else { ANOTHER_LINE };
        Some(factor * self.failed_bps).filter(|bps| now >= self.rests.all && *bps > 0.0)
    }

    /// Goes where the plan says; how many went up and down.
    fn settle(&mut self) -> (u32, u32) {
        let (mut ups, mut downs) = (0, 0);
        for ladder in &mut self.ladders {
            ups += u32::from(ladder.plan > ladder.level);
            downs += u32::from(ladder.plan < ladder.level);
            ladder.level = ladder.plan;
        }
        (ups, downs)
    }

    /// Finds the next step up and what everything costs then.
    fn want(&mut self, now: Time) {
        let used_bps = self.cost_bps(|ladder| ladder.level);
        let may = |ladder: &&Ladder| ladder.level < ladder.top() && ladder.is_settled(ladder.level + 1, now);
        let next = self.ladders.iter().filter(may).min_by_key(|ladder| {
            (ladder.level > 0, Reverse(ladder.is_sound), Reverse(ladder.priority), ladder.level, ladder.id)
        });
        self.next_bps = next.map(|next| used_bps + next.cost_bps(next.level + 1) - next.cost_bps(next.level));
        let wanted = match (self.next_bps, next.is_some_and(|next| next.level == 0)) {
            (Some(bps), true) => Some(bps).filter(|_| now >= self.rests.first),
            (Some(bps), false) if now < self.rests.hard.max(self.rests.soft).max(self.rests.all) => {
                self.ends_rest_bps(now).map(|ends| ends.max(bps))
            }
            (next_bps, _) => next_bps,
        };
        let wanted = wanted.map(|bps| UP_ROOM * bps);
        let same = match (wanted, self.demand.next_step_bps) {
            (Some(new), Some(old)) => (new - old as f64).abs() < DEMAND_STEP * new && old as f64 > new / UP_ROOM,
            (new, old) => new.is_none() && old.is_none(),
        };
        if !same {
            self.demand.next_step_bps = wanted.map(|bps| bps as u64);
        }
        let first = self
            .order
            .iter()
            .map(|&index| &self.ladders[index as usize])
            .find(|ladder| !ladder.is_sound && ladder.top() > 0);
        let sound_bps: f64 =
            self.ladders.iter().filter(|ladder| ladder.is_sound).map(|ladder| ladder.cost_bps(1)).sum();
        self.demand.least_bps = first.map_or(0.0, |first| sound_bps + first.cost_bps(1)) as u64;
        self.demand.lowest_bps = self.cost_bps(|ladder| ladder.level.min(1)) as u64;
        self.stats.granted_bps = used_bps as u64;
        self.stats.paused = self.ladders.iter().filter(|ladder| ladder.level == 0 && ladder.top() > 0).count() as u32;
    }

    /// Collects the grants that have changed.
    fn tell(&mut self) {
        self.grants.clear();
        for ladder in &mut self.ladders {
            let allocation = ladder.allocation();
            if ladder.told != Some(allocation) {
                ladder.told = Some(allocation);
                self.grants.push(Grant { id: ladder.id, allocation });
            }
        }
    }

    /// What a track costs as it is granted, in bits per second.
    pub fn granted_bps(&self, need: &TrackNeed) -> f64 {
        let Some(grant) = self.granted(need.id).filter(|grant| !grant.allocation.paused) else { return 0.0 };
        let most = (grant.allocation.max_spatial, grant.allocation.max_temporal);
        let rung = need.rungs().iter().rfind(|rung| rung.place() <= most).or(need.rungs().first());
        rung.map_or(0.0, |rung| f64::from(rung.bitrate_bps))
    }

    /// What a track was granted; `None` when it was not among the tracks of the last run.
    pub fn granted(&self, id: DownTrackId) -> Option<Grant> {
        let index = self.ladders.binary_search_by_key(&id, |ladder| ladder.id).ok()?;
        self.ladders[index].told.map(|allocation| Grant { id, allocation })
    }
}

/// A number from 0 to 1 that two allocators hardly have in common: the microseconds of the clock, mixed.
fn scatter(now: Time) -> f64 {
    f64::from((now.as_micros() as u32).wrapping_mul(0x9e37_79b9) >> 8) / f64::from(1u32 << 24)
}
