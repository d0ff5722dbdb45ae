//! Two SIP media legs that agree on keys by DTLS, on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::dtls::{HashAlgorithm, Identity, Role};
use crate::io::{SocketId, TransmitQueue};
use crate::time::Time;

const RTP: SocketId = SocketId(1);
const RTCP: SocketId = SocketId(2);
const SENDER_REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];
const STEP: Duration = Duration::from_millis(20);

fn identity() -> Identity {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    Identity::new(certificate.certificate, certificate.private_key, Instant::now()).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut bytes = vec![0x80, 8, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1];
    bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(b"G.711 sound");
    bytes
}

/// A leg whose RTP port is even, as its address and its peers see it.
struct End {
    leg: RtpTransport,
    identity: Identity,
    rtp: SocketAddr,
    out: TransmitQueue<'static>,
    events: Vec<TransportEvent>,
    heard: usize,
    reports: usize,
}

impl End {
    fn new(rtp: &str) -> End {
        let identity = identity();
        let leg = RtpTransport::new(RtpTransportConfig {
            rtp_socket: RTP,
            rtcp_socket: Some(RTCP),
            latching: Duration::from_secs(5),
            timeout: Duration::ZERO,
            identity: Some(identity.clone()),
        });
        End { leg, identity, rtp: address(rtp), out: TransmitQueue::default(), events: vec![], heard: 0, reports: 0 }
    }

    fn terms(&self, peer: &End, role: Role, association: u32) -> DtlsTerms {
        let fingerprints = vec![peer.identity.fingerprint(HashAlgorithm::Sha256)];
        DtlsTerms { association, role, fingerprints }
    }

    fn describe(&mut self, peer: SocketAddr, terms: DtlsTerms, rtcp_mux: bool, now: Time) {
        self.leg.set_remote(RtpRemote { rtp: Some(peer), rtcp_mux, dtls: Some(terms), ..RtpRemote::default() }, now);
    }

    fn take(&mut self, path: Path, mut datagram: Vec<u8>, now: Time) -> Received {
        let received = self.leg.handle_datagram(path, &mut datagram, now, &mut self.out);
        match received {
            Received::Rtp { len, .. } => {
                assert!(datagram[..len].ends_with(b"G.711 sound"));
                self.heard += 1;
            }
            Received::Rtcp { .. } => self.reports += 1,
            _ => {}
        }
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
        received
    }

    fn speak(&mut self, sequence: u16) -> Result<(), SendError> {
        let packet = packet(sequence);
        self.leg.protect_rtp(&packet[..12], &packet[12..], &mut self.out)
    }

    fn suite(&self) -> Option<Suite> {
        self.leg.suite()
    }

    /// What it sent since the last call: destination, source, bytes.
    fn sent(&mut self) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let own = |socket| SocketAddr::new(self.rtp.ip(), self.rtp.port() + u16::from(socket == RTCP));
        let sent = self.out.entries().iter();
        let sent = sent.map(|entry| (entry.path.remote, own(entry.path.socket), self.out.datagram(entry).to_vec()));
        let sent = sent.collect();
        self.out.clear();
        sent
    }

    fn tick(&mut self, now: Time) {
        if self.leg.poll_timeout().is_some_and(|due| due <= now) {
            self.leg.handle_timeout(now, &mut self.out);
        }
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
    }
}

/// Carries what both sent, `steps` times; a datagram for which `loses` is true is gone.
fn run(ends: &mut [&mut End; 2], now: &mut Time, steps: usize, mut loses: impl FnMut(&[u8]) -> bool) {
    for _ in 0..steps {
        *now = *now + STEP;
        for index in 0..2 {
            ends[index].tick(*now);
            for (to, source, datagram) in ends[index].sent() {
                let other = &mut *ends[1 - index];
                let socket = if to == other.rtp { RTP } else { RTCP };
                if to.ip() == other.rtp.ip() && !loses(&datagram) {
                    other.take(Path { socket, remote: source }, datagram, *now);
                }
            }
        }
    }
}

