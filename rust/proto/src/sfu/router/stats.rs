//! Statistics of transports and their tracks, read by command.

use super::{Router, RouterError};
use crate::codec::{Codec, MediaKind};
use crate::sfu::egress::BandwidthStats;
use crate::sfu::gates::Gate;
use crate::sfu::ids::{DownTrackId, TransportId, UpTrackId};
use crate::sfu::layers::Layer;
use std::time::Duration;

/// Numbers of one up track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpTrackStats {
    /// The track.
    pub id: UpTrackId,
    /// Packets accepted, gated ones included.
    pub packets: u64,
    /// Payload bytes of those.
    pub octets: u64,
    /// Packets lost on the way to us.
    pub lost: u64,
    /// Interarrival jitter of the SSRC in use.
    pub jitter: Duration,
    /// Keyframes that began.
    pub keyframes: u64,
    /// Packets that each gate dropped.
    pub gated: [(Gate, u64); Gate::ALL.len()],
    /// Codec of the last packet.
    pub codec: Option<Codec>,
    /// The layers of a picture from the smallest to the largest, each with whether a receiver may be given it.
    pub layers: Vec<(Layer, bool)>,
    /// Lost packets that were asked for again; each counts once.
    pub nacked: u64,
    /// Lost packets that came by retransmission.
    pub recovered: u64,
    /// Loudness of the last packet that told it, in -dBov.
    pub audio_level: Option<u8>,
    /// How often the picture froze as it came, and for how long; with simulcast that of its smoothest layer.
    pub freezes: (u32, Duration),
}

/// Numbers of one down track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownTrackStats {
    /// The track.
    pub id: DownTrackId,
    /// Packets given to the transport.
    pub packets: u64,
    /// Payload bytes of those.
    pub octets: u64,
    /// Packets that the receiver missed.
    pub remote_lost: i32,
    /// Jitter that the receiver sees.
    pub remote_jitter: Duration,
    /// Codec of the last packet.
    pub codec: Option<Codec>,
    /// The layer of a picture that flows.
    pub layer: Option<Layer>,
    /// Its highest temporal layer, where it has any.
    pub temporal: Option<u8>,
    /// How often another layer began to flow.
    pub layer_switches: u64,
    /// Packets that the receiver asked for again, repetitions included.
    pub nacked: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Packets that the receiver missed and had after all: see [`crate::sfu::DownStats`].
    pub recovered: u64,
    /// How often the picture froze as it left, and for how long.
    pub freezes: (u32, Duration),
}

/// Numbers of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportStats {
    /// The transport.
    pub id: TransportId,
    /// RTP packets received.
    pub packets_received: u64,
    /// Plaintext bytes of those.
    pub octets_received: u64,
    /// The shortest round trip that a receiver report of the peer tells of.
    pub round_trip: Option<Duration>,
    /// What is known of the line to its peer; `None` where that gives no feedback.
    pub bandwidth: Option<BandwidthStats>,
    /// What its peer is asked to send at most, in bits per second.
    pub asked_bps: Option<u64>,
    /// Its up tracks.
    pub up: Vec<UpTrackStats>,
    /// Its down tracks.
    pub down: Vec<DownTrackStats>,
}

fn jitter(units: u32, codec: Option<Codec>) -> Duration {
    let clock_rate = codec.map_or(0, Codec::clock_rate).max(1);
    Duration::from_nanos(u64::from(units) * 1_000_000_000 / u64::from(clock_rate))
}

impl Router {
    /// The numbers of a transport.
    pub fn stats(&self, id: TransportId) -> Result<TransportStats, RouterError> {
        let transport = &self.transports[self.transport(id)?];
        let up = transport.ups.iter().map(|&key| self.up_stats(key, id)).collect::<Result<_, _>>()?;
        let tracks = || transport.downs.iter().map(|&key| &self.downs[key].track);
        let down = transport.downs.iter().map(|&key| &self.downs[key]).map(|entry| {
            let track = &entry.track;
            let stats = track.stats();
            let source = entry.subscription.and_then(|up| self.sources.get(&up));
            let is_video = track.config().kind == MediaKind::Video;
            let layer = track.layer().filter(|_| is_video);
            let layer = layer.and_then(|layer| source.and_then(|source| source.table.get(layer)));
            DownTrackStats {
                id: track.config().id,
                packets: stats.packets,
                octets: stats.octets,
                remote_lost: stats.remote_lost,
                remote_jitter: jitter(stats.remote_jitter, stats.codec),
                codec: stats.codec,
                layer: layer.copied(),
                temporal: track.temporal(),
                layer_switches: stats.layer_switches,
                nacked: stats.nacked,
                retransmitted: stats.retransmitted,
                recovered: stats.recovered,
                freezes: track.freezes(),
            }
        });
        Ok(TransportStats {
            id,
            packets_received: transport.packets_received,
            octets_received: transport.octets_received,
            bandwidth: transport.egress.stats(),
            asked_bps: transport.asked.bps(),
            round_trip: tracks().filter_map(|track| track.stats().round_trip).min(),
            up,
            down: down.collect(),
        })
    }

    fn up_stats(&self, key: usize, transport: TransportId) -> Result<UpTrackStats, RouterError> {
        let track = &self.ups[key].track;
        let streams = &self.transports[self.transport(transport)?].streams;
        let of_track = || streams.iter().filter(|stream| stream.up == key).map(|stream| &stream.receive);
        let current = of_track().find(|stream| Some(stream.ssrc()) == track.ssrc());
        let stats = track.stats();
        let mut gated = Gate::ALL.map(|gate| (gate, 0));
        for (slot, counted) in gated.iter_mut().zip(track.gates().dropped()) {
            *slot = counted;
        }
        Ok(UpTrackStats {
            id: track.config().id,
            packets: stats.packets,
            octets: stats.octets,
            lost: of_track().map(|stream| stream.stats().lost).sum(),
            jitter: jitter(current.map_or(0, |stream| stream.stats().jitter), stats.codec),
            keyframes: stats.keyframes,
            gated,
            codec: stats.codec,
            layers: if track.config().kind == MediaKind::Video {
                self.layer_states(track.config().id)
            } else {
                Vec::new()
            },
            nacked: streams.iter().filter(|stream| stream.up == key).map(|stream| stream.nacked).sum(),
            recovered: of_track().map(|stream| stream.stats().recovered).sum(),
            audio_level: stats.audio_level.map(|level| level.level),
            freezes: track
                .layers()
                .iter()
                .filter(|layer| layer.ssrc().is_some())
                .map(|layer| layer.freezes.total())
                .min()
                .unwrap_or_default(),
        })
    }
}
