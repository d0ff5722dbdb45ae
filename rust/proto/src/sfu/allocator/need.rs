//! What one track of a receiver may be given: a ladder of rungs, each dearer than the one below.

use crate::sfu::down_track::Allocation;
use crate::sfu::ids::DownTrackId;
use crate::sfu::layers::{Layer, LayerTable};
use crate::sfu::target::Target;

/// Rungs of one track at most; what is beyond is not looked at.
pub const MAX_RUNGS: usize = 16;
/// A rung that costs less than this many times the one below is not worth a step of its own.
const WORTH: f64 = 1.15;

/// One way to send a track, and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rung {
    /// Highest layer by rank, as in [`Allocation`].
    pub max_spatial: u8,
    /// Highest temporal layer, as in [`Allocation`].
    pub max_temporal: u8,
    /// Bits per second that the receiver is sent then, as measured; all that the layer needs below it included.
    pub bitrate_bps: u32,
}

impl Rung {
    pub(super) fn place(&self) -> (u8, u8) {
        (self.max_spatial, self.max_temporal)
    }
}

/// What one track needs, within its [`Target`].
#[derive(Clone, Copy, Debug)]
pub struct TrackNeed {
    /// The track.
    pub id: DownTrackId,
    /// Who comes first: 255 before 0.
    pub priority: u8,
    /// Sound goes before every picture and is given up last.
    pub is_sound: bool,
    /// What its publisher was asked to send at most, in bits per second; `u32::MAX` is as much as it likes.
    pub asked_bps: u32,
    rungs: [Rung; MAX_RUNGS],
    len: u8,
}

impl TrackNeed {
    /// A sound of so many bits per second.
    pub fn sound(id: DownTrackId, priority: u8, bitrate_bps: u32) -> TrackNeed {
        let mut need = TrackNeed { is_sound: true, ..TrackNeed::picture(id, priority) };
        need.push(Rung { max_spatial: u8::MAX, max_temporal: u8::MAX, bitrate_bps });
        need
    }

    /// A picture without rungs: nothing to send. Add them with [`TrackNeed::push`].
    pub fn picture(id: DownTrackId, priority: u8) -> TrackNeed {
        TrackNeed { id, priority, is_sound: false, asked_bps: u32::MAX, rungs: [Rung::default(); MAX_RUNGS], len: 0 }
    }

    /// A picture with the live layers of its source that its target allows. Without any (paused, silent, too large)
    /// it has no rungs.
    pub fn of_layers(id: DownTrackId, table: &LayerTable, target: &Target) -> TrackNeed {
        let mut need = TrackNeed::picture(id, target.priority);
        if target.paused {
            return need;
        }
        let mut smallest = None;
        let small_enough = |layer: &Layer| !target.strict || layer.is_within(target);
        let live = table.ranked().enumerate().filter(|(_, (_, layer))| layer.alive && small_enough(layer));
        for (rank, (_, layer)) in live {
            smallest = smallest.or(Some((rank as u8, layer)));
            if layer.fits(target, rank) {
                need.push_layer(rank as u8, layer, target.max_temporal);
            }
        }
        if need.len == 0
            && let Some((rank, layer)) = smallest
        {
            // As in `LayerTable::choose`: a wish that no layer meets gets the smallest.
            need.push_layer(rank, layer, target.max_temporal);
        }
        need
    }

    /// Adds a layer. Of the smallest one fewer frames a second are rungs, too: better than a picture that stands still,
    /// while a smaller picture is better than one that jerks.
    fn push_layer(&mut self, rank: u8, layer: &Layer, most: u8) {
        let below = if self.len == 0 { &layer.temporal_bps[..] } else { &[] };
        for (max_temporal, &bitrate_bps) in (0..most).zip(below).filter(|(_, bps)| **bps > 0) {
            self.push(Rung { max_spatial: rank, max_temporal, bitrate_bps: bitrate_bps.min(layer.bitrate_bps) });
        }
        self.push(Rung { max_spatial: rank, max_temporal: most, bitrate_bps: layer.bitrate_bps });
    }

    /// Adds a rung above those there are. One that costs hardly more takes the place of the one below.
    pub fn push(&mut self, rung: Rung) {
        let len = usize::from(self.len);
        match self.rungs[..len].last_mut() {
            Some(below) if rung.place() <= below.place() => {}
            // The lowest stays: it is what is left when nothing else fits.
            Some(below) if len > 1 && f64::from(rung.bitrate_bps) < WORTH * f64::from(below.bitrate_bps) => {
                *below = Rung { bitrate_bps: rung.bitrate_bps.max(below.bitrate_bps), ..rung };
            }
            _ if len < MAX_RUNGS => {
                self.rungs[len] = rung;
                self.len += 1;
            }
            _ => {}
        }
    }

