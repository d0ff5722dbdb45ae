//! What is heard in place of a lost packet, for formats whose decoders have nothing of their own: the last period of the
//! voice again, ever quieter (the principle of ITU-T G.711 appendix I).

use crate::pitch;

/// Sound that is remembered, in milliseconds: twice the longest period and a window.
const HISTORY_MS: u32 = 50;
/// Piece that is compared to find the period.
const WINDOW_MS: u32 = 20;
/// Repeated at full strength for so long, and then faded out until `FADED_MS`.
const FULL_MS: u32 = 10;
const FADED_MS: u32 = 60;
/// Over which real sound takes over again.
const MERGE_MS: u32 = 4;

/// The concealment of one stream.
#[derive(Debug)]
pub struct Concealment {
    rate: u32,
    /// What was heard last, oldest first.
    history: Vec<i16>,
    /// The period that is repeated.
    period: Vec<i16>,
    /// Samples concealed since the last real one.
    concealed: usize,
    scratch: Vec<i16>,
}

impl Concealment {
    /// One for sound of `rate` samples per second.
    pub fn new(rate: u32) -> Concealment {
        Concealment {
            rate,
            history: vec![0; per_ms(rate, HISTORY_MS)],
            period: Vec::with_capacity(pitch::longest(rate)),
            concealed: 0,
            scratch: Vec::with_capacity(per_ms(rate, MERGE_MS)),
        }
    }

    /// Takes real sound; its beginning is blended with what would have been heard after a loss.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.concealed > 0 && !self.period.is_empty() {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            self.repeat(per_ms(self.rate, MERGE_MS), &mut scratch);
            pitch::cross_fade(&scratch, samples);
            self.scratch = scratch;
        }
        self.concealed = 0;
        self.period.clear();
        self.remember(samples);
    }

    /// Appends sound for what was lost.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) {
        if self.concealed == 0 {
            self.prepare();
        }
        let before = out.len();
        self.repeat(samples, out);
        self.remember(&out[before..]);
    }

    /// Finds the period to repeat and makes its end meet its beginning.
    fn prepare(&mut self) {
        let len = self.history.len();
        let lag = pitch::find(&self.history, per_ms(self.rate, WINDOW_MS), self.rate)
            .map_or(pitch::longest(self.rate), |period| period.lag);
        self.period.clear();
        self.period.extend_from_slice(&self.history[len - lag..]);
        let quarter = lag / 4;
        let before = &self.history[len - lag - quarter..len - lag];
        // The last quarter turns into what lay before the period, so that it can begin again.
        self.scratch.clear();
        self.scratch.extend_from_slice(before);
        pitch::cross_fade(&self.period[lag - quarter..], &mut self.scratch);
        self.period.truncate(lag - quarter);
        self.period.extend_from_slice(&self.scratch);
        // The first sample follows the last one that was heard; the step between them fades over a quarter.
        let step = i32::from(self.history[len - 1]) - i32::from(self.history[len - lag - 1]);
        self.scratch.clear();
        let share = |index: usize| crate::saturate(step * (quarter - index) as i32 / quarter as i32);
        self.scratch.extend((0..quarter).map(share));
    }

    fn repeat(&mut self, samples: usize, out: &mut Vec<i16>) {
        let (full, faded) = (per_ms(self.rate, FULL_MS), per_ms(self.rate, FADED_MS));
        for _ in 0..samples {
            let place = self.concealed;
            self.concealed += 1;
            let mut sample = i32::from(self.period.get(place % self.period.len().max(1)).copied().unwrap_or(0));
            sample += i32::from(self.scratch.get(place).copied().unwrap_or(0));
            let left = faded.saturating_sub(place.max(full)) as i32;
            out.push(crate::saturate(sample * left / (faded - full) as i32));
        }
    }

    fn remember(&mut self, samples: &[i16]) {
        let len = self.history.len();
        let recent = &samples[samples.len().saturating_sub(len)..];
        self.history.copy_within(recent.len().., 0);
        self.history[len - recent.len()..].copy_from_slice(recent);
    }
}

const fn per_ms(rate: u32, ms: u32) -> usize {
    (rate / 1000 * ms) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(from: usize, samples: usize) -> Vec<i16> {
        let wave = |n: usize| (8_000.0 * (std::f64::consts::TAU * 200.0 * n as f64 / 8_000.0).sin()) as i16;
        (from..from + samples).map(wave).collect()
    }

    #[test]
    fn a_voice_goes_on_over_a_short_loss() {
        let mut concealment = Concealment::new(8_000);
        concealment.heard(&mut tone(0, 400));
        let mut out = Vec::new();
        concealment.conceal(80, &mut out);
        let expected = tone(400, 80);
        for (index, (found, expected)) in out.iter().zip(&expected).enumerate() {
            assert!(found.abs_diff(*expected) < 900, "sample {index}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_and_stays_bounded() {
        let mut concealment = Concealment::new(8_000);
        concealment.heard(&mut tone(0, 400));
        let mut out = Vec::new();
        for _ in 0..10 {
            concealment.conceal(160, &mut out);
        }
        assert!(out[480..].iter().all(|&sample| sample == 0));
        assert!(out[..80].iter().any(|&sample| sample > 6_000));
    }

    #[test]
    fn there_is_no_step_where_real_sound_comes_back() {
        let mut concealment = Concealment::new(8_000);
        concealment.heard(&mut tone(0, 400));
        let mut out = Vec::new();
        concealment.conceal(160, &mut out);
        let mut real = tone(587, 160);
        concealment.heard(&mut real);
        out.extend(&real);
        let steepest = out.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
        // The tone itself rises by 1256 at most.
        assert!(steepest < 3_000, "{steepest}");
    }

    #[test]
    fn nothing_heard_before_means_silence() {
        let mut out = Vec::new();
        Concealment::new(16_000).conceal(320, &mut out);
        assert_eq!(out, [0; 320]);
    }
}
