//! What the engine is started with, as it crosses the boundary.
//!
//! The same nouns as in `mediaserver/engine/config.py`, which says what they mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Bounds of the engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Transports per shard.
    pub transports: usize,
    /// Up and down tracks of a transport together.
    pub tracks_per_transport: usize,
    /// SSRCs per transport that belong to no track and are still remembered.
    pub unknown_ssrcs: usize,
    /// WebRTC transports per shard that have not finished DTLS.
    pub half_open: usize,
    /// Payload bytes of all loaded clips together.
    pub clip_bytes: usize,
    /// Directions of sound that are decoded and encoded at one time, on all audio threads together.
    pub transcodes: usize,
    /// Legs that hear others mixed at one time, on all audio threads together.
    pub mixed_legs: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            transports: 10_000,
            tracks_per_transport: 64,
            unknown_ssrcs: 16,
            half_open: 1_000,
            clip_bytes: 64 << 20,
            transcodes: 100,
            mixed_legs: 100,
        }
    }
}

fn default_receive_buffer() -> usize {
    8 << 20
}

fn default_audio_threads() -> usize {
    1
}

fn default_true() -> bool {
    true
}

fn default_webrtc_ports() -> u16 {
    1
}

fn default_ports() -> (u16, u16) {
    (20_000, 29_999)
}

/// Marks by what packets carry (RFC 2474 §3), from 0 to 63; other traffic has that of video.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Dscp {
    /// Sound.
    pub audio: u8,
    /// Cameras, and all that is not media.
    pub video: u8,
    /// Shared screens.
    pub screen: u8,
}

fn default_paths() -> usize {
    65_536
}

fn default_unproven_per_prefix() -> u16 {
    64
}

fn default_edge_workers() -> usize {
    1
}

/// The engine of an Edge: threads that carry visitors' datagrams to Cores, and hold no key of theirs.
#[derive(Clone, Debug, Deserialize)]
pub struct EdgeConfig {
    /// Threads; their ids follow those of the audio threads.
    #[serde(default = "default_edge_workers")]
    pub workers: usize,
    /// `ip:port` of the public sockets, the same for all workers.
    pub public_binds: Vec<String>,
    /// `ip:port` of the socket towards Cores, never a public one; each further worker takes the next port.
    pub link_bind: String,
    /// `ip:port` of the sockets for SIP over TLS, all of which passes through.
    #[serde(default)]
    pub sip_tls_binds: Vec<String>,
    /// Local addresses on which ports for media of phones and trunks may be opened.
    #[serde(default)]
    pub media_binds: Vec<String>,
    /// First and last of those ports.
    #[serde(default = "default_ports")]
    pub media_ports: (u16, u16),
    /// Paths of one worker.
    #[serde(default = "default_paths")]
    pub paths: usize,
    /// Paths of one worker from one network that have not answered a challenge.
    #[serde(default = "default_unproven_per_prefix")]
    pub unproven_per_prefix: u16,
}

/// Bounds of TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectionLimits {
    /// All together.
    pub connections: usize,
    /// Of one network (/24 of IPv4, /56 of IPv6) before they have proven anything.
    pub waiting_per_prefix: usize,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits { connections: 8_192, waiting_per_prefix: 64 }
    }
}

/// A TLS port that several share.
#[derive(Clone, Debug, Deserialize)]
pub struct SharedTls {
    /// `ip:port` of the sockets.
    pub binds: Vec<String>,
    /// Names whose connections are given to the control plane.
    pub names: Vec<String>,
    /// What all others see: an X.509 certificate and its intermediates.
    pub certificate_chain: Vec<ByteBuf>,
    /// Its private key, PKCS #8.
    pub private_key_der: ByteBuf,
    /// With it TLS of the pages ends here, and the control plane is given what is inside.
    #[serde(default)]
    pub page_certificate: Option<PageCertificate>,
    /// Networks (`ip/bits`) of proxies, whose connections begin with a PROXY header.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// `ip:port` of these sockets as browsers see them, where they take media over TCP too (RFC 6544); mostly empty, then
    /// they take none.
    #[serde(default)]
    pub ice: Vec<String>,
}

/// What pages are shown under.
#[derive(Clone, Debug, Deserialize)]
pub struct PageCertificate {
    /// Names whose TLS ends here.
    pub names: Vec<String>,
    /// An X.509 certificate and its intermediates.
    pub chain: Vec<ByteBuf>,
    /// Its private key, PKCS #8.
    pub private_key_der: ByteBuf,
}

