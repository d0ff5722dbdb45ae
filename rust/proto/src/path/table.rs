//! The table of paths: found by source and by id, bounded in every direction, emptied by silence.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::SessionKey;
use super::drops::EdgeDrop;
use super::id::PathId;
use super::places::Places;
use super::prefixes::Prefixes;
use super::sessions::{MOST_PROVEN, MOST_UNPROVEN, Sessions};
use crate::ice::LocalUfrag;
use crate::io::Path;
use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// Without a datagram of the visitor an unproven path ends after this time, as in the Core's agent.
const UNPROVEN_LIFE: Duration = Duration::from_secs(10);
/// And a proven one: longer than consent lasts (RFC 7675 §5.1), so that the Core decides.
const PROVEN_LIFE: Duration = Duration::from_secs(45);
/// An unproven path that was silent for so long gives way to a new one of its session.
const GIVES_WAY: Duration = Duration::from_secs(2);
/// What an unproven path may send: checks, and a DTLS handshake that comes early.
const UNPROVEN_BYTES_PER_S: u32 = 16_384;
const UNPROVEN_BURST_BYTES: u32 = 32_768;
/// A granted rate may be used up for a quarter of a second at once, and for a large picture.
const SMALLEST_BURST_BYTES: u32 = 262_144;
/// Deadlines of paths that are gone are swept out beyond this many, and beyond twice as many as there are paths.
const STALE_DEADLINES: usize = 1024;

/// Bounds of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathLimits {
    /// Paths of all sessions together, 65,536 at the most.
    pub paths: usize,
    /// Unproven paths from one source network, /24 of IPv4 or /56 of IPv6.
    pub unproven_per_prefix: u16,
}

/// By what a path was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// By the port that it leads to, which belongs to one session alone; else by a token.
    pub is_port: bool,
    /// Generation of the token's ICE credentials; of such a port 0 for RTP and 1 for RTCP.
    pub generation: u8,
}

/// One path.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in frames.
    pub id: PathId,
    /// The socket at which the visitor comes in, and its address.
    pub path: Path,
    /// Whose it is.
    pub session: SessionKey,
    /// By what it was admitted.
    pub origin: Origin,
    /// The link it goes by; a number of whoever owns the links.
    pub link: usize,
    /// Whether it answered a challenge of the Core.
    pub is_proven: bool,
    /// Whether the Core has heard of it.
    pub is_acknowledged: bool,
    heard: Time,
    /// Bytes a second once proven, 0 for no bound.
    granted: u32,
    policer: Option<TokenBucket>,
}

impl Entry {
    fn ends_at(&self) -> Time {
        self.heard + if self.is_proven { PROVEN_LIFE } else { UNPROVEN_LIFE }
    }
}

/// What the Core says about a path that the Edge is to have again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) id: PathId,
    pub(crate) path: Path,
    pub(crate) session: SessionKey,
    pub(crate) generation: u8,
    pub(crate) granted: u32,
}

/// See the module.
#[derive(Debug)]
pub struct PathTable {
    limits: PathLimits,
    places: Places,
    by_source: HashMap<Path, u16>,
    sessions: Sessions,
    prefixes: Prefixes,
    deadlines: BinaryHeap<Reverse<(Time, PathId)>>,
    /// Datagrams come in runs of one source: the last answer is mostly the next one.
    last: Option<(Path, u16)>,
    /// Paths that ended without a word of their Core, and their links.
    closed: VecDeque<(PathId, usize)>,
    /// Paths of other threads: whether they are proven, or gone.
    carried: VecDeque<(Path, bool)>,
}

impl PathTable {
    /// An empty table. `first_generation` should differ from that of the life before.
    pub fn new(limits: PathLimits, first_generation: u16) -> PathTable {
        PathTable {
            limits,
            places: Places::new(limits.paths, first_generation),
            by_source: HashMap::new(),
            sessions: Sessions::default(),
            prefixes: Prefixes::default(),
            deadlines: BinaryHeap::new(),
            last: None,
            closed: VecDeque::new(),
            carried: VecDeque::new(),
        }
    }

