//! An Edge and a Core forward visitors' media to each other, by either way, with their keep-alives.

use std::time::Duration;

use mediaserver_proto::ice::{UfragKey, minute_of};
use mediaserver_proto::io::{Carries, Path, ReceiveBatch, Received, SocketId, TransmitQueue};
use mediaserver_proto::link::{CoreLink, CoreLinkConfig, EdgeLink, EdgeLinkConfig, LinkKey, LinkName, Way};
use mediaserver_proto::path::PathLimits;
use mediaserver_proto::stun::{Class, TransactionId, Writer, method};
use mediaserver_proto::time::Time;

use crate::allocations::{self, counted};

const NAME: LinkName = LinkName { core: 1, shard: 2 };
const KEY: [u8; 32] = [9; 32];
const UNIX: Duration = Duration::from_secs(1_795_000_000);
const LINK_SOCKET: SocketId = SocketId(7);
const CORE_SOCKET: SocketId = SocketId(8);
const TLS_SOCKET: SocketId = SocketId::carried(9, 0);
const VISITORS: u16 = 8;
/// Datagrams of one visitor that come at once.
const BURST: usize = 4;
const ROUND: Duration = Duration::from_millis(20);
const WARM_UP: u32 = 200;
const MEASURED: u32 = 2_000;

/// Both ends, with the line between them, which loses nothing and takes no time.
struct Line {
    now: Time,
    edge: EdgeLink,
    core: CoreLink,
    /// No datagram passes; what goes by the other way does.
    is_udp_blocked: bool,
    /// Datagrams of a round.
    batch: ReceiveBatch,
    out: TransmitQueue<'static>,
    found: Vec<Received>,
    came: u64,
    left: u64,
}

fn core_at_edge(way: Way) -> Path {
    match way {
        Way::Udp => Path { socket: LINK_SOCKET, remote: ([10, 0, 0, 2], 5000).into() },
        Way::Tls => Path { socket: TLS_SOCKET, remote: ([10, 0, 0, 2], 2).into() },
    }
}

fn edge_at_core(way: Way) -> Path {
    match way {
        Way::Udp => Path { socket: CORE_SOCKET, remote: ([10, 0, 0, 1], 4000).into() },
        Way::Tls => Path { socket: TLS_SOCKET, remote: ([10, 0, 0, 1], 1).into() },
    }
}

fn visitor(number: u16) -> Path {
    Path { socket: SocketId(0), remote: ([192, 0, 2, number as u8], 6000).into() }
}

fn linked(number: u16) -> Path {
    Path { socket: SocketId::linked(5, 0), remote: visitor(number).remote }
}

fn check(number: u16) -> Vec<u8> {
    let transport = u64::from(NAME.shard) << 48 | u64::from(number);
    let ufrag = UfragKey::new(NAME.core, 0, &[3; 32]).make(transport, 0, minute_of(UNIX) + 10);
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
        .username(format!("{ufrag}:peer").as_bytes())
        .fingerprint();
    bytes
}

impl Line {
    fn new(is_udp_blocked: bool) -> Line {
        let limits = PathLimits { paths: 1000, unproven_per_prefix: 64 };
        let (secret, instance, unix_epoch) = ([1; 32], 77, UNIX);
        let config = EdgeLinkConfig { link_socket: LINK_SOCKET, secret, instance, unix_epoch, limits };
        let mut edge = EdgeLink::new(config);
        assert!(edge.set_key(UfragKey::new(NAME.core, 0, &[3; 32])) && edge.set_link(NAME, LinkKey::new(&KEY)));
        let core = CoreLink::new(
            CoreLinkConfig {
                name: NAME,
                instance: 88,
                seed: [2; 32],
                key: LinkKey::new(&KEY),
                socket: CORE_SOCKET,
                edge: edge_at_core(Way::Udp).remote,
                tls: Some(edge_at_core(Way::Tls)),
                number: 5,
                granted: 0,
            },
            Time::ZERO,
        );
        Line {
            now: Time::ZERO,
            edge,
            core,
            is_udp_blocked,
            batch: ReceiveBatch::default(),
            out: TransmitQueue::default(),
            found: Vec::new(),
            came: 0,
            left: 0,
        }
    }

