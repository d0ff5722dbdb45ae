//! UDP sockets of a shard: batches in with `recvmmsg` and UDP_GRO, batches out with `sendmmsg` and UDP_SEGMENT runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, Transmit, TransmitQueue};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Room for one received message: the most that UDP_GRO joins.
const SLOT_BYTES: usize = 65_536;
/// Messages of one receive batch.
pub const RECEIVE_SLOTS: usize = 64;
/// Messages of one `sendmmsg`.
const SEND_MESSAGES: usize = 256;
/// Datagrams of one GSO run: the kernel's oldest bound (UDP_MAX_SEGMENTS).
const GSO_SEGMENTS: usize = 64;
/// Bytes of one GSO run: what fits into an IPv6 datagram with its UDP header.
const GSO_BYTES: usize = 65_535 - 40 - 8;
/// Bytes of ancillary data per message, with room to spare.
const CONTROL_BYTES: usize = 64;

const SOL_UDP: libc::c_int = 17;
const UDP_SEGMENT: libc::c_int = 103;
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

    /// Receives what waits at `socket`, at most `most` messages, into the slots of `batch` from `first_slot` on.
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
        let count = most.min(slots.saturating_sub(first_slot));
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
        // SAFETY: the first `count` headers were just pointed at live, distinct memory of the stated sizes.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                // A pending ICMP error is told by the next call on the socket; it says nothing about what waits there.
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(result),
                _ => Err(error),
            };
        }
        result.messages = usize::try_from(received).unwrap_or(0).min(count);
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
            let ip = std::net::Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin6_port)),
                None => {
                    SocketAddr::V6(std::net::SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id))
                }
            })
        }
        _ => None,
    }
}

/// What became of a transmit queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCount {
    /// Datagrams handed to the kernel.
    pub datagrams: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// System calls made.
    pub calls: u64,
    /// Runs of more than one datagram sent as one message.
    pub runs: u64,
    /// Datagrams dropped because the send buffer was full.
    pub would_block: u64,
    /// Datagrams that the kernel refused for another reason.
    pub refused: u64,
    /// Datagrams whose socket was already closed.
    pub no_socket: u64,
}

/// One message of a `sendmmsg`: entries of the queue that leave together.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    count: usize,
}

/// The reusable memory for `sendmmsg`; one per shard, for all its sockets.
pub struct Sender {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<SockAddr>,
    controls: Vec<Control>,
    runs: Vec<Run>,
    gso: bool,
}

// SAFETY: as for `Receiver`.
unsafe impl Send for Sender {}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("gso", &self.gso).finish_non_exhaustive()
    }
}

