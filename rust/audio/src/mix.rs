//! A conference's sound: voices in, for each listener one stream out of all voices but its own, every 20 ms.
//!
//! Each voice is decoded once. Who hears all that there is to hear shares its encoder with the others of its format, as
//! far as a decoder stands it to go over from one encoder to another: G.711 has no memory, an Opus encoder that was just
//! reset refers to nothing that came before, and in G.722 both ends must remember the same, so nobody shares.

use crate::comfort_noise::ComfortNoise;
use crate::encoder::Encoder;
use crate::format::{Format, frame_samples};
use crate::jitter_buffer::Arrival;
use crate::mixer::Mixer;
use crate::playout::PlayoutStats;
use crate::transcoder::{Input, Produced};
use crate::voice::{RATES, Voice, rate_index};
use crate::{AudioError, FRAME_MS};
use mediaserver_proto::time::Time;
use std::time::Duration;

/// No more voices than this are heard at one time: the loudest, and of equals those that are heard already.
pub const MOST_HEARD: usize = 8;
/// What is heard while nobody speaks, in dB below the loudest: a line that is quite silent seems dead.
const FLOOR_LEVEL: u8 = 70;
/// So many must hear the same before an Opus encoder is shared: for one alone nothing would be won by going over to it.
const MOST_ALONE: usize = 1;

#[derive(Debug)]
struct Listener {
    id: u64,
    to: Format,
    rate: usize,
    /// Ids of the voices that it does not hear: its own, and those that are not for it.
    without: Vec<u64>,
    encoder: Encoder,
    sequence: u64,
    timestamp: u32,
    /// Whether its last frame came from the encoder that is shared, and whether this one does.
    shared: bool,
    shares: bool,
}

/// What those hear who hear everything, in one format.
#[derive(Debug)]
struct Shared {
    format: Format,
    encoder: Encoder,
    payload: Vec<u8>,
    /// How many could take it in this frame, and whether one of them has not taken the last one.
    takers: usize,
    newcomer: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Mix {
    voices: Vec<(u64, Voice)>,
    listeners: Vec<Listener>,
    shared: Vec<Shared>,
    mixers: [Mixer; 2],
    noises: [ComfortNoise; 2],
    /// Of the voices that are gone.
    before: PlayoutStats,
    /// Of what was encoded for somebody, and what was given out.
    encoded: u64,
    given: u64,
    samples: Vec<i16>,
    payload: Vec<u8>,
    /// Voices that speak louder or quieter since somebody asked.
    speech: Vec<(u64, u8)>,
    /// How long sound is under way through here, as far as listeners are told.
    delay: Duration,
}

impl Default for Mix {
    fn default() -> Mix {
        let noises = RATES.map(|rate| {
            let mut noise = ComfortNoise::new(rate);
            noise.set_flat(FLOOR_LEVEL);
            noise
        });
        Mix {
            voices: Vec::new(),
            listeners: Vec::new(),
            shared: Vec::new(),
            mixers: RATES.map(|rate| Mixer::new(frame_samples(rate))),
            noises,
            before: PlayoutStats::default(),
            encoded: 0,
            given: 0,
            samples: Vec::with_capacity(frame_samples(RATES[1])),
            payload: Vec::with_capacity(2_000),
            speech: Vec::with_capacity(MOST_HEARD),
            delay: Duration::ZERO,
        }
    }
}

impl Mix {
    /// Ids of the voices.
    pub fn voices(&self) -> impl Iterator<Item = u64> {
        self.voices.iter().map(|(id, _)| *id)
    }

    /// Ids and formats of the listeners.
    pub fn listeners(&self) -> impl Iterator<Item = (u64, Format)> {
        self.listeners.iter().map(|listener| (listener.id, listener.to))
    }

    /// What was counted of all voices that ever were; delays are those of nobody.
    pub fn stats(&self) -> PlayoutStats {
        self.voices.iter().fold(self.before, |before, (_, voice)| voice.stats().after(&before))
    }

    /// Frames that were encoded, and frames that listeners got; what is shared counts once and for each.
    pub fn frames(&self) -> (u64, u64) {
        (self.encoded, self.given)
    }

    /// Somebody speaks from now on, in `format` until something else comes. Adding a voice again changes nothing.
    pub fn add_voice(&mut self, id: u64, format: Format) -> Result<(), AudioError> {
        if self.voices().all(|known| known != id) {
            self.voices.push((id, Voice::new(format)?));
        }
        Ok(())
    }

