//! From records to figures.

use mediaserver_proto::time::Time;

use super::allocation::LAYERS_BPS;
use super::case::{Case, Direction};
use super::metrics::FlowMetrics;
use super::sender::seconds;
use super::wire::Outcome;
use crate::schedule::Schedule;

/// What belongs to convergence and not to what comes after it, in seconds: after the start and a rise, after a fall.
pub const AFTER_RISE_S: f64 = 10.0;
pub const AFTER_FALL_S: f64 = 2.0;
/// The queue is under control again when nothing waits longer than this.
pub const QUEUE_MS: f64 = 100.0;
/// And a rise is used when this share of the line is.
pub const USED: f64 = 0.85;
/// A gap between two frames beyond this is a freeze: three frames, or one and 150 ms.
const FREEZE_MS: u64 = 183;
/// Length of the windows in which a share is never to be below a quarter, in seconds.
const WINDOW_S: f64 = 10.0;

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Share of the line used after convergence (TCP included).
    pub utilisation: f64,
    /// 95th percentile of the wait of media packets over the whole run, in milliseconds.
    pub queue_p95_ms: f64,
    /// Share of media packets lost over the whole run.
    pub loss: f64,
    /// Longest time until the queue was short again after the capacity fell, in seconds.
    pub down_s: Option<f64>,
    /// Longest time until the line was used again after the capacity rose, in seconds.
    pub up_s: Option<f64>,
    /// Jain's index of the media flows.
    pub fairness: Option<f64>,
    /// Media's share of what would be fair beside TCP: mean, and least in any ten seconds.
    pub tcp_share: Option<(f64, f64)>,
    /// Layers.
    pub layers: Option<LayerScore>,
}

/// The figures of simulcast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerScore {
    /// Share of time on the highest layer that fits the flow's share of the line.
    pub on_highest: f64,
    /// Changes of layer per minute.
    pub switches_per_minute: f64,
    /// Most often that a flow went up and down again in any ten seconds.
    pub up_downs: usize,
    /// Time without a new frame, in milliseconds: all of it, and the longest.
    pub frozen_ms: (u64, u64),
}

/// Judges a run.
pub fn score(case: &Case, outcome: &Outcome, layers: bool) -> Score {
    let directions: Vec<_> =
        [Direction::Forward, Direction::Backward].into_iter().map(|d| View::new(case, outcome, d)).collect();
    let used: Vec<_> = directions.iter().filter(|view| !view.media.is_empty()).collect();
    let worst = |values: Vec<Option<f64>>| values.into_iter().flatten().reduce(f64::max);
    let mut queue: Vec<u32> = outcome.media.iter().flat_map(|flow| flow.queue_us.iter().copied()).collect();
    queue.sort_unstable();
    let (sent, received) = outcome.media.iter().fold((0, 0), |(s, r), flow| (s + flow.sent, r + flow.received));
    Score {
        utilisation: used.iter().map(|view| view.utilisation()).reduce(f64::min).unwrap_or_default(),
        queue_p95_ms: queue.get(queue.len() * 95 / 100).map_or(0.0, |&us| f64::from(us) / 1e3),
        loss: sent.saturating_sub(received) as f64 / sent.max(1) as f64,
        down_s: worst(used.iter().map(|view| view.down_s()).collect()),
        up_s: worst(used.iter().map(|view| view.up_s()).collect()),
        fairness: directions[0].fairness(),
        tcp_share: directions[0].tcp_share(),
        layers: layers.then(|| layer_score(case, outcome)),
    }
}

/// One direction of a run.
struct View<'a> {
    case: &'a Case,
    rate: &'a Schedule,
    media: Vec<&'a FlowMetrics>,
    tcp: Vec<&'a FlowMetrics>,
    from_s: f64,
}

