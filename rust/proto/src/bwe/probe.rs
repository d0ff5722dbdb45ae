//! Probing: short trains of packets at a rate that is not needed yet, to know whether it would go through.
//!
//! Probed is at the start (three and six times the first estimate, then on while it goes through), when the allocator
//! names what its next step costs, now and then while the application sends less than it may, and after a fall, to be
//! back quickly when its cause was short. The rate is read from how a train is spread when it arrives.

use super::history::SentPacket;
use crate::time::Time;
use std::num::NonZeroU8;
use std::time::Duration;

/// Names a train; 1 to 255, then again from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub NonZeroU8);

/// A train to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub cluster: ClusterId,
    /// Rate at which its packets are spaced, in bits per second.
    pub rate_bps: u64,
    /// Bytes to send at least.
    pub bytes: usize,
    /// Packets to send at least.
    pub packets: u32,
}

/// What the allocator knows and the estimator does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Rate at which everything would be sent that the next step up brings, in bits per second; `None` when there
    /// is nothing more to send.
    pub next_step_bps: Option<u64>,
    /// What cannot be sent at a lower rate: sound, and the lowest layer of the picture that comes first.
    pub least_bps: u64,
    /// The same with the lowest layer of every picture that flows.
    pub lowest_bps: u64,
}

/// Why a train was sent; decides what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Start,
    Demand,
    Idle,
    Recovery,
}

/// What a train has told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// The line carries this rate; it was carried without a queue.
    Carried(f64),
    /// The line was full; this much of it came to us.
    Full(f64),
}

/// Length of a train, and its least number of packets.
const LENGTH: Duration = Duration::from_millis(40);
const PACKETS: u32 = 6;
/// A train with less than this share received says nothing.
const RECEIVED: f64 = 0.75;
/// Arrived at no less than this share of the rate at which it left: no queue.
const CARRIED: f64 = 0.88;
/// Room that a probe for the allocator's next step leaves.
const DEMAND_ROOM: f64 = 1.08;
/// Factors of the first estimate that the first probes try, and of what was found in what follows.
const START: f64 = 3.0;
const START_NEXT: f64 = 2.0;
/// Time between probes for the next step: after one that did not go through twice as long, up to the longest.
const DEMAND_EVERY: Duration = Duration::from_millis(1_000);
const DEMAND_EVERY_MAX: Duration = Duration::from_millis(4_000);
/// Time between probes while the application sends little.
const IDLE_EVERY: Duration = Duration::from_millis(5_000);
/// A fall to less than this share is worth a probe of recovery, this long after it, at this share of what was.
const FALL: f64 = 0.66;
const RECOVERY_AFTER: Duration = Duration::from_millis(2_000);
const RECOVERY: f64 = 0.85;
/// How long a report of a train is waited for, beside the round trip.
const PATIENCE: Duration = Duration::from_millis(500);

/// A train that was sent or is being sent.
#[derive(Clone, Copy, Debug)]
struct Train {
    probe: Probe,
    purpose: Purpose,
    deadline: Time,
    spread: Spread,
}

/// When packets left and arrived against the bytes that were before them; two straight lines by least squares. Every
/// packet counts, not the first and the last alone, because each of them may have been delayed by chance.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    packets: u32,
    bytes: u64,
    first: Option<(Time, i64)>,
    sum_x: f64,
    sum_xx: f64,
    /// Departures, then arrivals, in seconds after the first.
    sum_y: [f64; 2],
    sum_xy: [f64; 2],
}

impl Spread {
    fn add(&mut self, packet: &SentPacket, arrival_us: i64) {
        let (departure, arrival) = *self.first.get_or_insert((packet.departure, arrival_us));
        let x = self.bytes as f64 * 8.0;
        let y = [packet.departure.since(departure).as_secs_f64(), arrival_us.saturating_sub(arrival) as f64 / 1e6];
        self.packets += 1;
        self.bytes += u64::from(packet.size);
        self.sum_x += x;
        self.sum_xx += x * x;
        for (side, seconds) in y.into_iter().enumerate() {
            self.sum_y[side] += seconds;
            self.sum_xy[side] += x * seconds;
        }
    }

    /// Bits per second at which they left and at which they arrived.
    fn rates_bps(&self) -> Option<[f64; 2]> {
        let n = f64::from(self.packets);
        let under = n * self.sum_xx - self.sum_x * self.sum_x;
        let rates = [0, 1].map(|side| under / (n * self.sum_xy[side] - self.sum_x * self.sum_y[side]));
        rates.iter().all(|rate| rate.is_finite() && *rate > 1_000.0).then_some(rates)
    }
}

/// What the decision to probe looks at.
#[derive(Clone, Copy, Debug)]
pub struct ProbeInput {
    /// The estimate now.
    pub estimate_bps: f64,
    /// Highest estimate allowed.
    pub max_bps: f64,
    /// The round trip.
    pub round_trip: Duration,
    /// Whether the application sends clearly less than it may.
    pub idle: bool,
    /// Whether the delay grows now, or a test for loss runs.
    pub busy: bool,
}

