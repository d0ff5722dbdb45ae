//! The latest packets of one source layer: for receivers that lost some, and for those that come late.

use super::packet::{PacketMeta, UpPacket};
use crate::time::Time;
use std::time::Duration;

/// Slots at first, and at most; a power of two, so that a sequence number finds its slot by a mask.
const FEWEST: usize = 64;
const MOST: usize = 1024;
/// The ring grows while it holds less than this; while it is small for longer, because what leaves slowly on a narrow
/// line is a screen's rare keyframe, not a camera's top layer.
const KEEP: Duration = Duration::from_secs(1);
const KEEP_SMALL: Duration = Duration::from_secs(3);
const SMALL: usize = 256;
const SMALL_BYTES: usize = 256 * 1024;
/// Bytes of payloads at first, and at most: a second of eight Mbit/s.
const FEWEST_BYTES: usize = 16 * 1024;
const MOST_BYTES: usize = 1024 * 1024;
/// A group of pictures is short enough to be sent at once to somebody who comes late: packets, and age.
const GROUP_PACKETS: u64 = 96;
const GROUP_AGE: Duration = Duration::from_millis(1000);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    meta: Option<PacketMeta>,
    /// Where its payload lies, and how long it is.
    start: u64,
    len: usize,
}

/// Payloads one after the other, each in one piece; the newest ones take the place of the oldest.
#[derive(Debug)]
struct Payloads {
    bytes: Box<[u8]>,
    /// Where the next one goes, counted from the first ever; a place in `bytes` is this modulo their number.
    end: u64,
    /// When the first byte of `bytes` was written last.
    lap_began: Time,
}

impl Default for Payloads {
    fn default() -> Payloads {
        Payloads { bytes: vec![0; FEWEST_BYTES].into_boxed_slice(), end: 0, lap_began: Time::ZERO }
    }
}

impl Payloads {
    /// Whether a payload fits behind the last one without going round.
    fn fits(&self, len: usize) -> bool {
        self.place(self.end) + len <= self.bytes.len()
    }

    /// Copies a payload; where it begins.
    fn push(&mut self, payload: &[u8], now: Time) -> u64 {
        if !self.fits(payload.len()) {
            self.end = self.end.next_multiple_of(self.bytes.len() as u64);
        }
        let (start, place) = (self.end, self.place(self.end));
        if place == 0 {
            self.lap_began = now;
        }
        if let Some(space) = self.bytes.get_mut(place..place + payload.len()) {
            space.copy_from_slice(payload);
            self.end += payload.len() as u64;
        }
        start
    }

    /// A payload, unless newer ones have taken its place.
    fn get(&self, start: u64, len: usize) -> Option<&[u8]> {
        let place = self.place(start);
        let intact = self.end <= start + self.bytes.len() as u64;
        self.bytes.get(place..place + len).filter(|_| intact)
    }

    fn place(&self, at: u64) -> usize {
        // The number of bytes is a power of two.
        (at as usize) & (self.bytes.len() - 1)
    }
}

/// Where the last keyframe began.
#[derive(Clone, Copy, Debug)]
struct Group {
    stream: u32,
    sequence: u64,
    timestamp: u32,
    arrival: Time,
    capture: Time,
}

/// Copies of packets by sequence number. Memory is kept and used again; it grows with the bitrate, up to a bound.
#[derive(Debug)]
pub struct PacketRing {
    slots: Vec<Slot>,
    payloads: Payloads,
    newest: Option<(u32, u64)>,
    group: Option<Group>,
}

impl Default for PacketRing {
    fn default() -> PacketRing {
        PacketRing { slots: vec![Slot::default(); FEWEST], payloads: Payloads::default(), newest: None, group: None }
    }
}

