//! Streams on virtual time, with arrivals that are written down: what a listener hears of them, frame by frame.

use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::{Arrival, Content, Format, Playout, g711};
use mediaserver_proto::time::Time;

const HZ: f64 = 200.0;

fn tone(from: usize, samples: usize, rate: u32) -> Vec<i16> {
    let wave = |n: usize| (8_000.0 * (std::f64::consts::TAU * HZ * n as f64 / f64::from(rate)).sin()) as i16;
    (from..from + samples).map(wave).collect()
}

/// A packet of 20 ms and when it comes.
struct Sent {
    at_us: u64,
    sequence: u64,
    timestamp: u32,
    content: Content,
    payload: Vec<u8>,
}

/// µ-law packets `numbers` of a tone, each under way for `delay_ms(number)`; `None` is lost.
fn tone_packets(numbers: std::ops::Range<u64>, delay_ms: impl Fn(u64) -> Option<u64>) -> Vec<Sent> {
    let packets = numbers.filter_map(|number| {
        let payload = tone(number as usize * 160, 160, 8_000).iter().map(|&sample| g711::encode_ulaw(sample)).collect();
        let at_us = (number * 20 + delay_ms(number)?) * 1_000;
        Some(Sent { at_us, sequence: number, timestamp: number as u32 * 160, content: Content::Sound, payload })
    });
    packets.collect()
}

/// Plays what was sent, a frame every 20 ms from `start_us` until `end_us`; each frame, or `None` where there was none.
/// What is under way at the end stays in `sent`.
fn play(playout: &mut Playout, sent: &mut Vec<Sent>, start_us: u64, end_us: u64) -> Vec<Option<Vec<i16>>> {
    sent.sort_by_key(|packet| packet.at_us);
    let mut next = 0;
    let frames: Vec<_> = (start_us..end_us)
        .step_by(20_000)
        .map(|now_us| {
            while let Some(packet) = sent.get(next).filter(|packet| packet.at_us <= now_us) {
                let at = Time(packet.at_us * 1_000);
                let (sequence, timestamp, content) = (packet.sequence, packet.timestamp, packet.content);
                playout.push(&Arrival { sequence, timestamp, content, capture: at, payload: &packet.payload }, at);
                next += 1;
            }
            let mut frame = Vec::new();
            playout.pull(Time(now_us * 1_000), &mut frame)?;
            assert_eq!(frame.len(), playout.rate() as usize / 50);
            Some(frame)
        })
        .collect();
    sent.drain(..next);
    frames
}

fn joined(frames: &[Option<Vec<i16>>]) -> Vec<i16> {
    frames.iter().flatten().flatten().copied().collect()
}

/// Share of the energy that is at the tone, in blocks of 100 ms, so that a shift of its phase costs little.
fn share_of_tone(samples: &[i16], rate: u32) -> f64 {
    let (mut at_tone, mut all) = (0.0, 0.0);
    for block in samples.chunks_exact(rate as usize / 10) {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, &sample) in block.iter().enumerate() {
            let angle = std::f64::consts::TAU * HZ * n as f64 / f64::from(rate);
            sine += f64::from(sample) * angle.sin();
            cosine += f64::from(sample) * angle.cos();
            all += f64::from(sample).powi(2);
        }
        at_tone += 2.0 * (sine * sine + cosine * cosine) / block.len() as f64;
    }
    at_tone / all
}

fn pcmu() -> Playout {
    Playout::new(Format::Pcmu, 8_000).unwrap()
}

#[test]
fn a_steady_stream_is_heard_whole_after_the_first_wait() {
    let mut playout = pcmu();
    let frames = play(&mut playout, &mut tone_packets(0..200, |_| Some(30)), 7_000, 4_000_000);
    let silent = frames.iter().take_while(|frame| frame.is_none()).count();
    assert!(silent <= 5, "{silent}");
    let heard = joined(&frames);
    assert!(share_of_tone(&heard, 8_000) > 0.99);
    let stats = playout.stats();
    assert_eq!((stats.buffer.lost, stats.buffer.late, stats.concealed, stats.underruns), (0, 0, 0, 0));
}

