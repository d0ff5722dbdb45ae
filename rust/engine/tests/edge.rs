//! An Edge's engine and a Core's on loopback: a visitor who speaks to the Edge alone gets answers, challenges and DTLS of
//! the Core.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use mediaserver_engine::Engine;
use mediaserver_engine::config::read_config;
use mediaserver_proto::demux::{Kind, classify};
use mediaserver_proto::stun::{Class, Message, TransactionId, Writer, method};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const CERTIFICATE: &[u8] = include_bytes!("../../proto/tests/data/dtls_certificate.der");
const KEY: &[u8] = include_bytes!("../../proto/tests/data/dtls_key.der");
const UFRAG_KEY: [u8; 32] = [5; 32];
const LINK_KEY: [u8; 32] = [6; 32];
/// The Core's own fields of a command that both know.
const TRANSPORT: u64 = 100;
const LINK: u64 = 7;

type Address = (String, u16);

#[derive(Serialize)]
struct EdgeConfig {
    public_binds: [&'static str; 1],
    link_bind: &'static str,
}

#[derive(Serialize)]
struct Config {
    shards: usize,
    audio_threads: usize,
    certificate_der: ByteBuf,
    private_key_der: ByteBuf,
    ufrag_key: ByteBuf,
    edge: Option<EdgeConfig>,
}

#[derive(Serialize)]
struct Fingerprint {
    algorithm: &'static str,
    value: ByteBuf,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    SetCoreKey {
        id: u64,
        request: Option<u64>,
        core: u16,
        key_id: u8,
        key: ByteBuf,
    },
    SetMediaLink {
        id: u64,
        request: Option<u64>,
        core: u16,
        shard: u16,
        key: ByteBuf,
    },
    OpenMediaLink {
        id: u64,
        request: Option<u64>,
        edge: Address,
        bind_ip: &'static str,
        key: ByteBuf,
        path_bytes_per_second: u32,
    },
    SetEdgeAddresses {
        id: u64,
        request: Option<u64>,
        addresses: Vec<Address>,
    },
    OpenIceTransport {
        id: u64,
        request: Option<u64>,
        restart_grace_ms: u32,
    },
    SetIceRemote {
        id: u64,
        request: Option<u64>,
        ufrag: String,
        pwd: String,
        fingerprints: Vec<Fingerprint>,
        dtls_role: &'static str,
        reduced_size: bool,
    },
    CloseTransport {
        id: u64,
        request: Option<u64>,
        reason: &'static str,
    },
}

/// The fields of events that this test looks at.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    public: Vec<Address>,
    link: Option<Address>,
    #[serde(default)]
    ufrag: String,
    #[serde(default)]
    pwd: String,
    #[serde(default)]
    addresses: Vec<Address>,
}

fn start(shards: usize, edge: Option<EdgeConfig>) -> Engine {
    let bytes = |bytes: &[u8]| ByteBuf::from(if shards > 0 { bytes } else { &[] });
    let config = Config {
        shards,
        audio_threads: 0,
        certificate_der: bytes(CERTIFICATE),
        private_key_der: bytes(KEY),
        ufrag_key: bytes(&UFRAG_KEY),
        edge,
    };
    let config = read_config(&rmp_serde::to_vec_named(&config).unwrap()).unwrap();
    let mut engine = Engine::new(config).unwrap();
    engine.start().unwrap();
    engine
}

fn submit(engine: &mut Engine, commands: &[Command]) {
    engine.submit(&rmp_serde::to_vec_named(commands).unwrap()).unwrap();
}

