//! G.722 at 64 kbit/s: two bands of 8 kHz each coded by ADPCM, one byte for two samples at 16 kHz (ITU-T G.722).
//!
//! The names are those of the blocks and signals of the recommendation; where a comment says "block", it means one of
//! its figures 9 to 19. Mode 1 only: it is the one that RTP has (RFC 3551 §4.5.2).

mod band;
mod filter_bank;
mod tables;

use band::Band;
use filter_bank::{Analysis, Synthesis};
use tables::{IHN, IHP, ILN, ILP, Q6, QM2, QM4, QM6};

/// Step sizes after a reset (§6.2.1): 32 for the lower band, 8 for the higher.
const LOW_STEP: i32 = 32;
const HIGH_STEP: i32 = 8;
/// Decision level of the two-bit quantiser of the higher band.
const Q2: i32 = 564;

/// Samples to bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    analysis: Analysis,
    low: Band,
    high: Band,
}

/// Bytes to samples.
#[derive(Clone, Debug)]
pub struct Decoder {
    synthesis: Synthesis,
    low: Band,
    high: Band,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { analysis: Analysis::default(), low: Band::new(LOW_STEP), high: Band::new(HIGH_STEP) }
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { synthesis: Synthesis::default(), low: Band::new(LOW_STEP), high: Band::new(HIGH_STEP) }
    }
}

impl Encoder {
    /// Appends one byte for every two samples at 16 kHz; an odd last sample is left out.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.as_chunks::<2>().0.iter().map(|pair| self.encode_pair(*pair)));
    }

    fn encode_pair(&mut self, pair: [i16; 2]) -> u8 {
        let (low, high) = self.analysis.split(pair);
        let low_code = self.quantise_low(low - self.low.prediction());
        self.low.adapt_low(low_code >> 2);
        let high_code = self.quantise_high(high - self.high.prediction());
        self.high.adapt_high(high_code);
        (high_code << 6 | low_code) as u8
    }

    /// Blocks SUBTRA and QUANTL: 60 levels.
    fn quantise_low(&self, difference: i32) -> usize {
        let difference = i32::from(crate::saturate(difference));
        let magnitude = if difference < 0 { !difference } else { difference };
        let level = (1..30).find(|&level| magnitude < (Q6[level] * self.low.step()) >> 12).unwrap_or(30);
        usize::from(if difference < 0 { ILN[level] } else { ILP[level] })
    }

    /// Blocks SUBTRA and QUANTH: four levels.
    fn quantise_high(&self, difference: i32) -> usize {
        let difference = i32::from(crate::saturate(difference));
        let magnitude = if difference < 0 { !difference } else { difference };
        let level = if magnitude < (Q2 * self.high.step()) >> 12 { 1 } else { 2 };
        usize::from(if difference < 0 { IHN[level] } else { IHP[level] })
    }
}

impl Decoder {
    /// Appends two samples at 16 kHz for every byte.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        for &byte in bytes {
            out.extend(self.decode_byte(usize::from(byte)));
        }
    }

    fn decode_byte(&mut self, byte: usize) -> [i16; 2] {
        let (low_code, high_code) = (byte & 0x3f, byte >> 6);
        // Blocks INVQBL, RECONS and LIMIT: what is heard has all six bits, what adapts has four.
        let low = limit(self.low.prediction() + ((self.low.step() * QM6[low_code]) >> 15));
        self.low.adapt_low(low_code >> 2);
        let high = limit(self.high.prediction() + ((self.high.step() * QM2[high_code]) >> 15));
        self.high.adapt_high(high_code);
        self.synthesis.join(low, high)
    }
}

impl Band {
    fn adapt_low(&mut self, code: usize) {
        self.adapt((self.step() * QM4[code]) >> 15);
        self.scale_low(code);
    }

    fn adapt_high(&mut self, code: usize) {
        self.adapt((self.step() * QM2[code]) >> 15);
        self.scale_high(code);
    }
}

/// Block LIMIT: 15 bits.
fn limit(sample: i32) -> i32 {
    sample.clamp(-16_384, 16_383)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, peak: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (peak * (std::f64::consts::TAU * hz * n as f64 / 16_000.0).sin()) as i16).collect()
    }

    /// Decibels of signal over noise after coding, with the delay of the two filter banks taken out.
    fn quality(hz: f64) -> f64 {
        let input = tone(hz, 10_000.0, 8_000);
        let (mut bytes, mut output) = (Vec::new(), Vec::new());
        Encoder::default().encode(&input, &mut bytes);
        assert_eq!(bytes.len(), 4_000);
        Decoder::default().decode(&bytes, &mut output);
        assert_eq!(output.len(), 8_000);
        let error = |delay: usize| -> f64 {
            (2_000..7_000).map(|n| (f64::from(output[n + delay]) - f64::from(input[n])).powi(2)).sum()
        };
        let noise = (0..60).map(error).fold(f64::MAX, f64::min);
        let signal: f64 = input[2_000..7_000].iter().map(|&sample| f64::from(sample).powi(2)).sum();
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn tones_of_both_bands_survive() {
        for (hz, least_db) in [(300.0, 30.0), (1_000.0, 30.0), (3_000.0, 25.0), (5_500.0, 10.0)] {
            let found = quality(hz);
            assert!(found > least_db, "{hz} Hz: {found:.1} dB");
        }
    }

    #[test]
    fn silence_stays_silent() {
        let (mut bytes, mut output) = (Vec::new(), Vec::new());
        Encoder::default().encode(&[0; 1_600], &mut bytes);
        Decoder::default().decode(&bytes, &mut output);
        assert!(output.iter().all(|sample| sample.abs() < 16));
    }

    #[test]
    fn any_bytes_decode_without_overflow() {
        let bytes: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut output = Vec::new();
        Decoder::default().decode(&bytes, &mut output);
        let steady = [0x80u8, 0x3f, 0xff, 0x00].map(|byte| {
            let mut output = Vec::new();
            Decoder::default().decode(&[byte; 5_000], &mut output);
            output.len()
        });
        assert_eq!((output.len(), steady), (100_000, [10_000; 4]));
    }

    #[test]
    fn the_loudest_square_wave_encodes_without_overflow() {
        let input: Vec<i16> = (0..16_000).map(|n| if n / 9 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let mut bytes = Vec::new();
        Encoder::default().encode(&input, &mut bytes);
        assert_eq!(bytes.len(), 8_000);
    }
}
