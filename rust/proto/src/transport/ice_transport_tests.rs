//! Two of our transports on a virtual wire: checks, handshake, media, restart, loss and misuse.

use std::time::{Duration, Instant};

use super::*;
use crate::dtls::{Fingerprint, HashAlgorithm, Identity, Role};
use crate::ice::{LocalCredentials, RemoteCredentials};
use crate::io::{SocketId, TransmitQueue};
use crate::stun::{Class, TransactionId, Writer, method};
use crate::time::Time;

/// One way latency of the wire.
const LATENCY: Duration = Duration::from_millis(10);

struct Side {
    transport: IceTransport,
    fingerprint: Fingerprint,
    address: std::net::SocketAddr,
    events: Vec<TransportEvent>,
    received: Vec<Vec<u8>>,
}

impl Side {
    fn new(name: &str, address: &str, base: Instant) -> Side {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let identity = Identity::new(certificate.certificate, certificate.private_key, base).unwrap();
        let fingerprint = identity.fingerprint(HashAlgorithm::Sha256);
        let mut seed = [0u8; 32];
        seed[..name.len()].copy_from_slice(name.as_bytes());
        let credentials = LocalCredentials::new(name.into(), &[name.as_bytes()[0]; 18]);
        let transport = IceTransport::new(IceTransportConfig { credentials, seed, identity });
        Side { transport, fingerprint, address: address.parse().unwrap(), events: vec![], received: vec![] }
    }

    fn remote(&self) -> RemoteCredentials {
        let local = self.transport.local_credentials();
        RemoteCredentials::new(local.ufrag(), local.password())
    }

    fn drain(&mut self) {
        while let Some(event) = self.transport.poll_event() {
            self.events.push(event);
        }
    }
}

/// A wire with latency that may lose datagrams; index 0 and 1 are its ends.
struct Wire {
    sides: [Side; 2],
    now: Time,
    flying: Vec<(Time, usize, Vec<u8>)>,
    /// Which transmissions (counted from 0) are lost.
    lose: fn(usize) -> bool,
    sent: usize,
}

fn path(address: std::net::SocketAddr) -> Path {
    Path { socket: SocketId(0), remote: address }
}

impl Wire {
    fn new() -> Wire {
        let base = Instant::now();
        let sides = [Side::new("server", "192.0.2.1:10000", base), Side::new("client", "192.0.2.2:5000", base)];
        Wire { sides, now: Time::from_millis(1000), flying: vec![], lose: |_| false, sent: 0 }
    }

    fn describe(&mut self) {
        let fingerprints = self.sides.each_ref().map(|side| side.fingerprint.clone());
        self.describe_with(fingerprints);
    }

    fn describe_with(&mut self, fingerprints: [Fingerprint; 2]) {
        for (at, role) in [(0, Role::Server), (1, Role::Client)] {
            let credentials = self.sides[1 - at].remote();
            let remote = RemoteParameters { credentials, fingerprints: vec![fingerprints[1 - at].clone()], role };
            self.call(at, |transport, now, out| transport.set_remote(remote, now, out));
        }
    }

    /// Sends what a call on one side makes it send.
    fn call<R>(&mut self, at: usize, act: impl FnOnce(&mut IceTransport, Time, &mut TransmitQueue) -> R) -> R {
        let mut out = TransmitQueue::default();
        let result = act(&mut self.sides[at].transport, self.now, &mut out);
        self.sides[at].drain();
        for entry in out.entries() {
            assert_eq!(entry.path.remote, self.sides[1 - at].address, "nothing goes anywhere else");
            if !(self.lose)(self.sent) {
                self.flying.push((self.now + LATENCY, 1 - at, out.datagram(entry).to_vec()));
            }
            self.sent += 1;
        }
        result
    }

