//! Layers between a source and its receivers: who lives, who is given what, and what nobody wants.

use super::asking::ANYTHING;
use super::{Router, RouterEvent};
use crate::codec::MediaKind;
use crate::rtp::Token;
use crate::sfu::ids::UpTrackId;
use crate::sfu::keyframe::Want;
use crate::sfu::layers::{Choice, Layer, LayerTable, MAX_LAYERS};
use crate::sfu::packet::UpPacket;
use crate::sfu::packet_ring::PacketRing;
use crate::sfu::rate_meter::TICK;
use crate::sfu::retransmitter::Original;
use crate::sfu::up_layer::UpLayer;
use crate::time::Time;
use std::time::Duration;

/// A layer must be unwanted for so long before its publisher hears of it.
const UNWANTED_FOR: Duration = Duration::from_secs(5);

/// Receivers of one up track on another shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) shard: u8,
    pub(super) count: u32,
    /// Bit by layer: what they may be given.
    pub(super) wanted: u8,
    /// What the best of them can be given, in bits per second.
    pub(super) affordable: u32,
}

/// What receivers everywhere may be given of one up track, bit by layer, and what the publisher was told of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    here: u8,
    told: u8,
    /// Whether anything was told; a publisher whom nobody looks at hears of it, too.
    known: bool,
    /// When less than what was told began to be wanted.
    less_since: Option<Time>,
}

impl Wanted {
    /// What receivers on this shard may be given.
    pub(super) fn here(&self) -> u8 {
        self.here
    }

    /// What the publisher was told, bit by layer.
    pub(super) fn told(&self) -> u8 {
        self.told
    }

    /// Whether it was told anything.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// When less is to be told.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.less_since.map(|since| since + UNWANTED_FOR)
    }
}

/// Receivers on this shard of one up track, wherever that lives.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) downs: Vec<usize>,
    pub(super) table: LayerTable,
    /// When a keyframe of each layer was asked for last, for a track of another shard.
    pub(super) asked: [Option<Time>; MAX_LAYERS],
    /// The latest packets of each layer of a picture.
    pub(super) rings: [Option<Box<PacketRing>>; MAX_LAYERS],
    wanted: u8,
    /// As the shard of the track was told.
    pub(super) affordable: u32,
}

impl Source {
    pub(super) fn new(table: LayerTable) -> Source {
        let (asked, rings) = ([None; MAX_LAYERS], Default::default());
        Source { downs: Vec::new(), table, asked, rings, wanted: 0, affordable: ANYTHING }
    }

    /// A packet of the past, if its ring still has it.
    pub(super) fn packet(&self, original: &Original) -> Option<UpPacket<'_>> {
        self.ring(original.layer)?.get(original.stream, original.sequence)
    }

    pub(super) fn ring(&self, layer: u8) -> Option<&PacketRing> {
        self.rings.get(usize::from(layer))?.as_deref()
    }
}

impl Router {
    /// The layers of an up track of this shard, for shards that have receivers of it and for statistics.
    pub fn layers(&self, up: UpTrackId) -> Option<&LayerTable> {
        self.up_keys.get(&up).map(|&key| &self.ups[key].table)
    }

    /// The layers of an up track of this shard from the smallest to the largest, each with whether a receiver may be
    /// given it.
    pub fn layer_states(&self, up: UpTrackId) -> Vec<(Layer, bool)> {
        let Some(&key) = self.up_keys.get(&up) else { return Vec::new() };
        let entry = &self.ups[key];
        let wanted = entry.all_wanted();
        entry.table.ranked().map(|(index, layer)| (*layer, wanted & (1 << index) != 0)).collect()
    }

    /// Names of layers (bit by layer) in the order in which the control plane gave them, and the highest rank of them.
    pub fn name_layers(&self, up: UpTrackId, layers: u8) -> (Vec<Token>, Option<u8>) {
        let Some(&key) = self.up_keys.get(&up) else { return (Vec::new(), None) };
        let (track, table) = (&self.ups[key].track, &self.ups[key].table);
        let is_among = |index: u8| layers & (1 << index) != 0;
        let rids = track.config().rids.iter().copied();
        let rids = rids.filter(|rid| track.layer_of(rid.as_bytes()).is_some_and(is_among)).collect();
        let highest = table.ranked().enumerate().rfind(|(_, (index, _))| is_among(*index));
        (rids, highest.map(|(rank, _)| rank as u8))
    }

    /// Takes the layers of a track of another shard.
    pub fn set_layers(&mut self, up: UpTrackId, table: &LayerTable, now: Time) {
        if !self.up_keys.contains_key(&up) {
            self.take_table(up, *table, now);
        }
    }

    /// Takes what receivers on shard `shard` may be given of an up track, bit by layer.
    pub fn set_remote_wanted(&mut self, up: UpTrackId, shard: u8, wanted: u8, now: Time) {
        let Some(&key) = self.up_keys.get(&up) else { return };
        let entry = &mut self.ups[key];
        if let Some(remote) = entry.remote.iter_mut().find(|remote| remote.shard == shard) {
            remote.wanted = wanted;
        }
        entry.address_remotes();
        self.tell_wanted(key, now);
    }

    /// A layer came to life or changed its size: receivers choose anew. Starts the clock of the measurement.
    pub(super) fn layers_changed(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        if entry.track.config().kind == MediaKind::Audio {
            return;
        }
        entry.track.wake();
        if entry.tick_at == Time::FAR_FUTURE {
            entry.tick_at = now + TICK;
            let (transport, at) = (entry.transport, entry.tick_at);
            self.arm(transport, at);
        }
        self.describe_layers(key, now);
    }

