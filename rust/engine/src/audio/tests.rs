//! The pool of one audio thread on virtual time: two shards, what they say to it, and what comes back.

use std::sync::Arc;

use mediaserver_audio::decoder::Decoder;
use mediaserver_audio::{Format, g711};
use mediaserver_proto::codec::{Codec, Descriptor};
use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::endpoint::media_batch::MediaBatch;
use mediaserver_proto::sfu::rewriter::Capture;
use mediaserver_proto::sfu::{PacketMeta, UpPacket, UpTrackId};
use mediaserver_proto::time::Time;

use super::AudioPool;
use super::mixes::MOST_OF_A_MIX;
use super::pool::PHASES;
use super::refused::Refused;
use crate::command::{Action, MixListener, MixVoice};
use crate::event::Event;

const SOURCE: u64 = 7;
const SOURCE_ON_SECOND: u64 = 1 << 48 | 9;
const ID: u64 = 2 << 48 | 1;

fn packet(source: u64, sequence: u64, stream: u32, codec: Codec, payload: &[u8], now: Time) -> ShardMessage {
    let meta = PacketMeta {
        up: UpTrackId(source),
        layer: 0,
        stream,
        sequence,
        timestamp: sequence as u32 * 160,
        marker: false,
        codec,
        keyframe_start: false,
        audio_level: None,
        video_orientation: None,
        playout_delay: None,
        descriptor: Descriptor::None,
        arrival: now,
        capture: Capture::estimated(now),
        payload_start: 0,
        payload_len: payload.len() as u16,
    };
    let mut batch = MediaBatch::default();
    batch.push(&UpPacket { meta, payload });
    ShardMessage::Media(Arc::new(batch))
}

fn tone(sequence: u64) -> Vec<u8> {
    let wave = |n: u64| (8_000.0 * (std::f64::consts::TAU * 400.0 * n as f64 / 8_000.0).sin()) as i16;
    (sequence * 160..(sequence + 1) * 160).map(|n| g711::encode_ulaw(wave(n))).collect()
}

fn open(pool: &mut AudioPool, id: u64, source: u64, from: &str, to: &str) -> Result<(), String> {
    pool.command(id, &Action::OpenTranscoder { source, source_codec: from.to_owned(), codec: to.to_owned() })
}

fn close(pool: &mut AudioPool, id: u64) -> Result<(), String> {
    pool.command(id, &Action::CloseTranscoder)
}

/// What came out: to which shard, and the records with the lengths of their payloads.
type Out = Vec<(u16, PacketMeta)>;

fn collect(pool: &mut AudioPool, out: &mut Out) {
    for (shard, message) in pool.take_messages() {
        if let ShardMessage::Media(batch) = message {
            out.extend(
                batch.runs().flat_map(|(_, packets)| packets.map(|packet| (shard, packet.meta)).collect::<Vec<_>>()),
            );
        }
    }
}

/// Sends `packets` of the tone, one every 20 ms, and makes all frames that are due.
fn run(pool: &mut AudioPool, packets: std::ops::Range<u64>) -> Out {
    let mut out = Vec::new();
    for sequence in packets {
        let now = Time::from_millis(1_000 + sequence * 20);
        pool.handle_message(0, &packet(SOURCE, sequence, 1, Codec::Pcmu, &tone(sequence), now), now);
        for phase in 0..PHASES {
            pool.tick(phase, Time::from_millis(1_000 + sequence * 20 + 5 * phase as u64));
        }
        collect(pool, &mut out);
    }
    out
}

fn wanted(message: &(u16, ShardMessage)) -> (u16, &'static str, u64) {
    match message {
        (shard, ShardMessage::Want { up }) => (*shard, "want", *up),
        (shard, ShardMessage::Unwant { up }) => (*shard, "unwant", *up),
        (shard, _) => (*shard, "other", 0),
    }
}

