//! A small deterministic source of random numbers (SplitMix64), so that a seed repeats a run exactly.

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source; every seed gives its own sequence.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly spread over 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly spread over `from` to `to`.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Roughly normal with mean 0 and deviation 1 (sum of twelve), never beyond 6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_they_should_be() {
        let mut random = Random::new(1);
        let count = 20_000;
        let mut sums = [0.0; 3];
        for _ in 0..count {
            sums[0] += random.unit();
            sums[1] += random.normal();
            sums[2] += random.exponential(3.0);
        }
        let [unit, normal, exponential] = sums.map(|sum| sum / f64::from(count));
        assert!((unit - 0.5).abs() < 0.01 && normal.abs() < 0.03 && (exponential - 3.0).abs() < 0.1);
    }
}