    /// Measures the layers of an up track when that is due.
    pub(super) fn tick_layers(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        if entry.tick_at > now {
            return;
        }
        let smallest = entry.table.ranked().find(|(_, layer)| layer.alive).map(|(index, _)| index);
        entry.track.tick(smallest.filter(|_| !entry.table.is_one_stream()), now);
        let alive = entry.track.layers().iter().any(UpLayer::is_alive);
        entry.tick_at = if alive { now + TICK } else { Time::FAR_FUTURE };
        self.describe_layers(key, now);
        self.bound_unwanted(key, now);
    }

    /// Tells the publisher what nobody has wanted for a while.
    pub(super) fn tick_wanted(&mut self, key: usize, now: Time) {
        if self.ups[key].wanted.poll_timeout().is_some_and(|at| at <= now) {
            self.tell_wanted(key, now);
        }
    }

    fn describe_layers(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        let (up, before) = (entry.track.config().id, entry.table);
        let mut table = before;
        entry.track.describe(&mut table);
        entry.table = table;
        let (differs, rates_differ) = (table.differs(&before), table.rates_differ(&entry.told));
        if table.is_layered() {
            self.tell_wanted(key, now);
        }
        if differs && table.is_layered() {
            self.emit(RouterEvent::UpTrackLayersChanged { up });
        }
        let entry = &mut self.ups[key];
        if differs || rates_differ {
            entry.told = table;
            if !entry.remote.is_empty() {
                self.emit(RouterEvent::TellLayers { up });
            }
        }
        if differs {
            self.ask_publisher(self.ups[key].transport);
        }
        if differs || table.is_layered() {
            self.take_table(up, table, now);
        } else if let Some(source) = self.sources.get_mut(&up) {
            // There is nothing to choose, but its rate counts in what its receivers are given.
            source.table = table;
        }
    }

    fn take_table(&mut self, up: UpTrackId, table: LayerTable, now: Time) {
        let Some(source) = self.sources.get_mut(&up) else { return };
        source.table = table;
        for index in 0..source.downs.len() {
            let Some(&down) = self.sources.get(&up).and_then(|source| source.downs.get(index)) else { break };
            self.choose_layer(down, now);
        }
        self.sum_wanted(up, now);
    }

    /// Chooses anew what a down track is given, and asks for the keyframe that it needs to go over.
    pub(super) fn choose_layer(&mut self, down: usize, now: Time) {
        let entry = &mut self.downs[down];
        let Some(source) = entry.subscription.and_then(|up| self.sources.get(&up)) else { return };
        if entry.track.choose(&source.table) {
            self.start_picture(down, now);
        }
        self.tell_switch(down);
    }

    /// Tells of every receiver of a track to whom something else flows now.
    pub(super) fn tell_switches(&mut self, up: UpTrackId) {
        let count = self.sources.get(&up).map_or(0, |source| source.downs.len());
        for index in 0..count {
            if let Some(&down) = self.sources.get(&up).and_then(|source| source.downs.get(index)) {
                self.tell_switch(down);
            }
        }
    }

    fn tell_switch(&mut self, down: usize) {
        let entry = &mut self.downs[down];
        let Some(source) = entry.subscription.and_then(|up| self.sources.get(&up)) else { return };
        if let Some(choice) = entry.track.take_news(source.table.is_layered()) {
            let (down, temporal) = (entry.track.config().id, entry.track.temporal());
            let layer = match choice {
                Choice::Layer(index) => source.table.get(index).copied(),
                _ => None,
            };
            self.emit(RouterEvent::DownTrackLayerChanged { down, choice, layer, temporal });
        }
    }

    /// Adds up what the receivers on this shard may be given of a track, and tells whom it concerns.
    pub(super) fn sum_wanted(&mut self, up: UpTrackId, now: Time) {
        let mut wanted = 0;
        if let Some(source) = self.sources.get(&up) {
            for &down in &source.downs {
                let track = &self.downs[down].track;
                if track.is_active() && track.config().kind == MediaKind::Video {
                    wanted |= source.table.allowed(&track.target_for(&source.table));
                }
            }
        }
        if let Some(&key) = self.up_keys.get(&up) {
            self.ups[key].wanted.here = wanted;
            self.tell_wanted(key, now);
        } else if let Some(source) = self.sources.get_mut(&up)
            && source.wanted != wanted
        {
            source.wanted = wanted;
            self.emit(RouterEvent::TellWanted { up, wanted });
        }
        self.sum_affordable(up);
    }

    pub(super) fn tell_wanted(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        let wanted = entry.all_wanted();
        let state = &mut entry.wanted;
        let due = state.poll_timeout().is_some_and(|at| at <= now);
        let before = (state.told, state.known);
        if wanted & !state.told != 0 || (due && (wanted != state.told || !state.known)) {
            (state.told, state.known, state.less_since) = (wanted, true, None);
        } else if wanted == state.told && state.known {
            state.less_since = None;
        } else {
            state.less_since.get_or_insert(now);
        }
        let (up, told, timeout, transport) =
            (entry.track.config().id, entry.wanted.told, entry.wanted.poll_timeout(), entry.transport);
        let news = (told, entry.wanted.known) != before;
        let layered = entry.table.is_layered();
        if let Some(at) = timeout {
            self.arm(transport, at);
        }
        if news {
            self.wanted_changed(key, now);
        }
        if news && layered {
            self.emit(RouterEvent::UpTrackLayersWanted { up, wanted: told });
        }
    }

    /// Receivers want keyframes of layers (bit by layer) of a track, wherever that lives.
    pub(super) fn want_keyframes(&mut self, up: UpTrackId, layers: u8, want: Want, now: Time) {
        for layer in (0..MAX_LAYERS as u8).filter(|layer| layers & (1 << layer) != 0) {
            self.want_keyframe(up, layer, want, now);
        }
    }
}
