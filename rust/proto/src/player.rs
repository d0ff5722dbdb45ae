//! Plays clips, packetised beforehand, onto down tracks in time with the media clock.

use crate::codec::{Codec, PayloadTable};
use crate::sfu::down_track::CLIP_SOURCE;
use crate::sfu::packet::PacketMeta;
use crate::sfu::rewriter::Capture;
use crate::sfu::{ClipId, DownTrackId};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// One packet of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipPacket {
    /// Timestamp from the beginning of the clip, in units of the codec's RTP clock; never falls along the list.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// RTP payload.
    pub payload: Vec<u8>,
}

/// One format of one medium of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipTrack {
    /// Its codec.
    pub codec: Codec,
    /// Its packets in order.
    pub packets: Vec<ClipPacket>,
}

/// Sound and picture of an announcement, each in every format that receivers may need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Its id.
    pub id: ClipId,
    /// Its tracks.
    pub tracks: Vec<ClipTrack>,
    /// When the next round begins.
    pub duration: Duration,
}

/// A packet that is due on one down track.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Where to.
    pub down: DownTrackId,
    /// Its record.
    pub meta: PacketMeta,
    track: usize,
    packet: usize,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    down: DownTrackId,
    track: usize,
    next: usize,
    round: u32,
}

/// One clip being played to one or more down tracks, all of which started together.
#[derive(Debug)]
pub struct Play {
    clip: Arc<Clip>,
    serial: u32,
    looping: bool,
    start: Time,
    lanes: Vec<Lane>,
}

impl Play {
    /// Begins at `start`. Each down track is given with the index of the clip's track that it takes. The number
    /// `serial` tells the plays of a shard apart.
    pub fn new(
        clip: Arc<Clip>,
        serial: u32,
        looping: bool,
        start: Time,
        downs: impl IntoIterator<Item = (DownTrackId, usize)>,
    ) -> Play {
        let lanes = downs
            .into_iter()
            .filter(|&(_, track)| clip.tracks.get(track).is_some_and(|track| !track.packets.is_empty()))
            .map(|(down, track)| Lane { down, track, next: 0, round: 0 })
            .collect();
        Play { clip, serial, looping, start, lanes }
    }

    /// The clip.
    pub fn clip(&self) -> &Arc<Clip> {
        &self.clip
    }

