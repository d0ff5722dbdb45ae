//! One shard as a deterministic object: datagram batches and commands in, datagrams, events and messages to other
//! shards out.

mod data;
#[cfg(test)]
mod data_tests;
mod departures;
pub mod event;
mod held;
mod media;
pub mod media_batch;
pub mod message;
mod receive;
mod routes;
pub mod shared_pool;
mod slot;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod text_tests;
mod timers;
mod topics;
mod tracks;
mod transports;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use slab::Slab;

use crate::dtls::Identity;
use crate::error::DropCounters;
use crate::ice::{UfragKey, UfragKeys};
use crate::io::{Path, TransmitQueue};
use crate::rtcp::WallClock;
use crate::rtcp::ntp::NtpTime;
use crate::rtp::Ssrc;
use crate::sfu::{LayerTable, UpTrackId};
use crate::time::Time;

pub use event::{CommandError, EndpointEvent, LinkedPath};
pub use message::{Shard, ShardMessage};
pub use topics::{ChannelId, DataRates, Membership, TopicMessage};
pub use transports::{Entropy, RtpSockets, Statistics, TransportSnapshot};

use media::Media;
use routes::{Owner, Routes};
use shared_pool::SharedPool;
use slot::{AnyTransport, Slot};
use timers::Timers;
use topics::Topics;

/// Tables of layers that are kept to be sent again.
const LAYER_TABLES: usize = 128;

/// Bounds of a shard.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLimits {
    /// Transports.
    pub transports: usize,
    /// WebRTC transports that have not finished DTLS.
    pub half_open: usize,
    /// Up and down tracks of a transport together.
    pub tracks_per_transport: usize,
    /// SSRCs per transport that belong to no track and are still remembered.
    pub unknown_ssrcs: usize,
}

/// What an endpoint is built from.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// This shard.
    pub shard: Shard,
    /// All shards.
    pub shards: Shard,
    /// All that have up tracks: the shards, and behind them whoever makes sound.
    pub sources: Shard,
    /// Signs local ufrags.
    pub ufrag_key: UfragKey,
    /// Certificate and DTLS settings.
    pub identity: Identity,
    /// Time since the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
    /// Bounds.
    pub limits: EndpointLimits,
}

/// Datagrams that the endpoint itself did not use, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EndpointDrops {
    pub unbound_tuple: u64,
    pub foreign_ufrag: u64,
    pub forged_ufrag: u64,
    pub unknown_transport: u64,
    pub path_table_full: u64,
    pub path_taken: u64,
}

/// One shard without its sockets and its thread.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    /// Keys by which ufrags are known: the one that signs, and the one before it.
    ufrag_keys: UfragKeys,
    slots: Slab<Slot>,
    ids: HashMap<u64, usize>,
    routes: Routes,
    timers: Timers,
    media: Media,
    dirty: Vec<usize>,
    /// Slot of the transport of every track.
    track_slots: HashMap<u64, usize>,
    /// SSRC of every down track, for its goodbye.
    down_ssrcs: HashMap<u64, Ssrc>,
    /// How many down tracks of which shards want an up track of ours, whether it exists yet or not.
    wants: HashMap<u64, Vec<(Shard, u32)>>,
    /// Tables of layers on their way to other shards.
    layer_tables: SharedPool<LayerTable>,
    topics: Topics,
    /// Members that a message goes to; kept for its memory.
    receivers: Vec<ChannelId>,
    half_open: usize,
    /// Transport whose input is being handled; tells after a panic which one to close.
    current: Option<usize>,
    /// The shard at whose socket the batch being handled came in, when that is another one.
    via: Option<Shard>,
    events: VecDeque<EndpointEvent>,
    messages: VecDeque<(Shard, ShardMessage)>,
    /// News of paths that lead over an Edge.
    linked: VecDeque<LinkedPath>,
    drops: EndpointDrops,
    /// Drops of transports, gathered as they happen.
    transport_drops: DropCounters,
    handed_over: u64,
}

impl Endpoint {
    /// A shard without transports.
    pub fn new(config: EndpointConfig) -> Endpoint {
        let shards = usize::from(config.shards);
        let mut ufrag_keys = UfragKeys::default();
        ufrag_keys.set(config.ufrag_key.clone());
        let wall = WallClock { at: Time::ZERO, ntp: NtpTime::from_unix(config.unix_epoch) };
        Endpoint {
            config,
            ufrag_keys,
            slots: Slab::new(),
            ids: HashMap::new(),
            routes: Routes::new(shards),
            timers: Timers::default(),
            media: Media::new(wall),
            via: None,
            dirty: Vec::new(),
            track_slots: HashMap::new(),
            down_ssrcs: HashMap::new(),
            wants: HashMap::new(),
            layer_tables: SharedPool::new(LAYER_TABLES),
            topics: Topics::default(),
            receivers: Vec::new(),
            half_open: 0,
            current: None,
            events: VecDeque::new(),
            messages: VecDeque::new(),
            linked: VecDeque::new(),
            drops: EndpointDrops::default(),
            transport_drops: DropCounters::default(),
            handed_over: 0,
        }
    }