#[test]
fn a_transcoder_wants_its_source_and_gives_frames_to_whoever_wants_its_track() {
    let mut pool = AudioPool::new(2, 4, 4);
    // The subscription may come before the command.
    pool.handle_message(1, &ShardMessage::Want { up: ID }, Time::ZERO);
    open(&mut pool, ID, SOURCE, "Pcmu", "Opus").unwrap();
    let messages: Vec<_> = pool.take_messages().collect();
    assert_eq!(messages.iter().map(wanted).collect::<Vec<_>>(), [(0, "want", SOURCE)]);
    let out = run(&mut pool, 0..100);
    assert!(out.len() > 90, "{}", out.len());
    assert!(out.iter().all(|(shard, meta)| *shard == 1 && meta.up == UpTrackId(ID) && meta.codec == Codec::Opus));
    assert!(out.windows(2).all(|pair| pair[1].1.sequence == pair[0].1.sequence + 1));
    pool.handle_message(1, &ShardMessage::Unwant { up: ID }, Time::ZERO);
    assert_eq!(run(&mut pool, 100..110).len(), 0, "nobody wants it any more");
    close(&mut pool, ID).unwrap();
    let messages: Vec<_> = pool.take_messages().collect();
    assert_eq!(messages.iter().map(wanted).collect::<Vec<_>>(), [(0, "unwant", SOURCE)]);
    assert!(pool.is_empty());
    assert_eq!(close(&mut pool, ID), Err(Refused::Unknown.to_string()));
}

#[test]
fn two_shards_that_want_one_track_both_get_it() {
    let mut pool = AudioPool::new(2, 4, 4);
    open(&mut pool, ID, SOURCE, "Pcmu", "Pcma").unwrap();
    for shard in 0..2 {
        pool.handle_message(shard, &ShardMessage::Want { up: ID }, Time::ZERO);
    }
    let out = run(&mut pool, 0..50);
    let count = |wanted: u16| out.iter().filter(|(shard, _)| *shard == wanted).count();
    assert!(count(0) == count(1) && count(0) > 40);
}

#[test]
fn the_pool_is_bounded_and_refusals_are_counted() {
    let mut pool = AudioPool::new(2, 2, 4);
    open(&mut pool, ID, SOURCE, "Pcmu", "Opus").unwrap();
    assert_eq!(open(&mut pool, ID, SOURCE, "Pcmu", "Opus"), Err(Refused::IdInUse.to_string()));
    assert_eq!(open(&mut pool, ID + 1, 2 << 48, "Pcmu", "Opus"), Err(Refused::Source.to_string()));
    open(&mut pool, ID + 1, SOURCE_ON_SECOND, "Opus", "Pcmu").unwrap();
    assert_eq!(open(&mut pool, ID + 2, SOURCE, "Pcmu", "Opus"), Err(Refused::Transcodes.to_string()));
    assert_eq!(Refused::Transcodes.to_string(), "limit transcodes");
    let counts = pool.transcoders().counts();
    assert_eq!((counts.opened, counts.refused, pool.transcoders().len()), (2, 3, 2));
    close(&mut pool, ID).unwrap();
    open(&mut pool, ID + 2, SOURCE, "Pcmu", "Opus").unwrap();
}

#[test]
fn a_source_that_begins_anew_goes_on_being_heard() {
    let mut pool = AudioPool::new(1, 4, 4);
    let id = 1 << 48;
    open(&mut pool, id, SOURCE, "Pcmu", "Pcma").unwrap();
    pool.handle_message(0, &ShardMessage::Want { up: id }, Time::ZERO);
    let mut out = Vec::new();
    for step in 0..200u64 {
        // After a hundred packets the sender starts again, with lower numbers.
        let (sequence, stream) = if step < 100 { (5_000 + step, 1) } else { (step, 2) };
        let now = Time::from_millis(1_000 + step * 20);
        pool.handle_message(0, &packet(SOURCE, sequence, stream, Codec::Pcmu, &tone(step), now), now);
        for phase in 0..PHASES {
            pool.tick(phase, Time::from_millis(1_000 + step * 20 + 5 * phase as u64));
        }
        collect(&mut pool, &mut out);
    }
    assert!(out.len() > 185, "{}", out.len());
    assert!(out.windows(2).all(|pair| pair[1].1.sequence == pair[0].1.sequence + 1));
    assert_eq!(pool.transcoders().counts().streams.buffer.late, 0);
}

