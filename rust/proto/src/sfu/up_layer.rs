//! One layer of an up track: its SSRC, its generation, its size, its rate and who asks it for keyframes.

use super::drops::MediaDrop;
use super::freeze::FreezeMeter;
use super::keyframe::{KeyframeRequests, Want};
use super::layers::{Layer, MAX_LAYERS};
use super::life::Life;
use super::rate_meter::{RateMeter, TICK};
use super::receive_stream::Place;
use super::spatial_layers::SpatialLayers;
use super::temporal_rates::{BelowBps, TemporalRates};
use crate::codec::dependency::Dependencies;
use crate::codec::vp9_structure::Structure;
use crate::rtp::{Ssrc, Token};
use crate::time::Time;
use std::time::Duration;

/// A layer stays with its SSRC until that is silent for so long, unless a new SSRC begins.
const SSRC_SILENCE: Duration = Duration::from_millis(500);
/// In so long at most one change for each spatial layer is told at once.
const TELL_EVERY: Duration = TICK;
/// Keyframes asked for cost at most a third of the bitrate, or a sixth when they stand for lost packets.
const KEYFRAME_SHARE: u64 = 3;
const KEYFRAME_SHARE_LOSS: u64 = 6;
/// However dear a keyframe is, it may be asked for again after so long.
const MAX_KEYFRAME_INTERVAL: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub struct UpLayer {
    rid: Option<Token>,
    /// The SSRC that is forwarded and when it was heard last.
    active: Option<(Ssrc, Time)>,
    stream: u32,
    broken: bool,
    keyframe_timestamp: Option<u32>,
    /// Payload bytes of the last keyframe, as far as they came.
    keyframe_octets: u32,
    size: (u16, u16),
    /// Whether it is among those that receivers may be given.
    pub life: Life,
    meter: RateMeter,
    /// Of a stream that has any inside.
    spatial: Option<Box<SpatialLayers>>,
    /// Of a stream that numbers its temporal layers.
    temporal: Option<Box<TemporalRates>>,
    /// What its dependency descriptors refer to, where it has them.
    pub dependencies: Dependencies,
    /// How many changes of them were told at once since when.
    spatial_told: (Time, u8),
    /// How smoothly its frames come.
    pub freezes: FreezeMeter,
    /// Who asks for keyframes and when the source is told.
    pub keyframes: KeyframeRequests,
}

impl UpLayer {
    /// A layer that has received nothing yet.
    pub fn new(rid: Option<Token>) -> UpLayer {
        UpLayer { rid, ..UpLayer::default() }
    }

    /// Its name.
    pub fn rid(&self) -> Option<Token> {
        self.rid
    }

