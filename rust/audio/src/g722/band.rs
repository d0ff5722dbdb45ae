//! The adaptive predictor and step size of one band, the same in encoder and decoder (blocks 3L/4L and 3H/4H).

use super::tables::{ILB, RH2, RL42, WH, WL};

/// Poles and zeros of the predictor, their signals, and the step size.
#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Block PREDIC: the prediction, and the part of it from the zeros.
    s: i32,
    sz: i32,
    /// Reconstructed signal, newest first.
    r: [i32; 2],
    /// Partially reconstructed signal, newest first.
    p: [i32; 2],
    /// Coefficients of the poles.
    a: [i32; 2],
    /// Coefficients of the zeros.
    b: [i32; 6],
    /// Quantised differences, newest first.
    d: [i32; 6],
    /// Logarithm of the step size, and the step size.
    nb: i32,
    det: i32,
}

fn saturate(value: i32) -> i32 {
    i32::from(crate::saturate(value))
}

fn same_sign(one: i32, other: i32) -> bool {
    (one < 0) == (other < 0)
}

impl Band {
    pub(super) fn new(step: i32) -> Band {
        Band { s: 0, sz: 0, r: [0; 2], p: [0; 2], a: [0; 2], b: [0; 6], d: [0; 6], nb: 0, det: step }
    }

    /// What the next sample is expected to be.
    pub(super) fn prediction(&self) -> i32 {
        self.s
    }

    /// The step size.
    pub(super) fn step(&self) -> i32 {
        self.det
    }

    /// Blocks LOGSCL and SCALEL.
    pub(super) fn scale_low(&mut self, code: usize) {
        self.nb = (((self.nb * 127) >> 7) + WL[RL42[code]]).clamp(0, 18_432);
        self.det = step_of(self.nb, 8);
    }

    /// Blocks LOGSCH and SCALEH.
    pub(super) fn scale_high(&mut self, code: usize) {
        self.nb = (((self.nb * 127) >> 7) + WH[RH2[code]]).clamp(0, 22_528);
        self.det = step_of(self.nb, 10);
    }

    /// Takes the quantised difference `d0` and predicts the next sample (block 4).
    pub(super) fn adapt(&mut self, d0: i32) {
        // Blocks RECONS and PARREC.
        let r0 = saturate(self.s + d0);
        let p0 = saturate(self.sz + d0);
        let a2 = self.second_pole(p0);
        let a1 = self.first_pole(p0, a2);
        self.adapt_zeros(d0);
        // Block DELAYA.
        self.a = [a1, a2];
        self.r = [r0, self.r[0]];
        self.p = [p0, self.p[0]];
        self.d.copy_within(..5, 1);
        self.d[0] = d0;
        // Blocks FILTEP, FILTEZ and PREDIC.
        let pole = |a: i32, r: i32| (a * saturate(r + r)) >> 15;
        let sp = saturate(pole(self.a[0], self.r[0]) + pole(self.a[1], self.r[1]));
        self.sz = saturate(self.b.iter().zip(self.d).map(|(b, d)| (b * saturate(d + d)) >> 15).sum());
        self.s = saturate(sp + self.sz);
    }

    /// Block UPPOL2.
    fn second_pole(&self, p0: i32) -> i32 {
        let first = saturate(self.a[0] << 2);
        let toward = (if same_sign(p0, self.p[0]) { -first } else { first }).min(32_767);
        let lean = if same_sign(p0, self.p[1]) { 128 } else { -128 };
        ((toward >> 7) + lean + ((self.a[1] * 32_512) >> 15)).clamp(-12_288, 12_288)
    }

    /// Block UPPOL1.
    fn first_pole(&self, p0: i32, a2: i32) -> i32 {
        let lean = if same_sign(p0, self.p[0]) { 192 } else { -192 };
        let bound = saturate(15_360 - a2);
        saturate(lean + ((self.a[0] * 32_640) >> 15)).clamp(-bound, bound)
    }

    /// Block UPZERO.
    fn adapt_zeros(&mut self, d0: i32) {
        let lean = if d0 == 0 { 0 } else { 128 };
        for (b, &d) in self.b.iter_mut().zip(&self.d) {
            let lean = if same_sign(d, d0) { lean } else { -lean };
            *b = saturate(lean + ((*b * 32_640) >> 15));
        }
    }
}

fn step_of(nb: i32, most: i32) -> i32 {
    let (fraction, shift) = ((nb >> 6) & 31, most - (nb >> 11));
    let base = ILB[fraction as usize];
    (if shift < 0 { base << -shift } else { base >> shift }) << 2
}
