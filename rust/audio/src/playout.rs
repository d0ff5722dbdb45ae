//! One stream as its listener hears it: packets in as they come, frames out when they are due.
//!
//! A packet is heard at its timestamp plus a playout delay. The delay begins as the tracker's target and is led back to
//! it while sound goes on: by pauses that are made shorter or longer, and by periods of the voice that are left out or
//! repeated. What did not come in time is repaired from the packet behind it or concealed, and what comes after that is
//! late. When nothing comes at all the delay grows by itself, because nothing is skipped.

use crate::comfort_noise::ComfortNoise;
use crate::concealment::Concealment;
use crate::decoder::Decoder;
use crate::delay::DelayTracker;
use crate::format::{Format, frame_samples};
use crate::jitter_buffer::{Arrival, BufferCounts, Content, JitterBuffer, Next};
use crate::{AudioError, FRAME_MS, pitch};
use mediaserver_proto::time::Time;
use std::time::Duration;

/// A stream that brings nothing for so long is over, and so is one whose last word was that it is quiet.
const OVER_AFTER: Duration = Duration::from_secs(1);
const OVER_AFTER_QUIET: Duration = Duration::from_secs(30);
/// An Opus packet of so few bytes says that its sender is quiet (RFC 7587 §3.1.3).
const QUIET_OPUS_BYTES: usize = 2;
/// The delay is let alone between these; it moves by 20 ms.
const SHORTEN_ABOVE_US: i64 = 25_000;
const LENGTHEN_BELOW_US: i64 = -4_000;
/// So far above, sound is thrown away.
const DISCARD_ABOVE_US: i64 = 600_000;
/// Two periods that are less alike than this are not made one, unless the sound is this quiet or the delay is this bad.
const ALIKE: f32 = 0.85;
const QUIET_PEAK: u16 = 300;
const UNLIKE_ABOVE_US: i64 = 80_000;
/// Opus can fill gaps of up to 120 ms and in steps of 2.5 ms.
const MOST_FILL_MS: i64 = 120;
const STEPS_PER_S: usize = 400;

/// Counts of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// What the buffer counted.
    pub buffer: BufferCounts,
    /// Losses repaired from the packet behind them (as far as that repeats them).
    pub repaired: u64,
    /// Samples that were made up.
    pub concealed: u64,
    /// Samples left out and repeated, to lead the delay to its target.
    pub shortened: u64,
    /// See `shortened`.
    pub lengthened: u64,
    /// Times at which nothing was there to be played.
    pub underruns: u64,
    /// Payloads that the decoder refused.
    pub undecodable: u64,
    /// How long packets shall wait, and do, beyond the least transit; in milliseconds.
    pub target_ms: u32,
    /// See `target_ms`.
    pub delay_ms: u32,
}

impl PlayoutStats {
    /// Together with those of what was heard before.
    #[must_use]
    pub fn after(self, before: &PlayoutStats) -> PlayoutStats {
        let (buffer, earlier) = (self.buffer, before.buffer);
        PlayoutStats {
            buffer: BufferCounts {
                received: buffer.received + earlier.received,
                late: buffer.late + earlier.late,
                repeated: buffer.repeated + earlier.repeated,
                lost: buffer.lost + earlier.lost,
                discarded: buffer.discarded + earlier.discarded,
            },
            repaired: self.repaired + before.repaired,
            concealed: self.concealed + before.concealed,
            shortened: self.shortened + before.shortened,
            lengthened: self.lengthened + before.lengthened,
            underruns: self.underruns + before.underruns,
            undecodable: self.undecodable + before.undecodable,
            ..self
        }
    }
}

/// What stands in for sound that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Speaking,
    /// After comfort noise: it goes on.
    Noise,
    /// After a telephone event, or before anything.
    Silent,
}

