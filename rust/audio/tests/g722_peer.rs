//! G.722 against FFmpeg's: the files in `data` are what it made of [`input`], and what it heard in that again
//! (`ffmpeg -f s16le -ar 16000 -ac 1 -i input -f g722 …`, then back with `-f s16le`).

use mediaserver_audio::g722::{Decoder, Encoder};

const ENCODED: &[u8] = include_bytes!("data/g722_encoded.bin");
const DECODED: &[u8] = include_bytes!("data/g722_decoded.bin");

/// A triangle that rises through both bands, with some noise, loud and quiet; in whole numbers, so that it is the same
/// everywhere.
fn input() -> Vec<i16> {
    let (mut phase, mut seed) = (0i32, 1u32);
    let sample = |n: i32| {
        phase = (phase + if n < 6_000 { 300 + n * 3 } else { 9_000 }) & 0xffff;
        seed = (seed.wrapping_mul(1_103_515_245).wrapping_add(12_345)) & 0x7fff_ffff;
        let (triangle, noise) = ((phase - 32_768).abs() - 16_384, (seed >> 16 & 0x3ff) as i32 - 512);
        let quieter = if n / 1_000 % 4 == 0 { 4 } else { 1 };
        (triangle.div_euclid(quieter) + noise.div_euclid(quieter)) as i16
    };
    (0..8_000).map(sample).collect()
}

#[test]
fn what_ffmpeg_encoded_decodes_to_the_same_samples() {
    let mut samples = Vec::new();
    Decoder::default().decode(ENCODED, &mut samples);
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let differing = bytes.chunks(2).zip(DECODED.chunks(2)).position(|(ours, theirs)| ours != theirs);
    assert_eq!((differing, bytes.len()), (None, DECODED.len()));
}

#[test]
fn encoding_gives_the_same_bytes_as_ffmpeg() {
    let mut bytes = Vec::new();
    Encoder::default().encode(&input(), &mut bytes);
    let differing = bytes.iter().zip(ENCODED).position(|(ours, theirs)| ours != theirs);
    assert_eq!((differing, bytes.len()), (None, ENCODED.len()));
}
