//! Commands from the control plane, as they cross the boundary: msgpack maps tagged by `type`.
//!
//! The same nouns as in `mediaserver/engine/commands.py`, which says what they mean.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::config::{ConnectionLimits, SharedTls};
use crate::link::command::{CarryStream, DialLink, ListenLink};

/// Bits of an id below the shard index.
pub const SHARD_SHIFT: u32 = 48;

/// The shard that owns the object `id`.
pub fn shard_of(id: u64) -> usize {
    (id >> SHARD_SHIFT) as usize
}

/// One payload type of a media section.
#[derive(Clone, Debug, Deserialize)]
pub struct Payload {
    /// Payload type.
    pub pt: u8,
    /// Codec name, compared without case.
    pub codec: String,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Format parameters.
    pub fmtp: BTreeMap<String, String>,
    /// RTCP feedback.
    pub feedback: Vec<String>,
}

/// One RTP header extension mapping.
#[derive(Clone, Debug, Deserialize)]
pub struct Extension {
    /// Local identifier.
    pub id: u8,
    /// What it is.
    pub uri: String,
}

/// Hash of the certificate that the peer must show.
#[derive(Clone, Debug, Deserialize)]
pub struct Fingerprint {
    /// `sha-256`, `sha-384` or `sha-512`.
    pub algorithm: String,
    /// The digest.
    pub value: ByteBuf,
}

/// Our DTLS role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsRole {
    /// The peer begins.
    Server,
    /// We begin.
    Client,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// Payload types of one direction of real-time text.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct TextFormat {
    /// `t140/1000`.
    pub t140: u8,
    /// `red/1000` of it.
    pub red: Option<u8>,
}

/// SDES keys.
#[derive(Clone, Debug, Deserialize)]
pub struct SrtpKeys {
    /// Suite that we send with.
    pub local_suite: String,
    /// Master key and salt that we send with.
    pub local_key: ByteBuf,
    /// Suite that the peer sends with.
    pub remote_suite: String,
    /// Master key and salt that the peer sends with.
    pub remote_key: ByteBuf,
}

/// What the descriptions of a SIP leg say about DTLS.
#[derive(Clone, Debug, Deserialize)]
pub struct DtlsTerms {
    /// Names the association; the same one goes on.
    pub association: u32,
    /// Our role.
    pub role: DtlsRole,
    /// Hashes of the peer's certificate.
    pub fingerprints: Vec<Fingerprint>,
}

/// One RTP payload of a clip.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipPacket {
    /// Clock units since the start of the clip.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Whether a keyframe begins here.
    pub keyframe: bool,
    /// The payload.
    pub payload: ByteBuf,
}

/// One encoding of a clip.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipTrack {
    /// Codec name.
    pub codec: String,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Format parameters.
    pub fmtp: BTreeMap<String, String>,
    /// In sending order.
    pub packets: Vec<ClipPacket>,
    /// Length of the track.
    pub duration_ms: u32,
}

/// The most that a receiver shall get.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Target {
    pub max_width: Option<u16>,
    pub max_height: Option<u16>,
    pub max_macroblocks: Option<u32>,
    pub max_spatial: Option<u8>,
    pub max_temporal: Option<u8>,
    pub max_bitrate_bps: Option<u32>,
    pub strict: bool,
    pub priority: u8,
    pub paused: bool,
    #[serde(default)]
    pub is_screen: bool,
}

fn yes() -> bool {
    true
}

/// Whose sound goes into a mix.
#[derive(Clone, Debug, Deserialize)]
pub struct MixVoice {
    /// The up track, on any shard.
    pub source: u64,
    /// Codec name, until something else comes.
    pub codec: String,
    /// Whether what is decoded says how loudly it speaks.
    #[serde(default = "yes")]
    pub judged: bool,
}

/// Who hears a mix.
#[derive(Clone, Debug, Deserialize)]
pub struct MixListener {
    /// Id of the up track that is made, on the mix's audio thread.
    pub id: u64,
    /// Codec name.
    pub codec: String,
    /// Sources that are not heard.
    pub without: Vec<u64>,
}