impl Sender {
    /// `gso` allows UDP_SEGMENT until the kernel refuses it.
    pub fn new(gso: bool) -> Sender {
        Sender {
            headers: vec![empty_header(); SEND_MESSAGES],
            iovecs: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; SEND_MESSAGES],
            names: Vec::with_capacity(SEND_MESSAGES),
            controls: vec![Control([0; CONTROL_BYTES]); SEND_MESSAGES],
            runs: Vec::with_capacity(SEND_MESSAGES),
            gso,
        }
    }

    /// Whether runs are still sent as one message.
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Sends everything in `queue`, in order. Never waits: what the kernel does not take is dropped and counted.
    pub fn send<'a>(
        &mut self,
        queue: &TransmitQueue,
        socket: impl Fn(SocketId) -> Option<&'a UdpSocket>,
        count: &mut SendCount,
    ) {
        let entries = queue.entries();
        let mut next = 0;
        while next < entries.len() {
            let id = entries[next].path.socket;
            self.runs.clear();
            while next < entries.len() && entries[next].path.socket == id && self.runs.len() < SEND_MESSAGES {
                let length = if self.gso { run_length(&entries[next..]) } else { 1 };
                self.runs.push(Run { first: next, count: length });
                next += length;
            }
            match socket(id) {
                Some(socket) => self.send_runs(socket, queue, count),
                None => count.no_socket += self.runs.iter().map(|run| run.count as u64).sum::<u64>(),
            }
        }
    }

    /// Sends the collected runs through one socket.
    fn send_runs(&mut self, socket: &UdpSocket, queue: &TransmitQueue, count: &mut SendCount) {
        self.fill(queue);
        let total = self.runs.len();
        let mut done = 0;
        while done < total {
            count.calls += 1;
            // SAFETY: `fill` pointed the first `total` headers at live memory of the stated sizes.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers[done..total].as_mut_ptr(),
                    (total - done) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if sent > 0 {
                let sent = usize::try_from(sent).unwrap_or(0).min(total - done);
                for run in &self.runs[done..done + sent] {
                    count_run(*run, queue, count);
                }
                done += sent;
                continue;
            }
            let run = self.runs[done];
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error if error.kind() == io::ErrorKind::WouldBlock => {
                    // The buffer is full for all of them: trying each would only cost time.
                    count.would_block += self.runs[done..].iter().map(|run| run.count as u64).sum::<u64>();
                    return;
                }
                error if run.count > 1 && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO)) => {
                    if self.send_singly(socket, queue, run, count) {
                        // The same bytes pass one by one, so it is UDP_SEGMENT that does not work here.
                        self.gso = false;
                    }
                }
                _ => count.refused += run.count as u64,
            }
            done += 1;
        }
    }

    /// Sends the datagrams of a run that failed as a whole one by one; whether any was taken.
    fn send_singly(&self, socket: &UdpSocket, queue: &TransmitQueue, run: Run, count: &mut SendCount) -> bool {
        let mut any = false;
        for entry in &queue.entries()[run.first..run.first + run.count] {
            count.calls += 1;
            match socket.socket.send_to(queue.datagram(entry), &SockAddr::from(entry.path.remote)) {
                Ok(_) => {
                    any = true;
                    count.datagrams += 1;
                    count.bytes += entry.len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => count.would_block += 1,
                Err(_) => count.refused += 1,
            }
        }
        any
    }

    fn fill(&mut self, queue: &TransmitQueue) {
        self.names.clear();
        for run in &self.runs {
            self.names.push(SockAddr::from(queue.entries()[run.first].path.remote));
        }
        for (index, run) in self.runs.iter().enumerate() {
            let first = &queue.entries()[run.first];
            let last = &queue.entries()[run.first + run.count - 1];
            let bytes = &queue.bytes()[first.start..last.start + last.len];
            self.iovecs[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.names[index].as_ptr().cast_mut().cast();
            header.msg_namelen = self.names[index].len();
            header.msg_iov = &raw mut self.iovecs[index];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            if run.count > 1 {
                header.msg_control = self.controls[index].0.as_mut_ptr().cast();
                // SAFETY: pure arithmetic.
                header.msg_controllen = unsafe { libc::CMSG_SPACE(2) } as _;
                // SAFETY: CONTROL_BYTES is more than CMSG_SPACE(2) and the buffer is aligned for a cmsghdr, so the first
                // header and its two bytes lie inside it.
                unsafe {
                    let message = libc::CMSG_FIRSTHDR(header);
                    (*message).cmsg_level = SOL_UDP;
                    (*message).cmsg_type = UDP_SEGMENT;
                    (*message).cmsg_len = libc::CMSG_LEN(2) as _;
                    libc::CMSG_DATA(message).cast::<u16>().write_unaligned(first.len as u16);
                }
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
    }
}

fn count_run(run: Run, queue: &TransmitQueue, count: &mut SendCount) {
    count.datagrams += run.count as u64;
    count.bytes += queue.entries()[run.first..run.first + run.count].iter().map(|entry| entry.len as u64).sum::<u64>();
    count.runs += u64::from(run.count > 1);
}

/// How many entries from the first on can leave as one GSO message: one path, side by side, equal sizes, the last
/// possibly shorter.
fn run_length(entries: &[Transmit]) -> usize {
    let Some(first) = entries.first() else { return 0 };
    if first.len == 0 {
        return 1;
    }
    let mut count = 1;
    let mut bytes = first.len;
    while let Some(entry) = entries.get(count) {
        let previous = &entries[count - 1];
        let fits = count < GSO_SEGMENTS && bytes + entry.len <= GSO_BYTES;
        let beside = entry.start == previous.start + previous.len;
        if !fits || !beside || entry.path != first.path || entry.len > first.len || entry.len == 0 {
            break;
        }
        count += 1;
        bytes += entry.len;
        if entry.len < first.len {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { socket: SocketId(0), remote: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn loopback() -> UdpSocket {
        UdpSocket::bind(SocketId(0), "127.0.0.1:0".parse().unwrap(), true, 1 << 20).unwrap()
    }

    #[test]
    fn a_run_ends_after_the_first_shorter_datagram() {
        let mut queue = TransmitQueue::default();
        for len in [100, 100, 60, 100] {
            queue.push(path(1), &vec![0; len]);
        }
        assert_eq!(run_length(queue.entries()), 3);
    }

    #[test]
    fn a_run_ends_before_a_longer_datagram_and_before_another_path() {
        let mut queue = TransmitQueue::default();
        queue.push(path(1), &[0; 100]);
        queue.push(path(1), &[0; 101]);
        queue.push(path(2), &[0; 101]);
        assert_eq!(run_length(queue.entries()), 1);
        assert_eq!(run_length(&queue.entries()[1..]), 1);
    }

    #[test]
    fn a_run_is_bounded_in_datagrams_and_in_bytes() {
        let mut queue = TransmitQueue::default();
        for _ in 0..100 {
            queue.push(path(1), &[0; 10]);
        }
        assert_eq!(run_length(queue.entries()), GSO_SEGMENTS);
        let mut queue = TransmitQueue::default();
        for _ in 0..60 {
            queue.push(path(1), &[0; 1472]);
        }
        assert_eq!(run_length(queue.entries()), GSO_BYTES / 1472);
    }

    fn exchange(gso: bool) -> (SendCount, Vec<Vec<u8>>) {
        let sender = loopback();
        let mut receiver = loopback();
        let port = receiver.local().port();
        let mut queue = TransmitQueue::default();
        for index in 0..20u8 {
            queue.push(path(port), &[index; 500]);
        }
        queue.push(path(port), &[20; 7]);
        let mut count = SendCount::default();
        Sender::new(gso).send(&queue, |_| Some(&sender), &mut count);
        let mut batch = Receiver::new_batch();
        let mut slot = 0;
        let mut memory = Receiver::default();
        while batch.len() < 21 {
            let got = memory.receive(&mut receiver, &mut batch, slot, 64).unwrap();
            assert!(got.messages > 0, "nothing more came after {} datagrams", batch.len());
            slot += got.messages;
        }
        assert!(batch.entries().iter().all(|entry| entry.path.remote == sender.local()));
        (count, batch.entries().iter().map(|entry| batch.datagram(entry).to_vec()).collect())
    }

    #[test]
    fn a_run_sent_as_one_message_arrives_as_the_same_datagrams() {
        let (count, datagrams) = exchange(true);
        assert_eq!((count.datagrams, count.runs, count.calls, count.bytes), (21, 1, 1, 10_007));
        let expected: Vec<Vec<u8>> = (0..20u8).map(|index| vec![index; 500]).chain([vec![20; 7]]).collect();
        assert_eq!(datagrams, expected);
    }

    #[test]
    fn without_gso_the_same_datagrams_arrive() {
        let (count, datagrams) = exchange(false);
        assert_eq!((count.datagrams, count.runs, count.calls), (21, 0, 1));
        assert_eq!(datagrams.len(), 21);
    }

    #[test]
    fn a_destination_that_cannot_be_is_refused_alone_and_leaves_gso_on() {
        let socket = loopback();
        let port = socket.local().port();
        let mut queue = TransmitQueue::default();
        queue.push(path(0), &[1; 10]);
        queue.push(path(0), &[1; 10]);
        queue.push(path(port), &[2; 10]);
        let mut sender = Sender::new(true);
        let mut count = SendCount::default();
        sender.send(&queue, |_| Some(&socket), &mut count);
        assert_eq!((count.refused, count.datagrams), (2, 1));
        assert!(sender.gso());
    }

    #[test]
    fn datagrams_for_a_closed_socket_are_counted() {
        let mut queue = TransmitQueue::default();
        queue.push(path(9), &[1; 10]);
        let mut count = SendCount::default();
        Sender::new(true).send(&queue, |_| None, &mut count);
        assert_eq!(count.no_socket, 1);
    }

    #[test]
    fn the_kernels_own_drops_are_reported() {
        let sender = loopback();
        let mut receiver = UdpSocket::bind(SocketId(0), "127.0.0.1:0".parse().unwrap(), true, 4096).unwrap();
        let mut queue = TransmitQueue::default();
        for _ in 0..200 {
            queue.push(path(receiver.local().port()), &[0; 1000]);
        }
        let mut out = Sender::new(false);
        let mut count = SendCount::default();
        out.send(&queue, |_| Some(&sender), &mut count);
        let mut batch = Receiver::new_batch();
        let mut memory = Receiver::default();
        let before = memory.receive(&mut receiver, &mut batch, 0, 64).unwrap();
        out.send(&queue, |_| Some(&sender), &mut count);
        let after = memory.receive(&mut receiver, &mut batch, 0, 64).unwrap();
        assert!(before.datagrams < 200);
        assert!(before.kernel_drops + after.kernel_drops > 0);
    }
}
