//! Values that cross the border between protocol code and whoever owns the sockets.

use crate::time::Time;
use std::net::SocketAddr;
use std::{fmt, mem};

/// Names a local socket of a shard: the shared WebRTC port or one port of a SIP media pair; or a way out by another thread,
/// a *carrier*, which has the sockets (relay, TCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// Set in the ids of sockets that another thread has.
const CARRIED: u32 = 1 << 31;
/// Where the thread's index begins in them; below is a number of its own choice.
const CARRIER_SHIFT: u32 = 16;

/// Set in the ids of ways in by an Edge, where [`CARRIED`] is not.
const LINKED: u32 = 1 << 30;
/// Set beside it in the ids of ports that an Edge has opened for one transport alone.
const EDGE_PORT: u32 = 1 << 29;
/// Where the link's number begins in them; below is the place of the Edge's socket among those that the link knows.
const LINK_SHIFT: u32 = 8;

impl SocketId {
    /// The socket `place` of the Edge at the other end of the shard's link `link`, which is below 2,097,152.
    pub const fn linked(link: u32, place: u8) -> SocketId {
        SocketId(LINKED | (link << LINK_SHIFT) & (EDGE_PORT - 1) | place as u32)
    }

    /// The shard's link by which leaves what leaves by this socket, when that is at an Edge.
    pub const fn link(self) -> Option<u32> {
        let is_linked = self.0 & (CARRIED | LINKED | EDGE_PORT) == LINKED;
        if is_linked { Some((self.0 & (EDGE_PORT - 1)) >> LINK_SHIFT) } else { None }
    }

    /// A port that an Edge has opened for one of the shard's transports; `number`, below 536,870,912, is the shard's own.
    pub const fn edge_port(number: u32) -> SocketId {
        SocketId(LINKED | EDGE_PORT | number & (EDGE_PORT - 1))
    }

    /// Whether it is such a port.
    pub const fn is_edge_port(self) -> bool {
        self.0 & (CARRIED | LINKED | EDGE_PORT) == LINKED | EDGE_PORT
    }

    /// The socket `number` of the thread with index `carrier`, which is below 32,768.
    pub const fn carried(carrier: u16, number: u16) -> SocketId {
        SocketId(CARRIED | ((carrier as u32) << CARRIER_SHIFT) & !CARRIED | number as u32)
    }

    /// Index of the thread that carries what leaves by this socket, when it is none of a shard's own.
    pub const fn carrier(self) -> Option<u16> {
        if self.0 & CARRIED == 0 { None } else { Some(((self.0 & !CARRIED) >> CARRIER_SHIFT) as u16) }
    }

    /// The carrier's own number of a carried socket.
    pub const fn carried_number(self) -> u16 {
        self.0 as u16
    }
}

/// Where a datagram came from or goes to: the local socket and the remote address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Local socket.
    pub socket: SocketId,
    /// Remote address; an IPv4-mapped address never appears here.
    pub remote: SocketAddr,
}

/// Largest datagram the engine sends or keeps, in bytes (Ethernet MTU less IPv4 and UDP headers).
pub const MAX_DATAGRAM: usize = 1472;

/// What a datagram carries, as far as networks may treat it differently (RFC 2474).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carries {
    /// STUN, DTLS, RTCP, data channels.
    #[default]
    Control,
    /// Sound.
    Audio,
    /// A camera's picture.
    Video,
    /// A shared screen.
    Screen,
}

/// Who sends datagrams on before the call that causes them has ended.
pub trait Outlet {
    /// Sends everything in the queue, which is emptied afterwards.
    fn send(&mut self, queue: &TransmitQueue<'_>);
}

/// From so many bytes on a queue with an outlet is emptied where it can be. What one packet becomes for hundreds of
/// receivers would else leave the cache before it leaves the host, and the first would wait until the last is encrypted.
const RELIEVE_ABOVE_BYTES: usize = 96 << 10;

/// Outgoing datagrams, laid side by side in one buffer so that runs of equal size to one path can leave as one GSO message.
#[derive(Default)]
pub struct TransmitQueue<'a> {
    bytes: Vec<u8>,
    entries: Vec<Transmit>,
    /// Of what is appended from now on.
    pub carries: Carries,
    /// Which of the datagrams have waited for their turn, in no particular place.
    paced: Vec<Paced>,
    outlet: Option<&'a mut dyn Outlet>,
}

/// A packet of media that has waited for its turn, so that its receiver's line is not flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paced {
    /// Since when.
    pub since: Time,
    /// When its turn came.
    pub until: Time,
    /// Whether it was sent again because its receiver had asked for it.
    pub is_repair: bool,
}

/// One outgoing datagram: a range of the queue's buffer and its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub path: Path,
    /// Offset of the first byte in [`TransmitQueue::bytes`].
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// What is in it.
    pub carries: Carries,
    /// Of how many pieces it was put together, one behind the other; on a link these are its frames.
    pub pieces: u16,
}

