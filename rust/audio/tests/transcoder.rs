//! Whole directions of a call: one format in, another out.

use mediaserver_audio::decoder::Decoder;
use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::format::frame_samples;
use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Content, Format, Transcoder};
use mediaserver_proto::time::Time;

const ALL: [Format; 4] = [Format::Opus, Format::Pcmu, Format::Pcma, Format::G722];

fn rate(format: Format) -> u32 {
    format.native_rate().unwrap_or(48_000)
}

fn packets(format: Format, hz: f64, frames: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(format, rate(format)).unwrap();
    let samples = frame_samples(rate(format));
    let wave = |n: usize| (8_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate(format))).sin()) as i16;
    (0..frames)
        .map(|frame| {
            let samples: Vec<i16> = (frame * samples..(frame + 1) * samples).map(wave).collect();
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload).unwrap();
            payload
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq)]
struct Out {
    sequence: u64,
    timestamp: u32,
    marker: bool,
    is_event: bool,
    payload: Vec<u8>,
}

fn pull(transcoder: &mut Transcoder, now_ms: u64, out: &mut Vec<Out>) {
    transcoder
        .pull(Time::from_millis(now_ms), |produced| {
            out.push(Out {
                sequence: produced.sequence,
                timestamp: produced.timestamp,
                marker: produced.marker,
                is_event: produced.is_event,
                payload: produced.payload.to_vec(),
            });
        })
        .unwrap();
}

fn push(transcoder: &mut Transcoder, input: Input, number: u64, payload: &[u8]) {
    let clock = match input {
        Input::Sound(format) => format.clock_rate(),
        _ => 8_000,
    };
    let now = Time::from_millis(number * 20 + 3);
    let timestamp = number as u32 * (clock / 50);
    let arrival = Arrival { sequence: number, timestamp, content: Content::Sound, capture: now, payload };
    transcoder.push(input, &arrival, now).unwrap();
}

fn run(from: Format, to: Format, hz: f64) -> Vec<Out> {
    let mut transcoder = Transcoder::new(from, to).unwrap();
    let mut out = Vec::new();
    for (number, payload) in packets(from, hz, 100).iter().enumerate() {
        push(&mut transcoder, Input::Sound(from), number as u64, payload);
        pull(&mut transcoder, number as u64 * 20 + 10, &mut out);
    }
    out
}

/// Share of the power that is at `hz` behind a decoder of its own.
fn share(out: &[Out], format: Format, hz: f64) -> f64 {
    let rate = rate(format);
    let mut decoder = Decoder::new(format, rate).unwrap();
    let mut samples = Vec::new();
    for packet in out {
        decoder.decode(&packet.payload, &mut samples).unwrap();
    }
    let settled = &samples[samples.len() / 4..];
    let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
    for (n, &sample) in settled.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate);
        sine += f64::from(sample) * angle.sin();
        cosine += f64::from(sample) * angle.cos();
        power += f64::from(sample).powi(2);
    }
    2.0 * (sine * sine + cosine * cosine) / settled.len() as f64 / power
}

#[test]
fn a_tone_passes_between_any_two_formats() {
    for from in ALL {
        for to in ALL {
            let out = run(from, to, 440.0);
            assert!(out.len() >= 95, "{from:?} to {to:?}: {}", out.len());
            let found = share(&out, to, 440.0);
            assert!(found > 0.9, "{from:?} to {to:?}: {found}");
        }
    }
}

#[test]
fn sequence_and_timestamps_go_up_by_one_frame_and_only_the_first_is_marked() {
    for to in ALL {
        let out = run(Format::Pcma, to, 440.0);
        assert!(out[0].marker && out[1..].iter().all(|packet| !packet.marker));
        for pair in out.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert_eq!(pair[1].timestamp, pair[0].timestamp + to.clock_rate() / 50);
        }
    }
}

