//! A whole WebRTC transport that is fed datagrams by strangers: nothing is sent, nothing is bound, nothing is received.
#![no_main]

use std::sync::LazyLock;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::dtls::{Fingerprint, HashAlgorithm, Identity, Role};
use mediaserver_proto::ice::{LocalCredentials, RemoteCredentials};
use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::time::Time;
use mediaserver_proto::transport::{IceTransport, IceTransportConfig, Received, RemoteParameters};

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    Identity::new(certificate.certificate, certificate.private_key, Instant::now()).unwrap()
});

fuzz_target!(|datagram: &[u8]| {
    let mut out = TransmitQueue::default();
    let mut transport = IceTransport::new(IceTransportConfig {
        credentials: LocalCredentials::new("fuzz".into(), &[0; 18]),
        seed: [1; 32],
        identity: IDENTITY.clone(),
    });
    let remote = RemoteParameters {
        credentials: RemoteCredentials::new("peer", "peer's password"),
        fingerprints: vec![Fingerprint { algorithm: HashAlgorithm::Sha256, value: vec![0; 32] }],
        role: Role::Server,
    };
    transport.set_remote(remote, Time::ZERO, &mut out);
    let path = Path { socket: SocketId(0), remote: ([192, 0, 2, 1], 5000).into() };
    let received = transport.handle_datagram(path, &mut datagram.to_vec(), Time::from_millis(1), &mut out);
    assert!(matches!(received, Received::Dropped(_)));
    assert!(out.is_empty() && transport.poll_event().is_none());
});
