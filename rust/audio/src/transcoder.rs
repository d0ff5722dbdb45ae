//! One direction of a call between two formats: packets of one in, packets of the other out, every 20 ms.

use crate::encoder::Encoder;
use crate::format::Format;
use crate::jitter_buffer::{Arrival, Content};
use crate::playout::{Playout, PlayoutStats};
use crate::resampler::Resampler;
use crate::{AudioError, FRAME_MS};
use mediaserver_proto::time::Time;
use std::time::Duration;

/// Opus between two others than itself is taken at this rate: wideband speech.
const OPUS_RATE: u32 = 16_000;
/// Telephone events that wait for the next frame; a phone repeats one every 20 or 50 ms.
const MOST_EVENTS: usize = 8;
/// Bytes of an event (RFC 4733 §2.3).
const EVENT_BYTES: usize = 4;
const EVENT_END: u8 = 0x80;
/// While events come there is no sound; an event whose end was lost is over after this.
const EVENT_OVER_AFTER: Duration = Duration::from_millis(200);

/// What a packet that comes in is encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Sound.
    Sound(Format),
    /// Comfort noise (RFC 3389).
    ComfortNoise,
    /// A telephone event (RFC 4733) with its RTP clock in Hz.
    Event(u32),
    /// Counted in the sequence, and nothing else.
    Nothing,
}

impl Input {
    /// What it is to a jitter buffer.
    pub fn content(self) -> Content {
        match self {
            Input::Sound(_) => Content::Sound,
            Input::ComfortNoise => Content::ComfortNoise,
            Input::Event(_) | Input::Nothing => Content::Nothing,
        }
    }
}

/// A packet that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced<'a> {
    /// Without wraps, from 1.
    pub sequence: u64,
    /// On the clock of the format that goes out.
    pub timestamp: u32,
    /// RFC 3551 §4.1: the first after a silence; RFC 4733 §2.5.1.2: the first of an event.
    pub marker: bool,
    /// Whether it is a telephone event, on the same clock.
    pub is_event: bool,
    /// When its first sample was taken, by our clock.
    pub capture: Time,
    /// The payload.
    pub payload: &'a [u8],
}

/// An event that goes on or waits.
#[derive(Clone, Copy, Debug)]
struct Event {
    timestamp: u32,
    payload: [u8; EVENT_BYTES],
}

/// See the module.
#[derive(Debug)]
pub struct Transcoder {
    to: Format,
    playout: Playout,
    resampler: Option<Resampler>,
    encoder: Encoder,
    frame: Vec<i16>,
    resampled: Vec<i16>,
    payload: Vec<u8>,
    sequence: u64,
    timestamp: u32,
    /// Whether sound went out with the last frame.
    speaking: bool,
    events: Vec<Event>,
    /// The event that came last: its timestamp at the source, and ours.
    event: Option<(u32, u32)>,
    /// Until then there is no sound, because the event goes on.
    event_until: Time,
}

impl Transcoder {
    /// From `from`, until something else comes, to `to`.
    pub fn new(from: Format, to: Format) -> Result<Transcoder, AudioError> {
        let rate = to.native_rate().or(from.native_rate()).unwrap_or(OPUS_RATE);
        let decoded = from.native_rate().unwrap_or(rate);
        Ok(Transcoder {
            to,
            playout: Playout::new(from, decoded)?,
            resampler: Resampler::new(decoded, rate)?,
            encoder: Encoder::new(to, rate)?,
            frame: Vec::with_capacity(2_000),
            resampled: Vec::with_capacity(2_000),
            payload: Vec::with_capacity(2_000),
            sequence: 0,
            timestamp: 0,
            speaking: false,
            events: Vec::with_capacity(MOST_EVENTS),
            event: None,
            event_until: Time::ZERO,
        })
    }

    /// The format that goes out.
    pub fn output(&self) -> Format {
        self.to
    }

