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
    /// From whom the next message is looked for.
    turn: usize,
}

impl Mesh {
    /// The ends of `links`; `epoch` is the instant of `Time::ZERO`.
    pub(super) fn new(epoch: Instant, links: Links) -> Mesh {
        let collecting = Collecting::new(links.outbound.len());
        let state = State { collecting, waiting: VecDeque::new(), turn: 0 };
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

    /// Puts a message into a ring; gives it back when that is full.
    fn pass(&self, to: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        let mut links = self.links.borrow_mut();
        let Some(ring) = links.outbound.get_mut(to).and_then(Option::as_mut) else { return Ok(()) };
        ring.push(message).map_err(|rtrb::PushError::Full(message)| message)?;
        links.wakers[to].wake();
        Ok(())
    }

    /// The next message, each thread in turn.
    pub(super) fn take_message(&self) -> Option<(Shard, ShardMessage)> {
        let mut links = self.links.borrow_mut();
        let mut state = self.state.borrow_mut();
        let count = links.inbound.len();
        for _ in 0..count {
            let from = state.turn % count;
            state.turn = from + 1;
            if let Some(message) = links.inbound[from].as_mut().and_then(|ring| ring.pop().ok()) {
                return Some((Shard::try_from(from).unwrap_or(Shard::MAX), message));
            }
        }
        None
    }

    /// Something waits to be taken.
    pub(super) fn has_input(&self) -> bool {
        let links = self.links.borrow();
        links.inbox.slots() > 0 || links.inbound.iter().flatten().any(|ring| ring.slots() > 0)
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
