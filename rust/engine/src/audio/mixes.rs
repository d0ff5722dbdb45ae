//! The mixes of one audio thread: whose sound goes into each, and who hears it.

use std::collections::{HashMap, VecDeque};

use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Format, Mix, PlayoutStats};
use mediaserver_proto::time::Time;

use super::delivery::Delivery;
use super::listening::Listening;
use super::packets::{format_named, written};
use super::pool::PHASES;
use super::refused::Refused;
use crate::command::{MixListener, MixVoice, shard_of};
use crate::counters::{Counters, set};
use crate::event::Event;

/// Voices and listeners of one mix, each.
pub const MOST_OF_A_MIX: usize = 64;

/// Counts of a thread's mixes, those that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MixCounts {
    pub refused: u64,
    pub encoded: u64,
    pub given: u64,
    pub frames_failed: u64,
    pub packets_failed: u64,
    /// Of all voices; delays are those of nobody.
    pub voices: PlayoutStats,
}

#[derive(Debug)]
struct Entry {
    mix: Mix,
    /// Up tracks that are heard, with the generation of what comes from each.
    voices: Vec<(u64, Option<u32>)>,
    /// Those of whom somebody else says how loudly they speak.
    unjudged: Vec<u64>,
    listeners: Vec<(u64, Format)>,
    phase: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Mixes {
    most: usize,
    entries: HashMap<u64, Entry>,
    listening: Listening,
    by_phase: [Vec<u64>; PHASES],
    counts: MixCounts,
}

impl Mixes {
    /// None yet; at most `most` listeners in all, and twice as many voices.
    pub fn new(most: usize) -> Mixes {
        let (entries, counts) = (HashMap::new(), MixCounts::default());
        Mixes { most, entries, listening: Listening::default(), by_phase: Default::default(), counts }
    }

    /// Number of mixes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of tracks that are made of mixes.
    pub fn listeners(&self) -> usize {
        self.entries.values().map(|entry| entry.listeners.len()).sum()
    }

    /// What was counted, over all that ever were.
    pub fn counts(&self) -> MixCounts {
        self.entries.values().fold(self.counts, |counts, entry| with(counts, &entry.mix))
    }

    /// Makes a mix, or makes it what it is to be from now on. Who stays is not disturbed. What is refused changes
    /// nothing.
    pub fn set(
        &mut self,
        id: u64,
        voices: &[MixVoice],
        listeners: &[MixListener],
        delivery: &mut Delivery,
    ) -> Result<(), Refused> {
        let result = self.try_set(id, voices, listeners, delivery);
        self.counts.refused += u64::from(result.is_err());
        result
    }

    fn try_set(
        &mut self,
        id: u64,
        voices: &[MixVoice],
        listeners: &[MixListener],
        delivery: &mut Delivery,
    ) -> Result<(), Refused> {
        let formats = self.check(id, voices, listeners, delivery)?;
        if !self.entries.contains_key(&id) {
            let phase = (0..PHASES).min_by_key(|&phase| self.weight(phase)).unwrap_or(0);
            self.by_phase[phase].push(id);
            let (mix, voices, unjudged, listeners) = (Mix::default(), Vec::new(), Vec::new(), Vec::new());
            self.entries.insert(id, Entry { mix, voices, unjudged, listeners, phase });
        }
        let Some(entry) = self.entries.get_mut(&id) else { return Err(Refused::Unknown) };
        let (spoken, heard) = formats;
        for (voice, &format) in voices.iter().zip(&spoken) {
            if entry.voices.iter().all(|(source, _)| *source != voice.source) {
                entry.mix.add_voice(voice.source, format).map_err(|_| Refused::Codec)?;
                entry.voices.push((voice.source, None));
                self.listening.begin(voice.source, id);
                delivery.want(voice.source);
            }
        }
        entry.unjudged.clear();
        entry.unjudged.extend(voices.iter().filter(|voice| !voice.judged).map(|voice| voice.source));
        let gone: Vec<u64> = entry.voices.iter().map(|(source, _)| *source).collect();
        for source in gone.into_iter().filter(|source| voices.iter().all(|voice| voice.source != *source)) {
            entry.mix.remove_voice(source);
            entry.voices.retain(|(known, _)| *known != source);
            self.listening.end(source, id);
            delivery.unwant(source);
        }
        for (listener, _) in entry.listeners.iter().filter(|(known, _)| listeners.iter().all(|each| each.id != *known))
        {
            entry.mix.remove_listener(*listener);
        }
        entry.listeners.clear();
        for (listener, &format) in listeners.iter().zip(&heard) {
            entry.mix.set_listener(listener.id, format, &listener.without).map_err(|_| Refused::Codec)?;
            entry.listeners.push((listener.id, format));
        }
        Ok(())
    }

