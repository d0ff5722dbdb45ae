//! The latest packets of one source layer: for receivers that lost some, and for those that come late.

use super::packet::{PacketMeta, UpPacket};
use crate::time::Time;
use std::time::Duration;

/// Slots at first, and at most; a power of two, so that a sequence number finds its slot by a mask.
const FEWEST: usize = 64;
const MOST: usize = 1024;
/// The ring grows while it holds less than this.
const KEEP: Duration = Duration::from_secs(1);
/// A group of pictures is short enough to be sent at once to somebody who comes late: packets, and age.
const GROUP_PACKETS: u64 = 96;
const GROUP_AGE: Duration = Duration::from_millis(1000);

#[derive(Debug, Default)]
struct Slot {
    meta: Option<PacketMeta>,
    payload: Vec<u8>,
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
    newest: Option<(u32, u64)>,
    group: Option<Group>,
}

impl Default for PacketRing {
    fn default() -> PacketRing {
        PacketRing { slots: std::iter::repeat_with(Slot::default).take(FEWEST).collect(), newest: None, group: None }
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
            && meta.arrival.since(old.arrival) < KEEP
            && self.slots.len() < MOST
        {
            self.grow();
            index = self.index(meta.sequence);
        }
        let slot = &mut self.slots[index];
        slot.meta = Some(*meta);
        slot.payload.clear();
        slot.payload.extend_from_slice(packet.payload);
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
        Some(UpPacket { meta, payload: &slot.payload })
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

    fn grow(&mut self) {
        let len = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, std::iter::repeat_with(Slot::default).take(len).collect());
        for slot in old {
            if let Some(meta) = slot.meta {
                let index = self.index(meta.sequence);
                self.slots[index] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
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
            vp8: None,
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
