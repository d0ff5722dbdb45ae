//! The loop: one thread that sends bursts, drains every socket, answers checks, and reports.

use std::time::{Duration, Instant};

use crate::net::{Inbox, Poll};
use crate::peer::{Counts, Peer};
use crate::plan::Plan;
use crate::publisher::{CLOCK_RATE, Publisher};

/// While media is only counted, this much of a datagram is copied: every STUN and RTCP message is shorter.
const COUNTED: usize = 256;
/// Without anything received for so long, a saturated sender takes what is missing for lost.
const STALL: Duration = Duration::from_millis(50);

/// How fast the publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not at all; checks are answered.
    Idle,
    /// The next burst leaves when the engine has begun with the last one.
    Saturated,
    /// So many packets per second, in bursts.
    PerSecond(u32),
}

/// All peers at work.
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    publisher: Publisher,
    subscribers: Vec<Peer>,
    inbox: Inbox,
    received: u64,
    /// What `received` will be when everything sent has arrived.
    expected: u64,
    stalls: u64,
}

/// What happened since another such reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    counts: Counts,
    frames: u64,
    lost: i64,
    stalls: u64,
}

impl Run {
    /// Takes over the plan's sockets.
    ///
    /// # Errors
    /// A sentence when a peer cannot be made.
    ///
    /// # Safety
    /// Every descriptor in the plan is an open UDP socket that nothing else in this process owns.
    pub unsafe fn new(plan: Plan) -> Result<Run, String> {
        // SAFETY: promised by the caller.
        let publisher = unsafe { Peer::new(&plan.publisher.peer) }?;
        let publisher = Publisher::new(&plan, publisher);
        // SAFETY: as above.
        let subscribers =
            plan.subscribers.iter().map(|peer| unsafe { Peer::new(peer) }).collect::<Result<Vec<_>, _>>()?;
        Ok(Run { plan, publisher, subscribers, inbox: Inbox::default(), received: 0, expected: 0, stalls: 0 })
    }

    /// Everything up to now.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { frames: self.publisher.frames, stalls: self.stalls, ..Totals::default() };
        for peer in &self.subscribers {
            let (sum, own) = (&mut totals.counts, &peer.counts);
            sum.packets += own.packets;
            sum.bytes += own.bytes;
            sum.reports += own.reports;
            sum.checks += own.checks;
            sum.verified += own.verified;
            sum.wrong += own.wrong;
            sum.unknown += own.unknown;
            totals.lost += peer.lost();
        }
        totals
    }

    /// Runs for a time; `verify` decrypts everything that comes.
    pub fn run_for(&mut self, duration: Duration, pace: Pace, verify: bool) -> Result<(), String> {
        let sockets = self.subscribers.iter().map(|peer| &peer.socket).chain([&self.publisher.peer.socket]);
        let mut poll = Poll::new(sockets).map_err(|error| format!("epoll: {error}"))?;
        self.inbox.keep(if verify { usize::MAX } else { COUNTED });
        let peers = self.subscribers.len() as u64;
        let report_gap = Duration::from_millis(self.plan.report_interval_ms) / peers as u32;
        let check_gap = Duration::from_millis(self.plan.check_interval_ms) / (peers as u32 + 1);
        let burst_gap = match pace {
            Pace::PerSecond(rate) => Duration::from_secs_f64(self.plan.burst as f64 / f64::from(rate.max(1))),
            Pace::Saturated => Duration::from_millis(1),
            Pace::Idle => Duration::from_secs(3600),
        };
        self.publisher.timestamp_step = (burst_gap.as_secs_f64() * f64::from(CLOCK_RATE)) as u32;
        let start = Instant::now();
        let (mut next_report, mut next_check, mut next_burst, mut progress) = (start, start, start, start);
        let (mut reporter, mut checker) = (0, 0);
        let one_burst = self.plan.burst as u64 * peers;
        while start.elapsed() < duration {
            let now = Instant::now();
            if next_report <= now {
                self.subscribers[reporter].report();
                reporter = (reporter + 1) % self.subscribers.len();
                next_report += report_gap;
            }
            if next_check <= now {
                match self.subscribers.get_mut(checker) {
                    Some(peer) => peer.check(),
                    None => self.publisher.peer.check(),
                }
                checker = (checker + 1) % (self.subscribers.len() + 1);
                next_check += check_gap;
            }
            let due = match pace {
                Pace::Idle => false,
                Pace::PerSecond(_) => next_burst <= now,
                // One burst waits in the socket while the engine works on another: it has begun when some of it came.
                Pace::Saturated => {
                    let stalled = now.duration_since(progress) > STALL;
                    if stalled {
                        self.stalls += 1;
                        self.expected = self.received;
                    }
                    self.received + one_burst > self.expected
                }
            };
            if due {
                self.expected += self.publisher.send_frame()? as u64 * peers;
                next_burst += burst_gap;
                progress = now;
            }
            let next = next_report.min(next_check).min(if pace == Pace::Idle { next_check } else { next_burst });
            let wait = if pace == Pace::Saturated { Duration::ZERO } else { next.saturating_duration_since(now) };
            let wait_ms = wait.as_millis().min(20) as i32;
            self.drain(&mut poll, wait_ms, verify)?;
        }
        Ok(())
    }

    fn drain(&mut self, poll: &mut Poll, wait_ms: i32, verify: bool) -> Result<(), String> {
        let ready = poll.wait(wait_ms).map_err(|error| format!("epoll: {error}"))?;
        for name in ready {
            let subscriber = self.subscribers.get_mut(*name as usize);
            let is_subscriber = subscriber.is_some();
            let peer = subscriber.unwrap_or(&mut self.publisher.peer);
            let count = self.inbox.receive(&peer.socket).map_err(|error| format!("receive: {error}"))?;
            let before = peer.counts.packets;
            for index in 0..count {
                let (len, kept) = self.inbox.datagram(index);
                peer.handle(len, kept, verify);
            }
            if is_subscriber {
                self.received += peer.counts.packets - before;
            }
        }
        Ok(())
    }
}

impl Totals {
    /// One line of JSON with what happened since `before`.
    pub fn json_since(&self, before: &Totals, seconds: f64) -> String {
        let (now, then) = (&self.counts, &before.counts);
        let packets = now.packets - then.packets;
        let bytes = now.bytes - then.bytes;
        format!(
            "{{\"seconds\": {seconds:.6}, \"packets\": {packets}, \"bytes\": {bytes}, \"frames\": {}, \"lost\": {}, \
             \"reports\": {}, \"checks\": {}, \"verified\": {}, \"wrong\": {}, \"unknown\": {}, \"stalls\": {}}}",
            self.frames - before.frames,
            self.lost - before.lost,
            now.reports - then.reports,
            now.checks - then.checks,
            now.verified - then.verified,
            now.wrong - then.wrong,
            now.unknown - then.unknown,
            self.stalls - before.stalls,
        )
    }
}