    /// Names the thread whose sources are relayed addresses.
    pub fn set_relay(&mut self, relay: u16) {
        self.prefixes.set_relay(relay);
    }

    /// Other bounds from now on. Paths that there are stay, and count.
    pub fn set_limits(&mut self, limits: PathLimits) {
        self.limits = limits;
        self.places.set_most(limits.paths);
    }

    /// Paths.
    pub fn len(&self) -> usize {
        self.by_source.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// The place of a source's path.
    pub fn find(&mut self, path: Path) -> Option<u16> {
        if let Some((last, index)) = self.last
            && last == path
        {
            return Some(index);
        }
        let index = self.by_source.get(&path).copied()?;
        self.last = Some((path, index));
        Some(index)
    }

    /// The path at a place.
    pub fn get(&self, index: u16) -> Option<&Entry> {
        self.places.get(index)
    }

    /// The path that a frame of `link` names.
    pub fn named(&self, id: PathId, link: usize) -> Result<&Entry, EdgeDrop> {
        match self.places.get(id.index()) {
            Some(entry) if entry.id != id => Err(EdgeDrop::LatePath),
            Some(entry) if entry.link != link => Err(EdgeDrop::ForeignPath),
            Some(entry) => Ok(entry),
            None if self.places.knows(id.index()) => Err(EdgeDrop::LatePath),
            None => Err(EdgeDrop::UnknownPath),
        }
    }

    /// Whether the visitor may send so many bytes now; it is heard of in any case.
    pub fn pass(&mut self, index: u16, bytes: usize, now: Time) -> bool {
        let Some(entry) = self.places.get_mut(index) else { return false };
        entry.heard = now;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        entry.policer.as_mut().is_none_or(|policer| policer.take(bytes, now))
    }

    /// A path lives on.
    pub fn hear(&mut self, index: u16, now: Time) {
        if let Some(entry) = self.places.get_mut(index) {
            entry.heard = now;
        }
    }

    /// Makes a path for a source that has none and showed a valid token.
    pub fn admit(&mut self, path: Path, token: &LocalUfrag, link: usize, now: Time) -> Result<u16, EdgeDrop> {
        let origin = Origin { is_port: false, generation: token.generation };
        self.admit_as(path, SessionKey::of(token), origin, link, now)
    }

    /// The same for a source that may come in at a port of its session.
    pub fn admit_at_port(
        &mut self,
        path: Path,
        session: SessionKey,
        component: u8,
        link: usize,
        now: Time,
    ) -> Result<u16, EdgeDrop> {
        self.admit_as(path, session, Origin { is_port: true, generation: component }, link, now)
    }

    /// Makes a path to a peer that the Core has named, from a port of the session: it needs no proof.
    pub fn name(
        &mut self,
        path: Path,
        session: SessionKey,
        component: u8,
        link: usize,
        now: Time,
    ) -> Result<PathId, EdgeDrop> {
        let index = match self.find(path) {
            Some(index) => index,
            None => {
                let index = self.places.take().ok_or(EdgeDrop::TableFull)?;
                self.insert(index, path, session, Origin { is_port: true, generation: component }, link, now);
                index
            }
        };
        let id = self.get(index).map(|entry| entry.id).ok_or(EdgeDrop::LatePath)?;
        let granted = self.named(id, link)?.granted;
        self.prove(id, link, granted)?;
        Ok(id)
    }

    fn admit_as(
        &mut self,
        path: Path,
        session: SessionKey,
        origin: Origin,
        link: usize,
        now: Time,
    ) -> Result<u16, EdgeDrop> {
        if self.prefixes.count(path) >= self.limits.unproven_per_prefix {
            return Err(EdgeDrop::PrefixFull);
        }
        self.make_room(session, now)?;
        let index = self.places.take().ok_or(EdgeDrop::TableFull)?;
        self.insert(index, path, session, origin, link, now);
        Ok(index)
    }

    /// Makes a path of an earlier life again, under its old name if that is free. `None` when there is no room, or the source
    /// belongs to another session now.
    pub(crate) fn restore(&mut self, restored: &Restored, link: usize, now: Time) -> Option<PathId> {
        let Restored { id, path, session, generation, granted } = *restored;
        if path.socket.carrier().is_some() {
            // A connection, or an allocation: it ended with that life.
            return None;
        }
        let index = match self.find(path) {
            Some(index) if self.get(index)?.session != session => return None,
            Some(index) => index,
            None => {
                let index = self.places.take_named(id).or_else(|| self.places.take())?;
                self.insert(index, path, session, Origin { is_port: false, generation }, link, now);
                index
            }
        };
        let id = self.get(index)?.id;
        self.acknowledge(id, link, granted).ok()?;
        self.prove(id, link, granted).ok()?;
        Some(id)
    }

    /// The Core has heard of a path, and grants it `bytes_per_second` once it is proven, 0 for no bound.
    pub fn acknowledge(&mut self, id: PathId, link: usize, bytes_per_second: u32) -> Result<(), EdgeDrop> {
        let entry = self.named_mut(id, link)?;
        entry.is_acknowledged = true;
        grant(entry, bytes_per_second);
        Ok(())
    }

    /// A path has answered the Core's challenge.
    pub fn prove(&mut self, id: PathId, link: usize, bytes_per_second: u32) -> Result<(), EdgeDrop> {
        let entry = self.named_mut(id, link)?;
        let first = !std::mem::replace(&mut entry.is_proven, true);
        if !first {
            grant(entry, bytes_per_second);
            return Ok(());
        }
        entry.granted = bytes_per_second;
        entry.policer = policer(bytes_per_second);
        let (session, path) = (entry.session, entry.path);
        self.prefixes.remove(path);
        self.tell_carrier(path, true);
        let proven = self.of_session(session, true);
        if proven.clone().count() > MOST_PROVEN
            && let Some(silent) = proven.filter(|entry| entry.id != id).min_by_key(|entry| entry.heard)
        {
            let (silent, link) = (silent.id, silent.link);
            self.remove(silent.index());
            self.closed.push_back((silent, link));
        }
        Ok(())
    }

    /// Ends a path by the Core's word.
    pub fn close(&mut self, id: PathId, link: usize) -> Result<(), EdgeDrop> {
        self.named(id, link)?;
        self.remove(id.index());
        Ok(())
    }

    /// The source of a path is gone.
    pub fn close_source(&mut self, path: Path) {
        let ended = self.find(path).and_then(|index| self.get(index)).map(|entry| (entry.id, entry.link));
        if let Some((id, link)) = ended {
            self.remove(id.index());
            self.closed.push_back((id, link));
        }
    }

    /// Ends the paths of a session.
    pub fn close_session(&mut self, session: SessionKey) {
        for &index in self.sessions.members(session).as_slice() {
            self.remove(index);
        }
    }

    /// Ends the paths of a link: its Core has begun a new life, and knows nothing of them.
    pub fn close_link(&mut self, link: usize) {
        let ended: Vec<u16> =
            self.places.entries().filter(|entry| entry.link == link).map(|entry| entry.id.index()).collect();
        for index in ended {
            self.remove(index);
        }
    }

    /// Ends what was silent for too long.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&Reverse((due, id))) = self.deadlines.peek()
            && due <= now
        {
            self.deadlines.pop();
            let Some(entry) = self.get(id.index()).filter(|entry| entry.id == id) else { continue };
            let (ends, link) = (entry.ends_at(), entry.link);
            if ends > now {
                self.deadlines.push(Reverse((ends, id)));
            } else {
                self.remove(id.index());
                self.closed.push_back((id, link));
            }
        }
    }

