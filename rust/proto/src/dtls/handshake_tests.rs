//! The DTLS association against the library's own client: split hellos, order, loss, timeouts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fingerprint::HashAlgorithm;
use super::handshake::{Dtls, DtlsEnd, DtlsEvent};
use super::{Identity, Role};
use crate::error::Drop;
use crate::srtp::SrtpKeys;
use crate::time::Time;

fn identity(base: Instant) -> Identity {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    Identity::new(certificate.certificate, certificate.private_key, base).unwrap()
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// A foreign client whose datagrams are at most `mtu` bytes, so that its hello spans several.
struct Client {
    dtls: dimpl::Dtls,
    base: Instant,
    fingerprint: super::Fingerprint,
}

impl Client {
    fn new(base: Instant, mtu: usize) -> Client {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let fingerprint = super::Fingerprint::of(HashAlgorithm::Sha256, &certificate.certificate);
        let config = dimpl::Config::builder().mtu(mtu).max_queue_tx(100).build().unwrap();
        let mut dtls = dimpl::Dtls::new_12(Arc::new(config), certificate, base);
        dtls.set_active(true);
        Client { dtls, base, fingerprint }
    }

    fn step(&mut self, input: &[Vec<u8>], now: Time) -> Vec<Vec<u8>> {
        self.dtls.handle_timeout(self.base + now.since(Time::ZERO)).unwrap();
        let mut output = vec![];
        for datagram in input {
            self.dtls.handle_packet(datagram).unwrap();
        }
        let mut buffer = vec![0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(packet) => output.push(packet.to_vec()),
                dimpl::Output::Timeout(_) => return output,
                _ => {}
            }
        }
    }
}

fn drive(server: &mut Dtls, now: Time) -> (Vec<Vec<u8>>, Option<DtlsEvent>) {
    let mut output = vec![];
    let event = server.drive(now, |datagram| output.push(datagram.to_vec()));
    (output, event)
}

/// Runs the handshake after the hello; `None` when it does not end within 20 steps of 20 ms.
fn finish(server: &mut Dtls, client: &mut Client, mut now: Time) -> Option<SrtpKeys> {
    for _ in 0..20 {
        let (output, event) = drive(server, now);
        if let Some(DtlsEvent::Connected(keys)) = event {
            return Some(keys);
        }
        now = now + Duration::from_millis(20);
        for datagram in client.step(&output, now) {
            assert_eq!(server.handle_datagram(&datagram, now), Ok(None));
        }
    }
    None
}

#[test]
fn a_client_hello_in_several_datagrams_in_any_order_is_put_together() {
    let base = Instant::now();
    for reversed in [false, true] {
        let mut client = Client::new(base, 80);
        let mut server = Dtls::new(identity(base));
        server.start(Role::Server, vec![client.fingerprint.clone()], at(0));
        let mut hello = client.step(&[], at(1));
        assert!(hello.len() >= 2, "the hello takes {} datagrams", hello.len());
        if reversed {
            hello.reverse();
        }
        for datagram in &hello {
            assert_eq!(server.handle_datagram(datagram, at(1)), Ok(None));
        }
        assert!(finish(&mut server, &mut client, at(1)).is_some(), "reversed: {reversed}");
    }
}

#[test]
fn a_hello_held_before_the_description_is_used_after_it() {
    let base = Instant::now();
    let mut client = Client::new(base, 1200);
    let mut server = Dtls::new(identity(base));
    for datagram in client.step(&[], at(1)) {
        server.hold(&datagram).unwrap();
    }
    assert_eq!(drive(&mut server, at(5)), (vec![], None));
    server.start(Role::Server, vec![client.fingerprint.clone()], at(50));
    assert!(finish(&mut server, &mut client, at(50)).is_some());
}

#[test]
fn a_key_that_cannot_sign_is_refused_at_once() {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    let result = Identity::new(certificate.certificate, b"no key".to_vec(), Instant::now());
    assert!(matches!(result, Err(super::IdentityError::PrivateKey(_))));
}

#[test]
fn held_datagrams_are_bounded() {
    let mut server = Dtls::new(identity(Instant::now()));
    for _ in 0..4 {
        assert_eq!(server.hold(&[22; 100]), Ok(()));
    }
    assert_eq!(server.hold(&[22; 100]), Err(Drop::DtlsEarly));
}

