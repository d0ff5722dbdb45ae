//! Events to the control plane, as they cross the boundary: msgpack maps tagged by `type`.
//!
//! The same nouns as in `mediaserver/engine/events.py`, which says what they mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mediaserver_proto::codec::Codec;
use mediaserver_proto::endpoint::Statistics;
use mediaserver_proto::sfu::{self, BandwidthStats, router};
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::link::{Descriptor, Payload, Service};

/// `ip`, port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address(pub String, pub u16);

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address(address.ip().to_string(), address.port())
    }
}

/// One layer of an up track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Layer {
    pub rid: Option<String>,
    pub spatial: u8,
    pub width: Option<u16>,
    pub height: Option<u16>,
    pub bitrate_bps: u32,
    pub alive: bool,
    pub wanted: bool,
}

impl From<&(sfu::Layer, bool)> for Layer {
    fn from((layer, wanted): &(sfu::Layer, bool)) -> Layer {
        Layer {
            rid: layer.rid.map(|rid| rid.to_string()),
            spatial: layer.spatial,
            width: Some(layer.width).filter(|&width| width > 0),
            height: Some(layer.height).filter(|&height| height > 0),
            bitrate_bps: layer.bitrate_bps,
            alive: layer.alive,
            wanted: *wanted,
        }
    }
}

/// Counters of an up track.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct UpTrackStats {
    pub id: u64,
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub jitter_ms: f64,
    pub keyframes: u64,
    pub gated: BTreeMap<&'static str, u64>,
    pub codec: Option<String>,
    pub layers: Vec<Layer>,
    pub nacked: u64,
    pub recovered: u64,
    pub freezes: u32,
    pub frozen_ms: f64,
}

/// Counters of a down track.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct DownTrackStats {
    pub id: u64,
    pub packets: u64,
    pub bytes: u64,
    pub remote_lost: u64,
    pub remote_jitter_ms: f64,
    pub codec: Option<String>,
    pub layer: Option<Layer>,
    pub temporal: Option<u8>,
    pub layer_switches: u64,
    pub nacked: u64,
    pub retransmitted: u64,
    pub recovered: u64,
    pub freezes: u32,
    pub frozen_ms: f64,
}

/// What is known of the line to a peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Bandwidth {
    pub estimate_bps: u64,
    pub acked_bps: u64,
    pub queue_ms: f64,
    pub loss: f64,
    pub probes: u64,
    pub probes_carried: u64,
    pub padding_packets: u64,
    pub waiting_bytes: u64,
}

impl From<&BandwidthStats> for Bandwidth {
    fn from(stats: &BandwidthStats) -> Bandwidth {
        Bandwidth {
            estimate_bps: stats.estimate_bps,
            acked_bps: stats.acked_bps,
            queue_ms: milliseconds(stats.queue),
            loss: f64::from(stats.lost_per_mille) / 1e3,
            probes: stats.probes.0,
            probes_carried: stats.probes.1,
            padding_packets: stats.padding_packets,
            waiting_bytes: stats.waiting_bytes as u64,
        }
    }
}

/// Counters of a transport.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct TransportStats {
    pub id: u64,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub round_trip_ms: Option<f64>,
    pub bandwidth: Option<Bandwidth>,
    pub asked_bps: Option<u64>,
    pub up: Vec<UpTrackStats>,
    pub down: Vec<DownTrackStats>,
}

impl TransportStats {
    /// As the endpoint counted. The round trip is that of the peer's reports, which come all the time, else that of our
    /// own STUN checks.
    pub fn new(id: u64, statistics: &Statistics) -> TransportStats {
        let Statistics { transport, tracks } = statistics;
        TransportStats {
            id,
            packets_received: transport.packets_received,
            bytes_received: transport.bytes_received,
            packets_sent: transport.packets_sent,
            bytes_sent: transport.bytes_sent,
            round_trip_ms: tracks.round_trip.or(transport.round_trip).map(milliseconds),
            bandwidth: tracks.bandwidth.as_ref().map(Bandwidth::from),
            asked_bps: tracks.asked_bps,
            up: tracks.up.iter().map(UpTrackStats::from).collect(),
            down: tracks.down.iter().map(DownTrackStats::from).collect(),
        }
    }
}

impl From<&router::UpTrackStats> for UpTrackStats {
    fn from(track: &router::UpTrackStats) -> UpTrackStats {
        UpTrackStats {
            id: track.id.0,
            packets: track.packets,
            bytes: track.octets,
            lost: track.lost,
            jitter_ms: milliseconds(track.jitter),
            keyframes: track.keyframes,
            gated: track.gated.iter().map(|(gate, count)| (gate.name(), *count)).collect(),
            codec: track.codec.map(codec_name),
            layers: track.layers.iter().map(Layer::from).collect(),
            nacked: track.nacked,
            recovered: track.recovered,
            freezes: track.freezes.0,
            frozen_ms: milliseconds(track.freezes.1),
        }
    }
}

