//! From a packet of a track to its receivers on this shard.

use super::layers::Source;
use super::media_transport::MediaTransport;
use super::{DownEntry, Output, Router, Timers, arm_in};
use crate::codec::{Descriptor, MediaKind, red};
use crate::pacer::Class;
use crate::sfu::down_track::DownTrack;
use crate::sfu::drops::{MediaDrop, MediaDropCounters};
use crate::sfu::ids::UpTrackId;
use crate::sfu::keyframe::Want;
use crate::sfu::packet::UpPacket;
use crate::time::Time;
use slab::Slab;

impl Router {
    /// Gives a packet, of this shard or another, to every down track of this shard that subscribed to its track.
    pub fn forward(&mut self, packet: &UpPacket<'_>, now: Time, output: &mut impl Output) {
        self.forward_batch(packet.meta.up, std::iter::once(*packet), now, output);
    }

    /// Gives packets of one up track to every down track of this shard that subscribed to it: all of them to the first
    /// receiver, then all to the next, so that what one receiver gets lies side by side and leaves as one GSO message.
    pub fn forward_batch<'a>(
        &mut self,
        up: UpTrackId,
        packets: impl Iterator<Item = UpPacket<'a>> + Clone,
        now: Time,
        output: &mut impl Output,
    ) {
        let Some(source) = self.sources.get_mut(&up) else { return };
        for packet in packets.clone().filter(|packet| packet.meta.codec.is_video()) {
            if let Some(ring) = source.rings.get_mut(usize::from(packet.meta.layer)) {
                ring.get_or_insert_default().insert(&packet);
            }
        }
        let source = &*source;
        // Bit by layer.
        let (mut awaited, mut switched) = (0u8, false);
        let mut lane = Lane { transports: &mut self.transports, timers: &mut self.timers, drops: &mut self.drops, now };
        for &key in &source.downs {
            let entry = &mut self.downs[key];
            awaited |= match group_to_start_with(source, &entry.track, now) {
                // The packets at hand are its last ones.
                Some(group) => lane.give(entry, group, output),
                None => lane.give(entry, packets.clone(), output),
            };
            switched |= entry.track.has_news();
        }
        if awaited != 0 {
            self.want_keyframes(up, awaited, Want::Picture, now);
        }
        if switched {
            self.tell_switches(up);
        }
    }
}

/// The group of pictures that a receiver who has nothing yet can start with at once, if it is short enough.
pub(super) fn group_to_start_with<'a>(
    source: &'a Source,
    track: &DownTrack,
    now: Time,
) -> Option<impl Iterator<Item = UpPacket<'a>> + Clone + use<'a>> {
    if track.has_source() {
        return None;
    }
    let layer = track.awaited_stream()?;
    let (capture, group) = source.ring(layer)?.group(now)?;
    track.may_start_at(layer, capture).then_some(group)
}

/// What a packet needs on its way from a source to a receiver.
struct Lane<'a> {
    transports: &'a mut Slab<MediaTransport>,
    timers: &'a mut Timers,
    drops: &'a mut MediaDropCounters,
    now: Time,
}

impl Lane<'_> {
    /// Gives packets to one receiver; the layers whose keyframe it waits for, bit by layer.
    fn give<'a>(
        &mut self,
        entry: &mut DownEntry,
        packets: impl Iterator<Item = UpPacket<'a>>,
        output: &mut impl Output,
    ) -> u8 {
        let mut awaited = 0;
        let class = match entry.track.config().kind {
            MediaKind::Audio => Class::Audio,
            MediaKind::Video => Class::Video,
        };
        for packet in packets {
            if packet.meta.keyframe_start && entry.track.goes_over_with(&packet.meta) {
                self.transports[entry.transport].egress.abandon(&mut entry.track);
            }
            if matches!(packet.meta.descriptor, Descriptor::Red(_)) {
                self.recover(entry, &packet, class, output);
            }
            match entry.track.forward(&packet, self.now) {
                Ok(rewrite) => {
                    let transport = &mut self.transports[entry.transport];
                    transport.egress.send(class, &rewrite, Some(&packet), self.now, output);
                    if let Some(at) = transport.start_reports(self.now) {
                        arm_in(self.timers, transport, entry.transport, at);
                    }
                }
                Err(reason) => {
                    if reason == MediaDrop::DownAwaitsKeyframe {
                        awaited |= 1 << packet.meta.layer;
                    }
                    self.drops.count(reason);
                }
            }
        }
        self.transports[entry.transport].arm_waiting(entry.transport, self.timers, self.now);
        awaited
    }

    /// Gives a receiver without redundancy what it missed and this packet holds.
    fn recover(&mut self, entry: &mut DownEntry, packet: &UpPacket<'_>, class: Class, output: &mut impl Output) {
        for back in (1..=red::RECENT).rev() {
            if let Some((rewrite, payload)) = entry.track.recover(packet, back, self.now) {
                let recovered = UpPacket { meta: packet.meta, payload };
                self.transports[entry.transport].egress.send(class, &rewrite, Some(&recovered), self.now, output);
            }
        }
    }
}
