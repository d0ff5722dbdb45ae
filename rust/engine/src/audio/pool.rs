//! The transcoders of one audio thread, without the thread: commands, packets and ticks in, packets out.

use std::collections::HashMap;
use std::sync::Arc;

use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Content, Format, Produced, Transcoder};
use mediaserver_proto::codec::{Codec, Descriptor};
use mediaserver_proto::endpoint::media_batch::MediaBatch;
use mediaserver_proto::endpoint::shared_pool::SharedPool;
use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::sfu::rewriter::Capture;
use mediaserver_proto::sfu::{PacketMeta, UpPacket, UpTrackId};
use mediaserver_proto::time::Time;

use crate::command::shard_of;

/// A frame of 20 ms is made in one of so many parts of it, so that the work of a thread is spread.
pub const PHASES: usize = 4;
/// Batches on their way to shards; when all are under way what would go with them is dropped.
const BATCHES: usize = 64;

/// Why a transcoder cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The configured bound.
    #[error("limit transcodes")]
    Limit,
    /// The id already names one.
    #[error("the id is in use")]
    IdInUse,
    /// None has this id.
    #[error("there is no such transcoder")]
    Unknown,
    /// A codec that is no sound, or that cannot be encoded.
    #[error("invalid codec")]
    Codec,
    /// The source is on no shard.
    #[error("invalid source")]
    Source,
}

/// Counts of a thread's transcoders, those that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PoolCounts {
    pub opened: u64,
    pub refused: u64,
    pub frames: u64,
    pub frames_failed: u64,
    pub packets_failed: u64,
    pub no_buffer: u64,
    pub lost: u64,
    pub late: u64,
    pub repaired: u64,
    pub concealed_samples: u64,
}

#[derive(Debug)]
struct Entry {
    transcoder: Transcoder,
    source: u64,
    /// Generation of the stream that comes in.
    stream: Option<u32>,
    phase: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Transcoders {
    shards: Shard,
    most: usize,
    entries: HashMap<u64, Entry>,
    /// Transcoders by the up track that they listen to.
    by_source: HashMap<u64, Vec<u64>>,
    by_phase: [Vec<u64>; PHASES],
    /// How many down tracks of which shards want a transcoder's track, whether it exists yet or not.
    wants: HashMap<u64, Vec<(Shard, u32)>>,
    batches: SharedPool<MediaBatch>,
    /// What goes to each shard after this tick.
    collecting: Vec<Option<Arc<MediaBatch>>>,
    messages: Vec<(Shard, ShardMessage)>,
    counts: PoolCounts,
}

impl Transcoders {
    /// None yet; at most `most`, listening to up tracks of `shards` shards.
    pub fn new(shards: Shard, most: usize) -> Transcoders {
        Transcoders {
            shards,
            most,
            entries: HashMap::new(),
            by_source: HashMap::new(),
            by_phase: Default::default(),
            wants: HashMap::new(),
            batches: SharedPool::new(BATCHES),
            collecting: vec![None; usize::from(shards)],
            messages: Vec::new(),
            counts: PoolCounts::default(),
        }
    }

    /// Number of transcoders.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was counted, over all that ever were.
    pub fn counts(&self) -> PoolCounts {
        self.entries.values().fold(self.counts, |counts, entry| add_stream(counts, &entry.transcoder))
    }

    /// What goes to the shards, in order.
    pub fn take_messages(&mut self) -> std::vec::Drain<'_, (Shard, ShardMessage)> {
        self.messages.drain(..)
    }

    /// Makes a transcoder that listens to the up track `source` and whose own up track has the id `id`.
    pub fn open(&mut self, id: u64, source: u64, from: Format, to: Format) -> Result<(), Refused> {
        let result = self.try_open(id, source, from, to);
        match result {
            Ok(()) => self.counts.opened += 1,
            Err(_) => self.counts.refused += 1,
        }
        result
    }

