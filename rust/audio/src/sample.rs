//! Sound for measurements.

/// Something like speech: a voice whose pitch and loudness move, with pauses; a second of it, in 16 bits at `rate` Hz.
pub fn speech(rate: u32) -> Vec<i16> {
    let mut phase = 0.0f64;
    let wave = |n: u32| {
        let t = f64::from(n) / f64::from(rate);
        phase += (140.0 + 30.0 * (std::f64::consts::TAU * 2.0 * t).sin()) / f64::from(rate);
        let voice: f64 = (1..20).map(|k| (std::f64::consts::TAU * f64::from(k) * phase).sin() / f64::from(k)).sum();
        let loud = (std::f64::consts::TAU * 3.0 * t).sin().max(0.0);
        (voice * 4_000.0 * loud) as i16
    };
    (0..rate).map(wave).collect()
}
