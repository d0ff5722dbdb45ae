//! What a stream takes of a receiver's line over the last second, from packets counted into a handful of slots.

use std::time::Duration;

/// How often [`RateMeter::tick`] is called while something is measured.
pub const TICK: Duration = Duration::from_millis(200);
/// Slots of the last second, the one that is being filled among them.
const SLOTS: usize = 5;
/// What a packet has beside its payload: header, extensions, SRTP tag; about.
pub const OVERHEAD: u32 = 44;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateMeter {
    octets: [u32; SLOTS],
    ticks: usize,
}

impl RateMeter {
    /// Counts a packet by its payload.
    pub fn count(&mut self, octets: usize) {
        let slot = &mut self.octets[self.ticks % SLOTS];
        *slot = slot.saturating_add(octets as u32 + OVERHEAD);
    }

    /// Ends a slot.
    pub fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.octets[self.ticks % SLOTS] = 0;
    }

    /// Bits per second over the last second; less is known in the first one.
    pub fn bps(&self) -> u32 {
        let current = self.ticks % SLOTS;
        let octets: u64 = (0..SLOTS).filter(|&slot| slot != current).map(|slot| u64::from(self.octets[slot])).sum();
        let span = TICK * self.ticks.clamp(1, SLOTS - 1) as u32;
        u32::try_from(octets * 8 * 1000 / span.as_millis() as u64).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut meter = RateMeter::default();
        for tick in 0..10 {
            meter.count(if tick < 5 { 1_000 } else { 25_000 - OVERHEAD as usize });
            meter.tick();
        }
        assert_eq!(meter.bps(), 1_000_000);
    }

    #[test]
    fn the_first_slots_count_by_themselves() {
        let mut meter = RateMeter::default();
        meter.count(2_500 - OVERHEAD as usize);
        meter.tick();
        assert_eq!(meter.bps(), 100_000);
    }
}
