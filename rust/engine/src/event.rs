//! Events to the control plane, as they cross the boundary: msgpack maps tagged by `type`.
//!
//! The same nouns as in `mediaserver/engine/events.py`, which says what they mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

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
    pub up: Vec<UpTrackStats>,
    pub down: Vec<DownTrackStats>,
}

/// What the control plane is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Event {
    IceTransportOpened { id: u64, ufrag: String, pwd: String, addresses: Vec<Address>, request: Option<u64> },
    RtpTransportOpened { id: u64, ip: String, rtp_port: u16, rtcp_port: u16, request: Option<u64> },
    CommandDone { request: u64 },
    CommandFailed { request: Option<u64>, id: u64, command: &'static str, reason: String },
    TransportConnected { id: u64, remote: Address, srtp_profile: &'static str },
    TransportPathChanged { id: u64, remote: Address },
    TransportClosed { id: u64, reason: &'static str },
    MediaTimeout { id: u64, silent_ms: u64 },
    MediaResumed { id: u64 },
    UpTrackStarted { id: u64, codec: String, ssrc: u32 },
    UpTrackLayersChanged { id: u64, layers: Vec<Layer> },
    UpTrackLayersWanted { id: u64, rids: Vec<String>, max_spatial: Option<u8> },
    DownTrackLayerChanged { id: u64, state: &'static str, layer: Option<Layer>, temporal: Option<u8> },
    KeyframeNeeded { id: u64 },
    DtmfReceived { id: u64, digit: String, duration_ms: u32 },
    PlayFinished { id: u64, clip: u64 },
    Stats { request: Option<u64>, transports: Vec<TransportStats> },
}

/// Writes a batch of events.
pub fn write_batch(events: &[Event]) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(events)
}
