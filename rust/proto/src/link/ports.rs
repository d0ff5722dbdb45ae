//! Pairs of ports of an Edge for media without ICE: whose each is, and who may begin to send to it.
//!
//! The Core has a pair opened for one session, and names the peer's addresses by what its description says. A source that
//! is named so comes in; any other only inside the window after that, for as long as the session has room for unproven ones
//! (RFC 7362 §4 calls it latching). Afterwards only those come in whose media the Core has taken.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::io::SocketId;
use crate::path::SessionKey;
use crate::time::Time;

/// Pairs of one worker.
const MOST_PAIRS: usize = 4_096;
/// A pair at which nothing has come in for so long is closed, whatever its Core forgot.
const IDLE: Duration = Duration::from_secs(3_600);
/// How often it is looked for those.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// RTP's port of a pair, and RTCP's.
pub type PortPair = [SocketId; 2];

/// Whether a source may come in at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The Core has named it.
    Named,
    /// Nobody knows it, and the window is open.
    Early,
    /// Nobody knows it.
    Stranger,
}

/// Whose a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) session: SessionKey,
    /// 0 for RTP, 1 for RTCP.
    pub(super) component: u8,
}

#[derive(Debug)]
struct Pair {
    sockets: PortPair,
    named: [Option<SocketAddr>; 2],
    window_ends: Time,
    heard: Time,
}

/// All pairs of a worker.
#[derive(Debug, Default)]
pub(super) struct EdgePorts {
    pairs: HashMap<SessionKey, Pair>,
    by_socket: HashMap<SocketId, Port>,
    closed: VecDeque<(SessionKey, PortPair)>,
    next_look: Option<Time>,
}

impl EdgePorts {
    /// Whose a port is; `None` for sockets that are no ports of a pair.
    pub(super) fn at(&self, socket: SocketId) -> Option<Port> {
        if self.by_socket.is_empty() {
            return None;
        }
        self.by_socket.get(&socket).copied()
    }

    /// The port of a session.
    pub(super) fn socket(&self, session: SessionKey, component: u8) -> Option<SocketId> {
        self.pairs.get(&session)?.sockets.get(usize::from(component)).copied()
    }

    /// Pairs.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Takes a pair for a session that has none; false where there are too many.
    pub(super) fn open(&mut self, session: SessionKey, sockets: PortPair, now: Time) -> bool {
        if self.pairs.len() >= MOST_PAIRS || self.pairs.contains_key(&session) {
            return false;
        }
        for (component, socket) in (0..).zip(sockets) {
            self.by_socket.insert(socket, Port { session, component });
        }
        self.pairs.insert(session, Pair { sockets, named: [None; 2], window_ends: Time::ZERO, heard: now });
        self.next_look.get_or_insert(now + LOOK_EVERY);
        true
    }

    /// The peer's description: where it sends from, and how long others may come in its place. False without such a pair.
    pub(super) fn aim(
        &mut self,
        session: SessionKey,
        named: [Option<SocketAddr>; 2],
        window: Duration,
        now: Time,
    ) -> bool {
        let Some(pair) = self.pairs.get_mut(&session) else { return false };
        pair.named = named;
        pair.window_ends = now + window;
        true
    }

    /// Looks at who sends to a port.
    pub(super) fn judge(&mut self, port: Port, remote: SocketAddr, now: Time) -> Source {
        let Some(pair) = self.pairs.get_mut(&port.session) else { return Source::Stranger };
        pair.heard = now;
        match pair.named[usize::from(port.component & 1)] {
            Some(named) if named == remote => Source::Named,
            _ if now < pair.window_ends => Source::Early,
            _ => Source::Stranger,
        }
    }

    /// Ends a session's pair, if it has one.
    pub(super) fn close(&mut self, session: SessionKey) {
        let Some(pair) = self.pairs.remove(&session) else { return };
        for socket in pair.sockets {
            self.by_socket.remove(&socket);
        }
        self.closed.push_back((session, pair.sockets));
    }

