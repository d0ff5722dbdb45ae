//! What mixing costs an audio thread in real time: 3-party conferences in which everybody talks without an end.
//!
//! `mixing [LEGS [SECONDS [ROUNDS]]]` prints `figure NAME UNIT VALUE…`, a value for each round. The audio thread is the
//! daemon's own, alone on CPU 1; on CPU 0 a thread plays the shard: packets of every leg with jitter and losses come in,
//! and what was made goes out. Half of the legs have Opus (16 kHz, complexity 5, FEC), the others G.711.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mediaserver_audio::Format;
use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::sample::speech;
use mediaserver_engine::audio::{AudioPool, AudioWorker};
use mediaserver_engine::command::{Action, Command, MixListener, MixVoice, SHARD_SHIFT};
use mediaserver_engine::counters::Counters;
use mediaserver_engine::inbox::Inbox;
use mediaserver_engine::mailbox::{Waker, event_queue};
use mediaserver_engine::metrics::Published;
use mediaserver_engine::rings::Rings;
use mediaserver_engine::sys::pin_to_cpu;
use mediaserver_engine::worker::Links;
use mediaserver_proto::codec::{Codec, Descriptor};
use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::endpoint::media_batch::MediaBatch;
use mediaserver_proto::sfu::rewriter::Capture;
use mediaserver_proto::sfu::{PacketMeta, UpPacket, UpTrackId};
use mediaserver_proto::time::Time;
use rtrb::{Consumer, Producer, RingBuffer};

/// Parties of a conference.
const PARTIES: usize = 3;
/// Before anything is counted: streams begin, buffers find their delay.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often the shard hands over what has come.
const STEP: Duration = Duration::from_millis(1);
const RING: usize = 4_096;
/// One packet in so many is lost.
const LOST: u64 = 50;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A leg: its packets over and over, and when the next one comes.
struct Leg {
    format: Format,
    codec: Codec,
    payloads: Arc<Vec<Vec<u8>>>,
    sent: u64,
    due: Time,
}

/// The other end of an audio thread's rings.
struct Shard {
    epoch: Instant,
    legs: Vec<Leg>,
    to_audio: Producer<ShardMessage>,
    from_audio: Consumer<ShardMessage>,
    wakers: Arc<Vec<Waker>>,
    received: u64,
}

impl Shard {
    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// Hands over what has come until now, and takes what was made.
    fn step(&mut self) {
        let now = self.now();
        let mut batch = MediaBatch::default();
        for (index, leg) in self.legs.iter_mut().enumerate() {
            while leg.due <= now {
                let number = leg.sent;
                leg.sent += 1;
                // Each begins at another time, every seventh packet comes late by up to 15 ms.
                let late = if leg.sent % 7 == 3 { index as u64 % 15 } else { 0 };
                leg.due = Time::from_millis(leg.sent * 20 + index as u64 % 20 + late);
                if (number + index as u64) % LOST != LOST - 1 {
                    let payload = &leg.payloads[(number as usize + 7 * index) % leg.payloads.len()];
                    batch.push(&packet(index as u64 + 1, leg, number, payload, now));
                }
            }
        }
        if batch.runs().next().is_some() && self.to_audio.push(ShardMessage::Media(Arc::new(batch))).is_ok() {
            self.wakers[1].wake();
        }
        while let Ok(message) = self.from_audio.pop() {
            if let ShardMessage::Media(batch) = message {
                self.received += batch.runs().map(|(_, packets)| packets.count() as u64).sum::<u64>();
            }
        }
    }

    fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.step();
            thread::sleep(STEP);
        }
    }
}

fn packet<'a>(source: u64, leg: &Leg, number: u64, payload: &'a [u8], now: Time) -> UpPacket<'a> {
    let meta = PacketMeta {
        up: UpTrackId(source),
        layer: 0,
        stream: 1,
        sequence: number,
        timestamp: number as u32 * leg.format.frame_units(),
        marker: false,
        codec: leg.codec,
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
    UpPacket { meta, payload }
}

fn payloads(format: Format) -> Result<Arc<Vec<Vec<u8>>>> {
    let rate = format.native_rate().unwrap_or(16_000);
    let mut encoder = Encoder::new(format, rate)?;
    let mut all = Vec::new();
    for frame in speech(rate).chunks(rate as usize / 50) {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload)?;
        all.push(payload);
    }
    Ok(Arc::new(all))
}

/// The running thread, and how to end it.
struct Audio {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    published: Published,
}

impl Audio {
    fn counters(&self) -> Counters {
        self.published.read()
    }
}

