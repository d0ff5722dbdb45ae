//! How a Core's end makes itself known, by which way, and how it keeps what it has.

use std::time::Duration;

use super::super::core_paths::CorePaths;
use super::super::drops::LinkDrop;
use super::super::edge_peer::LinkName;
use super::super::frame::{FrameKind, HEADER};
use super::super::message::{Cookie, CookieAnswer, Hello, KeepAlive, Welcome};
use super::super::mtu::MtuSearch;
use super::super::seal::{Chosen, End, Nonce, Seal, TAG, derive};
use super::super::ways::Way;
use super::{CoreEvent, CoreLink, Session};
use crate::io::{Path, TransmitQueue};
use crate::path::PathId;
use crate::time::Time;

/// Between two keep-alives while there are paths, and while there are none.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);
/// A keep-alive that was not answered within this time is sent again.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// So many in a row without an answer: the way is gone, or the NAT in it has forgotten us.
const UNANSWERED: u32 = 2;
/// Between two hellos.
const HELLO_EVERY: Duration = Duration::from_millis(250);
/// Bytes of a keep-alive beside its body: header, number, tag.
pub(super) const CONTROL_BYTES: usize = HEADER + 8 + TAG;

/// A hello that waits for its answer.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) nonce: Nonce,
    pub(super) next: Time,
    /// What the Edge answered first, and where it is.
    cookie: Option<(Cookie, Path)>,
}

impl CoreLink {
    /// Begins to say hello, with a new nonce.
    pub(super) fn greet(&mut self, now: Time) {
        let nonce = self.nonce();
        self.greeting = Some(Greeting { nonce, cookie: None, next: now });
    }

    /// Says hello: wherever the Edge may be, or where it has given us a cookie.
    pub(super) fn send_hello(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        let Some(greeting) = &mut self.greeting else { return };
        greeting.next = now + HELLO_EVERY;
        let nonce = greeting.nonce;
        match greeting.cookie {
            Some((cookie, to)) => self.push_hello(to, nonce, cookie, out),
            None => {
                for to in self.ways.asked(now) {
                    self.push_hello(to, nonce, Cookie::default(), out);
                }
            }
        }
    }

    /// Asks whether UDP passes again, where frames go over TLS and it is time to.
    pub(super) fn try_udp(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        if self.trial_due().is_some_and(|due| due <= now) {
            let nonce = self.nonce();
            let to = self.ways.begin_trial(nonce, now);
            self.push_hello(to, nonce, Cookie::default(), out);
        }
    }

    /// When that is.
    pub(super) fn trial_due(&self) -> Option<Time> {
        self.ways.trial_due().filter(|_| self.greeting.is_none() && self.session.is_some())
    }

    pub(super) fn handle_cookie(
        &mut self,
        from: Path,
        frame: &[u8],
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), LinkDrop> {
        let body = self.config.key.open(frame).ok_or(LinkDrop::ForgedControl)?;
        let answer = CookieAnswer::read(body).ok_or(LinkDrop::MalformedFrame)?;
        if self.greeting.is_none() {
            let is_enough = self.ways.answer_trial(&answer.nonce).ok_or(LinkDrop::ReplayedControl)?;
            if !is_enough {
                return Ok(());
            }
            self.greeting = Some(Greeting { nonce: answer.nonce, cookie: None, next: now });
        }
        let greeting = self.greeting.as_mut().filter(|greeting| greeting.nonce == answer.nonce);
        let greeting = greeting.filter(|greeting| greeting.cookie.is_none()).ok_or(LinkDrop::ReplayedControl)?;
        greeting.cookie = Some((answer.cookie, from));
        self.send_hello(now, out);
        Ok(())
    }

    pub(super) fn handle_welcome(
        &mut self,
        from: Path,
        frame: &[u8],
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), LinkDrop> {
        let body = self.config.key.open(frame).ok_or(LinkDrop::ForgedControl)?;
        let welcome = Welcome::read(body).ok_or(LinkDrop::MalformedFrame)?;
        let is_asked = |greeting: &mut Greeting| greeting.nonce == welcome.nonce;
        let way = self.ways.of(from).ok_or(LinkDrop::ForeignSource)?;
        let greeting = self.greeting.take_if(is_asked).ok_or(LinkDrop::ReplayedControl)?;
        let cookie = greeting.cookie.map(|(cookie, _)| cookie.value).unwrap_or_default();
        let chosen = Chosen { nonce: greeting.nonce, cookie, edge: welcome.edge };
        let seal = Seal::new(&self.config.key, &chosen, End::Core);
        let is_other_way = self.ways.take(way, now);
        let mut mtu = match way {
            Way::Udp => MtuSearch::new(self.config.edge.is_ipv6(), now),
            Way::Tls => MtuSearch::settled(),
        };
        if let Some(before) = self.session.take() {
            if before.edge != welcome.edge {
                self.aims.add(self.paths.lose_all(), now);
            } else if !is_other_way {
                mtu = before.mtu;
            }
        }
        self.session = Some(Session { path: from, seal, edge: welcome.edge, mtu, next: now, unanswered: 0 });
        self.silent_since = None;
        if !std::mem::replace(&mut self.is_up, true) {
            self.events.push_back(CoreEvent::Up);
        } else if is_other_way {
            self.events.push_back(CoreEvent::OtherWay);
        }
        self.keep_alive(now, out);
        self.replay(now, out);
        Ok(())
    }

    pub(super) fn keep_alive(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        let interval = interval(&self.paths);
        let Some(session) = self.session.as_mut().filter(|_| self.greeting.is_none()) else { return };
        let to = session.path;
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

    /// The Edge has answered a keep-alive in a datagram of so many bytes.
    pub(super) fn handle_echo(&mut self, datagram_len: usize, now: Time) {
        let interval = interval(&self.paths);
        let Some(session) = self.session.as_mut() else { return };
        session.unanswered = 0;
        // The Edge is to know at once how much frames may share.
        let is_larger = session.mtu.passed(datagram_len, now);
        session.next = if is_larger { now } else { now + interval };
        self.silent_since = None;
        if self.greeting.is_none() && !std::mem::replace(&mut self.is_up, true) {
            self.events.push_back(CoreEvent::Up);
        }
    }

    fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        derive(&self.secret, &[b"nonce", &self.nonces.to_be_bytes()])
    }

    fn push_hello(&self, to: Path, nonce: Nonce, cookie: Cookie, out: &mut TransmitQueue<'_>) {
        let LinkName { core, shard } = self.config.name;
        let hello = Hello { core, shard, instance: self.config.instance, nonce, cookie };
        self.config.key.push(out, to, FrameKind::Hello, &[&hello.write()]);
    }
}

/// Between two keep-alives.
fn interval(paths: &CorePaths) -> Duration {
    if paths.len() > 0 { BUSY } else { IDLE }
}