    /// What was counted of the stream that comes in.
    pub fn stats(&self) -> PlayoutStats {
        self.playout.stats()
    }

    /// What comes is another stream, such as that of a sender that was started again.
    pub fn restart(&mut self) {
        self.playout.restart();
    }

    /// Takes a packet. The contents of `arrival` are those of `input`.
    pub fn push(&mut self, input: Input, arrival: &Arrival<'_>, now: Time) -> Result<(), AudioError> {
        match input {
            Input::Sound(format) if format != self.playout.format() => self.change_input(format)?,
            Input::Event(clock_rate) => self.take_event(arrival, clock_rate),
            _ => {}
        }
        self.playout.push(&Arrival { content: input.content(), ..*arrival }, now);
        Ok(())
    }

    /// Gives what is due now; to be called every 20 ms. What a telephone event says goes out in place of sound.
    pub fn pull(&mut self, now: Time, mut give: impl FnMut(Produced<'_>)) -> Result<(), AudioError> {
        self.frame.clear();
        let capture = self.playout.pull(now, &mut self.frame);
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(self.to.frame_units());
        if self.give_events(timestamp, now, &mut give) {
            self.speaking = false;
            return Ok(());
        }
        let Some(capture) = capture else {
            self.speaking = false;
            return Ok(());
        };
        self.payload.clear();
        let samples = match &mut self.resampler {
            Some(resampler) => {
                self.resampled.clear();
                resampler.resample(&self.frame, &mut self.resampled);
                &self.resampled
            }
            None => &self.frame,
        };
        self.encoder.encode(samples, &mut self.payload)?;
        self.sequence += 1;
        give(Produced {
            sequence: self.sequence,
            timestamp,
            marker: !std::mem::replace(&mut self.speaking, true),
            is_event: false,
            capture,
            payload: &self.payload,
        });
        Ok(())
    }

    /// The peer went over to another format.
    fn change_input(&mut self, format: Format) -> Result<(), AudioError> {
        let decoded = format.native_rate().unwrap_or(self.encoder.rate());
        self.playout = Playout::new(format, decoded)?;
        self.resampler = Resampler::new(decoded, self.encoder.rate())?;
        Ok(())
    }

    /// RFC 4733 §2.3: event, end bit with volume, duration in clock units. More than fit in one frame are left out; the
    /// next packet of an event says all of it again.
    fn take_event(&mut self, arrival: &Arrival<'_>, clock_rate: u32) {
        let Some(&[event, flags, high, low]) = arrival.payload.first_chunk::<EVENT_BYTES>() else { return };
        if self.events.len() == MOST_EVENTS || clock_rate == 0 {
            return;
        }
        let duration =
            u64::from(u16::from_be_bytes([high, low])) * u64::from(self.to.clock_rate()) / u64::from(clock_rate);
        let [high, low] = u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes();
        self.events.push(Event { timestamp: arrival.timestamp, payload: [event, flags, high, low] });
    }

    /// Gives the events that wait; whether one is going on.
    fn give_events(&mut self, timestamp: u32, now: Time, give: &mut impl FnMut(Produced<'_>)) -> bool {
        for event in &self.events {
            let known = self.event.filter(|&(theirs, _)| theirs == event.timestamp);
            // All packets of an event have the timestamp of its beginning (RFC 4733 §2.1).
            let ours = known.map_or(timestamp, |(_, ours)| ours);
            self.event = Some((event.timestamp, ours));
            // The end is repeated, but sound may go on behind it.
            let ends = event.payload[1] & EVENT_END != 0;
            self.event_until = if ends { now } else { now + EVENT_OVER_AFTER };
            self.sequence += 1;
            give(Produced {
                sequence: self.sequence,
                timestamp: ours,
                marker: known.is_none(),
                is_event: true,
                capture: now,
                payload: &event.payload,
            });
        }
        let given = !self.events.is_empty();
        self.events.clear();
        given || now < self.event_until
    }
}

/// Time of one frame.
pub const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