#[test]
fn jitter_is_bridged_once_it_is_known() {
    let mut playout = pcmu();
    // Every seventh packet takes 90 ms longer, and so those behind it overtake it.
    let delay = |number: u64| Some(if number.is_multiple_of(7) { 120 } else { 30 });
    let mut sent = tone_packets(0..1_010, delay);
    play(&mut playout, &mut sent, 7_000, 10_007_000);
    let before = playout.stats();
    let frames = play(&mut playout, &mut sent, 10_007_000, 20_000_000);
    let stats = playout.stats();
    assert!((90..=100).contains(&stats.target_ms), "{stats:?}");
    assert_eq!((stats.buffer.lost, stats.concealed), (before.buffer.lost, before.concealed));
    assert!(share_of_tone(&joined(&frames), 8_000) > 0.95);
}

#[test]
fn the_delay_comes_down_again_when_the_line_is_quiet() {
    let mut playout = pcmu();
    let mut sent = tone_packets(0..3_000, |number| Some(if number < 500 { 30 + number * 53 % 150 } else { 30 }));
    play(&mut playout, &mut sent, 7_000, 10_007_000);
    let rough = playout.stats().delay_ms;
    assert!(rough > 100, "{rough}");
    let frames = play(&mut playout, &mut sent, 10_007_000, 60_000_000);
    let stats = playout.stats();
    assert!(stats.delay_ms < 40 && stats.shortened > 0, "{stats:?}");
    assert!(share_of_tone(&joined(&frames), 8_000) > 0.95);
}

#[test]
fn a_lost_packet_is_concealed_and_counted_once() {
    let mut playout = pcmu();
    let delay = |number: u64| (number % 10 != 9).then_some(30);
    let frames = play(&mut playout, &mut tone_packets(0..500, delay), 7_000, 9_900_000);
    let stats = playout.stats();
    assert_eq!((stats.buffer.lost, stats.concealed), (49, 49 * 160), "{stats:?}");
    assert!(share_of_tone(&joined(&frames), 8_000) > 0.95);
}

#[test]
fn packets_that_are_held_up_together_make_the_delay_grow_and_none_is_left_out() {
    let mut playout = pcmu();
    // From the hundredth on the line is 250 ms longer.
    let frames = play(
        &mut playout,
        &mut tone_packets(0..400, |number| Some(if number < 100 { 20 } else { 270 })),
        7_000,
        8_000_000,
    );
    let stats = playout.stats();
    assert_eq!((stats.buffer.lost, stats.buffer.late), (0, 0), "{stats:?}");
    assert!(stats.underruns >= 10 && frames.len() > 390, "{stats:?}");
}

#[test]
fn a_clock_that_runs_differently_is_followed_without_a_break() {
    for ppm in [-300i64, 300] {
        let mut playout = pcmu();
        let mut sent = tone_packets(0..6_000, |_| Some(30));
        for packet in &mut sent {
            packet.at_us = (packet.at_us as i64 + packet.at_us as i64 * ppm / 1_000_000) as u64;
        }
        let frames = play(&mut playout, &mut sent, 7_000, 119_000_000);
        let stats = playout.stats();
        assert!(stats.buffer.lost == 0 && stats.delay_ms < 60, "{ppm} ppm: {stats:?}");
        let stretched = if ppm > 0 { stats.lengthened } else { stats.shortened };
        assert!(stretched > 0, "{ppm} ppm: {stats:?}");
        assert!(share_of_tone(&joined(&frames[50..]), 8_000) > 0.97, "{ppm} ppm");
    }
}

#[test]
fn comfort_noise_fills_the_pauses_of_the_sender() {
    let mut playout = pcmu();
    let mut sent = tone_packets(0..50, |_| Some(30));
    let noise = |sequence, at: u64| Sent {
        at_us: (at * 20 + 30) * 1_000,
        sequence,
        timestamp: at as u32 * 160,
        content: Content::ComfortNoise,
        payload: vec![40],
    };
    sent.extend([noise(50, 50), noise(51, 90)]);
    sent.extend(
        tone_packets(120..170, |_| Some(30))
            .into_iter()
            .map(|packet| Sent { sequence: packet.sequence - 68, ..packet }),
    );
    let frames = play(&mut playout, &mut sent, 7_000, 3_400_000);
    let level = |frames: &[Option<Vec<i16>>]| {
        let heard = joined(frames);
        (heard.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / heard.len() as f64).sqrt()
    };
    // 40 dB below the loudest is 328.
    assert!((200.0..450.0).contains(&level(&frames[60..110])), "{}", level(&frames[60..110]));
    assert!(level(&frames[130..160]) > 5_000.0);
    let stats = playout.stats();
    assert_eq!((stats.buffer.lost, stats.concealed), (0, 0), "{stats:?}");
}