    /// What is in `out` comes to the Core, and what that answers to the Edge, until nobody says anything more.
    fn carry_to_core(&mut self) {
        while !self.out.is_empty() {
            self.batch.clear();
            for entry in self.out.entries() {
                match entry.path {
                    to if to == core_at_edge(Way::Udp) && !self.is_udp_blocked => {
                        self.batch.push(edge_at_core(Way::Udp), self.out.datagram(entry));
                    }
                    to if to == core_at_edge(Way::Tls) => {
                        self.batch.push(edge_at_core(Way::Tls), self.out.datagram(entry));
                    }
                    to => self.left += u64::from(to.socket == SocketId(0)),
                }
            }
            self.out.clear();
            self.found.clear();
            let Line { core, batch, found, out, now, .. } = self;
            counted(|| {
                for received in batch.entries() {
                    core.handle_datagram(received.path, batch.datagram(received), received.start, *now, found, out);
                }
            });
            self.came += self.found.len() as u64;
            self.carry_to_edge();
        }
    }

    fn carry_to_edge(&mut self) {
        self.batch.clear();
        for entry in self.out.entries() {
            match entry.path {
                to if to == edge_at_core(Way::Udp) && !self.is_udp_blocked => {
                    self.batch.push(core_at_edge(Way::Udp), self.out.datagram(entry));
                }
                to if to == edge_at_core(Way::Tls) => {
                    self.batch.push(core_at_edge(Way::Tls), self.out.datagram(entry));
                }
                _ => {}
            }
        }
        self.out.clear();
        let Line { edge, batch, out, now, .. } = self;
        counted(|| edge.handle_link(batch, 0..batch.len(), *now, out));
    }

    /// Timers, and what every visitor sends and gets in one round.
    fn round(&mut self, datagrams: &[Vec<u8>]) {
        self.now = self.now + ROUND;
        let Line { edge, out, now, .. } = self;
        counted(|| edge.handle_timeout(*now, out));
        self.carry_to_core();
        counted(|| self.core.handle_timeout(self.now, &mut self.out));
        self.carry_to_edge();
        self.carry_to_core();
        self.batch.clear();
        for number in 0..VISITORS {
            for datagram in datagrams {
                self.batch.push(visitor(number), datagram);
            }
        }
        let Line { edge, batch, out, now, .. } = self;
        counted(|| edge.handle_public(batch, 0..batch.len(), *now, out));
        self.carry_to_core();
        counted(|| {
            for number in 0..VISITORS {
                for datagram in datagrams {
                    self.core.push(linked(number), Carries::Video, datagram, &mut self.out);
                }
            }
        });
        self.carry_to_edge();
        self.carry_to_core();
        while self.edge.poll_event().is_some() || self.core.poll_event().is_some() {}
    }
}

fn assert_steady(way: Way) {
    let mut line = Line::new(way == Way::Tls);
    for _ in 0..60 {
        line.round(&[]);
    }
    assert_eq!((line.core.is_up(), line.core.way()), (true, way));
    for number in 0..VISITORS {
        line.batch.clear();
        line.batch.push(visitor(number), &check(number));
        line.edge.handle_public(&line.batch, 0..1, line.now, &mut line.out);
        line.carry_to_core();
        line.core.prove(linked(number), line.now, &mut line.out);
        line.carry_to_edge();
    }
    let mut media = vec![vec![7; 1100]; BURST];
    media.iter_mut().for_each(|datagram| datagram[0] = 0x80);
    for _ in 0..WARM_UP {
        line.round(&media);
    }
    allocations::forget();
    (line.came, line.left) = (0, 0);
    for _ in 0..MEASURED {
        line.round(&media);
    }
    let (count, places) = allocations::found();
    assert_eq!(count, 0, "{count} allocations: {places:#?}");
    let all = u64::from(MEASURED) * u64::from(VISITORS) * BURST as u64;
    assert_eq!((line.came, line.left, line.core.way()), (all, all, way));
    allocations::forget();
}

#[test]
fn an_edge_and_its_core_forward_frames_by_udp() {
    assert_steady(Way::Udp);
}

#[test]
fn an_edge_and_its_core_forward_frames_over_tls() {
    assert_steady(Way::Tls);
}
