//! Random numbers from a seed (SplitMix64), so that a run can be repeated.

/// A source.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Every seed gives its own sequence.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Evenly spread over 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
