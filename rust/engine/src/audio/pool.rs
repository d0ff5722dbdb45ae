//! What one audio thread does, without the thread: commands, packets and ticks in, packets out.

use std::collections::VecDeque;

use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::time::Time;

use super::delivery::Delivery;
use super::mixes::Mixes;
use super::packets::{format_named, read};
use super::refused::Refused;
use super::transcoders::Transcoders;
use crate::command::Action;
use crate::counters::{Counters, set};
use crate::event::Event;

/// A frame of 20 ms is made in one of so many parts of it, so that the work of a thread is spread.
pub const PHASES: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct AudioPool {
    transcoders: Transcoders,
    mixes: Mixes,
    delivery: Delivery,
    events: VecDeque<Event>,
}

impl AudioPool {
    /// Nothing yet; at most `transcodes` transcoders and `mixed_legs` legs that hear a mix, of tracks of `shards` shards.
    pub fn new(shards: Shard, transcodes: usize, mixed_legs: usize) -> AudioPool {
        let (transcoders, mixes) = (Transcoders::new(transcodes), Mixes::new(mixed_legs));
        AudioPool { transcoders, mixes, delivery: Delivery::new(shards), events: VecDeque::new() }
    }

    /// Whether there is nothing to do at a tick.
    pub fn is_empty(&self) -> bool {
        self.transcoders.is_empty() && self.mixes.is_empty()
    }

    /// What is transcoded.
    pub fn transcoders(&self) -> &Transcoders {
        &self.transcoders
    }

    /// What is mixed.
    pub fn mixes(&self) -> &Mixes {
        &self.mixes
    }

    /// What goes to the shards, in order.
    pub fn take_messages(&mut self) -> std::vec::Drain<'_, (Shard, ShardMessage)> {
        self.delivery.take_messages()
    }

    /// What the control plane is told next.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Does what a command says about `id`; the reason when that cannot be.
    pub fn command(&mut self, id: u64, action: &Action) -> Result<(), String> {
        let result = match action {
            Action::OpenTranscoder { source, source_codec, codec } => {
                match (format_named(source_codec), format_named(codec)) {
                    (Some(from), Some(to)) => self.transcoders.open(id, *source, from, to, &mut self.delivery),
                    _ => Err(Refused::Codec),
                }
            }
            Action::CloseTranscoder => self.transcoders.close(id, &mut self.delivery),
            Action::SetMix { voices, listeners } => self.mixes.set(id, voices, listeners, &mut self.delivery),
            Action::CloseMix => self.mixes.close(id, &mut self.delivery),
            Action::Ping => Ok(()),
            _ => return Err("invalid command for an audio thread".to_owned()),
        };
        result.map_err(|refused| refused.to_string())
    }

    /// Takes a message of a shard.
    pub fn handle_message(&mut self, from: Shard, message: &ShardMessage, now: Time) {
        match message {
            ShardMessage::Media(batch) => {
                for (up, packets) in batch.runs() {
                    for packet in packets {
                        let (input, arrival) = read(&packet, now);
                        let (stream, at) = (packet.meta.stream, packet.meta.arrival);
                        self.transcoders.take_packet(up.0, stream, input, &arrival, at);
                        self.mixes.take_packet(up.0, stream, input, &arrival, at);
                    }
                }
            }
            ShardMessage::Want { up } => self.delivery.is_wanted(from, *up),
            ShardMessage::Unwant { up } => self.delivery.is_unwanted(from, *up),
            // Layers, keyframes, topics and paths are nothing to sound.
            _ => {}
        }
    }

    /// Makes the frames of one phase that are due at `now`.
    pub fn tick(&mut self, phase: usize, now: Time) {
        self.transcoders.tick(phase, now, &mut self.delivery);
        self.mixes.tick(phase, now, &mut self.delivery, &mut self.events);
        self.delivery.flush();
    }

    /// Writes down what was counted.
    pub fn publish(&self, counters: &mut Counters) {
        self.transcoders.publish(counters);
        self.mixes.publish(counters);
        let (transcoders, mixes) = (self.transcoders.counts(), self.mixes.counts());
        set(counters, "drop.audio_no_buffer", self.delivery.no_buffer());
        set(counters, "drop.audio_not_encoded", transcoders.frames_failed + mixes.frames_failed);
        set(counters, "drop.audio_not_taken", transcoders.packets_failed + mixes.packets_failed);
    }
}