    /// Side 1 cannot start by itself (both are lite): the test sends its first check.
    fn first_check(&mut self) {
        let server = self.sides[0].transport.local_credentials().clone();
        let username = format!("{}:client", server.ufrag());
        let mut check = Vec::new();
        Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([1; 12]))
            .username(username.as_bytes())
            .priority(1)
            .integrity(&aws_lc_rs::hmac::Key::new(
                aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                server.password().as_bytes(),
            ))
            .fingerprint();
        self.flying.push((self.now, 0, check));
    }

    fn deliver(&mut self, to: usize, mut datagram: Vec<u8>) -> Received {
        let from = path(self.sides[1 - to].address);
        let received = self.call(to, |transport, now, out| transport.handle_datagram(from, &mut datagram, now, out));
        if let Received::Rtp { len, .. } | Received::Rtcp { len } = received {
            self.sides[to].received.push(datagram[..len].to_vec());
        }
        received
    }

    /// Lets virtual time pass up to `end`.
    fn run(&mut self, end: Time) {
        loop {
            let arrival = self.flying.iter().map(|(at, _, _)| *at).min().unwrap_or(Time::FAR_FUTURE);
            let timers = self.sides.each_ref().map(|side| side.transport.poll_timeout().unwrap_or(Time::FAR_FUTURE));
            let next = arrival.min(timers[0]).min(timers[1]);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if let Some(at) = self.flying.iter().position(|(at, _, _)| *at <= self.now) {
                let (_, to, datagram) = self.flying.remove(at);
                self.deliver(to, datagram);
                continue;
            }
            for side in 0..2 {
                self.call(side, |transport, now, out| transport.handle_timeout(now, out));
            }
        }
    }

    fn connected_at(&mut self, limit: Time) -> Option<Time> {
        while self.now < limit {
            self.run(self.now + Duration::from_millis(5));
            if self.sides.iter().all(|side| side.events.iter().any(|e| matches!(e, TransportEvent::Connected { .. }))) {
                return Some(self.now);
            }
        }
        None
    }

    fn drops(&mut self, at: usize, reason: Drop) -> u64 {
        self.sides[at].transport.drops_mut().get(reason)
    }
}

fn connected() -> Wire {
    let mut wire = Wire::new();
    wire.describe();
    wire.first_check();
    wire.connected_at(Time::from_millis(5000)).expect("the handshake ends");
    wire
}

fn rtp(sequence: u16) -> [u8; 12] {
    let mut header = [0x80, 111, 0, 0, 0, 0, 0, 9, 0, 0, 0, 42];
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header
}

#[test]
fn checks_handshake_and_media_work_both_ways() {
    let mut wire = Wire::new();
    wire.describe();
    wire.first_check();
    let connected = wire.connected_at(Time::from_millis(5000)).expect("the handshake ends");
    // Check and challenge overlap the hello; ClientHello, server flight, client flight, Finished: 2 round trips of 20 ms.
    assert!(connected <= Time::from_millis(1000 + 90), "connected at {connected:?}");
    for side in &wire.sides {
        assert_eq!(side.transport.suite(), Some(Suite::AeadAes256Gcm), "the library's first choice");
    }
    for at in 0..2 {
        wire.call(at, |transport, _, out| {
            transport.protect_rtp(&rtp(1), b"sound", out).unwrap();
            transport.protect_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 42], out).unwrap();
        });
    }
    wire.run(wire.now + LATENCY * 2);
    for side in &wire.sides {
        assert_eq!(side.received, [[&rtp(1)[..], b"sound"].concat(), vec![0x80, 201, 0, 1, 0, 0, 0, 42]]);
    }
}

#[test]
fn a_lossy_wire_only_delays_the_handshake() {
    for lose in [|n| n % 3 == 0, |n| n % 3 == 1, |n| n % 3 == 2, |n: usize| n % 5 < 2] {
        let mut wire = Wire::new();
        wire.lose = lose;
        wire.describe();
        wire.first_check();
        let connected = wire.connected_at(Time::from_millis(20_000)).expect("it gets through");
        assert!(connected < Time::from_millis(6000), "connected at {connected:?}");
    }
}

#[test]
fn checks_and_hellos_before_the_description_are_not_lost() {
    let mut wire = Wire::new();
    let credentials = wire.sides[0].remote();
    let fingerprints = vec![wire.sides[0].fingerprint.clone()];
    wire.call(1, |transport, now, out| {
        transport.set_remote(RemoteParameters { credentials, fingerprints, role: Role::Client }, now, out);
    });
    wire.first_check();
    // A check of the server's side makes the client challenge, prove and send its hello before the server knows it.
    let client = wire.sides[1].transport.local_credentials().clone();
    let mut check = Vec::new();
    Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([2; 12]))
        .username(format!("{}:server", client.ufrag()).as_bytes())
        .integrity(&aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            client.password().as_bytes(),
        ))
        .fingerprint();
    wire.flying.push((wire.now, 1, check));
    wire.run(Time::from_millis(1100));
    assert!(wire.sides[1].transport.selected_path().is_some());
    assert!(wire.sides[0].transport.selected_path().is_none());
    let described = wire.now;
    wire.describe();
    let connected = wire.connected_at(Time::from_millis(5000)).unwrap();
    assert!(connected <= described + Duration::from_millis(90), "the held hello is used: {connected:?}");
}