impl PacketRing {
    /// Takes a copy of a packet.
    pub fn insert(&mut self, packet: &UpPacket<'_>) {
        let meta = &packet.meta;
        if self.newest.is_some_and(|(stream, _)| stream > meta.stream) {
            return;
        }
        let mut index = self.index(meta.sequence);
        if let Some(old) = &self.slots[index].meta
            && old.stream == meta.stream
            && old.sequence < meta.sequence
            && meta.arrival.since(old.arrival) < if self.slots.len() < SMALL { KEEP_SMALL } else { KEEP }
            && self.slots.len() < MOST
        {
            self.grow();
            index = self.index(meta.sequence);
        }
        let len = packet.payload.len();
        let lap = meta.arrival.since(self.payloads.lap_began);
        let keep = if self.payloads.bytes.len() < SMALL_BYTES { KEEP_SMALL } else { KEEP };
        if !self.payloads.fits(len) && lap < keep && self.payloads.bytes.len() < MOST_BYTES {
            self.widen();
        }
        let start = self.payloads.push(packet.payload, meta.arrival);
        self.slots[index] = Slot { meta: Some(*meta), start, len };
        if self.newest.is_none_or(|(stream, sequence)| stream < meta.stream || sequence < meta.sequence) {
            self.newest = Some((meta.stream, meta.sequence));
        }
        let is_new_group = |group: Group| {
            group.stream != meta.stream || (group.sequence < meta.sequence && group.timestamp != meta.timestamp)
        };
        if meta.keyframe_start && self.group.is_none_or(is_new_group) {
            self.group = Some(Group {
                stream: meta.stream,
                sequence: meta.sequence,
                timestamp: meta.timestamp,
                arrival: meta.arrival,
                capture: meta.capture.at,
            });
        }
    }

