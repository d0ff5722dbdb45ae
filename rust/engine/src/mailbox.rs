//! The ways between threads: rings without locks, and an eventfd that is written only when the other side sleeps.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use tokio::io::unix::AsyncFd;

use crate::event::Event;
use crate::sys::EventFd;

/// Events that wait for the control plane.
const EVENT_QUEUE: usize = 65_536;

/// Wakes one shard.
#[derive(Debug)]
pub struct Waker {
    fd: EventFd,
    sleeping: AtomicBool,
}

impl Waker {
    /// Makes one.
    pub fn new() -> io::Result<Waker> {
        Ok(Waker { fd: EventFd::new()?, sleeping: AtomicBool::new(false) })
    }

    /// Called after something was put where the shard looks before it sleeps. Costs a system call only if it sleeps.
    pub fn wake(&self) {
        // Pairs with the fence in `prepare_sleep`: either we see that it sleeps, or it sees what we put there.
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::Relaxed) {
            self.fd.wake();
        }
    }

    /// Called by the shard before its last look at what may have been put there.
    pub fn prepare_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the shard after it woke.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Something to wait for the eventfd by, on the runtime of the calling thread.
    pub fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        self.fd.watch()
    }

    /// Called by the shard when the eventfd was readable.
    pub fn reset(&self) {
        self.fd.reset();
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The shards' end of the event queue.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: SyncSender<Event>,
    fd: Arc<EventFd>,
}

/// The control plane's end of the event queue.
#[derive(Debug)]
pub struct EventReceiver {
    queue: Receiver<Event>,
    fd: Arc<EventFd>,
}

/// A bounded queue of events from all shards.
pub fn event_queue() -> io::Result<(EventSender, EventReceiver)> {
    // The standard library's bounded channel is a ring of atomics; it takes a lock only to wake a receiver that blocks
    // in `recv`, and ours never does.
    let (sender, receiver) = sync_channel(EVENT_QUEUE);
    let fd = Arc::new(EventFd::new()?);
    Ok((EventSender { queue: sender, fd: fd.clone() }, EventReceiver { queue: receiver, fd }))
}

impl EventSender {
    /// Queues an event; gives it back when the queue is full. `wake` is to be called after the last of a batch.
    pub fn send(&self, event: Event) -> Result<(), Event> {
        self.queue.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }

    /// Makes the eventfd readable.
    pub fn wake(&self) {
        self.fd.wake();
    }

    /// Queues one event and wakes its reader; false when it was lost, because the control plane does not read: its own
    /// timeout is the answer then.
    pub fn tell(&self, event: Event) -> bool {
        let taken = self.send(event).is_ok();
        self.fd.wake();
        taken
    }

    /// Queues what waits for room, in order, and wakes its reader; of what still finds none `most` wait on. How many of the
    /// newest were given up.
    pub fn send_waiting(&self, waiting: &mut VecDeque<Event>, most: usize) -> u64 {
        let before = waiting.len();
        while let Some(event) = waiting.pop_front() {
            if let Err(event) = self.send(event) {
                waiting.push_front(event);
                break;
            }
        }
        if waiting.len() < before {
            self.fd.wake();
        }
        let lost = waiting.len().saturating_sub(most);
        waiting.truncate(most);
        lost as u64
    }
}

impl EventReceiver {
    /// Everything that waits.
    pub fn drain(&self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.queue.try_recv() {
                Ok(event) => events.push(event),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return events,
            }
        }
    }
}

impl AsRawFd for EventReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_in_order_and_a_full_queue_gives_the_event_back() {
        let (sender, receiver) = event_queue().unwrap();
        for id in 0..EVENT_QUEUE as u64 {
            sender.send(Event::MediaResumed { id }).unwrap();
        }
        assert_eq!(sender.send(Event::MediaResumed { id: 7 }), Err(Event::MediaResumed { id: 7 }));
        let events = receiver.drain();
        assert_eq!(events.len(), EVENT_QUEUE);
        assert_eq!(events[3], Event::MediaResumed { id: 3 });
    }

    #[test]
    fn what_finds_no_room_waits_in_order_and_the_newest_is_given_up() {
        let (sender, receiver) = event_queue().unwrap();
        let event = |id| Event::MediaResumed { id };
        let mut waiting: VecDeque<Event> = (0..EVENT_QUEUE as u64 + 3).map(event).collect();
        assert_eq!(sender.send_waiting(&mut waiting, 2), 1);
        assert_eq!(waiting, [event(EVENT_QUEUE as u64), event(EVENT_QUEUE as u64 + 1)]);
        assert!(!sender.tell(event(7)));
        assert_eq!(receiver.drain().len(), EVENT_QUEUE);
        assert_eq!(sender.send_waiting(&mut waiting, 2), 0);
        assert!(waiting.is_empty() && sender.tell(event(7)));
        assert_eq!(receiver.drain().len(), 3);
    }

    #[test]
    fn a_waker_writes_only_to_one_that_sleeps() {
        let waker = Waker::new().unwrap();
        let mut poller = crate::sys::Poller::new().unwrap();
        poller.add(waker.as_raw_fd(), 1).unwrap();
        waker.wake();
        poller.wait(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!(poller.ready(), 0);
        waker.prepare_sleep();
        waker.wake();
        poller.wait(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!((poller.ready(), poller.token(0)), (1, 1));
    }
}