/// See the module.
#[derive(Debug)]
pub struct Playout {
    format: Format,
    rate: u32,
    buffer: JitterBuffer,
    delay: DelayTracker,
    decoder: Decoder,
    concealment: Concealment,
    noise: ComfortNoise,
    mood: Mood,
    /// Decoded and not yet taken.
    ready: Vec<i16>,
    /// Timestamp behind the last sample of `ready`; `None` while nothing is played.
    position: Option<i64>,
    /// When the sample at `position` was taken at its source, by our clock.
    capture: Time,
    last_arrival: Time,
    quiet: bool,
    stats: PlayoutStats,
}

impl Playout {
    /// A stream of `format` that is heard with `rate` samples per second.
    pub fn new(format: Format, rate: u32) -> Result<Playout, AudioError> {
        Ok(Playout {
            format,
            rate,
            buffer: JitterBuffer::new(format.clock_rate()),
            delay: DelayTracker::default(),
            decoder: Decoder::new(format, rate)?,
            concealment: Concealment::new(rate),
            noise: ComfortNoise::new(rate),
            mood: Mood::Silent,
            ready: Vec::with_capacity(rate as usize / 4),
            position: None,
            capture: Time::ZERO,
            last_arrival: Time::ZERO,
            quiet: false,
            stats: PlayoutStats::default(),
        })
    }

