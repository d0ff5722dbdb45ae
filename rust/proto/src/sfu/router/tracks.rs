//! Commands: transports, tracks, gates and subscriptions come, change and go.

use super::asking::ANYTHING;
use super::forward::group_to_start_with;
use super::layers::{Remote, Source, Wanted};
use super::media_transport::{Latch, MediaTransport, UNKNOWN_LAYER};
use super::unwanted::Unwanted;
use super::{DownEntry, Router, RouterError, RouterEvent, TransportConfig, UpEntry};
use crate::codec::Payload;
use crate::rtp::{ExtensionMap, Ssrc};
use crate::sfu::down_track::{CLIP_SOURCE, DownTrack, DownTrackConfig};
use crate::sfu::gates::Gate;
use crate::sfu::ids::{DownTrackId, TransportId, UpTrackId};
use crate::sfu::keyframe::Want;
use crate::sfu::layers::{LayerTable, MAX_LAYERS};
use crate::sfu::target::Target;
use crate::sfu::up_layer::UpLayer;
use crate::sfu::up_track::{UpTrack, UpTrackConfig, UpTrackUpdate};
use crate::time::Time;
use std::time::Duration;

impl Router {
    /// Takes a transport in.
    pub fn add_transport(&mut self, config: TransportConfig) -> Result<(), RouterError> {
        let id = config.id;
        if self.transport_keys.contains_key(&id) {
            return Err(RouterError::DuplicateId(id.0));
        }
        let key = self.transports.insert(MediaTransport::new(config));
        self.transport_keys.insert(id, key);
        Ok(())
    }

    /// Takes a transport out, with all its tracks; returns the up tracks that were on it.
    pub fn remove_transport(&mut self, id: TransportId, now: Time) -> Result<Vec<UpTrackId>, RouterError> {
        let key = self.transport(id)?;
        let ups: Vec<_> = self.transports[key].ups.iter().map(|&up| self.ups[up].track.config().id).collect();
        let downs: Vec<_> = self.transports[key].downs.iter().map(|&down| self.downs[down].track.config().id).collect();
        for up in &ups {
            self.remove_up_track(*up)?;
        }
        for down in downs {
            self.remove_down_track(down, now)?;
        }
        self.gather(key);
        self.transports.remove(key);
        self.transport_keys.remove(&id);
        Ok(ups)
    }

    /// Takes the negotiated header extension ids of a transport.
    pub fn set_extensions(&mut self, id: TransportId, extensions: ExtensionMap) -> Result<(), RouterError> {
        let key = self.transport(id)?;
        let transport = &mut self.transports[key];
        transport.extensions = extensions;
        for &down in &transport.downs {
            self.downs[down].track.set_extensions(&extensions);
        }
        Ok(())
    }

    /// The header extension ids of a transport; start from these to add to them.
    pub fn extensions(&self, id: TransportId) -> Result<ExtensionMap, RouterError> {
        Ok(self.transports[self.transport(id)?].extensions)
    }

    /// Takes the round trip of a transport, by which lost packets are asked for again.
    pub fn set_round_trip(&mut self, id: TransportId, round_trip: Duration) -> Result<(), RouterError> {
        let key = self.transport(id)?;
        self.transports[key].round_trip = round_trip;
        Ok(())
    }

    /// Whether the peer of a transport takes reduced-size RTCP, which may be known later than the transport.
    pub fn set_reduced_size(&mut self, id: TransportId, reduced_size: bool) -> Result<(), RouterError> {
        let key = self.transport(id)?;
        self.transports[key].config.reduced_size = reduced_size;
        Ok(())
    }

