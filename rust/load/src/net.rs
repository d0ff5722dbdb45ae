//! Sockets by system call: inherited ones, batches in and out, readiness. All that is unsafe about I/O is here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::{mem, ptr};

/// Datagrams taken by one call.
pub const BATCH: usize = 64;
/// Bytes kept of each: whole STUN and RTCP messages, the beginning of media.
pub const KEPT: usize = 2048;

/// A UDP socket connected to the engine.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// Room for one control message with a time, aligned as a `cmsghdr` must be.
const BESIDE: usize = 8;

/// Buffers of one receive call.
pub struct Inbox {
    bytes: Box<[u8]>,
    vectors: Vec<libc::iovec>,
    beside: Box<[[u64; BESIDE]]>,
    headers: Vec<libc::mmsghdr>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Default for Inbox {
    fn default() -> Inbox {
        let mut bytes = vec![0u8; BATCH * KEPT].into_boxed_slice();
        let mut vectors: Vec<libc::iovec> = bytes
            .chunks_exact_mut(KEPT)
            .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() })
            .collect();
        let mut beside = vec![[0u64; BESIDE]; BATCH].into_boxed_slice();
        let headers = vectors
            .iter_mut()
            .zip(&mut beside)
            .map(|(vector, beside)| {
                // SAFETY: all-zero is a valid mmsghdr.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = beside.as_mut_ptr().cast();
                header
            })
            .collect();
        Inbox { bytes, vectors, beside, headers }
    }
}

impl Inbox {
    /// Keeps only the first `len` bytes of each datagram: what is counted need not be copied.
    pub fn keep(&mut self, len: usize) {
        for vector in &mut self.vectors {
            vector.iov_len = len.min(KEPT);
        }
    }