/// `ip`, port.
pub type Address = (IpAddr, u16);

/// A pair of ports that an Edge has opened for a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct EdgePorts {
    /// The link to the thread of the Edge that has them.
    pub link: u64,
    /// As peers see them.
    pub ip: IpAddr,
    /// RTP.
    pub rtp_port: u16,
    /// RTCP.
    pub rtcp_port: u16,
}

/// What the control plane may ask for.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Action {
    OpenIceTransport {
        restart_grace_ms: u32,
    },
    SetIceRemote {
        ufrag: String,
        pwd: String,
        fingerprints: Vec<Fingerprint>,
        dtls_role: DtlsRole,
        /// RFC 5506.
        reduced_size: bool,
    },
    RestartIce,
    OpenRtpTransport {
        bind_ip: IpAddr,
        rtcp_mux: bool,
        latching_ms: u32,
        timeout_ms: u32,
        /// In place of ports of our own.
        #[serde(default)]
        edge: Option<EdgePorts>,
    },
    SetRtpRemote {
        rtp: Option<Address>,
        rtcp: Option<Address>,
        rtcp_mux: bool,
        srtp: Option<SrtpKeys>,
        #[serde(default)]
        dtls: Option<DtlsTerms>,
    },
    SetExtensions {
        extensions: Vec<Extension>,
    },
    SetLimits {
        send_bps: Option<u64>,
        receive_bps: Option<u64>,
    },
    CloseTransport {
        reason: String,
    },
    AddUpTrack {
        transport: u64,
        kind: Kind,
        mid: Option<String>,
        payloads: Vec<Payload>,
        ssrcs: Vec<u32>,
        #[serde(default)]
        rtx_ssrcs: BTreeMap<u32, u32>,
        #[serde(default)]
        rids: Vec<String>,
        closed_gates: Vec<String>,
    },
    UpdateUpTrack {
        payloads: Vec<Payload>,
        ssrcs: Vec<u32>,
        #[serde(default)]
        rtx_ssrcs: BTreeMap<u32, u32>,
        #[serde(default)]
        rids: Vec<String>,
    },
    SetGate {
        gate: String,
        open: bool,
    },
    WatchSpeech {
        on: bool,
    },
    RequestKeyframe,
    RemoveUpTrack,
    AddDownTrack {
        transport: u64,
        kind: Kind,
        mid: Option<String>,
        ssrc: u32,
        #[serde(default)]
        rtx_ssrc: Option<u32>,
        cname: String,
        payloads: Vec<Payload>,
    },
    UpdateDownTrack {
        payloads: Vec<Payload>,
        active: bool,
    },
    SetDownTrackTarget(Target),
    RemoveDownTrack,
    Subscribe {
        up: u64,
    },
    Unsubscribe,
    LoadClip {
        tracks: Vec<ClipTrack>,
    },
    UnloadClip,
    Play {
        ids: Vec<u64>,
        clip: u64,
        #[serde(rename = "loop")]
        repeat: bool,
    },
    StopPlaying {
        ids: Vec<u64>,
    },
    SendDtmf {
        digits: String,
        duration_ms: u32,
        gap_ms: u32,
    },
    /// On an audio thread: the up track `source` as another one, in another codec.
    OpenTranscoder {
        source: u64,
        source_codec: String,
        codec: String,
    },
    CloseTranscoder,
    /// On an audio thread: makes a mix, or makes it another one.
    SetMix {
        voices: Vec<MixVoice>,
        listeners: Vec<MixListener>,
    },
    CloseMix,
    ReadStats {
        ids: Vec<u64>,
    },
    /// Does nothing on whatever thread; that it is answered says that the thread takes turns.
    Ping,
    AcceptData {
        local_port: u16,
        remote_port: u16,
        remote_message_bytes: usize,
        messages_per_second: u32,
        bytes_per_second: u32,
    },
    OpenChannel {
        label: String,
        protocol: String,
        ordered: bool,
        max_retransmits: Option<u32>,
        max_lifetime_ms: Option<u32>,
        negotiated: Option<u16>,
    },
    CloseChannel {
        stream: u16,
    },
    JoinTopic {
        stream: u16,
        topic: u64,
        may_send: bool,
        may_receive: bool,
        report: bool,
        sender: String,
    },
    LeaveTopic {
        stream: u16,
    },
    OpenText {
        ssrc: u32,
        cname: String,
        receive: TextFormat,
        send: Option<TextFormat>,
        characters_per_second: u32,
    },
    /// On a shard: begins a link to an Edge's worker.
    OpenMediaLink {
        edge: Address,
        bind_ip: IpAddr,
        key: ByteBuf,
        path_bytes_per_second: u32,
        /// The link whose TLS connection carries frames where UDP does not pass.
        #[serde(default)]
        tls_link: Option<u64>,
        /// Number of the Edge's worker.
        #[serde(default)]
        worker: u16,
    },
    CloseMediaLink,
    /// On a shard: signs ufrags by another key from now on.
    SetUfragKey {
        key_id: u8,
        key: ByteBuf,
    },
    /// On a shard: the Edge of this link is lost, or shall be left.
    LeaveMediaLink,
    /// On a shard: forgets the paths over this link by which no media goes.
    SweepMediaLink,
    /// On a shard: where visitors reach it over Edges.
    SetEdgeAddresses {
        addresses: Vec<Address>,
        #[serde(default)]
        tcp_addresses: Vec<Address>,
    },
    /// On an Edge's worker: a key by which a Core signs ufrags.
    SetCoreKey {
        core: u16,
        key_id: u8,
        key: ByteBuf,
    },
    RemoveCoreKey {
        core: u16,
        key_id: u8,
    },
    /// On an Edge's worker: a Core's shard may open a link with this key.
    SetMediaLink {
        core: u16,
        shard: u16,
        key: ByteBuf,
    },
    RemoveMediaLink {
        core: u16,
        shard: u16,
    },
    /// On an Edge's worker: these transports have ended.
    RevokeSessions {
        core: u16,
        sessions: Vec<u64>,
    },
    /// On an Edge's worker: a pair of ports for media of this transport of a Core's.
    OpenEdgePorts {
        core: u16,
        transport: u64,
        ip: IpAddr,
        #[serde(default)]
        rtp_port: Option<u16>,
    },
    /// On an Edge's worker: where the peer's media comes from by its description, and how long others may come in its place.
    AimEdgePorts {
        core: u16,
        transport: u64,
        rtp: Option<Address>,
        rtcp: Option<Address>,
        latching_ms: u32,
    },
    SendMessage {
        stream: u16,
        text: bool,
        payload: ByteBuf,
    },
    /// Other secrets for time-limited TURN names.
    SetTurnSecrets {
        secrets: Vec<ByteBuf>,
    },
    /// Other named TURN users, in place of all that there were: name and password.
    SetTurnUsers {
        users: Vec<(String, String)>,
    },
    /// Other bounds of TURN.
    SetTurnLimits {
        allocations: usize,
        allocations_per_user: u32,
        answers_per_second: u32,
    },
    /// On an Edge's worker: other bounds of paths.
    SetPathLimits {
        paths: usize,
        unproven_per_prefix: u16,
    },
    /// Other bounds of TCP connections.
    SetConnectionLimits(ConnectionLimits),
    /// New TURN clients are sent to one of these; nothing ends that.
    DrainTurn {
        alternates: Option<Vec<Address>>,
    },
    /// Other names, certificates and proxies of the shared TLS port; where it listens stays.
    SetSharedTls(Box<SharedTls>),
    /// To everybody in the topic whose id the command has.
    Publish {
        text: bool,
        payload: ByteBuf,
    },
    DialLink(Box<DialLink>),
    ListenLink(Box<ListenLink>),
    CarryStream(Box<CarryStream>),
    CloseLink,
    SetLinkBusy {
        busy: bool,
    },
    SendLinkMessage {
        payload: ByteBuf,
    },
}