    fn try_open(&mut self, id: u64, source: u64, from: Format, to: Format) -> Result<(), Refused> {
        let shard = shard_of(source) as Shard;
        if shard >= self.shards {
            return Err(Refused::Source);
        }
        if self.entries.contains_key(&id) {
            return Err(Refused::IdInUse);
        }
        if self.entries.len() >= self.most {
            return Err(Refused::Limit);
        }
        let transcoder = Transcoder::new(from, to).map_err(|_| Refused::Codec)?;
        let phase = (0..PHASES).min_by_key(|&phase| self.by_phase[phase].len()).unwrap_or(0);
        self.entries.insert(id, Entry { transcoder, source, stream: None, phase });
        self.by_phase[phase].push(id);
        self.by_source.entry(source).or_default().push(id);
        self.messages.push((shard, ShardMessage::Want { up: source }));
        Ok(())
    }

    /// Ends a transcoder. Down tracks that were subscribed to it stay so and silent.
    pub fn close(&mut self, id: u64) -> Result<(), Refused> {
        let entry = self.entries.remove(&id).ok_or(Refused::Unknown)?;
        self.counts = add_stream(self.counts, &entry.transcoder);
        self.by_phase[entry.phase].retain(|&other| other != id);
        if let Some(ids) = self.by_source.get_mut(&entry.source) {
            ids.retain(|&other| other != id);
            if ids.is_empty() {
                self.by_source.remove(&entry.source);
            }
        }
        self.messages.push((shard_of(entry.source) as Shard, ShardMessage::Unwant { up: entry.source }));
        Ok(())
    }

    /// Takes a message of a shard.
    pub fn handle_message(&mut self, from: Shard, message: &ShardMessage, now: Time) {
        match message {
            ShardMessage::Media(batch) => {
                for (up, packets) in batch.runs() {
                    for packet in packets {
                        self.take_packet(up.0, &packet, now);
                    }
                }
            }
            ShardMessage::Want { up } => {
                let shards = self.wants.entry(*up).or_default();
                match shards.iter_mut().find(|(shard, _)| *shard == from) {
                    Some((_, count)) => *count += 1,
                    None => shards.push((from, 1)),
                }
            }
            ShardMessage::Unwant { up } => {
                let Some(shards) = self.wants.get_mut(up) else { return };
                if let Some((_, count)) = shards.iter_mut().find(|(shard, _)| *shard == from) {
                    *count -= 1;
                }
                shards.retain(|(_, count)| *count > 0);
                if shards.is_empty() {
                    self.wants.remove(up);
                }
            }
            // Layers, keyframes, topics and paths are nothing to sound.
            _ => {}
        }
    }

    /// Makes the frames of one phase that are due at `now`.
    pub fn tick(&mut self, phase: usize, now: Time) {
        for index in 0..self.by_phase[phase].len() {
            self.make_frame(self.by_phase[phase][index], now);
        }
        for (shard, batch) in self.collecting.iter_mut().enumerate() {
            if let Some(batch) = batch.take() {
                self.batches.keep(&batch);
                self.messages.push((shard as Shard, ShardMessage::Media(batch)));
            }
        }
    }

    fn take_packet(&mut self, up: u64, packet: &UpPacket<'_>, now: Time) {
        let (input, payload) = read(packet);
        let meta = &packet.meta;
        for id in self.by_source.get(&up).map(Vec::as_slice).unwrap_or_default() {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if entry.stream.replace(meta.stream).is_some_and(|before| before != meta.stream) {
                entry.transcoder.restart();
            }
            let arrival = Arrival {
                sequence: meta.sequence,
                timestamp: meta.timestamp,
                content: Content::Sound,
                capture: meta.capture.at.min(now),
                payload,
            };
            self.counts.packets_failed += u64::from(entry.transcoder.push(input, &arrival, meta.arrival).is_err());
        }
    }

