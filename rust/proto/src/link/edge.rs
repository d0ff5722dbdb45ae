//! The Edge's end of its links: visitors' datagrams become frames for their Core, and frames datagrams for visitors.

mod hello;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::edge_peer::{LinkName, Peers};
use super::frame::{Frame, FrameKind, HEADER, Header, frames};
use super::message::{Opening, Renamed, Replayed, read_rate};
use super::ports::{EdgePorts, Port, PortPair, Source};
use super::seal::{LinkKey, Unbelieved};
use super::ways::Way;
use crate::ice::{LocalUfrag, UfragKey};
use crate::io::{Carries, MAX_DATAGRAM, Path, ReceiveBatch, SocketId, TransmitQueue};
use crate::path::{Admission, EdgeDrop, EdgeDrops, Origin, PathId, PathLimits, PathTable, Restored, SessionKey};
use crate::stun::local_ufrag;
use crate::time::Time;

/// How often links are looked at, whether they are silent.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an Edge is built from.
#[derive(Clone, Debug)]
pub struct EdgeLinkConfig {
    /// The socket towards the Cores, never the public one.
    pub link_socket: SocketId,
    /// Random: signs cookies.
    pub secret: [u8; 32],
    /// Random: this life of the Edge.
    pub instance: u64,
    /// Time since the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
    /// Bounds of the table of paths.
    pub limits: PathLimits,
}

/// What an Edge tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeEvent {
    /// A Core has proven its address, or a new one.
    LinkUp {
        /// Whose.
        name: LinkName,
        /// Where; over TLS the name of that connection among ours.
        address: SocketAddr,
        /// How frames go.
        way: Way,
    },
    /// A Core is silent, or was taken away.
    LinkDown {
        /// Whose.
        name: LinkName,
    },
    /// A path of another thread has answered its Core's challenge.
    PathBound(Path),
    /// A path of another thread has ended, or was not made.
    PathUnbound(Path),
}

/// One worker of an Edge, without its sockets and its thread.
#[derive(Debug)]
pub struct EdgeLink {
    link_socket: SocketId,
    secret: hmac::Key,
    instance: u64,
    admission: Admission,
    table: PathTable,
    peers: Peers,
    ports: EdgePorts,
    /// Datagrams of the batch being handled: link, place in the batch, path.
    routed: Vec<(usize, usize, PathId)>,
    answer: Vec<u8>,
    next_look: Option<Time>,
    drops: EdgeDrops,
    events: VecDeque<EdgeEvent>,
}