impl From<&router::DownTrackStats> for DownTrackStats {
    fn from(track: &router::DownTrackStats) -> DownTrackStats {
        DownTrackStats {
            id: track.id.0,
            packets: track.packets,
            bytes: track.octets,
            // Duplicates make the peer's figure negative (RFC 3550 §6.4.1).
            remote_lost: u64::try_from(track.remote_lost).unwrap_or(0),
            remote_jitter_ms: milliseconds(track.remote_jitter),
            codec: track.codec.map(codec_name),
            layer: track.layer.map(|layer| Layer::from(&(layer, true))),
            temporal: track.temporal,
            layer_switches: track.layer_switches,
            nacked: track.nacked,
            retransmitted: track.retransmitted,
            recovered: track.recovered,
            freezes: track.freezes.0,
            frozen_ms: milliseconds(track.freezes.1),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn codec_name(codec: Codec) -> String {
    codec.name().to_owned()
}

/// What the control plane is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Event {
    IceTransportOpened {
        id: u64,
        ufrag: String,
        pwd: String,
        addresses: Vec<Address>,
        tcp_addresses: Vec<Address>,
        request: Option<u64>,
    },
    RtpTransportOpened {
        id: u64,
        ip: String,
        rtp_port: u16,
        rtcp_port: u16,
        request: Option<u64>,
    },
    CommandDone {
        request: u64,
    },
    CommandFailed {
        request: Option<u64>,
        id: u64,
        command: &'static str,
        reason: String,
    },
    TransportConnected {
        id: u64,
        remote: Address,
        srtp_profile: &'static str,
    },
    TransportPathChanged {
        id: u64,
        remote: Address,
    },
    TransportClosed {
        id: u64,
        reason: &'static str,
        last: Option<Box<TransportStats>>,
    },
    MediaTimeout {
        id: u64,
        silent_ms: u64,
    },
    MediaResumed {
        id: u64,
    },
    UpTrackStarted {
        id: u64,
        codec: String,
        ssrc: u32,
    },
    UpTrackLayersChanged {
        id: u64,
        layers: Vec<Layer>,
    },
    UpTrackLayersWanted {
        id: u64,
        rids: Vec<String>,
        max_spatial: Option<u8>,
    },
    DownTrackLayerChanged {
        id: u64,
        state: &'static str,
        layer: Option<Layer>,
        temporal: Option<u8>,
    },
    KeyframeNeeded {
        id: u64,
    },
    SpeechChanged {
        id: u64,
        loudness: u8,
    },
    DtmfReceived {
        id: u64,
        digit: String,
        duration_ms: u32,
    },
    PlayFinished {
        id: u64,
        clip: u64,
    },
    ChannelOpened {
        id: u64,
        stream: u16,
        label: String,
        protocol: String,
        ordered: bool,
        max_retransmits: Option<u32>,
        max_lifetime_ms: Option<u32>,
    },
    ChannelClosed {
        id: u64,
        stream: u16,
        reason: &'static str,
    },
    ChannelMessage {
        id: u64,
        stream: u16,
        text: bool,
        payload: ByteBuf,
    },
    /// A link of a shard to an Edge's worker answers.
    MediaLinkUp {
        id: u64,
        way: &'static str,
    },
    MediaLinkDown {
        id: u64,
    },
    /// A transport whose media went over an Edge that is lost, or shall be left.
    EdgeLeft {
        id: u64,
    },
    /// Answer to a command: how many transports' media still goes over the link.
    MediaLinkSwept {
        id: u64,
        transports: u32,
        request: Option<u64>,
    },
    /// An Edge's worker runs.
    EdgeOpened {
        id: u64,
        public: Vec<Address>,
        link: Address,
    },
    /// An Edge's worker has opened ports for media of a transport.
    EdgePortsOpened {
        id: u64,
        rtp_port: u16,
        rtcp_port: u16,
        request: Option<u64>,
    },
    /// They are closed.
    EdgePortsClosed {
        id: u64,
        core: u16,
        transport: u64,
    },
    /// A Core's shard has proven where it is.
    EdgeLinkUp {
        id: u64,
        core: u16,
        shard: u16,
        /// Nothing over TLS.
        remote: Option<Address>,
        way: &'static str,
    },
    EdgeLinkDown {
        id: u64,
        core: u16,
        shard: u16,
    },
    Stats {
        request: Option<u64>,
        transports: Vec<TransportStats>,
    },
    LinkListening {
        id: u64,
        address: Address,
        request: Option<u64>,
    },
    LinkUp {
        id: u64,
        remote: Address,
    },
    LinkDown {
        id: u64,
        reason: String,
    },
    LinkMessage {
        id: u64,
        payload: Payload,
    },
    StreamOpened {
        id: u64,
        stream: u32,
        fd: Descriptor,
        source: Address,
        local: Address,
        server_name: String,
        service: Service,
        number: u64,
    },
    LinkMediaUp {
        id: u64,
    },
    LinkMediaDown {
        id: u64,
        reason: String,
    },
}

/// Writes a batch of events.
pub fn write_batch(events: &[Event]) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(events)
}
