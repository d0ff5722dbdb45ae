//! A peer of the endpoint: ICE, DTLS and SRTP by a transport of ours that plays the other end, and what it says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key};
use mediaserver_proto::codec::{Feedback, Payload};
use mediaserver_proto::dtls::{Fingerprint, HashAlgorithm, Identity, Role};
use mediaserver_proto::endpoint::{Endpoint, Entropy, RtpSockets, Shard};
use mediaserver_proto::ice::{LocalCredentials, RemoteCredentials};
use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::rtp::ExtensionKind;
use mediaserver_proto::srtp::{MasterKey, SrtpKeys, Suite};
use mediaserver_proto::stun::{Class, TransactionId, Writer, method};
use mediaserver_proto::time::Time;
use mediaserver_proto::transport::{
    IceTransport, IceTransportConfig, Received, RemoteParameters, RtpRemote, RtpTransport, RtpTransportConfig,
    SendError,
};

use crate::publisher::Publisher;
use crate::receiver::Receiver;

/// Header extensions by their ids, for everybody.
pub(crate) const EXTENSIONS: [(u8, ExtensionKind); 7] = [
    (MID, ExtensionKind::Mid),
    (RID, ExtensionKind::Rid),
    (REPAIRED_RID, ExtensionKind::RepairedRid),
    (ABS_SEND_TIME, ExtensionKind::AbsSendTime),
    (TRANSPORT_SEQUENCE, ExtensionKind::TransportSequence),
    (AUDIO_LEVEL, ExtensionKind::AudioLevel),
    (DEPENDENCY, ExtensionKind::DependencyDescriptor),
];
pub(crate) const MID: u8 = 1;
pub(crate) const RID: u8 = 2;
pub(crate) const REPAIRED_RID: u8 = 3;
pub(crate) const ABS_SEND_TIME: u8 = 4;
pub(crate) const TRANSPORT_SEQUENCE: u8 = 5;
pub(crate) const AUDIO_LEVEL: u8 = 6;
pub(crate) const DEPENDENCY: u8 = 7;
/// Payload types, for everybody.
pub(crate) const PICTURE: u8 = 96;
pub(crate) const RTX: u8 = 97;
pub(crate) const OPUS: u8 = 111;

/// The payload types of a picture in a codec by its name.
pub(crate) fn video(codec: &str) -> Vec<Payload> {
    let feedback = Feedback::from_values(["nack", "nack pli", "ccm fir", "transport-cc"]);
    let rtx = Payload { parameters: vec![("apt".into(), PICTURE.to_string())], ..payload(RTX, "rtx", 90_000) };
    vec![Payload { feedback, ..payload(PICTURE, codec, 90_000) }, rtx]
}

/// The payload types of sound.
pub(crate) fn audio() -> Vec<Payload> {
    let feedback = Feedback::from_values(["transport-cc"]);
    vec![Payload { channels: 2, feedback, ..payload(OPUS, "opus", 48_000) }]
}

fn payload(payload_type: u8, name: &str, clock_rate: u32) -> Payload {
    let (name, parameters, feedback) = (name.to_owned(), Vec::new(), Feedback::default());
    Payload { payload_type, name, clock_rate, channels: 1, parameters, feedback }
}

/// What a peer does once it is connected.
pub(crate) enum Part {
    Publishes(Publisher),
    Receives(Receiver),
}

/// The transport of a peer.
enum End {
    Browser(Box<IceTransport>),
    Phone(Box<RtpTransport>),
}

impl End {
    fn handle(&mut self, path: Path, datagram: &mut [u8], now: Time, out: &mut TransmitQueue) -> Received {
        match self {
            End::Browser(transport) => transport.handle_datagram(path, datagram, now, out),
            End::Phone(transport) => transport.handle_datagram(path, datagram, now, out),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            End::Browser(transport) => transport.suite().is_some(),
            End::Phone(transport) => transport.suite().is_some(),
        }
    }

    /// Does what is due, and forgets its events.
    fn act(&mut self, now: Time, out: &mut TransmitQueue) {
        if let End::Browser(transport) = self {
            if transport.poll_timeout().is_some_and(|due| due <= now) {
                transport.handle_timeout(now, out);
            }
            while transport.poll_event().is_some() {}
        }
    }

    fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        match self {
            End::Browser(transport) => transport.protect_rtp(header, payload, out),
            End::Phone(transport) => transport.protect_rtp(header, payload, out),
        }
    }

    fn protect_rtcp(&mut self, compound: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        match self {
            End::Browser(transport) => transport.protect_rtcp(compound, out),
            End::Phone(transport) => transport.protect_rtcp(compound, out),
        }
    }
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The socket of the shard at which its datagrams come in.
    pub(crate) socket: SocketId,
    /// The shard at whose socket its datagrams come in.
    pub(crate) arrives_at: usize,
    pub(crate) part: Part,
    end: End,
    server: SocketAddr,
    /// What it sends; emptied by whoever carries it.
    pub(crate) out: TransmitQueue<'static>,
}