impl EdgeLink {
    /// An Edge without keys and links, which lets nobody in.
    pub fn new(config: EdgeLinkConfig) -> EdgeLink {
        EdgeLink {
            link_socket: config.link_socket,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &config.secret),
            instance: config.instance,
            admission: Admission::new(config.unix_epoch),
            table: PathTable::new(config.limits, config.instance as u16),
            peers: Peers::default(),
            ports: EdgePorts::default(),
            routed: Vec::new(),
            answer: Vec::new(),
            next_look: None,
            drops: EdgeDrops::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes a key by which a core signs its tokens; false when there are too many cores.
    pub fn set_key(&mut self, key: UfragKey) -> bool {
        self.admission.set_key(key)
    }

    /// Forgets one.
    pub fn remove_key(&mut self, core: u16, id: u8) {
        self.admission.remove_key(core, id);
    }

    /// Lets a shard of a Core open a link with this key; false when there are too many.
    pub fn set_link(&mut self, name: LinkName, key: LinkKey) -> bool {
        self.peers.set(name, key).is_some()
    }

    /// Takes a link away with its paths.
    pub fn remove_link(&mut self, name: LinkName) {
        let was_up = self.peers.number(name).and_then(|link| self.peers.session(link)).is_some_and(|peer| peer.is_up);
        if let Some(link) = self.peers.remove(name) {
            self.table.close_link(link);
            self.ports.close_shard(name.core, name.shard);
        }
        if was_up {
            self.events.push_back(EdgeEvent::LinkDown { name });
        }
    }

    /// A session has ended: its paths close, and its tokens, which end with the minute `until` (of 2020), are refused.
    pub fn revoke(&mut self, session: SessionKey, until: u32, now: Time) {
        self.admission.revoke(session, until, now);
        self.table.close_session(session);
        self.ports.close(session);
    }

    /// Takes a pair of ports for a session without ICE; false where it has one, or there are too many. [`EdgeLink::revoke`]
    /// ends it.
    pub fn open_ports(&mut self, session: SessionKey, sockets: PortPair, now: Time) -> bool {
        self.ports.open(session, sockets, now)
    }

    /// The peer's description: where its RTP and RTCP come from, and how long others may come in their place.
    pub fn aim_ports(
        &mut self,
        session: SessionKey,
        named: [Option<SocketAddr>; 2],
        window: Duration,
        now: Time,
    ) -> bool {
        self.ports.aim(session, named, window, now)
    }

    /// A pair whose sockets are to be closed, and whose it was.
    pub fn poll_closed_ports(&mut self) -> Option<(SessionKey, PortPair)> {
        self.ports.poll_closed()
    }

    /// Pairs of ports.
    pub fn port_pairs(&self) -> usize {
        self.ports.len()
    }

    /// Names the thread whose sources are relayed addresses.
    pub fn set_relay(&mut self, relay: u16) {
        self.table.set_relay(relay);
    }

    /// Other bounds of paths from now on.
    pub fn set_limits(&mut self, limits: PathLimits) {
        self.table.set_limits(limits);
    }

    /// The source of a path is gone: its connection was closed.
    pub fn close_source(&mut self, path: Path, out: &mut TransmitQueue<'_>) {
        self.table.close_source(path);
        out.carries = Carries::Control;
        self.tell_closed(out);
    }

    /// Takes visitors' datagrams; the frames of those that come in one call share datagrams where they fit.
    pub fn handle_public(
        &mut self,
        batch: &ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) {
        self.routed.clear();
        for at in entries.start..entries.end.min(batch.len()) {
            let received = batch.entries()[at];
            match self.route(received.path, batch.datagram(&received), now) {
                Ok((link, id)) => self.routed.push((link, at, id)),
                Err(reason) => {
                    self.drops.count(reason);
                    if received.path.socket.carrier().is_some() && self.table.find(received.path).is_none() {
                        self.table.refuse(received.path);
                    }
                }
            }
        }
        if self.routed.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            // Frames for one link side by side; the order within a link stays.
            self.routed.sort_unstable();
        }
        out.carries = Carries::Control;
        for &(link, at, id) in &self.routed {
            let (Some(session), Ok(entry)) = (self.peers.session(link), self.table.named(id, link)) else { continue };
            let datagram = batch.datagram(&batch.entries()[at]);
            let mut memory = [0; Opening::MOST];
            let opening: &[u8] = if entry.is_acknowledged {
                &[]
            } else {
                let Path { socket, remote } = entry.path;
                let Origin { is_port, generation } = entry.origin;
                let transport = entry.session.transport;
                Opening { is_port, generation, socket: socket.0, transport, remote }.write(&mut memory)
            };
            let length = opening.len() + datagram.len();
            if HEADER + length > session.mtu.max(MAX_DATAGRAM) {
                self.drops.count(EdgeDrop::TooLarge);
                continue;
            }
            let kind = if entry.is_acknowledged { FrameKind::Data } else { FrameKind::Open };
            let header = Header { is_proven: entry.is_proven, ..Header::new(kind, length as u16, entry.id) };
            let mut head = [0; HEADER + Opening::MOST];
            head[..HEADER].copy_from_slice(&header.write());
            head[HEADER..HEADER + opening.len()].copy_from_slice(opening);
            out.append(session.path, session.mtu, [&head[..HEADER + opening.len()], datagram]);
        }
        self.tell_closed(out);
    }