    fn make_frame(&mut self, id: u64, now: Time) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let shards = self.wants.get(&id).map(Vec::as_slice).unwrap_or_default();
        let (collecting, batches, counts) = (&mut self.collecting, &mut self.batches, &mut self.counts);
        let output = entry.transcoder.output();
        let made = entry.transcoder.pull(now, |produced| {
            counts.frames += 1;
            let meta = describe(id, output, &produced, now);
            for &(shard, _) in shards {
                let Some(slot) = collecting.get_mut(usize::from(shard)) else { continue };
                if !collect(slot, batches, &UpPacket { meta, payload: produced.payload }) {
                    counts.no_buffer += 1;
                }
            }
        });
        counts.frames_failed += u64::from(made.is_err());
    }
}

/// Adds a packet to the batch for a shard; false where no buffer is free.
fn collect(slot: &mut Option<Arc<MediaBatch>>, batches: &mut SharedPool<MediaBatch>, packet: &UpPacket<'_>) -> bool {
    if slot.is_none() {
        let Some(mut batch) = batches.take() else { return false };
        if let Some(batch) = Arc::get_mut(&mut batch) {
            batch.clear();
        }
        *slot = Some(batch);
    }
    if let Some(batch) = slot.as_mut().and_then(Arc::get_mut) {
        batch.push(packet);
    }
    true
}

/// What a packet carries, and its payload without redundancy.
fn read<'a>(packet: &UpPacket<'a>) -> (Input, &'a [u8]) {
    let (codec, payload) = match &packet.meta.descriptor {
        Descriptor::Red(red) => (red.codec, packet.payload.get(usize::from(red.start)..).unwrap_or_default()),
        _ => (packet.meta.codec, packet.payload),
    };
    let input = match codec {
        Codec::ComfortNoise { .. } => Input::ComfortNoise,
        Codec::TelephoneEvent { clock_rate } => Input::Event(clock_rate),
        codec => format_of(codec).filter(|_| !payload.is_empty()).map_or(Input::Nothing, Input::Sound),
    };
    (input, payload)
}

/// The record of a packet that was made here.
fn describe(id: u64, output: Format, produced: &Produced<'_>, now: Time) -> PacketMeta {
    let codec =
        if produced.is_event { Codec::TelephoneEvent { clock_rate: output.clock_rate() } } else { codec_of(output) };
    PacketMeta {
        up: UpTrackId(id),
        layer: 0,
        stream: 1,
        sequence: produced.sequence,
        timestamp: produced.timestamp,
        marker: produced.marker,
        codec,
        keyframe_start: false,
        audio_level: None,
        video_orientation: None,
        playout_delay: None,
        descriptor: Descriptor::None,
        arrival: now,
        capture: Capture::estimated(produced.capture.min(now)),
        payload_start: 0,
        payload_len: u16::try_from(produced.payload.len()).unwrap_or(0),
    }
}

fn add_stream(counts: PoolCounts, transcoder: &Transcoder) -> PoolCounts {
    let stats = transcoder.stats();
    PoolCounts {
        lost: counts.lost + stats.buffer.lost,
        late: counts.late + stats.buffer.late,
        repaired: counts.repaired + stats.repaired,
        concealed_samples: counts.concealed_samples + stats.concealed,
        ..counts
    }
}

/// The format of a codec that is sound.
pub fn format_of(codec: Codec) -> Option<Format> {
    match codec {
        Codec::Opus => Some(Format::Opus),
        Codec::Pcmu => Some(Format::Pcmu),
        Codec::Pcma => Some(Format::Pcma),
        Codec::G722 => Some(Format::G722),
        _ => None,
    }
}

/// The format of a codec by its name, compared without case.
pub fn format_named(name: &str) -> Option<Format> {
    let all = [Format::Opus, Format::Pcmu, Format::Pcma, Format::G722];
    all.into_iter().find(|&format| codec_of(format).name().eq_ignore_ascii_case(name))
}

fn codec_of(format: Format) -> Codec {
    match format {
        Format::Opus => Codec::Opus,
        Format::Pcmu => Codec::Pcmu,
        Format::Pcma => Codec::Pcma,
        Format::G722 => Codec::G722,
    }
}
