//! Once a stream has warmed up, transcoding and mixing it allocates nothing.

use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Content, Format, Mix, Transcoder};
use mediaserver_proto::time::Time;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn payload(format: Format) -> Vec<u8> {
    let rate = format.native_rate().unwrap_or(48_000);
    let wave = |n: u32| (8_000.0 * (std::f64::consts::TAU * 300.0 * f64::from(n) / f64::from(rate)).sin()) as i16;
    let samples: Vec<i16> = (0..rate / 50).map(wave).collect();
    let mut payload = Vec::new();
    Encoder::new(format, rate).unwrap().encode(&samples, &mut payload).unwrap();
    payload
}

#[test]
fn a_warm_stream_with_jitter_and_losses_allocates_nothing() {
    for (from, to) in [(Format::Opus, Format::Pcmu), (Format::Pcma, Format::Opus), (Format::G722, Format::Pcmu)] {
        let payload = payload(from);
        let mut transcoder = Transcoder::new(from, to).unwrap();
        let (mut frames, mut warm) = (0u64, 0);
        for number in 0..2_000u64 {
            if number == 1_000 {
                warm = ALLOCATIONS.with(Cell::get);
            }
            // Every ninth packet is lost, and of the others every fifth comes after the next one.
            let sent = if number % 5 == 3 { number + 1 } else { number - u64::from(number % 5 == 4) };
            if sent % 9 != 8 {
                let now = Time::from_millis(number * 20 + 3);
                let timestamp = sent as u32 * (from.clock_rate() / 50);
                let arrival =
                    Arrival { sequence: sent, timestamp, content: Content::Sound, capture: now, payload: &payload };
                transcoder.push(Input::Sound(from), &arrival, now).unwrap();
            }
            transcoder.pull(Time::from_millis(number * 20 + 10), |_| frames += 1).unwrap();
        }
        let allocated = ALLOCATIONS.with(Cell::get) - warm;
        assert!(frames > 1_980, "{frames}");
        assert_eq!(allocated, 0, "{from:?} to {to:?}");
    }
}

#[test]
fn a_warm_mix_in_which_voices_come_and_go_allocates_nothing() {
    let formats = [Format::Opus, Format::Pcmu, Format::G722, Format::Opus, Format::Pcma, Format::Opus];
    let payloads = formats.map(payload);
    let mut mix = Mix::default();
    for (id, &format) in formats.iter().enumerate() {
        mix.add_voice(id as u64, format).unwrap();
        mix.set_listener(100 + id as u64, format, &[id as u64]).unwrap();
    }
    let (mut frames, mut warm) = (0u64, 0);
    for number in 0..2_000u64 {
        if number == 1_000 {
            warm = ALLOCATIONS.with(Cell::get);
        }
        let now = Time::from_millis(number * 20 + 3);
        for (id, (&format, payload)) in formats.iter().zip(&payloads).enumerate() {
            // Each speaks for a while and is silent for a while, and every ninth packet is lost.
            if !(number / 50 + id as u64).is_multiple_of(3) && (number + id as u64) % 9 != 8 {
                let timestamp = number as u32 * format.frame_units();
                let arrival = Arrival { sequence: number, timestamp, content: Content::Sound, capture: now, payload };
                mix.push(id as u64, Input::Sound(format), &arrival, now).unwrap();
            }
        }
        mix.pull(Time::from_millis(number * 20 + 10), |_, _| frames += 1).unwrap();
    }
    assert_eq!(frames, 12_000);
    assert_eq!(ALLOCATIONS.with(Cell::get) - warm, 0);
}
