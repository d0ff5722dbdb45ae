//! What a down track is made of, what is known about it, and what it is granted.

use crate::codec::{Codec, MediaKind, Payload};
use crate::rtp::{Ssrc, Token};
use crate::sfu::ids::{DownTrackId, TransportId};
use std::time::Duration;

/// What a down track is made of.
#[derive(Clone, Debug)]
pub struct DownTrackConfig {
    /// Its id.
    pub id: DownTrackId,
    /// The transport that it leaves by.
    pub transport: TransportId,
    /// Sound or picture.
    pub kind: MediaKind,
    /// m-line identification; `None` on transports without BUNDLE.
    pub mid: Option<Token>,
    /// SSRC as told to the receiver; random, since the first sequence number and timestamp are taken from it.
    pub ssrc: Ssrc,
    /// SSRC of retransmissions; `None` where nothing is sent again.
    pub rtx_ssrc: Option<Ssrc>,
    /// CNAME of its source description.
    pub cname: String,
    /// Payload types that the receiver takes, in order of preference.
    pub payloads: Vec<Payload>,
}

/// What a receiver and we know about a down track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownStats {
    /// Packets given to the transport.
    pub packets: u64,
    /// Payload bytes given to the transport.
    pub octets: u64,
    /// Packets lost by the receiver's reports; negative with duplicates.
    pub remote_lost: i32,
    /// Jitter by the receiver's reports, in timestamp units.
    pub remote_jitter: u32,
    /// Round trip by the receiver's reports.
    pub round_trip: Option<Duration>,
    /// Codec of the last packet of the medium itself.
    pub codec: Option<Codec>,
    /// How often another layer began to flow.
    pub layer_switches: u64,
    /// Packets that the receiver asked for again, repetitions included.
    pub nacked: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Packets that the receiver missed and had after all, each once: of a picture those sent again, of sound those
    /// taken from the redundancy of a later one.
    pub recovered: u64,
}

/// What the allocation of bandwidth grants a down track, within its [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Highest layer by rank.
    pub max_spatial: u8,
    /// Highest temporal layer.
    pub max_temporal: u8,
    /// Nothing at all for now.
    pub paused: bool,
}

impl Default for Allocation {
    fn default() -> Allocation {
        Allocation { max_spatial: u8::MAX, max_temporal: u8::MAX, paused: false }
    }
}
