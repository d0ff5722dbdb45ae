//! The links of an engine: their thread is started with the first of them, and takes commands at once.

use std::io;
use std::time::Instant;

use super::counters::{Count, LinkCounters};
use super::event::EventSink;
use super::parts::{FrameSink, Parts};
use super::table::LinkTable;
use super::thread::LinkThread;
use crate::command::Action;
use crate::event::Event;
use crate::mailbox::EventSender;
use crate::metrics::{Counters, set};

/// Owns the thread of the links.
#[derive(Debug)]
pub struct LinkOwner {
    events: EventSender,
    counters: LinkCounters,
    thread: Option<LinkThread>,
}

impl LinkOwner {
    /// No link yet.
    pub fn new(events: EventSender) -> LinkOwner {
        LinkOwner { events, counters: LinkCounters::default(), thread: None }
    }

    /// Whether `action` is about a link.
    pub fn takes(action: &Action) -> bool {
        matches!(
            action,
            Action::DialLink(_)
                | Action::ListenLink(_)
                | Action::CarryStream(_)
                | Action::CloseLink
                | Action::SetLinkBusy { .. }
                | Action::SendLinkMessage { .. }
        )
    }

    /// Does it; the error says why not.
    pub fn command(&mut self, id: u64, request: Option<u64>, action: Action) -> Result<(), String> {
        let links = self.table().map_err(|error| error.to_string())?;
        let answer = match action {
            Action::DialLink(command) => links.dial(id, &command).map(|()| None),
            Action::ListenLink(command) => links.listen(id, &command).map(Some),
            Action::CarryStream(command) => links.carry(id, *command).map(|()| None),
            Action::SetLinkBusy { busy } => links.set_busy(id, busy).map(|()| None),
            Action::SendLinkMessage { payload } => links.send_message(id, payload.into_vec().into()).map(|()| None),
            _ => links.close(id).map(|()| None),
        }?;
        let answer = match (answer, request) {
            (Some(address), request) => Event::LinkListening { id, address: address.into(), request },
            (None, Some(request)) => Event::CommandDone { request },
            (None, None) => return Ok(()),
        };
        // With a full queue the control plane is not reading: its own timeout is the answer then.
        self.events.tell(answer);
        Ok(())
    }

    /// Writes the counters, once there were links.
    pub fn write(&self, counters: &mut Counters) {
        if self.thread.is_some() {
            for (name, value) in self.counters.read() {
                set(counters, &format!("link.{name}"), value);
            }
        }
    }

    /// Closes all links; whether they were closed before `until`. May be called twice.
    pub fn stop(&mut self, until: Instant) -> bool {
        self.thread.as_mut().is_none_or(|thread| thread.stop(until))
    }

    fn table(&mut self) -> io::Result<LinkTable> {
        if let Some(thread) = &self.thread {
            return Ok(thread.links.clone());
        }
        let (events, counters) = (self.events.clone(), self.counters.clone());
        let unrouted = self.counters.clone();
        let parts = Parts {
            events: EventSink::new(move |event| events.tell(event.into())),
            frames: FrameSink::new(move |_, frames| unrouted.add(Count::FrameUnrouted, frames.len() as u64)),
            counters,
        };
        let thread = self.thread.insert(LinkThread::start(parts)?);
        Ok(thread.links.clone())
    }
}
