//! One party of a mix as the others hear it: its sound at the rates of the mix, and whether it says anything.

use crate::AudioError;
use crate::format::{Format, frame_samples};
use crate::jitter_buffer::Arrival;
use crate::playout::{Playout, PlayoutStats};
use crate::resampler::Resampler;
use crate::transcoder::Input;
use mediaserver_proto::rtp::AudioLevel;
use mediaserver_proto::sfu::speech::SpeechMeter;
use mediaserver_proto::time::Time;

/// The rates at which sound is mixed: that of telephones and that of wideband speech, as which Opus is decoded, too.
pub const RATES: [u32; 2] = [8_000, 16_000];

/// A voice is heard from this level on (root mean square), and for so many frames after it was last as loud.
const OPEN_ABOVE: i64 = 60;
const HOLD_FRAMES: u32 = 25;
/// How much of a new frame goes into the loudness by which voices are chosen.
const LOUDNESS_STEP: f32 = 0.1;
/// Whoever is heard already counts so much louder (6 dB), so that equals do not take turns.
const STAYS: f32 = 4.0;
/// A voice comes in within so many parts of a second, and goes out within a frame.
const FADE_IN_PARTS: u32 = 200;

/// The power of 0 dBov, that of a square wave at full scale, and the level of silence (RFC 6464 §3).
const OVERLOAD: f32 = 32_768.0 * 32_768.0;
const SILENCE: u8 = 127;

/// The index in [`RATES`] at which sound of a format is mixed.
pub fn rate_index(format: Format) -> usize {
    usize::from(format.native_rate() != Some(RATES[0]))
}

/// See the module. Each frame: [`Voice::pull`], then [`Voice::admit`], then [`Voice::frame`] for each rate.
#[derive(Debug)]
pub struct Voice {
    playout: Playout,
    /// Counts of the formats that came before.
    before: PlayoutStats,
    native: usize,
    resampler: Option<Resampler>,
    frames: [Vec<i16>; 2],
    /// Frames for which it is still open.
    open: u32,
    loudness: f32,
    speech: SpeechMeter,
    heard: bool,
    /// Whether this frame of it is in the mix: also while it fades out.
    mixed: bool,
    resampled: bool,
    capture: Time,
}

impl Voice {
    /// Of a stream of `format`, until something else comes.
    pub fn new(format: Format) -> Result<Voice, AudioError> {
        let native = rate_index(format);
        Ok(Voice {
            playout: Playout::new(format, RATES[native])?,
            before: PlayoutStats::default(),
            native,
            resampler: Resampler::new(RATES[native], RATES[1 - native])?,
            frames: RATES.map(|rate| Vec::with_capacity(2 * frame_samples(rate))),
            open: 0,
            loudness: 0.0,
            speech: SpeechMeter::default(),
            heard: false,
            mixed: false,
            resampled: false,
            capture: Time::ZERO,
        })
    }

    /// What was counted of the stream.
    pub fn stats(&self) -> PlayoutStats {
        self.playout.stats().after(&self.before)
    }

    /// What comes is another stream, such as that of a sender that was started again.
    pub fn restart(&mut self) {
        self.playout.restart();
    }

    /// Takes a packet. The contents of `arrival` are those of `input`. Telephone events are not heard.
    pub fn push(&mut self, input: Input, arrival: &Arrival<'_>, now: Time) -> Result<(), AudioError> {
        if let Input::Sound(format) = input
            && format != self.playout.format()
        {
            self.change_format(format)?;
        }
        self.playout.push(&Arrival { content: input.content(), ..*arrival }, now);
        Ok(())
    }

    /// Makes the frame that is due, for nobody yet. How loudly somebody speaks, when that has changed.
    pub fn pull(&mut self, now: Time) -> Option<u8> {
        self.resampled = false;
        self.frames.iter_mut().for_each(Vec::clear);
        let frame = &mut self.frames[self.native];
        let Some(capture) = self.playout.pull(now, frame) else {
            (self.open, self.loudness) = (0, 0.0);
            return self.speech.handle_timeout(now);
        };
        self.capture = capture;
        let energy: i64 = frame.iter().map(|&sample| i64::from(sample).pow(2)).sum();
        let power = energy / frame.len().max(1) as i64;
        self.open = if power > OPEN_ABOVE.pow(2) { HOLD_FRAMES } else { self.open.saturating_sub(1) };
        self.loudness += (power as f32 - self.loudness) * LOUDNESS_STEP;
        self.speech.heard(Some(level_of(power)), now)
    }

    /// Whether it has something to say in this frame.
    pub fn speaks(&self) -> bool {
        self.open > 0
    }

    /// By what voices are chosen when more speak than are heard.
    pub fn weight(&self) -> f32 {
        if self.heard { self.loudness * STAYS } else { self.loudness }
    }

    /// Says whether others hear this frame; a voice that comes or goes is faded.
    pub fn admit(&mut self, heard: bool) {
        let before = std::mem::replace(&mut self.heard, heard);
        let frame = &mut self.frames[self.native];
        self.mixed = (heard || before) && !frame.is_empty();
        if heard && !before {
            let ramp = (RATES[self.native] / FADE_IN_PARTS) as i32;
            frame
                .iter_mut()
                .zip(1..ramp)
                .for_each(|(sample, step)| *sample = (i32::from(*sample) * step / ramp) as i16);
        } else if before && !heard {
            let ramp = frame.len() as i32;
            let steps = (0..ramp).rev();
            frame.iter_mut().zip(steps).for_each(|(sample, step)| *sample = (i32::from(*sample) * step / ramp) as i16);
        }
    }

    /// Whether this frame is in the mix.
    pub fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// When the first sample of the frame was taken at its source, by our clock.
    pub fn capture(&self) -> Time {
        self.capture
    }

    /// Makes the frame at a rate of [`RATES`], where it is mixed and not there yet.
    pub fn prepare(&mut self, rate: usize) {
        if rate == self.native || self.resampled || !self.mixed {
            return;
        }
        self.resampled = true;
        let [narrow, wide] = &mut self.frames;
        let (from, to) = if self.native == 0 { (narrow, wide) } else { (wide, narrow) };
        if let Some(resampler) = &mut self.resampler {
            resampler.resample(from, to);
        }
    }

    /// The frame at a rate that was prepared; nothing where it is not mixed.
    pub fn frame(&self, rate: usize) -> &[i16] {
        if self.mixed { &self.frames[rate] } else { &[] }
    }

    /// The peer went over to another format.
    fn change_format(&mut self, format: Format) -> Result<(), AudioError> {
        let native = rate_index(format);
        let playout = Playout::new(format, RATES[native])?;
        self.resampler = Resampler::new(RATES[native], RATES[1 - native])?;
        self.before = std::mem::replace(&mut self.playout, playout).stats().after(&self.before);
        self.native = native;
        Ok(())
    }
}

/// A mean square as a level in -dBov.
fn level_of(power: i64) -> AudioLevel {
    let level = if power > 0 { (10.0 * (OVERLOAD / power as f32).log10()).round() as u8 } else { SILENCE };
    AudioLevel { voice: true, level: level.min(SILENCE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_rfc_6464() {
        let level = |sample: i64| level_of(sample * sample).level;
        assert_eq!([32_768, 16_384, 3_277, 1, 0].map(level), [0, 6, 20, 90, 127]);
    }
}
