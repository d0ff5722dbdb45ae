//! Loads through relays that are nothing but their tables: what leaves is what arrives, and it is counted.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant, UNIX_EPOCH};

use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::link::{EdgeLink, EdgeLinkConfig, LinkKey, LinkName};
use mediaserver_proto::path::PathLimits;
use mediaserver_proto::time::Time;

use super::floor::TurnFloor;
use super::lanes::Lanes;
use super::load::{Load, Shape};
use super::turn::CHANNEL;
use super::visitors::EdgeLanes;

/// Runs until it is dropped.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn run(mut step: impl FnMut() + Send + 'static) -> Background {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                step();
            }
        });
        Background { stop, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A socket whose reads wait a moment at the most.
fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Ports that nobody has at the moment.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let sockets: [_; COUNT] = std::array::from_fn(|_| socket());
    sockets.map(|(_, address)| address.port())
}

/// Runs a short load of each shape; its figures must say that all of it arrived.
fn loaded(lanes: Box<dyn Lanes>) {
    let mut load = Load::new(lanes);
    for burst in [1, 8] {
        load.keep().unwrap();
        let shape = Shape::new(172, burst, 1_000).unwrap();
        let report = load.run(&shape, Duration::from_millis(80)).unwrap();
        let number = |name: &str| -> u64 {
            let (_, rest) = report.split_once(&format!("\"{name}\": ")).unwrap();
            rest.split([',', '}']).next().unwrap().parse().unwrap()
        };
        assert!(number("sent") >= 8 && number("sent") == number("received"), "{report}");
        assert_eq!(number("wrong"), 0, "{report}");
        assert!(report.contains("\"echo_ms\": null"));
    }
}

#[test]
fn channel_data_goes_both_ways() {
    let ((listener, server), (relayed, at)) = (socket(), socket());
    let [client, peer] = free_ports();
    let lanes = TurnFloor::new(server, at.port(), client, peer, 1).unwrap();
    let mut bytes = [0; 2048];
    let _relay = Background::run(move || {
        while let Ok(len) = listener.recv(&mut bytes) {
            assert_eq!(bytes[..4], [CHANNEL.to_be_bytes(), (len as u16 - 4).to_be_bytes()].concat());
            relayed.send_to(&bytes[4..len], local(peer)).unwrap();
        }
        while let Ok(len) = relayed.recv(&mut bytes[4..]) {
            bytes[..2].copy_from_slice(&CHANNEL.to_be_bytes());
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            listener.send_to(&bytes[..len + 4], local(client)).unwrap();
        }
    });
    loaded(Box::new(lanes));
}

#[test]
fn visitors_are_let_in_by_an_edge_and_their_datagrams_go_both_ways() {
    let (ufrag_key, link_key) = ([3; 32], [4; 32]);
    let ((public, public_at), (link, link_at)) = (socket(), socket());
    let mut edge = EdgeLink::new(EdgeLinkConfig {
        link_socket: SocketId(1),
        secret: [5; 32],
        instance: 6,
        unix_epoch: UNIX_EPOCH.elapsed().unwrap(),
        limits: PathLimits { paths: 10, unproven_per_prefix: 10 },
    });
    assert!(edge.set_key(UfragKey::new(7, 1, &ufrag_key)));
    assert!(edge.set_link(LinkName { core: 7, shard: 0 }, LinkKey::new(&link_key)));
    let (began, mut bytes) = (Instant::now(), [0; 2048]);
    let _edge = Background::run(move || {
        let mut out = TransmitQueue::default();
        for (id, socket) in [(0, &public), (1, &link)] {
            while let Ok((len, remote)) = socket.recv_from(&mut bytes) {
                let (now, mut batch) = (Time::ZERO + began.elapsed(), ReceiveBatch::default());
                batch.push(Path { socket: SocketId(id), remote }, &bytes[..len]);
                if id == 0 {
                    edge.handle_public(&batch, 0..1, now, &mut out);
                } else {
                    edge.handle_link(&batch, 0..1, now, &mut out);
                }
                for entry in out.entries() {
                    let from = if entry.path.socket == SocketId(0) { &public } else { &link };
                    from.send_to(out.datagram(entry), entry.path.remote).unwrap();
                }
                out.clear();
            }
        }
    });
    let mut lanes = EdgeLanes::new(public_at, link_at, 2, &ufrag_key, &link_key).unwrap();
    lanes.add(&mut crate::net::Inbox::default(), Time::ZERO + began.elapsed()).unwrap();
    loaded(Box::new(lanes));
}

#[test]
fn a_load_that_makes_no_sense_is_refused() {
    for (bytes, burst, rate) in [(15, 1, 1), (1401, 1, 1), (172, 0, 1), (172, 9, 1), (172, 1, 0)] {
        assert!(Shape::new(bytes, burst, rate).is_err(), "{bytes} {burst} {rate}");
    }
    assert_eq!(super::key_bytes("00ff10").unwrap(), [0, 255, 16]);
    assert!(super::key_bytes("0g").is_err() && super::key_bytes("abc").is_err());
}
