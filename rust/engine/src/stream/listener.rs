//! The sockets that the thread listens on.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mediaserver_proto::io::{Path, SocketId};
use mediaserver_proto::stream::Framing;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::carry::{PATIENCE, Taker, carry};
use super::hello::peek_length;
use super::hub::{Hub, Place};
use super::line::End;
use super::pass::serve_sip;
use super::shared_tls::SharedTls;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1_024;
/// After an error that is not about one connection: the process has no descriptor left, for example.
const PAUSE: Duration = Duration::from_millis(100);
/// So many bytes wait in the kernel before the first is sent; the rest waits here, where it can be given up.
const NOT_SENT_BYTES: u32 = 16 * 1024;

/// A bound socket and the name of what comes in by it.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: std::net::TcpListener,
    /// Its name in paths.
    pub socket: SocketId,
    /// What is served on it.
    pub serves: Serves,
}

/// What a listening socket is for.
#[derive(Clone, Debug)]
pub enum Serves {
    /// Media of browsers; what leaves has this mark (RFC 2474 §3).
    Ice {
        /// From 0 to 63.
        dscp: u8,
    },
    /// TURN.
    Turn {
        /// Index of the relay's thread.
        relay: usize,
    },
    /// Both on one port: what comes first tells which of them it is.
    IceOrTurn {
        /// As above.
        dscp: u8,
        /// As above.
        relay: usize,
    },
    /// Pages by their name, what else comes over TLS, and media of browsers where it is taken here.
    SharedTls(SharedTls),
    /// SIP over TLS, which passes through whatever name it asks for.
    SipTls,
}

impl Serves {
    /// How datagrams follow each other on what is accepted.
    fn framing(&self) -> Framing {
        match self {
            Serves::Ice { .. } => Framing::Prefixed,
            // Or as it turns out to be.
            Serves::Turn { .. } | Serves::IceOrTurn { .. } | Serves::SharedTls(_) | Serves::SipTls => Framing::Turn,
        }
    }
}

/// Binds a TCP address.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What is left of connections of before, in TIME_WAIT, does not count.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections for as long as the thread runs.
pub(super) async fn accept(hub: Rc<Hub>, listener: TcpListener, socket: SocketId, serves: Serves) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if let Some(place) = hub.enter(Path { socket, remote }, serves.framing()) {
                    start(place, stream, &serves);
                }
            }
            Err(error) => {
                hub.counts.add("receive_errors", 1);
                // A connection that was reset before it was accepted is no reason to wait (accept(2)).
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

fn start(place: Place, stream: TcpStream, serves: &Serves) {
    match serves {
        Serves::Ice { dscp } => {
            prepare(&stream, *dscp);
            spawn_local(run(place, Taker::Media, stream));
        }
        Serves::Turn { relay } => {
            prepare(&stream, 0);
            spawn_local(run(place, Taker::Relay(*relay), stream));
        }
        Serves::IceOrTurn { dscp, relay } => {
            prepare(&stream, *dscp);
            spawn_local(find_out(place, *relay, stream));
        }
        Serves::SharedTls(shared) => {
            prepare(&stream, 0);
            spawn_local(shared.clone().serve(place, stream));
        }
        Serves::SipTls => {
            prepare(&stream, 0);
            spawn_local(serve_sip(place, stream));
        }
    }
}

async fn run(place: Place, taker: Taker, stream: TcpStream) {
    let end = carry(&place, taker, stream).await;
    place.close(end);
}

async fn find_out(place: Place, relay: usize, stream: TcpStream) {
    let end = match timeout(PATIENCE, peek_length(&place.hub, &stream)).await {
        Ok(Ok(first)) => {
            let taker = Taker::of(first, relay);
            place.line.frame_as(taker.framing());
            carry(&place, taker, stream).await
        }
        Ok(Err(end)) => end,
        Err(_) => End::Silent,
    };
    place.close(end);
}

/// Options without which it works too, only worse.
fn prepare(stream: &TcpStream, dscp: u8) {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true).ok();
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES).ok();
    if dscp != 0 {
        mark(stream, dscp);
    }
}

/// Marks what leaves, as far as that can be.
pub(super) fn mark(stream: &TcpStream, dscp: u8) {
    let (socket, tos) = (SockRef::from(stream), u32::from(dscp) << 2);
    socket.set_tos_v4(tos).or_else(|_| socket.set_tclass_v6(tos)).ok();
}
