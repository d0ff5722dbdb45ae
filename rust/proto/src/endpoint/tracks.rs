//! Tracks, subscriptions and clips: the router's commands, with those parts that concern other shards.

use std::sync::Arc;
use std::time::Duration;

use super::message::{Shard, ShardMessage};
use super::transports::Statistics;
use super::{CommandError, Endpoint, EndpointEvent};
use crate::codec::Payload;
use crate::io::TransmitQueue;
use crate::player::Clip;
use crate::rtp::Token;
use crate::sfu::MAX_LAYERS;
use crate::sfu::{
    ClipId, DownTrackConfig, DownTrackId, Gate, RouterError, RouterEvent, Target, TransportId, UpTrackConfig,
    UpTrackId, UpTrackUpdate, Want,
};
use crate::time::Time;

impl From<RouterError> for CommandError {
    fn from(error: RouterError) -> CommandError {
        match error {
            RouterError::UnknownTransport(_) => CommandError::NoTransport,
            RouterError::UnknownUpTrack(_) | RouterError::UnknownDownTrack(_) => CommandError::NoTrack,
            RouterError::UnknownClip(_) => CommandError::NoClip,
            RouterError::DuplicateId(_) => CommandError::IdInUse,
            RouterError::DuplicateSsrc(_) => CommandError::Invalid("SSRC: it is in use on this transport"),
            RouterError::NothingToPlay(_) => CommandError::Invalid("clip: it has no format that these tracks take"),
            RouterError::Dtmf(_) => CommandError::Invalid("digits, or telephone-event was not negotiated"),
        }
    }
}

fn check_layers(rids: &[Token]) -> Result<(), CommandError> {
    if rids.len() > MAX_LAYERS {
        return Err(CommandError::Limit("rids"));
    }
    let repeated = rids.iter().enumerate().any(|(index, rid)| rids[..index].contains(rid));
    if repeated { Err(CommandError::Invalid("rids: one is there twice")) } else { Ok(()) }
}

fn shard_of(id: u64) -> Shard {
    (id >> 48) as Shard
}

impl Endpoint {
    /// Maps header extension ids to their meaning; a mapping stays for the life of the transport.
    pub fn set_extensions<'a>(
        &mut self,
        id: u64,
        extensions: impl IntoIterator<Item = (u8, &'a str)>,
    ) -> Result<(), CommandError> {
        let mut map = self.media.router.extensions(TransportId(id))?;
        for (extension, uri) in extensions {
            map.set(u16::from(extension), uri).map_err(|_| CommandError::Invalid("header extension id"))?;
        }
        Ok(self.media.router.set_extensions(TransportId(id), map)?)
    }

    /// Bounds what is sent to the peer of a transport, and what it may send, in bits per second.
    pub fn set_limits(
        &mut self,
        id: u64,
        send_bps: Option<u64>,
        receive_bps: Option<u64>,
        now: Time,
    ) -> Result<(), CommandError> {
        Ok(self.media.router.set_limits(TransportId(id), send_bps, receive_bps, now)?)
    }

    /// Adds a track that the transport's peer publishes.
    pub fn add_up_track(&mut self, config: UpTrackConfig, now: Time) -> Result<(), CommandError> {
        let (up, transport) = (config.id, config.transport);
        self.check_new_track(up.0, transport.0)?;
        check_layers(&config.rids)?;
        self.media.router.add_up_track(config)?;
        self.count_track(up.0, transport.0);
        // Subscribers on other shards may have come before it.
        let wants = self.wants.get(&up.0).map(Vec::as_slice).unwrap_or_default();
        for &(shard, count) in wants {
            for _ in 0..count {
                self.media.router.add_remote_receiver(up, shard as u8, now)?;
            }
        }
        Ok(())
    }

    /// Takes new payload types, SSRCs and layers of an up track.
    pub fn update_up_track(&mut self, up: u64, update: UpTrackUpdate, now: Time) -> Result<(), CommandError> {
        check_layers(&update.rids)?;
        Ok(self.media.router.update_up_track(UpTrackId(up), update, now)?)
    }

    /// Opens or closes a gate.
    pub fn set_gate(&mut self, up: u64, gate: Gate, open: bool, now: Time) -> Result<(), CommandError> {
        Ok(self.media.router.set_gate(UpTrackId(up), gate, open, now)?)
    }

    /// Whether to tell how loudly somebody speaks on an up track of sound.
    pub fn watch_speech(&mut self, up: u64, on: bool) -> Result<(), CommandError> {
        Ok(self.media.router.watch_speech(UpTrackId(up), on)?)
    }

    /// Asks the sender of an up track for a keyframe.
    pub fn request_keyframe(&mut self, up: u64, now: Time) -> Result<(), CommandError> {
        Ok(self.media.router.request_keyframe(UpTrackId(up), None, Want::Picture, now)?)
    }

    /// Takes an up track out.
    pub fn remove_up_track(&mut self, up: u64) -> Result<(), CommandError> {
        self.media.router.remove_up_track(UpTrackId(up))?;
        self.uncount_track(up);
        Ok(())
    }

