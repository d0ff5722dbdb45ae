//! Sound as samples: codecs, a jitter buffer, concealment, resampling and mixing.
//!
//! Everything here is sans-IO and deterministic: no socket, clock or thread inside, time is an argument, noise comes
//! from a seeded generator. Samples are 16-bit, one channel. Nothing allocates once a stream has warmed up.

#![forbid(unsafe_code)]

pub mod comfort_noise;
pub mod concealment;
pub mod decoder;
pub mod delay;
pub mod encoder;
pub mod format;
pub mod g711;
pub mod g722;
pub mod jitter_buffer;
pub mod mix;
pub mod mixer;
pub mod pitch;
pub mod playout;
pub mod resampler;
pub mod sample;
pub mod transcoder;
pub mod voice;

pub use format::Format;
pub use jitter_buffer::{Arrival, Content};
pub use mix::Mix;
pub use playout::{Playout, PlayoutStats};
pub use transcoder::{Produced, Transcoder};

/// Why a codec could not be made, or did not take what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// The rate is none that the codec or the resampler has.
    #[error("no sample rate of {0} Hz")]
    Rate(u32),
    /// libopus refused.
    #[error("Opus: {0}")]
    Opus(&'static str),
}

impl From<opus::Error> for AudioError {
    fn from(error: opus::Error) -> AudioError {
        AudioError::Opus(error.description())
    }
}

/// Milliseconds of one frame: what leaves is cut into such pieces.
pub const FRAME_MS: u32 = 20;

/// The sample as it fits into 16 bits; louder ones are cut off.
pub(crate) fn saturate(sample: i32) -> i16 {
    sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}
