//! Data for transports of this process: to which shard each datagram goes, and the buffers in which they travel.

use std::collections::HashMap;

use mediaserver_proto::demux::{Kind, classify};
use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::{Path, ReceiveBatch};
use mediaserver_proto::stun::Message;
use mediaserver_proto::time::Time;

/// Tuples whose shard is remembered.
const MOST_PATHS: usize = 65_536;
/// Buffers kept for reuse.
const POOLED_BUFFERS: usize = 64;
/// 2020-01-01T00:00:00Z, from which ufrags count minutes.
const UNIX_2020_S: u64 = 1_577_836_800;

/// See the module.
#[derive(Debug)]
pub struct Inward {
    key: UfragKey,
    /// Seconds of the Unix epoch at `Time::ZERO`.
    unix_epoch_s: u64,
    shards: usize,
    paths: HashMap<Path, usize>,
    collecting: Vec<Option<Box<ReceiveBatch>>>,
    #[allow(clippy::vec_box, reason = "they travel as boxes, and taking one out must not allocate")]
    pool: Vec<Box<ReceiveBatch>>,
    /// Datagrams for no transport of ours.
    pub(super) unrouted: u64,
}

impl Inward {
    /// For so many shards, whose ufrags `key` signs.
    pub fn new(key: UfragKey, unix_epoch_s: u64, shards: usize) -> Inward {
        Inward {
            key,
            unix_epoch_s,
            shards,
            paths: HashMap::new(),
            collecting: (0..shards).map(|_| None).collect(),
            pool: Vec::new(),
            unrouted: 0,
        }
    }

    /// Sorts a batch by shard.
    pub(super) fn collect(&mut self, batch: &ReceiveBatch, now: Time) {
        for entry in batch.entries() {
            let datagram = batch.datagram(entry);
            let Some(shard) = self.shard(entry.path, datagram, now) else {
                self.unrouted += 1;
                continue;
            };
            let pool = &mut self.pool;
            let buffer = self.collecting[shard].get_or_insert_with(|| pool.pop().unwrap_or_default());
            buffer.arrival = buffer.arrival.or(Some(now));
            buffer.push(entry.path, datagram);
        }
    }

    /// By its ufrag, which our signature proves, or by where the tuple went before.
    fn shard(&mut self, path: Path, datagram: &[u8], now: Time) -> Option<usize> {
        if classify(datagram) == Kind::Stun
            && let Ok(message) = Message::parse(datagram)
            && let Some(ufrag) = message.receiver_ufrag()
        {
            let seconds = (self.unix_epoch_s + now.as_millis() / 1_000).saturating_sub(UNIX_2020_S);
            let minute = u32::try_from(seconds / 60).unwrap_or(u32::MAX);
            let shard = usize::from(self.key.verify(ufrag, minute).ok()?.shard);
            if shard >= self.shards {
                return None;
            }
            self.bind(path, shard);
            return Some(shard);
        }
        self.paths.get(&path).copied()
    }

    /// A tuple belongs to a shard's transport.
    pub(super) fn bind(&mut self, path: Path, shard: usize) {
        if self.paths.len() < MOST_PATHS || self.paths.contains_key(&path) {
            self.paths.insert(path, shard);
        }
    }

    /// It no longer does.
    pub(super) fn unbind(&mut self, path: Path) {
        self.paths.remove(&path);
    }

    /// The next buffer for a shard.
    pub(super) fn take(&mut self) -> Option<(usize, Box<ReceiveBatch>)> {
        let shard = self.collecting.iter().position(Option::is_some)?;
        Some((shard, self.collecting[shard].take()?))
    }

    /// A buffer that is free again.
    pub(super) fn keep(&mut self, mut buffer: Box<ReceiveBatch>) {
        if self.pool.len() < POOLED_BUFFERS {
            buffer.clear();
            buffer.arrival = None;
            self.pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::io::SocketId;
    use mediaserver_proto::stun::{Class, TransactionId, Writer, method};

    use super::*;

    #[test]
    fn a_check_goes_to_the_shard_of_its_ufrag_and_the_rest_of_its_tuple_follows() {
        let key = UfragKey::new(0, 0, &[1; 32]);
        let ufrag = key.make(1 << 48 | 77, 0, u32::MAX >> 8);
        let mut inward = Inward::new(key, UNIX_2020_S + 60, 2);
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
        inward.keep(taken);
        assert!(inward.pool[0].is_empty());
    }
}