/// Decides when to probe and reads what comes back.
#[derive(Debug, Default)]
pub struct ProbeControl {
    train: Option<Train>,
    last_id: u8,
    demand: Demand,
    started: bool,
    /// Probes of the start go on from here.
    start_next_bps: Option<f64>,
    /// When the last train left.
    sent: Option<Time>,
    demand_wait: Duration,
    /// Rate before a fall, and when to try it again.
    recovery: Option<(f64, Time)>,
}

impl ProbeControl {
    /// Takes what the allocator would send next.
    pub fn set_demand(&mut self, demand: Demand) {
        if demand.next_step_bps != self.demand.next_step_bps {
            self.demand_wait = Duration::ZERO;
        }
        self.demand = demand;
    }

    /// The estimate has fallen.
    pub fn fallen(&mut self, from_bps: f64, to_bps: f64, now: Time) {
        self.start_next_bps = None;
        if to_bps < FALL * from_bps {
            let from_bps = self.recovery.map_or(from_bps, |(before, _)| before.max(from_bps));
            self.recovery = Some((from_bps, now + RECOVERY_AFTER));
        }
    }

    /// Names the train to be sent now, when there is one.
    pub fn poll(&mut self, input: &ProbeInput, now: Time) -> Option<Probe> {
        if self.train.is_some_and(|train| now >= train.deadline) {
            self.failed();
        }
        if self.train.is_some() || input.busy {
            return None;
        }
        let (rate_bps, purpose) = self.choose(input, now)?;
        let rate_bps = rate_bps.min(input.max_bps * DEMAND_ROOM);
        if rate_bps <= input.estimate_bps * 1.02 {
            return None;
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let cluster = ClusterId(NonZeroU8::new(self.last_id)?);
        let bytes = (rate_bps * LENGTH.as_secs_f64() / 8.0) as usize;
        let probe = Probe { cluster, rate_bps: rate_bps as u64, bytes, packets: PACKETS };
        let deadline = now + input.round_trip + LENGTH + PATIENCE;
        self.train = Some(Train { probe, purpose, deadline, spread: Spread::default() });
        self.sent = Some(now);
        Some(probe)
    }

    /// When [`ProbeControl::poll`] may have something; `None` when only an event can bring that about.
    pub fn poll_timeout(&self) -> Option<Time> {
        if let Some(train) = self.train {
            return Some(train.deadline);
        }
        let every = if self.demand.next_step_bps.is_some() { self.demand_wait } else { IDLE_EVERY };
        let regular = self.sent.map(|sent| sent + every);
        let recovery = self.recovery.map(|(_, at)| at);
        [regular, recovery].into_iter().flatten().min()
    }

    /// Takes a received packet of a train; says what the train has told when it is complete.
    pub fn received(&mut self, packet: &SentPacket, arrival_us: i64) -> Option<Finding> {
        let train = self.train.as_mut().filter(|train| packet.cluster == Some(train.probe.cluster))?;
        train.spread.add(packet, arrival_us);
        let enough_packets = f64::from(train.spread.packets) >= f64::from(train.probe.packets) * RECEIVED;
        let enough_bytes = train.spread.bytes as f64 >= train.probe.bytes as f64 * RECEIVED;
        if !enough_packets || !enough_bytes {
            return None;
        }
        let train = *train;
        self.finish(&train)
    }

    /// A train that cannot be sent, because there is nothing to fill it with.
    pub fn cancel(&mut self, cluster: ClusterId) {
        if self.train.is_some_and(|train| train.probe.cluster == cluster) {
            self.failed();
        }
    }

    fn choose(&mut self, input: &ProbeInput, now: Time) -> Option<(f64, Purpose)> {
        if !self.started {
            self.started = true;
            return Some((START * input.estimate_bps, Purpose::Start));
        }
        if let Some(next_bps) = self.start_next_bps.take() {
            return Some((next_bps, Purpose::Start));
        }
        if let Some((before_bps, at)) = self.recovery {
            if now >= at {
                self.recovery = None;
                return Some((RECOVERY * before_bps, Purpose::Recovery));
            }
            return None;
        }
        let waited = self.sent.map_or(Duration::MAX, |sent| now.since(sent));
        match self.demand.next_step_bps {
            Some(next_bps) if waited >= self.demand_wait => Some((DEMAND_ROOM * next_bps as f64, Purpose::Demand)),
            None if input.idle && waited >= IDLE_EVERY => Some((2.0 * input.estimate_bps, Purpose::Idle)),
            _ => None,
        }
    }

    fn finish(&mut self, train: &Train) -> Option<Finding> {
        let Some([sent_bps, arrived_bps]) = train.spread.rates_bps() else {
            self.failed();
            return None;
        };
        if arrived_bps < CARRIED * sent_bps {
            self.failed();
            return match train.purpose {
                Purpose::Recovery => None,
                Purpose::Start | Purpose::Demand | Purpose::Idle => Some(Finding::Full(arrived_bps)),
            };
        }
        self.train = None;
        self.demand_wait = DEMAND_EVERY;
        // Not more than was asked for: a train that was squeezed together on its way says nothing.
        let carried_bps = sent_bps.min(arrived_bps).min(train.probe.rate_bps as f64);
        if train.purpose == Purpose::Start {
            self.start_next_bps = Some(START_NEXT * carried_bps);
        }
        Some(Finding::Carried(carried_bps))
    }

    fn failed(&mut self) {
        self.train = None;
        self.start_next_bps = None;
        self.demand_wait = (2 * self.demand_wait).clamp(DEMAND_EVERY, DEMAND_EVERY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: ProbeInput = ProbeInput {
        estimate_bps: 300_000.0,
        max_bps: 10_000_000.0,
        round_trip: Duration::from_millis(100),
        idle: false,
        busy: false,
    };

    /// Sends the train over a line of `line_bps` and gives out what it told.
    fn travel(control: &mut ProbeControl, probe: &Probe, line_bps: f64, now: Time) -> Option<Finding> {
        let (mut sent, mut free_us) = (now, 0.0f64);
        let mut finding = None;
        for sequence in 0..40 {
            let size = 1000u16;
            let arrival_us = (sent.as_micros() as f64).max(free_us) + 8e6 * f64::from(size) / line_bps;
            free_us = arrival_us;
            let packet = SentPacket { sequence, departure: sent, size, cluster: Some(probe.cluster) };
            finding = finding.or(control.received(&packet, arrival_us as i64));
            sent = sent + Duration::from_secs_f64(8.0 * f64::from(size) / probe.rate_bps as f64);
        }
        finding
    }

    #[test]
    fn at_the_start_it_goes_up_until_the_line_is_full() {
        let mut control = ProbeControl::default();
        let mut rates = Vec::new();
        let mut findings = Vec::new();
        for round in 0..6 {
            let now = Time::from_millis(round * 300);
            let Some(probe) = control.poll(&INPUT, now) else { break };
            rates.push(probe.rate_bps);
            findings.push(travel(&mut control, &probe, 4_000_000.0, now));
        }
        assert_eq!(rates[0], 900_000);
        assert_eq!(rates.len(), 4);
        assert!(matches!(findings[2], Some(Finding::Carried(bps)) if (3.4e6..3.7e6).contains(&bps)), "{findings:?}");
        assert!(matches!(findings[3], Some(Finding::Full(bps)) if (3.9e6..4.1e6).contains(&bps)), "{findings:?}");
    }

    fn started() -> ProbeControl {
        let mut control = ProbeControl::default();
        let probe = control.poll(&INPUT, Time::ZERO).unwrap();
        control.cancel(probe.cluster);
        control
    }

    #[test]
    fn the_next_step_is_probed_and_tried_again_after_longer_and_longer_waits() {
        let mut control = started();
        control.set_demand(Demand { next_step_bps: Some(500_000), ..Demand::default() });
        let mut sent_at = Vec::new();
        for step in 0..3_000u64 {
            let now = Time::from_millis(step * 5);
            if let Some(probe) = control.poll(&INPUT, now) {
                assert_eq!(probe.rate_bps, 540_000);
                sent_at.push(step * 5);
                travel(&mut control, &probe, 350_000.0, now);
            }
        }
        let waits: Vec<_> = sent_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 4_000]);
    }

    #[test]
    fn a_train_that_is_lost_is_given_up() {
        let mut control = started();
        control.set_demand(Demand { next_step_bps: Some(500_000), ..Demand::default() });
        assert!(control.poll(&INPUT, Time::from_millis(1_000)).is_some());
        assert!(control.poll(&INPUT, Time::from_millis(1_600)).is_none());
        let deadline = control.poll_timeout().unwrap();
        assert!(control.poll(&INPUT, deadline).is_none());
        assert!(control.poll(&INPUT, deadline + DEMAND_EVERY_MAX).is_some());
    }

    #[test]
    fn after_a_fall_what_was_is_tried_again() {
        let mut control = started();
        control.fallen(1_000_000.0, 300_000.0, Time::from_millis(5_000));
        assert!(control.poll(&INPUT, Time::from_millis(6_900)).is_none());
        assert_eq!(control.poll(&INPUT, Time::from_millis(7_000)).unwrap().rate_bps, 850_000);
    }

    #[test]
    fn nothing_is_probed_while_the_delay_grows() {
        let mut control = ProbeControl::default();
        assert!(control.poll(&ProbeInput { busy: true, ..INPUT }, Time::ZERO).is_none());
        assert!(control.poll(&INPUT, Time::ZERO).is_some());
    }

    #[test]
    fn an_application_that_sends_little_is_probed_for_now_and_then() {
        let mut control = started();
        let idle = ProbeInput { idle: true, ..INPUT };
        assert!(control.poll(&idle, Time::from_millis(4_900)).is_none());
        assert_eq!(control.poll(&idle, Time::from_millis(5_000)).unwrap().rate_bps, 600_000);
    }
}
