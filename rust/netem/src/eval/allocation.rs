//! The simplest allocator that can be measured: the highest layer that the estimate pays for, slowly up, quickly down.

use std::time::Duration;

use mediaserver_proto::time::Time;

/// Rates of the three layers in bits per second.
pub const LAYERS_BPS: [u64; 3] = [150_000, 500_000, 1_500_000];
/// A step up needs this much more than its rate; retransmissions and large frames must fit too.
const UP_ROOM: f64 = 1.0;
/// A step down is taken at once below this share of the rate, and after a while below all of it.
const DOWN_AT_ONCE: f64 = 0.75;
const DOWN: f64 = 0.95;
const DOWN_AFTER: Duration = Duration::from_millis(400);
/// Between a step down and the next step up, at least.
const UP_AFTER: Duration = Duration::from_millis(3_000);

/// Which layer is sent.
#[derive(Debug, Default)]
pub struct Allocation {
    layer: usize,
    low_since: Option<Time>,
    stepped_down: Option<Time>,
    /// Steps: when, and to which layer.
    pub steps: Vec<(Time, usize)>,
}

impl Allocation {
    /// The layer that is sent.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Takes the estimate; true when the layer changes.
    pub fn update(&mut self, estimate_bps: u64, now: Time) -> bool {
        let estimate = estimate_bps as f64;
        let fits = LAYERS_BPS.iter().rposition(|&bps| estimate >= UP_ROOM * bps as f64).unwrap_or(0);
        let cost = LAYERS_BPS[self.layer] as f64;
        if estimate >= DOWN * cost {
            self.low_since = None;
        }
        let rested = self.stepped_down.is_none_or(|at| now.since(at) >= UP_AFTER);
        if fits > self.layer && rested {
            self.step(fits, now);
            return true;
        }
        if self.layer > 0 && estimate < DOWN * cost {
            let since = *self.low_since.get_or_insert(now);
            if estimate < DOWN_AT_ONCE * cost || now.since(since) >= DOWN_AFTER {
                self.stepped_down = Some(now);
                self.step(fits.min(self.layer - 1), now);
                return true;
            }
        }
        false
    }

    fn step(&mut self, layer: usize, now: Time) {
        self.layer = layer;
        self.low_since = None;
        self.steps.push((now, layer));
    }
}
