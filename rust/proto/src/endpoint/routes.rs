//! Which transport, or which other shard, a datagram belongs to; and the buffers for those that are handed over.

use std::collections::HashMap;

use super::message::{Shard, ShardMessage};
use crate::io::{Path, ReceiveBatch, SocketId};
use crate::time::Time;

/// Tuples of other shards that are remembered.
const FOREIGN_PATHS: usize = 65_536;
/// Hand-over buffers kept for reuse.
const POOLED_BUFFERS: usize = 64;
/// Bytes after which a hand-over buffer is sent even though the batch goes on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whose a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A transport of this shard, by slot.
    Here(usize),
    /// Another shard.
    There(Shard),
}

/// The tables.
#[derive(Debug)]
pub(super) struct Routes {
    paths: HashMap<Path, Owner>,
    sockets: HashMap<SocketId, usize>,
    foreign: usize,
    /// Datagrams collected for each shard.
    collecting: Vec<Option<Box<ReceiveBatch>>>,
    #[allow(clippy::vec_box, reason = "they travel as boxes, and taking one out must not allocate")]
    pool: Vec<Box<ReceiveBatch>>,
    /// Packets come in runs of one path: the last answer is mostly the next one.
    last: Option<(Path, Owner)>,
}

impl Routes {
    /// Empty tables for so many shards.
    pub(super) fn new(shards: usize) -> Routes {
        Routes {
            paths: HashMap::new(),
            sockets: HashMap::new(),
            foreign: 0,
            collecting: (0..shards).map(|_| None).collect(),
            pool: Vec::new(),
            last: None,
        }
    }

    /// Whose the datagrams of `path` are.
    pub(super) fn owner(&mut self, path: Path) -> Option<Owner> {
        if let Some((last, owner)) = self.last
            && last == path
        {
            return Some(owner);
        }
        let owner = match self.sockets.get(&path.socket) {
            Some(&slot) => Some(Owner::Here(slot)),
            None => self.paths.get(&path).copied(),
        }?;
        self.last = Some((path, owner));
        Some(owner)
    }

    /// Whether a socket belongs to one transport alone.
    pub(super) fn has_socket(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// The transport that a socket belongs to alone.
    pub(super) fn slot_of(&self, socket: SocketId) -> Option<usize> {
        self.sockets.get(&socket).copied()
    }

    /// Gives a socket to one transport.
    pub(super) fn bind_socket(&mut self, socket: SocketId, slot: usize) {
        self.last = None;
        self.sockets.insert(socket, slot);
    }

    /// Takes it away.
    pub(super) fn unbind_socket(&mut self, socket: SocketId) {
        self.last = None;
        self.sockets.remove(&socket);
    }

    /// The owner of a tuple of the shared port, if it has one.
    pub(super) fn bound(&self, path: Path) -> Option<Owner> {
        self.paths.get(&path).copied()
    }

    /// A tuple belongs to a transport of this shard from now on.
    pub(super) fn bind(&mut self, path: Path, slot: usize) {
        self.last = None;
        if let Some(Owner::There(_)) = self.paths.insert(path, Owner::Here(slot)) {
            self.foreign -= 1;
        }
    }

    /// It no longer does.
    pub(super) fn unbind(&mut self, path: Path, slot: usize) {
        self.last = None;
        if self.paths.get(&path) == Some(&Owner::Here(slot)) {
            self.paths.remove(&path);
        }
    }

    /// Forgets every tuple of a transport and gives them.
    pub(super) fn unbind_all(&mut self, slot: usize) -> Vec<Path> {
        self.last = None;
        self.paths.extract_if(|_, owner| *owner == Owner::Here(slot)).map(|(path, _)| path).collect()
    }

    /// A tuple belongs to another shard; false when there is no room to remember it.
    pub(super) fn learn_foreign(&mut self, path: Path, shard: Shard) -> bool {
        self.last = None;
        match self.paths.get(&path) {
            // Who came first keeps it until it gives it up: a check with a spoofed source must not cut off a victim.
            Some(Owner::Here(_)) => return true,
            Some(Owner::There(owner)) if *owner != shard => return true,
            Some(Owner::There(_)) => {}
            None if self.foreign >= FOREIGN_PATHS => return false,
            None => self.foreign += 1,
        }
        self.paths.insert(path, Owner::There(shard));
        true
    }

    /// It no longer does.
    pub(super) fn forget_foreign(&mut self, path: Path, shard: Shard) {
        self.last = None;
        if self.paths.get(&path) == Some(&Owner::There(shard)) {
            self.paths.remove(&path);
            self.foreign -= 1;
        }
    }

    /// Copies one datagram into the buffer for `shard`; gives that buffer when it is full.
    pub(super) fn collect(&mut self, shard: Shard, path: Path, datagram: &[u8], now: Time) -> Option<ShardMessage> {
        let place = self.collecting.get_mut(usize::from(shard))?;
        let buffer = place.get_or_insert_with(|| self.pool.pop().unwrap_or_default());
        buffer.arrival.get_or_insert(now);
        buffer.push(path, datagram);
        if buffer.space().len() < BUFFER_BYTES {
            return None;
        }
        place.take().map(ShardMessage::Datagrams)
    }

    /// The buffers with something in them, at the end of a batch.
    pub(super) fn collected(&mut self) -> impl Iterator<Item = (Shard, ShardMessage)> + '_ {
        self.collecting.iter_mut().enumerate().filter_map(|(shard, place)| {
            let buffer = place.take()?;
            Some((Shard::try_from(shard).ok()?, ShardMessage::Datagrams(buffer)))
        })
    }

