//! The engine's threads: how each is connected with the others, started, fed and ended.

use std::io;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rtrb::{Producer, RingBuffer};

use super::{Engine, EngineError, io_error};
use crate::inbox::Inbox;
use crate::metrics::Published;
use crate::worker::Links;

/// Commands that wait for a thread.
const INBOX: usize = 32_768;
/// A thread, as the engine sees it.
pub(super) struct Thread {
    pub(super) name: String,
    pub(super) published: Published,
    inbox: Producer<Inbox>,
    /// It was given something since it was last woken.
    is_fed: bool,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Gives it something, which it sees when it is woken; false when too much waits already.
    pub(super) fn feed(&mut self, item: Inbox) -> bool {
        let taken = self.inbox.push(item).is_ok();
        self.is_fed |= taken;
        taken
    }
}

/// A thread that is yet to be started.
pub(super) struct Seat {
    /// Its index among all.
    pub(super) index: usize,
    name: String,
    inbox: Producer<Inbox>,
    published: Published,
}

impl Seat {
    /// Makes the error of what the thread needs.
    pub(super) fn failed(&self) -> impl FnOnce(io::Error) -> EngineError + use<> {
        io_error(format!("thread {}", self.name))
    }
}

impl Engine {
    /// The place of the thread that is started next, and what connects it with the others.
    pub(super) fn seat(&mut self) -> (Seat, Links) {
        let index = self.threads.len();
        let (inbox, consumer) = RingBuffer::new(INBOX);
        let published = Published::default();
        let links = Links {
            inbox: consumer,
            events: self.event_sender.clone(),
            rings: std::mem::take(&mut self.rings[index]),
            wakers: self.wakers.clone(),
            stop: self.stop.clone(),
            published: published.clone(),
        };
        (Seat { index, name: self.layout.name(index), inbox, published }, links)
    }

    /// Starts the thread of a seat.
    pub(super) fn spawn(&mut self, seat: Seat, run: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let handle = Builder::new().name(seat.name.clone()).spawn(run).map_err(seat.failed())?;
        let Seat { name, inbox, published, .. } = seat;
        self.threads.push(Thread { name, published, inbox, is_fed: false, handle: Some(handle) });
        Ok(())
    }

    /// Wakes the threads that were given something.
    pub(super) fn wake_fed(&mut self) {
        for (thread, waker) in self.threads.iter_mut().zip(self.wakers.iter()) {
            if std::mem::take(&mut thread.is_fed) {
                waker.wake();
            }
        }
    }

    /// Closes all transports and ends the threads. May be called twice.
    pub fn stop(&mut self, deadline: Duration) -> Result<(), EngineError> {
        self.stop.store(true, Ordering::Relaxed);
        for waker in self.wakers.iter() {
            waker.wake();
        }
        let until = Instant::now() + deadline;
        for thread in &mut self.threads {
            let Some(handle) = thread.handle.take() else { continue };
            while !handle.is_finished() {
                if Instant::now() >= until {
                    thread.handle = Some(handle);
                    return Err(EngineError::Stuck(thread.name.clone()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            // A panic outside of the guarded calls was already printed by the panic hook.
            handle.join().ok();
        }
        if self.links.stop(until) { Ok(()) } else { Err(EngineError::LinksStuck) }
    }
}
