//! The sockets that the thread listens on.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mediaserver_proto::io::{Path, SocketId};
use mediaserver_proto::stream::Framing;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::hub::Hub;
use super::ice_tcp;

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
    /// Mark of what leaves (RFC 2474 §3).
    pub dscp: u8,
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
pub(super) async fn accept_ice(hub: Rc<Hub>, listener: TcpListener, socket: SocketId, dscp: u8) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if let Some(place) = hub.enter(Path { socket, remote }, Framing::Prefixed) {
                    prepare(&stream, dscp);
                    tokio::task::spawn_local(ice_tcp::serve(place, stream));
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

/// Options without which it works too, only worse.
fn prepare(stream: &TcpStream, dscp: u8) {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true).ok();
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES).ok();
    if dscp != 0 {
        let tos = u32::from(dscp) << 2;
        socket.set_tos_v4(tos).or_else(|_| socket.set_tclass_v6(tos)).ok();
    }
}