/// Waits for an event of this kind; everything before it is forgotten.
fn wait(engine: &Engine, kind: &str) -> Event {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let events: Vec<Event> = rmp_serde::from_slice(&engine.drain().unwrap()).unwrap();
        if let Some(event) = events.into_iter().find(|event| event.kind == kind) {
            return event;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{kind} did not come");
}

fn wait_for_counter(engine: &Engine, name: &str, value: u64) {
    let until = Instant::now() + Duration::from_secs(10);
    while engine.counters().get(name) != Some(&value) {
        assert!(Instant::now() < until, "{name}: {:?}", engine.counters().get(name));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until each end has received on the link what the other has sent, to the byte and with every frame.
fn wait_for_equal_traffic(edge: &Engine, core: &Engine) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let (at_edge, at_core) = (edge.counters(), core.counters());
        let pairs: Vec<(u64, u64)> = ["bytes", "frames"]
            .iter()
            .flat_map(|what| {
                let (sent, received) = (format!("link_{what}_sent"), format!("link_{what}_received"));
                let (edge, core) =
                    (|name: &str| at_edge[&format!("edge0.{name}")], |name: &str| at_core[&format!("shard0.{name}")]);
                [(edge(&sent), core(&received)), (core(&sent), edge(&received))]
            })
            .collect();
        if pairs.iter().all(|&(sent, received)| sent == received && sent > 0) {
            return;
        }
        assert!(Instant::now() < until, "sent and received: {pairs:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn socket_address(address: &Address) -> SocketAddr {
    SocketAddr::new(address.0.parse().unwrap(), address.1)
}

fn integrity(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

fn request(username: &str, key: &hmac::Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
        .username(username.as_bytes())
        .priority(1)
        .integrity(key)
        .fingerprint();
    bytes
}

fn success(transaction: TransactionId, to: SocketAddr, key: &hmac::Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Success, method::BINDING, transaction)
        .xor_mapped_address(to)
        .integrity(key)
        .fingerprint();
    bytes
}

#[test]
fn a_visitor_reaches_the_core_by_the_edge_alone_and_proves_his_address_there() {
    let mut edge = start(0, Some(EdgeConfig { public_binds: ["127.0.0.1:0"], link_bind: "127.0.0.1:0" }));
    let opened = wait(&edge, "edge_opened");
    let (public, link) = (opened.public[0].clone(), opened.link.unwrap());
    submit(
        &mut edge,
        &[
            Command::SetCoreKey { id: 0, request: None, core: 0, key_id: 0, key: ByteBuf::from(UFRAG_KEY) },
            Command::SetMediaLink { id: 0, request: None, core: 0, shard: 0, key: ByteBuf::from(LINK_KEY) },
        ],
    );
    let mut core = start(1, None);
    let key = ByteBuf::from(LINK_KEY);
    submit(
        &mut core,
        &[
            Command::OpenMediaLink {
                id: LINK,
                request: None,
                edge: link,
                bind_ip: "127.0.0.1",
                key,
                path_bytes_per_second: 0,
            },
            Command::SetEdgeAddresses { id: LINK, request: None, addresses: vec![public.clone()] },
        ],
    );
    wait(&core, "media_link_up");
    submit(&mut core, &[Command::OpenIceTransport { id: TRANSPORT, request: None, restart_grace_ms: 0 }]);
    let local = wait(&core, "ice_transport_opened");
    assert_eq!(local.addresses, std::slice::from_ref(&public));
    let (ours, password) = ("ours", "a password of some length");
    let fingerprints = vec![Fingerprint { algorithm: "sha-256", value: ByteBuf::from([0; 32]) }];
    submit(
        &mut core,
        &[Command::SetIceRemote {
            id: TRANSPORT,
            request: None,
            ufrag: ours.to_owned(),
            pwd: password.to_owned(),
            fingerprints,
            dtls_role: "client",
            reduced_size: true,
        }],
    );

    let visitor = UdpSocket::bind("127.0.0.1:0").unwrap();
    visitor.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (to, here) = (socket_address(&public), visitor.local_addr().unwrap());
    visitor.send_to(&request(&format!("{}:{ours}", local.ufrag), &integrity(&local.pwd)), to).unwrap();
    let (mut is_answered, mut buffer) = (false, [0; 2048]);
    loop {
        let (len, from) = visitor.recv_from(&mut buffer).expect("a datagram within 10 s");
        assert_eq!(from, to, "nobody but the Edge speaks to a visitor");
        match classify(&buffer[..len]) {
            Kind::Stun => {
                let message = Message::parse(&buffer[..len]).unwrap();
                if message.class() == Class::Success {
                    is_answered = true;
                } else {
                    visitor.send_to(&success(message.transaction(), here, &integrity(password)), to).unwrap();
                }
            }
            // The Core begins DTLS on a path that has answered its challenge, and on no other.
            Kind::Dtls => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(is_answered);
    wait_for_counter(&edge, "edge_paths", 1);
    wait_for_counter(&core, "link_paths", 1);
    submit(&mut core, &[Command::CloseTransport { id: TRANSPORT, request: None, reason: "commanded" }]);
    wait_for_counter(&edge, "edge_paths", 0);
    wait_for_counter(&core, "link_paths", 0);
    wait_for_equal_traffic(&edge, &core);
    let dropped: u64 =
        edge.counters().iter().filter(|(name, _)| name.starts_with("drop.edge_")).map(|(_, value)| value).sum();
    assert_eq!((dropped, edge.counters()["panics"], core.counters()["panics"]), (0, 0, 0));
    core.stop(Duration::from_secs(2)).unwrap();
    edge.stop(Duration::from_secs(2)).unwrap();
}
