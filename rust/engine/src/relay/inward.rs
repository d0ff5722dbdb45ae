//! Data for transports of this process, or for an Edge's paths: to which thread each datagram goes, and the buffers in which they travel.

use std::collections::HashMap;

use mediaserver_proto::io::{Path, ReceiveBatch};
use mediaserver_proto::time::Time;

use crate::admission::Admission;
use crate::collecting::Collecting;

/// Tuples whose thread is remembered.
const MOST_PATHS: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub struct Inward {
    admission: Admission,
    paths: HashMap<Path, usize>,
    collecting: Collecting,
    /// Datagrams for no transport of ours.
    pub(super) unrouted: u64,
}

impl Inward {
    /// For the threads that `admission` leads to.
    pub fn new(admission: Admission) -> Inward {
        Inward { collecting: Collecting::new(admission.threads()), admission, paths: HashMap::new(), unrouted: 0 }
    }

    /// Sorts a batch by thread.
    pub(super) fn collect(&mut self, batch: &ReceiveBatch, now: Time) {
        for entry in batch.entries() {
            let datagram = batch.datagram(entry);
            let Some(owner) = self.owner(entry.path, datagram, now) else {
                self.unrouted += 1;
                continue;
            };
            self.collecting.push(owner, entry.path, datagram, Some(now));
        }
    }

    /// By its ufrag, which our signature proves, or by where the tuple went before.
    fn owner(&mut self, path: Path, datagram: &[u8], now: Time) -> Option<usize> {
        if let Some(owner) = self.admission.fixed_owner(path) {
            return Some(owner);
        }
        if let Some(named) = self.admission.owner_of(path, datagram, now) {
            let owner = named.ok()?;
            self.bind(path, owner);
            return Some(owner);
        }
        self.paths.get(&path).copied()
    }

    /// A tuple belongs to a thread's transport.
    pub(super) fn bind(&mut self, path: Path, owner: usize) {
        let is_known = self.admission.fixed_owner(path).is_some();
        if !is_known && (self.paths.len() < MOST_PATHS || self.paths.contains_key(&path)) {
            self.paths.insert(path, owner);
        }
    }

    /// It no longer does.
    pub(super) fn unbind(&mut self, path: Path) {
        self.paths.remove(&path);
    }

    /// The next buffer for a thread.
    pub(super) fn take(&mut self) -> Option<(usize, Box<ReceiveBatch>)> {
        self.collecting.take()
    }

    /// A buffer that is free again.
    pub(super) fn keep(&mut self, buffer: Box<ReceiveBatch>) {
        self.collecting.keep(buffer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mediaserver_proto::ice::UfragKey;
    use mediaserver_proto::io::SocketId;
    use mediaserver_proto::stun::{Class, TransactionId, Writer, method};

    use super::*;
    use crate::admission::Shards;

    #[test]
    fn a_check_goes_to_the_shard_of_its_ufrag_and_the_rest_of_its_tuple_follows() {
        let key = UfragKey::new(0, 0, &[1; 32]);
        let ufrag = key.make(1 << 48 | 77, 0, u32::MAX >> 8);
        let mut inward = Inward::new(Admission::Shards(Box::new(Shards {
            keys: crate::key_ring::KeyRing::new(key),
            count: 2,
            unix_epoch: Duration::from_secs(1_800_000_000),
        })));
        let check = |ufrag: &str| {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
                .username(format!("{ufrag}:peer").as_bytes())
                .finish();
            bytes
        };
        let path = |port| Path { socket: SocketId::carried(3, 0), remote: ([198, 51, 100, 1], port).into() };
        let mut batch = ReceiveBatch::default();
        batch.push(path(1), &[22, 254, 253]);
        batch.push(path(1), &check(&ufrag));
        batch.push(path(1), &[22, 254, 253]);
        batch.push(path(2), &check(&ufrag.replace(&ufrag[..1], if ufrag.starts_with('x') { "y" } else { "x" })));
        inward.collect(&batch, Time::ZERO);
        let (shard, taken) = inward.take().unwrap();
        assert_eq!((shard, taken.len(), inward.unrouted), (1, 2, 2));
        assert!(inward.take().is_none());
        inward.unbind(path(1));
        batch.clear();
        batch.push(path(1), &[22, 254, 253]);
        inward.collect(&batch, Time::ZERO);
        assert_eq!(inward.unrouted, 3);
    }
}
