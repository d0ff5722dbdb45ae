//! A connection that datagrams travel on, both ways: ICE over TCP (RFC 6544), the passive side, and TURN over TCP and TLS.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use mediaserver_proto::demux::{Kind, classify};
use mediaserver_proto::ice::UfragError;
use mediaserver_proto::stream::{Deframer, Framing};
use mediaserver_proto::time::Time;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::hub::Place;
use super::line::{End, LONGEST_DATAGRAM};

/// So long a connection may be nobody's. A browser sends its first check, or its first request, at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// So long somebody's may be silent: allocations live an hour at most without a word (RFC 8656 §7.2), paths far less.
const IDLE: Duration = Duration::from_secs(3_660);

/// Bytes of the shortest STUN message.
pub(super) const STUN_HEADER: u16 = 20;

/// Who takes the datagrams of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// The thread that the first check leads to.
    Media,
    /// The relay, by its index among all threads.
    Relay(usize),
}

impl Taker {
    /// By the first two bytes of a connection: before a check stands its length (RFC 4571 §2), which is 20 at least; a STUN
    /// message without it begins with its type, and requests that a relay takes first have lower ones.
    pub(super) fn of(first: u16, relay: usize) -> Taker {
        if first < STUN_HEADER { Taker::Relay(relay) } else { Taker::Media }
    }

    /// How its datagrams follow each other.
    pub(super) fn framing(self) -> Framing {
        match self {
            Taker::Media => Framing::Prefixed,
            Taker::Relay(_) => Framing::Turn,
        }
    }

    fn owner(self, place: &Place, datagram: &[u8], now: Time) -> Result<usize, End> {
        match self {
            Taker::Media => match place.hub.admission.owner_of(place.line.path, datagram, now).ok_or(End::NoCheck)? {
                Ok(owner) => Ok(owner),
                Err(UfragError::Foreign | UfragError::UnknownKey) => Err(End::ForeignUfrag),
                Err(UfragError::Forged) => Err(End::ForgedUfrag),
                Err(UfragError::Expired) => Err(End::ExpiredUfrag),
            },
            Taker::Relay(relay) if classify(datagram) == Kind::Stun => Ok(relay),
            Taker::Relay(_) => Err(End::NoCheck),
        }
    }
}

/// Carries datagrams until the connection is over; gives why it is.
pub(super) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(place: &Place, taker: Taker, mut stream: S) -> End {
    let Place { hub, line } = place;
    let mut deframer = Deframer::new(taker.framing(), LONGEST_DATAGRAM);
    let mut deadline = pin!(sleep(PATIENCE));
    loop {
        let step = poll_fn(|context| {
            let now = hub.mesh.now();
            let written = line.poll_write(context, &mut stream, now, &hub.counts);
            if written.is_ready() {
                return written;
            }
            let piece = &mut hub.piece.borrow_mut();
            let read = line.poll_read(context, &mut stream, &mut deframer, piece, &hub.counts, |datagram| {
                let owner = match line.owner.get() {
                    Some(owner) => owner,
                    None => taker.owner(place, datagram, now)?,
                };
                line.owner.set(Some(owner));
                line.heard.set(Instant::now());
                // An empty frame keeps a NAT's binding alive and says nothing.
                if !datagram.is_empty() {
                    hub.mesh.hand_over(owner, line.path, datagram, now);
                }
                Ok(())
            });
            hub.mesh.flush(&hub.counts);
            read
        });
        tokio::select! {
            biased;
            end = step => return end,
            () = line.called() => {
                if let Some(end) = line.ended() {
                    return end;
                }
            }
            () = &mut deadline => {
                let idle_at = line.heard.get() + IDLE;
                if !line.bound.get() || idle_at <= Instant::now() {
                    return End::Silent;
                }
                deadline.as_mut().reset(idle_at);
            }
        }
    }
}
