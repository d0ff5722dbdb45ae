//! Packets that wait for their turn, by sequence number; late, repeated and missing ones are counted.

use mediaserver_proto::time::Time;

/// Most packets that wait: more than a second of 20 ms.
const SLOTS: usize = 64;
/// No payload of sound is longer; what is, is refused.
pub const MOST_PAYLOAD: usize = 1500;
/// A timestamp that runs ahead of or behind the sequence of arrivals by more than this begins a new stream.
const MOST_JUMP_MS: i64 = 2_000;
/// A packet may be played when it is due within this.
const NEARLY_MS: i64 = 3;

/// What a payload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Sound in the format of the stream.
    #[default]
    Sound,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
    /// Nothing to be heard, but counted in the sequence: a telephone event, padding.
    Nothing,
}

/// A packet as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Sequence number without wraps.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What the payload is.
    pub content: Content,
    /// When its first sample was taken, by our clock.
    pub capture: Time,
    /// The payload.
    pub payload: &'a [u8],
}

/// A packet that waits.
#[derive(Debug, Default)]
pub struct Slot {
    taken: bool,
    sequence: u64,
    /// RTP timestamp without wraps.
    pub timestamp: i64,
    /// What the payload is.
    pub content: Content,
    /// When its first sample was taken, by our clock.
    pub capture: Time,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Why a packet was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its time has passed.
    Late,
    /// It was there already.
    Repeated,
    /// Its payload is too long.
    TooLong,
}

/// What comes at a point of the stream.
#[derive(Debug)]
pub enum Next<'a> {
    /// The packet that is due.
    Packet(&'a Slot),
    /// Packets are missing; the one behind them, and the clock units until it.
    Lost {
        /// The packet behind the gap.
        following: &'a Slot,
        /// Clock units.
        gap: i64,
    },
    /// The sender was silent on purpose; clock units until its next packet.
    Pause {
        /// Clock units.
        gap: i64,
    },
    /// No packet waits.
    Empty,
}

/// Counts of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferCounts {
    /// Packets that were kept.
    pub received: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that were there already.
    pub repeated: u64,
    /// Packets that did not come in time, or never.
    pub lost: u64,
    /// Packets that were thrown away because the stream began anew or was too far ahead.
    pub discarded: u64,
}

/// The buffer of one stream.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: Vec<Slot>,
    clock_rate: i64,
    /// The sequence number that is to be played next.
    expected: Option<u64>,
    /// The packet that came last: its timestamps on the wire and without wraps, and its arrival.
    last: Option<(u32, i64, Time)>,
    waiting: usize,
    counts: BufferCounts,
}

impl JitterBuffer {
    /// An empty one for a stream with an RTP clock of `clock_rate` Hz.
    pub fn new(clock_rate: u32) -> JitterBuffer {
        let slots = std::iter::repeat_with(Slot::default).take(SLOTS).collect();
        let counts = BufferCounts::default();
        JitterBuffer { slots, clock_rate: i64::from(clock_rate), expected: None, last: None, waiting: 0, counts }
    }

    /// What was counted.
    pub fn counts(&self) -> BufferCounts {
        self.counts
    }

    /// Keeps a packet until its turn. Returns its timestamp without wraps, and whether the stream begins anew with it;
    /// a packet that is late has a timestamp, too.
    pub fn insert(&mut self, arrival: &Arrival<'_>, now: Time) -> (i64, bool, Result<(), Refused>) {
        let begins = self.begins_anew(arrival, now);
        if begins {
            self.clear();
        }
        let timestamp = match self.last {
            Some((wire, long, _)) => long + i64::from(arrival.timestamp.wrapping_sub(wire) as i32),
            None => i64::from(arrival.timestamp),
        };
        self.last = Some((arrival.timestamp, timestamp, now));
        let result = self.keep(arrival, timestamp);
        match result {
            Ok(()) => self.counts.received += 1,
            Err(Refused::Late) => self.counts.late += 1,
            Err(Refused::Repeated) => self.counts.repeated += 1,
            Err(Refused::TooLong) => self.counts.discarded += 1,
        }
        (timestamp, begins, result)
    }

    /// Forgets all packets and what is expected; the counts stay.
    pub fn clear(&mut self) {
        self.counts.discarded += self.waiting as u64;
        self.slots.iter_mut().for_each(|slot| slot.taken = false);
        (self.waiting, self.expected, self.last) = (0, None, None);
    }

