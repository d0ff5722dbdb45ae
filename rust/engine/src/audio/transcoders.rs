//! The transcoders of one audio thread: each listens to an up track and makes another one of it.

use std::collections::HashMap;

use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Format, PlayoutStats, Transcoder};
use mediaserver_proto::time::Time;

use super::delivery::Delivery;
use super::listening::Listening;
use super::packets::written;
use super::pool::PHASES;
use super::refused::Refused;
use crate::counters::{Counters, set};

/// Counts of a thread's transcoders, those that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TranscoderCounts {
    pub opened: u64,
    pub refused: u64,
    pub frames: u64,
    pub frames_failed: u64,
    pub packets_failed: u64,
    /// Of all streams that came in; delays are those of nobody.
    pub streams: PlayoutStats,
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
    most: usize,
    entries: HashMap<u64, Entry>,
    listening: Listening,
    by_phase: [Vec<u64>; PHASES],
    counts: TranscoderCounts,
}

impl Transcoders {
    /// None yet; at most `most`.
    pub fn new(most: usize) -> Transcoders {
        let (entries, counts) = (HashMap::new(), TranscoderCounts::default());
        Transcoders { most, entries, listening: Listening::default(), by_phase: Default::default(), counts }
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
    pub fn counts(&self) -> TranscoderCounts {
        self.entries.values().fold(self.counts, |counts, entry| add_stream(counts, &entry.transcoder))
    }

    /// Makes a transcoder that listens to the up track `source` and whose own up track has the id `id`.
    pub fn open(
        &mut self,
        id: u64,
        source: u64,
        from: Format,
        to: Format,
        delivery: &mut Delivery,
    ) -> Result<(), Refused> {
        let result = self.try_open(id, source, from, to, delivery);
        match result {
            Ok(()) => self.counts.opened += 1,
            Err(_) => self.counts.refused += 1,
        }
        result
    }

    fn try_open(
        &mut self,
        id: u64,
        source: u64,
        from: Format,
        to: Format,
        delivery: &mut Delivery,
    ) -> Result<(), Refused> {
        if !delivery.has_source(source) {
            return Err(Refused::Source);
        }
        if self.entries.contains_key(&id) {
            return Err(Refused::IdInUse);
        }
        if self.entries.len() >= self.most {
            return Err(Refused::Transcodes);
        }
        let transcoder = Transcoder::new(from, to).map_err(|_| Refused::Codec)?;
        let phase = (0..PHASES).min_by_key(|&phase| self.by_phase[phase].len()).unwrap_or(0);
        self.entries.insert(id, Entry { transcoder, source, stream: None, phase });
        self.by_phase[phase].push(id);
        self.listening.begin(source, id);
        delivery.want(source);
        Ok(())
    }

    /// Ends a transcoder. Down tracks that were subscribed to it stay so and silent.
    pub fn close(&mut self, id: u64, delivery: &mut Delivery) -> Result<(), Refused> {
        let entry = self.entries.remove(&id).ok_or(Refused::Unknown)?;
        self.counts = add_stream(self.counts, &entry.transcoder);
        self.by_phase[entry.phase].retain(|&other| other != id);
        self.listening.end(entry.source, id);
        delivery.unwant(entry.source);
        Ok(())
    }

    /// Takes a packet of an up track, of the generation `stream`.
    pub fn take_packet(&mut self, up: u64, stream: u32, input: Input, arrival: &Arrival<'_>, at: Time) {
        for id in self.listening.to(up) {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if entry.stream.replace(stream).is_some_and(|before| before != stream) {
                entry.transcoder.restart();
            }
            self.counts.packets_failed += u64::from(entry.transcoder.push(input, arrival, at).is_err());
        }
    }

    /// Makes the frames of one phase that are due at `now`.
    pub fn tick(&mut self, phase: usize, now: Time, delivery: &mut Delivery) {
        for id in &self.by_phase[phase] {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            let (output, frames) = (entry.transcoder.output(), &mut self.counts.frames);
            let made = entry.transcoder.pull(now, |produced| {
                *frames += 1;
                delivery.give(&written(*id, output, &produced, now));
            });
            self.counts.frames_failed += u64::from(made.is_err());
        }
    }

    /// Writes down what was counted.
    pub fn publish(&self, counters: &mut Counters) {
        let counts = self.counts();
        let named = [
            ("transcodes", self.len() as u64),
            ("transcodes_opened", counts.opened),
            ("transcodes_refused", counts.refused),
            ("transcoded_frames", counts.frames),
            ("transcode_lost", counts.streams.buffer.lost),
            ("transcode_late", counts.streams.buffer.late),
            ("transcode_repaired", counts.streams.repaired),
            ("transcode_concealed_samples", counts.streams.concealed),
        ];
        named.into_iter().for_each(|(name, value)| set(counters, name, value));
    }
}

fn add_stream(counts: TranscoderCounts, transcoder: &Transcoder) -> TranscoderCounts {
    TranscoderCounts { streams: transcoder.stats().after(&counts.streams), ..counts }
}
