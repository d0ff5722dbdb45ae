//! An Edge, a Core and the line between them on virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use mediaserver_netem::{Link, LinkConfig, Loss, QueueLimit, Schedule};
use mediaserver_proto::ice::{UfragKey, minute_of};
use mediaserver_proto::io::{Carries, Path, ReceiveBatch, Received, SocketId, TransmitQueue};
use mediaserver_proto::link::frame::frames;
use mediaserver_proto::link::{
    CoreEvent, CoreLink, CoreLinkConfig, EdgeEvent, EdgeLink, EdgeLinkConfig, LinkKey, LinkName,
};
use mediaserver_proto::path::{EdgeDrop, PathLimits};
use mediaserver_proto::stun::{Class, TransactionId, Writer, method};
use mediaserver_proto::time::Time;

pub(crate) const PUBLIC: SocketId = SocketId(0);
pub(crate) const NAME: LinkName = LinkName { core: 1, shard: 2 };
pub(crate) const KEY: [u8; 32] = [9; 32];
pub(crate) const RATE: u32 = 1_000_000;
/// 2026-11-23.
pub(crate) const UNIX: Duration = Duration::from_secs(1_795_000_000);
const LINK_SOCKET: SocketId = SocketId(7);
const CORE_SOCKET: SocketId = SocketId(8);
const TLS_SOCKET: SocketId = SocketId::carried(9, 0);

/// A datagram on the line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    /// The sender as the receiver sees it, or the receiver as the sender sees it.
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) edge: EdgeLink,
    pub(crate) core: CoreLink,
    to_edge: Link<Sent>,
    to_core: Link<Sent>,
    /// Our address at the Edge; the NAT may change it.
    pub(crate) outside: SocketAddr,
    /// What came out of the link at the Core.
    pub(crate) core_got: Vec<(Path, Vec<u8>)>,
    /// What the Edge sent to visitors.
    pub(crate) visitors_got: Vec<(Path, Vec<u8>)>,
    /// Every datagram that was on the line, each way.
    pub(crate) wire_to_edge: Vec<Sent>,
    pub(crate) wire_to_core: Vec<Sent>,
    pub(crate) edge_events: Vec<EdgeEvent>,
    pub(crate) core_events: Vec<(Time, CoreEvent)>,
    /// No datagram passes while it is set.
    pub(crate) cut: bool,
    /// The connection for frames is there; what is given to it arrives at once, and nothing is lost.
    pub(crate) has_tls: bool,
    /// Datagrams of the link that it carried.
    pub(crate) over_tls: usize,
    pub(crate) is_edge_up: bool,
}

pub(crate) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

pub(crate) fn edge_address() -> SocketAddr {
    ([10, 0, 0, 1], 4000).into()
}

/// The connection for frames as each end names it.
fn tls_at_core() -> Path {
    Path { socket: TLS_SOCKET, remote: ([10, 0, 0, 1], 1).into() }
}

fn tls_at_edge() -> Path {
    Path { socket: TLS_SOCKET, remote: ([10, 0, 0, 2], 2).into() }
}

pub(crate) fn ufrag_key() -> UfragKey {
    UfragKey::new(NAME.core, 0, &[3; 32])
}

fn new_edge(instance: u64) -> EdgeLink {
    let limits = PathLimits { paths: 1000, unproven_per_prefix: 64 };
    let secret = [instance as u8; 32];
    let mut edge =
        EdgeLink::new(EdgeLinkConfig { link_socket: LINK_SOCKET, secret, instance, unix_epoch: UNIX, limits });
    assert!(edge.set_key(ufrag_key()));
    assert!(edge.set_link(NAME, LinkKey::new(&KEY)));
    edge
}

fn new_core(instance: u64, now: Time) -> CoreLink {
    let config = CoreLinkConfig {
        name: NAME,
        instance,
        seed: [instance as u8; 32],
        key: LinkKey::new(&KEY),
        socket: CORE_SOCKET,
        edge: edge_address(),
        tls: Some(tls_at_core()),
        number: 5,
        granted: RATE,
    };
    CoreLink::new(config, now)
}

fn line(loss: f64, jitter: Duration, seed: u64) -> Link<Sent> {
    Link::new(LinkConfig {
        rate: Schedule::constant(1e9),
        delay: Duration::from_millis(2),
        jitter,
        reorders: true,
        loss: Loss::Random(loss),
        queue: QueueLimit::Bytes(10_000_000),
        seed,
    })
}