    /// A buffer is back.
    pub(super) fn reclaim(&mut self, mut buffer: Box<ReceiveBatch>) {
        if self.pool.len() < POOLED_BUFFERS {
            buffer.clear();
            buffer.arrival = None;
            self.pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { socket: SocketId(0), remote: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn a_tuple_proven_here_is_not_given_away_by_another_shard() {
        let mut routes = Routes::new(2);
        routes.bind(path(1), 7);
        assert!(routes.learn_foreign(path(1), 1));
        assert_eq!(routes.owner(path(1)), Some(Owner::Here(7)));
        routes.unbind(path(1), 7);
        assert_eq!(routes.owner(path(1)), None);
    }

    #[test]
    fn a_foreign_tuple_is_forgotten_only_by_its_owner() {
        let mut routes = Routes::new(3);
        routes.learn_foreign(path(1), 1);
        routes.forget_foreign(path(1), 2);
        assert_eq!(routes.owner(path(1)), Some(Owner::There(1)));
        routes.forget_foreign(path(1), 1);
        assert_eq!((routes.owner(path(1)), routes.foreign), (None, 0));
    }

    #[test]
    fn handed_over_buffers_are_used_again() {
        let mut routes = Routes::new(2);
        let (early, late) = (Time::from_millis(5), Time::from_millis(9));
        assert!(routes.collect(1, path(1), &[1; 10], early).is_none());
        assert!(routes.collect(1, path(1), &[1; 10], late).is_none());
        let messages: Vec<_> = routes.collected().collect();
        let [(1, ShardMessage::Datagrams(_))] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(messages[0].1.arrival(), Some(early), "its first datagram's");
        for (_, message) in messages {
            if let ShardMessage::Datagrams(buffer) = message {
                routes.reclaim(buffer);
            }
        }
        routes.collect(1, path(2), &[2; 10], late);
        assert_eq!(routes.collecting[1].as_ref().and_then(|buffer| buffer.arrival), Some(late));
        assert_eq!(routes.pool.len(), 0);
        assert_eq!(routes.collecting[1].as_ref().map(|buffer| buffer.len()), Some(1));
    }

    #[test]
    fn a_shard_that_does_not_exist_gets_nothing() {
        assert!(Routes::new(1).collect(9, path(1), &[0], Time::ZERO).is_none());
    }
}
