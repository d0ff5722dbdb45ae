//! What sound is encoded as, and the clocks that go with it.

use crate::FRAME_MS;

/// An encoding of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Opus (RFC 6716).
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
}

impl Format {
    /// Units of the RTP clock per second. That of G.722 is 8000 although it has 16000 samples (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Format::Opus => 48_000,
            Format::Pcmu | Format::Pcma | Format::G722 => 8_000,
        }
    }

    /// Samples per second that the encoding has by itself; `None` for Opus, which takes and gives several.
    pub const fn native_rate(self) -> Option<u32> {
        match self {
            Format::Opus => None,
            Format::Pcmu | Format::Pcma => Some(8_000),
            Format::G722 => Some(16_000),
        }
    }

    /// Whether a decoder can go over from what one encoder makes to what another one does, once that was reset.
    pub const fn shares_encoder(self) -> bool {
        !matches!(self, Format::G722)
    }

    /// RTP clock units of one frame.
    pub const fn frame_units(self) -> u32 {
        self.clock_rate() / 1000 * FRAME_MS
    }
}

/// Samples of one frame at `rate`.
pub const fn frame_samples(rate: u32) -> usize {
    (rate / 1000 * FRAME_MS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_g722_counts_in_its_odd_clock() {
        assert_eq!(Format::G722.frame_units(), 160);
        assert_eq!(frame_samples(16_000), 320);
    }
}
