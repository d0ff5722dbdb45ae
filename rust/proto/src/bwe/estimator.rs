//! Send-side bandwidth estimation of one transport: what leaves and what is reported go in, a rate and probes come out.

use std::time::Duration;

use super::acked_rate::AckedRate;
use super::arrival_clock::{ArrivalClock, Reading};
use super::arrival_group::ArrivalGroups;
use super::competition::Competition;
use super::fault::{Fault, Faults};
use super::history::{CAPACITY, History, News, SentPacket, Unknown};
use super::loss::{LossControl, LossInput, Verdict};
use super::probe::{ClusterId, Demand, Finding, Probe, ProbeControl, ProbeInput};
use super::rate_control::{RateControl, RateInput};
use super::reports::Reports;
use super::trendline::{Trendline, Usage};
use crate::rtcp::twcc::TwccFeedback;
use crate::time::Time;

/// Round trip before the first feedback.
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// A round trip beyond this is a feedback that was held up, not a path.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(3_000);
/// Silence of a peer that has sent feedback before, after which the rate is halved, and again after each such time.
const SILENCE: Duration = Duration::from_millis(2_000);
/// An application that sends less than this share of the estimate is idle.
const IDLE: f64 = 0.7;
/// Time over which the sent rate is smoothed, in seconds.
const SENT_SECONDS: f64 = 0.5;
/// What a full line may take of what came through it: it was measured while we pushed.
const FULL_SHARE: f64 = 0.85;

/// Loss with a queue this long is the queue's, in milliseconds.
const OVERFLOW_QUEUE_MS: f64 = 60.0;
/// With a queue this long nothing is free and a train tells nothing, in milliseconds.
const FULL_QUEUE_MS: f64 = 30.0;
/// More than this times what is sent arrives: a queue of ours is being emptied.
const DRAINING: f64 = 1.08;
/// A rate that was tried is at most this many times what arrived.
const TRIED: f64 = 1.5;
/// What cannot be sent at a lower rate goes through when this share of it arrives, and no more than this is lost: of the
/// picture that comes first, and of all.
const FIRST_ARRIVES: f64 = 0.85;
const FIRST_LOST: f64 = 0.15;
const ALL_ARRIVES: f64 = 0.97;
const ALL_LOST: f64 = 0.02;
/// Pieces of feedback that are looked at in a second; receivers send about twenty.
const STORM: f64 = 400.0;
/// What is known of the queue is old after so long, beside the round trip.
const INFORMED: Duration = Duration::from_millis(1_000);
/// Who sends less than this share of the estimate has no more to send.
const STARVED: f64 = 0.9;
/// What passed for so long with less of a queue than this (milliseconds) is carried by the line.
const PASSED: Duration = Duration::from_millis(500);
const PASSED_QUEUE_MS: f64 = 20.0;
/// Share of packets lost at which frames are spread over time.
const SPREAD_LOSS: f64 = 0.01;
/// Where less than this share of the estimate is sent, large frames may leave at once.
const ROOMY: f64 = 0.6;

/// Bounds of the estimate in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Never less than this.
    pub min_bps: u64,
    /// What is assumed before anything is known.
    pub start_bps: u64,
    /// Never more than this.
    pub max_bps: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { min_bps: 30_000, start_bps: 300_000, max_bps: 50_000_000 }
    }
}

/// Figures for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// The estimate in bits per second.
    pub estimate_bps: u64,
    /// What arrives at the receiver, in bits per second.
    pub acked_bps: u64,
    /// Round trip of the feedback.
    pub round_trip: Duration,
    /// Delay above the smallest of the last seconds, in milliseconds.
    pub queue_ms: f64,
    /// Share of packets lost in the last sample, 0 to 1.
    pub loss: f64,
    /// Trains sent, and those that went through.
    pub probes: (u64, u64),
}

