//! Constants of ITU-T G.722, tables 14 to 21.

/// Decision levels of the 6-bit quantiser (table 14), in units of the step size.
pub(super) const Q6: [i32; 31] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919, 0,
];

/// Codes of negative and positive levels (table 14); index 0 is not used.
pub(super) const ILN: [u8; 31] = [
    0, 63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
];
pub(super) const ILP: [u8; 31] = [
    0, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34,
    33, 32,
];

/// Codes of the higher band (table 20).
pub(super) const IHN: [u8; 3] = [0, 1, 0];
pub(super) const IHP: [u8; 3] = [0, 3, 2];

/// Quantised values of the 2-, 4- and 6-bit codes (tables 15, 17 and 21), in 2^-15 of the step size.
pub(super) const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
pub(super) const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
pub(super) const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// How the logarithm of the step size moves (tables 16 and 21), by code.
pub(super) const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
pub(super) const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
pub(super) const WH: [i32; 3] = [0, -214, 798];
pub(super) const RH2: [usize; 4] = [2, 1, 2, 1];

/// From the logarithm to the step size (table 18): 2^(11 + n/32).
pub(super) const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The filter of both banks (table 11), in 2^-13; symmetric.
pub(super) const FILTER: [i32; 24] = [
    3, -11, -11, 53, 12, -156, 32, 362, -210, -805, 951, 3876, 3876, 951, -805, -210, 362, 32, -156, 12, 53, -11, -11,
    3,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_symmetric_and_has_unit_gain() {
        assert!((0..12).all(|n| FILTER[n] == FILTER[23 - n]));
        assert_eq!(FILTER.iter().sum::<i32>(), 1 << 13);
    }

    #[test]
    fn the_step_table_is_the_power_it_stands_for() {
        for (n, &value) in ILB.iter().enumerate() {
            let exact = 2f64.powf(11.0 + n as f64 / 32.0);
            assert!((exact - f64::from(value)).abs() < 1.0, "{n}: {value}, not {exact}");
        }
    }

    #[test]
    fn each_quantised_value_lies_between_its_decision_levels() {
        // 12 bits for the levels, 15 for the values.
        for level in 1..30 {
            let value = QM6[usize::from(ILP[level])];
            assert!(Q6[level - 1] * 8 <= value && value < Q6[level] * 8, "{level}");
            assert_eq!(QM6[usize::from(ILN[level])], -value, "{level}");
        }
        for level in 1..30 {
            // The lower two bits refine what the upper four say.
            let (fine, coarse) = (QM6[usize::from(ILP[level])], QM4[usize::from(ILP[level] >> 2)]);
            assert!((fine - coarse).abs() < 5_000, "{level}");
        }
    }
}
