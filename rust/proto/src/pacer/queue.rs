//! A leaky bucket of debt: as long as the debt is small everything leaves at once, a whole frame as one run; what
//! goes beyond it waits and is spaced.
//!
//! The pacer holds small records, not bytes; whoever takes one out writes the packet and encrypts it then. Audio
//! never waits. Behind it come a shared screen, then cameras, of each what is sent again before what is new, then
//! padding, and padding only for a train of probes. So a large keyframe of a screen leaves as fast as the line carries
//! it, whatever waits of cameras that have not yet given way.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::drops::{PacerDrop, PacerDrops};
use crate::bwe::{ClusterId, Probe};
use crate::time::Time;

/// What a record is, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Leaves at once, always; its bytes are debt all the same.
    Audio,
    /// A packet of a screen that was asked for again.
    ScreenRetransmission,
    /// A shared screen.
    Screen,
    /// Any other packet that was asked for again.
    Retransmission,
    /// Everything else that is media.
    Video,
}

impl Class {
    /// Those that wait, in order of precedence.
    const WAITING: [Class; 4] = [Class::ScreenRetransmission, Class::Screen, Class::Retransmission, Class::Video];

    /// Whether it was asked for again.
    pub fn is_repair(self) -> bool {
        matches!(self, Class::ScreenRetransmission | Class::Retransmission)
    }

    /// The queue in which it waits.
    fn queue(self) -> usize {
        Class::WAITING.iter().position(|class| *class == self).unwrap_or(0)
    }
}

/// Whether a packet may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Send it now; its bytes are accounted for.
    Now,
    /// Hand it to [`Pacer::hold`].
    Hold,
}

/// A record that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<R> {
    /// What the caller gave.
    pub record: R,
    /// Bytes of the packet on the wire.
    pub size: usize,
    /// When it came.
    pub since: Time,
}

/// What is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release<R> {
    /// A record that has waited; as part of a train when it names one.
    Packet {
        /// The record.
        held: Held<R>,
        /// What it is.
        class: Class,
        /// The train it belongs to.
        cluster: Option<ClusterId>,
    },
    /// Padding, or old packets again, for a train: about this many bytes in one packet. The caller tells with
    /// [`Pacer::padded`] what it sent.
    Padding {
        /// Bytes wanted.
        bytes: usize,
        /// The train.
        cluster: ClusterId,
    },
}

/// Room of each queue that is made at once; a line that needs more makes more, and keeps it.
const ROOM: [usize; 4] = [0, 0, 64, 128];
/// Records that wait in one class, at most.
const MOST_RECORDS: usize = 2_048;
/// Bytes that wait, at most.
const MOST_BYTES: usize = 2 << 20;
/// A record that has waited this long is of no use any more.
const STALE: Duration = Duration::from_millis(1_500);
/// Of a screen only the whole of it is: without its tail a keyframe shows nothing, and the next one is as large. On a line
/// of twice what a screen takes, 60 kilobytes and what comes meanwhile are a matter of seconds.
const STALE_SCREEN: Duration = Duration::from_secs(10);
/// Debt that may be made at once: this much time at the rate, and at least so many bytes.
const BURST: Duration = Duration::from_millis(40);
const BURST_BYTES: f64 = 6_000.0;
/// The same where much less is sent than the line carries.
const ROOMY_BURST: Duration = Duration::from_millis(80);
/// The same where bursts are spread.
const SPREAD: Duration = Duration::from_millis(5);
const SPREAD_BYTES: f64 = 2_400.0;
/// Debt is paid back this much faster than the estimate, so that what waits gets out before the next frame comes.
const PACE: f64 = 1.25;
/// What waits has left after this time, if the rate must be exceeded for it. Not while a screen is shared: what the line
/// has no room for is lost, of the screen, too, and a keyframe of it that takes the line for a second has to take a second.
const LONGEST_WAIT_SECONDS: f64 = 0.5;
/// A screen is shared for so long after its last packet.
const SHARED: Duration = Duration::from_secs(2);
const SHORTEST_SECONDS: f64 = 0.02;
/// Size of a packet of padding.
const PADDING: usize = 1_000;
/// A train may fall behind by this much before it is spaced anew, so that it is not sent as one burst.
const TRAIN_LAG: Duration = Duration::from_millis(5);

