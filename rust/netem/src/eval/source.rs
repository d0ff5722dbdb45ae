//! What is sent: frames at 30 a second, of a rate that follows the estimate or of a simulcast layer.

use std::time::Duration;

use mediaserver_proto::bwe::Demand;
use mediaserver_proto::time::Time;

use super::allocation::{Allocation, LAYERS_BPS};
use super::case::SourceKind;
use crate::random::Random;

/// Frames per second.
pub const FRAME_RATE: u64 = 30;
/// Bytes of a packet at most.
const PACKET: usize = 1_200;
/// A key frame is this much larger than the others.
const KEY_FRAME: f64 = 4.0;

/// A frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number, from 0 on without gaps.
    pub number: u64,
    /// Packets.
    pub packets: usize,
    /// Bytes of each.
    pub packet_size: usize,
}

/// The source of one flow.
#[derive(Debug)]
pub struct Source {
    kind: SourceKind,
    next: Time,
    number: u64,
    random: Random,
    /// The allocator's state, for layers.
    pub allocation: Allocation,
    key_frame: bool,
}

impl Source {
    /// A source that begins at `start`.
    pub fn new(kind: SourceKind, start: Time, seed: u64) -> Source {
        let allocation = Allocation::new(seed.wrapping_mul(3));
        Source { kind, next: start, number: 0, random: Random::new(seed), allocation, key_frame: true }
    }

    /// When the next frame is due.
    pub fn poll_timeout(&self) -> Time {
        self.next
    }

    /// The frame that is due; none while the allocation has paused it.
    pub fn poll(&mut self, estimate_bps: u64, now: Time) -> Option<Frame> {
        if now < self.next {
            return None;
        }
        self.next = self.next + Duration::from_nanos(1_000_000_000 / FRAME_RATE);
        let bytes = match self.kind {
            SourceKind::Elastic => estimate_bps as f64 / 8.0 / FRAME_RATE as f64,
            SourceKind::Layers => {
                self.key_frame |= self.allocation.update(estimate_bps, now);
                let mean = LAYERS_BPS[self.allocation.layer()?] as f64 / 8.0 / FRAME_RATE as f64;
                let factor = if self.key_frame { KEY_FRAME } else { self.random.between(0.8, 1.2) };
                self.key_frame = false;
                mean * factor
            }
        };
        let packets = (bytes / PACKET as f64).ceil().max(1.0);
        let number = self.number;
        self.number += 1;
        Some(Frame { number, packets: packets as usize, packet_size: ((bytes / packets) as usize).max(40) })
    }

    /// Goes on at `now` after a pause.
    pub fn resume(&mut self, now: Time) {
        self.next = now;
        self.key_frame = true;
    }

    /// What the estimator is told of the next step up; nothing when the source takes whatever there is.
    pub fn demand(&self) -> Demand {
        match self.kind {
            SourceKind::Elastic => Demand::default(),
            SourceKind::Layers => self.allocation.demand(),
        }
    }
}
