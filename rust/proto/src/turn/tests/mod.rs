//! The server as its clients and peers see it, on virtual time.

mod attacks;
mod closed;
mod credentials;
mod floods;
mod hostile_bytes;
mod relaying;
mod requests;

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};

use super::*;
use crate::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use crate::stun::{Class, Message, TransactionId, Writer, attribute, method};
use crate::time::Time;

const REALM: &str = "example.org";
const SECRET: &[u8] = b"a secret of the house";
const LISTENER: SocketId = SocketId(7);
/// 2027-01-15, the time of day at `Time::ZERO`.
const UNIX_S: u64 = 1_800_000_000;
const PEER: &str = "203.0.113.9:4000";

type Sent = Vec<(Path, Vec<u8>)>;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(writer: Writer<'_>) -> Writer<'_> {
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

/// A server, its ports and its clock.
struct World {
    server: Server,
    ports: PseudoPorts,
    now: Time,
    inward: Sent,
}

impl World {
    fn new(peers: Peers, limits: Limits) -> World {
        let server = Server::new(ServerConfig {
            realm: REALM.to_owned(),
            secrets: vec![SECRET.to_vec()],
            users: vec![("ann".to_owned(), "correct horse".to_owned())],
            peers,
            limits,
            unix_epoch: Duration::from_secs(UNIX_S),
            seed: [5; 32],
        });
        let ips = ["198.51.100.1".parse().unwrap(), "2001:db8:f::1".parse().unwrap()];
        World { server, ports: PseudoPorts::new(&ips, 50_000, 50_999, 1), now: Time::ZERO, inward: Vec::new() }
    }

    fn open() -> World {
        // 2001:db8::/32 and its like are not denied: what documents use is routed nowhere.
        World::new(Peers::Open(PeerPolicy::default()), LIMITS)
    }

    fn closed() -> World {
        let peer = |text, number| InnerPeer { address: address(text), socket: SocketId::carried(3, number) };
        World::new(Peers::Closed(vec![peer("198.51.100.1:3478", 0), peer("[2001:db8:f::1]:3478", 1)]), LIMITS)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.server.handle_timeout(&mut self.ports, self.now);
    }

    /// What leaves after a call.
    fn run(&mut self, call: impl FnOnce(&mut Server, &mut PseudoPorts, Time, &mut Outputs<'_, '_>)) -> Sent {
        let (mut transmit, mut inward) = (TransmitQueue::default(), ReceiveBatch::default());
        let mut out = Outputs { transmit: &mut transmit, inward: &mut inward };
        call(&mut self.server, &mut self.ports, self.now, &mut out);
        let taken = inward.entries().iter().map(|entry| (entry.path, inward.datagram(entry).to_vec()));
        self.inward.extend(taken);
        transmit.entries().iter().map(|entry| (entry.path, transmit.datagram(entry).to_vec())).collect()
    }

    fn send(&mut self, path: Path, datagram: &[u8]) -> Sent {
        self.run(|server, ports, now, out| server.handle_datagram(path, datagram, ports, now, out))
    }

    fn peer_sends(&mut self, relayed: SocketAddr, peer: &str, data: &[u8]) -> Sent {
        let peer = address(peer);
        self.run(|server, _, now, out| server.handle_relayed(PseudoPorts::socket(relayed), peer, data, now, out))
    }

    fn count(&self, reason: TurnDrop) -> u64 {
        self.server.drops().get(reason)
    }
}

const LIMITS: Limits = Limits { allocations: 100, allocations_per_user: 10, answers_per_second: 1_000_000 };

/// A client of the server with its credentials.
#[derive(Clone)]
struct Client {
    path: Path,
    username: String,
    password: String,
    nonce: Vec<u8>,
    /// PASSWORD-ALGORITHM SHA-256 instead of MD5.
    sha256_password: bool,
    sha256_integrity: bool,
    userhash: bool,
    transaction: u64,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Success,
    Error(u16),
    Silence,
}

impl Client {
    fn named(source: &str) -> Client {
        Client::new(source, "ann", "correct horse")
    }

    fn time_limited(source: &str, expires_s: u64, session: &str) -> Client {
        let username = format!("{expires_s}:{session}");
        Client::new(source, &username, &time_limited_password(SECRET, &username))
    }

    fn new(source: &str, username: &str, password: &str) -> Client {
        Client {
            path: Path { socket: LISTENER, remote: address(source) },
            username: username.to_owned(),
            password: password.to_owned(),
            nonce: Vec::new(),
            sha256_password: false,
            sha256_integrity: false,
            userhash: false,
            transaction: 0,
        }
    }

    fn transaction(&self) -> TransactionId {
        let mut id = [0xC1; 12];
        id[..8].copy_from_slice(&self.transaction.to_be_bytes());
        TransactionId(id)
    }

    fn key(&self) -> Vec<u8> {
        let text = format!("{}:{REALM}:{}", self.username, self.password);
        if self.sha256_password {
            digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
        } else {
            md5::Digest::finalize(<md5::Md5 as md5::Digest>::new_with_prefix(text)).to_vec()
        }
    }

    fn hmac_key(&self) -> hmac::Key {
        let sha1 = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        hmac::Key::new(if self.sha256_integrity { hmac::HMAC_SHA256 } else { sha1 }, &self.key())
    }

    /// A signed request.
    fn write(&self, method: u16, fill: impl FnOnce(Writer<'_>) -> Writer<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = fill(Writer::new(&mut bytes, Class::Request, method, self.transaction()));
        if self.userhash {
            let text = format!("{}:{REALM}", self.username);
            let hash = digest::digest(&digest::SHA256, text.as_bytes());
            writer = writer.attribute(attribute::USERHASH, hash.as_ref());
        } else {
            writer = writer.username(self.username.as_bytes());
        }
        writer = writer.attribute(attribute::REALM, REALM.as_bytes()).attribute(attribute::NONCE, &self.nonce);
        if self.sha256_password {
            writer = writer
                .attribute(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
        }
        if self.sha256_integrity {
            writer.integrity_sha256(&self.hmac_key()).finish();
        } else {
            writer.integrity(&self.hmac_key()).finish();
        }
        bytes
    }

    /// A request without credentials; takes the nonce of its answer.
    fn challenge(&mut self, world: &mut World) -> Vec<u8> {
        let mut bytes = Vec::new();
        udp(Writer::new(&mut bytes, Class::Request, method::ALLOCATE, self.transaction())).finish();
        let sent = world.send(self.path, &bytes);
        let answer = sent.first().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        if let Ok(message) = Message::parse(&answer) {
            self.nonce = message.attribute(attribute::NONCE).unwrap_or_default().to_vec();
        }
        answer
    }

    /// Sends a request and gives the answer's bytes; checks that a signed one is rightly signed.
    fn ask(
        &mut self,
        world: &mut World,
        method: u16,
        fill: impl FnOnce(Writer<'_>) -> Writer<'_>,
    ) -> (Answer, Vec<u8>) {
        if self.nonce.is_empty() {
            self.challenge(world);
        }
        self.transaction += 1;
        let request = self.write(method, fill);
        self.exchange(world, &request)
    }

    fn exchange(&self, world: &mut World, request: &[u8]) -> (Answer, Vec<u8>) {
        let sent = world.send(self.path, request);
        let Some((path, bytes)) = sent.first() else { return (Answer::Silence, Vec::new()) };
        assert_eq!((*path, sent.len()), (self.path, 1));
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.transaction(), Message::parse(request).unwrap().transaction());
        let signed = message.has_integrity() || message.has_integrity_sha256();
        let rightly = message.verify_integrity(&self.hmac_key()) || message.verify_integrity_sha256(&self.hmac_key());
        let answer = match message.class() {
            Class::Success => Answer::Success,
            _ => Answer::Error(message.error_code().unwrap()),
        };
        assert!(!signed || rightly);
        let by_whom = matches!(answer, Answer::Error(400 | 401 | 438));
        assert!(signed || by_whom, "{answer:?} is told only to whom has proven who he is");
        (answer, bytes.clone())
    }

    fn allocate(&mut self, world: &mut World) -> SocketAddr {
        let (answer, bytes) = self.ask(world, method::ALLOCATE, udp);
        assert_eq!(answer, Answer::Success);
        relayed(&bytes)
    }

    fn permit(&mut self, world: &mut World, peers: &[&str]) -> Answer {
        let addresses: Vec<SocketAddr> = peers.iter().map(|peer| address(peer)).collect();
        let (answer, _) = self.ask(world, method::CREATE_PERMISSION, |mut writer| {
            for peer in addresses {
                writer = writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            }
            writer
        });
        answer
    }

    fn bind(&mut self, world: &mut World, number: u16, peer: &str) -> Answer {
        let [n0, n1] = number.to_be_bytes();
        let peer = address(peer);
        let (answer, _) = self.ask(world, method::CHANNEL_BIND, |writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &[n0, n1, 0, 0]).xor_address(attribute::XOR_PEER_ADDRESS, peer)
        });
        answer
    }

    fn refresh(&mut self, world: &mut World, lifetime_s: u32) -> (Answer, Option<u32>) {
        let (answer, bytes) =
            self.ask(world, method::REFRESH, |writer| writer.attribute(attribute::LIFETIME, &lifetime_s.to_be_bytes()));
        (answer, lifetime(&bytes))
    }
}

fn relayed(bytes: &[u8]) -> SocketAddr {
    Message::parse(bytes).unwrap().xor_address(attribute::XOR_RELAYED_ADDRESS).unwrap()
}

fn lifetime(bytes: &[u8]) -> Option<u32> {
    let value = Message::parse(bytes).ok()?.attribute(attribute::LIFETIME)?;
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn send_indication(peer: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Indication, method::SEND, TransactionId([9; 12]))
        .xor_address(attribute::XOR_PEER_ADDRESS, address(peer))
        .attribute(attribute::DATA, data)
        .finish();
    bytes
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}
