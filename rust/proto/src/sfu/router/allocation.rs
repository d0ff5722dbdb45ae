//! Gives each receiver's estimate to its tracks, and tells the estimator what more could be used.

use super::Router;
use super::asking::sound_bps;
use crate::codec::MediaKind;
use crate::rtp::ExtensionKind;
use crate::sfu::allocator::{Grant, TrackNeed};
use crate::sfu::down_track::Allocation;
use crate::time::Time;

/// Room for the tracks and grants of one run, kept for its memory.
#[derive(Debug, Default)]
pub(super) struct AllocationScratch {
    needs: Vec<TrackNeed>,
    grants: Vec<Grant>,
}

impl Router {
    /// The tracks of a transport have changed, or their targets: who gets what is decided anew.
    pub(super) fn tracks_changed(&mut self, key: usize, now: Time) {
        let transport = &self.transports[key];
        let numbered = transport.extensions.id(ExtensionKind::TransportSequence).is_some();
        let has_picture = || transport.downs.iter().any(|&down| self.downs[down].track.takes_picture());
        if numbered && has_picture() {
            self.transports[key].egress.expect_feedback(now);
            self.wake_egress(key, now);
        }
        self.allocate(key, now);
    }

    /// Allocates when an estimate is there and has changed, or has not been looked at for a while.
    pub(super) fn allocate_when_due(&mut self, key: usize, now: Time) {
        let transport = &self.transports[key];
        let due = match transport.egress.estimate_bps(now) {
            Some(estimate_bps) => transport.allocator.is_due(estimate_bps, now),
            None => transport.allocated,
        };
        if due {
            self.allocate(key, now);
        }
    }

    /// The same on a transport whose line nobody knows, because its peer reports nothing, and which is bounded.
    pub(super) fn allocate_by_limit(&mut self, key: usize, now: Time) {
        let egress = &self.transports[key].egress;
        if egress.limit_bps().is_some() && !egress.knows_line() {
            self.allocate(key, now);
        }
    }

    fn allocate(&mut self, key: usize, now: Time) {
        let Some(estimate_bps) = self.transports[key].egress.estimate_bps(now) else {
            self.lift_allocations(key, now);
            return;
        };
        let mut scratch = std::mem::take(&mut self.allocation);
        self.collect_needs(key, &mut scratch.needs);
        let transport = &mut self.transports[key];
        transport.allocated = true;
        transport.allocator.set_trials(transport.egress.may_try(now));
        transport.allocator.set_limit(transport.egress.limit_bps());
        scratch.grants.clear();
        scratch.grants.extend_from_slice(transport.allocator.allocate(&scratch.needs, estimate_bps, now));
        let granted_bps = transport.allocator.stats().granted_bps;
        transport.egress.set_demand(granted_bps, transport.allocator.demand());
        for grant in &scratch.grants {
            if let Some(&down) = self.down_keys.get(&grant.id) {
                self.downs[down].track.set_allocation(grant.allocation);
                self.choose_layer(down, now);
            }
        }
        self.note_affordable(key, &scratch.needs, Some(estimate_bps), now);
        self.allocation = scratch;
    }

    /// Nothing is known of the line any more, and nothing bounds it.
    fn lift_allocations(&mut self, key: usize, now: Time) {
        if !std::mem::take(&mut self.transports[key].allocated) {
            return;
        }
        self.transports[key].allocator = Default::default();
        for index in 0..self.transports[key].downs.len() {
            let down = self.transports[key].downs[index];
            self.downs[down].track.set_allocation(Allocation::default());
            self.choose_layer(down, now);
        }
        self.note_affordable(key, &[], None, now);
    }

    fn collect_needs(&self, key: usize, needs: &mut Vec<TrackNeed>) {
        needs.clear();
        for &down in &self.transports[key].downs {
            let entry = &self.downs[down];
            let Some(source) = entry.subscription.and_then(|up| self.sources.get(&up)) else { continue };
            let (track, target) = (&entry.track, entry.track.target_for(&source.table));
            if !track.is_active() {
                continue;
            }
            needs.push(match (track.config().kind, track.stats().codec) {
                (MediaKind::Video, _) => {
                    let mut need = TrackNeed::of_layers(track.config().id, &source.table, &target);
                    need.asked_bps = entry.affordable.bps();
                    need
                }
                (MediaKind::Audio, None) => continue,
                (MediaKind::Audio, Some(codec)) => {
                    TrackNeed::sound(track.config().id, target.priority, sound_bps(codec))
                }
            });
        }
    }
}