/// The estimator of one transport.
#[derive(Debug)]
pub struct Estimator {
    bounds: Bounds,
    history: History,
    clock: ArrivalClock,
    groups: ArrivalGroups,
    trendline: Trendline,
    acked: AckedRate,
    rate: RateControl,
    competition: Competition,
    loss: LossControl,
    probes: ProbeControl,
    reports: Reports,
    faults: Faults,
    round_trip: Option<Duration>,
    sent_bps: f64,
    sent_at: Option<Time>,
    heard: Option<Time>,
    /// Pieces of feedback that are looked at, and as of when.
    admitted: (f64, Time),
    /// The last feedback with news.
    concluded: Option<Time>,
    demand: Demand,
    probe_counts: (u64, u64),
    /// Since when packets have passed without a queue.
    passing: Option<Time>,
    /// Whether less was sent than might have been when the rate was last lowered.
    starved: bool,
}

/// What one feedback adds up to.
#[derive(Default)]
struct Sum {
    usage: Usage,
    lost: u32,
    packets: u32,
    taken_back: u32,
    newest: Option<SentPacket>,
    finding: Option<Finding>,
}

impl Estimator {
    /// An estimator that knows nothing yet.
    pub fn new(bounds: Bounds) -> Estimator {
        let max_bps = bounds.max_bps.max(1);
        let bounds = Bounds { min_bps: bounds.min_bps.clamp(1, max_bps), max_bps, ..bounds };
        let limits = (bounds.min_bps as f64, bounds.max_bps as f64);
        Estimator {
            bounds,
            history: History::default(),
            clock: ArrivalClock::default(),
            groups: ArrivalGroups::default(),
            trendline: Trendline::default(),
            acked: AckedRate::default(),
            rate: RateControl::new(bounds.start_bps as f64, limits),
            competition: Competition::default(),
            loss: LossControl::default(),
            probes: ProbeControl::default(),
            reports: Reports::default(),
            faults: Faults::default(),
            round_trip: None,
            sent_bps: 0.0,
            sent_at: None,
            heard: None,
            admitted: (STORM, Time::ZERO),
            concluded: None,
            demand: Demand::default(),
            probe_counts: (0, 0),
            passing: None,
            starved: false,
        }
    }

    /// A packet leaves with a transport-wide sequence number; `size` is what the line carries above IP and UDP.
    pub fn sent(&mut self, sequence: u16, size: usize, cluster: Option<ClusterId>, now: Time) {
        self.history.sent(sequence, size, cluster, now);
        self.sent_untracked(size, now);
    }

    /// A packet leaves that has no transport-wide sequence number.
    pub fn sent_untracked(&mut self, size: usize, now: Time) {
        let elapsed_s = self.sent_at.map_or(0.0, |last| now.since(last).as_secs_f64());
        self.sent_bps = self.sent_rate(elapsed_s) + size as f64 * 8.0 / SENT_SECONDS;
        self.sent_at = Some(now);
    }