impl<'a> View<'a> {
    fn new(case: &'a Case, outcome: &'a Outcome, direction: Direction) -> View<'a> {
        let index = usize::from(direction == Direction::Backward);
        let own = || case.media.iter().zip(&outcome.media).filter(|(spec, _)| spec.direction == direction);
        View {
            case,
            rate: &case.lines[index].rate,
            media: own().map(|(_, flow)| flow).collect(),
            tcp: if index == 0 { outcome.tcp.iter().collect() } else { Vec::new() },
            from_s: own().map(|(spec, _)| spec.active_s.0).fold(f64::INFINITY, f64::min),
        }
    }

    fn bps(&self, from_s: f64, to_s: f64) -> f64 {
        self.media.iter().chain(&self.tcp).map(|flow| flow.bps(from_s, to_s)).sum()
    }

    fn utilisation(&self) -> f64 {
        let (mut bits, mut possible) = (0.0, 0.0);
        for (from_s, to_s) in self.converged() {
            bits += self.bps(from_s, to_s) * (to_s - from_s);
            possible += self.rate.bits(seconds(from_s), seconds(to_s));
        }
        bits / possible.max(1.0)
    }

    /// Stretches after convergence, in seconds.
    fn converged(&self) -> Vec<(f64, f64)> {
        let mut stretches = Vec::new();
        let mut from_s = self.from_s + AFTER_RISE_S;
        for (at, before, after) in self.rate.changes() {
            stretches.push((from_s, as_s(at)));
            from_s = as_s(at) + if after > before { AFTER_RISE_S } else { AFTER_FALL_S };
        }
        stretches.push((from_s, self.case.seconds));
        stretches.retain(|(from_s, to_s)| from_s < to_s);
        stretches
    }

    fn down_s(&self) -> Option<f64> {
        let falls = self.rate.changes().filter(|(_, before, after)| after < before);
        let recovered = falls.map(|(at, _, _)| {
            first(as_s(at), self.case.seconds, |at_s| {
                self.media.iter().all(|flow| flow.worst_queue_ms(at_s, at_s + 1.0) <= QUEUE_MS)
            })
        });
        recovered.reduce(f64::max)
    }

    fn up_s(&self) -> Option<f64> {
        let rises = self.rate.changes().filter(|(_, before, after)| after > before);
        let recovered = rises.map(|(at, _, after)| {
            // A second at the new rate, counted to its end.
            first(as_s(at), self.case.seconds, |at_s| self.bps(at_s, at_s + 1.0) >= USED * after) + 1.0
        });
        recovered.reduce(f64::max)
    }

    fn fairness(&self) -> Option<f64> {
        let rates: Vec<_> = self.media.iter().map(|flow| flow.bps(self.case.fair_from_s, self.case.seconds)).collect();
        let (sum, squares) = rates.iter().fold((0.0, 0.0), |(sum, squares), bps| (sum + bps, squares + bps * bps));
        (rates.len() > 1 && squares > 0.0).then(|| sum * sum / (rates.len() as f64 * squares))
    }

    fn tcp_share(&self) -> Option<(f64, f64)> {
        if self.tcp.is_empty() {
            return None;
        }
        let share = |flow: &FlowMetrics, from_s, to_s| flow.bps(from_s, to_s) / self.fair_bps(from_s, to_s);
        let begin_s = self.from_s + AFTER_RISE_S;
        let mean = self.media.iter().map(|flow| share(flow, begin_s, self.case.seconds)).sum::<f64>();
        let mut least = f64::INFINITY;
        let mut at_s = begin_s;
        while at_s + WINDOW_S <= self.case.seconds {
            least = self.media.iter().map(|flow| share(flow, at_s, at_s + WINDOW_S)).fold(least, f64::min);
            at_s += 1.0;
        }
        Some((mean / self.media.len() as f64, least))
    }
}

impl View<'_> {
    /// The line divided by all flows that had something to send, on average over the time.
    fn fair_bps(&self, from_s: f64, to_s: f64) -> f64 {
        let steps = (from_s * 10.0) as usize..(to_s * 10.0) as usize;
        let count = steps.len().max(1) as f64;
        let share = steps.map(|step| {
            let busy = self.tcp.iter().filter(|flow| flow.busy.get(step).copied().unwrap_or_default()).count();
            self.rate.at(seconds(step as f64 / 10.0)) / (self.media.len() + busy) as f64
        });
        share.sum::<f64>() / count
    }
}

