//! The Cores of an Edge, as it knows them: who may come, who has proven where they are.

use std::collections::HashMap;
use std::time::Duration;

use super::seal::{LinkKey, Nonce, Seal};
use crate::io::Path;
use crate::time::Time;

/// Links that an Edge takes.
pub(super) const MOST_LINKS: usize = 256;
/// A Core is gone when it was silent for so long, or for several of its own intervals.
const SILENCE: Duration = Duration::from_secs(2);

/// A shard of a Core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkName {
    /// The Core.
    pub core: u16,
    /// Its shard.
    pub shard: u16,
}

/// A Core that has proven where it is.
#[derive(Debug)]
pub(super) struct Session {
    /// Where it has proven to be.
    pub(super) path: Path,
    pub(super) instance: u64,
    pub(super) nonce: Nonce,
    /// When the cookie was made by which it came.
    pub(super) issued: u64,
    pub(super) seal: Seal,
    pub(super) heard: Time,
    pub(super) interval: Duration,
    /// Bytes of a datagram that frames may share.
    pub(super) mtu: usize,
    pub(super) is_up: bool,
}

impl Session {
    pub(super) fn is_silent(&self, now: Time) -> bool {
        now.since(self.heard) > SILENCE.max(self.interval * 5 / 2)
    }
}

/// One link.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: LinkName,
    pub(super) key: LinkKey,
    pub(super) session: Option<Session>,
}

/// All of them, by number, by name and by path.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: Vec<Option<Peer>>,
    by_name: HashMap<LinkName, usize>,
    by_path: HashMap<Path, usize>,
    last: Option<(Path, usize)>,
}

impl Peers {
    /// Announces a link, or gives it another key, which counts from its next hello on. `None` when there are too many.
    pub(super) fn set(&mut self, name: LinkName, key: LinkKey) -> Option<usize> {
        if let Some(&number) = self.by_name.get(&name) {
            if let Some(peer) = self.peers[number].as_mut() {
                peer.key = key;
            }
            return Some(number);
        }
        let free = self.peers.iter().position(Option::is_none);
        let number = free.or((self.peers.len() < MOST_LINKS).then_some(self.peers.len()))?;
        if number == self.peers.len() {
            self.peers.push(None);
        }
        self.peers[number] = Some(Peer { name, key, session: None });
        self.by_name.insert(name, number);
        Some(number)
    }

    /// Takes a link away; its number.
    pub(super) fn remove(&mut self, name: LinkName) -> Option<usize> {
        let number = self.by_name.remove(&name)?;
        self.last = None;
        if let Some(session) = self.peers[number].take().and_then(|peer| peer.session) {
            self.by_path.remove(&session.path);
        }
        Some(number)
    }

    pub(super) fn number(&self, name: LinkName) -> Option<usize> {
        self.by_name.get(&name).copied()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Peer> {
        self.peers.get(number)?.as_ref()
    }

    pub(super) fn session(&self, number: usize) -> Option<&Session> {
        self.get(number)?.session.as_ref()
    }

    pub(super) fn session_mut(&mut self, number: usize) -> Option<&mut Session> {
        self.peers.get_mut(number)?.as_mut()?.session.as_mut()
    }

    /// The link that has proven to be at `path`.
    pub(super) fn at(&mut self, path: Path) -> Option<usize> {
        if let Some((last, number)) = self.last
            && last == path
        {
            return Some(number);
        }
        let number = self.by_path.get(&path).copied()?;
        self.last = Some((path, number));
        Some(number)
    }

    /// A link has proven where it is.
    pub(super) fn establish(&mut self, number: usize, session: Session) {
        let Some(peer) = self.peers.get_mut(number).and_then(Option::as_mut) else { return };
        self.last = None;
        let path = session.path;
        if let Some(before) = peer.session.replace(session) {
            self.by_path.remove(&before.path);
        }
        self.by_path.insert(path, number);
    }

    /// Numbers of all links.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        0..self.peers.len()
    }
}
