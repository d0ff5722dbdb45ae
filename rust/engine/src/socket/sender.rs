//! Batches out: `sendmmsg` and UDP_SEGMENT runs.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use mediaserver_proto::io::{Carries, SocketId, Transmit, TransmitQueue};
use socket2::SockAddr;

use super::{CONTROL_BYTES, Control, SOL_UDP, UdpSocket, empty_header, tos, tos_option};
use crate::config::Dscp;

/// Messages of one `sendmmsg`.
pub(super) const SEND_MESSAGES: usize = 256;
/// Datagrams of one GSO run: the kernel's oldest bound (UDP_MAX_SEGMENTS).
pub(super) const GSO_SEGMENTS: usize = 64;
/// Bytes of one GSO run: what fits into an IPv6 datagram with its UDP header.
pub(super) const GSO_BYTES: usize = 65_535 - 40 - 8;
const UDP_SEGMENT: libc::c_int = 103;

/// Marks of what a socket's own mark, which is that of video, is not right for. Video has no cost by this, and nothing
/// has where all marks are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    audio: Option<u8>,
    screen: Option<u8>,
}

impl Marks {
    /// Those of messages, on sockets that are marked with `dscp.video`.
    pub fn new(dscp: &Dscp) -> Marks {
        Marks {
            audio: Some(dscp.audio).filter(|&mark| mark != dscp.video),
            screen: Some(dscp.screen).filter(|&mark| mark != dscp.video),
        }
    }

    fn of(self, carries: Carries) -> Option<u8> {
        match carries {
            Carries::Audio => self.audio,
            Carries::Screen => self.screen,
            Carries::Control | Carries::Video => None,
        }
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
    marks: Marks,
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
    pub fn new(gso: bool, marks: Marks) -> Sender {
        Sender {
            headers: vec![empty_header(); SEND_MESSAGES],
            iovecs: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; SEND_MESSAGES],
            names: Vec::with_capacity(SEND_MESSAGES),
            controls: vec![Control([0; CONTROL_BYTES]); SEND_MESSAGES],
            runs: Vec::with_capacity(SEND_MESSAGES),
            gso,
            marks,
        }
    }

    /// Whether runs are still sent as one message.
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Sends everything in `queue`, in order, but for what other threads or Edges have the sockets for. Never waits: what the kernel
    /// does not take is dropped and counted.
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
                let length = if self.gso { run_length(&entries[next..], self.marks) } else { 1 };
                self.runs.push(Run { first: next, count: length });
                next += length;
            }
            match socket(id) {
                Some(socket) => self.send_runs(socket, queue, count),
                None if id.carrier().is_some() || id.link().is_some() => {}
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
            let sent = self.send_messages(socket, done, total);
            if sent > 0 {
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
                    if self.send_singly(socket, queue, done, count) {
                        // The same bytes pass one by one, so it is UDP_SEGMENT that does not work here.
                        self.gso = false;
                    }
                }
                _ => count.refused += run.count as u64,
            }
            done += 1;
        }
    }

    /// Gives the kernel the filled headers from `first` to `end`; how many it took.
    fn send_messages(&mut self, socket: &UdpSocket, first: usize, end: usize) -> usize {
        let (fd, headers) = (socket.as_raw_fd(), &mut self.headers[first..end]);
        if let [header] = headers {
            // SAFETY: `fill` has pointed these headers at live memory of the stated sizes.
            return usize::from(unsafe { libc::sendmsg(fd, &raw const header.msg_hdr, libc::MSG_DONTWAIT) } >= 0);
        }
        // SAFETY: as above.
        let sent =
            unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).unwrap_or(0).min(headers.len())
    }

    /// Sends the datagrams of a run that failed as a whole one by one, through its header, which nobody needs any more;
    /// whether any was taken.
    fn send_singly(&mut self, socket: &UdpSocket, queue: &TransmitQueue, at: usize, count: &mut SendCount) -> bool {
        let run = self.runs[at];
        let mut any = false;
        for first in run.first..run.first + run.count {
            let single = Run { first, count: 1 };
            self.fill_one(at, single, queue);
            count.calls += 1;
            if self.send_messages(socket, at, at + 1) == 1 {
                any = true;
                count_run(single, queue, count);
            } else if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                count.would_block += 1;
            } else {
                count.refused += 1;
            }
        }
        any
    }

    fn fill(&mut self, queue: &TransmitQueue) {
        self.names.clear();
        for run in &self.runs {
            self.names.push(SockAddr::from(queue.entries()[run.first].path.remote));
        }
        for index in 0..self.runs.len() {
            self.fill_one(index, self.runs[index], queue);
        }
    }

    /// Points the header `index` at the datagrams of a run, with the control messages that it needs.
    fn fill_one(&mut self, index: usize, run: Run, queue: &TransmitQueue) {
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
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        let control = &mut self.controls[index];
        if run.count > 1 {
            // Datagrams are at most 64 KiB long.
            control.push(header, SOL_UDP, UDP_SEGMENT, &(first.len as u16).to_ne_bytes());
        }
        if let Some(mark) = self.marks.of(first.carries) {
            let (level, name) = tos_option(first.path.remote.is_ipv6());
            control.push(header, level, name, &tos(mark).to_ne_bytes());
        }
    }
}

fn count_run(run: Run, queue: &TransmitQueue, count: &mut SendCount) {
    count.datagrams += run.count as u64;
    count.bytes += queue.entries()[run.first..run.first + run.count].iter().map(|entry| entry.len as u64).sum::<u64>();
    count.runs += u64::from(run.count > 1);
}

/// How many entries from the first on can leave as one GSO message: one path, side by side, equal sizes, the last
/// possibly shorter, and one mark, since a message has only one.
pub(super) fn run_length(entries: &[Transmit], marks: Marks) -> usize {
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
        let alike = entry.carries == first.carries || marks.of(entry.carries) == marks.of(first.carries);
        if !fits || !beside || !alike || entry.path != first.path || entry.len > first.len || entry.len == 0 {
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