/// A train that is being sent.
#[derive(Clone, Copy, Debug)]
struct Train {
    probe: Probe,
    bytes: usize,
    packets: u32,
    next: Time,
}

/// The pacer of one transport.
#[derive(Debug)]
pub struct Pacer<R> {
    queues: [VecDeque<Held<R>>; 4],
    bytes: usize,
    rate_bps: f64,
    spread: bool,
    roomy: bool,
    debt_bytes: f64,
    counted: Time,
    train: Option<Train>,
    /// When the last packet of a screen came.
    screen: Option<Time>,
    drops: PacerDrops,
}

impl<R> Pacer<R> {
    /// A pacer at `rate_bps`, the estimate.
    pub fn new(rate_bps: u64) -> Pacer<R> {
        Pacer {
            queues: ROOM.map(VecDeque::with_capacity),
            bytes: 0,
            rate_bps: rate_bps.max(1) as f64,
            spread: false,
            roomy: false,
            debt_bytes: 0.0,
            counted: Time::ZERO,
            train: None,
            screen: None,
            drops: PacerDrops::default(),
        }
    }

    /// Sets the estimate.
    pub fn set_rate(&mut self, rate_bps: u64, now: Time) {
        self.pay(now);
        self.rate_bps = rate_bps.max(1) as f64;
    }

    /// Whether frames are spread over time instead of leaving as one burst: on a line with a short queue a burst
    /// causes the very loss that it suffers from.
    pub fn set_spread(&mut self, spread: bool) {
        self.spread = spread;
    }

    /// Whether much less is sent than the line carries: then larger frames leave as one burst, too.
    pub fn set_roomy(&mut self, roomy: bool) {
        self.roomy = roomy;
    }

    /// Whether a packet of `size` bytes may leave now; accounts for it when it may.
    pub fn admit(&mut self, class: Class, size: usize, now: Time) -> Admission {
        self.pay(now);
        self.screen = if class == Class::Screen { Some(now) } else { self.screen };
        let is_next = self.queues[..=class.queue()].iter().all(VecDeque::is_empty);
        let free = is_next && self.train.is_none() && self.debt_bytes < self.burst_bytes();
        if class == Class::Audio || free {
            self.debt_bytes += size as f64;
            return Admission::Now;
        }
        Admission::Hold
    }

    /// Keeps a record until it is its turn; audio belongs to nobody here and is taken as a retransmission.
    pub fn hold(&mut self, class: Class, size: usize, record: R, now: Time) -> Result<(), PacerDrop> {
        let queue = &mut self.queues[class.queue()];
        let reason = if queue.len() >= MOST_RECORDS {
            PacerDrop::QueueFull
        } else if self.bytes + size > MOST_BYTES {
            PacerDrop::TooManyBytes
        } else {
            queue.push_back(Held { record, size, since: now });
            self.bytes += size;
            return Ok(());
        };
        self.drops.count(reason);
        Err(reason)
    }

    /// Begins a train; one that is under way is given up.
    pub fn start_probe(&mut self, probe: Probe, now: Time) {
        self.train = Some(Train { probe, bytes: 0, packets: 0, next: now });
    }

    /// What is to be sent now; call again until it is `None`.
    pub fn poll(&mut self, now: Time) -> Option<Release<R>> {
        self.pay(now);
        self.drop_stale(now);
        if let Some(train) = self.train {
            if now < train.next {
                return None;
            }
            let cluster = train.probe.cluster;
            // A train may be more than the line carries: what must not be lost is no part of it.
            let Some((held, class)) = self.take(Class::Retransmission) else {
                return Some(Release::Padding { bytes: PADDING, cluster });
            };
            self.count(held.size, now);
            return Some(Release::Packet { held, class, cluster: Some(cluster) });
        }
        if self.debt_bytes >= self.burst_bytes().min(self.debt_limit()) {
            return None;
        }
        let (held, class) = self.take(Class::ScreenRetransmission)?;
        self.count(held.size, now);
        Some(Release::Packet { held, class, cluster: None })
    }

    /// Tells how many bytes of padding were sent; 0 when there is nothing to pad with, which ends the train.
    pub fn padded(&mut self, bytes: usize, now: Time) -> Option<ClusterId> {
        if bytes == 0 {
            return self.train.take().map(|train| train.probe.cluster);
        }
        self.count(bytes, now);
        None
    }