    /// A voice is gone.
    pub fn remove_voice(&mut self, id: u64) {
        if let Some(index) = self.voices.iter().position(|(known, _)| *known == id) {
            self.speech.retain(|(known, _)| *known != id);
            let (_, voice) = self.voices.remove(index);
            self.before = voice.stats().after(&self.before);
        }
    }

    /// Somebody listens from now on, in `format`, to all but the voices `without`, which need not be there yet. For a
    /// listener that is there already only what it hears is changed; one of another format takes its place.
    pub fn set_listener(&mut self, id: u64, format: Format, without: &[u64]) -> Result<(), AudioError> {
        let found = self.listeners.iter_mut().find(|listener| listener.id == id);
        match found {
            Some(listener) if listener.to == format => {
                listener.without.clear();
                listener.without.extend_from_slice(without);
            }
            Some(listener) => {
                let (sequence, timestamp) = (listener.sequence, listener.timestamp);
                *listener = Listener { sequence, timestamp, ..new_listener(id, format, without)? };
            }
            None => self.listeners.push(new_listener(id, format, without)?),
        }
        if format.shares_encoder() && self.shared.iter().all(|shared| shared.format != format) {
            let encoder = Encoder::new(format, RATES[rate_index(format)])?;
            let payload = Vec::with_capacity(2_000);
            self.shared.push(Shared { format, encoder, payload, takers: 0, newcomer: false });
        }
        Ok(())
    }

    /// Somebody listens no more.
    pub fn remove_listener(&mut self, id: u64) {
        self.listeners.retain(|listener| listener.id != id);
        let listeners = &self.listeners;
        self.shared.retain(|shared| listeners.iter().any(|listener| listener.to == shared.format));
    }

    /// What comes from a voice is another stream.
    pub fn restart(&mut self, id: u64) {
        if let Some((_, voice)) = self.voices.iter_mut().find(|(known, _)| *known == id) {
            voice.restart();
        }
    }

    /// Takes a packet of a voice. The contents of `arrival` are those of `input`.
    pub fn push(&mut self, id: u64, input: Input, arrival: &Arrival<'_>, now: Time) -> Result<(), AudioError> {
        match self.voices.iter_mut().find(|(known, _)| *known == id) {
            Some((_, voice)) => voice.push(input, arrival, now),
            None => Ok(()),
        }
    }

    /// Gives each listener its frame, by its id; to be called every 20 ms. A frame that could not be encoded is left out,
    /// and the last reason for it returned.
    pub fn pull(&mut self, now: Time, mut give: impl FnMut(u64, Produced<'_>)) -> Result<(), AudioError> {
        for (id, voice) in &mut self.voices {
            if let Some(loudness) = voice.pull(now) {
                self.speech.push((*id, loudness));
            }
        }
        self.choose();
        self.mix();
        let mut result = self.encode_shared();
        self.follow_delay(now);
        let capture = Time(now.0.saturating_sub(self.delay.as_nanos() as u64));
        for index in 0..self.listeners.len() {
            let timestamp = self.listeners[index].timestamp;
            self.listeners[index].timestamp = timestamp.wrapping_add(self.listeners[index].to.frame_units());
            if let Err(error) = self.encode_own(index) {
                result = Err(error);
                continue;
            }
            let listener = &mut self.listeners[index];
            let shared = self.shared.iter().find(|shared| listener.shares && shared.format == listener.to);
            let payload = shared.map_or(&self.payload, |shared| &shared.payload);
            if payload.is_empty() {
                continue;
            }
            self.given += 1;
            listener.sequence += 1;
            give(
                listener.id,
                Produced {
                    sequence: listener.sequence,
                    timestamp,
                    marker: listener.sequence == 1,
                    is_event: false,
                    capture,
                    payload,
                },
            );
        }
        result
    }

    /// Who speaks louder or quieter than was told before: ids of voices with their loudness, 0 to 5, where 0 is silence.
    pub fn take_speech(&mut self) -> std::vec::Drain<'_, (u64, u8)> {
        self.speech.drain(..)
    }

    /// Lets those be heard who speak, or the loudest of them.
    fn choose(&mut self) {
        let mut places = MOST_HEARD;
        let mut least = f32::NEG_INFINITY;
        if self.voices.iter().filter(|(_, voice)| voice.speaks()).count() > MOST_HEARD {
            least = self.least_weight();
        }
        for (_, voice) in &mut self.voices {
            let heard = voice.speaks() && places > 0 && voice.weight() >= least;
            places -= usize::from(heard);
            voice.admit(heard);
        }
    }

