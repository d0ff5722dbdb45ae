//! What links tell their owner.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::budget::Charged;

/// A control message; as long as it is held it counts as waiting, and too many of those stop the link's reader.
#[derive(Debug)]
pub struct Message(Charged);

impl Message {
    pub(crate) fn new(charged: Charged) -> Message {
        Message(charged)
    }

    /// What the other end sent.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

/// Something that happened to a link or a listener.
#[derive(Debug)]
pub enum LinkEvent {
    /// The other end is there and control messages can go both ways.
    Up {
        /// The link.
        link: u64,
        /// Where the other end is.
        remote: SocketAddr,
    },
    /// The link is down, or an attempt to bring it up failed for another reason than the last one.
    Down {
        /// The link.
        link: u64,
        /// Why, in plain words.
        reason: String,
    },
    /// A control message.
    Message {
        /// The link.
        link: u64,
        /// The message.
        message: Message,
    },
    /// A visitor's connection.
    StreamOpened(StreamOpened),
    /// Media frames can go over TLS.
    MediaUp {
        /// The link.
        link: u64,
    },
    /// No media frames can go over TLS any more.
    MediaDown {
        /// The link.
        link: u64,
        /// Why, in plain words.
        reason: String,
    },
}

/// A visitor's connection that came over a link.
#[derive(Debug)]
pub struct StreamOpened {
    /// The link.
    pub link: u64,
    /// Number of the stream; unique as long as the link is up.
    pub stream: u32,
    /// The visitor's bytes: a stream socket, not blocking.
    pub connection: OwnedFd,
    /// Where the visitor is.
    pub visitor: Visitor,
    /// Given back when the event was taken.
    pub(crate) room: OwnedSemaphorePermit,
}

/// What is known of a visitor's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The visitor's address.
    pub source: SocketAddr,
    /// The address that the visitor came to.
    pub local: SocketAddr,
    /// The name that the visitor asked for, lower case.
    pub server_name: String,
    /// What it is for.
    pub service: Service,
    /// The Core's own number of a connection that it had the Edge open; else 0.
    pub number: u64,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// A page's, or that of another name of the shared TLS port.
    Page,
    /// It came by the port for SIP over TLS.
    Sip,
    /// The Edge opened it for the Core.
    Dialled,
}

impl Service {
    /// As it stands in a header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Page => "page",
            Service::Sip => "sip",
            Service::Dialled => "dialled",
        }
    }

    /// What a header says.
    pub(crate) fn named(name: &str) -> Option<Service> {
        [Service::Page, Service::Sip, Service::Dialled].into_iter().find(|service| service.name() == name)
    }
}

/// Takes the events of all links and says whether it had room.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(LinkEvent) -> bool + Send + Sync>);

impl EventSink {
    /// A sink that hands everything to `take`, which must not wait.
    pub fn new(take: impl Fn(LinkEvent) -> bool + Send + Sync + 'static) -> EventSink {
        EventSink(Arc::new(take))
    }

    pub(crate) fn send(&self, event: LinkEvent) -> bool {
        (self.0)(event)
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").finish_non_exhaustive()
    }
}
