//! The tracks of one shard and who receives whom: packets and reports in, rewrite records and reports out.
//!
//! The five verbs are [`Router::handle_rtp`] with [`Router::forward`], [`Router::handle_rtcp`],
//! [`Router::handle_timeout`], [`Router::poll_timeout`] and [`Router::poll_event`]; what leaves is handed to an
//! [`Output`] at once. Subscriptions are commands ([`tracks`]); other shards are reached by whoever owns the rings:
//! [`Received::remote_shards`] says which of them get a packet, and they call [`Router::forward`] with it.

mod allocation;
mod asking;
mod clips;
mod egress;
mod forward;
#[cfg(test)]
mod layer_tests;
mod layers;
mod media_transport;
mod receive;
#[cfg(test)]
mod repair_tests;
mod rtcp_in;
#[cfg(test)]
mod slot_tests;
mod stats;
#[cfg(test)]
mod tests;
mod timers;
mod tracks;
mod unwanted;

pub use stats::{DownTrackStats, TransportStats, UpTrackStats};

use super::down_track::DownTrack;
use super::drops::{MediaDrop, MediaDropCounters};
use super::dtmf_sender::DtmfError;
use super::ids::{ClipId, DownTrackId, IdMap, TransportId, UpTrackId};
use super::keyframe::Want;
use super::layers::{Choice, Layer, LayerTable, MAX_LAYERS};
use super::packet::{Departure, PacketMeta, Rewrite};
use super::up_track::UpTrack;
use crate::codec::Codec;
use crate::io::Paced;
use crate::player::{Clip, Play};
use crate::rtp::Ssrc;
use crate::time::Time;
use allocation::AllocationScratch;
use asking::Affordable;
use egress::EgressCounts;
use layers::{Remote, Source, Wanted};
use media_transport::MediaTransport;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use unwanted::Unwanted;

/// Most events that wait for the control plane.
const MAX_EVENTS: usize = 4096;
/// A shard on which a source does not live asks for its keyframe at most this often.
const REMOTE_KEYFRAME_INTERVAL_MS: u64 = 200;

/// Takes what leaves, in order. Implementations copy or refer; they do not block.
pub trait Output {
    /// One RTP packet: see [`Rewrite`] for how record and payload become bytes. Returns the length of its datagram, or
    /// `None` when it could not leave.
    fn rtp(
        &mut self,
        transport: TransportId,
        rewrite: &Rewrite,
        departure: &Departure,
        payload: &[u8],
    ) -> Option<usize>;
    /// The packet that left last had waited for its turn.
    fn paced(&mut self, _paced: Paced) {}
    /// One plaintext RTCP compound.
    fn rtcp(&mut self, transport: TransportId, compound: &[u8]);
}

/// What the media side knows about a transport.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Its id.
    pub id: TransportId,
    /// SSRC of our reports when no down track sends; random.
    pub rtcp_ssrc: Ssrc,
    /// CNAME of our reports when no down track sends.
    pub cname: String,
    /// Whether the peer takes feedback without a report before it (RFC 5506).
    pub reduced_size: bool,
    /// Most SSRCs that are bound at one time.
    pub max_streams: usize,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// No such transport on this shard.
    #[error("transport {0:?} is not on this shard")]
    UnknownTransport(TransportId),
    /// No such up track on this shard.
    #[error("up track {0:?} is not on this shard")]
    UnknownUpTrack(UpTrackId),
    /// No such down track on this shard.
    #[error("down track {0:?} is not on this shard")]
    UnknownDownTrack(DownTrackId),
    /// No such clip on this shard.
    #[error("clip {0:?} is not loaded on this shard")]
    UnknownClip(ClipId),
    /// The id is taken, or reserved.
    #[error("id {0} is taken")]
    DuplicateId(u64),
    /// A down track of the transport has the SSRC already.
    #[error("SSRC {0:?} is taken on this transport")]
    DuplicateSsrc(Ssrc),
    /// The clip has no format that any of the down tracks takes.
    #[error("clip {0:?} has no format that these down tracks take")]
    NothingToPlay(ClipId),
    /// Digits cannot be sent.
    #[error(transparent)]
    Dtmf(#[from] DtmfError),
}