    /// When [`PathTable::handle_timeout`] has something to look at.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.peek().map(|Reverse((due, _))| *due)
    }

    /// A path that ended without a word of its Core, and its link.
    pub fn poll_closed(&mut self) -> Option<(PathId, usize)> {
        self.closed.pop_front()
    }

    /// A path of another thread that is proven now (true) or has ended (false).
    pub fn poll_carried(&mut self) -> Option<(Path, bool)> {
        self.carried.pop_front()
    }

    /// A source of another thread was not let in.
    pub fn refuse(&mut self, path: Path) {
        self.tell_carrier(path, false);
    }

    fn tell_carrier(&mut self, path: Path, lives: bool) {
        if path.socket.carrier().is_some() {
            self.carried.push_back((path, lives));
        }
    }

    fn named_mut(&mut self, id: PathId, link: usize) -> Result<&mut Entry, EdgeDrop> {
        self.named(id, link)?;
        self.places.get_mut(id.index()).ok_or(EdgeDrop::LatePath)
    }

    /// The paths of a session that are proven, or those that are not.
    fn of_session(&self, session: SessionKey, proven: bool) -> impl Iterator<Item = &Entry> + Clone {
        let members = self.sessions.members(session);
        (0..members.as_slice().len())
            .filter_map(move |at| self.get(members.as_slice()[at]))
            .filter(move |entry| entry.is_proven == proven)
    }

    /// Lets an unproven path of the session go that was silent for long, if it has as many as it may.
    fn make_room(&mut self, session: SessionKey, now: Time) -> Result<(), EdgeDrop> {
        let unproven = self.of_session(session, false);
        if unproven.clone().count() < MOST_UNPROVEN {
            return Ok(());
        }
        let silent = unproven.filter(|entry| now.since(entry.heard) >= GIVES_WAY).min_by_key(|entry| entry.heard);
        let (id, link) = silent.map(|entry| (entry.id, entry.link)).ok_or(EdgeDrop::SessionFull)?;
        self.remove(id.index());
        self.closed.push_back((id, link));
        Ok(())
    }

    fn insert(&mut self, index: u16, path: Path, session: SessionKey, origin: Origin, link: usize, now: Time) {
        let id = self.places.name(index);
        let policer = Some(TokenBucket::new(UNPROVEN_BYTES_PER_S, UNPROVEN_BURST_BYTES));
        let entry = Entry {
            id,
            path,
            session,
            origin,
            link,
            is_proven: false,
            is_acknowledged: false,
            heard: now,
            granted: 0,
            policer,
        };
        self.arm(entry.ends_at(), id);
        self.places.put(index, entry);
        self.by_source.insert(path, index);
        self.sessions.add(session, index);
        self.prefixes.add(path);
        self.last = None;
    }

    fn arm(&mut self, due: Time, id: PathId) {
        if self.deadlines.len() > STALE_DEADLINES + 2 * self.by_source.len() {
            let places = &self.places;
            self.deadlines.retain(|Reverse((_, id))| places.get(id.index()).is_some_and(|entry| entry.id == *id));
        }
        self.deadlines.push(Reverse((due, id)));
    }

    fn remove(&mut self, index: u16) {
        let Some(entry) = self.places.free(index) else { return };
        self.last = None;
        self.by_source.remove(&entry.path);
        self.sessions.remove(entry.session, index);
        if !entry.is_proven {
            self.prefixes.remove(entry.path);
        }
        self.tell_carrier(entry.path, false);
    }

    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let live = self.places.entries();
        let unproven = live.clone().filter(|entry| !entry.is_proven).count();
        live.clone().count() == self.by_source.len()
            && live.clone().all(|entry| self.by_source.get(&entry.path) == Some(&entry.id.index()))
            && self.sessions.len() <= self.len()
            && self.prefixes.len() <= unproven
            && self.places.is_consistent()
    }
}

/// A rate that stays keeps what was used of it.
fn grant(entry: &mut Entry, bytes_per_second: u32) {
    if entry.is_proven && entry.granted != bytes_per_second {
        entry.policer = policer(bytes_per_second);
    }
    entry.granted = bytes_per_second;
}

fn policer(bytes_per_second: u32) -> Option<TokenBucket> {
    let burst = (bytes_per_second / 4).max(SMALLEST_BURST_BYTES);
    (bytes_per_second > 0).then(|| TokenBucket::new(bytes_per_second, burst))
}