    /// The weight that a voice must have to be one of the loudest.
    fn least_weight(&self) -> f32 {
        let mut loudest = [f32::NEG_INFINITY; MOST_HEARD];
        for (_, voice) in self.voices.iter().filter(|(_, voice)| voice.speaks()) {
            let mut weight = voice.weight();
            for slot in &mut loudest {
                if weight > *slot {
                    std::mem::swap(slot, &mut weight);
                }
            }
        }
        loudest[MOST_HEARD - 1]
    }

    /// Sums up what is heard, at the rates that somebody listens at.
    fn mix(&mut self) {
        for (rate, (mixer, noise)) in self.mixers.iter_mut().zip(&mut self.noises).enumerate() {
            if self.listeners.iter().all(|listener| listener.rate != rate) {
                continue;
            }
            self.samples.clear();
            noise.generate(frame_samples(RATES[rate]), &mut self.samples);
            mixer.begin();
            mixer.add(&self.samples);
            for (_, voice) in &mut self.voices {
                voice.prepare(rate);
                mixer.add(voice.frame(rate));
            }
        }
    }

    /// Finds who hears everything, and encodes it once for each format.
    fn encode_shared(&mut self) -> Result<(), AudioError> {
        let mut result = Ok(());
        self.shared.iter_mut().for_each(|shared| (shared.takers, shared.newcomer) = (0, false));
        for listener in &mut self.listeners {
            let lacks = |(id, voice): &(u64, Voice)| voice.is_mixed() && listener.without.contains(id);
            let hears_all = !self.voices.iter().any(lacks);
            let shared = self.shared.iter_mut().find(|shared| hears_all && shared.format == listener.to);
            listener.shares = shared.is_some();
            if let Some(shared) = shared {
                shared.takers += 1;
                shared.newcomer |= !listener.shared;
            }
        }
        for shared in &mut self.shared {
            shared.payload.clear();
            let alone = if shared.format == Format::Opus { MOST_ALONE } else { 0 };
            if shared.takers <= alone {
                let alone = self.listeners.iter_mut().filter(|listener| listener.to == shared.format);
                alone.for_each(|listener| listener.shares = false);
                continue;
            }
            if shared.newcomer {
                shared.encoder.reset();
            }
            self.mixers[rate_index(shared.format)].hear([], &mut self.samples);
            match shared.encoder.encode(&self.samples, &mut shared.payload) {
                Ok(()) => self.encoded += 1,
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Encodes for a listener that shares with nobody; `payload` is what it gets.
    fn encode_own(&mut self, index: usize) -> Result<(), AudioError> {
        let listener = &mut self.listeners[index];
        let shared = std::mem::replace(&mut listener.shared, listener.shares);
        self.payload.clear();
        if listener.shares {
            return Ok(());
        }
        if shared {
            listener.encoder.reset();
        }
        let (without, rate) = (&listener.without, listener.rate);
        let own = self.voices.iter().filter(|(id, _)| without.contains(id)).map(|(_, voice)| voice.frame(rate));
        self.mixers[rate].hear(own, &mut self.samples);
        listener.encoder.encode(&self.samples, &mut self.payload)?;
        self.encoded += 1;
        Ok(())
    }

    /// The delay of the voice that came furthest, in small steps: a clock that jumps would be worse than one that is off.
    fn follow_delay(&mut self, now: Time) {
        let mixed = self.voices.iter().filter(|(_, voice)| voice.is_mixed());
        let Some(delay) = mixed.map(|(_, voice)| now.since(voice.capture())).max() else { return };
        let step = Duration::from_millis(u64::from(FRAME_MS)) / 20;
        self.delay =
            if self.delay.is_zero() { delay } else { delay.clamp(self.delay.saturating_sub(step), self.delay + step) };
    }
}

fn new_listener(id: u64, to: Format, without: &[u64]) -> Result<Listener, AudioError> {
    let rate = rate_index(to);
    Ok(Listener {
        id,
        to,
        rate,
        without: without.to_vec(),
        encoder: Encoder::new(to, RATES[rate])?,
        sequence: 0,
        timestamp: 0,
        shared: false,
        shares: false,
    })
}