    /// Takes transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    pub fn feedback(&mut self, feedback: &TwccFeedback<'_>, now: Time) {
        if !self.admits(now) {
            self.faults.count(Fault::TooOften);
            return;
        }
        self.heard = Some(now);
        if usize::from(feedback.count) > CAPACITY {
            self.faults.count(Fault::TooLong);
        }
        let mut sum = Sum::default();
        for arrival in feedback.packets().take(CAPACITY) {
            match self.history.report(arrival.sequence, arrival.arrival_us.is_some()) {
                Ok((News::Nothing, _)) => self.faults.count(Fault::Repeated),
                Ok((News::Lost, _)) => {
                    sum.lost += 1;
                    sum.packets += 1;
                }
                Ok((news, packet)) => {
                    sum.packets += u32::from(news == News::Received);
                    sum.taken_back += u32::from(news == News::ReceivedLate);
                    self.received(&packet, arrival.arrival_us.unwrap_or_default(), &mut sum, now);
                }
                // A number that lies before our first packet, or in a gap: nothing to learn.
                Err(Unknown::NeverSent) => self.faults.count(Fault::NeverSent),
                Err(Unknown::Forgotten) => self.faults.count(Fault::Forgotten),
            }
        }
        if let Some(newest) = sum.newest {
            self.measure_round_trip(now.since(newest.departure));
        }
        if sum.packets + sum.taken_back > 0 {
            self.conclude(&sum, now);
        }
    }

    /// Takes a receiver's estimate (draft-alvestrand-rmcat-remb-03).
    pub fn remb(&mut self, bps: u64, now: Time) {
        if bps < self.bounds.min_bps {
            self.faults.count(Fault::EstimateTooLow);
        }
        self.reports.remb(bps.clamp(self.bounds.min_bps, self.bounds.max_bps) as f64, now);
    }

    /// Takes from a receiver report how many of how many packets were lost since the one before; of no interest from
    /// a peer that sends transport-wide feedback.
    pub fn receiver_report(&mut self, lost: u32, packets: u32, now: Time) {
        if self.heard.is_none() {
            let sent_bps = self.sent_bps(now).min(self.estimate(now));
            self.reports.report(lost, packets, sent_bps, self.round_trip(), now);
        }
    }

    /// Takes what the allocator would send next.
    pub fn set_demand(&mut self, demand: Demand) {
        self.demand = demand;
        self.probes.set_demand(demand);
    }

    /// Does what is due: a peer that has fallen silent gets less.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.silence_ends().is_some_and(|at| now >= at) {
            self.heard = Some(now);
            let before_bps = self.rate.bps();
            self.rate.set(before_bps / 2.0, now);
            self.probes.fallen(before_bps, self.rate.bps(), now);
        }
    }

    /// The train that is to be sent now, when there is one.
    pub fn poll_probe(&mut self, now: Time) -> Option<Probe> {
        if self.sent_at.is_none() || (self.heard.is_none() && self.reports.remb_bps(now).is_some()) {
            return None;
        }
        let input = ProbeInput {
            estimate_bps: self.estimate(now),
            max_bps: self.bounds.max_bps as f64,
            round_trip: self.round_trip(),
            idle: self.is_idle(now),
            busy: self.is_informed(now)
                && (self.trendline.usage() != Usage::Normal
                    || self.trendline.queue_ms() > FULL_QUEUE_MS
                    || self.loss.limit_bps().is_finite()
                    || self.competition.hides_line(now)),
        };
        let probe = self.probes.poll(&input, now);
        self.probe_counts.0 += u64::from(probe.is_some());
        probe
    }

    /// A train that could not be sent.
    pub fn cancel_probe(&mut self, cluster: ClusterId) {
        self.probes.cancel(cluster);
    }

    /// When to call [`Estimator::handle_timeout`] and [`Estimator::poll_probe`] next.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.probes.poll_timeout(), self.silence_ends()].into_iter().flatten().min()
    }

    /// The estimate in bits per second.
    pub fn estimate_bps(&self, now: Time) -> u64 {
        self.estimate(now) as u64
    }

    /// Whether so much is lost that bursts are better spread ([`crate::pacer::Pacer::set_spread`]).
    pub fn wants_spread(&self) -> bool {
        self.loss.fraction().max(self.loss.inherent()) > SPREAD_LOSS
    }

    /// Whether so much less is sent than the line carries, and passes without a queue, that large frames may leave at once
    /// ([`crate::pacer::Pacer::set_roomy`]).
    pub fn leaves_room(&self, now: Time) -> bool {
        let passes = self.passing.is_some_and(|since| now.since(since) >= PASSED);
        passes && self.sent_bps(now) < ROOMY * self.estimate(now)
    }

    /// The rate at which packets left lately, in bits per second.
    pub fn sent_bps(&self, now: Time) -> f64 {
        self.sent_at.map_or(0.0, |last| self.sent_rate(now.since(last).as_secs_f64()))
    }

    /// Round trip of the feedback, smoothed.
    pub fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(ROUND_TRIP)
    }

    /// Feedback that was not believed.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Figures for statistics.
    pub fn figures(&self, now: Time) -> Figures {
        Figures {
            estimate_bps: self.estimate_bps(now),
            acked_bps: self.acked.bps().unwrap_or_default() as u64,
            round_trip: self.round_trip(),
            queue_ms: self.trendline.queue_ms(),
            loss: self.loss.fraction(),
            probes: self.probe_counts,
        }
    }

    /// A bucket of [`STORM`] pieces of feedback that is filled again in a second.
    fn admits(&mut self, now: Time) -> bool {
        let (left, at) = self.admitted;
        let left = (left + STORM * now.since(at).as_secs_f64()).min(STORM);
        self.admitted = ((left - 1.0).max(0.0), now);
        left >= 1.0
    }

    fn received(&mut self, packet: &SentPacket, arrival_us: i64, sum: &mut Sum, now: Time) {
        let arrival_us = match self.clock.read(arrival_us, now) {
            Reading::At(arrival_us) => arrival_us,
            Reading::Jumped(arrival_us) => {
                if self.acked.bps().is_some() {
                    self.faults.count(Fault::Impossible);
                }
                self.groups.reset();
                self.trendline.reset();
                self.acked.reset();
                arrival_us
            }
        };
        self.acked.packet(arrival_us, packet.size);
        if let Some(delta) = self.groups.packet(packet.departure, arrival_us) {
            match self.trendline.update(&delta) {
                Usage::Over => sum.usage = Usage::Over,
                Usage::Under if sum.usage == Usage::Normal => sum.usage = Usage::Under,
                Usage::Normal | Usage::Under => {}
            }
        }
        if let Some(finding) = self.probes.received(packet, arrival_us) {
            sum.finding = Some(finding);
        }
        if sum.newest.is_none_or(|newest| newest.departure <= packet.departure) {
            sum.newest = Some(*packet);
        }
    }

    fn measure_round_trip(&mut self, sample: Duration) {
        let sample = sample.min(ROUND_TRIP_MAX);
        self.round_trip = Some(self.round_trip.map_or(sample, |old| (old * 7 + sample) / 8));
    }

    /// Moves the rate by what a feedback has told.
    fn conclude(&mut self, sum: &Sum, now: Time) {
        self.concluded = Some(now);
        let (before_bps, acked_bps) = (self.rate.bps(), self.acked.bps());
        let queue_ms = self.trendline.queue_ms();
        self.competition.saw(queue_ms, now);
        let competing = self.competition.is_on(now);
        // A queue that is full to the brim no longer grows; that it overflows is how it shows.
        if sum.lost > 0 {
            self.competition.lost(queue_ms, now);
        }
        let overflows = sum.lost > 0 && queue_ms > OVERFLOW_QUEUE_MS;
        let input = RateInput {
            usage: if overflows { Usage::Over } else { sum.usage },
            queue_ms,
            acked_bps,
            recent_bps: self.acked.recent_bps(),
            round_trip: self.round_trip(),
            tcp_friendly_bps: self.tcp_friendly_bps(),
            competing,
            lost: sum.lost > 0,
        };
        let last = self.rate.decreased();
        let lowered = self.rate.update(&input, now);
        // Of several decreases after each other the first knows what there was to send.
        if lowered && last.is_none_or(|last| now.since(last) > PASSED + self.round_trip()) {
            self.starved = self.sent_bps(now) < STARVED * before_bps;
        }
        if lowered && !input.competing {
            let tried_bps = acked_bps.map_or(before_bps, |acked| before_bps.min(TRIED * acked));
            self.competition.decreased(tried_bps, input.queue_ms, input.round_trip, now);
        }
        // What was never sent is nothing to go back to.
        let tried_bps = acked_bps.map_or(before_bps, |acked| before_bps.min(TRIED * acked));
        let rates_bps = (tried_bps, self.rate.bps());
        let arriving_bps = acked_bps.unwrap_or(f64::INFINITY);
        if let Some(bps) = self.competition.pressed(rates_bps, input.queue_ms, arriving_bps, input.round_trip, now)
            && bps > self.rate.bps()
        {
            self.rate.set(bps, now);
        }
        let draining = acked_bps.is_some_and(|acked| acked > DRAINING * self.sent_bps(now).min(before_bps));
        if let Some(bps) = self.competition.look_back(input.queue_ms, draining, now)
            && bps > self.rate.bps()
        {
            self.rate.set(bps, now);
        }
        match sum.finding {
            Some(Finding::Carried(bps)) if bps > self.rate.bps() && sum.usage != Usage::Over => {
                self.probe_counts.1 += 1;
                self.rate.set(bps, now);
            }
            Some(Finding::Full(bps)) if FULL_SHARE * bps > self.rate.bps() && sum.usage != Usage::Over => {
                self.rate.set(FULL_SHARE * bps, now);
            }
            _ => {}
        }
        self.believe_what_passed(sum, now);
        let estimate_bps = self.estimate(now);
        let input =
            LossInput { estimate_bps, acked_bps, round_trip: self.round_trip(), overflows, idle: self.is_idle(now) };
        self.loss.set_learning_only(competing);
        let verdict = self.loss.packets(sum.lost, sum.packets, sum.taken_back, &input, now);
        if let Some(Verdict::Congestion { bps }) = verdict
            && !competing
        {
            self.rate.congested(bps, now);
        }
        if self.rate.bps() < before_bps {
            self.probes.fallen(before_bps, self.rate.bps(), now);
        }
    }

    /// What has gone through for a while without any queue goes through: an application that sends less than it may
    /// makes queues by large frames alone, and the rate after a decrease knows nothing of that.
    fn believe_what_passed(&mut self, sum: &Sum, now: Time) {
        if !self.starved || sum.usage == Usage::Over || sum.lost > 0 || self.trendline.queue_ms() > PASSED_QUEUE_MS {
            self.passing = None;
            return;
        }
        let since = *self.passing.get_or_insert(now);
        let passed_bps = self.acked.bps().unwrap_or_default().min(self.sent_bps(now));
        if now.since(since) >= PASSED && passed_bps > self.rate.bps() {
            self.rate.set(passed_bps, now);
        }
    }

    fn estimate(&self, now: Time) -> f64 {
        let (min_bps, max_bps) = (self.bounds.min_bps as f64, self.bounds.max_bps as f64);
        let bps = if self.heard.is_some() {
            let own_bps = self.rate.bps().min(self.loss.limit_bps()).max(self.least_bps(now));
            self.reports.remb_bps(now).map_or(own_bps, |theirs| theirs.min(own_bps))
        } else {
            self.reports.bps(self.bounds.start_bps as f64, now)
        };
        bps.clamp(min_bps, max_bps)
    }

    /// The lowest layers cannot be sent at a lower rate: as long as they arrive they go through, whatever a queue says
    /// that may be somebody else's. The first picture is worth some loss.
    fn least_bps(&self, now: Time) -> f64 {
        if !self.is_informed(now) {
            return 0.0;
        }
        let (acked_bps, lost) = (self.acked.bps().unwrap_or_default(), self.loss.fraction());
        let through =
            |bps: f64, share: f64, loss: f64| if acked_bps >= share * bps && lost <= loss { bps } else { 0.0 };
        let first_bps = through(self.demand.least_bps as f64, FIRST_ARRIVES, FIRST_LOST);
        let all_bps = through(self.demand.lowest_bps as f64, ALL_ARRIVES, ALL_LOST + self.loss.inherent());
        first_bps.max(all_bps)
    }

    /// Half of the simple form of the throughput equation (RFC 5348 §3.1), for segments of 1200 bytes.
    fn tcp_friendly_bps(&self) -> f64 {
        let loss = self.loss.inherent().max(self.loss.fraction()).clamp(0.002, 1.0);
        0.5 * 1.22 * 9_600.0 / (self.round_trip().as_secs_f64().max(0.01) * loss.sqrt())
    }

    /// Whether what is known of the queue is of now: a peer that is sent nothing reports nothing.
    fn is_informed(&self, now: Time) -> bool {
        self.concluded.is_some_and(|at| now.since(at) < INFORMED + self.round_trip())
    }

    fn is_idle(&self, now: Time) -> bool {
        self.sent_bps(now) < IDLE * self.estimate(now)
    }

    fn sent_rate(&self, elapsed_s: f64) -> f64 {
        self.sent_bps * (1.0 - elapsed_s / SENT_SECONDS).max(0.0)
    }

    fn silence_ends(&self) -> Option<Time> {
        let heard = self.heard.filter(|_| self.history.in_flight_bytes() > 0)?;
        // What was sent lately cannot have been answered: silence begins with the last word or the last packet.
        (self.sent_at? > heard).then(|| heard + SILENCE)
    }
}