    /// The SSRC that is forwarded; `None` before the first packet.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.active.map(|(ssrc, _)| ssrc)
    }

    /// Generation of its stream.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Whether packets came lately.
    pub fn is_alive(&self) -> bool {
        self.life.is_alive()
    }

    /// When the SSRC that is forwarded was heard last.
    pub fn last_heard(&self) -> Option<Time> {
        self.active.map(|(_, last)| last)
    }

    /// Takes another name, for a layer that the publisher no longer has or did not name before.
    pub fn rename(&mut self, rid: Option<Token>) {
        if self.rid != rid {
            *self = UpLayer { rid, stream: self.stream + 1, ..UpLayer::default() };
        }
    }

    /// Decides whether a packet's SSRC is the one that is forwarded. A sender that begins anew with another SSRC is
    /// followed at once; stragglers of the old one, or a second one under the same name, are not.
    pub fn choose_ssrc(&mut self, ssrc: Ssrc, place: Place, first: bool, now: Time) -> Result<(), MediaDrop> {
        match &mut self.active {
            Some((active, last)) if *active == ssrc => {
                *last = now;
                if place.restarted {
                    self.stream += 1;
                    self.dependencies.restart();
                }
                Ok(())
            }
            Some((_, last)) if !first && now.since(*last) < SSRC_SILENCE => Err(MediaDrop::SupersededSsrc),
            _ => {
                self.active = Some((ssrc, now));
                self.stream += 1;
                self.dependencies.restart();
                Ok(())
            }
        }
    }

    /// Counts a packet's bytes; true when the layer was not alive before.
    pub fn count(&mut self, timestamp: u32, octets: usize) -> bool {
        self.meter.count(octets);
        if self.keyframe_timestamp == Some(timestamp) {
            self.keyframe_octets = self.keyframe_octets.saturating_add(octets as u32);
        }
        self.life.hear()
    }

    /// Takes the size that a keyframe tells; true when it is another one.
    pub fn resize(&mut self, size: (u16, u16)) -> bool {
        std::mem::replace(&mut self.size, size) != size
    }

    /// Counts a packet of a spatial layer (0 to 7) inside the stream, with the structure that it announces; true when
    /// receivers have to choose anew at once.
    pub fn count_spatial(&mut self, spatial: u8, octets: usize, structure: Option<&Structure>, now: Time) -> bool {
        let layers = self.spatial.get_or_insert_default();
        let announced = structure.is_some_and(|structure| layers.announce(structure));
        let differs = layers.count(spatial, octets, now) || announced;
        let (since, told) = &mut self.spatial_told;
        if now.since(*since) >= TELL_EVERY {
            (*since, *told) = (now, 0);
        }
        // A publisher that changes its mind with every packet: the next tick tells what came of it.
        if !differs || usize::from(*told) >= MAX_LAYERS {
            return false;
        }
        *told += 1;
        true
    }

    /// Counts a packet of a temporal layer of the lowest spatial one.
    pub fn count_temporal(&mut self, temporal: u8, octets: usize) {
        self.temporal.get_or_insert_default().count(temporal, octets);
    }

    /// What its temporal layers cost, or those of the lowest spatial layer inside.
    pub fn temporal_bps(&self) -> BelowBps {
        self.temporal.as_ref().map_or_else(BelowBps::default, |rates| rates.below_bps())
    }

    /// Another codec comes, which may have none.
    pub fn forget_inner_layers(&mut self) {
        (self.spatial, self.temporal) = (None, None);
    }

    /// The spatial layers inside the stream; `None` while it has but one.
    pub fn spatial(&self) -> Option<&SpatialLayers> {
        self.spatial.as_deref().filter(|spatial| spatial.is_layered())
    }

    /// The first packet of a keyframe; true when it is not one that was seen before.
    pub fn keyframe_began(&mut self, timestamp: u32, octets: usize) -> bool {
        let new = self.keyframe_timestamp.replace(timestamp) != Some(timestamp);
        if new {
            self.keyframe_octets = octets as u32;
        }
        new
    }

    /// Somebody wants a keyframe. Keyframes asked for take at most a share of the layer's bitrate, which the
    /// publisher's encoder has to find somewhere and every receiver has to stand.
    pub fn request_keyframe(&mut self, want: Want, now: Time) {
        let share = match want {
            Want::Picture => KEYFRAME_SHARE,
            Want::Loss => KEYFRAME_SHARE_LOSS,
        };
        let millis = u64::from(self.keyframe_octets) * 8 * 1000 * share / u64::from(self.bitrate_bps().max(1));
        self.keyframes.request(want, Duration::from_millis(millis).min(MAX_KEYFRAME_INTERVAL), now);
    }

    /// A gate held a packet back: what follows does not belong together with what came before.
    pub fn interrupt(&mut self) {
        self.broken = true;
    }

    /// A packet passes: begins a new generation after an interruption.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.broken) {
            self.stream += 1;
        }
    }

    /// Ends an interval of the measurement.
    pub fn tick(&mut self, now: Time) {
        self.meter.tick();
        if let Some(spatial) = &mut self.spatial {
            spatial.tick(now);
        }
        if let Some(temporal) = &mut self.temporal {
            temporal.tick();
        }
    }

    /// Bits per second that it takes of a receiver's line, over the last second; less is known in the first one.
    pub fn bitrate_bps(&self) -> u32 {
        self.meter.bps()
    }

    /// What receivers are told of it.
    pub fn describe(&self) -> Layer {
        Layer {
            rid: self.rid,
            spatial: 0,
            width: self.size.0,
            height: self.size.1,
            bitrate_bps: self.bitrate_bps(),
            temporal_bps: self.temporal_bps(),
            alive: self.is_alive(),
            heard: self.active.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::rate_meter::OVERHEAD;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut layer = UpLayer::new(None);
        let place = Place { sequence: 1, restarted: false };
        for tick in 0..10 {
            let now = Time::from_millis(200 * tick);
            layer.choose_ssrc(Ssrc(1), place, tick == 0, now).unwrap();
            assert_eq!(layer.count(0, 25_000 - OVERHEAD as usize), tick == 0);
            layer.tick(now + TICK);
        }
        assert_eq!(layer.bitrate_bps(), 1_000_000);
    }

    #[test]
    fn dear_keyframes_are_asked_for_less_often() {
        let mut layer = UpLayer::new(None);
        for tick in 0..5 {
            layer.count(0, 20_000 - OVERHEAD as usize);
            layer.tick(Time::from_millis(200 * tick));
        }
        layer.keyframe_began(9, 40_000);
        layer.request_keyframe(Want::Picture, Time::ZERO);
        layer.keyframes.poll(Time::ZERO).unwrap();
        layer.keyframes.arrived();
        layer.request_keyframe(Want::Picture, Time::from_millis(10));
        assert_eq!(layer.keyframes.poll_timeout(), Some(Time::from_millis(500)), "one may come early");
        layer.keyframes.poll(Time::from_millis(500)).unwrap();
        layer.keyframes.arrived();
        layer.request_keyframe(Want::Picture, Time::from_millis(510));
        assert_eq!(layer.keyframes.poll_timeout(), Some(Time::from_millis(1_200)), "40 kB at 800 kbit/s, a third");
    }

    #[test]
    fn a_second_ssrc_of_one_name_is_followed_once_and_never_back_and_forth() {
        let mut layer = UpLayer::new(None);
        let place = Place { sequence: 1, restarted: false };
        let at = Time::from_millis;
        assert!(layer.choose_ssrc(Ssrc(1), place, true, at(0)).is_ok());
        assert!(layer.choose_ssrc(Ssrc(2), place, true, at(10)).is_ok());
        for ms in 11..30 {
            assert_eq!(layer.choose_ssrc(Ssrc(1), place, false, at(ms)), Err(MediaDrop::SupersededSsrc));
            assert!(layer.choose_ssrc(Ssrc(2), place, false, at(ms)).is_ok());
        }
        assert_eq!(layer.stream(), 2);
        assert!(layer.choose_ssrc(Ssrc(1), place, false, at(600)).is_ok(), "when the second one has fallen silent");
    }
}
