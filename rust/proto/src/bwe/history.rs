//! What was sent and not yet reported: transport-wide sequence number -> departure time, size, probe cluster.

use super::probe::ClusterId;
use crate::time::Time;

/// Packets that are remembered; at 1000 packets per second two seconds of them.
pub const CAPACITY: usize = 2048;

/// What is known of a packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was sent under this number.
    Empty,
    /// Sent, not reported.
    InFlight,
    /// Reported as not received.
    Lost,
    /// Reported as received.
    Received,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    departure: Time,
    size: u16,
    cluster: Option<ClusterId>,
    state: State,
}

const EMPTY: Entry = Entry { departure: Time::ZERO, size: 0, cluster: None, state: State::Empty };

/// A packet that was sent, found again by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// Transport-wide sequence number, unwrapped.
    pub sequence: u64,
    /// When it left.
    pub departure: Time,
    /// Bytes on the wire above IP and UDP.
    pub size: u16,
    /// The probe it belonged to.
    pub cluster: Option<ClusterId>,
}

/// What a report about a packet tells that was not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It arrived.
    Received,
    /// It arrived after it had been reported as lost.
    ReceivedLate,
    /// It did not arrive (yet).
    Lost,
    /// Nothing: it was reported before, or is still missing.
    Nothing,
}

/// Why a report about a number is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No packet has left under this number.
    NeverSent,
    /// It has left our memory.
    Forgotten,
}

/// A bounded ring of sent packets.
#[derive(Debug)]
pub struct History {
    entries: Box<[Entry]>,
    /// One past the highest number sent, unwrapped; zero before the first.
    next: u64,
    in_flight_bytes: u64,
}

impl Default for History {
    fn default() -> Self {
        History { entries: vec![EMPTY; CAPACITY].into_boxed_slice(), next: 0, in_flight_bytes: 0 }
    }
}

impl History {
    /// Remembers a packet; numbers go upwards, those left out count as never sent.
    pub fn sent(&mut self, sequence: u16, size: usize, cluster: Option<ClusterId>, now: Time) {
        let sequence = match self.next {
            // One cycle above zero, so that there is room below the first number.
            0 => 0x1_0000 + u64::from(sequence),
            next => next + u64::from(sequence.wrapping_sub(next as u16)),
        };
        let skipped = if self.next == 0 { 0 } else { (sequence - self.next).min(CAPACITY as u64) };
        for gap in sequence - skipped..sequence {
            self.put(gap, EMPTY);
        }
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        self.put(sequence, Entry { departure: now, size, cluster, state: State::InFlight });
        self.in_flight_bytes += u64::from(size);
        self.next = sequence + 1;
    }

    /// Bytes that have left and were neither reported nor forgotten.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Takes a report about `sequence`.
    pub fn report(&mut self, sequence: u16, received: bool) -> Result<(News, SentPacket), Unknown> {
        let ahead = sequence.wrapping_sub(self.next as u16);
        if self.next == 0 || ahead < 0x8000 {
            return Err(Unknown::NeverSent);
        }
        let back = u64::from(0u16.wrapping_sub(ahead));
        if back > CAPACITY as u64 || back > self.next {
            return Err(Unknown::Forgotten);
        }
        let sequence = self.next - back;
        let entry = &mut self.entries[sequence as usize % CAPACITY];
        let news = match (entry.state, received) {
            (State::Empty, _) => return Err(Unknown::NeverSent),
            (State::InFlight, true) => News::Received,
            (State::InFlight, false) => News::Lost,
            (State::Lost, true) => News::ReceivedLate,
            (State::Lost, false) | (State::Received, _) => News::Nothing,
        };
        if entry.state == State::InFlight {
            self.in_flight_bytes -= u64::from(entry.size);
        }
        match news {
            News::Received | News::ReceivedLate => entry.state = State::Received,
            News::Lost => entry.state = State::Lost,
            News::Nothing => {}
        }
        let packet = SentPacket { sequence, departure: entry.departure, size: entry.size, cluster: entry.cluster };
        Ok((news, packet))
    }

    fn put(&mut self, sequence: u64, entry: Entry) {
        let slot = &mut self.entries[sequence as usize % CAPACITY];
        if slot.state == State::InFlight {
            self.in_flight_bytes -= u64::from(slot.size);
        }
        *slot = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_over_the_wrap_of_its_number() {
        let mut history = History::default();
        for (index, sequence) in [65534u16, 65535, 0, 1].into_iter().enumerate() {
            history.sent(sequence, 100 + index, None, Time::from_millis(index as u64));
        }
        let (news, packet) = history.report(65535, true).unwrap();
        assert_eq!((news, packet.size, packet.departure), (News::Received, 101, Time::from_millis(1)));
        let (_, later) = history.report(1, true).unwrap();
        assert_eq!(later.sequence, packet.sequence + 2);
    }

    #[test]
    fn a_report_is_news_once_and_a_late_arrival_takes_the_loss_back() {
        let mut history = History::default();
        history.sent(7, 100, None, Time::ZERO);
        assert_eq!(history.report(7, false).unwrap().0, News::Lost);
        assert_eq!(history.report(7, false).unwrap().0, News::Nothing);
        assert_eq!(history.report(7, true).unwrap().0, News::ReceivedLate);
        assert_eq!(history.report(7, true).unwrap().0, News::Nothing);
        assert_eq!(history.report(7, false).unwrap().0, News::Nothing);
        assert_eq!(history.in_flight_bytes(), 0);
    }

    #[test]
    fn numbers_never_sent_and_forgotten_ones_are_told_apart() {
        let mut history = History::default();
        assert_eq!(history.report(3, true).unwrap_err(), Unknown::NeverSent);
        history.sent(10, 100, None, Time::ZERO);
        history.sent(12, 100, None, Time::ZERO);
        assert_eq!(history.report(11, true).unwrap_err(), Unknown::NeverSent);
        assert_eq!(history.report(13, true).unwrap_err(), Unknown::NeverSent);
        for sequence in 13..13 + CAPACITY as u16 {
            history.sent(sequence, 100, None, Time::ZERO);
        }
        assert_eq!(history.report(12, true).unwrap_err(), Unknown::Forgotten);
        assert!(history.report(13, true).is_ok());
    }

    #[test]
    fn bytes_in_flight_leave_with_the_report_or_with_memory() {
        let mut history = History::default();
        for sequence in 0..CAPACITY as u16 + 5 {
            history.sent(sequence, 10, None, Time::ZERO);
        }
        assert_eq!(history.in_flight_bytes(), 10 * CAPACITY as u64);
        history.report(5, true).unwrap();
        assert_eq!(history.in_flight_bytes(), 10 * (CAPACITY as u64 - 1));
    }
}
