//! The links of an engine: their thread is started with the first of them, and takes commands at once.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::counters::{Count, LinkCounters};
use super::event::EventSink;
use super::parts::{FrameSink, Parts};
use super::switch::{Owners, Switch};
use super::table::LinkTable;
use super::thread::LinkThread;
use crate::command::Action;
use crate::counters::{Counters, set};
use crate::event::Event;
use crate::mailbox::{EventSender, Waker};
use crate::rings::Rings;

/// Owns the thread of the links.
#[derive(Debug)]
pub struct LinkOwner {
    events: EventSender,
    counters: LinkCounters,
    switch: Option<Arc<Switch>>,
    thread: Option<LinkThread>,
}

impl LinkOwner {
    /// No link yet.
    pub fn new(events: EventSender) -> LinkOwner {
        LinkOwner { events, counters: LinkCounters::default(), switch: None, thread: None }
    }

    /// Gives frames that come over TLS to their threads, and takes those that are to go so.
    pub(crate) fn connect(
        &mut self,
        member: u16,
        epoch: Instant,
        owners: Owners,
        rings: Rings,
        wakers: Arc<Vec<Waker>>,
    ) {
        self.switch = Some(Arc::new(Switch::new(member, epoch, owners, rings, wakers, self.counters.clone())));
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
        let (unrouted, switch) = (self.counters.clone(), self.switch.clone());
        let deliver = move |link, frames: &[Bytes]| match &switch {
            Some(switch) => switch.deliver(link, frames),
            None => unrouted.add(Count::FrameUnrouted, frames.len() as u64),
        };
        let parts = Parts {
            events: EventSink::new(move |event| events.tell(event.into())),
            frames: FrameSink::new(deliver),
            counters,
        };
        let thread = self.thread.insert(LinkThread::start(parts, self.switch.clone())?);
        Ok(thread.links.clone())
    }
}