    /// Adds a track that the transport's peer publishes.
    pub fn add_up_track(&mut self, config: UpTrackConfig) -> Result<(), RouterError> {
        let (id, transport) = (config.id, self.transport(config.transport)?);
        if id == CLIP_SOURCE || self.up_keys.contains_key(&id) {
            return Err(RouterError::DuplicateId(id.0));
        }
        let (ssrcs, rtx_ssrcs) = (config.ssrcs.clone(), config.rtx_ssrcs.clone());
        let track = UpTrack::new(config);
        let mut table = LayerTable::default();
        track.describe(&mut table);
        let key = self.ups.insert(UpEntry {
            track,
            transport,
            remote: Vec::new(),
            remote_layers: [0; MAX_LAYERS],
            table,
            told: table,
            wanted: Wanted::default(),
            unwanted: Unwanted::default(),
            affordable: 0,
            tick_at: Time::FAR_FUTURE,
        });
        self.up_keys.insert(id, key);
        self.transports[transport].ups.push(key);
        self.bind_signalled(transport, key, &ssrcs, &rtx_ssrcs);
        self.sum_affordable(id);
        Ok(())
    }

    fn bind_signalled(&mut self, transport: usize, up: usize, ssrcs: &[Ssrc], rtx_ssrcs: &[(Ssrc, Ssrc)]) {
        let transport = &mut self.transports[transport];
        let layer = if self.ups[up].track.is_simulcast() { UNKNOWN_LAYER } else { 0 };
        for &ssrc in ssrcs.iter().chain(rtx_ssrcs.iter().map(|(rtx, _)| rtx)) {
            match transport.find(ssrc) {
                Some(index) if transport.streams[index].latch <= Latch::Signalled => {
                    let stream = &mut transport.streams[index];
                    (stream.up, stream.latch) = (up, Latch::Signalled);
                }
                Some(_) => {}
                // Without room the SSRC is bound by `mid` or payload type when room has come.
                None => drop(transport.bind(ssrc, up, layer, Latch::Signalled, Time::ZERO)),
            }
        }
    }

    /// Takes new payload types, SSRCs and layers of an up track.
    pub fn update_up_track(&mut self, id: UpTrackId, update: UpTrackUpdate, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let transport = self.ups[key].transport;
        let (ssrcs, rtx_ssrcs) = (update.ssrcs.clone(), update.rtx_ssrcs.clone());
        let before: Vec<_> = self.ups[key].track.layers().iter().map(UpLayer::rid).collect();
        self.ups[key].track.update(update);
        let layers = self.ups[key].track.layers();
        for stream in self.transports[transport].streams.iter_mut().filter(|stream| stream.up == key) {
            // The binding of an SSRC to a layer goes with the layer's name.
            let index = usize::from(stream.layer);
            if layers.get(index).map(UpLayer::rid) != before.get(index).copied() {
                stream.layer = UNKNOWN_LAYER;
            }
        }
        self.bind_signalled(transport, key, &ssrcs, &rtx_ssrcs);
        self.layers_changed(key, now);
        Ok(())
    }

    /// Opens or closes a gate of an up track. When the last one opens its receivers start with a keyframe.
    pub fn set_gate(&mut self, id: UpTrackId, gate: Gate, open: bool, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        if self.ups[key].track.set_gate(gate, open) && self.has_receivers(id) {
            self.ask_all_layers(key, Want::Picture, now);
        }
        Ok(())
    }

    /// Whether [`RouterEvent::SpeechChanged`] is wanted of an up track. Sound only; a picture says nothing.
    pub fn watch_speech(&mut self, id: UpTrackId, on: bool) -> Result<(), RouterError> {
        let key = self.up(id)?;
        self.ups[key].track.watch_speech(on);
        Ok(())
    }

    /// Somebody, maybe on another shard, wants a keyframe of a layer of an up track, or of all that live.
    pub fn request_keyframe(
        &mut self,
        id: UpTrackId,
        layer: Option<u8>,
        want: Want,
        now: Time,
    ) -> Result<(), RouterError> {
        let key = self.up(id)?;
        match layer {
            Some(layer) => self.ask_source(key, layer, want, now),
            None => self.ask_all_layers(key, want, now),
        }
        Ok(())
    }

