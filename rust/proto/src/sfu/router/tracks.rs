//! Commands: transports, tracks, gates and subscriptions come, change and go.

use super::media_transport::{Latch, MediaTransport};
use super::{DownEntry, Router, RouterError, TransportConfig, UpEntry};
use crate::codec::Payload;
use crate::rtp::{ExtensionMap, Ssrc};
use crate::sfu::down_track::{CLIP_SOURCE, DownTrack, DownTrackConfig};
use crate::sfu::gates::Gate;
use crate::sfu::ids::{DownTrackId, TransportId, UpTrackId};
use crate::sfu::keyframe::Want;
use crate::sfu::target::Target;
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
    pub fn remove_transport(&mut self, id: TransportId) -> Result<Vec<UpTrackId>, RouterError> {
        let key = self.transport(id)?;
        let ups: Vec<_> = self.transports[key].ups.iter().map(|&up| self.ups[up].track.config().id).collect();
        let downs: Vec<_> = self.transports[key].downs.iter().map(|&down| self.downs[down].track.config().id).collect();
        for up in &ups {
            self.remove_up_track(*up)?;
        }
        for down in downs {
            self.remove_down_track(down)?;
        }
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
        let ssrcs = config.ssrcs.clone();
        let key =
            self.ups.insert(UpEntry { track: UpTrack::new(config), transport, remote: Vec::new(), remote_shards: 0 });
        self.up_keys.insert(id, key);
        self.transports[transport].ups.push(key);
        self.bind_signalled(transport, key, &ssrcs);
        Ok(())
    }

    fn bind_signalled(&mut self, transport: usize, up: usize, ssrcs: &[Ssrc]) {
        let transport = &mut self.transports[transport];
        for &ssrc in ssrcs {
            match transport.find(ssrc) {
                Some(index) if transport.streams[index].latch <= Latch::Signalled => {
                    let stream = &mut transport.streams[index];
                    (stream.up, stream.latch) = (up, Latch::Signalled);
                }
                Some(_) => {}
                // Without room the SSRC is bound by `mid` or payload type when room has come.
                None => drop(transport.bind(ssrc, up, Latch::Signalled, Time::ZERO)),
            }
        }
    }

    /// Takes new payload types, SSRCs and layers of an up track.
    pub fn update_up_track(&mut self, id: UpTrackId, update: UpTrackUpdate) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let transport = self.ups[key].transport;
        self.bind_signalled(transport, key, &update.ssrcs);
        self.ups[key].track.update(update);
        Ok(())
    }

    /// Opens or closes a gate of an up track. When the last one opens its receivers start with a keyframe.
    pub fn set_gate(&mut self, id: UpTrackId, gate: Gate, open: bool, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        if self.ups[key].track.set_gate(gate, open) && self.has_receivers(id) {
            self.ask_source(key, Want::Picture, now);
        }
        Ok(())
    }

    /// Somebody, maybe on another shard, wants a keyframe of an up track.
    pub fn request_keyframe(&mut self, id: UpTrackId, want: Want, now: Time) -> Result<(), RouterError> {
        let key = self.up(id)?;
        self.ask_source(key, want, now);
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
        match entry.remote.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, count)) => *count += 1,
            None => entry.remote.push((shard, 1)),
        }
        entry.remote_shards |= 1 << (shard & 63);
        self.ask_source(key, Want::Picture, now);
        Ok(())
    }

    /// A down track of shard `shard` unsubscribed from this up track.
    pub fn remove_remote_receiver(&mut self, id: UpTrackId, shard: u8) -> Result<(), RouterError> {
        let key = self.up(id)?;
        let entry = &mut self.ups[key];
        if let Some((_, count)) = entry.remote.iter_mut().find(|(known, _)| *known == shard) {
            *count -= 1;
        }
        entry.remote.retain(|(_, count)| *count > 0);
        entry.remote_shards = entry.remote.iter().fold(0, |bits, (shard, _)| bits | (1 << (shard & 63)));
        Ok(())
    }

    /// Adds a track that the transport's peer receives.
    pub fn add_down_track(&mut self, config: DownTrackConfig) -> Result<(), RouterError> {
        let (id, ssrc, transport) = (config.id, config.ssrc, self.transport(config.transport)?);
        if self.down_keys.contains_key(&id) {
            return Err(RouterError::DuplicateId(id.0));
        }
        let entry = &self.transports[transport];
        // Two tracks under one SSRC would be two plaintexts under one SRTP index.
        if entry.downs.iter().any(|&down| self.downs[down].track.config().ssrc == ssrc) {
            return Err(RouterError::DuplicateSsrc(ssrc));
        }
        let track = DownTrack::new(config, &entry.extensions);
        let key = self.downs.insert(DownEntry { track, transport, subscription: None });
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
        self.start_picture(key, now);
        Ok(())
    }

    /// Takes the most that the receiver of a down track shall get.
    pub fn set_target(&mut self, id: DownTrackId, target: Target, now: Time) -> Result<(), RouterError> {
        let key = self.down(id)?;
        self.downs[key].track.set_target(target);
        self.start_picture(key, now);
        Ok(())
    }

    /// Takes a down track out.
    pub fn remove_down_track(&mut self, id: DownTrackId) -> Result<(), RouterError> {
        self.unsubscribe(id)?;
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
        self.unsubscribe(id)?;
        let key = self.down(id)?;
        self.downs[key].subscription = Some(up);
        self.subscribers.entry(up).or_default().push(key);
        self.start_picture(key, now);
        Ok(())
    }

    /// Ends the subscription of a down track; returns what it was.
    pub fn unsubscribe(&mut self, id: DownTrackId) -> Result<Option<UpTrackId>, RouterError> {
        let key = self.down(id)?;
        let entry = &mut self.downs[key];
        if entry.track.playing().is_none() {
            entry.track.detach();
        }
        let Some(up) = entry.subscription.take() else { return Ok(None) };
        if let Some(list) = self.subscribers.get_mut(&up) {
            list.retain(|&down| down != key);
            if list.is_empty() {
                self.subscribers.remove(&up);
                self.remote_asked.remove(&up);
            }
        }
        if !self.has_receivers(up)
            && let Some(&source) = self.up_keys.get(&up)
        {
            self.ups[source].track.keyframes.cancel();
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
        if let Some(up) = entry.subscription
            && entry.track.awaits_keyframe()
        {
            self.want_keyframe(up, Want::Picture, now);
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
