//! What publishers are asked to send at most: what the best of their receivers can be given, within what their own
//! transport may take. Layers that nobody can be given are switched off instead, so with layers only the latter counts, but
//! for publishers that do not switch them off (`unwanted`).

use super::{Output, Router, RouterError, RouterEvent};
use crate::codec::{Codec, MediaKind};
use crate::rtcp::{remb, tmmbr};
use crate::rtp::Ssrc;
use crate::sfu::allocator::{Allocator, TrackNeed};
use crate::sfu::ids::{TransportId, UpTrackId};
use crate::sfu::up_layer::UpLayer;
use crate::time::Time;
use std::cmp::Ordering;
use std::time::Duration;

/// No publisher is asked for less of a picture than this, in bits per second; a picture of less is worth nothing.
pub(super) const LEAST_BPS: u32 = 100_000;
/// A receiver who can be given anything.
pub(super) const ANYTHING: u32 = u32::MAX;
/// A source is asked for this share of what its receiver's line has for it: encoders miss their aim by a little.
const MARGIN: f64 = 0.9;
/// A line bounds a source that takes more than this share of it, and goes on as long as that takes more than the other.
const FULL: f64 = 0.95;
const FILLS: f64 = 0.75;
/// And so long after that: a picture that stood still may move again.
const REMEMBER: Duration = Duration::from_secs(30);
/// What a receiver can be given is told to other shards when it has changed by this share.
const NOTABLE: f64 = 0.03;
/// SSRCs that one message names at most.
const MOST_SSRCS: usize = 32;

/// What sound takes of a line, in bits per second, as long as nobody has measured it: RFC 7587 §3.1.1 for Opus with
/// headers, 64 kbit/s and headers for the others.
pub(super) fn sound_bps(codec: Codec) -> u32 {
    if matches!(codec, Codec::Opus) { 48_000 } else { 88_000 }
}

/// What one receiver can be given of one picture of one layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Affordable {
    bps: u32,
    /// When its line was too narrow last.
    tight: Option<Time>,
}

impl Affordable {
    /// The picture takes `rate_bps`, and there are `free_bps` for it.
    fn look(&mut self, rate_bps: u32, free_bps: f64, now: Time) {
        let rate = f64::from(rate_bps);
        let share = if self.tight.is_some() { FILLS } else { FULL };
        if rate > share * free_bps {
            self.tight = Some(now);
        } else if self.tight.is_some_and(|at| now.since(at) > REMEMBER) {
            self.tight = None;
        }
        self.bps = (MARGIN * free_bps).max(f64::from(LEAST_BPS)).min(f64::from(ANYTHING - 1)) as u32;
    }

    /// In bits per second.
    pub(super) fn bps(&self) -> u32 {
        if self.tight.is_some() { self.bps } else { ANYTHING }
    }
}

/// What a receiver's line has for a track: what those before it leave, shared with those beside it, who may take less
/// than their share. Those behind it keep what makes a picture at all.
fn free_bps(track: &TrackNeed, needs: &[TrackNeed], allocator: &Allocator, estimate_bps: f64) -> f64 {
    let others = || needs.iter().filter(|other| other.id != track.id && !other.rungs().is_empty());
    let beside = |other: &&TrackNeed| !other.is_sound && other.priority == track.priority;
    let top = |other: &TrackNeed| other.rungs().last().map_or(0.0, |rung| f64::from(rung.bitrate_bps));
    let mut free = estimate_bps;
    for other in others().filter(|other| !beside(other)) {
        free -= match (other.is_sound, other.priority.cmp(&track.priority)) {
            (true, _) => top(other),
            (false, Ordering::Less) => top(other).min(f64::from(LEAST_BPS)),
            (false, _) => allocator.granted_bps(other),
        };
    }
    let free = free.max(0.0);
    let share = free / (1 + others().filter(beside).count()) as f64;
    share.max(free - others().filter(beside).map(|other| top(other).min(share)).sum::<f64>())
}

impl Router {
    /// Bounds what is sent to the peer of a transport, and what it may send: all streams together, in bits per second.
    pub fn set_limits(
        &mut self,
        id: TransportId,
        send_bps: Option<u64>,
        receive_bps: Option<u64>,
        now: Time,
    ) -> Result<(), RouterError> {
        let key = self.transport(id)?;
        let transport = &mut self.transports[key];
        transport.egress.set_limit(send_bps);
        transport.receive_limit = receive_bps;
        self.tracks_changed(key, now);
        self.ask_publisher(key);
        Ok(())
    }

    /// Who gets what on a transport was decided: so much of each source can its receiver be given.
    pub(super) fn note_affordable(&mut self, key: usize, needs: &[TrackNeed], estimate_bps: Option<u64>, now: Time) {
        // As long as the peer has told nothing the estimate is a guess; a limit is none.
        let egress = &self.transports[key].egress;
        let known_bps = if egress.knows_line() { estimate_bps } else { egress.limit_bps() };
        for index in 0..self.transports[key].downs.len() {
            let down = self.transports[key].downs[index];
            let entry = &self.downs[down];
            let Some(up) = entry.subscription.filter(|_| entry.track.takes_picture()) else { continue };
            if self.sources.get(&up).is_none_or(|source| source.table.is_layered()) {
                continue;
            }
            let need = needs.iter().find(|need| need.id == entry.track.config().id);
            let mut affordable = entry.affordable;
            match (known_bps, need.and_then(|need| Some((need, need.rungs().last()?)))) {
                (Some(bps), Some((need, rung))) => {
                    let free_bps = free_bps(need, needs, &self.transports[key].allocator, bps as f64);
                    affordable.look(rung.bitrate_bps, free_bps, now);
                }
                (Some(_), None) => {}
                (None, _) => affordable = Affordable::default(),
            }
            let before = std::mem::replace(&mut self.downs[down].affordable, affordable);
            if before.bps() != affordable.bps() {
                self.sum_affordable(up);
            }
        }
    }

