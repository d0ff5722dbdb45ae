//! An audio thread: it wakes at fixed points in time, makes the frames that are due, and sleeps.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mediaserver_audio::transcoder::FRAME;
use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::time::Time;

use super::pool::{AudioPool, PHASES};
use crate::asked::Asked;
use crate::counters::set;
use crate::event::Event;
use crate::inbox::Inbox;
use crate::metrics::PUBLISH_EVERY;
use crate::sys::{Poller, thread_cpu_ns};
use crate::worker::Links;

/// Between two deadlines: each phase of a frame has its own.
const TICK: Duration = Duration::from_millis(FRAME.as_millis() as u64 / PHASES as u64);
/// A deadline that was missed by more than this counts as late.
const LATE: Duration = Duration::from_millis(5);
/// After so much delay the deadlines in between are given up: what they would make nobody could play.
const GIVE_UP: Duration = Duration::from_millis(100);
/// With nothing to make the thread looks around this often; commands and subscriptions wake it at once.
const IDLE: Duration = Duration::from_secs(1);
/// Messages of one shard handled before the deadline is looked at again.
const MESSAGES_PER_ROUND: usize = 256;
/// Messages that wait for room in a shard's ring; only such as must not be lost.
const MOST_WAITING: usize = 4_096;

/// What a thread counts about itself.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ticks: u64,
    late: u64,
    given_up: u64,
    handover_full: u64,
    panics: u64,
    events_lost: u64,
}

/// See the module.
#[derive(Debug)]
pub struct AudioWorker {
    index: usize,
    epoch: Instant,
    pool: AudioPool,
    links: Links,
    poller: Poller,
    waiting: VecDeque<(Shard, ShardMessage)>,
    phase: usize,
    counts: Counts,
    published_at: Time,
}

impl AudioWorker {
    /// The audio thread with `index` among shards and audio threads; `epoch` is the instant of `Time::ZERO`.
    pub fn new(index: usize, epoch: Instant, pool: AudioPool, links: Links) -> io::Result<AudioWorker> {
        let poller = Poller::new()?;
        poller.add(links.wakers[index].as_raw_fd(), 0)?;
        let counts = Counts::default();
        let waiting = VecDeque::new();
        Ok(AudioWorker { index, epoch, pool, links, poller, waiting, phase: 0, counts, published_at: Time::ZERO })
    }

    /// Runs until the engine stops.
    pub fn run(mut self) {
        let mut deadline = self.now();
        while !self.links.stop.load(Ordering::Relaxed) {
            if self.pool.is_empty() && self.waiting.is_empty() {
                self.rest();
                deadline = self.now();
            } else {
                deadline = deadline + TICK;
                std::thread::sleep(deadline.since(self.now()));
            }
            let now = self.now();
            self.take_commands();
            self.take_messages(now);
            if !self.pool.is_empty() {
                deadline = self.tick(deadline, now);
            }
            self.pass_messages();
            if now.since(self.published_at) >= PUBLISH_EVERY {
                self.publish(now);
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// Sleeps until somebody has something to say.
    fn rest(&mut self) {
        let waker = &self.links.wakers[self.index];
        waker.prepare_sleep();
        let timeout = if self.links.has_input() { Duration::ZERO } else { IDLE };
        if self.poller.wait(Some(timeout)).is_err() {
            // Only epoll itself can fail here; without it the thread looks around often enough.
            std::thread::sleep(TICK);
        }
        waker.awake();
        waker.reset();
    }

    /// Makes what is due; the deadline that was kept, or now where too many were missed.
    fn tick(&mut self, deadline: Time, now: Time) -> Time {
        self.counts.ticks += 1;
        let late = now.since(deadline);
        self.counts.late += u64::from(late > LATE);
        let deadline = if late > GIVE_UP {
            self.counts.given_up += (late.as_nanos() / TICK.as_nanos()) as u64;
            now
        } else {
            deadline
        };
        self.phase = (self.phase + 1) % PHASES;
        let (phase, pool) = (self.phase, &mut self.pool);
        let result = catch_unwind(AssertUnwindSafe(|| pool.tick(phase, deadline)));
        self.counts.panics += u64::from(result.is_err());
        while let Some(event) = self.pool.take_event() {
            self.tell(event);
        }
        deadline
    }

    fn take_commands(&mut self) {
        while let Ok(item) = self.links.inbox.pop() {
            let Inbox::Command(command) = item else { continue };
            let result = self.pool.command(command.id, &command.action);
            if let Some(event) = Asked::by(&command).answer(result) {
                self.tell(event);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.counts.events_lost += u64::from(!self.links.events.tell(event));
    }

    fn take_messages(&mut self, now: Time) {
        for from in 0..self.links.rings.threads() {
            for _ in 0..MESSAGES_PER_ROUND {
                let Some(message) = self.links.rings.take_from(from) else { break };
                let pool = &mut self.pool;
                let taken = catch_unwind(AssertUnwindSafe(|| pool.handle_message(from as Shard, &message, now)));
                self.counts.panics += u64::from(taken.is_err());
            }
        }
    }

    /// Carries what is to go to the shards. What must not be lost waits for room in their ring; the rest does not.
    fn pass_messages(&mut self) {
        self.waiting.extend(self.pool.take_messages());
        // Bit by shard: who had no room, so that what comes behind keeps its place.
        let mut full = 0u64;
        for _ in 0..self.waiting.len() {
            let Some((to, message)) = self.waiting.pop_front() else { break };
            let bit = 1 << (to & 63);
            let result = if full & bit == 0 { self.links.rings.pass(usize::from(to), message) } else { Err(message) };
            let Err(message) = result else { continue };
            full |= bit;
            if message.is_expendable() || self.waiting.len() >= MOST_WAITING {
                self.counts.handover_full += 1;
            } else {
                self.waiting.push_back((to, message));
            }
        }
        self.links.rings.wake_fed();
    }

    fn publish(&mut self, now: Time) {
        let (counts, pool) = (&self.counts, &self.pool);
        let published = self.links.published.publish(|counters| {
            pool.publish(counters);
            let named = [
                ("audio_ticks", counts.ticks),
                ("audio_late_ticks", counts.late),
                ("audio_given_up_ticks", counts.given_up),
                ("drop.audio_handover_full", counts.handover_full),
                ("panics", counts.panics),
                ("events_lost", counts.events_lost),
                ("cpu_ns", thread_cpu_ns()),
            ];
            for (name, value) in named {
                set(counters, name, value);
            }
        });
        if published {
            self.published_at = now;
        }
    }
}