    /// Takes what is there; returns how many datagrams.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        for header in &mut self.headers {
            // The kernel wrote how much it used.
            header.msg_hdr.msg_controllen = size_of_val(&self.beside[0]) as _;
        }
        // SAFETY: headers point to vectors and `beside`, vectors into `bytes`; all live as long as `self` and never move.
        let count = unsafe {
            libc::recvmmsg(
                socket.0.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        match count {
            0.. => Ok(count as usize),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// When the kernel took datagram `index` from the line, in nanoseconds since the Unix epoch; `None` unless the
    /// socket was told to say so.
    pub fn arrived_ns(&self, index: usize) -> Option<u64> {
        let header = &self.headers[index].msg_hdr;
        // SAFETY: the kernel filled the header; the macros stay within its lengths.
        let time = unsafe {
            let first = libc::CMSG_FIRSTHDR(header);
            let is_time = !first.is_null()
                && (*first).cmsg_level == libc::SOL_SOCKET
                && (*first).cmsg_type == libc::SCM_TIMESTAMPNS;
            is_time.then(|| libc::CMSG_DATA(first).cast::<libc::timespec>().read_unaligned())?
        };
        Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// True length of datagram `index`, and the bytes kept of it.
    pub fn datagram(&mut self, index: usize) -> (usize, &mut [u8]) {
        let len = self.headers[index].msg_len as usize;
        let kept = len.min(self.vectors[index].iov_len);
        (len, &mut self.bytes[index * KEPT..index * KEPT + kept])
    }
}

impl Socket {
    /// Takes over a descriptor that the parent process left open for us, and connects it.
    ///
    /// # Safety
    /// `fd` is an open UDP socket that nothing else in this process owns.
    pub unsafe fn adopt(fd: i32, remote: SocketAddr) -> io::Result<Socket> {
        // SAFETY: promised by the caller.
        Socket(unsafe { OwnedFd::from_raw_fd(fd) }).connected(remote)
    }

    /// One on the loopback with room for what many others send at once; port 0 lets the kernel choose.
    pub fn open(port: u16) -> io::Result<Socket> {
        const ROOM: libc::c_int = 8 << 20;
        let socket = Socket(std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?.into());
        // Beyond the system's bound where that is permitted.
        if socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, ROOM).is_err() {
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, ROOM)?;
        }
        Ok(socket)
    }

    /// Talks with `remote` alone from now on.
    pub fn connected(self, remote: SocketAddr) -> io::Result<Socket> {
        let (address, len) = sockaddr(remote);
        // SAFETY: a valid address of this length.
        let result = unsafe { libc::connect(self.0.as_raw_fd(), ptr::from_ref(&address).cast(), len) };
        if result != 0 { Err(io::Error::last_os_error()) } else { Ok(self) }
    }

    /// Where it is.
    pub fn local(&self) -> io::Result<SocketAddr> {
        std::net::UdpSocket::from(self.0.try_clone()?).local_addr()
    }

    fn set(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: pointer and length are of one value.
        let result = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), len) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Whether the kernel says of each datagram when it came; it then looks at its clock for every one on the machine.
    pub fn tell_arrival(&self, on: bool) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, libc::c_int::from(on))
    }

    /// Sends one datagram; a full buffer is an error like any other.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are of one slice.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends pieces of equal length, the last possibly shorter, as one message, which the kernel cuts (UDP_SEGMENT) where the receiver does not take it as it is (UDP_GRO).
    pub fn send_joined(&self, bytes: &[u8], piece: usize) -> io::Result<()> {
        let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // Aligned as a cmsghdr must be, and with room for one number.
        let mut beside = [0u64; 4];
        // SAFETY: all-zero is a valid msghdr; every pointer lives through the call, and the kernel only reads.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = beside.as_mut_ptr().cast();
        // SAFETY: `beside` has room for one control message with two bytes.
        let sent = unsafe {
            header.msg_controllen = libc::CMSG_SPACE(2) as _;
            let control = libc::CMSG_FIRSTHDR(&raw const header);
            (*control).cmsg_level = libc::SOL_UDP;
            (*control).cmsg_type = libc::UDP_SEGMENT;
            (*control).cmsg_len = libc::CMSG_LEN(2) as _;
            libc::CMSG_DATA(control).cast::<u16>().write_unaligned(piece as u16);
            libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends pieces of equal length, the last possibly shorter, each as a datagram, by one call.
    pub fn send_run(&self, bytes: &[u8], piece: usize) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = bytes
            .chunks(piece)
            .map(|chunk| libc::iovec { iov_base: chunk.as_ptr().cast_mut().cast(), iov_len: chunk.len() })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all-zero is a valid mmsghdr.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        // SAFETY: headers and vectors live until the call is over, and the kernel only reads `bytes`.
        let sent =
            unsafe { libc::sendmmsg(self.0.as_raw_fd(), headers.as_mut_ptr(), headers.len() as libc::c_uint, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A Unix socket of packets, some of which bring a descriptor.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// Longest packet on it.
const REQUEST: usize = 1 << 16;

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Control {
    /// Takes over a descriptor that the parent process left open for us.
    ///
    /// # Safety
    /// `fd` is an open socket of kind SOCK_SEQPACKET that nothing else in this process owns.
    pub unsafe fn adopt(fd: i32) -> Control {
        // SAFETY: promised by the caller.
        Control(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Waits for the next packet and the descriptor that came with it; none at the end.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut bytes = vec![0u8; REQUEST];
        let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // Aligned as a cmsghdr must be, and with room for one descriptor.
        let mut beside = [0u64; 4];
        // SAFETY: all-zero is a valid msghdr; every pointer lives through the call.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = beside.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&beside) as _;
        // SAFETY: as above.
        let len = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        if len < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel filled the header; the macros stay within its lengths.
        let descriptor = unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            let is_one =
                !first.is_null() && (*first).cmsg_level == libc::SOL_SOCKET && (*first).cmsg_type == libc::SCM_RIGHTS;
            is_one.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<i32>().read_unaligned()))
        };
        if len == 0 {
            return Ok(None);
        }
        bytes.truncate(len as usize);
        Ok(Some((bytes, descriptor)))
    }

    /// Sends one packet.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are of one slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Readiness of many sockets.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<u64>,
}

impl Poll {
    /// Watches every socket for input; its place in the slice is its name.
    pub fn new<'a>(sockets: impl IntoIterator<Item = &'a Socket>) -> io::Result<Poll> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let poll = Poll { epoll, events: Vec::new() };
        for (name, socket) in sockets.into_iter().enumerate() {
            poll.add(socket.0.as_raw_fd(), name as u64)?;
        }
        Ok(poll)
    }

    /// Watches one more; a descriptor that is closed is watched no longer.
    pub fn add(&self, fd: RawFd, name: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: name };
        // SAFETY: our descriptor is open, the event lives through the call.
        if unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Names of the sockets that have input, after at most `wait_ms`.
    pub fn wait(&mut self, wait_ms: i32) -> io::Result<&[u64]> {
        const MANY: usize = 512;
        // SAFETY: all-zero is a valid array of events.
        let mut events: [libc::epoll_event; MANY] = unsafe { mem::zeroed() };
        // SAFETY: the array has room for MANY events.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), MANY as libc::c_int, wait_ms) };
        self.events.clear();
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        } else {
            self.events.extend(events[..count as usize].iter().map(|event| event.u64));
        }
        Ok(&self.events)
    }
}

/// Keeps this thread on one CPU, if the machine has it.
pub fn pin(cpu: usize) {
    // SAFETY: all-zero is an empty set; the calls only touch it.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if cpu < libc::CPU_SETSIZE as usize {
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }
}

fn sockaddr(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all-zero is a valid address store, which is large enough and aligned for both kinds.
    unsafe {
        let mut storage: libc::sockaddr_storage = mem::zeroed();
        match address {
            SocketAddr::V4(v4) => {
                let out = &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>();
                out.sin_family = libc::AF_INET as _;
                out.sin_port = v4.port().to_be();
                out.sin_addr.s_addr = u32::from_ne_bytes(Ipv4Addr::octets(v4.ip()));
                (storage, size_of::<libc::sockaddr_in>() as _)
            }
            SocketAddr::V6(v6) => {
                let out = &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>();
                out.sin6_family = libc::AF_INET6 as _;
                out.sin6_port = v6.port().to_be();
                out.sin6_addr.s6_addr = Ipv6Addr::octets(v6.ip());
                (storage, size_of::<libc::sockaddr_in6>() as _)
            }
        }
    }
}