/// Two legs that have described themselves to each other, the first one as server.
fn described(mux: bool) -> (End, End) {
    let (mut server, mut client) = (End::new("192.0.2.1:10000"), End::new("192.0.2.2:20000"));
    let (ours, theirs) = (server.terms(&client, Role::Server, 1), client.terms(&server, Role::Client, 1));
    let (server_at, client_at) = (server.rtp, client.rtp);
    server.describe(client_at, ours, mux, Time::ZERO);
    client.describe(server_at, theirs, mux, Time::ZERO);
    (server, client)
}

fn connected(mux: bool) -> (End, End, Time) {
    let (mut server, mut client) = described(mux);
    let mut now = Time::ZERO;
    run(&mut [&mut server, &mut client], &mut now, 20, |_| false);
    (server, client, now)
}

#[test]
fn one_association_serves_both_where_rtcp_is_multiplexed() {
    let (mut server, mut client, mut now) = connected(true);
    assert_eq!(server.suite(), Some(Suite::AeadAes256Gcm));
    assert_eq!(client.suite(), server.suite());
    assert!(matches!(server.events[..], [TransportEvent::Connected { suite: Some(_), .. }]), "{:?}", server.events);
    for end in [&mut server, &mut client] {
        end.speak(1).unwrap();
        end.leg.protect_rtcp(&SENDER_REPORT, &mut end.out).unwrap();
    }
    run(&mut [&mut server, &mut client], &mut now, 2, |_| false);
    assert_eq!((server.heard, server.reports, client.heard, client.reports), (1, 1, 1, 1));
}

#[test]
fn rtcp_on_a_port_of_its_own_has_keys_of_its_own() {
    let (mut server, mut client, mut now) = connected(false);
    client.leg.protect_rtcp(&SENDER_REPORT, &mut client.out).unwrap();
    let report = client.sent().remove(0);
    assert_eq!((report.0.port(), report.1.port()), (10_001, 20_001));
    let on_rtp_port = Path { socket: RTP, remote: client.rtp };
    let received = server.take(on_rtp_port, report.2.clone(), now);
    assert_eq!(received, Received::Dropped(Drop::SrtpAuthentication), "those of RTP do not open it");
    assert!(matches!(server.take(Path { socket: RTCP, remote: report.1 }, report.2, now), Received::Rtcp { .. }));
    server.speak(1).unwrap();
    run(&mut [&mut server, &mut client], &mut now, 1, |_| false);
    assert_eq!(client.heard, 1);
}

#[test]
fn nothing_passes_before_there_are_keys() {
    let (mut server, client) = described(true);
    assert_eq!(server.speak(1), Err(SendError::NotConnected));
    let plain = server.take(Path { socket: RTP, remote: client.rtp }, packet(1), Time::ZERO);
    assert_eq!(plain, Received::Dropped(Drop::SrtpNoKeys));
}

#[test]
fn a_server_sends_no_certificate_to_an_address_that_is_not_proven() {
    let (mut server, mut client) = described(true);
    client.tick(Time::ZERO + STEP);
    let hello = client.sent().remove(0).2;
    server.take(Path { socket: RTP, remote: client.rtp }, hello.clone(), Time::ZERO + STEP);
    let answer: usize = server.sent().iter().map(|(_, _, datagram)| datagram.len()).sum();
    assert!((1..hello.len()).contains(&answer), "{answer} bytes for a hello of {}", hello.len());
}

#[test]
fn lost_flights_come_again() {
    let (mut server, mut client) = described(true);
    let (mut now, mut count) = (Time::ZERO, 0);
    run(&mut [&mut server, &mut client], &mut now, 200, |_| {
        count += 1;
        count % 3 == 1
    });
    assert!(server.suite().is_some() && client.suite().is_some());
}

#[test]
fn a_wrong_certificate_ends_the_leg_and_says_so() {
    let (mut server, mut client) = described(true);
    let stranger = End::new("192.0.2.9:1");
    let terms = server.terms(&stranger, Role::Server, 2);
    server.describe(client.rtp, terms, true, Time::ZERO);
    run(&mut [&mut server, &mut client], &mut Time::ZERO.clone(), 20, |_| false);
    assert_eq!(server.events, [TransportEvent::Closed(CloseReason::FingerprintMismatch)]);
    assert_eq!(server.speak(1), Err(SendError::NotConnected));
}