#[test]
fn a_hello_is_repeated_quickly_and_given_up_after_30_s() {
    let mut client = Dtls::new(identity(Instant::now()));
    client.start(Role::Client, vec![], at(0));
    let mut sent = vec![];
    let mut now = at(0);
    loop {
        let (output, event) = drive(&mut client, now);
        if !output.is_empty() {
            sent.push(now.as_millis());
        }
        if let Some(event) = event {
            assert_eq!(event, DtlsEvent::Ended(DtlsEnd::Failed));
            break;
        }
        assert!(client.poll_timeout() > now, "the timer moves on");
        now = client.poll_timeout();
    }
    assert_eq!(sent[0], 0);
    assert!((100..=200).contains(&sent[1]), "first retransmission after {} ms", sent[1]);
    assert!((4..=8).contains(&sent.len()), "{sent:?}");
    assert!(now <= at(30_000));
    assert_eq!(client.poll_timeout(), Time::FAR_FUTURE);
    assert_eq!(client.handle_datagram(&[22], now), Err(Drop::DtlsClosed));
}

#[test]
fn garbage_does_not_end_the_handshake() {
    let base = Instant::now();
    let mut client = Client::new(base, 1200);
    let mut server = Dtls::new(identity(base));
    server.start(Role::Server, vec![client.fingerprint.clone()], at(0));
    for first in 20..64u8 {
        let mut garbage = vec![first; 60];
        garbage[1..3].copy_from_slice(&[254, 253]);
        let _ = server.handle_datagram(&garbage, at(1));
    }
    for datagram in client.step(&[], at(1)) {
        assert_eq!(server.handle_datagram(&datagram, at(1)), Ok(None));
    }
    assert!(finish(&mut server, &mut client, at(1)).is_some());
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A hello as Chromium 130+ and Firefox send it: DTLS 1.3 first, with an X25519MLKEM768 key share of 1216 bytes.
fn post_quantum_hello() -> Vec<u8> {
    let key_share = [&[0x04, 0xc4, 0x11, 0xec, 0x04, 0xc0][..], &[0x5a; 1216]].concat();
    let extensions = [
        extension(0x0017, &[]),
        extension(0xff01, &[0]),
        extension(0x000a, &[0, 8, 0x11, 0xec, 0, 29, 0, 23, 0, 24]),
        extension(0x000b, &[1, 0]),
        extension(0x000d, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]),
        extension(0x000e, &[0, 8, 0, 1, 0, 8, 0, 7, 0, 2, 0]),
        extension(0x0033, &key_share),
        extension(0x002b, &[4, 0xfe, 0xfc, 0xfe, 0xfd]),
    ]
    .concat();
    [
        &[0xfe, 0xfd][..],
        &[0x77; 32],
        &[0, 0],
        &[0, 10, 0x13, 1, 0x13, 2, 0xc0, 0x2b, 0xcc, 0xa9, 0xc0, 0x2c],
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat()
}

/// One record with the given part of a ClientHello (RFC 6347 §4.2.2).
fn fragment(hello: &[u8], from: usize, to: usize, record: u8) -> Vec<u8> {
    let u24 = |value: usize| (value as u32).to_be_bytes()[1..].to_vec();
    let handshake = [&[1][..], &u24(hello.len()), &[0, 0], &u24(from), &u24(to - from), &hello[from..to]].concat();
    [&[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, record][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

#[test]
fn a_post_quantum_hello_in_two_datagrams_is_answered_in_dtls_1_2() {
    let hello = post_quantum_hello();
    assert!(hello.len() > 1300);
    for swapped in [false, true] {
        let mut server = Dtls::new(identity(Instant::now()));
        server.start(Role::Server, vec![], at(0));
        let mut parts = [fragment(&hello, 0, 1100, 0), fragment(&hello, 1100, hello.len(), 1)];
        if swapped {
            parts.reverse();
        }
        assert_eq!(server.handle_datagram(&parts[0], at(1)), Ok(None));
        assert_eq!(drive(&mut server, at(1)), (vec![], None), "half a hello has no answer");
        assert_eq!(server.handle_datagram(&parts[1], at(2)), Ok(None));
        let (output, event) = drive(&mut server, at(2));
        assert_eq!(event, None);
        // Handshake record, then a ServerHello (2) of version 1.2.
        let answer = output.first().expect("the server answers");
        assert_eq!((answer[0], answer[13], &answer[25..27]), (22, 2, &[0xfe, 0xfd][..]));
    }
}
