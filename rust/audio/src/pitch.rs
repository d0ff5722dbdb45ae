//! The period of a voice: by how much a piece of sound resembles what lies just before it.

/// A period and how alike the two sides of it are, from -1 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// In samples.
    pub lag: usize,
    /// Normalised correlation.
    pub likeness: f32,
}

/// Shortest and longest period looked for, in tenths of a millisecond: voices of 400 to 67 Hz.
const SHORTEST: u32 = 25;
const LONGEST: u32 = 150;

/// What the longest period must be better by than the shortest.
const TOWARD_SHORT: f32 = 0.02;

/// The longest period at `rate`, in samples.
pub const fn longest(rate: u32) -> usize {
    (rate * LONGEST / 10_000) as usize
}

/// The shortest period at `rate`, in samples.
pub const fn shortest(rate: u32) -> usize {
    (rate * SHORTEST / 10_000) as usize
}

/// The best period of the `window` last samples against what lies before them; as much as there are samples for.
pub fn find(samples: &[i16], window: usize, rate: u32) -> Option<Period> {
    let longest = longest(rate).min(samples.len().checked_sub(window)?);
    let recent = &samples[samples.len() - window..];
    let periods = (shortest(rate)..=longest).map(|lag| {
        let start = samples.len() - window - lag;
        Period { lag, likeness: likeness(recent, &samples[start..start + window]) }
    });
    // Of several that are nearly equal the shortest: the others are its multiples.
    let score = |period: &Period| period.likeness - TOWARD_SHORT * period.lag as f32 / longest as f32;
    periods.max_by(|one, other| score(one).total_cmp(&score(other)))
}

/// Normalised correlation of two pieces of equal length; 1 for two silences.
pub fn likeness(one: &[i16], other: &[i16]) -> f32 {
    let (mut product, mut first, mut second) = (0.0f32, 1.0f32, 1.0f32);
    for (&a, &b) in one.iter().zip(other) {
        let (a, b) = (f32::from(a), f32::from(b));
        product += a * b;
        first += a * a;
        second += b * b;
    }
    (product + 1.0) / (first.sqrt() * second.sqrt())
}

/// Fades from `from` to `to` over their common length, into `to`.
pub fn cross_fade(from: &[i16], to: &mut [i16]) {
    let len = from.len().min(to.len()) as i32;
    for (index, (old, new)) in from.iter().zip(to.iter_mut()).enumerate() {
        let weight = index as i32 + 1;
        *new = ((i32::from(*old) * (len + 1 - weight) + i32::from(*new) * weight) / (len + 1)) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_tone_is_found() {
        for (rate, hz, lag) in [(8_000u32, 200.0, 40), (16_000, 125.0, 128)] {
            let wave = |n: usize| (9_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()) as i16;
            let samples: Vec<i16> = (0..rate as usize / 20).map(wave).collect();
            let found = find(&samples, rate as usize / 100, rate).unwrap();
            assert!(found.lag.abs_diff(lag) <= 1 && found.likeness > 0.99, "{found:?}");
        }
    }

    #[test]
    fn too_little_sound_has_no_period() {
        assert_eq!(find(&[0; 40], 80, 8_000), None);
        assert_eq!(find(&[0; 90], 80, 8_000), None);
    }

    #[test]
    fn a_fade_goes_from_one_to_the_other() {
        let mut to = [0i16; 9];
        cross_fade(&[1_000; 9], &mut to);
        assert_eq!(to, [900, 800, 700, 600, 500, 400, 300, 200, 100]);
    }
}