    /// From the cheapest to the dearest.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs[..usize::from(self.len)]
    }
}

/// What a track is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The track.
    pub id: DownTrackId,
    /// For [`crate::sfu::DownTrack::set_allocation`].
    pub allocation: Allocation,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Token;
    use crate::sfu::layers::Layer;

    fn table(layers: &[(u16, u32, bool)]) -> LayerTable {
        let mut table = LayerTable::default();
        table.update(layers.iter().enumerate().map(|(index, &(height, kbps, alive))| Layer {
            rid: Token::new(&[b'a' + index as u8]),
            width: height / 9 * 16,
            height,
            bitrate_bps: kbps * 1000,
            alive,
            heard: true,
            ..Layer::default()
        }));
        table
    }

    fn rungs(table: &LayerTable, target: Target) -> Vec<(u8, u32)> {
        let need = TrackNeed::of_layers(DownTrackId(1), table, &target);
        need.rungs().iter().map(|rung| (rung.max_spatial, rung.bitrate_bps / 1000)).collect()
    }

    #[test]
    fn live_layers_within_the_target_are_rungs_by_rank() {
        let all = table(&[(180, 150, true), (360, 500, true), (720, 1500, true)]);
        assert_eq!(rungs(&all, Target::default()), [(0, 150), (1, 500), (2, 1500)]);
        assert_eq!(rungs(&all, Target { max_height: 400, ..Target::default() }), [(0, 150), (1, 500)]);
        assert_eq!(rungs(&all, Target { paused: true, ..Target::default() }), []);
        let some = table(&[(180, 150, false), (360, 500, true), (720, 1500, false)]);
        assert_eq!(rungs(&some, Target::default()), [(1, 500)]);
    }

    #[test]
    fn a_wish_that_no_layer_meets_gets_the_smallest_and_a_limit_nothing() {
        let large = table(&[(360, 500, true), (720, 1500, true)]);
        let small = Target { max_height: 100, ..Target::default() };
        assert_eq!(rungs(&large, small), [(0, 500)]);
        assert_eq!(rungs(&large, Target { strict: true, ..small }), []);
    }

    #[test]
    fn a_rung_that_costs_hardly_more_is_no_step_of_its_own() {
        let mut need = TrackNeed::picture(DownTrackId(1), 0);
        for (max_temporal, bitrate_bps) in [(0, 100), (1, 500), (2, 520), (3, 1000), (3, 2000)] {
            need.push(Rung { max_spatial: 0, max_temporal, bitrate_bps });
        }
        let seen: Vec<_> = need.rungs().iter().map(|rung| (rung.max_temporal, rung.bitrate_bps)).collect();
        assert_eq!(seen, [(0, 100), (2, 520), (3, 1000)]);
    }

    #[test]
    fn fewer_frames_of_the_smallest_layer_come_below_it() {
        let mut table = table(&[(180, 150, true), (360, 500, true)]);
        table.update([(180, [60_000, 90_000, 0]), (360, [200_000, 300_000, 0])].into_iter().map(
            |(height, temporal_bps)| Layer {
                height,
                bitrate_bps: 1_000 * u32::from(height) / 180 * 150,
                temporal_bps,
                alive: true,
                heard: true,
                rid: Token::new(format!("{height}").as_bytes()),
                ..Layer::default()
            },
        ));
        let rungs = |target: &Target| -> Vec<_> {
            let need = TrackNeed::of_layers(DownTrackId(1), &table, target);
            need.rungs().iter().map(|rung| (rung.place(), rung.bitrate_bps / 1000)).collect()
        };
        let any = Target::default();
        assert_eq!(rungs(&any), [((0, 0), 60), ((0, 1), 90), ((0, 255), 150), ((1, 255), 300)]);
        assert_eq!(rungs(&Target { max_temporal: 1, ..any }), [((0, 0), 60), ((0, 1), 150), ((1, 1), 300)]);
        assert_eq!(rungs(&Target { max_temporal: 0, ..any })[0], ((0, 0), 150));
    }

    #[test]
    fn rungs_beyond_the_bound_are_not_looked_at() {
        let mut need = TrackNeed::picture(DownTrackId(1), 0);
        for step in 0..60u8 {
            need.push(Rung { max_spatial: step, max_temporal: 0, bitrate_bps: 1 << (step / 2).min(30) });
        }
        assert!(need.rungs().len() <= MAX_RUNGS);
    }
}