    /// Adds a track that the transport's peer receives.
    pub fn add_down_track(&mut self, config: DownTrackConfig) -> Result<(), CommandError> {
        let (id, transport, ssrc, rtx_ssrc) = (config.id, config.transport, config.ssrc, config.rtx_ssrc);
        self.check_new_track(id.0, transport.0)?;
        if ssrc.0 == 0 || rtx_ssrc.is_some_and(|rtx| rtx.0 == 0 || rtx == ssrc) {
            return Err(CommandError::Invalid("SSRC"));
        }
        self.media.router.add_down_track(config)?;
        self.count_track(id.0, transport.0);
        self.down_ssrcs.insert(id.0, ssrc);
        Ok(())
    }

    /// Takes new payload types of a down track, and whether it may send.
    pub fn update_down_track(
        &mut self,
        down: u64,
        payloads: &[Payload],
        active: bool,
        now: Time,
    ) -> Result<(), CommandError> {
        Ok(self.media.router.update_down_track(DownTrackId(down), payloads, active, now)?)
    }

    /// Takes the most that the receiver of a down track shall get.
    pub fn set_target(&mut self, down: u64, target: Target, now: Time) -> Result<(), CommandError> {
        Ok(self.media.router.set_target(DownTrackId(down), target, now)?)
    }

    /// Takes a down track out and tells the peer.
    pub fn remove_down_track(&mut self, down: u64, now: Time, out: &mut TransmitQueue) -> Result<(), CommandError> {
        self.unsubscribe(down, now)?;
        self.media.router.remove_down_track(DownTrackId(down), now)?;
        let ssrc = self.down_ssrcs.remove(&down);
        if let (Some(ssrc), Some(&index)) = (ssrc, self.track_slots.get(&down))
            && let Some(slot) = self.slots.get_mut(index)
        {
            let cname = std::mem::take(&mut slot.cname);
            self.media.say_bye(slot, &[ssrc], &cname, out);
            slot.cname = cname;
        }
        self.uncount_track(down);
        Ok(())
    }

    /// Lets a down track receive an up track of any shard.
    pub fn subscribe(&mut self, down: u64, up: u64, now: Time) -> Result<(), CommandError> {
        if shard_of(up) >= self.config.sources {
            return Err(CommandError::NoTrack);
        }
        let before = self.media.router.subscription(DownTrackId(down))?;
        if before == Some(UpTrackId(up)) {
            return Ok(());
        }
        self.media.router.subscribe(DownTrackId(down), UpTrackId(up), now)?;
        if let Some(before) = before {
            self.tell_owner(before.0, ShardMessage::Unwant { up: before.0 });
        }
        self.tell_owner(up, ShardMessage::Want { up });
        Ok(())
    }

    /// Ends the subscription of a down track.
    pub fn unsubscribe(&mut self, down: u64, now: Time) -> Result<(), CommandError> {
        if let Some(up) = self.media.router.unsubscribe(DownTrackId(down), now)? {
            self.tell_owner(up.0, ShardMessage::Unwant { up: up.0 });
        }
        Ok(())
    }

    /// Makes a clip ready for playing.
    pub fn load_clip(&mut self, clip: Arc<Clip>) {
        self.media.router.load_clip(clip);
    }

    /// Forgets a clip; what plays goes on.
    pub fn unload_clip(&mut self, clip: u64) -> Result<(), CommandError> {
        Ok(self.media.router.unload_clip(ClipId(clip))?)
    }

    /// Starts a clip on down tracks together.
    pub fn play(&mut self, downs: &[u64], clip: u64, looping: bool, now: Time) -> Result<(), CommandError> {
        let downs: Vec<DownTrackId> = downs.iter().copied().map(DownTrackId).collect();
        Ok(self.media.router.play(&downs, ClipId(clip), looping, now)?)
    }

    /// Ends clips on down tracks.
    pub fn stop_playing(&mut self, downs: &[u64], now: Time) -> Result<(), CommandError> {
        let downs: Vec<DownTrackId> = downs.iter().copied().map(DownTrackId).collect();
        Ok(self.media.router.stop_playing(&downs, now)?)
    }

    /// Sends digits as telephone events.
    pub fn send_dtmf(
        &mut self,
        down: u64,
        digits: &str,
        duration: Duration,
        gap: Duration,
        now: Time,
    ) -> Result<(), CommandError> {
        Ok(self.media.router.send_dtmf(DownTrackId(down), digits, duration, gap, now)?)
    }

    pub(super) fn handle_want(&mut self, from: Shard, up: u64, now: Time) {
        let shards = self.wants.entry(up).or_default();
        match shards.iter_mut().find(|(shard, _)| *shard == from) {
            Some((_, count)) => *count += 1,
            None => shards.push((from, 1)),
        }
        // An up track that is not there yet finds it in `wants` when it comes.
        self.media.router.add_remote_receiver(UpTrackId(up), from as u8, now).ok();
    }

