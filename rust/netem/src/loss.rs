//! Loss that has nothing to do with the queue: at random, or in bursts.

use crate::random::Random;

/// How packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Never.
    None,
    /// Each with this probability.
    Random(f64),
    /// Two states (Gilbert): all is lost in one, nothing in the other; probability of a change at each packet.
    Burst {
        /// From the good state to the bad one.
        enter: f64,
        /// And back; the mean length of a burst is its inverse.
        leave: f64,
    },
}

/// The state of a [`Loss`].
#[derive(Clone, Debug)]
pub struct LossState {
    loss: Loss,
    bad: bool,
}

impl LossState {
    /// Begins in the good state.
    pub const fn new(loss: Loss) -> LossState {
        LossState { loss, bad: false }
    }

    /// Whether the next packet is lost.
    pub fn loses(&mut self, random: &mut Random) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Random(probability) => random.unit() < probability,
            Loss::Burst { enter, leave } => {
                let change = if self.bad { leave } else { enter };
                if random.unit() < change {
                    self.bad = !self.bad;
                }
                self.bad
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_length_and_share_that_was_asked_for() {
        let (mut state, mut random) = (LossState::new(Loss::Burst { enter: 0.01, leave: 0.25 }), Random::new(7));
        let lost: Vec<bool> = (0..100_000).map(|_| state.loses(&mut random)).collect();
        let share = lost.iter().filter(|&&lost| lost).count() as f64 / lost.len() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((share - 0.01 / 0.26).abs() < 0.005, "{share}");
        assert!((share * 100_000.0 / bursts - 4.0).abs() < 0.4);
    }
}