    /// The format that it decodes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// What was counted.
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats { buffer: self.buffer.counts(), target_ms: (self.delay.target_us() / 1000) as u32, ..self.stats }
    }

    /// Takes a packet.
    pub fn push(&mut self, arrival: &Arrival<'_>, now: Time) {
        let (timestamp, begins, kept) = self.buffer.insert(arrival, now);
        if begins {
            self.delay.restart();
            self.stop();
        }
        self.last_arrival = now;
        if arrival.content == Content::Nothing {
            return;
        }
        self.delay.arrived(self.to_us(timestamp), now);
        if kept.is_ok() {
            self.quiet = arrival.content == Content::ComfortNoise
                || (self.format == Format::Opus && arrival.payload.len() <= QUIET_OPUS_BYTES);
        }
    }

    /// What comes is another stream: its sequence and timestamps have nothing to do with those before.
    pub fn restart(&mut self) {
        self.buffer.clear();
        self.delay.restart();
        self.stop();
    }

    /// Appends the frame that is due now, 20 ms of it, and tells when its first sample was taken at its source; `None`
    /// while the stream has nothing to say.
    pub fn pull(&mut self, now: Time, out: &mut Vec<i16>) -> Option<Time> {
        let frame = frame_samples(self.rate);
        let over_after = if self.quiet { OVER_AFTER_QUIET } else { OVER_AFTER };
        if self.position.is_some() && now.since(self.last_arrival) >= over_after {
            self.buffer.clear();
            self.stop();
        }
        if self.position.is_none() && !self.start(now) {
            return None;
        }
        let excess_us = self.excess_us(now);
        self.stats.delay_ms = ((excess_us + self.delay.target_us()).max(0) / 1000) as u32;
        if excess_us > DISCARD_ABOVE_US {
            self.discard(excess_us);
        }
        // A gap that asks for less than it gives cannot go on for ever: each turn makes at least one sample.
        while self.ready.len() < frame {
            self.fill(excess_us);
        }
        if excess_us > SHORTEN_ABOVE_US {
            self.shorten(excess_us);
        } else if excess_us < LENGTHEN_BELOW_US {
            self.lengthen();
        }
        let held = Duration::from_nanos(self.ready.len() as u64 * 1_000_000_000 / u64::from(self.rate));
        let capture = Time(self.capture.0.saturating_sub(held.as_nanos() as u64));
        out.extend(self.ready.drain(..frame));
        Some(capture)
    }

    /// Begins once the first packet has waited for the target.
    fn start(&mut self, now: Time) -> bool {
        let (Some(first), Some(least)) = (self.buffer.first_timestamp(), self.delay.least_us()) else { return false };
        let due = self.to_us(first) + least + self.delay.target_us();
        if (now.as_micros() as i64) < due {
            return false;
        }
        self.position = Some(first);
        true
    }

    fn stop(&mut self) {
        self.ready.clear();
        self.position = None;
        self.mood = Mood::Silent;
    }

    /// By how much longer than it should the packet waits that is needed next, in microseconds. It moves by frames: what
    /// is needed for the end of a frame must be there at its beginning.
    fn excess_us(&self, now: Time) -> i64 {
        let (Some(position), Some(least)) = (self.position, self.delay.least_us()) else { return 0 };
        let frames = (self.ready.len() / frame_samples(self.rate)) as i64;
        let needed_us = now.as_micros() as i64 + frames * i64::from(FRAME_MS) * 1000;
        needed_us - self.to_us(position) - least - self.delay.target_us()
    }

    fn to_us(&self, units: i64) -> i64 {
        units * 1_000_000 / i64::from(self.format.clock_rate())
    }

    fn units(&self, samples: usize) -> i64 {
        samples as i64 * i64::from(self.format.clock_rate()) / i64::from(self.rate)
    }

    fn samples(&self, units: i64) -> usize {
        (units.max(0) * i64::from(self.rate) / i64::from(self.format.clock_rate())) as usize
    }

    /// Decodes or makes up what comes next.
    fn fill(&mut self, excess_us: i64) {
        let frame = frame_samples(self.rate);
        let Some(position) = self.position else { return };
        let before = self.ready.len();
        match self.buffer.take(position) {
            Next::Packet(slot) => {
                let (timestamp, capture) = (slot.timestamp, slot.capture);
                match slot.content {
                    Content::Sound => {
                        if self.decoder.decode(&slot.payload, &mut self.ready).is_err() {
                            self.stats.undecodable += 1;
                        }
                        self.mood = Mood::Speaking;
                        if !self.decoder.conceals() {
                            self.concealment.heard(&mut self.ready[before..]);
                        }
                        self.advance(timestamp, before);
                        self.capture = capture + self.length(self.ready.len() - before);
                    }
                    Content::ComfortNoise => {
                        self.noise.take(&slot.payload);
                        self.mood = Mood::Noise;
                        self.position = Some(timestamp);
                    }
                    Content::Nothing => self.mood = Mood::Silent,
                }
                return;
            }
            Next::Lost { following, gap } => {
                let most = i64::from(self.format.clock_rate()) * MOST_FILL_MS / 1000;
                let step = self.rate as usize / STEPS_PER_S;
                let whole =
                    (gap.min(most).max(0) * i64::from(self.rate) / i64::from(self.format.clock_rate())) as usize;
                let samples = (whole / step * step).max(step);
                if self.decoder.conceals() && following.content == Content::Sound {
                    // Only the frame just before it is repeated in a packet; libopus conceals the rest of the gap.
                    let made = self.decoder.conceal(Some(&following.payload), samples, &mut self.ready);
                    self.stats.repaired += u64::from(made.is_ok());
                }
                if self.ready.len() == before {
                    self.stand_in(samples.min(frame));
                }
            }
            Next::Pause { gap } => {
                let surplus = (excess_us * i64::from(self.format.clock_rate()) / 1_000_000).min(gap);
                if excess_us > SHORTEN_ABOVE_US && surplus > 0 {
                    // Time that nobody misses.
                    self.stats.shortened += self.samples(surplus) as u64;
                    self.position = Some(position + surplus);
                    if surplus == gap {
                        return;
                    }
                }
                let samples = self.samples(gap - surplus.max(0)).clamp(1, frame);
                self.pause(samples);
            }
            Next::Empty => {
                self.stats.underruns += u64::from(self.mood == Mood::Speaking && !self.quiet);
                self.stand_in(frame);
            }
        }
        let position = self.position.unwrap_or(position);
        self.advance(position, before);
        self.capture = self.capture + self.length(self.ready.len() - before);
    }

    fn advance(&mut self, from: i64, before: usize) {
        self.position = Some(from + self.units(self.ready.len() - before));
    }

    fn length(&self, samples: usize) -> Duration {
        Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(self.rate))
    }

    /// What is heard where a packet should be.
    fn stand_in(&mut self, samples: usize) {
        let before = self.ready.len();
        match self.mood {
            Mood::Speaking => {
                self.stats.concealed += samples as u64;
                let step = self.rate as usize / STEPS_PER_S;
                let made = self.decoder.conceal(None, samples.div_ceil(step) * step, &mut self.ready);
                if made.is_err() || self.ready.len() == before {
                    self.concealment.conceal(samples, &mut self.ready);
                }
            }
            Mood::Noise => self.noise.generate(samples, &mut self.ready),
            Mood::Silent => self.ready.resize(before + samples, 0),
        }
    }

    /// What is heard while the sender is silent on purpose.
    fn pause(&mut self, samples: usize) {
        if self.mood == Mood::Speaking && !self.decoder.conceals() {
            self.mood = Mood::Silent;
        }
        let concealed = self.stats.concealed;
        self.stand_in(samples);
        self.stats.concealed = concealed;
    }

    /// Throws away so much that is still to come that the delay is its target again.
    fn discard(&mut self, excess_us: i64) {
        let Some(position) = self.position else { return };
        let units = excess_us * i64::from(self.format.clock_rate()) / 1_000_000;
        self.ready.clear();
        while self.buffer.first_timestamp().is_some_and(|first| first < position + units) {
            if !matches!(self.buffer.take(i64::MAX), Next::Packet(_)) {
                break;
            }
        }
        self.stats.shortened += self.samples(units) as u64;
        self.position = Some(position + units);
    }

    /// Leaves out one period, where two follow each other that are alike.
    fn shorten(&mut self, excess_us: i64) {
        let most = pitch::longest(self.rate);
        let frame = frame_samples(self.rate);
        while self.ready.len() < frame + most {
            let Some(position) = self.position.filter(|&position| self.buffer.continues_at(position)) else { return };
            self.fill(0);
            if self.position == Some(position) {
                return;
            }
        }
        let Some(lag) = self.mergeable(most, excess_us > UNLIKE_ABOVE_US) else { return };
        let (first, second) = self.ready.split_at_mut(lag);
        pitch::cross_fade(first, &mut second[..lag]);
        self.ready.drain(..lag);
        self.stats.shortened += lag as u64;
    }

    /// Repeats one period, where two follow each other that are alike.
    fn lengthen(&mut self) {
        let most = pitch::longest(self.rate).min(self.ready.len() / 2);
        let Some(lag) = self.mergeable(most, false) else { return };
        let len = self.ready.len();
        self.ready.resize(len + lag, 0);
        self.ready.copy_within(lag..len, 2 * lag);
        // Between the two stands the second, turning into the first, so that the second can follow once more.
        let (first, rest) = self.ready.split_at_mut(lag);
        blend_back(&mut rest[..lag], first);
        self.stats.lengthened += lag as u64;
    }

    /// A length of up to `most` samples that the beginning of what is ready may be repeated or left out by.
    fn mergeable(&self, most: usize, whatever: bool) -> Option<usize> {
        let most = most.min(self.ready.len() / 2);
        let lags = pitch::shortest(self.rate)..=most;
        let alike = |&lag: &usize| pitch::likeness(&self.ready[..lag], &self.ready[lag..2 * lag]);
        if self.ready[..2 * most].iter().all(|sample| sample.unsigned_abs() < QUIET_PEAK) {
            return Some(most).filter(|&most| most > 0);
        }
        let best = lags.max_by(|one, other| alike(one).total_cmp(&alike(other)))?;
        (whatever || alike(&best) >= ALIKE).then_some(best)
    }
}

/// Fades from `samples` to `to`, in place.
fn blend_back(samples: &mut [i16], to: &[i16]) {
    let whole = samples.len() as i32 + 1;
    for (index, (sample, &target)) in samples.iter_mut().zip(to).enumerate() {
        let weight = index as i32 + 1;
        *sample = ((i32::from(*sample) * (whole - weight) + i32::from(target) * weight) / whole) as i16;
    }
}
