//! One link as its users see it, whether it is up or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::budget::{Budget, Charged};
use super::counters::{Count, LinkCounters};
use super::event::Visitor;
use super::frame_queue::{FrameQueue, Refused};
use super::limits::{ARRIVALS, MESSAGE_BYTES, STREAMS};

/// Visitors' connections that wait to be opened.
const OPENINGS: usize = 64;

/// The bytes of a visitor's connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the end of the connection look like a failure to its other end, where that can be told from an end.
    fn abort(&mut self);
    /// Whether a reset of its other end is one: local sockets also tell it of an end with bytes that nobody read.
    fn tells_resets(&self) -> bool;
}

impl Connection for tokio::net::TcpStream {
    fn abort(&mut self) {
        // With lingering for no time the kernel sends RST when the socket is closed; without it FIN, which is still an end.
        self.set_zero_linger().ok();
    }

    fn tells_resets(&self) -> bool {
        true
    }
}

impl Connection for tokio::net::UnixStream {
    fn abort(&mut self) {}

    fn tells_resets(&self) -> bool {
        false
    }
}

/// A visitor who wants to the other end of a link.
pub(crate) struct Opening {
    pub(crate) visitor: Visitor,
    pub(crate) connection: Box<dyn Connection>,
}

/// What can be used while the control stream is open.
struct Open {
    messages: mpsc::UnboundedSender<Charged>,
    visitors: mpsc::Sender<Opening>,
}

/// The other ends of the same.
pub(crate) struct Inlets {
    pub(crate) messages: mpsc::UnboundedReceiver<Charged>,
    pub(crate) visitors: mpsc::Receiver<Opening>,
}

/// One link.
pub(crate) struct Link {
    pub(crate) id: u64,
    /// Whether paths exist.
    pub(crate) busy: watch::Sender<bool>,
    /// Room for what waits for our control plane.
    pub(crate) received: Budget,
    /// The same for visitors' connections.
    pub(crate) arrivals: Arc<Semaphore>,
    sent: Budget,
    open: Mutex<Option<Open>>,
    frames: Mutex<FrameQueue>,
    frames_open: AtomicBool,
    frames_came: Notify,
    counters: LinkCounters,
}

impl Link {
    pub(crate) fn new(id: u64, counters: LinkCounters) -> Arc<Link> {
        Arc::new(Link {
            id,
            busy: watch::Sender::new(false),
            received: Budget::default(),
            arrivals: Arc::new(Semaphore::new(ARRIVALS)),
            sent: Budget::default(),
            open: Mutex::new(None),
            frames: Mutex::new(FrameQueue::default()),
            frames_open: AtomicBool::new(false),
            frames_came: Notify::new(),
            counters,
        })
    }

    /// The control stream is open; until [`Link::close`] messages and visitors come out of the inlets.
    pub(crate) fn open(&self) -> Inlets {
        let (message_sender, messages) = mpsc::unbounded_channel();
        let (visitor_sender, visitors) = mpsc::channel(OPENINGS);
        *self.lock() = Some(Open { messages: message_sender, visitors: visitor_sender });
        Inlets { messages, visitors }
    }

    /// Nothing can be sent any more; whether something could.
    pub(crate) fn close(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Queues a control message.
    pub(crate) fn send_message(&self, message: Bytes) -> Result<(), &'static str> {
        if message.len() > MESSAGE_BYTES {
            return Err("invalid payload: too long for a control message");
        }
        let open = self.lock();
        let open = open.as_ref().ok_or("the link is down")?;
        let charged = self.sent.try_charge(message).ok_or("limit link_messages")?;
        open.messages.send(charged).map_err(|_| "the link is down")?;
        self.counters.add(Count::MessagesSent, 1);
        Ok(())
    }

    /// Queues a visitor.
    pub(crate) fn open_stream(&self, visitor: Visitor, connection: Box<dyn Connection>) -> Result<(), &'static str> {
        let open = self.lock();
        let open = open.as_ref().ok_or("the link is down")?;
        open.visitors.try_send(Opening { visitor, connection }).map_err(|_| {
            self.counters.add(Count::StreamsBound, 1);
            "limit link_streams"
        })
    }

    /// Whether media frames go over TLS from now on.
    pub(crate) fn set_frames_open(&self, open: bool) {
        self.frames_open.store(open, Ordering::Relaxed);
        if !open {
            *self.frames.lock().unwrap_or_else(PoisonError::into_inner) = FrameQueue::default();
        }
    }

    /// Queues a media frame; whether it was taken.
    pub(crate) fn send_frame(&self, frame: &[u8]) -> bool {
        if !self.frames_open.load(Ordering::Relaxed) {
            self.counters.add(Count::FrameDown, 1);
            return false;
        }
        let pushed = self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now(), frame);
        match pushed {
            Ok(()) => self.frames_came.notify_one(),
            Err(Refused::Size) => self.counters.add(Count::FrameSize, 1),
            Err(Refused::Full) => self.counters.add(Count::FramesBound, 1),
        }
        pushed.is_ok()
    }

    /// Waits until a frame waits.
    pub(crate) async fn frames_waiting(&self) {
        while self.frames.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.frames_came.notified().await;
        }
    }

    /// Writes frames that are not too old, up to `most` bytes.
    pub(crate) fn take_frames(&self, most: usize, out: &mut BytesMut) {
        let taken = self.frames.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), most, out);
        self.counters.add(Count::FramesSent, taken.0);
        self.counters.add(Count::FrameLate, taken.1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Streams that one end takes beside the control stream.
pub(crate) const CONCURRENT_STREAMS: u32 = STREAMS as u32 + 1;
