//! What the temporal layers of a picture cost.

use super::rate_meter::RateMeter;

/// Layers that are told apart; what is above counts with the highest of them.
pub const TEMPORAL_LAYERS: usize = 4;

/// Bits per second of each temporal layer below the highest, with those below it; zero where there is none.
pub type BelowBps = [u32; TEMPORAL_LAYERS - 1];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemporalRates {
    meters: [RateMeter; TEMPORAL_LAYERS],
}

impl TemporalRates {
    /// Counts a packet of a temporal layer.
    pub fn count(&mut self, temporal: u8, octets: usize) {
        self.meters[usize::from(temporal).min(TEMPORAL_LAYERS - 1)].count(octets);
    }

    /// Ends an interval of the measurement.
    pub fn tick(&mut self) {
        self.meters.iter_mut().for_each(RateMeter::tick);
    }

    /// What a receiver costs who is given less than all of them.
    pub fn below_bps(&self) -> BelowBps {
        let rates = self.meters.map(|meter| meter.bps());
        let top = rates.iter().rposition(|rate| *rate > 0).unwrap_or(0);
        let mut sum = 0u32;
        std::array::from_fn(|temporal| {
            sum = sum.saturating_add(rates[temporal]);
            if temporal < top { sum } else { 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::rate_meter::OVERHEAD;

    fn below(octets: &[(u8, usize)]) -> BelowBps {
        let mut rates = TemporalRates::default();
        for _ in 0..6 {
            octets.iter().for_each(|(temporal, octets)| rates.count(*temporal, octets - OVERHEAD as usize));
            rates.tick();
        }
        rates.below_bps()
    }

    #[test]
    fn a_layer_costs_what_it_needs_below_it_and_the_highest_is_the_picture() {
        assert_eq!(below(&[(0, 2_500), (1, 2_500), (2, 5_000)]), [100_000, 200_000, 0]);
        assert_eq!(below(&[(0, 2_500), (7, 5_000)]), [100_000, 100_000, 100_000]);
        assert_eq!(below(&[(0, 2_500)]), [0; 3], "nothing can be left out");
        assert_eq!(below(&[]), [0; 3]);
    }
}
