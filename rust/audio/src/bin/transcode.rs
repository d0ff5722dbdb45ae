//! How many directions of a call one core transcodes: packets with jitter and losses on virtual time, as fast as it goes.
//!
//! Prints `figure NAME UNIT VALUE…`, a value for each round. Each direction is what an audio thread does for it: jitter
//! buffer, decoder, resampler and encoder, with a frame every 20 ms.

use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::sample::speech;
use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Content, Format, Transcoder};
use mediaserver_proto::time::Time;
use std::time::Instant;

/// Directions side by side, so that caches are as cold as in a daemon; and frames of each in one round.
const DIRECTIONS: usize = 50;
const FRAMES: u64 = 250;

const CASES: [(&str, Format, Format); 4] = [
    ("opus_to_g711", Format::Opus, Format::Pcma),
    ("g711_to_opus", Format::Pcma, Format::Opus),
    ("opus_to_g722", Format::Opus, Format::G722),
    ("g722_to_opus", Format::G722, Format::Opus),
];

fn packets(format: Format) -> Vec<Vec<u8>> {
    let rate = format.native_rate().unwrap_or(48_000);
    let Ok(mut encoder) = Encoder::new(format, rate) else { return Vec::new() };
    let samples = speech(rate);
    let encoded = samples.chunks(rate as usize / 50).map(|frame| {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).ok();
        payload
    });
    encoded.collect()
}

/// Nanoseconds of CPU for one frame of one direction.
fn round(from: Format, to: Format, packets: &[Vec<u8>]) -> f64 {
    let mut directions: Vec<Transcoder> = (0..DIRECTIONS).filter_map(|_| Transcoder::new(from, to).ok()).collect();
    let (mut started, mut frames) = (Instant::now(), 0u64);
    for number in 0..FRAMES + 50 {
        if number == 50 {
            (started, frames) = (Instant::now(), 0);
        }
        for (index, direction) in directions.iter_mut().enumerate() {
            // One packet in fifty is lost, and every seventh comes late by up to 15 ms.
            if (number + index as u64) % 50 != 49 {
                let late = if number % 7 == 3 { index as u64 % 15 } else { 0 };
                let now = Time::from_millis(number * 20 + late);
                let payload = &packets[(number as usize + index) % packets.len()];
                let timestamp = number as u32 * from.frame_units();
                let arrival = Arrival { sequence: number, timestamp, content: Content::Sound, capture: now, payload };
                direction.push(Input::Sound(from), &arrival, now).ok();
            }
            direction.pull(Time::from_millis(number * 20 + 17), |_| frames += 1).ok();
        }
    }
    started.elapsed().as_nanos() as f64 / frames.max(1) as f64
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    for (name, from, to) in CASES {
        let packets = packets(from);
        let costs: Vec<f64> = (0..rounds).map(|_| round(from, to, &packets)).collect();
        let written = |values: Vec<String>| values.join(" ");
        let per_core = costs.iter().map(|cost| format!("{:.0}", 20_000_000.0 / cost)).collect();
        println!("figure transcoded_per_core_{name} directions {}", written(per_core));
    }
}