fn as_s(at: Time) -> f64 {
    at.as_millis() as f64 / 1e3
}

/// Seconds from `from_s` until `holds`, in steps of 100 ms.
fn first(from_s: f64, end_s: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let steps = ((end_s - from_s) * 10.0) as u64;
    (0..steps).map(|step| step as f64 / 10.0).find(|&after_s| holds(from_s + after_s)).unwrap_or(end_s - from_s)
}

fn layer_score(case: &Case, outcome: &Outcome) -> LayerScore {
    let mut score = LayerScore::default();
    let flows = case.media.iter().zip(&outcome.media);
    let (mut right, mut all, mut minutes, mut switches) = (0, 0, 0.0, 0.0);
    for (spec, flow) in flows {
        let rate = &case.lines[usize::from(spec.direction == Direction::Backward)].rate;
        let (from_s, to_s) = (spec.active_s.0 + AFTER_RISE_S, spec.active_s.1.min(case.seconds));
        for step in (from_s * 10.0) as u64..(to_s * 10.0) as u64 {
            let at_s = step as f64 / 10.0;
            if paused(spec.pause_s, at_s) {
                continue;
            }
            let sharing = case.media.iter().filter(|other| {
                other.direction == spec.direction && within(other.active_s, at_s) && !paused(other.pause_s, at_s)
            });
            let fair = rate.at(seconds(at_s)) / (sharing.count() + usize::from(!case.tcp.is_empty())) as f64;
            let fits = LAYERS_BPS.iter().rposition(|&bps| bps as f64 <= fair).unwrap_or(0);
            let steps = flow.layer_steps.iter().rev();
            let layer = steps.clone().find(|(at_ms, _)| *at_ms <= step * 100).and_then(|(_, layer)| *layer);
            all += 1;
            right += usize::from(layer >= Some(fits));
        }
        score.up_downs = score.up_downs.max(up_downs(&flow.layer_steps));
        switches += flow.layer_steps.iter().filter(|(at_ms, _)| *at_ms as f64 / 1e3 >= from_s).count() as f64;
        minutes += (to_s - from_s) / 60.0;
        for pair in flow.shown_ms.windows(2) {
            let gap = pair[1] - pair[0];
            let (last_s, next_s) = (pair[0] as f64 / 1e3, pair[1] as f64 / 1e3);
            let pause = spec.pause_s.is_some_and(|(begin_s, end_s)| last_s < end_s && next_s > begin_s);
            if gap > FREEZE_MS && !pause {
                score.frozen_ms.0 += gap;
                score.frozen_ms.1 = score.frozen_ms.1.max(gap);
            }
        }
    }
    score.on_highest = f64::from(right as u32) / f64::from(all.max(1));
    score.switches_per_minute = switches / f64::max(minutes, 0.01);
    score
}

/// The most steps up, each with the step down that followed, in one window.
fn up_downs(steps: &[(u64, Option<usize>)]) -> usize {
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    let mut up_ms = None;
    for pair in steps.windows(2) {
        let (at_ms, layer) = pair[1];
        if layer > pair[0].1 {
            up_ms = up_ms.or(Some(at_ms));
        } else if let Some(up_ms) = up_ms.take() {
            pairs.push((up_ms, at_ms));
        }
    }
    let window_ms = (WINDOW_S * 1e3) as u64;
    let from = |first: usize| pairs[first..].iter().take_while(|pair| pair.1 - pairs[first].0 <= window_ms).count();
    (0..pairs.len()).map(from).max().unwrap_or(0)
}

fn within((from_s, to_s): (f64, f64), at_s: f64) -> bool {
    at_s >= from_s && at_s < to_s
}

fn paused(pause_s: Option<(f64, f64)>, at_s: f64) -> bool {
    pause_s.is_some_and(|pause_s| within(pause_s, at_s))
}