/// What the control plane, or another shard, has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// The first packet of a track came, or its codec changed.
    UpTrackStarted {
        /// The track.
        up: UpTrackId,
        /// What it sends.
        codec: Codec,
        /// Its SSRC.
        ssrc: Ssrc,
    },
    /// A layer of a layered picture came to life, fell silent or changed its size: see [`Router::layers`].
    UpTrackLayersChanged {
        /// The track.
        up: UpTrackId,
    },
    /// Receivers may be given other layers of a layered picture than before.
    UpTrackLayersWanted {
        /// The track.
        up: UpTrackId,
        /// Bit by layer.
        wanted: u8,
    },
    /// Shards that have receivers of a track are to hear of its layers: [`Router::set_layers`] there.
    TellLayers {
        /// The track.
        up: UpTrackId,
    },
    /// The shard of a track is to hear what our receivers may be given: [`Router::set_remote_wanted`] there.
    TellWanted {
        /// The track.
        up: UpTrackId,
        /// Bit by layer.
        wanted: u8,
    },
    /// The shard of a track is to hear what our best receiver can be given: [`Router::set_remote_affordable`] there.
    TellAffordable {
        /// The track.
        up: UpTrackId,
        /// Bits per second.
        bps: u32,
    },
    /// Another layer flows to a receiver, or none.
    DownTrackLayerChanged {
        /// The track.
        down: DownTrackId,
        /// Which layer, or why none.
        choice: Choice,
        /// The layer.
        layer: Option<Layer>,
        /// Its highest temporal layer, where it has any.
        temporal: Option<u8>,
    },
    /// A keyframe is wanted and the peer negotiated neither PLI nor FIR.
    KeyframeNeeded {
        /// The track.
        up: UpTrackId,
    },
    /// A keyframe is wanted of a track that lives on another shard: call [`Router::request_keyframe`] there.
    RemoteKeyframeWanted {
        /// The track.
        up: UpTrackId,
        /// Index of the layer.
        layer: u8,
        /// Why.
        want: Want,
    },
    /// Somebody speaks louder or quieter on a track for which that is watched.
    SpeechChanged {
        /// The track.
        up: UpTrackId,
        /// 0 for silence up to [`MOST_LOUDNESS`](crate::sfu::speech::MOST_LOUDNESS).
        loudness: u8,
    },
    /// A digit was received.
    DtmfReceived {
        /// The track.
        up: UpTrackId,
        /// One of `0-9*#A-D`.
        digit: char,
        /// How long it sounded.
        duration_ms: u32,
    },
    /// A clip came to its end on a down track, which goes back to its subscription.
    PlayFinished {
        /// The track.
        down: DownTrackId,
        /// The clip.
        clip: ClipId,
    },
}

/// A packet that is to be forwarded, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its record.
    pub meta: PacketMeta,
    /// Whether a down track of this shard subscribed to its track.
    pub local: bool,
    /// Bit `n` is set when shard `n` has a receiver: hand it record and buffer, once.
    pub remote_shards: u64,
}

#[derive(Debug)]
struct UpEntry {
    track: UpTrack,
    transport: usize,
    remote: Vec<Remote>,
    /// By layer: bit `n` is set when shard `n` has a receiver that may be given it.
    remote_layers: [u64; MAX_LAYERS],
    table: LayerTable,
    /// As other shards were told of it.
    told: LayerTable,
    wanted: Wanted,
    unwanted: Unwanted,
    /// What the best receiver on this shard can be given of it, in bits per second.
    affordable: u32,
    /// When the layers are measured next.
    tick_at: Time,
}

impl UpEntry {
    fn poll_timeout(&self) -> Option<Time> {
        let tick = Some(self.tick_at).filter(|&at| at != Time::FAR_FUTURE);
        let layers = self.track.layers().iter().filter_map(|layer| layer.keyframes.poll_timeout());
        layers.chain(tick).chain(self.wanted.poll_timeout()).chain(self.track.speech_timeout()).min()
    }

    /// Bit by layer: what receivers on any shard may be given now.
    fn all_wanted(&self) -> u8 {
        self.remote.iter().fold(self.wanted.here(), |all, remote| all | remote.wanted)
    }

