//! Gives each receiver's estimate to its tracks, and tells the estimator what more could be used.

use super::Router;
use crate::codec::{Codec, MediaKind};
use crate::rtp::ExtensionKind;
use crate::sfu::allocator::{Grant, TrackNeed};
use crate::sfu::down_track::Allocation;
use crate::time::Time;

/// What a sound takes of a line, in bits per second, as long as nobody has measured it: RFC 7587 §3.1.1 for Opus with
/// headers, 64 kbit/s and headers for the others.
const OPUS_BPS: u32 = 48_000;
const OTHER_SOUND_BPS: u32 = 88_000;

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

    fn allocate(&mut self, key: usize, now: Time) {
        let Some(estimate_bps) = self.transports[key].egress.estimate_bps(now) else {
            self.lift_allocations(key, now);
            return;
        };
        let mut scratch = std::mem::take(&mut self.allocation);
        self.collect_needs(key, &mut scratch.needs);
        let transport = &mut self.transports[key];
        transport.allocated = true;
        transport.allocator.set_trials(!transport.egress.is_numbered());
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
    }

    fn collect_needs(&self, key: usize, needs: &mut Vec<TrackNeed>) {
        needs.clear();
        for &down in &self.transports[key].downs {
            let entry = &self.downs[down];
            let (track, target) = (&entry.track, entry.track.target());
            let Some(source) = entry.subscription.and_then(|up| self.sources.get(&up)) else { continue };
            if !track.is_active() {
                continue;
            }
            needs.push(match (track.config().kind, track.stats().codec) {
                (MediaKind::Video, _) => TrackNeed::of_layers(track.config().id, &source.table, &target),
                (MediaKind::Audio, None) => continue,
                (MediaKind::Audio, Some(codec)) => {
                    let bps = if matches!(codec, Codec::Opus) { OPUS_BPS } else { OTHER_SOUND_BPS };
                    TrackNeed::sound(track.config().id, target.priority, bps)
                }
            });
        }
    }
}
