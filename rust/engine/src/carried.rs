//! Datagrams of a thread that another one sends, because it has the sockets: a relay, or TCP. They go over in batches,
//! and their buffers come back.

use std::collections::VecDeque;

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{Path, ReceiveBatch, TransmitQueue};
use mediaserver_proto::time::Time;

use crate::collecting::Collecting;
use crate::counters::{Counters, set};

/// Bytes after which a buffer goes over although more is to come.
const BUFFER_BYTES: usize = 64 * 1024;
/// Full buffers that wait for the end of the round; what comes after is dropped.
const FULL_BUFFERS: usize = 256;

/// What a shard has for carriers.
#[derive(Debug)]
pub struct Carried {
    collecting: Collecting,
    full: VecDeque<(usize, Box<ReceiveBatch>)>,
    datagrams: u64,
    no_carrier: u64,
    no_buffer: u64,
}

impl Carried {
    /// With so many threads in all.
    pub fn new(threads: usize) -> Carried {
        Carried {
            collecting: Collecting::new(threads),
            full: VecDeque::new(),
            datagrams: 0,
            no_carrier: 0,
            no_buffer: 0,
        }
    }

    /// Takes those datagrams of `queue` that a carrier is to send; `arrived` is when came what caused them.
    pub fn collect(&mut self, queue: &TransmitQueue<'_>, arrived: Option<Time>) {
        for entry in queue.entries() {
            let Some(carrier) = entry.path.socket.carrier().map(usize::from) else { continue };
            self.push(carrier, entry.path, queue.datagram(entry), arrived);
        }
    }

    /// Takes one datagram for another thread.
    pub fn push(&mut self, carrier: usize, path: Path, datagram: &[u8], arrived: Option<Time>) {
        if !self.collecting.leads_to(carrier) {
            self.no_carrier += 1;
            return;
        }
        if self.full.len() >= FULL_BUFFERS {
            self.no_buffer += 1;
            return;
        }
        self.datagrams += 1;
        if self.collecting.push(carrier, path, datagram, arrived) >= BUFFER_BYTES
            && let Some(buffer) = self.collecting.take_of(carrier)
        {
            self.full.push_back((carrier, buffer));
        }
    }

    /// The next buffer for a carrier, with the carrier's index.
    pub fn take(&mut self) -> Option<(usize, Box<ReceiveBatch>)> {
        self.full.pop_front().or_else(|| self.collecting.take())
    }

    /// A message from another thread; nothing when it was a buffer of ours that came back.
    pub fn take_returned(&mut self, from: usize, message: ShardMessage) -> Option<ShardMessage> {
        match message {
            // The endpoint has buffers for other shards; what comes back from a carrier is from here.
            ShardMessage::Returned(buffer) if buffer_is_carried(&buffer, from) => {
                self.keep(buffer);
                None
            }
            message => Some(message),
        }
    }

    /// A buffer that could not be passed on.
    pub fn take_back(&mut self, message: ShardMessage) {
        if let ShardMessage::Datagrams(buffer) = message {
            self.keep(buffer);
        }
    }

    /// Writes the counters under their names.
    pub fn write(&self, counters: &mut Counters) {
        set(counters, "datagrams_carried", self.datagrams);
        set(counters, "drop.carried_no_carrier", self.no_carrier);
        set(counters, "drop.carried_no_buffer", self.no_buffer);
    }

    /// Keeps a buffer that is free again.
    pub fn keep(&mut self, buffer: Box<ReceiveBatch>) {
        self.collecting.keep(buffer);
    }
}

/// Whether what is in a buffer was for the thread that gives it back.
fn buffer_is_carried(buffer: &ReceiveBatch, from: usize) -> bool {
    buffer.entries().first().is_some_and(|entry| entry.path.socket.carrier().map(usize::from) == Some(from))
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::io::SocketId;

    use super::*;

    fn path(socket: SocketId) -> Path {
        Path { socket, remote: ([192, 0, 2, 1], 4000).into() }
    }

    #[test]
    fn each_carrier_gets_its_own_and_the_rest_stays() {
        let (relay, streams) = (SocketId::carried(3, 0), SocketId::carried(4, 1));
        let mut queue = TransmitQueue::default();
        for (socket, byte) in [(relay, 1), (SocketId(0), 2), (streams, 3), (relay, 4)] {
            queue.push(path(socket), &[byte; 20]);
        }
        let mut carried = Carried::new(5);
        carried.collect(&queue, Some(Time::from_millis(7)));
        let (to, batch) = carried.take().unwrap();
        assert_eq!((to, batch.len(), batch.arrival), (3, 2, Some(Time::from_millis(7))));
        assert_eq!(batch.datagram(&batch.entries()[1]), [4; 20]);
        assert_eq!(carried.take().map(|(to, batch)| (to, batch.len())), Some((4, 1)));
        assert!(carried.take().is_none());
    }

    #[test]
    fn a_buffer_that_comes_back_is_used_again_and_other_messages_pass() {
        let relay = path(SocketId::carried(1, 0));
        let mut queue = TransmitQueue::default();
        queue.push(relay, &[1; 20]);
        let mut carried = Carried::new(2);
        carried.collect(&queue, None);
        let (_, batch) = carried.take().unwrap();
        assert!(carried.take_returned(1, ShardMessage::Returned(batch)).is_none());
        assert_eq!(carried.collecting.pooled(), 1);
        assert!(carried.take_returned(1, ShardMessage::PathUnbound(relay)).is_some());
        // One that another shard gives back is the endpoint's.
        assert!(carried.take_returned(0, ShardMessage::Returned(Box::default())).is_some());
    }

    #[test]
    fn what_is_too_much_or_for_nobody_is_counted() {
        let mut queue = TransmitQueue::default();
        queue.push(path(SocketId::carried(9, 0)), &[0; 20]);
        let mut carried = Carried::new(2);
        carried.collect(&queue, None);
        assert!(carried.take().is_none());
        let mut flood = TransmitQueue::default();
        for _ in 0..60 {
            flood.push(path(SocketId::carried(1, 0)), &[0; 1200]);
        }
        for _ in 0..FULL_BUFFERS + 1 {
            carried.collect(&flood, None);
        }
        assert_eq!(carried.full.len(), FULL_BUFFERS);
        let mut counters = Counters::default();
        carried.write(&mut counters);
        assert_eq!(counters.get("drop.carried_no_carrier").unwrap(), 1);
        assert!(counters.get("drop.carried_no_buffer").unwrap() > 0);
    }
}