impl TransmitQueue<'_> {
    /// Lets `call` fill this queue while `outlet` sends what becomes too much; the rest stays in the queue.
    pub fn through<R>(&mut self, outlet: &mut dyn Outlet, call: impl FnOnce(&mut TransmitQueue<'_>) -> R) -> R {
        let (bytes, entries) = (mem::take(&mut self.bytes), mem::take(&mut self.entries));
        let paced = mem::take(&mut self.paced);
        let mut queue = TransmitQueue { bytes, entries, carries: self.carries, paced, outlet: Some(outlet) };
        let result = call(&mut queue);
        (self.bytes, self.entries, self.carries) = (queue.bytes, queue.entries, queue.carries);
        self.paced = queue.paced;
        result
    }

    /// A place between two runs: gives what is queued to the outlet, if there is one and it is worth it.
    pub(crate) fn relieve(&mut self) {
        if self.bytes.len() >= RELIEVE_ABOVE_BYTES
            && let Some(outlet) = self.outlet.take()
        {
            outlet.send(self);
            self.outlet = Some(outlet);
            self.clear();
        }
    }

    /// Lets `write` append one datagram to the end of the buffer; nothing is queued when it returns an error.
    pub fn push_with<E>(&mut self, path: Path, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(()) => {
                let len = self.bytes.len() - start;
                self.entries.push(Transmit { path, start, len, carries: self.carries, pieces: 1 });
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Appends one datagram by copy.
    pub fn push(&mut self, path: Path, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.entries.push(Transmit { path, start, len: datagram.len(), carries: self.carries, pieces: 1 });
    }

    /// Appends `parts` to the datagram that was queued last, where that goes to the same path with the same mark and stays
    /// within `most` bytes; else they become a datagram of their own.
    pub fn append(&mut self, path: Path, most: usize, parts: [&[u8]; 2]) {
        let added = parts[0].len() + parts[1].len();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(parts[0]);
        self.bytes.extend_from_slice(parts[1]);
        match self.entries.last_mut() {
            Some(last) if last.path == path && last.carries == self.carries && last.len + added <= most => {
                last.len += added;
                last.pieces = last.pieces.saturating_add(1);
            }
            _ => self.entries.push(Transmit { path, start, len: added, carries: self.carries, pieces: 1 }),
        }
    }

    /// Says that the datagram that was queued last has waited for its turn.
    pub fn note_paced(&mut self, paced: Paced) {
        self.paced.push(paced);
    }

    /// Which of the queued datagrams have waited for their turn.
    pub fn paced(&self) -> &[Paced] {
        &self.paced
    }

    /// The queued datagrams, oldest first.
    pub fn entries(&self) -> &[Transmit] {
        &self.entries
    }

    /// The buffer that the entries point into.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of one entry.
    pub fn datagram(&self, transmit: &Transmit) -> &[u8] {
        &self.bytes[transmit.start..transmit.start + transmit.len]
    }

    /// Number of queued datagrams.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.paced.clear();
    }
}

impl fmt::Debug for TransmitQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransmitQueue").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// Incoming datagrams of one batch, in one buffer that sockets fill and the endpoint decrypts in place.
///
/// The buffer's length never changes by itself: whoever receives writes into [`ReceiveBatch::space`] and then announces
/// what came with [`ReceiveBatch::announce`]; or appends by copy with [`ReceiveBatch::push`].
#[derive(Debug, Default)]
pub struct ReceiveBatch {
    bytes: Vec<u8>,
    entries: Vec<Received>,
    /// When they came, where the batch travels before it is handled.
    pub arrival: Option<Time>,
}

/// One incoming datagram: a range of the batch's buffer and its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it came in and from whom.
    pub path: Path,
    /// Offset of the first byte.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
}

impl ReceiveBatch {
    /// A batch whose buffer has `len` bytes to receive into.
    pub fn with_space(len: usize) -> ReceiveBatch {
        ReceiveBatch { bytes: vec![0; len], entries: Vec::with_capacity(256), arrival: None }
    }

    /// The whole buffer, to receive into.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says that a datagram lies at `start`. Ignored when the range is outside the buffer.
    pub fn announce(&mut self, path: Path, start: usize, len: usize) {
        if start.checked_add(len).is_some_and(|end| end <= self.bytes.len()) {
            self.entries.push(Received { path, start, len });
        }
    }

    /// Takes the announcements from `first` on away and gives them to `unpacked`; the bytes stay where they are, to be
    /// announced as what is found in them.
    pub fn unpack(&mut self, first: usize, unpacked: &mut Vec<Received>) {
        unpacked.extend(self.entries.drain(first.min(self.entries.len())..));
    }

    /// Appends one datagram by copy; the buffer grows.
    pub fn push(&mut self, path: Path, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.entries.push(Received { path, start, len: datagram.len() });
    }

    /// The datagrams, oldest first.
    pub fn entries(&self) -> &[Received] {
        &self.entries
    }

    /// One datagram.
    pub fn datagram(&self, received: &Received) -> &[u8] {
        &self.bytes[received.start..received.start + received.len]
    }

    /// One datagram, to work on in place.
    pub fn datagram_mut(&mut self, received: &Received) -> &mut [u8] {
        &mut self.bytes[received.start..received.start + received.len]
    }

    /// Number of datagrams.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the datagrams and keeps the buffer with its length: for a batch that sockets fill.
    pub fn recycle(&mut self) {
        self.entries.clear();
    }

    /// Forgets the datagrams and empties the buffer, keeping its memory: for a batch filled by [`ReceiveBatch::push`].
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_socket_names_its_carrier_and_a_shards_own_does_not() {
        let socket = SocketId::carried(67, 0xfffe);
        assert_eq!((socket.carrier(), socket.carried_number()), (Some(67), 0xfffe));
        assert_eq!(SocketId::carried(0x7fff, 0).carrier(), Some(0x7fff));
        assert_eq!((SocketId(0).carrier(), SocketId((1 << 31) - 1).carrier()), (None, None));
    }
}
