//! A DTLS server that is fed datagrams (the input is a list of length-prefixed ones).
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::dtls::{Dtls, DtlsEvent, Identity, Role};
use mediaserver_proto::time::Time;

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    Identity::new(certificate.certificate, certificate.private_key, Instant::now()).unwrap()
});

fuzz_target!(|input: &[u8]| {
    let mut dtls = Dtls::new(IDENTITY.clone());
    let mut now = Time::from_millis(1);
    dtls.start(Role::Server, vec![], now);
    let mut rest = input;
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(tail.len());
        let (datagram, tail) = tail.split_at(len);
        rest = tail;
        let _ = dtls.handle_datagram(datagram, now);
        now = now + Duration::from_millis(50);
        let event = dtls.drive(now, |datagram| assert!(datagram.len() <= 1472));
        assert!(!matches!(event, Some(DtlsEvent::Connected(_))));
    }
});