/// Starts the audio thread with all its conferences.
fn start(legs: usize) -> Result<(Shard, Audio)> {
    let epoch = Instant::now();
    let wakers = Arc::new(vec![Waker::new()?, Waker::new()?]);
    let (mut inbox, commands) = RingBuffer::new(RING);
    let (to_audio, inbound) = RingBuffer::new(RING);
    let (outbound, from_audio) = RingBuffer::new(RING);
    let (events, _) = event_queue()?;
    let (stop, published) = (Arc::new(AtomicBool::new(false)), Published::default());
    let links = Links {
        inbox: commands,
        events,
        rings: Rings::new(vec![Some(inbound), None], vec![Some(outbound), None], wakers.clone()),
        wakers: wakers.clone(),
        stop: stop.clone(),
        published: published.clone(),
    };
    let worker = AudioWorker::new(1, epoch, AudioPool::new(1, 0, legs), links)?;
    let (opus, pcmu) = (payloads(Format::Opus)?, payloads(Format::Pcmu)?);
    let made = (0..legs).map(|index| {
        let (format, codec, payloads) =
            if index % 2 == 0 { (Format::Opus, Codec::Opus, &opus) } else { (Format::Pcmu, Codec::Pcmu, &pcmu) };
        Leg { format, codec, payloads: payloads.clone(), sent: 0, due: Time::ZERO }
    });
    let mut shard = Shard { epoch, legs: made.collect(), to_audio, from_audio, wakers, received: 0 };
    for conference in 0..legs.div_ceil(PARTIES) {
        let parties = conference * PARTIES..legs.min((conference + 1) * PARTIES);
        inbox.push(Inbox::Command(conference_of(conference as u64, parties, &mut shard)?)).map_err(|_| "full")?;
    }
    let thread = thread::Builder::new().name("audio-0".to_owned()).spawn(move || {
        // On a machine with one CPU it shares that; the figures show it.
        pin_to_cpu(1).ok();
        worker.run();
    })?;
    Ok((shard, Audio { thread, stop, published }))
}

fn conference_of(number: u64, parties: std::ops::Range<usize>, shard: &mut Shard) -> Result<Command> {
    let (mut voices, mut listeners) = (Vec::new(), Vec::new());
    for index in parties {
        let (source, id) = (index as u64 + 1, 1 << SHARD_SHIFT | (index as u64 + 1));
        let codec = shard.legs[index].codec.name().to_owned();
        voices.push(MixVoice { source, codec: codec.clone(), judged: true });
        listeners.push(MixListener { id, codec, without: vec![source] });
        shard.to_audio.push(ShardMessage::Want { up: id }).map_err(|_| "full")?;
    }
    let id = 1 << SHARD_SHIFT | (1 << 32) | number;
    Ok(Command { id, request: None, action: Action::SetMix { voices, listeners } })
}

/// What one round measured.
struct Round {
    legs_per_core: f64,
    late_percent: f64,
    given_percent: f64,
}

fn round(legs: usize, length: Duration) -> Result<Round> {
    let (mut shard, audio) = start(legs)?;
    shard.run(WARM_UP);
    let (before, began, received) = (audio.counters(), Instant::now(), shard.received);
    shard.run(length);
    let (after, passed) = (audio.counters(), began.elapsed());
    let received = shard.received - received;
    audio.stop.store(true, Ordering::Relaxed);
    shard.wakers[1].wake();
    audio.thread.join().map_err(|_| "the audio thread has panicked")?;
    let grown = |name: &str| (after.get(name).unwrap_or(0) - before.get(name).unwrap_or(0)) as f64;
    let missed = grown("audio_late_ticks") + grown("audio_given_up_ticks");
    Ok(Round {
        legs_per_core: legs as f64 * passed.as_nanos() as f64 / grown("cpu_ns"),
        late_percent: 100.0 * missed / grown("audio_ticks"),
        given_percent: 100.0 * received as f64 / (legs as f64 * passed.as_secs_f64() * 50.0),
    })
}

fn run() -> Result<()> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<std::result::Result<_, _>>()?;
    let argument = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    let (legs, length) = (argument(0, 102) as usize, Duration::from_secs(argument(1, 20)));
    pin_to_cpu(0).ok();
    let rounds = (0..argument(2, 3)).map(|_| round(legs, length)).collect::<Result<Vec<Round>>>()?;
    let figure = |name: &str, unit: &str, value: fn(&Round) -> f64| {
        let values: Vec<String> = rounds.iter().map(|round| format!("{:.3}", value(round))).collect();
        println!("figure {name} {unit} {}", values.join(" "));
    };
    figure("mixed_legs_per_core", "legs", |round| round.legs_per_core);
    figure("mixed_late_ticks", "%", |round| round.late_percent);
    figure("mixed_frames_given", "%", |round| round.given_percent);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mixing: {error}");
            ExitCode::FAILURE
        }
    }
}
