//! From a packet of a track to its receivers on this shard.

use super::{Output, Router, arm_in};
use crate::sfu::drops::MediaDrop;
use crate::sfu::ids::UpTrackId;
use crate::sfu::keyframe::Want;
use crate::sfu::packet::UpPacket;
use crate::time::Time;

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
        let Some(source) = self.sources.get(&up) else { return };
        // Bit by layer.
        let (mut awaited, mut switched) = (0u8, false);
        for &key in &source.downs {
            let entry = &mut self.downs[key];
            for packet in packets.clone() {
                match entry.track.forward(&packet, now) {
                    Ok(rewrite) => {
                        let transport = &mut self.transports[entry.transport];
                        output.rtp(transport.config.id, &rewrite, packet.payload);
                        if let Some(at) = transport.start_reports(now) {
                            arm_in(&mut self.timers, transport, entry.transport, at);
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
