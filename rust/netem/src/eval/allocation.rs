//! The product's allocator with one track of three layers whose rates vary a little.

use mediaserver_proto::bwe::Demand;
use mediaserver_proto::sfu::{Allocator, DownTrackId, Rung, TrackNeed};
use mediaserver_proto::time::Time;

use crate::random::Random;

/// Rates of the three layers in bits per second.
pub const LAYERS_BPS: [u64; 3] = [150_000, 500_000, 1_500_000];
/// A rate as measured lies within this share of what it is.
const SPREAD: f64 = 0.1;
const TRACK: DownTrackId = DownTrackId(1);

/// Which layer is sent.
#[derive(Debug)]
pub struct Allocation {
    allocator: Allocator,
    random: Random,
    layer: Option<usize>,
    /// Steps: when, and to which layer; `None` is a pause.
    pub steps: Vec<(Time, Option<usize>)>,
}

impl Allocation {
    /// Nothing is sent yet.
    pub fn new(seed: u64) -> Allocation {
        Allocation { allocator: Allocator::new(), random: Random::new(seed), layer: None, steps: Vec::new() }
    }

    /// The layer that is sent; `None` while it is paused.
    pub fn layer(&self) -> Option<usize> {
        self.layer
    }

    /// What the estimator is told of the next step.
    pub fn demand(&self) -> Demand {
        self.allocator.demand()
    }

    /// Takes the estimate; true when the layer changes.
    pub fn update(&mut self, estimate_bps: u64, now: Time) -> bool {
        if !self.allocator.is_due(estimate_bps, now) {
            return false;
        }
        let mut need = TrackNeed::picture(TRACK, 100);
        for (rank, &bps) in LAYERS_BPS.iter().enumerate() {
            let measured_bps = bps as f64 * self.random.between(1.0 - SPREAD, 1.0 + SPREAD);
            need.push(Rung { max_spatial: rank as u8, max_temporal: u8::MAX, bitrate_bps: measured_bps as u32 });
        }
        let Some(grant) = self.allocator.allocate(&[need], estimate_bps, now).first() else { return false };
        let layer = (!grant.allocation.paused).then_some(usize::from(grant.allocation.max_spatial));
        self.layer = layer;
        self.steps.push((now, layer));
        true
    }
}
