//! The Core's end of one link: frames become datagrams of visitors, and datagrams for visitors frames.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::core_paths::CorePaths;
use super::drops::{LinkDrop, LinkDrops};
use super::edge_peer::LinkName;
use super::frame::{Frame, FrameKind, HEADER, Header, frames};
use super::message::{Cookie, CookieAnswer, Hello, KeepAlive, Opening, Renamed, Replayed, Welcome};
use super::mtu::MtuSearch;
use super::seal::{Chosen, End, LinkKey, Nonce, Seal, TAG, Unbelieved, derive};
use crate::io::{Carries, MAX_DATAGRAM, Path, Received, SocketId, TransmitQueue};
use crate::path::PathId;
use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// Between two keep-alives while there are paths, and while there are none.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);
/// A keep-alive that was not answered within this time is sent again.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// So many in a row without an answer: the way is gone, or the NAT in it has forgotten us.
const UNANSWERED: u32 = 2;
/// Between two hellos.
const HELLO_EVERY: Duration = Duration::from_millis(250);
/// Without a life sign for so long the link is down.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// Between two replays of what the Edge has not taken, and how much of one datagram each takes.
const REPLAY_EVERY: Duration = Duration::from_millis(200);
const REPLAY_BYTES: usize = 1000;
/// Datagrams of a replay at one time.
const REPLAYS_AT_ONCE: usize = 64;
/// Frames for unknown paths that are answered in a second.
const ANSWERS_PER_S: u32 = 200;
/// Bytes of a keep-alive beside its body: header, number, tag.
const CONTROL_BYTES: usize = HEADER + 8 + TAG;

/// What one end of a link is built from.
#[derive(Clone, Debug)]
pub struct CoreLinkConfig {
    /// Who we are to the Edge.
    pub name: LinkName,
    /// Random: this life of the Core, the same for all links.
    pub instance: u64,
    /// Random: nonces are derived of it.
    pub seed: [u8; 32],
    /// The key that the Edge was given, too.
    pub key: LinkKey,
    /// Our socket, of which the link has one for itself.
    pub socket: SocketId,
    /// The Edge's socket for Cores.
    pub edge: SocketAddr,
    /// Names the link in paths.
    pub number: u32,
    /// What a path may send once it is proven, in bytes a second; 0 for no bound.
    pub granted: u32,
}

/// What a link tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreEvent {
    /// The Edge answers.
    Up,
    /// It does not.
    Down,
    /// A visitor is here whose path was not known.
    Opened(Path),
    /// The Edge has ended a path.
    Closed(Path),
}

#[derive(Debug)]
struct Greeting {
    nonce: Nonce,
    cookie: Cookie,
    next: Time,
}

#[derive(Debug)]
struct Session {
    seal: Seal,
    edge: u64,
    mtu: MtuSearch,
    next: Time,
    unanswered: u32,
}

/// One link of a shard to a worker of an Edge.
#[derive(Debug)]
pub struct CoreLink {
    config: CoreLinkConfig,
    secret: hmac::Key,
    nonces: u64,
    greeting: Option<Greeting>,
    session: Option<Session>,
    is_up: bool,
    /// Since when the Edge owes us an answer.
    silent_since: Option<Time>,
    paths: CorePaths,
    replay_at: Time,
    answers: TokenBucket,
    drops: LinkDrops,
    events: VecDeque<CoreEvent>,
}