#[test]
fn a_stream_that_ends_is_over_and_the_next_begins_by_itself() {
    let mut playout = pcmu();
    let frames = play(&mut playout, &mut tone_packets(0..50, |_| Some(30)), 7_000, 4_000_000);
    assert!(frames.last().is_some_and(Option::is_none));
    let again = play(&mut playout, &mut tone_packets(300..350, |_| Some(30)), 6_007_000, 7_000_000);
    assert!(again.iter().flatten().count() > 40);
}

#[test]
fn opus_repairs_a_loss_from_the_packet_behind_it() {
    let rate = 16_000;
    let heard = |is_lost: fn(u64) -> bool| {
        let mut encoder = Encoder::new(Format::Opus, rate).unwrap();
        let mut sent = Vec::new();
        for sequence in 0..300u64 {
            let mut payload = Vec::new();
            encoder.encode(&tone(sequence as usize * 320, 320, rate), &mut payload).unwrap();
            let (at_us, timestamp) = ((sequence * 20 + 30) * 1_000, sequence as u32 * 960);
            sent.push(Sent { at_us, sequence, timestamp, content: Content::Sound, payload });
        }
        sent.retain(|packet| !is_lost(packet.sequence));
        let mut playout = Playout::new(Format::Opus, rate).unwrap();
        let frames = play(&mut playout, &mut sent, 7_000, 5_900_000);
        (share_of_tone(&joined(&frames[20..]), rate), playout.stats())
    };
    let ((whole, _), (share, stats)) = (heard(|_| false), heard(|sequence| sequence % 12 == 11));
    assert_eq!((stats.buffer.lost, stats.repaired), (24, 24), "{stats:?}");
    assert!(share > whole - 0.15, "{share}, without losses {whole}");
}

#[test]
fn packets_of_sixty_milliseconds_are_cut_into_frames() {
    let mut playout = pcmu();
    let packets = (0..60u64).map(|number| Sent {
        at_us: (number * 60 + 80) * 1_000,
        sequence: number,
        timestamp: number as u32 * 480,
        content: Content::Sound,
        payload: tone(number as usize * 480, 480, 8_000).iter().map(|&sample| g711::encode_ulaw(sample)).collect(),
    });
    let frames = play(&mut playout, &mut packets.collect(), 7_000, 3_600_000);
    assert_eq!(playout.stats().concealed, 0, "{:?}", playout.stats());
    assert!(share_of_tone(&joined(&frames), 8_000) > 0.98);
}

#[test]
fn nonsense_neither_panics_nor_stalls() {
    let mut random = 1u32;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    for format in [Format::Pcmu, Format::G722, Format::Opus] {
        let mut playout = Playout::new(format, format.native_rate().unwrap_or(16_000)).unwrap();
        let mut frames = 0;
        for step in 0..20_000u64 {
            let now = Time(step * 5_000_000);
            let payload: Vec<u8> = (0..next() % 300).map(|_| next() as u8).collect();
            let near = next() % 4 != 0;
            playout.push(
                &Arrival {
                    sequence: if near { step } else { u64::from(next()) },
                    timestamp: if near { step as u32 * 100 } else { next() },
                    content: [Content::Sound, Content::ComfortNoise, Content::Nothing][next() as usize % 3],
                    capture: now,
                    payload: &payload,
                },
                now,
            );
            if step % 4 == 0 {
                let mut frame = Vec::new();
                frames += usize::from(playout.pull(now, &mut frame).is_some());
                assert!(frame.len() <= 320);
            }
        }
        let counts = playout.stats().buffer;
        assert!(counts.received > 0 && frames < 5_001, "{format:?}: {counts:?}");
    }
}