    /// A record that was taken out has not left after all: its bytes are no debt.
    pub fn forgive(&mut self, size: usize) {
        self.debt_bytes = (self.debt_bytes - size as f64).max(0.0);
    }

    /// When to call [`Pacer::poll`] next; `None` when nothing waits.
    pub fn poll_timeout(&self) -> Option<Time> {
        if let Some(train) = self.train {
            return Some(train.next);
        }
        if self.is_empty() {
            return None;
        }
        let over_bytes = (self.debt_bytes - self.debt_limit()).max(0.0);
        let wait_s = over_bytes * 8.0 / self.drain_bps();
        // A little more than needed: rounded down it would be due for ever.
        Some(self.counted + Duration::from_secs_f64(wait_s.min(10.0)) + Duration::from_micros(1))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// The records of new pictures that wait, those of one picture in order.
    pub fn waiting_video(&self) -> impl Iterator<Item = &Held<R>> {
        self.queues[Class::Screen.queue()].iter().chain(&self.queues[Class::Video.queue()])
    }

    /// Drops what is of no use any more.
    pub fn abandon(&mut self, is_useless: impl Fn(&R) -> bool) {
        for queue in &mut self.queues {
            queue.retain(|held| {
                let goes = is_useless(&held.record);
                if goes {
                    self.bytes -= held.size;
                    self.drops.count(PacerDrop::Abandoned);
                }
                !goes
            });
        }
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// How long the oldest record has waited.
    pub fn longest_wait(&self, now: Time) -> Duration {
        self.queues.iter().filter_map(VecDeque::front).map(|held| now.since(held.since)).max().unwrap_or_default()
    }

    /// What was dropped and why.
    pub fn drops_mut(&mut self) -> &mut PacerDrops {
        &mut self.drops
    }

    /// The next record, of classes from `first` on.
    fn take(&mut self, first: Class) -> Option<(Held<R>, Class)> {
        for (queue, class) in self.queues.iter_mut().zip(Class::WAITING).filter(|(_, class)| *class >= first) {
            if let Some(held) = queue.pop_front() {
                self.bytes -= held.size;
                return Some((held, class));
            }
        }
        None
    }

    /// Accounts for what leaves, in the debt and in the train.
    fn count(&mut self, size: usize, now: Time) {
        self.debt_bytes += size as f64;
        let Some(train) = &mut self.train else { return };
        train.bytes += size;
        train.packets += 1;
        if train.bytes >= train.probe.bytes && train.packets >= train.probe.packets {
            self.train = None;
            return;
        }
        let spacing = Duration::from_secs_f64(size as f64 * 8.0 / train.probe.rate_bps.max(1) as f64);
        let begin = if now.since(train.next) > TRAIN_LAG { now } else { train.next };
        train.next = begin + spacing;
    }

    /// What waits is let out one packet at a time as soon as the debt is paid to this.
    fn debt_limit(&self) -> f64 {
        0.5 * self.burst_bytes()
    }

    fn burst_bytes(&self) -> f64 {
        let (time, bytes) = match (self.spread, self.roomy) {
            (true, _) => (SPREAD, SPREAD_BYTES),
            (false, true) => (ROOMY_BURST, BURST_BYTES),
            (false, false) => (BURST, BURST_BYTES),
        };
        (self.rate_bps * time.as_secs_f64() / 8.0).max(bytes)
    }

    fn drain_bps(&self) -> f64 {
        if self.screen.is_some_and(|screen| self.counted.since(screen) < SHARED) {
            return PACE * self.rate_bps;
        }
        let left_s = (LONGEST_WAIT_SECONDS - self.longest_wait(self.counted).as_secs_f64()).max(SHORTEST_SECONDS);
        (PACE * self.rate_bps).max(self.bytes as f64 * 8.0 / left_s)
    }

    fn pay(&mut self, now: Time) {
        let elapsed_s = now.since(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
        self.debt_bytes = (self.debt_bytes - self.drain_bps() * elapsed_s / 8.0).max(0.0);
    }

    fn drop_stale(&mut self, now: Time) {
        for (queue, class) in self.queues.iter_mut().zip(Class::WAITING) {
            let limit = if class < Class::Retransmission { STALE_SCREEN } else { STALE };
            while queue.front().is_some_and(|held| now.since(held.since) > limit) {
                self.bytes -= queue.pop_front().map_or(0, |held| held.size);
                self.drops.count(PacerDrop::Stale);
            }
        }
    }
}