impl CoreLink {
    /// A link that says hello at the next timeout.
    pub fn new(config: CoreLinkConfig, now: Time) -> CoreLink {
        let mut link = CoreLink {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &config.seed),
            paths: CorePaths::new(config.number),
            config,
            nonces: 0,
            greeting: None,
            session: None,
            is_up: false,
            silent_since: None,
            replay_at: Time::FAR_FUTURE,
            answers: TokenBucket::new(ANSWERS_PER_S, ANSWERS_PER_S),
            drops: LinkDrops::default(),
            events: VecDeque::new(),
        };
        link.greet(now);
        link
    }

    /// Takes a datagram of the link's socket that lies at `start` of a batch; what it holds of visitors is added to `found`.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        start: usize,
        now: Time,
        found: &mut Vec<Received>,
        out: &mut TransmitQueue<'_>,
    ) {
        if from != self.config.edge {
            self.drops.count(LinkDrop::ForeignSource);
            return;
        }
        out.carries = Carries::Control;
        let has_session = self.session.is_some();
        for frame in frames(datagram) {
            let result = frame.map_err(|_| LinkDrop::MalformedFrame);
            let result = result.and_then(|frame| match frame.header.kind {
                FrameKind::Data | FrameKind::Open if !has_session => Err(LinkDrop::Down),
                FrameKind::Data => {
                    self.handle_data(&frame, now, out).map(|path| Some((path, frame.start, frame.body().len())))
                }
                // An Edge tells so, too, under which name it has a path that we wanted: without a datagram.
                FrameKind::Open => {
                    self.handle_open(&frame, now, out).map(|found| Some(found).filter(|found| found.2 > 0))
                }
                _ => self.handle_control(&frame, datagram.len(), now, out).map(|()| None),
            });
            match result {
                Ok(Some((path, at, len))) => found.push(Received { path, start: start + at, len }),
                Ok(None) => {}
                Err(reason) => self.drops.count(reason),
            }
        }
    }

    /// Queues a datagram for a visitor as a frame, in one datagram with the frame before it where both fit.
    pub fn push(&mut self, to: Path, carries: Carries, datagram: &[u8], out: &mut TransmitQueue<'_>) {
        let Some(session) = &self.session else { return self.drops.count(LinkDrop::Down) };
        let Some(path) = self.paths.destination(to) else { return self.aim(to, datagram, out) };
        let mtu = session.mtu.known();
        if HEADER + datagram.len() > mtu.max(MAX_DATAGRAM) {
            return self.drops.count(LinkDrop::TooLarge);
        }
        let header = Header { carries, ..Header::new(FrameKind::Data, datagram.len() as u16, path) };
        out.carries = carries;
        out.append(self.edge(), mtu, [&header.write(), datagram]);
    }

    /// Queues a datagram for a peer who has not sent anything yet, from a port that is ours at the Edge.
    fn aim(&mut self, to: Path, datagram: &[u8], out: &mut TransmitQueue<'_>) {
        let Some(opening) = self.paths.aim(to) else { return self.drops.count(LinkDrop::NoPath) };
        if CONTROL_BYTES + Opening::MOST + datagram.len() > MAX_DATAGRAM {
            return self.drops.count(LinkDrop::TooLarge);
        }
        let edge = self.edge();
        if let Some(session) = &mut self.session {
            let mut memory = [0; Opening::MOST];
            out.carries = Carries::Control;
            session.seal.push(out, edge, FrameKind::Aim, PathId::NONE, &[opening.write(&mut memory), datagram]);
        }
    }

    /// A transport has a pair of ports at the Edge from now on; `sockets` name them here.
    pub fn open_ports(&mut self, transport: u64, sockets: [SocketId; 2]) {
        self.paths.open_ports(transport, sockets);
    }

    /// It has them no more.
    pub fn close_ports(&mut self, transport: u64) {
        self.paths.close_ports(transport);
    }

    /// A visitor has answered our challenge.
    pub fn prove(&mut self, path: Path, now: Time, out: &mut TransmitQueue<'_>) {
        if let Some(id) = self.paths.prove(path) {
            self.paths.may_tell(id, now);
            self.tell(FrameKind::Proven, id, &self.config.granted.to_be_bytes(), out);
        }
    }

    /// A path is nobody's any more.
    pub fn close_path(&mut self, path: Path, out: &mut TransmitQueue<'_>) {
        if let Some(id) = self.paths.close(path) {
            self.tell(FrameKind::Close, id, &[], out);
        }
    }

    /// Sends what is due: hellos, keep-alives, replays.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        out.carries = Carries::Control;
        self.keep_alive(now, out);
        if self.greeting.as_ref().is_some_and(|greeting| greeting.next <= now) {
            // Whatever was on its way is lost or too old; begin from the start.
            self.greet(now);
            self.send_hello(now, out);
        }
        if self.is_up && self.dead_at().is_some_and(|at| at <= now) {
            self.is_up = false;
            self.events.push_back(CoreEvent::Down);
        }
        if self.replay_at <= now {
            self.replay(now, out);
        }
    }

    /// When [`CoreLink::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let greeting = self.greeting.as_ref().map(|greeting| greeting.next);
        let session = self.session.as_ref().filter(|_| greeting.is_none());
        let probe = session.and_then(|session| session.mtu.poll_timeout());
        let dead = self.dead_at().filter(|_| self.is_up);
        let replay = Some(self.replay_at).filter(|&at| at < Time::FAR_FUTURE);
        [greeting, session.map(|session| session.next), probe, dead, replay].into_iter().flatten().min()
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// Whether the Edge answers.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Bytes of a datagram that frames may share.
    pub fn mtu(&self) -> usize {
        self.session.as_ref().map_or(super::BASE_MTU, |session| session.mtu.known())
    }

    /// Paths.
    pub fn paths(&self) -> usize {
        self.paths.len()
    }

    /// What was dropped and why, since the last call.
    pub fn drops_mut(&mut self) -> &mut LinkDrops {
        &mut self.drops
    }

    fn edge(&self) -> Path {
        Path { socket: self.config.socket, remote: self.config.edge }
    }

    fn handle_data(&mut self, frame: &Frame<'_>, now: Time, out: &mut TransmitQueue<'_>) -> Result<Path, LinkDrop> {
        let id = frame.header.path;
        let Some((path, is_proven)) = self.paths.source(id) else {
            // The Edge has a path that we have not: a close was lost.
            if self.answers.take(1, now) {
                self.tell(FrameKind::Close, id, &[], out);
            }
            return Err(LinkDrop::UnknownPath);
        };
        if is_proven && !frame.header.is_proven && self.paths.may_tell(id, now) {
            self.tell(FrameKind::Proven, id, &self.config.granted.to_be_bytes(), out);
        }
        Ok(path)
    }

    fn handle_open(
        &mut self,
        frame: &Frame<'_>,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(Path, usize, usize), LinkDrop> {
        let (opening, datagram) = Opening::read(frame.body()).ok_or(LinkDrop::MalformedFrame)?;
        let id = frame.header.path;
        let is_ours = (opening.transport >> 48) as u16 == self.config.name.shard;
        if id == PathId::NONE || !is_ours {
            return Err(LinkDrop::MalformedFrame);
        }
        let was_idle = self.paths.len() == 0;
        let opened = self.paths.open(id, &opening);
        if opened == Err(LinkDrop::NoPort) && self.answers.take(1, now) {
            self.tell(FrameKind::Close, id, &[], out);
        }
        let (path, is_new) = opened?;
        if is_new {
            self.events.push_back(CoreEvent::Opened(path));
        }
        if let (true, Some(session)) = (was_idle, &mut self.session) {
            // The Edge is to know how soon it may miss us.
            session.next = now;
        }
        self.tell(FrameKind::OpenAck, id, &self.config.granted.to_be_bytes(), out);
        if self.paths.source(id).is_some_and(|(_, is_proven)| is_proven) && self.paths.may_tell(id, now) {
            self.tell(FrameKind::Proven, id, &self.config.granted.to_be_bytes(), out);
        }
        Ok((path, frame.start + frame.body().len() - datagram.len(), datagram.len()))
    }

    fn handle_control(
        &mut self,
        frame: &Frame<'_>,
        datagram_len: usize,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), LinkDrop> {
        match frame.header.kind {
            FrameKind::Cookie => return self.handle_cookie(frame.bytes, now, out),
            FrameKind::Welcome => return self.handle_welcome(frame.bytes, now, out),
            _ => {}
        }
        let interval = self.interval();
        let session = self.session.as_mut().ok_or(LinkDrop::ForgedControl)?;
        let mut body = session.seal.open(frame.bytes).map_err(|reason| match reason {
            Unbelieved::Forged => LinkDrop::ForgedControl,
            Unbelieved::Replayed => LinkDrop::ReplayedControl,
        })?;
        match frame.header.kind {
            FrameKind::Echo => {
                session.unanswered = 0;
                // The Edge is to know at once how much frames may share.
                let is_larger = session.mtu.passed(datagram_len, now);
                session.next = if is_larger { now } else { now + interval };
                self.silent_since = None;
                if self.greeting.is_none() && !std::mem::replace(&mut self.is_up, true) {
                    self.events.push_back(CoreEvent::Up);
                }
            }
            FrameKind::Close => {
                self.events.extend(self.paths.close_named(frame.header.path).map(CoreEvent::Closed));
            }
            FrameKind::ReplayAck => {
                while !body.is_empty() {
                    let (renamed, rest) = Renamed::read(body).ok_or(LinkDrop::MalformedFrame)?;
                    self.events.extend(self.paths.replayed(renamed.from, renamed.to).map(CoreEvent::Closed));
                    body = rest;
                }
            }
            _ => return Err(LinkDrop::MalformedFrame),
        }
        Ok(())
    }

    fn handle_cookie(&mut self, frame: &[u8], now: Time, out: &mut TransmitQueue<'_>) -> Result<(), LinkDrop> {
        let body = self.config.key.open(frame).ok_or(LinkDrop::ForgedControl)?;
        let answer = CookieAnswer::read(body).ok_or(LinkDrop::MalformedFrame)?;
        let greeting = self.greeting.as_mut().filter(|greeting| greeting.nonce == answer.nonce);
        let greeting = greeting.ok_or(LinkDrop::ReplayedControl)?;
        if greeting.cookie != Cookie::default() {
            return Err(LinkDrop::ReplayedControl);
        }
        greeting.cookie = answer.cookie;
        self.send_hello(now, out);
        Ok(())
    }

    fn handle_welcome(&mut self, frame: &[u8], now: Time, out: &mut TransmitQueue<'_>) -> Result<(), LinkDrop> {
        let body = self.config.key.open(frame).ok_or(LinkDrop::ForgedControl)?;
        let welcome = Welcome::read(body).ok_or(LinkDrop::MalformedFrame)?;
        let Some(greeting) = self.greeting.take_if(|greeting| greeting.nonce == welcome.nonce) else {
            return Err(LinkDrop::ReplayedControl);
        };
        let chosen = Chosen { nonce: greeting.nonce, cookie: greeting.cookie.value, edge: welcome.edge };
        let seal = Seal::new(&self.config.key, &chosen, End::Core);
        let before = self.session.take();
        let mut mtu = MtuSearch::new(self.config.edge.is_ipv6(), now);
        if let Some(before) = before {
            if before.edge == welcome.edge {
                mtu = before.mtu;
            } else {
                self.paths.lose_all();
            }
        }
        self.session = Some(Session { seal, edge: welcome.edge, mtu, next: now, unanswered: 0 });
        self.silent_since = None;
        if !std::mem::replace(&mut self.is_up, true) {
            self.events.push_back(CoreEvent::Up);
        }
        self.keep_alive(now, out);
        self.replay(now, out);
        Ok(())
    }

    fn keep_alive(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        let interval = self.interval();
        let to = self.edge();
        let Some(session) = self.session.as_mut().filter(|_| self.greeting.is_none()) else { return };
        let mtu = u16::try_from(session.mtu.known()).unwrap_or(u16::MAX);
        let body = KeepAlive { interval_ms: interval.as_millis() as u16, mtu }.write();
        if let Some(size) = session.mtu.poll(now) {
            let padding = &[0; 9000][..size - CONTROL_BYTES - KeepAlive::LEN];
            session.seal.push(out, to, FrameKind::KeepAlive, PathId::NONE, &[&body, padding]);
        }
        if session.next > now {
            return;
        }
        if session.unanswered >= UNANSWERED {
            self.greet(now);
            return;
        }
        session.seal.push(out, to, FrameKind::KeepAlive, PathId::NONE, &[&body]);
        session.next = now + ANSWER_WITHIN;
        session.unanswered += 1;
        self.silent_since.get_or_insert(now);
    }

    /// Begins to say hello, with a new nonce.
    fn greet(&mut self, now: Time) {
        self.nonces += 1;
        let nonce = derive(&self.secret, &[b"nonce", &self.nonces.to_be_bytes()]);
        self.greeting = Some(Greeting { nonce, cookie: Cookie::default(), next: now });
    }

    fn send_hello(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        let to = self.edge();
        let Some(greeting) = &mut self.greeting else { return };
        greeting.next = now + HELLO_EVERY;
        let LinkName { core, shard } = self.config.name;
        let hello =
            Hello { core, shard, instance: self.config.instance, nonce: greeting.nonce, cookie: greeting.cookie };
        self.config.key.push(out, to, FrameKind::Hello, &[&hello.write()]);
    }

    /// When the link counts as down if nothing comes.
    fn dead_at(&self) -> Option<Time> {
        self.silent_since.map(|since| since + DEAD_AFTER)
    }

    /// Between two keep-alives.
    fn interval(&self) -> Duration {
        if self.paths.len() > 0 { BUSY } else { IDLE }
    }

    fn replay(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        self.replay_at = if self.paths.lost() > 0 { now + REPLAY_EVERY } else { Time::FAR_FUTURE };
        let to = self.edge();
        let Some(session) = &mut self.session else { return };
        let mut body = Vec::with_capacity(REPLAY_BYTES + Replayed::MOST);
        let mut datagrams = 0;
        for replayed in self.paths.replay(self.config.granted) {
            replayed.write(&mut body);
            if body.len() >= REPLAY_BYTES {
                session.seal.push(out, to, FrameKind::Replay, PathId::NONE, &[&body]);
                body.clear();
                datagrams += 1;
                if datagrams == REPLAYS_AT_ONCE {
                    return;
                }
            }
        }
        if !body.is_empty() {
            session.seal.push(out, to, FrameKind::Replay, PathId::NONE, &[&body]);
        }
    }

    fn tell(&mut self, kind: FrameKind, id: PathId, body: &[u8], out: &mut TransmitQueue<'_>) {
        let to = self.edge();
        if let Some(session) = &mut self.session {
            session.seal.push(out, to, kind, id, &[body]);
        }
    }
}