impl Action {
    /// The name under which a refusal is reported.
    pub fn name(&self) -> &'static str {
        match self {
            Action::OpenIceTransport { .. } => "open_ice_transport",
            Action::SetIceRemote { .. } => "set_ice_remote",
            Action::RestartIce => "restart_ice",
            Action::OpenRtpTransport { .. } => "open_rtp_transport",
            Action::SetRtpRemote { .. } => "set_rtp_remote",
            Action::SetExtensions { .. } => "set_extensions",
            Action::SetLimits { .. } => "set_limits",
            Action::CloseTransport { .. } => "close_transport",
            Action::AddUpTrack { .. } => "add_up_track",
            Action::UpdateUpTrack { .. } => "update_up_track",
            Action::SetGate { .. } => "set_gate",
            Action::WatchSpeech { .. } => "watch_speech",
            Action::RequestKeyframe => "request_keyframe",
            Action::RemoveUpTrack => "remove_up_track",
            Action::AddDownTrack { .. } => "add_down_track",
            Action::UpdateDownTrack { .. } => "update_down_track",
            Action::SetDownTrackTarget(_) => "set_down_track_target",
            Action::RemoveDownTrack => "remove_down_track",
            Action::Subscribe { .. } => "subscribe",
            Action::Unsubscribe => "unsubscribe",
            Action::LoadClip { .. } => "load_clip",
            Action::UnloadClip => "unload_clip",
            Action::Play { .. } => "play",
            Action::StopPlaying { .. } => "stop_playing",
            Action::SendDtmf { .. } => "send_dtmf",
            Action::OpenTranscoder { .. } => "open_transcoder",
            Action::CloseTranscoder => "close_transcoder",
            Action::SetMix { .. } => "set_mix",
            Action::CloseMix => "close_mix",
            Action::ReadStats { .. } => "read_stats",
            Action::Ping => "ping",
            Action::AcceptData { .. } => "accept_data",
            Action::OpenChannel { .. } => "open_channel",
            Action::CloseChannel { .. } => "close_channel",
            Action::JoinTopic { .. } => "join_topic",
            Action::LeaveTopic { .. } => "leave_topic",
            Action::OpenText { .. } => "open_text",
            Action::OpenMediaLink { .. } => "open_media_link",
            Action::CloseMediaLink => "close_media_link",
            Action::SetUfragKey { .. } => "set_ufrag_key",
            Action::LeaveMediaLink => "leave_media_link",
            Action::SweepMediaLink => "sweep_media_link",
            Action::SetEdgeAddresses { .. } => "set_edge_addresses",
            Action::SetCoreKey { .. } => "set_core_key",
            Action::RemoveCoreKey { .. } => "remove_core_key",
            Action::SetMediaLink { .. } => "set_media_link",
            Action::RemoveMediaLink { .. } => "remove_media_link",
            Action::RevokeSessions { .. } => "revoke_sessions",
            Action::OpenEdgePorts { .. } => "open_edge_ports",
            Action::AimEdgePorts { .. } => "aim_edge_ports",
            Action::SendMessage { .. } => "send_message",
            Action::SetTurnSecrets { .. } => "set_turn_secrets",
            Action::SetTurnUsers { .. } => "set_turn_users",
            Action::SetTurnLimits { .. } => "set_turn_limits",
            Action::SetPathLimits { .. } => "set_path_limits",
            Action::SetConnectionLimits(_) => "set_connection_limits",
            Action::DrainTurn { .. } => "drain_turn",
            Action::SetSharedTls(_) => "set_shared_tls",
            Action::Publish { .. } => "publish",
            Action::DialLink(_) => "dial_link",
            Action::ListenLink(_) => "listen_link",
            Action::CarryStream(_) => "carry_stream",
            Action::CloseLink => "close_link",
            Action::SetLinkBusy { .. } => "set_link_busy",
            Action::SendLinkMessage { .. } => "send_link_message",
        }
    }
}

/// A command: what, about which object, and how to name the answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Command {
    /// The object.
    pub id: u64,
    /// Echoed in the answer.
    pub request: Option<u64>,
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
}

/// Reads a batch of commands.
pub fn read_batch(bytes: &[u8]) -> Result<Vec<Command>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