    /// What comes at `position`, in clock units. A packet is given out once.
    pub fn take(&mut self, position: i64) -> Next<'_> {
        let Some((sequence, index)) = self.first() else { return Next::Empty };
        let gap = self.slots[index].timestamp - position;
        let expected = self.expected.unwrap_or(sequence);
        if gap > self.clock_rate * NEARLY_MS / 1000 && self.slots[index].content != Content::Nothing {
            return if sequence == expected {
                Next::Pause { gap }
            } else {
                Next::Lost { following: &self.slots[index], gap }
            };
        }
        self.counts.lost += sequence - expected;
        self.expected = Some(sequence + 1);
        self.waiting -= 1;
        self.slots[index].taken = false;
        Next::Packet(&self.slots[index])
    }

    /// The timestamp of the packet that comes first.
    pub fn first_timestamp(&self) -> Option<i64> {
        self.first().map(|(_, index)| self.slots[index].timestamp)
    }

    /// Whether the packet that is expected waits and begins at `position`.
    pub fn continues_at(&self, position: i64) -> bool {
        self.first().is_some_and(|(sequence, index)| {
            let near = self.clock_rate * NEARLY_MS / 1000;
            Some(sequence) == self.expected && (self.slots[index].timestamp - position).abs() <= near
        })
    }

    fn first(&self) -> Option<(u64, usize)> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.taken);
        slots.map(|(index, slot)| (slot.sequence, index)).min()
    }

    /// Whether timestamps have jumped against the time between arrivals, or the sequence out of reach.
    fn begins_anew(&self, arrival: &Arrival<'_>, now: Time) -> bool {
        let Some((wire, _, at)) = self.last else { return false };
        let moved_ms = i64::from(arrival.timestamp.wrapping_sub(wire) as i32) * 1000 / self.clock_rate;
        let passed_ms = now.since(at).as_millis() as i64;
        if moved_ms < -MOST_JUMP_MS || moved_ms > passed_ms + MOST_JUMP_MS {
            return true;
        }
        let first = self.first().map(|(sequence, _)| sequence).or(self.expected);
        first.is_some_and(|first| arrival.sequence >= first + SLOTS as u64 && self.waiting > 0)
            || self.expected.is_some_and(|expected| arrival.sequence + 1_000 < expected)
    }

    fn keep(&mut self, arrival: &Arrival<'_>, timestamp: i64) -> Result<(), Refused> {
        if arrival.payload.len() > MOST_PAYLOAD {
            return Err(Refused::TooLong);
        }
        if self.expected.is_some_and(|expected| arrival.sequence < expected) {
            return Err(Refused::Late);
        }
        let slot = &mut self.slots[(arrival.sequence % SLOTS as u64) as usize];
        if slot.taken {
            return Err(Refused::Repeated);
        }
        slot.taken = true;
        slot.sequence = arrival.sequence;
        slot.timestamp = timestamp;
        slot.content = arrival.content;
        slot.capture = arrival.capture;
        slot.payload.clear();
        slot.payload.extend_from_slice(arrival.payload);
        self.waiting += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64, timestamp: u32) -> Arrival<'static> {
        Arrival { sequence, timestamp, content: Content::Sound, capture: Time::ZERO, payload: &[1, 2, 3] }
    }

    fn insert(buffer: &mut JitterBuffer, sequence: u64, timestamp: u32) -> Result<(), Refused> {
        buffer.insert(&packet(sequence, timestamp), Time::from_millis(20 * sequence)).2
    }

    #[test]
    fn packets_come_out_in_order_whatever_their_arrival() {
        let mut buffer = JitterBuffer::new(8_000);
        for sequence in [10, 12, 11] {
            insert(&mut buffer, sequence, 160 * sequence as u32).unwrap();
        }
        for sequence in 10..13i64 {
            assert!(matches!(buffer.take(160 * sequence), Next::Packet(slot) if slot.timestamp == 160 * sequence));
        }
        assert!(matches!(buffer.take(160 * 13), Next::Empty));
        assert_eq!(buffer.counts(), BufferCounts { received: 3, ..BufferCounts::default() });
    }

    #[test]
    fn a_gap_in_the_sequence_is_a_loss_and_a_gap_in_time_alone_a_pause() {
        let mut buffer = JitterBuffer::new(8_000);
        for (sequence, timestamp) in [(1, 0), (2, 800), (4, 1_120)] {
            insert(&mut buffer, sequence, timestamp).unwrap();
        }
        assert!(matches!(buffer.take(0), Next::Packet(_)));
        assert!(matches!(buffer.take(160), Next::Pause { gap: 640 }));
        assert!(matches!(buffer.take(800), Next::Packet(_)));
        assert!(matches!(buffer.take(960), Next::Lost { gap: 160, following } if following.timestamp == 1_120));
        assert!(matches!(buffer.take(1_120), Next::Packet(_)));
        assert_eq!(buffer.counts().lost, 1);
        assert_eq!(insert(&mut buffer, 3, 960), Err(Refused::Late));
    }

    #[test]
    fn repeated_and_overlong_packets_are_refused_and_counted() {
        let mut buffer = JitterBuffer::new(8_000);
        insert(&mut buffer, 1, 0).unwrap();
        assert_eq!(insert(&mut buffer, 1, 0), Err(Refused::Repeated));
        let long = Arrival { payload: &[0; MOST_PAYLOAD + 1], ..packet(2, 160) };
        assert_eq!(buffer.insert(&long, Time::from_millis(20)).2, Err(Refused::TooLong));
        assert_eq!((buffer.counts().repeated, buffer.counts().discarded), (1, 1));
    }

    #[test]
    fn timestamps_wrap_without_a_break() {
        let mut buffer = JitterBuffer::new(8_000);
        insert(&mut buffer, 1, u32::MAX - 59).unwrap();
        insert(&mut buffer, 2, 100).unwrap();
        let first = i64::from(u32::MAX) - 59;
        assert!(matches!(buffer.take(first), Next::Packet(_)));
        assert!(matches!(buffer.take(first + 160), Next::Packet(_)));
    }

    #[test]
    fn a_jump_of_the_timestamp_begins_anew() {
        let mut buffer = JitterBuffer::new(8_000);
        insert(&mut buffer, 1, 0).unwrap();
        let (_, begins, _) = buffer.insert(&packet(2, 8_000 * 60), Time::from_millis(40));
        assert!(begins);
        assert_eq!(buffer.first_timestamp(), Some(8_000 * 60));
        assert_eq!(buffer.counts().discarded, 1);
    }

    #[test]
    fn a_sender_that_runs_far_ahead_cannot_fill_more_than_the_buffer() {
        let mut buffer = JitterBuffer::new(8_000);
        for sequence in 0..1_000u64 {
            // All at one time: the timestamps say one millisecond each.
            buffer.insert(&packet(sequence, 8 * sequence as u32), Time::ZERO).2.unwrap();
        }
        let counts = buffer.counts();
        assert_eq!(counts.received, 1_000);
        assert!(counts.discarded >= 1_000 - SLOTS as u64);
    }
}
