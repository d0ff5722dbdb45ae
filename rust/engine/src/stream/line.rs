//! One connection that datagrams travel on: what waits to be written to it, whose it is, and how it came to an end.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mediaserver_proto::io::Path;
use mediaserver_proto::stream::{Backlog, Deframer, Framing, HelloError, ProxyError};
use mediaserver_proto::time::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::Counts;
use super::door::Source;

/// Longest datagram that is taken; media has no longer ones, and neither has DTLS over a path that was made for it.
pub(super) const LONGEST_DATAGRAM: usize = 4_096;
/// Bytes that wait for a reader who is slow.
const BACKLOG_BYTES: usize = 256 * 1024;
/// What waited longer is too late for a call.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Pieces read before others have their turn.
const PIECES_PER_TURN: usize = 4;
/// Bytes of a piece.
pub(super) const PIECE_BYTES: usize = 16 * 1024;

/// Why a connection ended, or was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has closed it, or only its half: nothing answers our checks then.
    Peer,
    /// The peer has reset it, or it broke.
    Broken,
    /// The transport that it belonged to is gone, or has forgotten it.
    Unbound,
    /// The first datagram is no STUN check.
    NoCheck,
    /// The check's token was made by nobody.
    ForgedUfrag,
    /// The check's token is not ours.
    ForeignUfrag,
    /// The check's token is too old.
    ExpiredUfrag,
    /// No check passed in time.
    Silent,
    /// Others came while too many waited.
    Crowded,
    /// What came is no frame.
    NoFrame,
    /// What came first is not what a TLS client says.
    Hello(HelloError),
    /// The TLS handshake failed.
    NoHandshake,
    /// TURN, and there is no relay.
    NoRelay,
    /// A request for a page that is not served here.
    Misdirected,
    /// A proxy's connection that does not begin with its header.
    Proxy(ProxyError),
    /// Too many of the visitor that a proxy has named.
    SourceLimit,
}

impl End {
    /// Under what it is counted; `None` for what is in order.
    pub(super) fn drop_name(self) -> Option<&'static str> {
        match self {
            End::Peer | End::Unbound => None,
            End::Broken => Some("drop.stream_broken"),
            End::NoCheck => Some("drop.stream_no_check"),
            End::ForgedUfrag => Some("drop.stream_forged_ufrag"),
            End::ForeignUfrag => Some("drop.stream_foreign_ufrag"),
            End::ExpiredUfrag => Some("drop.stream_expired_ufrag"),
            End::Silent => Some("drop.stream_silent"),
            End::Crowded => Some("drop.stream_crowded"),
            End::NoFrame => Some("drop.stream_no_frame"),
            End::Hello(HelloError::NotTls) => Some("drop.stream_not_tls"),
            End::Hello(HelloError::TooLong) => Some("drop.stream_hello_too_long"),
            End::Hello(HelloError::Malformed) => Some("drop.stream_hello_malformed"),
            End::NoHandshake => Some("drop.stream_no_handshake"),
            End::NoRelay => Some("drop.stream_no_relay"),
            End::Misdirected => Some("drop.stream_misdirected"),
            End::Proxy(ProxyError::NoHeader) => Some("drop.stream_no_proxy_header"),
            End::Proxy(ProxyError::Unknown) => Some("drop.stream_proxy_unknown"),
            End::Proxy(ProxyError::Length) => Some("drop.stream_proxy_length"),
            End::SourceLimit => Some("drop.stream_source_limit"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: Path,
    /// Whom it counts for.
    pub(super) source: Cell<Source>,
    /// The thread that its datagrams go to, once known.
    pub(super) owner: Cell<Option<usize>>,
    /// A transport has taken it as one of its paths.
    pub(super) bound: Cell<bool>,
    /// When a datagram came last.
    pub(super) heard: Cell<Instant>,
    end: Cell<Option<End>>,
    backlog: RefCell<Backlog>,
    notify: Notify,
}

impl Line {
    /// A connection that has said nothing yet.
    pub(super) fn new(path: Path, framing: Framing) -> Line {
        Line {
            path,
            source: Cell::new(path.remote.ip().into()),
            owner: Cell::new(None),
            bound: Cell::new(false),
            heard: Cell::new(Instant::now()),
            end: Cell::new(None),
            backlog: RefCell::new(Backlog::new(framing, BACKLOG_BYTES, LONGEST_WAIT)),
            notify: Notify::new(),
        }
    }

    /// How datagrams follow each other, where that is known only now; nothing was sent before.
    pub(super) fn frame_as(&self, framing: Framing) {
        *self.backlog.borrow_mut() = Backlog::new(framing, BACKLOG_BYTES, LONGEST_WAIT);
    }

    /// Puts a datagram behind those that wait.
    pub(super) fn send(&self, datagram: &[u8], now: Time, counts: &Counts) {
        if self.backlog.borrow_mut().push(datagram, now) {
            self.notify.notify_one();
        } else {
            counts.add("drop.stream_slow_reader", 1);
        }
    }

    /// It has proven nothing, and has not ended.
    pub(super) fn is_waiting(&self) -> bool {
        !self.bound.get() && self.end.get().is_none()
    }

    /// Ends it, once what waits was tried.
    pub(super) fn end(&self, end: End) {
        self.end.set(self.end.get().or(Some(end)));
        self.notify.notify_one();
    }

    /// Returns when something is to be written, or it shall end.
    pub(super) async fn called(&self) {
        self.notify.notified().await;
    }

    /// How it shall end, if it shall.
    pub(super) fn ended(&self) -> Option<End> {
        self.end.get()
    }

    /// Writes what waits and the stream takes.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        context: &mut Context<'_>,
        stream: &mut S,
        now: Time,
        counts: &Counts,
    ) -> Poll<End> {
        let mut backlog = self.backlog.borrow_mut();
        counts.add("drop.stream_late", backlog.give_up_late(now));
        while !backlog.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, backlog.pending()) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    counts.add("bytes_sent", count as u64);
                    counts.add("datagrams_sent", backlog.written(count));
                }
                Poll::Ready(_) => return Poll::Ready(End::Broken),
                Poll::Pending => break,
            }
        }
        match Pin::new(&mut *stream).poll_flush(context) {
            Poll::Ready(Err(_)) => Poll::Ready(End::Broken),
            _ => Poll::Pending,
        }
    }

    /// Reads what has come into `piece` and gives each datagram to `take`, which may end the connection.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &self,
        context: &mut Context<'_>,
        stream: &mut S,
        deframer: &mut Deframer,
        piece: &mut [u8],
        counts: &Counts,
        mut take: impl FnMut(&[u8]) -> Result<(), End>,
    ) -> Poll<End> {
        for _ in 0..PIECES_PER_TURN {
            let mut buffer = ReadBuf::new(piece);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(End::Peer),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Broken),
                Poll::Pending => return Poll::Pending,
            }
            counts.add("bytes_received", buffer.filled().len() as u64);
            let mut end = None;
            let fed = deframer.feed(buffer.filled(), |datagram| {
                if end.is_none() {
                    end = take(datagram).err();
                }
            });
            if let Some(end) = end {
                return Poll::Ready(end);
            }
            match fed {
                Ok(fed) => {
                    counts.add("datagrams_received", fed.datagrams);
                    counts.add("drop.stream_frame_too_long", fed.oversized);
                }
                Err(_) => return Poll::Ready(End::NoFrame),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
