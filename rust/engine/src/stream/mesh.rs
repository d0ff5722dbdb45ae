//! The thread's ends of the rings that it has with every other thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Instant;

use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::io::{Path, ReceiveBatch};
use mediaserver_proto::time::Time;

use super::counts::Counts;
use crate::collecting::Collecting;
use crate::worker::Links;

/// Messages that wait for room in a ring; only such as must not be lost.
const MOST_WAITING: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Mesh {
    epoch: Instant,
    links: RefCell<Links>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    collecting: Collecting,
    waiting: VecDeque<(usize, ShardMessage)>,
}

impl Mesh {
    /// The ends of `links`; `epoch` is the instant of `Time::ZERO`.
    pub(super) fn new(epoch: Instant, links: Links) -> Mesh {
        let collecting = Collecting::new(links.rings.threads());
        let state = State { collecting, waiting: VecDeque::new() };
        Mesh { epoch, links: RefCell::new(links), state: RefCell::new(state) }
    }

    /// The engine's clock.
    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// What connects this thread with the others.
    pub(super) fn links(&self) -> std::cell::RefMut<'_, Links> {
        self.links.borrow_mut()
    }

    /// Collects a datagram for the thread `to`, until [`Mesh::flush`].
    pub(super) fn hand_over(&self, to: usize, path: Path, datagram: &[u8], now: Time) {
        self.state.borrow_mut().collecting.push(to, path, datagram, Some(now));
    }

    /// Sends what was collected. Media that finds no room is dropped and counted.
    pub(super) fn flush(&self, counts: &Counts) {
        let mut state = self.state.borrow_mut();
        while let Some((to, batch)) = state.collecting.take() {
            if let Err(ShardMessage::Datagrams(batch)) = self.pass(to, ShardMessage::Datagrams(batch)) {
                counts.add("drop.handover_full", batch.len() as u64);
                state.collecting.keep(batch);
            }
        }
    }

    /// A message that must not be lost.
    pub(super) fn tell(&self, to: usize, message: ShardMessage, counts: &Counts) {
        let mut state = self.state.borrow_mut();
        let result = if state.waiting.is_empty() { self.pass(to, message) } else { Err(message) };
        let Err(message) = result else { return };
        if state.waiting.len() < MOST_WAITING {
            state.waiting.push_back((to, message));
        } else {
            counts.add("drop.handover_full", 1);
        }
    }

    /// Tries again what found no room; whether some still waits.
    pub(super) fn pass_waiting(&self) -> bool {
        let mut state = self.state.borrow_mut();
        while let Some((to, message)) = state.waiting.pop_front() {
            if let Err(message) = self.pass(to, message) {
                state.waiting.push_front((to, message));
                return true;
            }
        }
        false
    }

    /// Puts a message into a ring and wakes who is to have it; gives it back when that is full.
    fn pass(&self, to: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        let rings = &mut self.links.borrow_mut().rings;
        rings.pass(to, message)?;
        rings.wake_fed();
        Ok(())
    }

    /// The next message, each thread in turn.
    pub(super) fn take_message(&self) -> Option<(Shard, ShardMessage)> {
        let (from, message) = self.links.borrow_mut().rings.take()?;
        Some((Shard::try_from(from).unwrap_or(Shard::MAX), message))
    }

    /// Something waits to be taken.
    pub(super) fn has_input(&self) -> bool {
        self.links.borrow().has_input()
    }

    /// A buffer goes back to whom it belongs; one that finds no room is made anew there.
    pub(super) fn give_back(&self, to: usize, batch: Box<ReceiveBatch>) {
        self.pass(to, ShardMessage::Returned(batch)).ok();
    }

    /// A buffer is back.
    pub(super) fn reclaim(&self, batch: Box<ReceiveBatch>) {
        self.state.borrow_mut().collecting.keep(batch);
    }
}