#[test]
fn a_silence_leaves_a_gap_in_time_and_none_in_the_sequence() {
    let mut transcoder = Transcoder::new(Format::Pcmu, Format::Opus).unwrap();
    let all = packets(Format::Pcmu, 440.0, 400);
    let mut out = Vec::new();
    for number in 0..400u64 {
        if !(100..300).contains(&number) {
            push(&mut transcoder, Input::Sound(Format::Pcmu), number, &all[number as usize]);
        }
        pull(&mut transcoder, number * 20 + 10, &mut out);
    }
    let second = out.iter().skip(1).position(|packet| packet.marker).unwrap() + 1;
    assert_eq!(out[second].sequence, out[second - 1].sequence + 1);
    let gap = out[second].timestamp - out[second - 1].timestamp;
    assert!((48_000 * 2..48_000 * 4).contains(&gap), "{gap}");
}

#[test]
fn a_sender_may_change_its_format_in_the_middle() {
    let mut transcoder = Transcoder::new(Format::Opus, Format::Pcmu).unwrap();
    let mut out = Vec::new();
    let (opus, g722) = (packets(Format::Opus, 440.0, 100), packets(Format::G722, 440.0, 200));
    for number in 0..200u64 {
        let (format, payload) =
            if number < 100 { (Format::Opus, &opus[number as usize]) } else { (Format::G722, &g722[number as usize]) };
        push(&mut transcoder, Input::Sound(format), number, payload);
        pull(&mut transcoder, number * 20 + 10, &mut out);
    }
    assert!(out.len() > 190);
    assert!(share(&out[120..], Format::Pcmu, 440.0) > 0.9);
}

#[test]
fn telephone_events_go_on_with_the_other_clock_and_in_place_of_sound() {
    let mut transcoder = Transcoder::new(Format::Opus, Format::Pcmu).unwrap();
    let opus = packets(Format::Opus, 440.0, 60);
    let mut out = Vec::new();
    for number in 0..60u64 {
        let now = Time::from_millis(number * 20 + 3);
        if (20..26).contains(&number) {
            let ends = number >= 23;
            let duration: u16 = 960 * (number.min(23) as u16 - 19);
            let [high, low] = duration.to_be_bytes();
            let payload = [5, if ends { 0x8a } else { 0x0a }, high, low];
            let arrival = Arrival {
                sequence: number,
                timestamp: 19_200,
                content: Content::Nothing,
                capture: now,
                payload: &payload,
            };
            transcoder.push(Input::Event(48_000), &arrival, now).unwrap();
        } else {
            push(&mut transcoder, Input::Sound(Format::Opus), number, &opus[number as usize]);
        }
        pull(&mut transcoder, number * 20 + 10, &mut out);
    }
    let events: Vec<&Out> = out.iter().filter(|packet| packet.is_event).collect();
    assert_eq!(events.len(), 6);
    assert!(events[0].marker && events[1..].iter().all(|event| !event.marker));
    assert!(events.iter().all(|event| event.timestamp == events[0].timestamp));
    let durations: Vec<u16> =
        events.iter().map(|event| u16::from_be_bytes([event.payload[2], event.payload[3]])).collect();
    assert_eq!(durations, [160, 320, 480, 640, 640, 640]);
    let first = out.iter().position(|packet| packet.is_event).unwrap();
    assert!(out[first..first + 6].iter().all(|packet| packet.is_event), "sound between the packets of an event");
    assert!(out.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
}

#[test]
fn short_events_and_broken_packets_are_left_out() {
    let mut transcoder = Transcoder::new(Format::Opus, Format::Pcma).unwrap();
    let now = Time::from_millis(1);
    let mut out = Vec::new();
    for (input, payload) in
        [(Input::Event(8_000), &[1u8, 2, 3][..]), (Input::Event(0), &[1, 2, 3, 4]), (Input::Nothing, &[])]
    {
        let arrival = Arrival { sequence: 1, timestamp: 0, content: Content::Nothing, capture: now, payload };
        transcoder.push(input, &arrival, now).unwrap();
    }
    for number in 0..50 {
        pull(&mut transcoder, number * 20, &mut out);
    }
    assert_eq!(out, []);
}
