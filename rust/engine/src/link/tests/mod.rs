//! Both ends of links over loopback, and over pipes on virtual time.

mod admission;
mod control;
mod keep_alive;
mod media;
mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::certificates::{Credentials, Fingerprint};
use super::command::{DialLink, LinkCredentials, LinkPin, ListenLink};
use super::{Count, EventSink, FrameSink, LinkCounters, LinkEvent, LinkTable, Parts};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const EDGE: &str = "edge.bank.example";
const CORE: &str = "core.bank.example";

/// Issues certificates.
struct House {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Shown {
    credentials: LinkCredentials,
    fingerprint: Vec<u8>,
}

impl House {
    fn new() -> House {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        House { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A certificate for `name`, whose owner trusts this house.
    fn issue(&self, name: &str) -> Shown {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let credentials = LinkCredentials {
            certificate_chain_pem: certificate.pem().into_bytes().into(),
            private_key_pem: key.serialize_pem().into_bytes().into(),
            issuers_pem: self.issuer.pem().into_bytes().into(),
        };
        let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        Shown { credentials, fingerprint: fingerprint.as_ref().to_vec() }
    }
}

impl Shown {
    fn pin(&self, link: u64, name: &str) -> LinkPin {
        LinkPin { link, name: name.to_owned(), fingerprint: self.fingerprint.clone().into() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::try_from(self.fingerprint.as_slice()).unwrap()
    }

    fn read(&self) -> Credentials {
        let LinkCredentials { certificate_chain_pem, private_key_pem, issuers_pem } = &self.credentials;
        Credentials::from_pem(certificate_chain_pem, private_key_pem, issuers_pem).unwrap()
    }
}

/// The links of one process, and what they tell.
struct Side {
    links: LinkTable,
    counters: LinkCounters,
    events: mpsc::UnboundedReceiver<LinkEvent>,
    frames: mpsc::UnboundedReceiver<(u64, Bytes)>,
    parts: Parts,
}

impl Side {
    fn new() -> Side {
        let (told, events) = mpsc::unbounded_channel();
        let (frame, frames) = mpsc::unbounded_channel();
        let counters = LinkCounters::default();
        let parts = Parts {
            events: EventSink::new(move |event| told.send(event).is_ok()),
            frames: FrameSink::new(move |link, batch| {
                for each in batch {
                    frame.send((link, each.clone())).unwrap();
                }
            }),
            counters: counters.clone(),
        };
        Side { links: LinkTable::new(Handle::current(), parts.clone()), counters, events, frames, parts }
    }

    async fn next(&mut self) -> LinkEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event").unwrap()
    }

    async fn up(&mut self) -> u64 {
        match self.next().await {
            LinkEvent::Up { link, .. } => link,
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> String {
        loop {
            if let LinkEvent::Down { reason, .. } = self.next().await {
                return reason;
            }
        }
    }

    async fn message(&mut self) -> Bytes {
        match self.next().await {
            LinkEvent::Message { message, .. } => message.bytes().clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until something has happened `count` times.
    async fn counted(&self, what: Count, count: u64) {
        let reached = async {
            while self.counters.get(what) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // On virtual time this takes as long as what is waited for.
        timeout(10 * PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what:?}: {}", self.counters.get(what)));
    }

    fn listen(&self, own: &Shown, cores: Vec<LinkPin>) -> SocketAddr {
        let bind = (std::net::Ipv4Addr::LOCALHOST.into(), 0);
        self.links.listen(1, &ListenLink { bind, credentials: own.credentials.clone(), cores }).unwrap()
    }

    fn dial(&self, id: u64, address: SocketAddr, own: &Shown, edge: &Shown) {
        let command = DialLink {
            address: (address.ip(), address.port()),
            server_name: EDGE.to_owned(),
            fingerprint: edge.fingerprint.clone().into(),
            credentials: own.credentials.clone(),
            media: false,
        };
        self.links.dial(id, &command).unwrap();
    }
}

const CORE_LINK: u64 = 11;
const EDGE_LINK: u64 = 22;

/// A Core and an Edge, connected.
async fn connected() -> (Side, Side) {
    let house = House::new();
    let (core_shown, edge_shown) = (house.issue(CORE), house.issue(EDGE));
    let (mut core, mut edge) = (Side::new(), Side::new());
    let address = edge.listen(&edge_shown, vec![core_shown.pin(EDGE_LINK, CORE)]);
    core.dial(CORE_LINK, address, &core_shown, &edge_shown);
    assert_eq!((core.up().await, edge.up().await), (CORE_LINK, EDGE_LINK));
    (core, edge)
}
