//! What an endpoint tells the control plane.

use std::net::SocketAddr;

use super::transports::Statistics;
use crate::io::Path;
use crate::rtp::Token;
use crate::sctp::Channel;
use crate::sfu::Layer;
use crate::srtp::Suite;

/// An event about a transport or track of the control plane's numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EndpointEvent {
    TransportConnected {
        id: u64,
        remote: SocketAddr,
        suite: Option<Suite>,
    },
    TransportPathChanged {
        id: u64,
        remote: SocketAddr,
    },
    /// The transport and its tracks are gone; its sockets, where it had its own, can be closed.
    TransportClosed {
        id: u64,
        reason: &'static str,
        /// What it had counted when it went.
        last: Option<Box<Statistics>>,
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
        codec: &'static str,
        ssrc: u32,
    },
    /// Layers from the smallest to the largest, each with whether a receiver may be given it.
    UpTrackLayersChanged {
        id: u64,
        layers: Vec<(Layer, bool)>,
    },
    UpTrackLayersWanted {
        id: u64,
        rids: Vec<Token>,
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
    /// Somebody speaks louder or quieter, 0 for silence.
    SpeechChanged {
        id: u64,
        loudness: u8,
    },
    DtmfReceived {
        id: u64,
        digit: char,
        duration_ms: u32,
    },
    PlayFinished {
        id: u64,
        clip: u64,
    },
    /// A data channel of a transport can be used; it is in no topic yet.
    ChannelOpened {
        id: u64,
        stream: u16,
        channel: Channel,
    },
    /// It is over.
    ChannelClosed {
        id: u64,
        stream: u16,
        reason: &'static str,
    },
    /// A message of a member whose messages are reported.
    ChannelMessage {
        id: u64,
        stream: u16,
        /// Valid UTF-8 when set.
        text: bool,
        payload: Vec<u8>,
    },
}

/// What whoever keeps a link to an Edge must tell it of a path that leads over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedPath {
    /// It has answered a challenge.
    Proven(Path),
    /// It is nobody's.
    Unbound(Path),
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The id already names something.
    #[error("the id is in use")]
    IdInUse,
    /// No transport has this id.
    #[error("there is no such transport")]
    NoTransport,
    /// No track has this id.
    #[error("there is no such track")]
    NoTrack,
    /// The transport has no such data channel, or none at all.
    #[error("there is no such data channel")]
    NoChannel,
    /// No clip has this id.
    #[error("there is no such clip")]
    NoClip,
    /// The id belongs to another shard.
    #[error("the id belongs to another shard")]
    WrongShard,
    /// The command does not fit the kind of transport.
    #[error("the transport is of another kind")]
    WrongKind,
    /// A value that cannot be used.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// A configured bound.
    #[error("limit {0}")]
    Limit(&'static str),
}
