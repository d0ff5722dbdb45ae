//! From payloads to samples, whatever the format.

use crate::format::Format;
use crate::{AudioError, g711, g722};

/// The longest Opus packet is 120 ms (RFC 6716 §2.1.4).
const MOST_OPUS_MS: u32 = 120;

/// One stream's decoder.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    rate: u32,
}

#[derive(Debug)]
enum Codec {
    Opus(opus::Decoder),
    Pcmu,
    Pcma,
    G722(Box<g722::Decoder>),
}

impl Decoder {
    /// A decoder that gives `rate` samples a second: 8000, 16000 or 48000 for Opus, its own rate for another format.
    pub fn new(format: Format, rate: u32) -> Result<Decoder, AudioError> {
        if format.native_rate().is_some_and(|native| native != rate) {
            return Err(AudioError::Rate(rate));
        }
        let codec = match format {
            Format::Opus => Codec::Opus(opus::Decoder::new(rate, opus::Channels::Mono)?),
            Format::Pcmu => Codec::Pcmu,
            Format::Pcma => Codec::Pcma,
            Format::G722 => Codec::G722(Box::default()),
        };
        Ok(Decoder { codec, rate })
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Appends the samples of a payload; returns how many they are. A broken payload adds none.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, AudioError> {
        let before = out.len();
        match &mut self.codec {
            Codec::Opus(decoder) => {
                // An empty payload would mean a loss to libopus.
                if !payload.is_empty() {
                    let room = (self.rate / 1000 * MOST_OPUS_MS) as usize;
                    decode_opus(decoder, payload, room, false, out)?;
                }
            }
            Codec::Pcmu => out.extend(payload.iter().map(|&code| g711::decode_ulaw(code))),
            Codec::Pcma => out.extend(payload.iter().map(|&code| g711::decode_alaw(code))),
            Codec::G722(decoder) => decoder.decode(payload, out),
        }
        Ok(out.len() - before)
    }

    /// Whether a lost packet is concealed by the decoder itself, from what it knows or from the packet behind it.
    pub fn conceals(&self) -> bool {
        matches!(self.codec, Codec::Opus(_))
    }

    /// Appends `samples` for what was lost in front of the payload `following`, where that repeats it (in-band FEC,
    /// RFC 6716 §2.1.7), or from what came before. `samples` is a multiple of 2.5 ms.
    pub fn conceal(&mut self, following: Option<&[u8]>, samples: usize, out: &mut Vec<i16>) -> Result<(), AudioError> {
        if let Codec::Opus(decoder) = &mut self.codec {
            match following.filter(|payload| !payload.is_empty()) {
                Some(payload) => decode_opus(decoder, payload, samples, true, out)?,
                None => decode_opus(decoder, &[], samples, false, out)?,
            }
        }
        Ok(())
    }
}

fn decode_opus(
    decoder: &mut opus::Decoder,
    payload: &[u8],
    room: usize,
    fec: bool,
    out: &mut Vec<i16>,
) -> Result<(), AudioError> {
    let before = out.len();
    out.resize(before + room, 0);
    let decoded = decoder.decode(payload, &mut out[before..], fec);
    out.truncate(before + decoded.as_ref().map_or(0, |&samples| samples));
    decoded?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_a_format_does_not_have_is_refused() {
        assert_eq!(Decoder::new(Format::Pcmu, 16_000).err(), Some(AudioError::Rate(16_000)));
        assert!(matches!(Decoder::new(Format::Opus, 44_100), Err(AudioError::Opus(_))));
    }

    #[test]
    fn a_broken_opus_packet_is_an_error_and_adds_nothing() {
        let mut decoder = Decoder::new(Format::Opus, 8_000).unwrap();
        let mut out = vec![7];
        // RFC 6716 §3.4, R5: code 3 with a count of zero frames.
        assert!(decoder.decode(&[0x03, 0x00], &mut out).is_err());
        assert_eq!(out, [7]);
        assert_eq!(decoder.decode(&[], &mut out), Ok(0));
    }

    #[test]
    fn g711_gives_one_sample_for_a_byte_and_g722_two() {
        let mut out = Vec::new();
        assert_eq!(Decoder::new(Format::Pcma, 8_000).unwrap().decode(&[0xd5; 160], &mut out), Ok(160));
        assert_eq!(Decoder::new(Format::G722, 16_000).unwrap().decode(&[0xff; 160], &mut out), Ok(320));
    }
}