    /// Takes datagrams of the link socket, or such as came over TLS. The number of their frames.
    pub fn handle_link(
        &mut self,
        batch: &ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> u64 {
        let mut whole = 0;
        for received in &batch.entries()[entries.start..entries.end.min(batch.len())] {
            let from = received.path;
            for frame in frames(batch.datagram(received)) {
                whole += u64::from(frame.is_ok());
                let result = frame.map_err(|_| EdgeDrop::MalformedFrame);
                let result = result.and_then(|frame| self.handle_frame(from, &frame, now, out));
                if let Err(reason) = result {
                    self.drops.count(reason);
                }
            }
        }
        out.carries = Carries::Control;
        self.tell_closed(out);
        whole
    }

    /// Ends silent paths and notices silent Cores.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        for session in self.ports.handle_timeout(now) {
            self.table.close_session(session);
        }
        self.table.handle_timeout(now);
        self.tell_closed(out);
        if self.next_look.is_none_or(|due| due > now) {
            return;
        }
        self.next_look = None;
        for link in self.peers.numbers() {
            let Some(name) = self.peers.get(link).map(|peer| peer.name) else { continue };
            let Some(session) = self.peers.session_mut(link).filter(|session| session.is_up) else { continue };
            if session.is_silent(now) {
                session.is_up = false;
                self.events.push_back(EdgeEvent::LinkDown { name });
            } else {
                self.next_look = Some(now + LOOK_EVERY);
            }
        }
    }

    /// When [`EdgeLink::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.table.poll_timeout().into_iter().chain(self.next_look).chain(self.ports.poll_timeout()).min()
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<EdgeEvent> {
        self.events.pop_front().or_else(|| {
            let (path, lives) = self.table.poll_carried()?;
            Some(if lives { EdgeEvent::PathBound(path) } else { EdgeEvent::PathUnbound(path) })
        })
    }

    /// Names and values of everything counted here.
    pub fn counters(&self, mut each: impl FnMut(&str, u64)) {
        self.drops.iter().for_each(|(name, value)| each(name, value));
    }

    /// How often a reason to drop something was met.
    pub fn dropped(&self, reason: EdgeDrop) -> u64 {
        self.drops.get(reason)
    }

    /// Paths.
    pub fn paths(&self) -> usize {
        self.table.len()
    }

    /// Links that are up, by UDP and over TLS.
    pub fn links(&self) -> (usize, usize) {
        let up = self.peers.numbers().filter_map(|link| self.peers.session(link)).filter(|session| session.is_up);
        let udp = up.clone().filter(|session| session.path.socket == self.link_socket).count();
        (udp, up.count() - udp)
    }

    /// Ended sessions whose tokens are still refused.
    pub fn revoked(&self) -> usize {
        self.admission.revoked()
    }

    /// The link and the path of a visitor's datagram; makes the path if its token says so.
    fn route(&mut self, path: Path, datagram: &[u8], now: Time) -> Result<(usize, PathId), EdgeDrop> {
        let index = match self.table.find(path) {
            found if let Some(port) = self.ports.at(path.socket) => self.enter(found, port, path, now)?,
            Some(index) if !self.is_of_another(index, datagram) => index,
            Some(index) => self.replace(index, path, datagram, now)?,
            None => self.admit(path, datagram, now)?,
        };
        if !self.table.pass(index, datagram.len(), now) {
            return Err(EdgeDrop::Policed);
        }
        let (link, id) = self.table.get(index).map(|entry| (entry.link, entry.id)).ok_or(EdgeDrop::NoPath)?;
        if self.peers.session(link).is_none_or(|session| !session.is_up) {
            return Err(EdgeDrop::LinkDown);
        }
        Ok((link, id))
    }

    /// A datagram at a port of one session: only who is named may begin, or whoever comes first.
    fn enter(&mut self, found: Option<u16>, port: Port, path: Path, now: Time) -> Result<u16, EdgeDrop> {
        let source = self.ports.judge(port, path.remote, now);
        let is_proven = found.and_then(|index| self.table.get(index)).is_some_and(|entry| entry.is_proven);
        if is_proven || source != Source::Stranger {
            if let Some(index) = found {
                return Ok(index);
            }
            let Port { session, component } = port;
            let link = self.up_link(LinkName { core: session.core, shard: session.shard() })?;
            return match source {
                Source::Named => self.table.name(path, session, component, link, now).map(PathId::index),
                _ => self.table.admit_at_port(path, session, component, link, now),
            };
        }
        Err(EdgeDrop::PortStranger)
    }

    /// The number of a link that is up.
    fn up_link(&self, name: LinkName) -> Result<usize, EdgeDrop> {
        let link = self.peers.number(name).ok_or(EdgeDrop::NoLink)?;
        let is_up = self.peers.session(link).is_some_and(|session| session.is_up);
        if is_up { Ok(link) } else { Err(EdgeDrop::NoLink) }
    }

    fn admit(&mut self, path: Path, datagram: &[u8], now: Time) -> Result<u16, EdgeDrop> {
        let token = self.admission.check(datagram, now)?;
        let name = LinkName { core: token.core, shard: token.shard };
        let link = self.up_link(name)?;
        self.table.admit(path, &token, link, now)
    }

    /// Whether a datagram is a check for another session than the path is of.
    fn is_of_another(&self, index: u16, datagram: &[u8]) -> bool {
        if !datagram.starts_with(&[0, 1]) {
            return false;
        }
        let token = local_ufrag(datagram).and_then(LocalUfrag::read_unproven);
        let session = token.map(|token| SessionKey::of(&token));
        self.table.get(index).zip(session).is_some_and(|(entry, session)| entry.session != session)
    }

    /// A source is another session's: never so as long as it is proven to be that one's.
    fn replace(&mut self, index: u16, path: Path, datagram: &[u8], now: Time) -> Result<u16, EdgeDrop> {
        let entry = self.table.get(index).filter(|entry| !entry.is_proven).ok_or(EdgeDrop::PathTaken)?;
        let (id, link) = (entry.id, entry.link);
        self.admission.check(datagram, now)?;
        self.table.close(id, link)?;
        self.admit(path, datagram, now)
    }

    fn handle_frame(
        &mut self,
        from: Path,
        frame: &Frame<'_>,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), EdgeDrop> {
        if frame.header.kind == FrameKind::Hello {
            return self.handle_hello(from, frame.bytes, now, out);
        }
        let link = self.peers.at(from).ok_or(EdgeDrop::UnprovenLink)?;
        if frame.header.kind == FrameKind::Data {
            let entry = self.table.named(frame.header.path, link)?;
            out.carries = frame.header.carries;
            out.push(entry.path, frame.body());
            if entry.origin.is_port {
                // A phone that only listens says nothing.
                self.table.hear(frame.header.path.index(), now);
            }
            return Ok(());
        }
        out.carries = Carries::Control;
        let session = self.peers.session_mut(link).ok_or(EdgeDrop::UnprovenLink)?;
        let body = session.seal.open(frame.bytes).map_err(|reason| match reason {
            Unbelieved::Forged => EdgeDrop::ForgedControl,
            Unbelieved::Replayed => EdgeDrop::ReplayedControl,
        })?;
        session.heard = now;
        let path = frame.header.path;
        match frame.header.kind {
            FrameKind::KeepAlive => self.handle_keep_alive(link, body, now, out),
            FrameKind::OpenAck => {
                let rate = read_rate(body).ok_or(EdgeDrop::MalformedFrame)?;
                self.table.acknowledge(path, link, rate)
            }
            FrameKind::Proven => {
                let rate = read_rate(body).ok_or(EdgeDrop::MalformedFrame)?;
                self.table.prove(path, link, rate)
            }
            FrameKind::Close => self.table.close(path, link),
            FrameKind::Replay => self.handle_replay(link, body, now, out),
            FrameKind::Aim => self.handle_aim(link, body, now, out),
            _ => Err(EdgeDrop::MalformedFrame),
        }
    }

    fn handle_replay(
        &mut self,
        link: usize,
        mut body: &[u8],
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), EdgeDrop> {
        let name = self.peers.get(link).map(|peer| peer.name).ok_or(EdgeDrop::UnprovenLink)?;
        self.answer.clear();
        while !body.is_empty() {
            let (Replayed { id, granted, opening }, rest) = Replayed::read(body).ok_or(EdgeDrop::MalformedFrame)?;
            body = rest;
            let session = SessionKey { core: name.core, transport: opening.transport };
            let path = Path { socket: SocketId(opening.socket), remote: opening.remote };
            let restored = Restored { id, path, session, generation: opening.generation, granted };
            let place = (session.shard() == name.shard).then(|| self.table.restore(&restored, link, now)).flatten();
            Renamed { from: id, to: place.unwrap_or(PathId::NONE) }.write(&mut self.answer);
        }
        let session = self.peers.session_mut(link).ok_or(EdgeDrop::UnprovenLink)?;
        session.seal.push(out, session.path, FrameKind::ReplayAck, PathId::NONE, &[&self.answer]);
        Ok(())
    }

    /// A datagram for a peer that the Core names: it leaves from the session's port, and the Core is told of the path.
    fn handle_aim(&mut self, link: usize, body: &[u8], now: Time, out: &mut TransmitQueue<'_>) -> Result<(), EdgeDrop> {
        let (aimed, datagram) = Opening::read(body).ok_or(EdgeDrop::MalformedFrame)?;
        let name = self.peers.get(link).map(|peer| peer.name).ok_or(EdgeDrop::UnprovenLink)?;
        let session = SessionKey { core: name.core, transport: aimed.transport };
        let socket = self.ports.socket(session, aimed.generation).filter(|_| session.shard() == name.shard);
        let path = Path { socket: socket.ok_or(EdgeDrop::UnknownPort)?, remote: aimed.remote };
        let id = self.table.name(path, session, aimed.generation, link, now)?;
        if !datagram.is_empty() {
            out.push(path, datagram);
        }
        let mut memory = [0; Opening::MOST];
        let opening = Opening { is_port: true, socket: path.socket.0, ..aimed }.write(&mut memory);
        let peer = self.peers.session(link).ok_or(EdgeDrop::UnprovenLink)?;
        let header = Header { is_proven: true, ..Header::new(FrameKind::Open, opening.len() as u16, id) };
        out.append(peer.path, peer.mtu, [&header.write(), opening]);
        Ok(())
    }

    /// Tells Cores of paths that ended here.
    fn tell_closed(&mut self, out: &mut TransmitQueue<'_>) {
        while let Some((id, link)) = self.table.poll_closed() {
            if let Some(session) = self.peers.session_mut(link) {
                session.seal.push(out, session.path, FrameKind::Close, id, &[]);
            }
        }
    }
}