    /// Takes an up track out. Its receivers stay subscribed and silent.
    pub fn remove_up_track(&mut self, id: UpTrackId) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let entry = self.ups.remove(key);
        self.up_keys.remove(&id);
        let transport = &mut self.transports[entry.transport];
        transport.ups.retain(|&up| up != key);
        transport.streams.retain(|stream| stream.up != key);
        Ok(())
    }

    /// A down track of shard `shard` (0 to 63) subscribed to this up track.
    pub fn add_remote_receiver(&mut self, id: UpTrackId, shard: u8, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let entry = &mut self.ups[key];
        match entry.remote.iter_mut().find(|remote| remote.shard == shard) {
            Some(remote) => remote.count += 1,
            // Everything, until the shard says what its receivers may be given.
            None => entry.remote.push(Remote { shard, count: 1, wanted: u8::MAX, affordable: ANYTHING }),
        }
        entry.address_remotes();
        if entry.table.is_layered() {
            // Its receivers choose a layer and ask for themselves when they know them.
            self.emit(RouterEvent::TellLayers { up: id });
        } else {
            self.ask_source(key, 0, Want::Picture, now);
        }
        Ok(())
    }

    /// A down track of shard `shard` unsubscribed from this up track.
    pub fn remove_remote_receiver(&mut self, id: UpTrackId, shard: u8, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let entry = &mut self.ups[key];
        if let Some(remote) = entry.remote.iter_mut().find(|remote| remote.shard == shard) {
            remote.count -= 1;
        }
        entry.remote.retain(|remote| remote.count > 0);
        entry.address_remotes();
        self.tell_wanted(key, now);
        self.ask_publisher(self.ups[key].transport);
        Ok(())
    }

    /// Adds a track that the transport's peer receives.
    pub fn add_down_track(&mut self, config: DownTrackConfig) -> Result<(), RouterError> {
        let (id, transport) = (config.id, self.transport(config.transport)?);
        if self.down_keys.contains_key(&id) {
            return Err(RouterError::DuplicateId(id.0));
        }
        let entry = &self.transports[transport];
        // Two tracks under one SSRC would be two plaintexts under one SRTP index.
        for ssrc in std::iter::once(config.ssrc).chain(config.rtx_ssrc) {
            let mut others = entry.downs.iter().map(|&down| self.downs[down].track.config());
            if others.any(|other| other.ssrc == ssrc || other.rtx_ssrc == Some(ssrc)) {
                return Err(RouterError::DuplicateSsrc(ssrc));
            }
        }
        let track = DownTrack::new(config, &entry.extensions);
        let key = self.downs.insert(DownEntry { track, transport, subscription: None, affordable: Default::default() });
        self.down_keys.insert(id, key);
        self.transports[transport].downs.push(key);
        Ok(())
    }

    /// Takes new payload types of a down track, and whether it may send.
    pub fn update_down_track(
        &mut self,
        id: DownTrackId,
        payloads: &[Payload],
        active: bool,
        now: Time,
    ) -> Result<(), RouterError> {
        let key = self.down(id)?;
        self.downs[key].track.update(payloads, active);
        self.tracks_changed(self.downs[key].transport, now);
        self.start_picture(key, now);
        if let Some(up) = self.downs[key].subscription {
            self.sum_wanted(up, now);
        }
        Ok(())
    }

    /// Takes the most that the receiver of a down track shall get.
    pub fn set_target(&mut self, id: DownTrackId, target: Target, now: Time) -> Result<(), RouterError> {
        let key = self.down(id)?;
        self.downs[key].track.set_target(target);
        self.tracks_changed(self.downs[key].transport, now);
        self.choose_layer(key, now);
        if let Some(up) = self.downs[key].subscription {
            self.sum_wanted(up, now);
        }
        Ok(())
    }

    /// Takes a down track out.
    pub fn remove_down_track(&mut self, id: DownTrackId, now: Time) -> Result<(), RouterError> {
        self.unsubscribe(id, now)?;
        let key = self.down(id)?;
        self.leave_play(key);
        let entry = self.downs.remove(key);
        self.down_keys.remove(&id);
        self.transports[entry.transport].downs.retain(|&down| down != key);
        Ok(())
    }

    /// Lets a down track receive an up track of any shard, in place of the one before; sequence and time go on.
    ///
    /// For a track of another shard the caller tells that shard with [`Router::add_remote_receiver`].
    pub fn subscribe(&mut self, id: DownTrackId, up: UpTrackId, now: Time) -> Result<(), RouterError> {
        self.unsubscribe(id, now)?;
        let key = self.down(id)?;
        self.downs[key].subscription = Some(up);
        let table = self.layers(up).copied().unwrap_or_default();
        self.sources.entry(up).or_insert_with(|| Source::new(table)).downs.push(key);
        self.tracks_changed(self.downs[key].transport, now);
        self.choose_layer(key, now);
        self.start_picture(key, now);
        self.sum_wanted(up, now);
        Ok(())
    }

    /// Ends the subscription of a down track; returns what it was.
    pub fn unsubscribe(&mut self, id: DownTrackId, now: Time) -> Result<Option<UpTrackId>, RouterError> {
        let key = self.down(id)?;
        let entry = &mut self.downs[key];
        if entry.track.playing().is_none() {
            entry.track.detach();
        }
        entry.track.forget_sent();
        let Some(up) = entry.subscription.take() else { return Ok(None) };
        if let Some(source) = self.sources.get_mut(&up) {
            source.downs.retain(|&down| down != key);
            if source.downs.is_empty() {
                self.sources.remove(&up);
            }
        }
        self.sum_wanted(up, now);
        if !self.has_receivers(up)
            && let Some(&source) = self.up_keys.get(&up)
        {
            for layer in self.ups[source].track.layers_mut() {
                layer.keyframes.cancel();
            }
        }
        Ok(Some(up))
    }

    /// The subscription of a down track.
    pub fn subscription(&self, id: DownTrackId) -> Result<Option<UpTrackId>, RouterError> {
        Ok(self.downs[self.down(id)?].subscription)
    }

    /// Sends DTMF digits on a down track as telephone events.
    pub fn send_dtmf(
        &mut self,
        id: DownTrackId,
        digits: &str,
        duration: Duration,
        gap: Duration,
        now: Time,
    ) -> Result<(), RouterError> {
        let key = self.down(id)?;
        let entry = &mut self.downs[key];
        entry.track.send_dtmf(digits, duration, gap, now)?;
        let (transport, at) = (entry.transport, entry.track.poll_timeout());
        if let Some(at) = at {
            self.arm(transport, at);
        }
        Ok(())
    }

    /// The down tracks of a transport begin anew, because what they were given before could not be sent.
    pub fn restart_down_tracks(&mut self, id: TransportId, now: Time) {
        let Ok(key) = self.transport(id) else { return };
        self.tracks_changed(key, now);
        for index in 0..self.transports[key].downs.len() {
            let down = self.transports[key].downs[index];
            if self.downs[down].track.playing().is_none() {
                self.downs[down].track.detach();
                self.start_picture(down, now);
            }
        }
    }

    /// Asks the source of a down track for a keyframe when the track cannot go on without one.
    pub(super) fn start_picture(&mut self, down: usize, now: Time) {
        let entry = &self.downs[down];
        if let (Some(up), Some(layer)) = (entry.subscription, entry.track.awaited_stream()) {
            let source = self.sources.get(&up);
            if source.is_some_and(|source| group_to_start_with(source, &entry.track, now).is_some()) {
                // It starts with the next packet.
                return;
            }
            self.want_keyframe(up, layer, Want::Picture, now);
        }
    }

    pub(super) fn transport(&self, id: TransportId) -> Result<usize, RouterError> {
        self.transport_keys.get(&id).copied().ok_or(RouterError::UnknownTransport(id))
    }

    pub(super) fn up(&self, id: UpTrackId) -> Result<usize, RouterError> {
        self.up_keys.get(&id).copied().ok_or(RouterError::UnknownUpTrack(id))
    }

    pub(super) fn down(&self, id: DownTrackId) -> Result<usize, RouterError> {
        self.down_keys.get(&id).copied().ok_or(RouterError::UnknownDownTrack(id))
    }
}
