//! The quadrature mirror filters that split 16 kHz into two bands of 8 kHz and join them again (blocks of §5.2.1, §5.2.2).

use super::tables::FILTER;

/// Newest first.
type History = [i32; 24];

/// In front of the encoders.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysis(History);

/// Behind the decoders.
#[derive(Clone, Debug, Default)]
pub(super) struct Synthesis(History);

/// The sums over the filter's even and odd places.
fn sums(history: &History) -> (i32, i32) {
    let (values, _) = history.as_chunks::<2>();
    let (filter, _) = FILTER.as_chunks::<2>();
    values
        .iter()
        .zip(filter)
        .fold((0, 0), |(even, odd), (value, factor)| (even + value[0] * factor[0], odd + value[1] * factor[1]))
}

fn push(history: &mut History, older: i32, newer: i32) {
    history.copy_within(..22, 2);
    (history[0], history[1]) = (newer, older);
}

impl Analysis {
    /// Two samples to one of each band, in 15 bits.
    pub(super) fn split(&mut self, [older, newer]: [i16; 2]) -> (i32, i32) {
        push(&mut self.0, i32::from(older), i32::from(newer));
        let (even, odd) = sums(&self.0);
        ((even + odd) >> 14, (even - odd) >> 14)
    }
}

impl Synthesis {
    /// One sample of each band to two.
    pub(super) fn join(&mut self, low: i32, high: i32) -> [i16; 2] {
        push(&mut self.0, low + high, low - high);
        let (even, odd) = sums(&self.0);
        [crate::saturate(even >> 11), crate::saturate(odd >> 11)]
    }
}