    /// Ends the pairs of a shard of a Core.
    pub(super) fn close_shard(&mut self, core: u16, shard: u16) {
        let of_shard = |session: &&SessionKey| session.core == core && session.shard() == shard;
        let sessions: Vec<SessionKey> = self.pairs.keys().filter(of_shard).copied().collect();
        sessions.into_iter().for_each(|session| self.close(session));
    }

    /// Ends what is idle; gives the sessions.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Vec<SessionKey> {
        if self.next_look.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let idle = self.pairs.iter().filter(|(_, pair)| now.since(pair.heard) >= IDLE);
        let idle: Vec<SessionKey> = idle.map(|(&session, _)| session).collect();
        idle.iter().for_each(|&session| self.close(session));
        self.next_look = (!self.pairs.is_empty()).then_some(now + LOOK_EVERY);
        idle
    }

    /// When [`EdgePorts::handle_timeout`] has something to look at.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.next_look
    }

    /// A pair whose sockets are to be closed.
    pub(super) fn poll_closed(&mut self) -> Option<(SessionKey, PortPair)> {
        self.closed.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: PortPair = [SocketId(70_000), SocketId(70_001)];

    fn session(transport: u64) -> SessionKey {
        SessionKey { core: 7, transport }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn others_than_the_named_one_come_in_only_inside_the_window() {
        let mut ports = EdgePorts::default();
        assert!(ports.open(session(1), PAIR, Time::ZERO));
        let rtp = ports.at(PAIR[0]).unwrap();
        assert_eq!(ports.judge(rtp, address("203.0.113.9:4000"), Time::ZERO), Source::Stranger, "nobody is named yet");
        let named = [Some(address("203.0.113.9:4000")), None];
        assert!(ports.aim(session(1), named, Duration::from_secs(5), Time::ZERO));
        let late = Time::from_millis(5_000);
        for (source, inside, after) in [
            ("203.0.113.9:4000", Source::Named, Source::Named),
            ("203.0.113.9:4002", Source::Early, Source::Stranger),
            ("198.51.100.1:4000", Source::Early, Source::Stranger),
        ] {
            assert_eq!(ports.judge(rtp, address(source), Time::from_millis(4_999)), inside, "{source}");
            assert_eq!(ports.judge(rtp, address(source), late), after, "{source}");
        }
        assert!(!ports.aim(session(2), named, Duration::ZERO, late));
    }

    #[test]
    fn a_pair_ends_with_its_session_with_its_core_and_after_an_hour_of_silence() {
        let mut ports = EdgePorts::default();
        for number in 1..=3 {
            let first = 70_000 + 2 * number;
            assert!(ports.open(session(number.into()), [SocketId(first), SocketId(first + 1)], Time::ZERO));
        }
        assert!(!ports.open(session(1), PAIR, Time::ZERO), "a session has one pair");
        ports.close(session(1));
        ports.close(session(1));
        assert_eq!(ports.poll_closed(), Some((session(1), [SocketId(70_002), SocketId(70_003)])));
        assert_eq!((ports.poll_closed(), ports.at(SocketId(70_002))), (None, None));
        let port = ports.at(SocketId(70_004)).unwrap();
        ports.judge(port, address("203.0.113.9:1"), Time::from_millis(60_000));
        assert_eq!(ports.handle_timeout(Time::from_millis(3_600_000)), [session(3)]);
        assert_eq!(ports.len(), 1);
        assert!(ports.poll_timeout().is_some());
        ports.close_shard(7, 1);
        assert_eq!(ports.len(), 1, "another shard's");
        ports.close_shard(7, 0);
        assert_eq!((ports.len(), ports.handle_timeout(Time::from_millis(3_700_000)).len()), (0, 0));
        assert_eq!(ports.poll_timeout(), None);
    }
}