impl World {
    /// A line without faults; the link is up.
    pub(crate) fn new() -> World {
        let mut world = World::lossy(0.0, Duration::ZERO, 1);
        world.run_until(at(100));
        assert!(world.core.is_up());
        world
    }

    pub(crate) fn lossy(loss: f64, jitter: Duration, seed: u64) -> World {
        World {
            now: Time::ZERO,
            edge: new_edge(77),
            core: new_core(88, Time::ZERO),
            to_edge: line(loss, jitter, seed),
            to_core: line(loss, jitter, seed + 1),
            outside: ([10, 0, 0, 2], 5000).into(),
            core_got: Vec::new(),
            visitors_got: Vec::new(),
            wire_to_edge: Vec::new(),
            wire_to_core: Vec::new(),
            edge_events: Vec::new(),
            core_events: Vec::new(),
            cut: false,
            has_tls: false,
            over_tls: 0,
            is_edge_up: true,
        }
    }

    /// The Edge's process begins again, and its owner gives it keys and links.
    pub(crate) fn restart_edge(&mut self, instance: u64) {
        self.edge = new_edge(instance);
    }

    pub(crate) fn restart_core(&mut self, instance: u64) {
        self.core = new_core(instance, self.now);
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    pub(crate) fn run_until(&mut self, end: Time) {
        loop {
            self.turn();
            let edge = self.edge.poll_timeout().filter(|_| self.is_edge_up);
            let all = [edge, self.core.poll_timeout(), self.to_edge.poll_timeout(), self.to_core.poll_timeout()];
            let next = all.into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            // Whoever is due now and stays due would turn for ever.
            self.now = next.max(self.now + Duration::from_nanos(1));
        }
    }

    fn turn(&mut self) {
        let now = self.now;
        while let Some(delivery) = self.to_edge.poll(now) {
            self.give_edge(delivery.payload.peer, &delivery.payload.bytes);
        }
        while let Some(delivery) = self.to_core.poll(now) {
            // Whoever sends to an address that the NAT has given up sends to nobody.
            if delivery.payload.peer == self.outside {
                self.give_core(edge_address(), &delivery.payload.bytes);
            }
        }
        let mut out = TransmitQueue::default();
        if self.is_edge_up && self.edge.poll_timeout().is_some_and(|due| due <= now) {
            self.edge.handle_timeout(now, &mut out);
            self.leave_edge(&out);
            out.clear();
        }
        if self.core.poll_timeout().is_some_and(|due| due <= now) {
            self.core.handle_timeout(now, &mut out);
            self.leave_core(&out);
        }
        while let Some(event) = self.edge.poll_event() {
            self.edge_events.push(event);
        }
        while let Some(event) = self.core.poll_event() {
            self.core_events.push((now, event));
        }
    }

    /// Gives the Edge a datagram at its link socket, whoever it is from.
    pub(crate) fn give_edge(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.give_edge_by(Path { socket: LINK_SOCKET, remote: from }, bytes);
    }

    fn give_edge_by(&mut self, from: Path, bytes: &[u8]) {
        if !self.is_edge_up {
            return;
        }
        let mut batch = ReceiveBatch::default();
        batch.push(from, bytes);
        let mut out = TransmitQueue::default();
        let counted = self.edge.handle_link(&batch, 0..1, self.now, &mut out);
        assert_eq!(counted, whole_frames(bytes));
        self.leave_edge(&out);
    }

    /// Gives the Core a datagram at its link socket, whoever it is from.
    pub(crate) fn give_core(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.give_core_by(Path { socket: CORE_SOCKET, remote: from }, bytes);
    }

    fn give_core_by(&mut self, from: Path, bytes: &[u8]) {
        let (mut out, mut found) = (TransmitQueue::default(), Vec::new());
        let counted = self.core.handle_datagram(from, bytes, 0, self.now, &mut found, &mut out);
        let is_ours = from == tls_at_core() || from == Path { socket: CORE_SOCKET, remote: edge_address() };
        assert_eq!(counted, if is_ours { whole_frames(bytes) } else { 0 });
        for Received { path, start, len } in found {
            self.core_got.push((path, bytes[start..start + len].to_vec()));
        }
        self.leave_core(&out);
    }

    /// Visitors' datagrams that the Edge receives at once.
    pub(crate) fn visit(&mut self, datagrams: &[(Path, Vec<u8>)]) {
        let mut batch = ReceiveBatch::default();
        for (path, bytes) in datagrams {
            batch.push(*path, bytes);
        }
        let mut out = TransmitQueue::default();
        if self.is_edge_up {
            self.edge.handle_public(&batch, 0..batch.len(), self.now, &mut out);
        }
        self.leave_edge(&out);
    }

    /// What the Core sends to visitors at once.
    pub(crate) fn answer(&mut self, datagrams: &[(Path, Vec<u8>)]) {
        let mut out = TransmitQueue::default();
        for (path, bytes) in datagrams {
            self.core.push(*path, Carries::Video, bytes, &mut out);
        }
        self.leave_core(&out);
    }

    pub(crate) fn prove(&mut self, path: Path) {
        let mut out = TransmitQueue::default();
        self.core.prove(path, self.now, &mut out);
        self.leave_core(&out);
    }

    pub(crate) fn grant(&mut self, transport: u64, rate: Option<u32>) {
        let mut out = TransmitQueue::default();
        self.core.grant(transport, rate, &mut out);
        self.leave_core(&out);
    }

    pub(crate) fn close_path(&mut self, path: Path) {
        let mut out = TransmitQueue::default();
        self.core.close_path(path, &mut out);
        self.leave_core(&out);
    }

    /// A visitor with a proven path; the path as the Core names it.
    pub(crate) fn admit(&mut self, number: u16, session: u64) -> Path {
        self.visit(&[(visitor(number), check(session))]);
        self.run_for(20);
        let path = linked(number);
        assert!(self.core_got.iter().any(|(from, bytes)| *from == path && *bytes == check(session)));
        self.prove(path);
        self.run_for(20);
        self.core_got.clear();
        path
    }

    pub(crate) fn dropped(&self, reason: EdgeDrop) -> u64 {
        self.edge.dropped(reason)
    }

    pub(crate) fn leave_edge(&mut self, out: &TransmitQueue<'_>) {
        for entry in out.entries() {
            let bytes = out.datagram(entry).to_vec();
            if [TLS_SOCKET, LINK_SOCKET].contains(&entry.path.socket) {
                assert_eq!(u64::from(entry.pieces), whole_frames(&bytes));
            }
            if entry.path.socket == TLS_SOCKET {
                assert_eq!(entry.path, tls_at_edge());
                if self.has_tls {
                    self.over_tls += 1;
                    self.give_core_by(tls_at_core(), &bytes);
                }
            } else if entry.path.socket == LINK_SOCKET {
                let sent = Sent { peer: entry.path.remote, bytes };
                self.wire_to_core.push(sent.clone());
                if !self.cut {
                    self.to_core.send(0, sent.bytes.len(), Duration::ZERO, sent, self.now);
                }
            } else {
                self.visitors_got.push((entry.path, bytes));
            }
        }
    }

    fn leave_core(&mut self, out: &TransmitQueue<'_>) {
        for entry in out.entries() {
            assert_eq!(u64::from(entry.pieces), whole_frames(out.datagram(entry)));
            if entry.path == tls_at_core() {
                if self.has_tls {
                    self.over_tls += 1;
                    self.give_edge_by(tls_at_edge(), out.datagram(entry));
                }
                continue;
            }
            assert_eq!((entry.path.socket, entry.path.remote), (CORE_SOCKET, edge_address()));
            let sent = Sent { peer: self.outside, bytes: out.datagram(entry).to_vec() };
            self.wire_to_edge.push(sent.clone());
            if !self.cut {
                self.to_edge.send(0, sent.bytes.len(), Duration::ZERO, sent, self.now);
            }
        }
    }
}

/// What the metrics of a link have to count, and each end counts where it makes and unpacks frames.
fn whole_frames(datagram: &[u8]) -> u64 {
    frames(datagram).flatten().count() as u64
}

/// A visitor at the Edge's public socket.
pub(crate) fn visitor(number: u16) -> Path {
    let address = SocketAddr::from(([192, 0, (number >> 8) as u8, number as u8], 6000));
    Path { socket: PUBLIC, remote: address }
}

/// The same at the Core.
pub(crate) fn linked(number: u16) -> Path {
    Path { socket: SocketId::linked(5, 0), remote: visitor(number).remote }
}

pub(crate) fn token(session: u64, expires_in: i32) -> String {
    let transport = u64::from(NAME.shard) << 48 | session;
    ufrag_key().make(transport, 0, minute_of(UNIX).saturating_add_signed(expires_in))
}

/// A visitor's first datagram.
pub(crate) fn check(session: u64) -> Vec<u8> {
    check_with(&token(session, 10))
}

pub(crate) fn check_with(ufrag: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
        .username(format!("{ufrag}:peer").as_bytes())
        .fingerprint();
    bytes
}

/// Media of so many bytes.
pub(crate) fn media(number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![number; len];
    bytes[0] = 0x80;
    bytes
}