#[test]
fn the_same_association_goes_on_and_another_one_begins_anew() {
    let (mut server, mut client, mut now) = connected(true);
    server.speak(7).unwrap();
    server.sent();
    let same = server.terms(&client, Role::Server, 1);
    server.describe(client.rtp, same, true, now);
    assert_eq!(server.speak(7), Err(SendError::IndexUsed), "the indices of before count");
    let (ours, theirs) = (server.terms(&client, Role::Client, 2), client.terms(&server, Role::Server, 2));
    server.describe(client.rtp, ours, true, now);
    client.describe(server.rtp, theirs, true, now);
    assert_eq!(server.speak(8), Err(SendError::NotConnected));
    run(&mut [&mut server, &mut client], &mut now, 20, |_| false);
    server.speak(8).unwrap();
    run(&mut [&mut server, &mut client], &mut now, 1, |_| false);
    assert_eq!(client.heard, 1);
    let keyed = |end: &End| end.events.iter().filter(|e| matches!(e, TransportEvent::Connected { .. })).count();
    assert_eq!((keyed(&server), keyed(&client)), (2, 2));
}

#[test]
fn an_association_moves_with_the_peer_that_moved() {
    let (mut server, mut client, now) = connected(true);
    let moved = address("192.0.2.2:30000");
    let same = server.terms(&client, Role::Server, 1);
    server.describe(moved, same, true, now);
    client.rtp = moved;
    server.speak(1).unwrap();
    run(&mut [&mut server, &mut client], &mut now.clone(), 1, |_| false);
    assert_eq!(client.heard, 1);
}

#[test]
fn a_hello_that_overtakes_the_answer_waits_for_it() {
    let (mut server, mut client) = (End::new("192.0.2.1:10000"), End::new("192.0.2.2:20000"));
    let theirs = client.terms(&server, Role::Client, 1);
    client.describe(server.rtp, theirs, true, Time::ZERO);
    client.tick(Time::ZERO);
    let hello = client.sent().remove(0).2;
    let path = Path { socket: RTP, remote: client.rtp };
    assert_eq!(server.take(path, hello.clone(), Time::ZERO), Received::Consumed);
    server.take(path, hello.clone(), Time::ZERO);
    assert_eq!(server.take(path, hello, Time::ZERO), Received::Dropped(Drop::DtlsEarly), "only so many wait");
    let ours = server.terms(&client, Role::Server, 1);
    server.describe(client.rtp, ours, true, Time::ZERO);
    assert_eq!(server.leg.poll_timeout(), Some(Time::ZERO));
    server.tick(Time::ZERO);
    assert!(!server.sent().is_empty());
}

#[test]
fn a_stranger_gives_way_to_the_phone() {
    let (mut server, mut client) = described(true);
    let mut stranger = End::new("203.0.113.9:666");
    let terms = stranger.terms(&server, Role::Client, 1);
    stranger.describe(server.rtp, terms, true, Time::ZERO);
    stranger.tick(Time::ZERO);
    for (_, source, datagram) in stranger.sent() {
        server.take(Path { socket: RTP, remote: source }, datagram, Time::ZERO);
    }
    assert_eq!(server.sent()[0].0, stranger.rtp, "a phone behind NAT looks the same");
    run(&mut [&mut server, &mut client], &mut Time::ZERO.clone(), 20, |_| false);
    assert!(server.suite().is_some() && client.suite().is_some());
    let late = server.take(Path { socket: RTP, remote: stranger.rtp }, vec![22, 254, 253, 0], Time::ZERO + STEP);
    assert_eq!(late, Received::Dropped(Drop::UnexpectedSource));
}

#[test]
fn media_end_with_the_association_and_the_leg_goes_on() {
    let (mut server, mut client, mut now) = connected(true);
    client.leg.close(CloseReason::Commanded, &mut client.out);
    run(&mut [&mut server, &mut client], &mut now, 2, |_| false);
    assert_eq!(server.speak(1), Err(SendError::NotConnected));
    assert!(!server.events.iter().any(|event| matches!(event, TransportEvent::Closed(_))), "signalling says the rest");
}