    fn address_remotes(&mut self) {
        // Layers inside one stream come together.
        let bits = |layer: usize| if self.track.is_simulcast() { 1 << layer } else { u8::MAX };
        self.remote_layers = std::array::from_fn(|layer| {
            let wanting = self.remote.iter().filter(|remote| remote.wanted & bits(layer) != 0);
            wanting.fold(0, |bits, remote| bits | (1 << (remote.shard & 63)))
        });
    }
}

#[derive(Debug)]
struct DownEntry {
    track: DownTrack,
    transport: usize,
    subscription: Option<UpTrackId>,
    affordable: Affordable,
}

/// Who a timer belongs to. Entries that are no longer meant are recognised when they come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Transport(usize),
    Egress(usize),
    Play(u32),
}

type Timers = BinaryHeap<Reverse<(Time, TimerKey)>>;

fn arm_in(timers: &mut Timers, transport: &mut MediaTransport, key: usize, at: Time) {
    if at < transport.armed {
        transport.armed = at;
        timers.push(Reverse((at, TimerKey::Transport(key))));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Router {
    transports: Slab<MediaTransport>,
    transport_keys: IdMap<TransportId, usize>,
    ups: Slab<UpEntry>,
    up_keys: IdMap<UpTrackId, usize>,
    downs: Slab<DownEntry>,
    down_keys: IdMap<DownTrackId, usize>,
    /// Receivers on this shard by the track they subscribed to, wherever that lives.
    sources: IdMap<UpTrackId, Source>,
    clips: IdMap<ClipId, Arc<Clip>>,
    plays: HashMap<u32, Play>,
    last_serial: u32,
    timers: Timers,
    events: VecDeque<RouterEvent>,
    drops: MediaDropCounters,
    egress_counts: EgressCounts,
    allocation: AllocationScratch,
    scratch: Vec<u8>,
}

impl Router {
    /// A router without tracks.
    pub fn new() -> Router {
        Router::default()
    }

    /// What was dropped on this shard, by reason.
    pub fn drops(&self) -> &MediaDropCounters {
        &self.drops
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        self.events.pop_front()
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn emit(&mut self, event: RouterEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.drops.count(MediaDrop::EventOverflow);
        }
    }

    /// Makes sure that the transport is looked after at `at`.
    fn arm(&mut self, transport: usize, at: Time) {
        arm_in(&mut self.timers, &mut self.transports[transport], transport, at);
    }

    /// Down tracks of this shard that subscribed to a track.
    pub fn receivers(&self, up: UpTrackId) -> usize {
        self.sources.get(&up).map_or(0, |source| source.downs.len())
    }

    fn has_receivers(&self, up: UpTrackId) -> bool {
        let remote = self.up_keys.get(&up).is_some_and(|&key| !self.ups[key].remote.is_empty());
        remote || self.sources.contains_key(&up)
    }

    /// A receiver wants a keyframe of a layer of a track, wherever that lives.
    fn want_keyframe(&mut self, up: UpTrackId, layer: u8, want: Want, now: Time) {
        if let Some(&key) = self.up_keys.get(&up) {
            self.ask_source(key, layer, want, now);
            return;
        }
        let Some(asked) = self.sources.get_mut(&up).and_then(|source| source.asked.get_mut(usize::from(layer))) else {
            return;
        };
        if asked.is_none_or(|last| now.since(last).as_millis() >= u128::from(REMOTE_KEYFRAME_INTERVAL_MS)) {
            *asked = Some(now);
            self.emit(RouterEvent::RemoteKeyframeWanted { up, layer, want });
        }
    }

    fn ask_source(&mut self, up: usize, layer: u8, want: Want, now: Time) {
        let entry = &mut self.ups[up];
        if entry.track.config().kind == crate::codec::MediaKind::Audio {
            return;
        }
        let Some(layer) = entry.track.layers_mut().get_mut(usize::from(layer)) else { return };
        layer.request_keyframe(want, now);
        let (transport, at) = (entry.transport, layer.keyframes.poll_timeout());
        if let Some(at) = at {
            self.arm(transport, at);
        }
    }

    /// Asks for keyframes of every layer that lives, or of the only one.
    fn ask_all_layers(&mut self, up: usize, want: Want, now: Time) {
        for layer in 0..self.ups[up].track.layers().len() {
            if self.ups[up].track.layers()[layer].is_alive() || layer == 0 {
                self.ask_source(up, layer as u8, want, now);
            }
        }
    }
}