    /// The number of this play.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The down tracks that still receive it.
    pub fn downs(&self) -> impl Iterator<Item = DownTrackId> + '_ {
        self.lanes.iter().map(|lane| lane.down)
    }

    /// Takes a down track out.
    pub fn remove(&mut self, down: DownTrackId) {
        self.lanes.retain(|lane| lane.down != down);
    }

    /// Whether nobody receives it any more.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// When the play is over; `None` when it loops.
    fn end(&self) -> Option<Time> {
        (!self.looping).then(|| self.start + self.clip.duration)
    }

    fn due_at(&self, lane: &Lane) -> Option<Time> {
        let track = &self.clip.tracks[lane.track];
        let packet = track.packets.get(lane.next)?;
        let nanos = u64::from(packet.timestamp) * 1_000_000_000 / u64::from(track.codec.clock_rate().max(1));
        Some(self.start + self.clip.duration * lane.round + Duration::from_nanos(nanos))
    }

    /// When [`Play::next_due`] has a packet or [`Play::is_over`] turns true.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.lanes.is_empty() {
            return None;
        }
        let packets = self.lanes.iter().filter_map(|lane| self.due_at(lane)).min();
        packets.into_iter().chain(self.end()).min()
    }

    /// Whether the clip's time has passed; what was still due has been given out before.
    pub fn is_over(&self, now: Time) -> bool {
        self.end().is_some_and(|end| end <= now) && self.lanes.iter().all(|lane| self.due_at(lane).is_none())
    }

    /// The next packet that is due; call until `None`.
    pub fn next_due(&mut self, now: Time) -> Option<Due> {
        let (index, at) = (0..self.lanes.len())
            .filter_map(|index| Some((index, self.due_at(&self.lanes[index])?)))
            .min_by_key(|&(_, at)| at)?;
        if at > now {
            return None;
        }
        let lane = self.lanes[index];
        let track = &self.clip.tracks[lane.track];
        let packet = &track.packets[lane.next];
        let round_units = (self.clip.duration.as_nanos() * u128::from(track.codec.clock_rate()) / 1_000_000_000) as u32;
        let codec = track.codec;
        let descriptor = codec.describe(&packet.payload, &PayloadTable::default());
        let meta = PacketMeta {
            up: CLIP_SOURCE,
            layer: 0,
            stream: self.serial,
            sequence: 1 + lane.next as u64 + u64::from(lane.round) * track.packets.len() as u64,
            timestamp: packet.timestamp.wrapping_add(round_units.wrapping_mul(lane.round)),
            marker: packet.marker,
            codec,
            keyframe_start: codec.starts_keyframe(&packet.payload, &descriptor),
            audio_level: None,
            video_orientation: None,
            playout_delay: None,
            descriptor,
            arrival: now,
            capture: Capture::exact(at),
            payload_start: 0,
            payload_len: u16::try_from(packet.payload.len()).unwrap_or(0),
        };
        let due = Due { down: lane.down, meta, track: lane.track, packet: lane.next };
        let lane = &mut self.lanes[index];
        lane.next += 1;
        if self.looping && lane.next == track.packets.len() && !self.clip.duration.is_zero() {
            (lane.next, lane.round) = (0, lane.round.wrapping_add(1));
        }
        Some(due)
    }

    /// The payload of a packet of this play.
    pub fn payload(&self, due: &Due) -> &[u8] {
        self.clip.tracks.get(due.track).and_then(|track| track.packets.get(due.packet)).map_or(&[], |p| &p.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Arc<Clip> {
        let track = |codec: Codec, step: u32, count: u32| ClipTrack {
            codec,
            packets: (0..count)
                .map(|index| ClipPacket { timestamp: step * index, marker: false, payload: vec![index as u8; 4] })
                .collect(),
        };
        Arc::new(Clip {
            id: ClipId(1),
            tracks: vec![track(Codec::Pcmu, 160, 5), track(Codec::Vp8, 3000, 3)],
            duration: Duration::from_millis(100),
        })
    }

    fn run(play: &mut Play, until: Time) -> Vec<(u64, DownTrackId, u64, u32)> {
        let mut all = Vec::new();
        while let Some(at) = play.poll_timeout() {
            if at > until || play.is_over(at) {
                break;
            }
            while let Some(due) = play.next_due(at) {
                all.push((at.as_millis(), due.down, due.meta.sequence, due.meta.timestamp));
            }
        }
        all
    }

    #[test]
    fn sound_and_picture_start_together_and_keep_their_clocks() {
        let downs = [(DownTrackId(1), 0), (DownTrackId(2), 1)];
        let mut play = Play::new(clip(), 7, false, Time::from_millis(1000), downs);
        let all = run(&mut play, Time::from_millis(1099));
        let times = |id| all.iter().filter(|row| row.1 == DownTrackId(id)).map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(times(1), [1000, 1020, 1040, 1060, 1080]);
        assert_eq!(times(2), [1000, 1033, 1066]);
    }

    #[test]
    fn a_clip_is_over_at_its_duration() {
        let mut play = Play::new(clip(), 7, false, Time::ZERO, [(DownTrackId(1), 0)]);
        run(&mut play, Time::from_millis(99));
        assert!(!play.is_over(Time::from_millis(99)));
        assert_eq!(play.poll_timeout(), Some(Time::from_millis(100)));
        assert!(play.is_over(Time::from_millis(100)));
    }

    #[test]
    fn a_loop_goes_on_in_sequence_and_timestamp() {
        let mut play = Play::new(clip(), 7, true, Time::ZERO, [(DownTrackId(1), 0)]);
        let all = run(&mut play, Time::from_millis(239));
        let last = all.last().unwrap();
        assert_eq!(all.len(), 12);
        assert_eq!((last.0, last.2, last.3), (220, 12, 11 * 160));
        assert!(!play.is_over(Time::from_millis(10_000)));
    }

    #[test]
    fn a_removed_track_gets_nothing_more() {
        let mut play = Play::new(clip(), 7, true, Time::ZERO, [(DownTrackId(1), 0)]);
        play.remove(DownTrackId(1));
        assert!(play.is_empty());
        assert_eq!(play.poll_timeout(), None);
    }
}