    /// When [`Endpoint::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next().into_iter().chain(self.media.router.poll_timeout()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        while let Some((at, index)) = self.timers.pop(now) {
            // The slot may have gone, or been given to another transport that has an entry of its own.
            let Some(slot) = self.slots.get_mut(index) else { continue };
            if slot.armed != Some(at) {
                continue;
            }
            slot.armed = None;
            self.current = Some(index);
            if slot.transport.poll_timeout().is_some_and(|due| due <= now) {
                slot.transport.handle_timeout(now, out);
            }
            slot.send_text(&self.media.wall, now, out);
            self.touch(index);
        }
        self.current = None;
        self.media.handle_timeout(&mut self.slots, now, out);
        self.settle(now, out);
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.events.pop_front()
    }

    /// The oldest news of a path over an Edge not yet taken.
    pub fn poll_linked_path(&mut self) -> Option<LinkedPath> {
        self.linked.pop_front()
    }

    /// Whether a tuple belongs to a transport of this shard and has answered a challenge.
    pub fn is_proven(&self, path: Path) -> bool {
        if path.socket.is_edge_port() {
            let slot = self.routes.slot_of(path.socket).and_then(|index| self.slots.get(index));
            return slot.is_some_and(|slot| slot.taken_at_edge.contains(&Some(path)));
        }
        let Some(Owner::Here(index)) = self.routes.bound(path) else { return false };
        match self.slots.get(index).map(|slot| &slot.transport) {
            Some(AnyTransport::Ice(transport)) => transport.is_proven(path),
            _ => false,
        }
    }

    /// The oldest message to another shard not yet taken.
    pub fn poll_message(&mut self) -> Option<(Shard, ShardMessage)> {
        self.messages.pop_front()
    }

    /// Takes a message of another shard.
    pub fn handle_message(&mut self, from: Shard, message: ShardMessage, now: Time, out: &mut TransmitQueue) {
        match message {
            ShardMessage::Datagrams(mut batch) => {
                let all = 0..batch.len();
                self.handle_batch_from(Some(from), &mut batch, all, now, out);
                self.messages.push_back((from, ShardMessage::Returned(batch)));
            }
            ShardMessage::Returned(batch) => self.routes.reclaim(batch),
            ShardMessage::PathBound(path) => {
                if !self.routes.learn_foreign(path, from) {
                    self.drops.path_table_full += 1;
                }
            }
            ShardMessage::PathUnbound(path) => self.routes.forget_foreign(path, from),
            ShardMessage::PathClosed(path) => self.close_path(from, path, now, out),
            ShardMessage::Media(batch) => {
                self.media.handle_media(&batch, &mut self.slots, now, out);
                self.take_media_outputs();
            }
            ShardMessage::Topic { topic, sender, message } => {
                self.handle_topic_message(topic, &sender, &message, now, out);
            }
            ShardMessage::TopicMembers { topic, present } => {
                self.topics.set_remote(topic, from, present);
                self.release_held(topic, now, out);
                self.settle(now, out);
            }
            ShardMessage::Want { up } => self.handle_want(from, up, now),
            ShardMessage::Unwant { up } => self.handle_unwant(from, up, now),
            ShardMessage::Layers { up, table } => self.media.router.set_layers(UpTrackId(up), &table, now),
            ShardMessage::LayersWanted { up, wanted } => {
                self.media.router.set_remote_wanted(UpTrackId(up), from as u8, wanted, now);
            }
            ShardMessage::Affordable { up, bps } => {
                self.media.router.set_remote_affordable(UpTrackId(up), from as u8, bps);
            }
            ShardMessage::KeyframeWanted { up, layer, want } => {
                // The track may have gone while the message was under way.
                self.media.router.request_keyframe(UpTrackId(up), Some(layer), want, now).ok();
            }
        }
    }

    /// Ufrags are signed by another key from now on; those that the last one signed count on.
    pub fn set_ufrag_key(&mut self, key: UfragKey) {
        self.ufrag_keys.set(key.clone());
        self.config.ufrag_key = key;
    }

    /// Gives back a message that could not be carried, so that its buffer is not lost.
    pub fn take_back(&mut self, message: ShardMessage) {
        if let ShardMessage::Datagrams(batch) = message {
            self.routes.reclaim(batch);
        }
    }

    /// After a panic while an input was handled: closes the transport that it was about. The rest of the batch is lost.
    pub fn recover(&mut self, now: Time, out: &mut TransmitQueue) {
        if let Some(index) = self.current.take()
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.closed = Some("failed");
            self.touch(index);
        }
        // It may name datagrams that are gone by the time of the next batch.
        self.media.forget_batch();
        self.settle(now, out);
    }

    /// Names and values of everything counted here.
    pub fn counters(&self, mut each: impl FnMut(&str, u64)) {
        for (name, value) in self.transport_drops.iter() {
            each(name, value);
        }
        let drops = &self.drops;
        each("endpoint_unbound_tuple", drops.unbound_tuple);
        each("endpoint_foreign_ufrag", drops.foreign_ufrag);
        each("endpoint_forged_ufrag", drops.forged_ufrag);
        each("endpoint_unknown_transport", drops.unknown_transport);
        each("endpoint_path_table_full", drops.path_table_full);
        each("endpoint_path_taken", drops.path_taken);
        self.topics.drops.counters(&mut each);
        self.media.counters(&mut each);
    }

    /// Open transports.
    pub fn transports(&self) -> usize {
        self.slots.len()
    }

    /// Messages given to data channels, each once for every receiver.
    pub fn messages_delivered(&self) -> u64 {
        self.topics.delivered
    }

    /// Datagrams handed to the shard that owns their transport.
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Remembers that events and timers of a slot are to be looked at before the batch ends.
    fn touch(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index)
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }
}
