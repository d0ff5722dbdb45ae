//! What a link tells, in the form in which it crosses to the control plane.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::OwnedSemaphorePermit;

use super::event::{LinkEvent, Message, StreamOpened};
use crate::event::Event;

/// A control message on its way; its room is given back with the last copy.
#[derive(Clone, Debug)]
pub struct Payload(Arc<Message>);

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.0.bytes() == other.0.bytes()
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.bytes())
    }
}

/// A descriptor, with the room that it takes while it waits, where that is bounded.
type Held = (OwnedFd, Option<OwnedSemaphorePermit>);

/// A file descriptor on its way: whoever read its number owns it after [`Descriptor::hand_over`], and until then it is
/// closed with the last copy.
#[derive(Clone, Debug)]
pub struct Descriptor(Arc<Mutex<Option<Held>>>);

impl Descriptor {
    /// Of a connection that nobody else has, with the room that it takes while it waits, where that is bounded.
    pub(crate) fn new(fd: OwnedFd, room: Option<OwnedSemaphorePermit>) -> Descriptor {
        Descriptor(Arc::new(Mutex::new(Some((fd, room)))))
    }

    /// The reader of the event owns it now.
    pub fn hand_over(&self) {
        if let Some((fd, _room)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = fd.into_raw_fd();
        }
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Descriptor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serializer.serialize_i32(fd.as_ref().map_or(-1, |(fd, _)| fd.as_raw_fd()))
    }
}

impl From<LinkEvent> for Event {
    fn from(event: LinkEvent) -> Event {
        match event {
            LinkEvent::Up { link, remote } => Event::LinkUp { id: link, remote: remote.into() },
            LinkEvent::Down { link, reason } => Event::LinkDown { id: link, reason },
            LinkEvent::Message { link, message } => {
                Event::LinkMessage { id: link, payload: Payload(Arc::new(message)) }
            }
            LinkEvent::StreamOpened(StreamOpened { link, stream, connection, visitor, room }) => Event::StreamOpened {
                id: link,
                stream,
                fd: Descriptor::new(connection, Some(room)),
                source: visitor.source.into(),
                local: visitor.local.into(),
                server_name: visitor.server_name,
                service: visitor.service,
                number: visitor.number,
            },
            LinkEvent::MediaUp { link } => Event::LinkMediaUp { id: link },
            LinkEvent::MediaDown { link, reason } => Event::LinkMediaDown { id: link, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::FromRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::event::write_batch;

    fn opened() -> (UnixStream, Event) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let visitor = super::super::Visitor {
            source: "203.0.113.9:1".parse().unwrap(),
            local: "192.0.2.1:443".parse().unwrap(),
            server_name: String::new(),
            service: super::super::Service::Page,
            number: 0,
        };
        let room = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        let opened = StreamOpened { link: 7, stream: 3, connection: theirs.into(), visitor, room };
        (ours, LinkEvent::StreamOpened(opened).into())
    }

    #[test]
    fn a_descriptor_that_nobody_took_is_closed_with_its_event() {
        let (mut ours, event) = opened();
        drop(event);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_descriptor_that_was_handed_over_stays_open() {
        let (mut ours, event) = opened();
        let Event::StreamOpened { fd, .. } = &event else { unreachable!() };
        let number = fd.0.lock().unwrap().as_ref().unwrap().0.as_raw_fd();
        assert!(write_batch(std::slice::from_ref(&event)).is_ok());
        fd.hand_over();
        drop(event);
        ours.set_nonblocking(true).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        // SAFETY: nobody else owns the number that was handed over.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}
