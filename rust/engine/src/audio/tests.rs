//! The pool of one audio thread on virtual time: two shards, what they say to it, and what comes back.

use std::sync::Arc;

use mediaserver_audio::{Format, g711};
use mediaserver_proto::codec::{Codec, Descriptor};
use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::endpoint::media_batch::MediaBatch;
use mediaserver_proto::sfu::rewriter::Capture;
use mediaserver_proto::sfu::{PacketMeta, UpPacket, UpTrackId};
use mediaserver_proto::time::Time;

use super::Transcoders;
use super::pool::{PHASES, Refused};

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

/// What came out: to which shard, and the records with the lengths of their payloads.
type Out = Vec<(u16, PacketMeta)>;

fn collect(pool: &mut Transcoders, out: &mut Out) {
    for (shard, message) in pool.take_messages() {
        if let ShardMessage::Media(batch) = message {
            out.extend(
                batch.runs().flat_map(|(_, packets)| packets.map(|packet| (shard, packet.meta)).collect::<Vec<_>>()),
            );
        }
    }
}

/// Sends `packets` of the tone, one every 20 ms, and makes all frames that are due.
fn run(pool: &mut Transcoders, packets: std::ops::Range<u64>) -> Out {
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
    let mut pool = Transcoders::new(2, 4);
    // The subscription may come before the command.
    pool.handle_message(1, &ShardMessage::Want { up: ID }, Time::ZERO);
    pool.open(ID, SOURCE, Format::Pcmu, Format::Opus).unwrap();
    let messages: Vec<_> = pool.take_messages().collect();
    assert_eq!(messages.iter().map(wanted).collect::<Vec<_>>(), [(0, "want", SOURCE)]);
    let out = run(&mut pool, 0..100);
    assert!(out.len() > 90, "{}", out.len());
    assert!(out.iter().all(|(shard, meta)| *shard == 1 && meta.up == UpTrackId(ID) && meta.codec == Codec::Opus));
    assert!(out.windows(2).all(|pair| pair[1].1.sequence == pair[0].1.sequence + 1));
    pool.handle_message(1, &ShardMessage::Unwant { up: ID }, Time::ZERO);
    assert_eq!(run(&mut pool, 100..110).len(), 0, "nobody wants it any more");
    pool.close(ID).unwrap();
    let messages: Vec<_> = pool.take_messages().collect();
    assert_eq!(messages.iter().map(wanted).collect::<Vec<_>>(), [(0, "unwant", SOURCE)]);
    assert!(pool.is_empty());
    assert_eq!(pool.close(ID), Err(Refused::Unknown));
}

#[test]
fn two_shards_that_want_one_track_both_get_it() {
    let mut pool = Transcoders::new(2, 4);
    pool.open(ID, SOURCE, Format::Pcmu, Format::Pcma).unwrap();
    for shard in 0..2 {
        pool.handle_message(shard, &ShardMessage::Want { up: ID }, Time::ZERO);
    }
    let out = run(&mut pool, 0..50);
    let count = |wanted: u16| out.iter().filter(|(shard, _)| *shard == wanted).count();
    assert!(count(0) == count(1) && count(0) > 40);
}

#[test]
fn the_pool_is_bounded_and_refusals_are_counted() {
    let mut pool = Transcoders::new(2, 2);
    pool.open(ID, SOURCE, Format::Pcmu, Format::Opus).unwrap();
    assert_eq!(pool.open(ID, SOURCE, Format::Pcmu, Format::Opus), Err(Refused::IdInUse));
    assert_eq!(pool.open(ID + 1, 2 << 48, Format::Pcmu, Format::Opus), Err(Refused::Source));
    pool.open(ID + 1, SOURCE_ON_SECOND, Format::Opus, Format::Pcmu).unwrap();
    assert_eq!(pool.open(ID + 2, SOURCE, Format::Pcmu, Format::Opus), Err(Refused::Limit));
    assert_eq!(Refused::Limit.to_string(), "limit transcodes");
    let counts = pool.counts();
    assert_eq!((counts.opened, counts.refused, pool.len()), (2, 3, 2));
    pool.close(ID).unwrap();
    pool.open(ID + 2, SOURCE, Format::Pcmu, Format::Opus).unwrap();
}

#[test]
fn a_source_that_begins_anew_goes_on_being_heard() {
    let mut pool = Transcoders::new(1, 4);
    let id = 1 << 48;
    pool.open(id, SOURCE, Format::Pcmu, Format::Pcma).unwrap();
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
    assert_eq!(pool.counts().late, 0);
}

#[test]
fn losses_are_still_counted_when_the_transcoder_is_gone() {
    let mut pool = Transcoders::new(1, 4);
    let id = 1 << 48;
    pool.open(id, SOURCE, Format::Pcmu, Format::Pcma).unwrap();
    for part in [0..50, 52..100] {
        run(&mut pool, part);
    }
    assert_eq!(pool.counts().lost, 2);
    pool.close(id).unwrap();
    assert_eq!(pool.counts().lost, 2);
}
