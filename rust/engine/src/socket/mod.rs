//! UDP sockets of a shard: batches in with `recvmmsg` and UDP_GRO, batches out with `sendmmsg` and UDP_SEGMENT runs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

mod receiver;
mod sender;
#[cfg(test)]
mod tests;

use mediaserver_proto::io::SocketId;
pub use receiver::{RECEIVE_SLOTS, ReceiveCount, Receiver};
pub use sender::{Marks, SendCount, Sender};
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
            // Kernels before 5.0 do not know it.
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

    /// Makes it one of a link: joined datagrams may come in (UDP_GRO), and nothing that leaves is ever fragmented, so that what
    /// passes is what fits (RFC 8899 §3). Without support for either the socket works as any other.
    pub fn for_link(self) -> UdpSocket {
        self.join_datagrams();
        let (level, name) = match self.local.is_ipv6() {
            true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
            false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
        };
        set_option(&self.socket, level, name, libc::IP_PMTUDISC_PROBE).ok();
        self
    }

    /// Lets the kernel join datagrams of one source on their way in (UDP_GRO). Without it they come one by one.
    pub fn join_datagrams(&self) {
        set_option(&self.socket, SOL_UDP, UDP_GRO, 1).ok();
    }

    /// Marks everything that leaves by this socket and is not marked otherwise. Without the permission it stays as it is:
    /// a mark is a wish anyway.
    pub fn mark(&self, dscp: u8) {
        let (level, name) = tos_option(self.local.is_ipv6());
        set_option(&self.socket, level, name, tos(dscp)).ok();
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

/// Level and name by which the byte that holds the mark is set: on a socket, and for one message.
fn tos_option(is_ipv6: bool) -> (libc::c_int, libc::c_int) {
    if is_ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) }
}

/// The byte with the mark: its upper six bits (RFC 2474 §3); the kernel keeps the lower two to itself (RFC 3168).
fn tos(dscp: u8) -> libc::c_int {
    libc::c_int::from(dscp) << 2
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

impl Control {
    /// Appends a control message to those of `header`, which are in this buffer. What finds no room is left out.
    fn push(&mut self, header: &mut libc::msghdr, level: libc::c_int, name: libc::c_int, value: &[u8]) {
        let used: usize = header.msg_controllen as _;
        // SAFETY: pure arithmetic.
        let (space, len) = unsafe { (libc::CMSG_SPACE(value.len() as _) as usize, libc::CMSG_LEN(value.len() as _)) };
        if used + space > CONTROL_BYTES {
            return;
        }
        let message = self.0[used..].as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: the message with its value lies inside the buffer, as was just checked, and is aligned: so is the
        // buffer, and CMSG_SPACE keeps what follows so.
        unsafe {
            (*message).cmsg_level = level;
            (*message).cmsg_type = name;
            (*message).cmsg_len = len as _;
            ptr::copy_nonoverlapping(value.as_ptr(), libc::CMSG_DATA(message), value.len());
        }
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = (used + space) as _;
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data; all zero means no name, no buffers, no control data.
    unsafe { std::mem::zeroed() }
}
