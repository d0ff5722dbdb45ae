//! From samples to payloads, whatever the format.

use crate::format::Format;
use crate::{AudioError, g711, g722};

/// Of libopus's 0 to 10; above 5 speech hardly gains and costs half as much again.
const COMPLEXITY: i32 = 5;
/// For how much loss in-band FEC is laid out, in percent. It costs about a fifth of the rate.
const EXPECTED_LOSS_PERCENT: i32 = 10;
/// RFC 7587 §3.1.1: the sweet spots of narrowband and wideband speech, with room for FEC.
const NARROW_BPS: i32 = 20_000;
const WIDE_BPS: i32 = 32_000;
/// Opus never makes a frame longer than this (RFC 6716 §3.2.1).
const MOST_OPUS_BYTES: usize = 1275;

/// One stream's encoder.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    rate: u32,
}

#[derive(Debug)]
enum Codec {
    Opus(opus::Encoder),
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
}

impl Encoder {
    /// An encoder that takes `rate` samples a second: 8000, 16000 or 48000 for Opus, its own rate for another format.
    /// Opus is set up for speech, with in-band FEC.
    pub fn new(format: Format, rate: u32) -> Result<Encoder, AudioError> {
        if format.native_rate().is_some_and(|native| native != rate) {
            return Err(AudioError::Rate(rate));
        }
        let codec = match format {
            Format::Opus => Codec::Opus(speech_encoder(rate)?),
            Format::Pcmu => Codec::Pcmu,
            Format::Pcma => Codec::Pcma,
            Format::G722 => Codec::G722(Box::default()),
        };
        Ok(Encoder { codec, rate })
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Forgets what was encoded: the next payload refers to nothing before it.
    pub fn reset(&mut self) {
        match &mut self.codec {
            // libopus refuses this to nobody.
            Codec::Opus(encoder) => encoder.reset_state().unwrap_or_default(),
            Codec::Pcmu | Codec::Pcma => {}
            Codec::G722(encoder) => **encoder = g722::Encoder::default(),
        }
    }

    /// Appends the payload of one frame.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), AudioError> {
        match &mut self.codec {
            Codec::Opus(encoder) => {
                let before = out.len();
                out.resize(before + MOST_OPUS_BYTES, 0);
                let encoded = encoder.encode(samples, &mut out[before..]);
                out.truncate(before + encoded.as_ref().map_or(0, |&bytes| bytes));
                encoded?;
            }
            Codec::Pcmu => out.extend(samples.iter().map(|&sample| g711::encode_ulaw(sample))),
            Codec::Pcma => out.extend(samples.iter().map(|&sample| g711::encode_alaw(sample))),
            Codec::G722(encoder) => encoder.encode(samples, out),
        }
        Ok(())
    }
}

fn speech_encoder(rate: u32) -> Result<opus::Encoder, AudioError> {
    let mut encoder = opus::Encoder::new(rate, opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(if rate > 8_000 { WIDE_BPS } else { NARROW_BPS }))?;
    encoder.set_complexity(COMPLEXITY)?;
    encoder.set_signal(opus::Signal::Voice)?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Decoder;
    use crate::format::frame_samples;

    fn speech_like(rate: u32, frames: usize) -> Vec<i16> {
        let wave = |n: usize| {
            let t = n as f64 / f64::from(rate);
            let pulse: f64 =
                (1..12).map(|k| (std::f64::consts::TAU * 140.0 * f64::from(k) * t).sin() / f64::from(k)).sum();
            (pulse * 3_000.0 * (0.6 + 0.4 * (std::f64::consts::TAU * 3.0 * t).sin())) as i16
        };
        (0..frames * frame_samples(rate)).map(wave).collect()
    }

    fn energy(samples: &[i16]) -> f64 {
        samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn coded(rate: u32, frames: usize) -> (Vec<i16>, Vec<Vec<u8>>) {
        let input = speech_like(rate, frames);
        let mut encoder = Encoder::new(Format::Opus, rate).unwrap();
        let packets = input.chunks(frame_samples(rate)).map(|frame| {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload).unwrap();
            payload
        });
        let packets = packets.collect();
        (input, packets)
    }

    #[test]
    fn opus_keeps_the_energy_of_speech_at_both_rates() {
        for rate in [8_000, 16_000] {
            let (input, packets) = coded(rate, 50);
            let mut decoder = Decoder::new(Format::Opus, rate).unwrap();
            let mut output = Vec::new();
            for packet in &packets {
                assert_eq!(decoder.decode(packet, &mut output), Ok(frame_samples(rate)));
            }
            let ratio = energy(&output[rate as usize / 5..]) / energy(&input[rate as usize / 5..]);
            assert!((0.7..1.4).contains(&ratio), "{rate} Hz: {ratio}");
        }
    }

    #[test]
    fn a_lost_opus_packet_is_heard_from_the_one_behind_it() {
        let rate = 16_000;
        let (_, packets) = coded(rate, 60);
        let frame = frame_samples(rate);
        let lost = 40;
        let run = |fec: bool| {
            let mut decoder = Decoder::new(Format::Opus, rate).unwrap();
            let mut output = Vec::new();
            for (index, packet) in packets.iter().enumerate() {
                if index == lost {
                    let following = fec.then(|| packets[lost + 1].as_slice());
                    decoder.conceal(following, frame, &mut output).unwrap();
                } else {
                    decoder.decode(packet, &mut output).unwrap();
                }
            }
            output
        };
        let whole = {
            let mut decoder = Decoder::new(Format::Opus, rate).unwrap();
            let mut output = Vec::new();
            for packet in &packets {
                decoder.decode(packet, &mut output).unwrap();
            }
            output
        };
        let (with, without) = (run(true), run(false));
        assert_eq!((with.len(), without.len()), (whole.len(), whole.len()));
        let error = |output: &[i16]| -> f64 {
            let place = lost * frame..(lost + 1) * frame;
            output[place.clone()].iter().zip(&whole[place]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        assert!(
            error(&with) < error(&without),
            "FEC {} is no better than concealment {}",
            error(&with),
            error(&without)
        );
    }
}