    /// The formats of voices and listeners, where nothing speaks against them.
    fn check(
        &self,
        id: u64,
        voices: &[MixVoice],
        listeners: &[MixListener],
        delivery: &Delivery,
    ) -> Result<(Vec<Format>, Vec<Format>), Refused> {
        let others = self.entries.iter().filter(|(known, _)| **known != id).map(|(_, entry)| entry);
        let (mut all_voices, mut all_listeners) = (voices.len(), listeners.len());
        for entry in others {
            all_voices += entry.voices.len();
            all_listeners += entry.listeners.len();
            if entry.listeners.iter().any(|(known, _)| listeners.iter().any(|listener| listener.id == *known)) {
                return Err(Refused::IdInUse);
            }
        }
        let most = MOST_OF_A_MIX;
        if all_listeners > self.most || all_voices > 2 * self.most || voices.len() > most || listeners.len() > most {
            return Err(Refused::MixedLegs);
        }
        if listeners.iter().any(|listener| shard_of(listener.id) != shard_of(id)) || repeats(listeners, |each| each.id)
        {
            return Err(Refused::IdInUse);
        }
        if voices.iter().any(|voice| !delivery.has_source(voice.source)) || repeats(voices, |voice| voice.source) {
            return Err(Refused::Source);
        }
        let formats = |names: &mut dyn Iterator<Item = &String>| -> Result<Vec<Format>, Refused> {
            names.map(|name| format_named(name).ok_or(Refused::Codec)).collect()
        };
        Ok((
            formats(&mut voices.iter().map(|voice| &voice.codec))?,
            formats(&mut listeners.iter().map(|listener| &listener.codec))?,
        ))
    }

    /// Ends a mix. Down tracks that were subscribed to what it made stay so and silent.
    pub fn close(&mut self, id: u64, delivery: &mut Delivery) -> Result<(), Refused> {
        let entry = self.entries.remove(&id).ok_or(Refused::Unknown)?;
        self.counts = with(self.counts, &entry.mix);
        self.by_phase[entry.phase].retain(|&other| other != id);
        for (source, _) in entry.voices {
            self.listening.end(source, id);
            delivery.unwant(source);
        }
        Ok(())
    }

    /// Takes a packet of an up track, of the generation `stream`.
    pub fn take_packet(&mut self, up: u64, stream: u32, input: Input, arrival: &Arrival<'_>, at: Time) {
        for id in self.listening.to(up) {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            let Some((_, known)) = entry.voices.iter_mut().find(|(source, _)| *source == up) else { continue };
            if known.replace(stream).is_some_and(|before| before != stream) {
                entry.mix.restart(up);
            }
            self.counts.packets_failed += u64::from(entry.mix.push(up, input, arrival, at).is_err());
        }
    }

    /// Makes the frames of one phase that are due at `now`; `told` gets who speaks louder or quieter than before.
    pub fn tick(&mut self, phase: usize, now: Time, delivery: &mut Delivery, told: &mut VecDeque<Event>) {
        for id in &self.by_phase[phase] {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            let listeners = &entry.listeners;
            let made = entry.mix.pull(now, |listener, produced| {
                if let Some(&(_, format)) = listeners.iter().find(|(known, _)| *known == listener) {
                    delivery.give(&written(listener, format, &produced, now));
                }
            });
            self.counts.frames_failed += u64::from(made.is_err());
            let unjudged = &entry.unjudged;
            let judged = entry.mix.take_speech().filter(|(id, _)| !unjudged.contains(id));
            told.extend(judged.map(|(id, loudness)| Event::SpeechChanged { id, loudness }));
        }
    }

    /// Writes down what was counted.
    pub fn publish(&self, counters: &mut Counters) {
        let counts = self.counts();
        let named = [
            ("mixes", self.len() as u64),
            ("mixed_legs", self.listeners() as u64),
            ("mixes_refused", counts.refused),
            ("mix_frames", counts.given),
            ("mix_encoded_frames", counts.encoded),
            ("mix_lost", counts.voices.buffer.lost),
            ("mix_late", counts.voices.buffer.late),
            ("mix_repaired", counts.voices.repaired),
            ("mix_concealed_samples", counts.voices.concealed),
        ];
        named.into_iter().for_each(|(name, value)| set(counters, name, value));
    }

    /// How much is to do in a phase: encoding is what costs.
    fn weight(&self, phase: usize) -> usize {
        self.by_phase[phase].iter().filter_map(|id| self.entries.get(id)).map(|entry| 1 + entry.listeners.len()).sum()
    }
}

fn repeats<T>(items: &[T], id: impl Fn(&T) -> u64) -> bool {
    items.iter().enumerate().any(|(index, item)| items[..index].iter().any(|other| id(other) == id(item)))
}

fn with(counts: MixCounts, mix: &Mix) -> MixCounts {
    let (encoded, given) = mix.frames();
    MixCounts {
        encoded: counts.encoded + encoded,
        given: counts.given + given,
        voices: mix.stats().after(&counts.voices),
        ..counts
    }
}
