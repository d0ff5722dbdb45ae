//! The receiving side of a media flow: transport-wide feedback by the engine's own generator, requests for what is
//! missing, and when frames are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use mediaserver_proto::bwe::FeedbackGenerator;
use mediaserver_proto::rtp::Ssrc;
use mediaserver_proto::time::Time;

use super::sender::{MediaPacket, Part};

/// A missing packet is asked for again after this time, and given up after so many requests.
const NACK_EVERY: Duration = Duration::from_millis(120);
const NACK_TRIES: u32 = 5;
/// After this time a frame that is missing is given up; the next complete one is shown in its place.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Missing {
    next: Time,
    tries: u32,
}

#[derive(Clone, Copy, Debug)]
struct Assembly {
    left: usize,
    since: Time,
}

/// The receiving side.
#[derive(Debug)]
pub struct Receiver {
    feedback: FeedbackGenerator,
    repairs: bool,
    /// One past the highest packet number seen.
    end: u64,
    missing: BTreeMap<u64, Missing>,
    frames: BTreeMap<u64, Assembly>,
    next_frame: u64,
    /// When frames were shown, in milliseconds.
    pub shown_ms: Vec<u64>,
}

impl Receiver {
    /// A receiver; one that `repairs` asks for what is missing.
    pub fn new(repairs: bool) -> Receiver {
        let mut feedback = FeedbackGenerator::default();
        feedback.set_media(Ssrc(2));
        Receiver {
            feedback,
            repairs,
            end: 0,
            missing: BTreeMap::new(),
            frames: BTreeMap::new(),
            next_frame: 0,
            shown_ms: Vec::new(),
        }
    }

    /// Takes a packet.
    pub fn handle(&mut self, packet: &MediaPacket, now: Time) {
        self.feedback.arrived(packet.transport_sequence, now);
        let Some(part) = packet.part.filter(|_| self.repairs) else { return };
        if part.number >= self.end {
            for number in self.end..part.number {
                self.missing.insert(number, Missing { next: now, tries: 0 });
            }
            self.end = part.number + 1;
        } else if self.missing.remove(&part.number).is_none() {
            return; // A second copy.
        }
        self.assemble(&part, now);
    }

    /// Appends the feedback that is due; false when none is.
    pub fn poll_feedback(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        self.feedback.write(Ssrc(1), now, out)
    }

    /// The packets to ask for now.
    pub fn poll_nack(&mut self, now: Time) -> Vec<u64> {
        let mut numbers = Vec::new();
        self.missing.retain(|number, missing| {
            if missing.next <= now {
                numbers.push(*number);
                missing.tries += 1;
                missing.next = now + NACK_EVERY;
            }
            missing.tries <= NACK_TRIES
        });
        numbers
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let nack = self.missing.values().map(|missing| missing.next).min();
        [self.feedback.poll_timeout(), nack].into_iter().flatten().min()
    }

    fn assemble(&mut self, part: &Part, now: Time) {
        if part.frame < self.next_frame {
            return;
        }
        let assembly = self.frames.entry(part.frame).or_insert(Assembly { left: part.count, since: now });
        assembly.left = assembly.left.saturating_sub(1);
        loop {
            match self.frames.get(&self.next_frame).map(|assembly| assembly.left) {
                Some(0) => {
                    self.frames.remove(&self.next_frame);
                    self.shown_ms.push(now.as_millis());
                    self.next_frame += 1;
                }
                _ => match self.first_overdue(now) {
                    Some(frame) => {
                        self.frames.retain(|number, _| *number >= frame);
                        self.next_frame = frame;
                    }
                    None => return,
                },
            }
        }
    }

    /// The first complete frame that has waited long enough for those before it.
    fn first_overdue(&self, now: Time) -> Option<u64> {
        let mut complete = self.frames.iter().filter(|(_, assembly)| assembly.left == 0);
        complete.next().filter(|(_, assembly)| now.since(assembly.since) >= PATIENCE).map(|(number, _)| *number)
    }
}
