//! The Core's end of one link: frames become datagrams of visitors, and datagrams for visitors frames.

mod hello;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::aims::Aims;
use super::core_paths::CorePaths;
use super::drops::{LinkDrop, LinkDrops};
use super::edge_peer::LinkName;
use super::frame::{Frame, FrameKind, HEADER, Header, frames};
use super::message::{Opening, Renamed, Replayed};
use super::mtu::MtuSearch;
use super::seal::{LinkKey, Seal, Unbelieved};
use super::ways::{Way, Ways};
use crate::io::{Carries, MAX_DATAGRAM, Path, Received, SocketId, TransmitQueue};
use crate::path::PathId;
use crate::time::Time;
use crate::token_bucket::TokenBucket;
use hello::Greeting;

/// Without a life sign for so long the link is down.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// Between two replays of what the Edge has not taken, and how much of one datagram each takes.
const REPLAY_EVERY: Duration = Duration::from_millis(200);
const REPLAY_BYTES: usize = 1000;
/// Datagrams of a replay at one time.
const REPLAYS_AT_ONCE: usize = 64;
/// How often a rate is told beside the first time, once with each answer of the Edge.
const REPEATS: u8 = 3;
/// Frames for unknown paths that are answered in a second.
const ANSWERS_PER_S: u32 = 200;
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
    /// The way over TLS to the same worker of the Edge, where there may be one.
    pub tls: Option<Path>,
    /// Names the link in paths.
    pub number: u32,
    /// What a path may send at the most once it is proven, in bytes a second; 0 for no bound.
    pub granted: u32,
}

/// What a link tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreEvent {
    /// The Edge answers.
    Up,
    /// It answers by another way than before.
    OtherWay,
    /// It does not answer.
    Down,
    /// A visitor is here whose path was not known.
    Opened(Path),
    /// The Edge has ended a path.
    Closed(Path),
}

#[derive(Debug)]
struct Session {
    /// Where the Edge is.
    path: Path,
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
    ways: Ways,
    greeting: Option<Greeting>,
    session: Option<Session>,
    is_up: bool,
    /// Since when the Edge owes us an answer.
    silent_since: Option<Time>,
    paths: CorePaths,
    replay_at: Time,
    aims: Aims,
    answers: TokenBucket,
    /// Sessions whose rate has changed, and how often that is to be told again.
    regranted: HashMap<u64, u8>,
    drops: LinkDrops,
    events: VecDeque<CoreEvent>,
}

