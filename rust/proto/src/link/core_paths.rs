//! The paths of a link as its Core knows them: by the Edge's name for frames that come, by address for what goes.

use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;

use super::drops::LinkDrop;
use super::message::{Opening, Replayed};
use crate::io::{Path, SocketId};
use crate::path::PathId;
use crate::time::Time;

/// Paths of one link, as many as an Edge's worker has.
const MOST_PATHS: usize = 65_536;
/// Sockets of the Edge's worker that are told apart.
const MOST_SOCKETS: usize = 256;
/// Paths to a pair of ports beyond which it is looked which of them are left.
const MOST_NOTED: usize = 32;
/// An Edge that does not know a path to be proven is told again, this often at the most.
const TELL_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Known {
    path: Path,
    opening: Opening,
    /// The Edge's name; none while it has lost the path.
    id: PathId,
    /// The name in the Edge's earlier life.
    lost: PathId,
    is_proven: bool,
    told_at: Time,
}

/// A pair of ports at the Edge.
#[derive(Debug)]
struct Ports {
    sockets: [SocketId; 2],
    /// Of the paths that lead to it, some that are gone among them.
    paths: Vec<Path>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CorePaths {
    /// Number of the link in the ids of sockets.
    link: u32,
    /// What a visitor may send, in bytes a second, where nothing else was granted; 0 for no bound.
    granted: u32,
    /// What those of a session may.
    rates: HashMap<u64, u32>,
    known: Slab<Known>,
    ids: HashMap<PathId, usize>,
    by_path: HashMap<Path, usize>,
    /// The Edge's sockets by place.
    sockets: Vec<u32>,
    /// Ports that the Edge has opened for one transport each, by the transport.
    ports: HashMap<u64, Ports>,
    port_of: HashMap<SocketId, (u64, u8)>,
    /// What the Edge has lost, by the names that it had.
    lost: HashMap<PathId, usize>,
    /// Frames come in runs of one path: the last answer is mostly the next one.
    last_in: Option<(PathId, Path, bool)>,
    last_out: Option<(Path, PathId)>,
}

impl CorePaths {
    pub(super) fn new(link: u32, granted: u32) -> CorePaths {
        CorePaths { link, granted, ..CorePaths::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many paths the Edge has lost and has not got again.
    pub(super) fn lost(&self) -> usize {
        self.lost.len()
    }

    /// The source of a frame, and whether the Edge should know that it is proven.
    pub(super) fn source(&mut self, id: PathId) -> Option<(Path, bool)> {
        if let Some((last, path, is_proven)) = self.last_in
            && last == id
        {
            return Some((path, is_proven));
        }
        let known = &self.known[*self.ids.get(&id)?];
        self.last_in = Some((id, known.path, known.is_proven));
        Some((known.path, known.is_proven))
    }

    /// The name of the path by which a visitor is reached.
    pub(super) fn destination(&mut self, path: Path) -> Option<PathId> {
        if let Some((last, id)) = self.last_out
            && last == path
        {
            return Some(id);
        }
        let id = self.known[*self.by_path.get(&path)?].id;
        if id == PathId::NONE {
            return None;
        }
        self.last_out = Some((path, id));
        Some(id)
    }

    /// The Edge tells of a path, which may be one that had another name, or whose name another one had. Whether that is new.
    pub(super) fn open(&mut self, id: PathId, opening: &Opening) -> Result<(Path, bool), LinkDrop> {
        let path = Path { socket: self.socket(opening)?, remote: opening.remote };
        let key = match self.by_path.get(&path) {
            Some(&key) if self.known[key].id == id => return Ok((path, false)),
            Some(&key) => key,
            None if self.known.len() >= MOST_PATHS => return Err(LinkDrop::PathLimit),
            None => {
                let (lost, told_at) = (PathId::NONE, Time::ZERO);
                let known = Known { path, opening: *opening, id: PathId::NONE, lost, is_proven: false, told_at };
                let key = self.known.insert(known);
                self.by_path.insert(path, key);
                self.note_at_port(opening, path);
                key
            }
        };
        // The Edge made the path anew: for another session it is another path.
        let known = &mut self.known[key];
        known.is_proven &= known.opening.transport == opening.transport;
        known.opening = *opening;
        self.name(key, id);
        Ok((path, true))
    }

    /// Takes down that a path is proven; its name, if the Edge has it.
    pub(super) fn prove(&mut self, path: Path) -> Option<PathId> {
        self.last_in = None;
        let known = &mut self.known[*self.by_path.get(&path)?];
        known.is_proven = true;
        Some(known.id).filter(|&id| id != PathId::NONE)
    }

    /// What the paths of a session may send, or as much as others; whether that is new. Those of them that are proven are
    /// added to `proven`.
    pub(super) fn grant(&mut self, transport: u64, rate: Option<u32>, proven: &mut Vec<PathId>) -> bool {
        let before = match rate {
            Some(rate) => self.rates.insert(transport, rate),
            None => self.rates.remove(&transport),
        };
        if before != rate {
            self.proven_of(transport, proven);
        }
        before != rate
    }

    /// A session is over.
    pub(super) fn forget(&mut self, transport: u64) {
        self.rates.remove(&transport);
    }

    /// Adds the paths of a session that are proven to `proven`.
    pub(super) fn proven_of(&self, transport: u64, proven: &mut Vec<PathId>) {
        let theirs = self.known.iter().map(|(_, known)| known);
        let theirs = theirs.filter(|known| known.opening.transport == transport && known.is_proven);
        proven.extend(theirs.map(|known| known.id).filter(|&id| id != PathId::NONE));
    }

    /// What a path may send.
    pub(super) fn rate(&self, id: PathId) -> u32 {
        let known = self.ids.get(&id).map(|&key| &self.known[key]);
        known.map_or(self.granted, |known| self.rate_of(known.opening.transport))
    }

    fn rate_of(&self, transport: u64) -> u32 {
        let rate = self.rates.get(&transport).copied().unwrap_or(self.granted);
        // No session may send more than any visitor.
        if self.granted > 0 { rate.min(self.granted) } else { rate }
    }

    /// Whether it is time to tell the Edge once more that a path is proven.
    pub(super) fn may_tell(&mut self, id: PathId, now: Time) -> bool {
        let Some(known) = self.ids.get(&id).and_then(|&key| self.known.get_mut(key)) else { return false };
        let is_due = known.told_at == Time::ZERO || now.since(known.told_at) >= TELL_EVERY;
        if is_due {
            known.told_at = now;
        }
        is_due
    }

    /// Forgets a path; its name, if the Edge has it.
    pub(super) fn close(&mut self, path: Path) -> Option<PathId> {
        let key = self.by_path.get(&path).copied()?;
        Some(self.remove(key)).filter(|&id| id != PathId::NONE)
    }

    /// The Edge has ended a path.
    pub(super) fn close_named(&mut self, id: PathId) -> Option<Path> {
        let key = self.ids.get(&id).copied()?;
        let path = self.known[key].path;
        self.remove(key);
        Some(path)
    }

    /// The Edge has begun a new life: it has no path any more. Proven ones it is to have again; visitors of the others ask by
    /// themselves. Peers at ports of ours that were let in are given: so they are again once the Edge has the ports.
    pub(super) fn lose_all(&mut self) -> Vec<Path> {
        let mut at_ports = Vec::new();
        self.ids.clear();
        self.lost.clear();
        (self.last_in, self.last_out) = (None, None);
        let (by_path, lost) = (&mut self.by_path, &mut self.lost);
        self.known.retain(|key, known| {
            known.lost = if known.id == PathId::NONE { known.lost } else { known.id };
            known.id = PathId::NONE;
            let is_port = known.opening.is_port;
            // Two lives of the Edge may have used one name.
            let stays = known.is_proven && !is_port && *lost.entry(known.lost).or_insert(key) == key;
            if !stays {
                by_path.remove(&known.path);
                at_ports.extend((known.is_proven && is_port).then_some(known.path));
            }
            stays
        });
        at_ports
    }

    /// Those that the Edge is to have again.
    pub(super) fn replay(&self) -> impl Iterator<Item = Replayed> {
        self.lost.iter().map(|(&id, &key)| {
            let opening = self.known[key].opening;
            Replayed { id, granted: self.rate_of(opening.transport), opening }
        })
    }

    /// The Edge has a path again, under this name, or cannot have it: then it is given.
    pub(super) fn replayed(&mut self, lost: PathId, id: PathId) -> Option<Path> {
        let key = self.lost.get(&lost).copied()?;
        if id != PathId::NONE {
            self.name(key, id);
            return None;
        }
        let path = self.known[key].path;
        self.remove(key);
        Some(path)
    }

    /// Gives a path its name, which whoever had it before has no more.
    fn name(&mut self, key: usize, id: PathId) {
        (self.last_in, self.last_out) = (None, None);
        let before = std::mem::replace(&mut self.known[key].id, id);
        if before == PathId::NONE {
            self.lost.remove(&std::mem::take(&mut self.known[key].lost));
        } else {
            self.ids.remove(&before);
        }
        if let Some(other) = self.ids.insert(id, key).filter(|&other| other != key) {
            let other = self.known.remove(other);
            self.by_path.remove(&other.path);
        }
    }

    fn remove(&mut self, key: usize) -> PathId {
        (self.last_in, self.last_out) = (None, None);
        let known = self.known.remove(key);
        self.by_path.remove(&known.path);
        if known.id == PathId::NONE {
            self.lost.remove(&known.lost);
        } else {
            self.ids.remove(&known.id);
        }
        known.id
    }

    /// A transport has a pair of ports at the Edge from now on.
    pub(super) fn open_ports(&mut self, transport: u64, sockets: [SocketId; 2]) {
        for (component, socket) in (0..).zip(sockets) {
            self.port_of.insert(socket, (transport, component));
        }
        self.ports.insert(transport, Ports { sockets, paths: Vec::new() });
    }

    /// It has them no more; the Edge hears of it by the end of the session.
    pub(super) fn close_ports(&mut self, transport: u64) {
        let Some(ports) = self.ports.remove(&transport) else { return };
        for socket in ports.sockets {
            self.port_of.remove(&socket);
        }
        for path in ports.paths {
            self.close(path);
        }
    }

    /// What the Edge must know to send to a peer from a port of ours.
    pub(super) fn aim(&self, path: Path) -> Option<Opening> {
        let &(transport, generation) = self.port_of.get(&path.socket)?;
        Some(Opening { is_port: true, generation, socket: 0, transport, remote: path.remote })
    }

    /// Our name for the socket at which a visitor comes in.
    fn socket(&mut self, opening: &Opening) -> Result<SocketId, LinkDrop> {
        if opening.is_port {
            let ports = self.ports.get(&opening.transport).ok_or(LinkDrop::NoPort)?;
            return ports.sockets.get(usize::from(opening.generation)).copied().ok_or(LinkDrop::NoPort);
        }
        let place = self.place(opening.socket).ok_or(LinkDrop::PathLimit)?;
        Ok(SocketId::linked(self.link, place))
    }

    fn note_at_port(&mut self, opening: &Opening, path: Path) {
        if let Some(ports) = self.ports.get_mut(&opening.transport).filter(|_| opening.is_port) {
            if ports.paths.len() >= MOST_NOTED {
                ports.paths.retain(|path| self.by_path.contains_key(path));
            }
            ports.paths.push(path);
        }
    }

    fn place(&mut self, socket: u32) -> Option<u8> {
        let place = self.sockets.iter().position(|&known| known == socket).unwrap_or(self.sockets.len());
        if place == self.sockets.len() {
            if place >= MOST_SOCKETS {
                return None;
            }
            self.sockets.push(socket);
        }
        u8::try_from(place).ok()
    }
}
