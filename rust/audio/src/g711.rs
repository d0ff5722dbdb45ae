//! G.711: A-law and µ-law, one byte a sample at 8 kHz (ITU-T G.711).

/// Largest magnitude in the 14 bits of µ-law, with its bias of 33, so that it stays in the last segment.
const ULAW_CLIP: u16 = 0x1fff;
const ULAW_BIAS: u16 = 33;
/// G.711 §3.2: even bits of A-law are inverted for transmission.
const ALAW_TOGGLE: u8 = 0x55;

static ULAW: [i16; 256] = table(true);
static ALAW: [i16; 256] = table(false);

const fn table(ulaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if ulaw { expand_ulaw(code as u8) } else { expand_alaw(code as u8) };
        code += 1;
    }
    table
}

/// Table 2 of G.711: 8 segments of 16 steps; the value is the middle of its interval, in 14 bits.
const fn expand_ulaw(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = ((code >> 4) & 7, (code & 0x0f) as i16);
    let magnitude = (((step << 1) + ULAW_BIAS as i16) << segment) - ULAW_BIAS as i16;
    let sample = magnitude << 2;
    if code & 0x80 != 0 { -sample } else { sample }
}

/// Table 1 of G.711: the first two segments have equal steps; in 13 bits.
const fn expand_alaw(code: u8) -> i16 {
    let code = code ^ ALAW_TOGGLE;
    let (segment, step) = ((code >> 4) & 7, (code & 0x0f) as i16);
    let magnitude = if segment == 0 { (step << 1) + 1 } else { ((step << 1) + 33) << (segment - 1) };
    let sample = magnitude << 3;
    if code & 0x80 != 0 { sample } else { -sample }
}

/// The µ-law code of a 16-bit sample.
pub fn encode_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    // One's complement, as in a sign-and-magnitude of equal halves.
    let magnitude = (if sample < 0 { !sample } else { sample }) as u16 >> 2;
    let biased = (magnitude + ULAW_BIAS).min(ULAW_CLIP);
    // The bias makes the smallest value 2^5, so that the highest bit names the segment.
    let segment = (10 - biased.leading_zeros()) as u8;
    let step = (biased >> (segment + 1)) as u8 & 0x0f;
    !(sign | segment << 4 | step)
}

/// The A-law code of a 16-bit sample.
pub fn encode_alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (if sample < 0 { !sample } else { sample }) as u16 >> 4;
    // 11 bits; below 32 two segments have steps of one.
    let (segment, step) = if magnitude < 32 {
        ((magnitude >> 4) as u8, magnitude as u8 & 0x0f)
    } else {
        let segment = (11 - magnitude.leading_zeros()) as u8 + 1;
        (segment, (magnitude >> (segment - 1)) as u8 & 0x0f)
    };
    (sign | segment << 4 | step) ^ ALAW_TOGGLE
}

/// The sample of a µ-law code.
pub fn decode_ulaw(code: u8) -> i16 {
    ULAW[usize::from(code)]
}

/// The sample of an A-law code.
pub fn decode_alaw(code: u8) -> i16 {
    ALAW[usize::from(code)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision values of table 2a/G.711 (µ-law, positive, 14 bits): the ends of the segments.
    const ULAW_ENDS: [i32; 9] = [0, 31, 95, 223, 479, 991, 2015, 4063, 8159];
    /// Decision values of table 1a/G.711 (A-law, positive, 13 bits): the ends of the segments.
    const ALAW_ENDS: [i32; 8] = [0, 64, 128, 256, 512, 1024, 2048, 4096];

    /// Decision values x(1), x(2), … of the positive half as the tables of the standard give them.
    fn ulaw_decisions() -> Vec<i32> {
        // Table 2a: the first step is 1, the other 15 of its segment 2; then 16 equal steps in each.
        let mut all = vec![0, 1];
        all.extend((1..16).map(|step| 1 + 2 * step));
        for ends in ULAW_ENDS[1..].windows(2) {
            all.extend((1..=16).map(|step| ends[0] + (ends[1] - ends[0]) / 16 * step));
        }
        all
    }

    fn alaw_decisions() -> Vec<i32> {
        let mut all = vec![0];
        all.extend((1..=32).map(|step| 2 * step));
        for ends in ALAW_ENDS[1..].windows(2) {
            all.extend((1..=16).map(|step| ends[0] + (ends[1] - ends[0]) / 16 * step));
        }
        all
    }

    #[test]
    fn the_tables_of_the_standard_have_128_intervals() {
        let (ulaw, alaw) = (ulaw_decisions(), alaw_decisions());
        assert_eq!((ulaw.len(), ulaw[128]), (129, 8159));
        assert_eq!((alaw.len(), alaw[128]), (129, 4096));
    }

    #[test]
    fn every_ulaw_code_stands_for_the_interval_of_table_2() {
        let decisions = ulaw_decisions();
        for n in 0..128usize {
            // G.711 table 2a, column 6: character signals from 11111111 downwards.
            let code = 0xff - n as u8;
            let (low, high) = (decisions[n], decisions[n + 1]);
            // Note 4 of the table: the value at the output is the middle of the interval, and 0 for the first.
            let value = if n == 0 { 0 } else { (low + high) / 2 };
            assert_eq!(i32::from(decode_ulaw(code)), value * 4, "n = {n}");
            assert_eq!(i32::from(decode_ulaw(code & 0x7f)), -value * 4, "n = {n}");
            for magnitude in low * 4..(high * 4).min(32_768) {
                assert_eq!(encode_ulaw(magnitude as i16), code, "{magnitude}");
                assert_eq!(encode_ulaw(!(magnitude as i16)), code & 0x7f, "{magnitude}");
            }
        }
    }

    #[test]
    fn every_alaw_code_stands_for_the_interval_of_table_1() {
        let decisions = alaw_decisions();
        for n in 0..128usize {
            let code = (0x80 | n as u8) ^ 0x55;
            let (low, high) = (decisions[n], decisions[n + 1]);
            assert_eq!(i32::from(decode_alaw(code)), (low + high) / 2 * 8, "n = {n}");
            assert_eq!(i32::from(decode_alaw(code ^ 0x80)), -(low + high) / 2 * 8, "n = {n}");
            for magnitude in low * 8..(high * 8).min(32_768) {
                assert_eq!(encode_alaw(magnitude as i16), code, "{magnitude}");
                assert_eq!(encode_alaw(!(magnitude as i16)), code ^ 0x80, "{magnitude}");
            }
        }
    }

    #[test]
    fn what_is_louder_than_the_last_interval_of_ulaw_gets_its_code() {
        assert_eq!(encode_ulaw(i16::MAX), 0x80);
        assert_eq!(encode_ulaw(i16::MIN), 0x00);
        assert_eq!(decode_ulaw(0x80), 32_124);
        assert_eq!(decode_alaw(0xaa), 32_256);
    }

    #[test]
    fn decoding_and_encoding_again_changes_nothing() {
        for code in 0..=255u8 {
            assert_eq!(encode_alaw(decode_alaw(code)), code);
            // µ-law has two zeros, and a sample only one.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(encode_ulaw(decode_ulaw(code)), expected);
        }
    }
}