impl CoreLink {
    /// A link that says hello at the next timeout.
    pub fn new(config: CoreLinkConfig, now: Time) -> CoreLink {
        let mut link = CoreLink {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &config.seed),
            paths: CorePaths::new(config.number, config.granted),
            ways: Ways::new(Path { socket: config.socket, remote: config.edge }, config.tls),
            config,
            nonces: 0,
            greeting: None,
            session: None,
            is_up: false,
            silent_since: None,
            replay_at: Time::FAR_FUTURE,
            aims: Aims::default(),
            answers: TokenBucket::new(ANSWERS_PER_S, ANSWERS_PER_S),
            regranted: HashMap::new(),
            drops: LinkDrops::default(),
            events: VecDeque::new(),
        };
        link.greet(now);
        link
    }

    /// Takes a datagram that came by one of the link's ways and lies at `start` of a batch; what it holds of visitors is added
    /// to `found`. The number of its frames.
    pub fn handle_datagram(
        &mut self,
        from: Path,
        datagram: &[u8],
        start: usize,
        now: Time,
        found: &mut Vec<Received>,
        out: &mut TransmitQueue<'_>,
    ) -> u64 {
        if self.ways.of(from).is_none() {
            self.drops.count(LinkDrop::ForeignSource);
            return 0;
        }
        out.carries = Carries::Control;
        let has_session = self.session.is_some();
        let mut whole = 0;
        for frame in frames(datagram) {
            whole += u64::from(frame.is_ok());
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
                _ => self.handle_control(from, &frame, datagram.len(), now, out).map(|()| None),
            });
            match result {
                Ok(Some((path, at, len))) => found.push(Received { path, start: start + at, len }),
                Ok(None) => {}
                Err(reason) => self.drops.count(reason),
            }
        }
        whole
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
        out.append(session.path, mtu, [&header.write(), datagram]);
    }

    /// Queues a datagram for a peer who has not sent anything yet, from a port that is ours at the Edge.
    fn aim(&mut self, to: Path, datagram: &[u8], out: &mut TransmitQueue<'_>) {
        let Some(opening) = self.paths.aim(to) else { return self.drops.count(LinkDrop::NoPath) };
        if hello::CONTROL_BYTES + Opening::MOST + datagram.len() > MAX_DATAGRAM {
            return self.drops.count(LinkDrop::TooLarge);
        }
        if let Some(session) = &mut self.session {
            let mut memory = [0; Opening::MOST];
            out.carries = Carries::Control;
            session.seal.push(out, session.path, FrameKind::Aim, PathId::NONE, &[opening.write(&mut memory), datagram]);
        }
    }

    /// Has a restarted Edge let those in again who were let in at ports before.
    fn aim_again(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        while let Some(path) = self.aims.take(now) {
            let is_wanted = self.paths.destination(path).is_none() && self.paths.aim(path).is_some();
            if is_wanted {
                self.aim(path, &[], out);
            } else {
                self.aims.end(path);
            }
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
            self.tell_rate(FrameKind::Proven, id, out);
        }
    }

    /// What the visitors of a session may send, in bytes a second, which the Edge sees to; `None`: as much as others.
    pub fn grant(&mut self, transport: u64, rate: Option<u32>, out: &mut TransmitQueue<'_>) {
        let mut proven = Vec::new();
        if self.paths.grant(transport, rate, &mut proven) {
            self.regranted.insert(transport, REPEATS);
            proven.into_iter().for_each(|id| self.tell_rate(FrameKind::Proven, id, out));
        }
    }

    /// A session is over.
    pub fn forget(&mut self, transport: u64) {
        self.paths.forget(transport);
        self.regranted.remove(&transport);
    }

    /// A rate is told a few times more, since nobody says that it was heard.
    fn repeat_grants(&mut self, out: &mut TransmitQueue<'_>) {
        if self.regranted.is_empty() {
            return;
        }
        let mut proven = Vec::new();
        self.regranted.retain(|&transport, left| {
            self.paths.proven_of(transport, &mut proven);
            *left -= 1;
            *left > 0
        });
        proven.into_iter().for_each(|id| self.tell_rate(FrameKind::Proven, id, out));
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
        self.try_udp(now, out);
        if self.is_up && self.dead_at().is_some_and(|at| at <= now) {
            self.is_up = false;
            self.events.push_back(CoreEvent::Down);
        }
        if self.replay_at <= now {
            self.replay(now, out);
        }
        self.aim_again(now, out);
    }

    /// When [`CoreLink::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let greeting = self.greeting.as_ref().map(|greeting| greeting.next);
        let session = self.session.as_ref().filter(|_| greeting.is_none());
        let probe = session.and_then(|session| session.mtu.poll_timeout());
        let dead = self.dead_at().filter(|_| self.is_up);
        let replay = Some(self.replay_at).filter(|&at| at < Time::FAR_FUTURE);
        let keep = session.map(|session| session.next);
        let aims = self.aims.poll_timeout();
        [greeting, keep, probe, self.trial_due(), dead, replay, aims].into_iter().flatten().min()
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// Whether the Edge answers.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// How frames go, or went before the Edge was silent.
    pub fn way(&self) -> Way {
        self.ways.taken()
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
            self.tell_rate(FrameKind::Proven, id, out);
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
        self.tell_rate(FrameKind::OpenAck, id, out);
        if self.paths.source(id).is_some_and(|(_, is_proven)| is_proven) && self.paths.may_tell(id, now) {
            self.tell_rate(FrameKind::Proven, id, out);
        }
        Ok((path, frame.start + frame.body().len() - datagram.len(), datagram.len()))
    }

    fn handle_control(
        &mut self,
        from: Path,
        frame: &Frame<'_>,
        datagram_len: usize,
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), LinkDrop> {
        match frame.header.kind {
            FrameKind::Cookie => return self.handle_cookie(from, frame.bytes, now, out),
            FrameKind::Welcome => return self.handle_welcome(from, frame.bytes, now, out),
            _ => {}
        }
        let session = self.session.as_mut().ok_or(LinkDrop::ForgedControl)?;
        let mut body = session.seal.open(frame.bytes).map_err(|reason| match reason {
            Unbelieved::Forged => LinkDrop::ForgedControl,
            Unbelieved::Replayed => LinkDrop::ReplayedControl,
        })?;
        match frame.header.kind {
            FrameKind::Echo => {
                self.handle_echo(datagram_len, now);
                self.repeat_grants(out);
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

    /// When the link counts as down if nothing comes.
    fn dead_at(&self) -> Option<Time> {
        self.silent_since.map(|since| since + DEAD_AFTER)
    }

    fn replay(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        self.replay_at = if self.paths.lost() > 0 { now + REPLAY_EVERY } else { Time::FAR_FUTURE };
        let Some(session) = &mut self.session else { return };
        let to = session.path;
        let mut body = Vec::with_capacity(REPLAY_BYTES + Replayed::MOST);
        let mut datagrams = 0;
        for replayed in self.paths.replay() {
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

    fn tell_rate(&mut self, kind: FrameKind, id: PathId, out: &mut TransmitQueue<'_>) {
        let rate = self.paths.rate(id);
        self.tell(kind, id, &rate.to_be_bytes(), out);
    }

    fn tell(&mut self, kind: FrameKind, id: PathId, body: &[u8], out: &mut TransmitQueue<'_>) {
        if let Some(session) = &mut self.session {
            session.seal.push(out, session.path, kind, id, &[body]);
        }
    }
}
