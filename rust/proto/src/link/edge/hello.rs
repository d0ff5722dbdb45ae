//! How Cores make themselves known to an Edge, and stay so.

use std::time::Duration;

use aws_lc_rs::constant_time;

use super::super::BASE_MTU;
use super::super::edge_peer::{LinkName, Session};
use super::super::frame::{FrameKind, HEADER};
use super::super::message::{Cookie, CookieAnswer, Hello, KeepAlive, Opening, Welcome};
use super::super::seal::{Chosen, End, Nonce, Seal, derive};
use super::super::ways::Way;
use super::{EdgeEvent, EdgeLink, LOOK_EVERY};
use crate::io::{Carries, Path, TransmitQueue};
use crate::path::{EdgeDrop, PathId};
use crate::time::Time;

/// A cookie is good for so long.
const COOKIE_LIFE: Duration = Duration::from_secs(3);

impl EdgeLink {
    /// A hello without a cookie is answered with one and leaves nothing behind; one with a cookie proves an address.
    pub(super) fn handle_hello(
        &mut self,
        from: Path,
        frame: &[u8],
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), EdgeDrop> {
        let hello = frame.get(HEADER..).and_then(Hello::read).ok_or(EdgeDrop::MalformedFrame)?;
        let name = LinkName { core: hello.core, shard: hello.shard };
        let link = self.peers.number(name).ok_or(EdgeDrop::UnknownLink)?;
        let peer = self.peers.get(link).ok_or(EdgeDrop::UnknownLink)?;
        peer.key.open(frame).ok_or(EdgeDrop::ForgedHello)?;
        out.carries = Carries::Control;
        if hello.cookie == Cookie::default() {
            let issued = now.0.max(1);
            let cookie = Cookie { issued, value: self.cookie(&hello, issued, from) };
            let answer = CookieAnswer { nonce: hello.nonce, cookie };
            peer.key.push(out, from, FrameKind::Cookie, &[&answer.write()]);
            return Ok(());
        }
        let Cookie { issued, value } = hello.cookie;
        let is_ours = constant_time::verify_slices_are_equal(&self.cookie(&hello, issued, from), &value).is_ok();
        let is_fresh = issued <= now.0 && now.since(Time(issued)) <= COOKIE_LIFE;
        let before = peer.session.as_ref();
        let is_again = before.is_some_and(|before| before.nonce == hello.nonce && before.path == from);
        let is_newer = before.is_none_or(|before| issued > before.issued);
        if !is_ours || !is_fresh || !(is_again || is_newer) {
            return Err(EdgeDrop::StaleHello);
        }
        let welcome = Welcome { nonce: hello.nonce, edge: self.instance };
        peer.key.push(out, from, FrameKind::Welcome, &[&welcome.write()]);
        if !is_again {
            let chosen = Chosen { nonce: hello.nonce, cookie: value, edge: self.instance };
            let seal = Seal::new(&peer.key, &chosen, End::Edge);
            self.establish(link, from, &hello, seal, now);
        }
        Ok(())
    }

    fn establish(&mut self, link: usize, path: Path, hello: &Hello, seal: Seal, now: Time) {
        let before = self.peers.session(link);
        // Before its first hello here a Core may have had ports opened already.
        let is_new = before.is_some_and(|before| before.instance != hello.instance);
        let is_told = before.is_some_and(|before| before.is_up && before.path == path) && !is_new;
        let mtu = before.filter(|before| before.path.socket == path.socket).map_or(BASE_MTU, |before| before.mtu);
        if is_new {
            self.table.close_link(link);
            self.ports.close_shard(hello.core, hello.shard);
        }
        let session = Session {
            path,
            instance: hello.instance,
            nonce: hello.nonce,
            issued: hello.cookie.issued,
            seal,
            heard: now,
            interval: Duration::ZERO,
            mtu,
            is_up: true,
        };
        self.peers.establish(link, session);
        self.next_look.get_or_insert(now + LOOK_EVERY);
        if !is_told {
            let name = LinkName { core: hello.core, shard: hello.shard };
            self.tell_up(name, path);
        }
    }

    pub(super) fn handle_keep_alive(
        &mut self,
        link: usize,
        body: &[u8],
        now: Time,
        out: &mut TransmitQueue<'_>,
    ) -> Result<(), EdgeDrop> {
        let keep_alive = KeepAlive::read(body).ok_or(EdgeDrop::MalformedFrame)?;
        let name = self.peers.get(link).map(|peer| peer.name).ok_or(EdgeDrop::UnprovenLink)?;
        let session = self.peers.session_mut(link).ok_or(EdgeDrop::UnprovenLink)?;
        session.interval = Duration::from_millis(u64::from(keep_alive.interval_ms));
        session.mtu = usize::from(keep_alive.mtu).max(BASE_MTU);
        let path = session.path;
        session.seal.push(out, path, FrameKind::Echo, PathId::NONE, &[body]);
        if !std::mem::replace(&mut session.is_up, true) {
            self.tell_up(name, path);
        }
        self.next_look.get_or_insert(now + LOOK_EVERY);
        Ok(())
    }

    fn tell_up(&mut self, name: LinkName, path: Path) {
        let way = if path.socket == self.link_socket { Way::Udp } else { Way::Tls };
        self.events.push_back(EdgeEvent::LinkUp { name, address: path.remote, way });
    }

    /// What only whoever receives at `from` can send back, made anew when it comes back.
    fn cookie(&self, hello: &Hello, issued: u64, from: Path) -> Nonce {
        let mut memory = [0; Opening::MOST];
        let address =
            Opening { is_port: false, generation: 0, socket: from.socket.0, transport: 0, remote: from.remote };
        let (core, shard) = (hello.core.to_be_bytes(), hello.shard.to_be_bytes());
        let parts = [&issued.to_be_bytes()[..], &core, &shard, &hello.nonce, address.write(&mut memory)];
        derive(&self.secret, &parts)
    }
}