#[test]
fn losses_are_still_counted_when_the_transcoder_is_gone() {
    let mut pool = AudioPool::new(1, 4, 4);
    let id = 1 << 48;
    open(&mut pool, id, SOURCE, "Pcmu", "Pcma").unwrap();
    for part in [0..50, 52..100] {
        run(&mut pool, part);
    }
    assert_eq!(pool.transcoders().counts().streams.buffer.lost, 2);
    close(&mut pool, id).unwrap();
    assert_eq!(pool.transcoders().counts().streams.buffer.lost, 2);
}

/// A mix of the sources 1 to `parties`, who all speak µ-law; who listens has the id of the mix and the number.
fn set_mix(pool: &mut AudioPool, id: u64, parties: u64) -> Result<(), String> {
    let codec = "PCMU".to_owned();
    let voices = (1..=parties).map(|source| MixVoice { source, codec: codec.clone(), judged: true }).collect();
    let listeners = (1..=parties)
        .map(|number| MixListener { id: id + number, codec: codec.clone(), without: vec![number] })
        .collect();
    pool.command(id, &Action::SetMix { voices, listeners })
}

fn sine(hz: f64, sequence: u64) -> Vec<u8> {
    let wave = |n: u64| (6_000.0 * (std::f64::consts::TAU * hz * n as f64 / 8_000.0).sin()) as i16;
    (sequence * 160..(sequence + 1) * 160).map(|n| g711::encode_ulaw(wave(n))).collect()
}

fn hz_of(party: u64) -> f64 {
    300.0 + 200.0 * party as f64
}

/// Lets all parties speak for `frames`; what each listener got, as samples.
fn talk(pool: &mut AudioPool, id: u64, parties: u64, frames: std::ops::Range<u64>) -> Vec<Vec<i16>> {
    let mut heard = vec![Vec::new(); parties as usize];
    let mut decoder = Decoder::new(Format::Pcmu, 8_000).unwrap();
    for sequence in frames {
        let now = Time::from_millis(1_000 + sequence * 20);
        for party in 1..=parties {
            let payload = sine(hz_of(party), sequence);
            pool.handle_message(0, &packet(party, sequence, 1, Codec::Pcmu, &payload, now), now);
        }
        for phase in 0..PHASES {
            pool.tick(phase, now + std::time::Duration::from_millis(5 * phase as u64));
        }
        for (_, message) in pool.take_messages() {
            let ShardMessage::Media(batch) = message else { continue };
            for (up, packets) in batch.runs() {
                packets.for_each(|packet| {
                    decoder.decode(packet.payload, &mut heard[(up.0 - id - 1) as usize]).unwrap();
                });
            }
        }
    }
    heard
}

/// Amplitude of a tone.
fn level(samples: &[i16], hz: f64) -> f64 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * n as f64 / 8_000.0;
        sine += f64::from(sample) * angle.sin();
        cosine += f64::from(sample) * angle.cos();
    }
    2.0 * f64::hypot(sine, cosine) / samples.len() as f64
}

