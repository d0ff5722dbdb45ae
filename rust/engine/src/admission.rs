//! Whose a datagram is that came in at a carrier: told by the token of a STUN check.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use mediaserver_proto::ice::{UfragError, minute_of};
use mediaserver_proto::io::Path;
use mediaserver_proto::stun::local_ufrag;
use mediaserver_proto::time::Time;

use crate::key_ring::KeyRing;

/// See the module.
#[derive(Clone, Debug)]
pub enum Admission {
    /// To the shard that the token names, and proves.
    Shards(Box<Shards>),
    /// To a thread of an Edge, which knows the keys of Cores.
    Edge(EdgeThreads),
}

impl Admission {
    /// The thread that takes a STUN Binding request with a user name; `None` for what is no such request.
    pub fn owner_of(&self, path: Path, datagram: &[u8], now: Time) -> Option<Result<usize, UfragError>> {
        match self {
            Admission::Shards(shards) => shards.owner_of(datagram, now),
            Admission::Edge(threads) => local_ufrag(datagram).map(|_| Ok(threads.owner_of(path))),
        }
    }

    /// The thread that takes whatever comes by a path, where that hangs on nothing else.
    pub fn fixed_owner(&self, path: Path) -> Option<usize> {
        match self {
            Admission::Shards(_) => None,
            Admission::Edge(threads) => Some(threads.owner_of(path)),
        }
    }

    /// One more than the index of the last thread that it leads to.
    pub fn threads(&self) -> usize {
        match self {
            Admission::Shards(shards) => shards.count,
            Admission::Edge(threads) => threads.first + threads.count,
        }
    }
}

/// The shards of this process.
#[derive(Clone, Debug)]
pub struct Shards {
    /// Know local ufrags.
    pub keys: KeyRing,
    /// Shards; others have no transports.
    pub count: usize,
    /// Time since the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
}

impl Shards {
    fn owner_of(&self, datagram: &[u8], now: Time) -> Option<Result<usize, UfragError>> {
        let token = local_ufrag(datagram)?;
        let minute = minute_of(self.unix_epoch + now.since(Time::ZERO));
        Some(self.keys.verify(token, minute).and_then(|fields| {
            let shard = usize::from(fields.shard);
            if shard < self.count { Ok(shard) } else { Err(UfragError::Foreign) }
        }))
    }
}

/// The threads of an Edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeThreads {
    /// Index of the first one among all threads.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

impl EdgeThreads {
    /// Always the same one for a path, as the kernel does it for datagrams.
    fn owner_of(self, path: Path) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(path);
        self.first + (hash % self.count.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mediaserver_proto::io::SocketId;
    use mediaserver_proto::stun::{Class, TransactionId, Writer, method};

    use super::*;

    #[test]
    fn a_source_has_one_thread_of_an_edge_and_sources_are_shared_out() {
        let admission = Admission::Edge(EdgeThreads { first: 2, count: 3 });
        let path = |port| Path { socket: SocketId::carried(5, 0), remote: ([192, 0, 2, 1], port).into() };
        let owners: HashSet<_> = (0..100).filter_map(|port| admission.fixed_owner(path(port))).collect();
        assert_eq!((owners, admission.threads()), (HashSet::from([2, 3, 4]), 5));
        let mut check = Vec::new();
        Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([1; 12])).username(b"any:peer").finish();
        assert_eq!(
            admission.owner_of(path(7), &check, Time::ZERO).and_then(Result::ok),
            admission.fixed_owner(path(7))
        );
        assert!(admission.owner_of(path(7), b"no check", Time::ZERO).is_none());
    }
}