    pub(super) fn handle_unwant(&mut self, from: Shard, up: u64, now: Time) {
        let Some(shards) = self.wants.get_mut(&up) else { return };
        if let Some((_, count)) = shards.iter_mut().find(|(shard, _)| *shard == from) {
            *count -= 1;
        }
        shards.retain(|(_, count)| *count > 0);
        if shards.is_empty() {
            self.wants.remove(&up);
        }
        self.media.router.remove_remote_receiver(UpTrackId(up), from as u8, now).ok();
    }

    /// Events of the router become ours, or messages to other shards; collected media goes out.
    pub(super) fn take_media_outputs(&mut self) {
        for (shard, batch) in self.media.collected() {
            self.messages.push_back((shard, ShardMessage::Media(batch)));
        }
        while let Some(event) = self.media.router.poll_event() {
            let event = match event {
                RouterEvent::UpTrackStarted { up, codec, ssrc } => {
                    EndpointEvent::UpTrackStarted { id: up.0, codec: codec.name(), ssrc: ssrc.0 }
                }
                RouterEvent::KeyframeNeeded { up } => EndpointEvent::KeyframeNeeded { id: up.0 },
                RouterEvent::RemoteKeyframeWanted { up, layer, want } => {
                    self.tell_owner(up.0, ShardMessage::KeyframeWanted { up: up.0, layer, want });
                    continue;
                }
                RouterEvent::TellWanted { up, wanted } => {
                    self.tell_owner(up.0, ShardMessage::LayersWanted { up: up.0, wanted });
                    continue;
                }
                RouterEvent::TellAffordable { up, bps } => {
                    self.tell_owner(up.0, ShardMessage::Affordable { up: up.0, bps });
                    continue;
                }
                RouterEvent::TellLayers { up } => {
                    self.tell_layers(up);
                    continue;
                }
                RouterEvent::UpTrackLayersChanged { up } => {
                    EndpointEvent::UpTrackLayersChanged { id: up.0, layers: self.media.router.layer_states(up) }
                }
                RouterEvent::UpTrackLayersWanted { up, wanted } => {
                    let (rids, max_spatial) = self.media.router.name_layers(up, wanted);
                    EndpointEvent::UpTrackLayersWanted { id: up.0, rids, max_spatial }
                }
                RouterEvent::DownTrackLayerChanged { down, choice, layer, temporal } => {
                    EndpointEvent::DownTrackLayerChanged { id: down.0, state: choice.name(), layer, temporal }
                }
                RouterEvent::SpeechChanged { up, loudness } => EndpointEvent::SpeechChanged { id: up.0, loudness },
                RouterEvent::DtmfReceived { up, digit, duration_ms } => {
                    EndpointEvent::DtmfReceived { id: up.0, digit, duration_ms }
                }
                RouterEvent::PlayFinished { down, clip } => EndpointEvent::PlayFinished { id: down.0, clip: clip.0 },
            };
            self.events.push_back(event);
        }
    }

    /// Takes the tracks of a transport that goes out, with its down tracks' goodbyes; what was counted until then.
    pub(super) fn remove_tracks(&mut self, index: usize, now: Time, out: &mut TransmitQueue) -> Option<Statistics> {
        let last = self.slots.get(index).and_then(|slot| self.statistics(slot.id))?;
        for down in &last.tracks.down {
            self.remove_down_track(down.id.0, now, out).ok();
        }
        for up in &last.tracks.up {
            self.remove_up_track(up.id.0).ok();
        }
        Some(last)
    }

    /// Tells every shard with receivers of an up track of its layers.
    fn tell_layers(&mut self, up: UpTrackId) {
        let shards = self.wants.get(&up.0).map(Vec::as_slice).unwrap_or_default();
        let Some(layers) = self.media.router.layers(up).filter(|_| !shards.is_empty()) else { return };
        // It must not be lost: when every table of the pool is under way, one more is made.
        let mut table = self.layer_tables.take().unwrap_or_default();
        if let Some(table) = Arc::get_mut(&mut table) {
            *table = *layers;
        }
        self.layer_tables.keep(&table);
        for &(shard, _) in shards {
            self.messages.push_back((shard, ShardMessage::Layers { up: up.0, table: Arc::clone(&table) }));
        }
    }

    /// Sends a message to the shard of an up track, when that is another one.
    fn tell_owner(&mut self, up: u64, message: ShardMessage) {
        let shard = shard_of(up);
        if shard != self.config.shard {
            self.messages.push_back((shard, message));
        }
    }

    fn check_new_track(&self, track: u64, transport: u64) -> Result<(), CommandError> {
        if shard_of(track) != self.config.shard {
            return Err(CommandError::WrongShard);
        }
        if self.track_slots.contains_key(&track) {
            return Err(CommandError::IdInUse);
        }
        let index = self.transport_index(transport)?;
        if self.slots[index].tracks >= self.config.limits.tracks_per_transport {
            return Err(CommandError::Limit("tracks_per_transport"));
        }
        Ok(())
    }

    fn count_track(&mut self, track: u64, transport: u64) {
        if let Ok(index) = self.transport_index(transport) {
            self.slots[index].tracks += 1;
            self.track_slots.insert(track, index);
        }
    }

    fn uncount_track(&mut self, track: u64) {
        if let Some(index) = self.track_slots.remove(&track)
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.tracks -= 1;
        }
    }
}