#[test]
fn everybody_in_a_mix_hears_the_others_and_who_comes_and_goes_disturbs_nobody() {
    let mut pool = AudioPool::new(2, 0, 4);
    for listener in 1..=4 {
        pool.handle_message(1, &ShardMessage::Want { up: ID + listener }, Time::ZERO);
    }
    let (mut told, mut begin) = (Vec::new(), 0);
    for parties in [3, 4, 3] {
        set_mix(&mut pool, ID, parties).unwrap();
        told.extend(pool.take_messages().map(|message| wanted(&message)));
        let heard = talk(&mut pool, ID, parties, begin..begin + 100);
        begin += 100;
        for (listener, samples) in (1..).zip(&heard) {
            assert!(samples.len() >= 15_900, "{}", samples.len());
            for speaker in 1..=parties {
                let level = level(&samples[8_000..], hz_of(speaker));
                assert!(
                    if speaker == listener { level < 100.0 } else { level > 4_000.0 },
                    "{listener} {speaker} {level}"
                );
            }
        }
    }
    assert_eq!(told, [(0, "want", 1), (0, "want", 2), (0, "want", 3), (0, "want", 4), (0, "unwant", 4)]);
    assert_eq!((pool.mixes().len(), pool.mixes().listeners()), (1, 3));
    pool.command(ID, &Action::CloseMix).unwrap();
    assert_eq!(pool.take_messages().map(|message| wanted(&message).1).collect::<Vec<_>>(), ["unwant"; 3]);
    assert!(pool.is_empty());
    assert_eq!(pool.command(ID, &Action::CloseMix), Err(Refused::Unknown.to_string()));
    let counts = pool.mixes().counts();
    assert!(counts.given >= 990 && counts.encoded >= 990 && counts.voices.buffer.lost == 0, "{counts:?}");
}

#[test]
fn a_mix_says_how_loudly_those_speak_of_whom_nobody_else_does() {
    let mut pool = AudioPool::new(2, 0, 4);
    let codec = "PCMU".to_owned();
    let voices = [1, 2].map(|source| MixVoice { source, codec: codec.clone(), judged: source == 2 }).to_vec();
    let listeners = vec![MixListener { id: ID + 1, codec, without: Vec::new() }];
    pool.command(ID, &Action::SetMix { voices, listeners }).unwrap();
    talk(&mut pool, ID, 2, 0..100);
    let mut told = Vec::new();
    while let Some(event) = pool.take_event() {
        if let Event::SpeechChanged { id, loudness: 1.. } = event {
            told.push(id);
        }
    }
    assert!(!told.is_empty() && told.iter().all(|&id| id == 2), "{told:?}");
}

#[test]
fn mixes_are_bounded_and_what_is_refused_changes_nothing() {
    let mut pool = AudioPool::new(2, 0, 4);
    set_mix(&mut pool, ID, 3).unwrap();
    let other = ID + 100;
    assert_eq!(set_mix(&mut pool, other, 2), Err(Refused::MixedLegs.to_string()));
    assert_eq!(set_mix(&mut pool, ID, 5), Err("limit mixed_legs".to_owned()));
    assert_eq!(
        set_mix(&mut AudioPool::new(2, 0, 1_000), ID, MOST_OF_A_MIX as u64 + 1),
        Err("limit mixed_legs".to_owned())
    );
    let listener = |id, codec: &str| MixListener { id, codec: codec.to_owned(), without: Vec::new() };
    let voice = |source| MixVoice { source, codec: "opus".to_owned(), judged: true };
    let refused = |pool: &mut AudioPool, voices, listeners| {
        pool.command(other, &Action::SetMix { voices, listeners }).unwrap_err()
    };
    assert_eq!(refused(&mut pool, vec![], vec![listener(ID + 1, "PCMU")]), Refused::IdInUse.to_string());
    assert_eq!(refused(&mut pool, vec![], vec![listener(7, "PCMU")]), Refused::IdInUse.to_string());
    assert_eq!(refused(&mut pool, vec![], vec![listener(other + 1, "VP8")]), Refused::Codec.to_string());
    assert_eq!(refused(&mut pool, vec![voice(2 << 48)], vec![]), Refused::Source.to_string());
    assert_eq!(refused(&mut pool, vec![voice(1), voice(1)], vec![]), Refused::Source.to_string());
    assert_eq!((pool.mixes().len(), pool.mixes().listeners(), pool.mixes().counts().refused), (1, 3, 7));
    let mut counters = crate::counters::Counters::default();
    pool.publish(&mut counters);
    assert_eq!(
        (counters.get("mixed_legs").unwrap(), counters.get("mixes").unwrap(), counters.get("mixes_refused").unwrap()),
        (3, 1, 7)
    );
    set_mix(&mut pool, other, 1).unwrap();
}
