//! From one of 8, 16 and 48 kHz to another, by a polyphase filter; each divides the next, so one filter is enough.

use crate::AudioError;

/// Length of the filter in samples at the lower of the two rates.
const REACH: usize = 24;
/// Kaiser's parameter: about 70 dB of what would alias is taken away.
const BETA: f64 = 7.0;
/// What passes, as a share of half the lower rate.
const PASS: f64 = 0.90;

/// One stream's resampler.
#[derive(Debug)]
pub struct Resampler {
    /// One filter for each place between two samples of the lower rate.
    phases: Vec<Vec<f32>>,
    up: bool,
    history: Vec<f32>,
}

impl Resampler {
    /// From `from` to `to` samples per second; `None` where they are equal.
    pub fn new(from: u32, to: u32) -> Result<Option<Resampler>, AudioError> {
        for rate in [from, to] {
            if ![8_000, 16_000, 48_000].contains(&rate) {
                return Err(AudioError::Rate(rate));
            }
        }
        if from == to {
            return Ok(None);
        }
        let (up, ratio) = (to > from, (from.max(to) / from.min(to)) as usize);
        let filter = low_pass(ratio);
        let phases = if up {
            (0..ratio).map(|phase| filter.iter().skip(phase).step_by(ratio).map(|tap| tap * ratio as f32).collect())
        } else {
            return Ok(Some(Resampler { history: vec![0.0; filter.len()], phases: vec![filter; ratio], up }));
        };
        Ok(Some(Resampler { phases: phases.collect(), up, history: vec![0.0; REACH] }))
    }

    /// Appends `samples` at the other rate. Going down their number is a multiple of the ratio.
    pub fn resample(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let ratio = self.phases.len();
        if self.up {
            for &sample in samples {
                push(&mut self.history, &[sample]);
                out.extend(self.phases.iter().map(|phase| convolve(phase, &self.history)));
            }
        } else {
            for samples in samples.chunks_exact(ratio) {
                push(&mut self.history, samples);
                out.push(convolve(&self.phases[0], &self.history));
            }
        }
    }
}

fn push(history: &mut [f32], samples: &[i16]) {
    let kept = history.len() - samples.len();
    history.copy_within(samples.len().., 0);
    history[kept..].iter_mut().zip(samples).for_each(|(slot, &sample)| *slot = f32::from(sample));
}

/// The filter is symmetric as a whole; its phases are not, so they run backwards over the history.
fn convolve(filter: &[f32], history: &[f32]) -> i16 {
    let sum: f32 = filter.iter().zip(history.iter().rev()).map(|(tap, sample)| tap * sample).sum();
    sum.round().clamp(-32_768.0, 32_767.0) as i16
}

/// A windowed sinc at the higher rate that passes what the lower one can carry; its taps sum up to 1.
fn low_pass(ratio: usize) -> Vec<f32> {
    let len = REACH * ratio;
    let middle = (len - 1) as f64 / 2.0;
    let cut = PASS / ratio as f64;
    let taps: Vec<f64> = (0..len)
        .map(|n| {
            let at = n as f64 - middle;
            let sinc =
                if at == 0.0 { cut } else { (std::f64::consts::PI * cut * at).sin() / (std::f64::consts::PI * at) };
            sinc * bessel(BETA * (1.0 - (at / middle).powi(2)).max(0.0).sqrt()) / bessel(BETA)
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

/// Modified Bessel function of the first kind and order 0, as its power series.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..32 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of a tone's power that is at its frequency behind the resampler, and its gain in dB.
    fn pass(from: u32, to: u32, hz: f64) -> (f64, f64) {
        let wave = |n: u32| (10_000.0 * (std::f64::consts::TAU * hz * f64::from(n) / f64::from(from)).sin()) as i16;
        let input: Vec<i16> = (0..from).map(wave).collect();
        let mut output = Vec::new();
        let mut resampler = Resampler::new(from, to).unwrap().unwrap();
        for frame in input.chunks(from as usize / 50) {
            resampler.resample(frame, &mut output);
        }
        assert_eq!(output.len(), to as usize);
        let settled = &output[to as usize / 10..];
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, &sample) in settled.iter().enumerate() {
            let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(to);
            sine += f64::from(sample) * angle.sin();
            cosine += f64::from(sample) * angle.cos();
            power += f64::from(sample).powi(2);
        }
        let at_tone = 2.0 * (sine * sine + cosine * cosine) / settled.len() as f64;
        (at_tone / power, 10.0 * (power / settled.len() as f64 / 5e7).log10())
    }

    #[test]
    fn speech_passes_all_six_ways_unchanged() {
        for (from, to) in
            [(8_000, 16_000), (8_000, 48_000), (16_000, 48_000), (16_000, 8_000), (48_000, 8_000), (48_000, 16_000)]
        {
            for hz in [300.0, 1_000.0, 3_000.0] {
                let (share, gain) = pass(from, to, hz);
                assert!(share > 0.999 && gain.abs() < 0.5, "{from} to {to} at {hz}: {share}, {gain} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_gone() {
        for (from, to, hz) in [(16_000, 8_000, 5_000.0), (48_000, 8_000, 6_000.0), (48_000, 16_000, 10_000.0)] {
            let (_, gain) = pass(from, to, hz);
            assert!(gain < -50.0, "{from} to {to} at {hz}: {gain} dB");
        }
    }

    #[test]
    fn equal_rates_need_none_and_others_are_refused() {
        assert!(Resampler::new(8_000, 8_000).unwrap().is_none());
        assert_eq!(Resampler::new(44_100, 8_000).err(), Some(AudioError::Rate(44_100)));
    }
}