impl Peer {
    /// Opens a WebRTC transport at the endpoint and makes its other end, which begins with a check.
    pub(crate) fn browser(
        endpoint: &mut Endpoint,
        id: u64,
        number: u8,
        arrives_at: Shard,
        part: Part,
        identity: &Identity,
        now: Time,
    ) -> Peer {
        let entropy = Entropy { password: [number; _], seed: [number; 32], cname: [number; 12], rtcp_ssrc: 7 };
        let server = endpoint.open_ice_transport(id, Duration::from_secs(1), entropy, now).unwrap();
        endpoint.set_extensions(id, EXTENSIONS.map(|(id, kind)| (id, kind.uri()))).unwrap();
        let credentials = LocalCredentials::new(format!("peer{number}"), &[number; 18]);
        let fingerprints: Vec<Fingerprint> = vec![identity.fingerprint(HashAlgorithm::Sha256)];
        let remote = |credentials, role| RemoteParameters { credentials, fingerprints: fingerprints.clone(), role };
        let (ours, theirs) = (
            RemoteCredentials::new(server.ufrag(), server.password()),
            RemoteCredentials::new(credentials.ufrag(), credentials.password()),
        );
        let mut out = TransmitQueue::default();
        endpoint.set_ice_remote(id, remote(theirs, Role::Server), now, &mut out).unwrap();
        let config = IceTransportConfig { credentials, seed: [number; 32], identity: identity.clone() };
        let mut transport = IceTransport::new(config);
        transport.set_remote(remote(ours, Role::Client), now, &mut out);
        let mut check = Vec::new();
        Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([number; 12]))
            .username(format!("{}:peer{number}", server.ufrag()).as_bytes())
            .priority(1)
            .integrity(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, server.password().as_bytes()))
            .fingerprint();
        let address = ([198, 51, 100, number], 5000).into();
        let server = ([192, 0, 2, 1], 10_000).into();
        out.clear();
        out.push(Path { socket: SocketId(0), remote: server }, &check);
        let end = End::Browser(Box::new(transport));
        Peer { address, socket: SocketId(0), arrives_at: usize::from(arrives_at), part, end, server, out }
    }

    /// Opens a transport with sockets of its own and SDES keys at the endpoint, and makes its other end.
    pub(crate) fn phone(endpoint: &mut Endpoint, id: u64, number: u8, suite: Suite, part: Part, now: Time) -> Peer {
        let entropy = Entropy { password: [number; _], seed: [number; 32], cname: [number; 12], rtcp_ssrc: 7 };
        let socket = SocketId(100 + u32::from(number));
        // With rtcp-mux the second socket stays silent.
        let sockets = RtpSockets { rtp: socket, rtcp: SocketId(10_000 + u32::from(number)) };
        endpoint.open_rtp_transport(id, sockets, entropy, Duration::ZERO, Duration::from_secs(20)).unwrap();
        endpoint.set_extensions(id, EXTENSIONS.map(|(id, kind)| (id, kind.uri()))).unwrap();
        let key =
            |fill: u8| MasterKey::from_key_and_salt(suite, &vec![fill; suite.key_len() + suite.salt_len()]).unwrap();
        let (ours, theirs) = (key(number), key(number + 100));
        let address: SocketAddr = ([198, 51, 100, number], 5000).into();
        let server: SocketAddr = ([192, 0, 2, 1], 10_000).into();
        let remote = |rtp, local: &MasterKey, remote: &MasterKey| RtpRemote {
            rtp: Some(rtp),
            rtcp: None,
            rtcp_mux: true,
            dtls: None,
            srtp: Some(SrtpKeys { local: local.clone(), remote: remote.clone() }),
        };
        let mut out = TransmitQueue::default();
        endpoint.set_rtp_remote(id, remote(address, &ours, &theirs), now, &mut out).unwrap();
        let mut transport = RtpTransport::new(RtpTransportConfig {
            rtp_socket: SocketId(0),
            rtcp_socket: None,
            latching: Duration::ZERO,
            timeout: Duration::ZERO,
            identity: None,
        });
        transport.set_remote(remote(server, &theirs, &ours), now);
        let arrives_at = (id >> 48) as usize;
        Peer { address, socket, arrives_at, part, end: End::Phone(Box::new(transport)), server, out }
    }

    /// A certificate for all peers and shards.
    pub(crate) fn identity() -> Identity {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        Identity::new(certificate.certificate, certificate.private_key, Instant::now()).unwrap()
    }

    /// What the server sent.
    pub(crate) fn handle(&mut self, mut datagram: Vec<u8>, now: Time) {
        let path = Path { socket: SocketId(0), remote: self.server };
        match self.end.handle(path, &mut datagram, now, &mut self.out) {
            Received::Rtp { len, .. } => match &mut self.part {
                Part::Receives(receiver) => receiver.handle_rtp(&datagram[..len], now),
                Part::Publishes(_) => panic!("a publisher receives nothing"),
            },
            Received::Rtcp { len } => match &mut self.part {
                Part::Receives(receiver) => receiver.handle_rtcp(&datagram[..len], now),
                Part::Publishes(publisher) => publisher.handle_rtcp(&datagram[..len]),
            },
            Received::Consumed | Received::Dropped(_) => {}
        }
    }

    /// Lets it do what is due.
    pub(crate) fn act(&mut self, now: Time) {
        let (end, out) = (&mut self.end, &mut self.out);
        end.act(now, out);
        if !end.is_ready() {
            return;
        }
        match &mut self.part {
            Part::Publishes(publisher) => {
                publisher.act(now, |header, payload| end.protect_rtp(header, payload, out).unwrap());
                if let Some(report) = publisher.report(now) {
                    end.protect_rtcp(report, out).unwrap();
                }
            }
            Part::Receives(receiver) => receiver.act(now, |compound| end.protect_rtcp(compound, out).unwrap()),
        }
    }
}