    /// The packet with a sequence number, if it is still there.
    pub fn get(&self, stream: u32, sequence: u64) -> Option<UpPacket<'_>> {
        let slot = &self.slots[self.index(sequence)];
        let meta = slot.meta.filter(|meta| meta.stream == stream && meta.sequence == sequence)?;
        Some(UpPacket { meta, payload: self.payloads.get(slot.start, slot.len)? })
    }

    /// The packets since the last keyframe, if they are few and young enough for somebody who comes late, and none of
    /// them is missing; with when the keyframe was sampled.
    pub fn group(&self, now: Time) -> Option<(Time, impl Iterator<Item = UpPacket<'_>> + Clone)> {
        let (group, (stream, newest)) = (self.group?, self.newest?);
        if group.stream != stream || newest - group.sequence >= GROUP_PACKETS || now.since(group.arrival) > GROUP_AGE {
            return None;
        }
        let all = group.sequence..=newest;
        let complete = all.clone().all(|sequence| self.get(stream, sequence).is_some());
        complete.then(|| (group.capture, all.filter_map(move |sequence| self.get(stream, sequence))))
    }

    fn index(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.slots.len() - 1)
    }

    /// Twice as many slots.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![Slot::default(); old.len() * 2];
        for slot in old {
            if let Some(meta) = slot.meta {
                let index = self.index(meta.sequence);
                self.slots[index] = slot;
            }
        }
    }

    /// Twice as many bytes. What lay in one piece does so again: at its old place, or as far behind the middle.
    fn widen(&mut self) {
        let bytes = vec![0; self.payloads.bytes.len() * 2].into_boxed_slice();
        let new = Payloads { bytes, end: self.payloads.end, lap_began: self.payloads.lap_began };
        let old = std::mem::replace(&mut self.payloads, new);
        for slot in &mut self.slots {
            let place = self.payloads.place(slot.start);
            match (old.get(slot.start, slot.len), self.payloads.bytes.get_mut(place..place + slot.len)) {
                (Some(payload), Some(space)) => space.copy_from_slice(payload),
                // Its bytes were taken before; they must not seem to be there again.
                _ => slot.meta = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Descriptor};
    use crate::sfu::UpTrackId;
    use crate::sfu::rewriter::Capture;

    fn meta(stream: u32, sequence: u64, ms: u64, keyframe_start: bool) -> PacketMeta {
        PacketMeta {
            up: UpTrackId(1),
            layer: 0,
            stream,
            sequence,
            timestamp: sequence as u32 * 10,
            marker: true,
            codec: Codec::Vp8,
            keyframe_start,
            audio_level: None,
            video_orientation: None,
            playout_delay: None,
            descriptor: Descriptor::None,
            arrival: Time::from_millis(ms),
            capture: Capture::estimated(Time::from_millis(ms)),
            payload_start: 0,
            payload_len: 3,
        }
    }

    fn insert(ring: &mut PacketRing, stream: u32, sequence: u64, ms: u64, key: bool) {
        ring.insert(&UpPacket { meta: meta(stream, sequence, ms, key), payload: &[sequence as u8, 2, 3] });
    }

    #[test]
    fn a_packet_is_found_by_number_and_generation_until_it_is_overwritten() {
        let mut ring = PacketRing::default();
        for sequence in 100..110 {
            insert(&mut ring, 1, sequence, 10_000 * sequence, false);
        }
        assert_eq!(ring.get(1, 105).unwrap().payload, [105, 2, 3]);
        assert!(ring.get(2, 105).is_none());
        insert(&mut ring, 1, 105 + FEWEST as u64, 9_000_000, false);
        assert!(ring.get(1, 105).is_none());
        assert_eq!(ring.slots.len(), FEWEST, "ten seconds between packets need no more");
    }

    #[test]
    fn the_ring_grows_to_a_second_of_packets_and_not_beyond_its_bound() {
        let mut ring = PacketRing::default();
        for sequence in 0..1_000 {
            insert(&mut ring, 1, sequence, 5 * sequence, false);
        }
        assert_eq!(ring.slots.len(), 256, "200 packets a second");
        assert!((850..1_000).all(|sequence| ring.get(1, sequence).is_some()));
        for sequence in 1_000..20_000 {
            insert(&mut ring, 1, sequence, 5_000, false);
        }
        assert_eq!(ring.slots.len(), MOST);
    }

    #[test]
    fn bytes_grow_until_they_last_and_payloads_of_every_size_stay_whole() {
        let mut ring = PacketRing::default();
        let payload = |sequence: u64| vec![sequence as u8; 40 + (sequence as usize * 389) % 1_200];
        let insert = |ring: &mut PacketRing, sequence: u64, ms: u64| {
            ring.insert(&UpPacket { meta: meta(1, sequence, ms, false), payload: &payload(sequence) });
        };
        // 200 packets a second of 640 bytes in the mean: 256 KiB are two seconds, and no longer little.
        for sequence in 0..3_000 {
            insert(&mut ring, sequence, 5 * sequence);
            let kept = (0..=sequence).rev().take_while(|&old| ring.get(1, old).is_some()).count() as u64;
            assert!(kept >= 180.min(sequence + 1), "{kept} kept at {sequence}");
            for old in sequence + 1 - kept..=sequence {
                assert_eq!(ring.get(1, old).unwrap().payload, payload(old));
            }
        }
        assert_eq!(ring.payloads.bytes.len(), SMALL_BYTES);
        for sequence in 3_000..20_000 {
            insert(&mut ring, sequence, 15_000);
        }
        assert_eq!(ring.payloads.bytes.len(), MOST_BYTES);
    }

    #[test]
    fn a_short_group_of_pictures_is_given_whole_and_a_long_old_or_broken_one_not() {
        let mut ring = PacketRing::default();
        for sequence in 1..20 {
            insert(&mut ring, 1, sequence, 1_000 + 10 * sequence, sequence == 10);
        }
        let now = Time::from_millis(1_300);
        let (capture, packets) = ring.group(now).unwrap();
        assert_eq!(capture, Time::from_millis(1_100));
        assert_eq!(packets.map(|packet| packet.meta.sequence).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
        assert!(ring.group(Time::from_millis(2_200)).is_none(), "too old");
        insert(&mut ring, 1, 21, 1_300, false);
        assert!(ring.group(now).is_none(), "one is missing");
        insert(&mut ring, 1, 20, 1_300, false);
        assert!(ring.group(now).is_some(), "it came");
        insert(&mut ring, 2, 500, 1_310, false);
        assert!(ring.group(now).is_none(), "another generation");
    }
}