    /// Finds what the best receiver on this shard of a source can be given, and tells whom it concerns.
    pub(super) fn sum_affordable(&mut self, up: UpTrackId) {
        let Some(source) = self.sources.get(&up) else {
            self.set_affordable(up, 0);
            return;
        };
        let receivers = source.downs.iter().map(|&down| &self.downs[down]).filter(|entry| {
            entry.track.takes_picture() && !entry.track.target().paused && entry.track.playing().is_none()
        });
        let best = receivers.map(|entry| entry.affordable.bps().min(entry.track.target().max_bitrate_bps)).max();
        let best = if source.table.is_layered() { ANYTHING } else { best.unwrap_or(0) };
        self.set_affordable(up, best);
    }

    fn set_affordable(&mut self, up: UpTrackId, bps: u32) {
        if let Some(&key) = self.up_keys.get(&up) {
            if std::mem::replace(&mut self.ups[key].affordable, bps) != bps {
                self.ask_publisher(self.ups[key].transport);
            }
        } else if let Some(source) = self.sources.get_mut(&up)
            && f64::from(source.affordable.abs_diff(bps)) > NOTABLE * f64::from(source.affordable)
        {
            source.affordable = bps;
            self.emit(RouterEvent::TellAffordable { up, bps });
        }
    }

    /// Takes what the best receiver of an up track on shard `shard` can be given; 0 is nobody who takes it.
    pub fn set_remote_affordable(&mut self, up: UpTrackId, shard: u8, bps: u32) {
        let Some(&key) = self.up_keys.get(&up) else { return };
        if let Some(remote) = self.ups[key].remote.iter_mut().find(|remote| remote.shard == shard) {
            remote.affordable = bps;
        }
        self.ask_publisher(self.ups[key].transport);
    }

    /// Works out what the peer of a transport may send, and has it told when that is news.
    pub(super) fn ask_publisher(&mut self, key: usize) {
        let asked = self.sendable_bps(key);
        let transport = &mut self.transports[key];
        transport.asked.set(asked);
        if let Some(at) = transport.asked.poll_timeout() {
            self.arm(key, at);
        }
    }

    fn sendable_bps(&self, key: usize) -> Option<u64> {
        let transport = &self.transports[key];
        let (mut obeys, mut pictures, mut receivers_bps) = (false, 0, Some(0));
        for &up in &transport.ups {
            let entry = &self.ups[up];
            let bps = match (entry.track.config().kind, entry.track.stats().codec) {
                (MediaKind::Audio, codec) => codec.map_or(0, sound_bps),
                (MediaKind::Video, _) => {
                    let feedback = entry.track.payloads().feedback();
                    obeys |= feedback.goog_remb || feedback.ccm_tmmbr;
                    if !entry.track.layers().iter().any(UpLayer::is_alive) {
                        continue;
                    }
                    pictures += 1;
                    entry.bound_by_layers().unwrap_or_else(|| entry.affordable())
                }
            };
            receivers_bps = receivers_bps.filter(|_| bps != ANYTHING).map(|sum| sum + u64::from(bps));
        }
        let receivers_bps = receivers_bps.filter(|_| pictures > 0);
        receivers_bps.into_iter().chain(transport.receive_limit).min().filter(|_| obeys)
    }

    /// Tells the peer of a transport what it may send, when that is due: all streams together by REMB
    /// (draft-alvestrand-rmcat-remb-03 §2), where that was negotiated, else each by TMMBR (RFC 5104 §4.2.1).
    pub(super) fn send_asked(&mut self, key: usize, now: Time, output: &mut impl Output) {
        if self.transports[key].asked.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        self.ask_publisher(key);
        let Some(bps) = self.transports[key].asked.poll(now) else { return };
        let (mut ssrcs, mut count, mut by_remb) = ([Ssrc(0); MOST_SSRCS], 0, false);
        let ups = self.transports[key].ups.iter().map(|&up| &self.ups[up].track);
        let pictures = ups.filter(|track| track.config().kind == MediaKind::Video);
        let pictures = pictures.inspect(|track| by_remb |= track.payloads().feedback().goog_remb);
        for (slot, ssrc) in ssrcs.iter_mut().zip(pictures.flat_map(|track| track.layers()).filter_map(UpLayer::ssrc)) {
            *slot = ssrc;
            count += 1;
        }
        if count == 0 {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let sender = self.begin_feedback(key, &mut scratch);
        match by_remb {
            true => remb::write(&mut scratch, sender, bps, &ssrcs[..count]),
            false => tmmbr::write(&mut scratch, sender, bps / count as u64, &ssrcs[..count]),
        }
        output.rtcp(self.transports[key].config.id, &scratch);
        self.scratch = scratch;
    }
}

impl super::UpEntry {
    /// What its best receiver on any shard can be given.
    fn affordable(&self) -> u32 {
        let best = self.remote.iter().fold(self.affordable, |best, remote| best.max(remote.affordable));
        // Whom nobody looks at is told so by other means.
        if best == 0 { ANYTHING } else { best }
    }
}
