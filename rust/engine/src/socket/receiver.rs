//! Batches in: `recvmmsg` and UDP_GRO.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use mediaserver_proto::io::{Path, ReceiveBatch};

use super::{CONTROL_BYTES, Control, SOL_UDP, UDP_GRO, UdpSocket, empty_header};
use crate::gathering::Waited;

/// Room for one received message: the most that UDP_GRO joins.
const SLOT_BYTES: usize = 65_536;
/// Messages of one receive batch.
pub const RECEIVE_SLOTS: usize = 64;
/// Of these so many are made ready for a call that is not known to bring more: the kernel reads them all, and mostly one
/// message waits.
const USUAL_SLOTS: usize = 16;

/// What one receive call brought, apart from the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveCount {
    /// Slots of the batch that were used.
    pub messages: usize,
    /// Datagrams found in them.
    pub datagrams: usize,
    /// Datagrams that the kernel dropped since the last call because the receive buffer was full.
    pub kernel_drops: u32,
    /// Messages thrown away because they were cut or had no usable source address.
    pub unusable: usize,
}

/// The reusable memory for `recvmmsg`; one per shard, for all its sockets.
pub struct Receiver {
    /// Messages asked for at the next call: twice as many as the last one brought.
    wanted: usize,
    /// One message is asked for instead, until the thread has waited again.
    one_by_one: bool,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
}

// SAFETY: the pointers inside are written anew before every system call and never used after it, so the value may move
// between threads.
unsafe impl Send for Receiver {}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver {
            wanted: USUAL_SLOTS,
            one_by_one: false,
            headers: vec![empty_header(); RECEIVE_SLOTS],
            iovecs: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; RECEIVE_SLOTS],
            // SAFETY: sockaddr_storage is plain data; all zero is AF_UNSPEC.
            names: vec![unsafe { std::mem::zeroed() }; RECEIVE_SLOTS],
            controls: vec![Control([0; CONTROL_BYTES]); RECEIVE_SLOTS],
        }
    }
}

impl Receiver {
    /// A batch with as many slots as this receiver fills.
    pub fn new_batch() -> ReceiveBatch {
        ReceiveBatch::with_space(RECEIVE_SLOTS * SLOT_BYTES)
    }

    /// Told by those who pass each datagram on by itself how they have waited for the sockets. What wakes them is mostly one
    /// message, and to look for a second costs a tenth of receiving the first: so one is asked for, and more when the
    /// next wait is none.
    pub fn after(&mut self, waited: Waited) {
        self.one_by_one = waited == Waited::Woken;
    }

    /// Receives what waits at `socket`, at most `most` messages, into the slots of `batch` from `first_slot` on. More may be
    /// left than that: after quiet calls fewer are asked for.
    ///
    /// Joined datagrams (UDP_GRO) are announced one by one. An empty socket gives zero messages, not an error.
    pub fn receive(
        &mut self,
        socket: &mut UdpSocket,
        batch: &mut ReceiveBatch,
        first_slot: usize,
        most: usize,
    ) -> io::Result<ReceiveCount> {
        let slots = (batch.space().len() / SLOT_BYTES).min(RECEIVE_SLOTS);
        let wanted = if self.one_by_one { 1 } else { self.wanted };
        let count = most.min(slots.saturating_sub(first_slot)).min(wanted);
        let mut result = ReceiveCount::default();
        if count == 0 {
            return Ok(result);
        }
        let space = &mut batch.space()[first_slot * SLOT_BYTES..(first_slot + count) * SLOT_BYTES];
        for (index, slot) in space.chunks_exact_mut(SLOT_BYTES).enumerate() {
            self.iovecs[index] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT_BYTES };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.iovecs[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
        let received = match self.receive_messages(socket, count) {
            Ok(received) => received,
            // A pending ICMP error is told by the next call on the socket; it says nothing about what waits there.
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {
                    return Ok(result);
                }
                _ => return Err(error),
            },
        };
        result.messages = received.min(count);
        self.wanted = (result.messages * 2).clamp(USUAL_SLOTS, RECEIVE_SLOTS);
        for index in 0..result.messages {
            let header = &self.headers[index];
            let (segment, overflow) = read_control(&header.msg_hdr);
            if let Some(overflow) = overflow {
                result.kernel_drops += overflow.wrapping_sub(socket.overflow_seen);
                socket.overflow_seen = overflow;
            }
            let remote = to_socket_addr(&self.names[index], header.msg_hdr.msg_namelen);
            let (Some(remote), false) = (remote, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0) else {
                result.unusable += 1;
                continue;
            };
            let path = Path { socket: socket.id, remote };
            let total = (header.msg_len as usize).min(SLOT_BYTES);
            let segment = segment.filter(|&segment| segment > 0).unwrap_or(total).max(1);
            let mut offset = 0;
            while offset < total {
                let len = segment.min(total - offset);
                batch.announce(path, (first_slot + index) * SLOT_BYTES + offset, len);
                result.datagrams += 1;
                offset += len;
            }
        }
        Ok(result)
    }

    /// Fills the first `count` headers; how many messages there were.
    fn receive_messages(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        if let [header] = &mut self.headers[..count] {
            // SAFETY: `receive` has just pointed the first `count` headers at live, distinct memory of the stated sizes.
            let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header.msg_hdr, libc::MSG_DONTWAIT) };
            header.msg_len = u32::try_from(len).map_err(|_| io::Error::last_os_error())?;
            return Ok(1);
        }
        // SAFETY: as above.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}

/// The GRO segment size and the overflow count of a received message, where the kernel gave them.
fn read_control(header: &libc::msghdr) -> (Option<usize>, Option<u32>) {
    let mut segment = None;
    let mut overflow = None;
    // SAFETY: the kernel filled msg_control up to msg_controllen; the CMSG macros stay inside it, and each value is read
    // only when its own length says that it is whole.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            let whole = control.cmsg_len >= libc::CMSG_LEN(4) as _;
            match (control.cmsg_level, control.cmsg_type) {
                (SOL_UDP, UDP_GRO) if whole => {
                    let value = libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned();
                    segment = usize::try_from(value).ok();
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if whole => {
                    overflow = Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (segment, overflow)
}

/// The source address of a message; an IPv4-mapped one becomes IPv4, so that one peer has one address.
fn to_socket_addr(name: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET if len as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family and the length say that a sockaddr_in lies there; sockaddr_storage is aligned for it.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 if len as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for sockaddr_in6.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin6_port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id)),
            })
        }
        _ => None,
    }
}