/// What a relay is that leads out into the world.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenRelay {
    /// Local address and the address that peers see, one pair for each family that is relayed.
    pub addresses: Vec<(String, String)>,
    /// First and last relayed UDP port.
    pub ports: (u16, u16),
    /// Networks (`ip/bits`) that users may reach although they are inner ones.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// Networks that they may not reach beside those that are denied anyway.
    #[serde(default)]
    pub denied: Vec<String>,
}

/// The TURN server.
#[derive(Clone, Deserialize)]
pub struct TurnConfig {
    /// `ip:port` of the sockets that clients send to.
    pub binds: Vec<String>,
    /// `ip:port` of those that clients connect to by TCP.
    #[serde(default)]
    pub tcp_binds: Vec<String>,
    /// Realm of its users.
    pub realm: String,
    /// Make the passwords of time-limited names; the first two count.
    #[serde(default)]
    pub secrets: Vec<ByteBuf>,
    /// Other users: name and password.
    #[serde(default)]
    pub users: Vec<(String, String)>,
    /// Allocations and reserved ports at one time.
    pub allocations: usize,
    /// The same of one user.
    pub allocations_per_user: u32,
    /// Answers a second to one source prefix that has proven nothing.
    pub answers_per_second: u32,
    /// Without it data goes to this process's own media addresses and nowhere else.
    #[serde(default)]
    pub open: Option<OpenRelay>,
}

impl std::fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnConfig").field("binds", &self.binds).field("open", &self.open).finish_non_exhaustive()
    }
}

/// Everything that the engine must know before its threads start.
#[derive(Clone, Debug, Deserialize)]
pub struct EngineConfig {
    /// Threads that move packets.
    pub shards: usize,
    /// Threads that decode and encode sound; without one nothing is transcoded.
    #[serde(default = "default_audio_threads")]
    pub audio_threads: usize,
    /// Bind shard n to CPU n.
    #[serde(default)]
    pub pin: bool,
    /// Shards run before everything else on their CPU, where the system allows it.
    #[serde(default)]
    pub real_time: bool,
    /// `ip:port` of the shared WebRTC sockets.
    #[serde(default)]
    pub webrtc_binds: Vec<String>,
    /// Ports from that of each bind on, which the shards take in turn.
    #[serde(default = "default_webrtc_ports")]
    pub webrtc_ports: u16,
    /// `ip:port` on which browsers' media is taken over TCP.
    #[serde(default)]
    pub webrtc_tcp_binds: Vec<String>,
    /// A TLS port for pages and others.
    #[serde(default)]
    pub shared_tls: Option<SharedTls>,
    /// Bind address to the address that peers see.
    #[serde(default)]
    pub announced: BTreeMap<String, String>,
    /// Local addresses on which RTP transports may be opened.
    #[serde(default)]
    pub sip_binds: Vec<String>,
    /// First and last UDP port given to RTP transports.
    #[serde(default = "default_ports")]
    pub sip_ports: (u16, u16),
    /// X.509 certificate for DTLS; without shards none is needed.
    #[serde(default)]
    pub certificate_der: ByteBuf,
    /// Its private key, PKCS #8.
    #[serde(default)]
    pub private_key_der: ByteBuf,
    /// 32 bytes that sign structured ICE user fragments.
    #[serde(default)]
    pub ufrag_key: ByteBuf,
    /// What this engine is for other machines' Cores.
    #[serde(default)]
    pub edge: Option<EdgeConfig>,
    /// This core among several.
    #[serde(default)]
    pub core_id: u32,
    /// Names `ufrag_key` among several.
    #[serde(default)]
    pub key_id: u32,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Send runs of equal datagrams as one message.
    #[serde(default = "default_true")]
    pub gso: bool,
    /// SO_RCVBUF asked for on the shared port.
    #[serde(default = "default_receive_buffer")]
    pub receive_buffer_bytes: usize,
    /// Marks of outgoing packets.
    #[serde(default)]
    pub dscp: Dscp,
    /// The TURN server; without it there is none.
    #[serde(default)]
    pub turn: Option<TurnConfig>,
    /// Bounds of TCP connections of visitors.
    #[serde(default)]
    pub connections: ConnectionLimits,
    /// Shards may send by Edges, also over TLS. An Edge's workers always take what comes so.
    #[serde(default)]
    pub media_over_tls: bool,
}

/// Reads the configuration.
pub fn read_config(bytes: &[u8]) -> Result<EngineConfig, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