#[test]
fn another_certificate_than_promised_ends_the_transport() {
    let mut wire = Wire::new();
    let wrong = Fingerprint::of(HashAlgorithm::Sha256, b"somebody else");
    let right = wire.sides[0].fingerprint.clone();
    wire.describe_with([right, wrong]);
    wire.first_check();
    wire.run(Time::from_millis(3000));
    assert!(wire.sides[0].events.contains(&TransportEvent::Closed(CloseReason::FingerprintMismatch)));
    let result = wire.call(0, |transport, _, out| transport.protect_rtp(&rtp(1), b"secret", out));
    assert_eq!(result, Err(SendError::NotConnected));
}

#[test]
fn nothing_but_a_check_is_taken_from_an_unbound_tuple() {
    let mut wire = connected();
    let stranger = Path { socket: SocketId(0), remote: "198.51.100.7:9".parse().unwrap() };
    let mut out = TransmitQueue::default();
    wire.call(1, |transport, _, out| transport.protect_rtp(&rtp(7), b"sound", out).unwrap());
    let (_, _, mut packet) = wire.flying.pop().unwrap();
    let now = wire.now;
    let server = &mut wire.sides[0].transport;
    assert_eq!(server.handle_datagram(stranger, &mut packet, now, &mut out), Received::Dropped(Drop::UnboundTuple));
    let mut hello = vec![22, 254, 253, 0, 0, 0];
    assert_eq!(server.handle_datagram(stranger, &mut hello, now, &mut out), Received::Dropped(Drop::UnboundTuple));
    assert!(out.is_empty());
    assert_eq!(wire.drops(0, Drop::UnboundTuple), 2);
}

#[test]
fn a_spoofed_check_moves_no_media() {
    let mut wire = connected();
    let victim = Path { socket: SocketId(0), remote: "198.51.100.7:9".parse().unwrap() };
    wire.first_check();
    let (_, _, mut check) = wire.flying.pop().unwrap();
    let mut out = TransmitQueue::default();
    let now = wire.now;
    let server = &mut wire.sides[0].transport;
    assert_eq!(server.handle_datagram(victim, &mut check, now, &mut out), Received::Consumed);
    out.clear();
    server.protect_rtp(&rtp(1), b"sound", &mut out).unwrap();
    assert_eq!(out.entries()[0].path.remote, wire.sides[1].address);
}

#[test]
fn the_same_packet_twice_is_counted_as_a_replay() {
    let mut wire = connected();
    wire.call(1, |transport, _, out| transport.protect_rtp(&rtp(7), b"sound", out).unwrap());
    let (_, _, packet) = wire.flying.pop().unwrap();
    assert!(matches!(wire.deliver(0, packet.clone()), Received::Rtp { len: 17, header_len: 12, index: 7 }));
    assert_eq!(wire.deliver(0, packet), Received::Dropped(Drop::SrtpReplayed));
    assert_eq!(wire.drops(0, Drop::SrtpReplayed), 1);
}

#[test]
fn a_restart_keeps_dtls_and_srtp() {
    let mut wire = connected();
    for at in 0..2 {
        let credentials = LocalCredentials::new(format!("again{at}"), &[at as u8; 18]);
        wire.call(at, |transport, now, _| transport.restart(credentials, Duration::from_secs(5), now));
    }
    wire.describe();
    wire.run(wire.now + Duration::from_secs(60));
    assert!(!wire.sides[0].events.iter().any(|event| matches!(event, TransportEvent::Closed(_))));
    wire.call(0, |transport, _, out| transport.protect_rtp(&rtp(9), b"still here", out).unwrap());
    wire.run(wire.now + LATENCY * 2);
    assert_eq!(wire.sides[1].received.last().unwrap()[12..], *b"still here");
}

#[test]
fn a_vanished_peer_ends_the_transport_within_30_s() {
    let mut wire = connected();
    let since = wire.now;
    wire.lose = |_| true;
    wire.flying.clear();
    wire.run(since + Duration::from_secs(31));
    assert!(wire.sides[0].events.contains(&TransportEvent::Closed(CloseReason::ConsentExpired)));
}

#[test]
fn close_tells_the_peer() {
    let mut wire = connected();
    wire.call(0, |transport, _, out| transport.close(CloseReason::Commanded, out));
    wire.run(wire.now + LATENCY * 2);
    assert_eq!(wire.sides[0].events.last(), Some(&TransportEvent::Closed(CloseReason::Commanded)));
    assert_eq!(wire.sides[1].events.last(), Some(&TransportEvent::Closed(CloseReason::PeerClosed)));
    assert_eq!(wire.sides[1].transport.poll_timeout(), None);
}
