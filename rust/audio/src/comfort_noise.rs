//! Comfort noise: the payload of RFC 3389 and noise that sounds like it.

/// Most filter coefficients that are used; RFC 3389 §4 leaves the order to the sender.
const MOST_ORDER: usize = 12;
/// Quieter than this nobody hears, in dB below the loudest.
const MOST_LEVEL: u8 = 127;
/// 0 dBov is a square wave at full scale (RFC 3389 §3).
const OVERLOAD: f32 = 32_767.0;

/// Noise of a level and a spectrum.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    /// Reflection coefficients.
    reflections: [f32; MOST_ORDER],
    order: usize,
    /// Standard deviation of what goes into the filter.
    gain: f32,
    /// State of the lattice.
    state: [f32; MOST_ORDER + 1],
    random: u32,
}

impl ComfortNoise {
    /// Silence until a payload is taken. Equal seeds make equal noise.
    pub fn new(seed: u32) -> ComfortNoise {
        ComfortNoise {
            reflections: [0.0; MOST_ORDER],
            order: 0,
            gain: 0.0,
            state: [0.0; MOST_ORDER + 1],
            random: seed | 1,
        }
    }

    /// Takes a payload (RFC 3389 §3): the level, then the quantised reflection coefficients. An empty one says nothing.
    pub fn take(&mut self, payload: &[u8]) {
        let Some((&level, coefficients)) = payload.split_first() else { return };
        self.order = coefficients.len().min(MOST_ORDER);
        for (slot, &byte) in self.reflections.iter_mut().zip(coefficients) {
            // RFC 3389 §3.2: k = 258 (N - 127) / 32768; 255 is reserved and would reach 1.
            *slot = (258.0 * (f32::from(byte) - 127.0) / 32_768.0).clamp(-0.99, 0.99);
        }
        self.set_level(level & 0x7f);
    }

    /// Flat noise of a level in dB below the loudest.
    pub fn set_flat(&mut self, level: u8) {
        self.order = 0;
        self.set_level(level);
    }

    fn set_level(&mut self, level: u8) {
        let wanted = if level >= MOST_LEVEL { 0.0 } else { OVERLOAD * 10f32.powf(-f32::from(level) / 20.0) };
        // The filter raises the power by the inverse of this product.
        let product: f32 = self.reflections[..self.order].iter().map(|k| 1.0 - k * k).product();
        self.gain = wanted * product.sqrt();
    }

    /// Appends noise.
    pub fn generate(&mut self, samples: usize, out: &mut Vec<i16>) {
        out.reserve(samples);
        for _ in 0..samples {
            let sample = self.filter();
            out.push(sample.clamp(-32_768.0, 32_767.0) as i16);
        }
    }

    /// One sample of the all-pole lattice.
    fn filter(&mut self) -> f32 {
        let mut forward = self.gaussian() * self.gain;
        for stage in (0..self.order).rev() {
            let k = self.reflections[stage];
            forward -= k * self.state[stage];
            self.state[stage + 1] = self.state[stage] + k * forward;
        }
        self.state[0] = forward;
        forward
    }

    /// Near enough to a normal distribution with a deviation of 1: the sum of four uniform ones.
    fn gaussian(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform()).sum();
        // Each has a variance of 1/3 on -1 to 1.
        sum * 0.866_025_4
    }

    fn uniform(&mut self) -> f32 {
        // Marsaglia's xorshift of 32 bits.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as f32 / 2_147_483_648.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(payload: &[u8]) -> f32 {
        let mut noise = ComfortNoise::new(5);
        noise.take(payload);
        let mut out = Vec::new();
        noise.generate(40_000, &mut out);
        let power = out.iter().map(|&sample| f32::from(sample).powi(2)).sum::<f32>() / out.len() as f32;
        20.0 * (power.sqrt() / OVERLOAD).log10()
    }

    #[test]
    fn noise_has_the_level_that_the_payload_says() {
        for level in [30u8, 50, 70] {
            let found = level_of(&[level]);
            assert!((found + f32::from(level)).abs() < 0.7, "{level}: {found}");
        }
    }

    #[test]
    fn a_spectrum_changes_the_colour_and_not_the_level() {
        let found = level_of(&[40, 60, 160, 120]);
        assert!((found + 40.0).abs() < 1.0, "{found}");
    }

    #[test]
    fn the_lowest_level_is_silence_and_a_long_payload_is_bounded() {
        let mut noise = ComfortNoise::new(1);
        noise.take(&[0x7f; 200]);
        let mut out = Vec::new();
        noise.generate(100, &mut out);
        assert!(out.iter().all(|&sample| sample == 0));
        noise.take(&[0; 200]);
        noise.generate(10_000, &mut out);
        assert_eq!(out.len(), 10_100);
    }
}
