//! What every connection of a link is handed: where events and media frames go, what is counted, and the word to stop.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::counters::{Count, LinkCounters};
use super::event::{EventSink, LinkEvent};
use super::pipe::End;

type TakeFrames = dyn Fn(u64, &[Bytes]) + Send + Sync;

/// Takes media frames that came over TLS, with the link's id; must not wait.
#[derive(Clone)]
pub struct FrameSink(Arc<TakeFrames>);

impl FrameSink {
    /// A sink that hands everything to `take`.
    pub fn new(take: impl Fn(u64, &[Bytes]) + Send + Sync + 'static) -> FrameSink {
        FrameSink(Arc::new(take))
    }
}

impl fmt::Debug for FrameSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameSink").finish_non_exhaustive()
    }
}

/// What all connections share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where events go.
    pub events: EventSink,
    /// Where media frames go.
    pub frames: FrameSink,
    /// What is counted.
    pub counters: LinkCounters,
}

impl Parts {
    /// Sends an event; whether it was taken.
    pub(crate) fn tell(&self, event: LinkEvent) -> bool {
        let taken = self.events.send(event);
        if !taken {
            self.counters.add(Count::EventsLost, 1);
        }
        taken
    }

    pub(crate) fn count(&self, what: Count) {
        self.counters.add(what, 1);
    }

    /// Counts how a visitor's connection ended; `None` is a task that failed.
    pub(crate) fn count_end(&self, end: Option<End>) {
        match end {
            Some(End::Done) => {}
            Some(End::Stalled) => self.count(Count::StreamStalled),
            Some(End::Reset) | None => self.count(Count::StreamsReset),
        }
    }

    /// Hands on media frames.
    pub(crate) fn frames(&self, link: u64, frames: &[Bytes]) {
        self.counters.add(Count::FramesReceived, frames.len() as u64);
        (self.frames.0)(link, frames);
    }
}

/// The word to stop, with its reason.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<Option<&'static str>>);

/// Hears the word to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<Option<&'static str>>);

/// A pair of both.
pub(crate) fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says it; the first reason stays.
    pub(crate) fn stop(&self, reason: &'static str) {
        self.0.send_if_modified(|said| {
            let is_first = said.is_none();
            said.get_or_insert(reason);
            is_first
        });
    }
}

impl Stop {
    /// Waits for it. Whoever drops the other end without a word stops as well.
    pub(crate) async fn said(&mut self) -> &'static str {
        match self.0.wait_for(Option::is_some).await {
            Ok(said) => said.unwrap_or_default(),
            Err(_) => "its owner is gone",
        }
    }
}
