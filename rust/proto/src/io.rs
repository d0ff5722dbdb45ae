//! Values that cross the border between protocol code and whoever owns the sockets.

use std::net::SocketAddr;

/// Names a local socket of a shard: the shared WebRTC port or one port of a SIP media pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

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

/// Outgoing datagrams, laid side by side in one buffer so that runs of equal size to one path can leave as one GSO message.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    bytes: Vec<u8>,
    entries: Vec<Transmit>,
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
}

impl TransmitQueue {
    /// Lets `write` append one datagram to the end of the buffer; nothing is queued when it returns an error.
    pub fn push_with<E>(&mut self, path: Path, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(()) => {
                let len = self.bytes.len() - start;
                self.entries.push(Transmit { path, start, len });
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
        self.entries.push(Transmit { path, start, len: datagram.len() });
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
    }
}
