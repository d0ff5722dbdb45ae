//! A thread's ends of the rings that it has with every other one: rings without locks, and whom it is to wake.

use std::sync::Arc;

use mediaserver_proto::endpoint::ShardMessage;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::mailbox::Waker;

/// Messages on the way from one thread to another.
const ROOM: usize = 1_024;

/// See the module.
#[derive(Default)]
pub struct Rings {
    inbound: Vec<Option<Consumer<ShardMessage>>>,
    outbound: Vec<Option<Producer<ShardMessage>>>,
    wakers: Arc<Vec<Waker>>,
    /// From whom the next message is looked for.
    turn: usize,
    /// Who was given something, and is yet to be woken for it.
    fed: Vec<bool>,
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rings").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Rings {
    /// From each thread and to each thread, none where there is nothing to say, and what wakes each.
    pub fn new(
        inbound: Vec<Option<Consumer<ShardMessage>>>,
        outbound: Vec<Option<Producer<ShardMessage>>>,
        wakers: Arc<Vec<Waker>>,
    ) -> Rings {
        let fed = vec![false; outbound.len()];
        Rings { inbound, outbound, wakers, turn: 0, fed }
    }

    /// A ring for every ordered pair of threads, of which there are as many as wakers; by thread its ends.
    pub fn mesh(wakers: &Arc<Vec<Waker>>) -> Vec<Rings> {
        let threads = wakers.len();
        let mut all: Vec<Rings> =
            (0..threads).map(|_| Rings::new(none(threads), none(threads), wakers.clone())).collect();
        for from in 0..threads {
            for to in (0..threads).filter(|&to| to != from) {
                let (producer, consumer) = RingBuffer::new(ROOM);
                all[from].outbound[to] = Some(producer);
                all[to].inbound[from] = Some(consumer);
            }
        }
        all
    }

    /// How many threads there are, this one among them.
    pub fn threads(&self) -> usize {
        self.inbound.len()
    }

    /// Something waits to be taken.
    pub fn has_input(&self) -> bool {
        self.inbound.iter().flatten().any(|ring| ring.slots() > 0)
    }

    /// The next message of one thread.
    pub fn take_from(&mut self, from: usize) -> Option<ShardMessage> {
        self.inbound[from].as_mut()?.pop().ok()
    }

    /// The next message, each thread in turn, and whose it is.
    pub fn take(&mut self) -> Option<(usize, ShardMessage)> {
        for _ in 0..self.threads() {
            let from = self.turn % self.threads();
            self.turn = from + 1;
            if let Some(message) = self.take_from(from) {
                return Some((from, message));
            }
        }
        None
    }

    /// Puts a message into the ring to a thread, which [`Rings::wake_fed`] wakes; gives it back when that is full. What is for
    /// nobody is gone.
    pub fn pass(&mut self, to: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        let Some(ring) = self.outbound.get_mut(to).and_then(Option::as_mut) else { return Ok(()) };
        ring.push(message).map_err(|PushError::Full(message)| message)?;
        self.fed[to] = true;
        Ok(())
    }

    /// Wakes everybody who was given something.
    pub fn wake_fed(&mut self) {
        for (fed, waker) in self.fed.iter_mut().zip(self.wakers.iter()) {
            if std::mem::take(fed) {
                waker.wake();
            }
        }
    }
}

fn none<T>(count: usize) -> Vec<Option<T>> {
    (0..count).map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use mediaserver_proto::io::{Path, SocketId};

    use super::*;
    use crate::sys::Poller;

    fn message(number: u16) -> ShardMessage {
        ShardMessage::PathBound(Path { socket: SocketId(0), remote: ([192, 0, 2, 1], number).into() })
    }

    fn number(message: &ShardMessage) -> u16 {
        let ShardMessage::PathBound(path) = message else { panic!("another message") };
        path.remote.port()
    }

    fn mesh(threads: usize) -> Vec<Rings> {
        Rings::mesh(&Arc::new((0..threads).map(|_| Waker::new().unwrap()).collect()))
    }

    #[test]
    fn every_thread_has_a_ring_to_every_other_and_takes_from_each_in_turn() {
        let mut threads = mesh(3);
        for (from, first) in [(0, 1), (1, 11)] {
            (first..first + 2)
                .for_each(|number| threads[from].pass(2, message(number)).unwrap_or_else(|_| panic!("full")));
        }
        assert!(threads[2].has_input() && !threads[1].has_input());
        let taken: Vec<_> =
            std::iter::from_fn(|| threads[2].take()).map(|(from, message)| (from, number(&message))).collect();
        assert_eq!(taken, [(0, 1), (1, 11), (0, 2), (1, 12)]);
        assert!(!threads[2].has_input());
    }

    #[test]
    fn a_full_ring_gives_the_message_back_and_what_is_for_nobody_is_gone() {
        let mut threads = mesh(2);
        for number in 0..ROOM as u16 {
            assert!(threads[0].pass(1, message(number)).is_ok());
        }
        assert_eq!(threads[0].pass(1, message(7)).map_err(|message| number(&message)), Err(7));
        assert!(threads[0].pass(0, message(8)).is_ok() && threads[0].pass(2, message(9)).is_ok());
        assert_eq!(threads[1].take_from(0).map(|message| number(&message)), Some(0));
        assert!(threads[1].take_from(1).is_none());
    }

    #[test]
    fn only_who_was_given_something_is_woken_and_once() {
        let mut threads = mesh(3);
        let wakers = threads[0].wakers.clone();
        let mut poller = Poller::new().unwrap();
        for (waker, token) in wakers.iter().zip(0..) {
            poller.add(waker.as_raw_fd(), token).unwrap();
            waker.prepare_sleep();
        }
        assert!(threads[0].pass(2, message(1)).is_ok());
        for woken in [Some(2), None] {
            threads[0].wake_fed();
            poller.wait(Some(Duration::ZERO)).unwrap();
            assert_eq!((0..poller.ready()).map(|at| poller.token(at)).next(), woken);
            wakers[2].reset();
            wakers[2].prepare_sleep();
        }
    }
}
