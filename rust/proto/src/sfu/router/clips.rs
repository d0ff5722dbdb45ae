//! Clips: loading, playing them onto down tracks, and going back to the subscription.

use super::{Output, Router, RouterError, RouterEvent, TimerKey};
use crate::pacer::Class;
use crate::player::{Clip, Play};
use crate::sfu::ids::{ClipId, DownTrackId};
use crate::sfu::packet::UpPacket;
use crate::time::Time;
use std::cmp::Reverse;
use std::sync::Arc;

impl Router {
    /// Makes a clip ready for playing; one with the same id is replaced for plays to come.
    pub fn load_clip(&mut self, clip: Arc<Clip>) {
        self.clips.insert(clip.id, clip);
    }

    /// Forgets a clip; what plays goes on.
    pub fn unload_clip(&mut self, id: ClipId) -> Result<(), RouterError> {
        self.clips.remove(&id).map(drop).ok_or(RouterError::UnknownClip(id))
    }

    /// Plays a clip onto down tracks, which start together and leave their subscriptions aside until it is over.
    ///
    /// Each takes the format that is first in its own preference. A track that takes none of the clip's formats
    /// keeps its subscription; when that is true of all of them nothing happens and it is an error.
    pub fn play(&mut self, downs: &[DownTrackId], clip: ClipId, looping: bool, now: Time) -> Result<(), RouterError> {
        let clip = Arc::clone(self.clips.get(&clip).ok_or(RouterError::UnknownClip(clip))?);
        let mut lanes = Vec::with_capacity(downs.len());
        for &id in downs {
            let key = self.down(id)?;
            let entries = self.downs[key].track.payloads().entries();
            let format = entries.iter().find_map(|entry| {
                clip.tracks.iter().position(|track| track.codec.fits(entry.codec) && !track.packets.is_empty())
            });
            if let Some(format) = format {
                lanes.push((id, key, format));
            }
        }
        if lanes.is_empty() {
            return Err(RouterError::NothingToPlay(clip.id));
        }
        self.last_serial = self.last_serial.wrapping_add(1);
        let serial = self.last_serial;
        for &(_, key, _) in &lanes {
            self.leave_play(key);
            self.downs[key].track.set_playing(Some(serial));
        }
        let play = Play::new(clip, serial, looping, now, lanes.iter().map(|&(id, _, format)| (id, format)));
        self.plays.insert(serial, play);
        self.timers.push(Reverse((now, TimerKey::Play(serial))));
        Ok(())
    }

    /// Ends playing on down tracks, without an event, and lets them go back to their subscriptions.
    pub fn stop_playing(&mut self, downs: &[DownTrackId], now: Time) -> Result<(), RouterError> {
        for &id in downs {
            let key = self.down(id)?;
            if self.downs[key].track.playing().is_some() {
                self.leave_play(key);
                self.start_picture(key, now);
            }
        }
        Ok(())
    }

    /// Takes a down track out of the play that it receives.
    pub(super) fn leave_play(&mut self, down: usize) {
        let track = &mut self.downs[down].track;
        let Some(serial) = track.playing() else { return };
        track.set_playing(None);
        let id = track.config().id;
        if let Some(play) = self.plays.get_mut(&serial) {
            play.remove(id);
            if play.is_empty() {
                self.plays.remove(&serial);
            }
        }
    }

    pub(super) fn run_play(&mut self, serial: u32, now: Time, output: &mut impl Output) {
        let Some(play) = self.plays.get_mut(&serial) else { return };
        while let Some(due) = play.next_due(now) {
            let Some(&key) = self.down_keys.get(&due.down) else { continue };
            let entry = &mut self.downs[key];
            let packet = UpPacket { meta: due.meta, payload: play.payload(&due) };
            match entry.track.forward(&packet, now) {
                Ok(rewrite) => {
                    let transport = &mut self.transports[entry.transport];
                    // A clip has no ring that could keep its packets, and little to send.
                    transport.egress.send(Class::Audio, &rewrite, Some(&packet), now, output);
                    if let Some(at) = transport.start_reports(now) {
                        super::arm_in(&mut self.timers, transport, entry.transport, at);
                    }
                }
                Err(reason) => self.drops.count(reason),
            }
        }
        if play.is_over(now) {
            self.finish_play(serial, now);
        } else if let Some(at) = play.poll_timeout() {
            self.timers.push(Reverse((at, TimerKey::Play(serial))));
        }
    }

    fn finish_play(&mut self, serial: u32, now: Time) {
        let Some(play) = self.plays.remove(&serial) else { return };
        for down in play.downs() {
            let Some(&key) = self.down_keys.get(&down) else { continue };
            self.downs[key].track.set_playing(None);
            self.emit(RouterEvent::PlayFinished { down, clip: play.clip().id });
            self.start_picture(key, now);
        }
    }
}
