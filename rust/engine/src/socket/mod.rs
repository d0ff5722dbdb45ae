//! UDP sockets of a shard: batches in with `recvmmsg` and UDP_GRO, batches out with `sendmmsg` and UDP_SEGMENT runs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

mod receiver;
mod sender;
#[cfg(test)]
mod tests;

use mediaserver_proto::io::SocketId;
pub use receiver::{RECEIVE_SLOTS, ReceiveCount, Receiver};
pub use sender::{SendCount, Sender};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Bytes of ancillary data per message, with room to spare.
const CONTROL_BYTES: usize = 64;

const SOL_UDP: libc::c_int = 17;
const UDP_GRO: libc::c_int = 104;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    id: SocketId,
    local: SocketAddr,
    /// The kernel's running count of datagrams dropped for want of receive buffer, as last seen.
    overflow_seen: u32,
}

impl UdpSocket {
    /// Binds `address`. `shared` lets every shard bind the same address (SO_REUSEPORT) and turns UDP_GRO on.
    pub fn bind(id: SocketId, address: SocketAddr, shared: bool, buffer_bytes: usize) -> io::Result<UdpSocket> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
            // Without GRO (kernels before 5.0) datagrams come one by one.
            set_option(&socket, SOL_UDP, UDP_GRO, 1).ok();
        }
        // The kernel silently caps both at net.core.[rw]mem_max; `receive_buffer_bytes` says what was got.
        socket.set_recv_buffer_size(buffer_bytes).ok();
        socket.set_send_buffer_size(buffer_bytes).ok();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1).ok();
        socket.bind(&SockAddr::from(address))?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(UdpSocket { socket, id, local, overflow_seen: 0 })
    }

    /// The address that was bound, with the port that the kernel chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The name of this socket in paths.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Size of the receive buffer, in bytes of payload (the kernel doubles it for its own bookkeeping).
    pub fn receive_buffer_bytes(&self) -> usize {
        self.socket.recv_buffer_size().unwrap_or(0) / 2
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: passes the address and size of a live c_int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

fn empty_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data; all zero means no name, no buffers, no control data.
    unsafe { std::mem::zeroed() }
}
