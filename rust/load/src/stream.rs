//! What is known of one received stream: sequence numbers, what is missing and asked for again, its sender's reports.

use std::time::Duration;

use mediaserver_proto::rtcp::ntp::to_compact;
use mediaserver_proto::rtcp::{ReportBlock, SenderInfo};
use mediaserver_proto::rtp::{SequenceUnwrapper, Ssrc};
use mediaserver_proto::sfu::nack_generator::{Due, MOST_IN_MESSAGE, NackGenerator};
use mediaserver_proto::time::Time;

/// Until a request for a missing packet is repeated, with a quarter more.
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// One SSRC.
#[derive(Debug)]
pub struct Stream {
    /// Its SSRC.
    pub ssrc: u32,
    /// Packets that came ahead of all others.
    pub packets: u64,
    /// Those that came behind a later one: reordered, or sent again under this SSRC.
    pub late: u64,
    /// Those that came again under another SSRC.
    pub repaired: u64,
    first: u64,
    highest: u64,
    unwrapper: SequenceUnwrapper,
    nacks: NackGenerator,
    sender_report: Option<(u32, Time)>,
    /// Expected and received at the last report.
    reported: (u64, u64),
}

impl Stream {
    /// It begins with this packet.
    pub fn new(ssrc: u32, sequence: u16, now: Time) -> Stream {
        let mut unwrapper = SequenceUnwrapper::default();
        let first = unwrapper.unwrap(sequence);
        let mut nacks = NackGenerator::default();
        nacks.received(first, now);
        Stream {
            ssrc,
            packets: 1,
            late: 0,
            repaired: 0,
            first,
            highest: first,
            unwrapper,
            nacks,
            sender_report: None,
            reported: (0, 0),
        }
    }

    /// Takes a packet.
    pub fn note(&mut self, sequence: u16, now: Time) {
        let sequence = self.unwrapper.unwrap(sequence);
        self.nacks.received(sequence, now);
        if sequence > self.highest {
            self.highest = sequence;
            self.packets += 1;
        } else {
            self.late += 1;
        }
    }

    /// Whether a packet with this number is still to come.
    pub fn misses(&self, sequence: u16) -> bool {
        self.nacks.misses(self.unwrapper.peek(sequence))
    }

    /// Takes a packet that was sent again under another SSRC, by its own number.
    pub fn repair(&mut self, sequence: u16, now: Time) {
        self.repaired += 1;
        self.nacks.received(self.unwrapper.peek(sequence), now);
    }

    /// When [`Stream::ask`] has something to ask for.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.nacks.poll_timeout()
    }

    /// Writes the numbers that are to be asked for now.
    pub fn ask(&mut self, now: Time, out: &mut [u16; MOST_IN_MESSAGE]) -> Due {
        self.nacks.poll(now, ROUND_TRIP, out)
    }

    /// Its sender reported.
    pub fn heard_report(&mut self, info: &SenderInfo, now: Time) {
        self.sender_report = Some((info.ntp.compact(), now));
    }

    /// What is reported about it (RFC 3550 §6.4.1).
    pub fn report(&mut self, now: Time) -> ReportBlock {
        let (expected, received) = (self.expected(), self.packets + self.late);
        let (new, came) = (expected - self.reported.0, received - self.reported.1);
        self.reported = (expected, received);
        let lost = new.saturating_sub(came);
        let (last_sr, delay_since_last_sr) =
            self.sender_report.map_or((0, 0), |(ntp, at)| (ntp, to_compact(now.since(at))));
        ReportBlock {
            ssrc: Ssrc(self.ssrc),
            fraction_lost: (lost * 256).checked_div(new).unwrap_or(0).min(255) as u8,
            cumulative_lost: (expected as i64 - received as i64) as i32,
            highest_sequence: self.highest as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr,
        }
    }

    /// How many should have come.
    pub fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// How many did not, with what came late or again taken as received; duplicates make it less than none.
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - (self.packets + self.late + self.repaired) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn asked(stream: &mut Stream, now: Time) -> Vec<u16> {
        let mut out = [0; MOST_IN_MESSAGE];
        let due = stream.ask(now, &mut out);
        out[..due.count].to_vec()
    }

    #[test]
    fn holes_are_asked_for_and_filled_over_the_wrap() {
        let mut stream = Stream::new(1, 65_534, ms(0));
        stream.note(65_535, ms(0));
        stream.note(2, ms(1));
        assert_eq!((stream.expected(), stream.lost()), (5, 2));
        let due = stream.poll_timeout().unwrap();
        assert_eq!(asked(&mut stream, due), [0, 1]);
        stream.note(1, ms(20));
        stream.repair(0, ms(25));
        assert_eq!((stream.lost(), stream.late, stream.repaired), (0, 1, 1));
        assert_eq!(stream.poll_timeout().map(|at| asked(&mut stream, at)), Some(vec![]));
    }

    #[test]
    fn a_report_tells_what_was_lost_since_the_last_one() {
        let mut stream = Stream::new(7, 10, ms(0));
        stream.note(11, ms(0));
        assert_eq!(stream.report(ms(10)).fraction_lost, 0);
        stream.note(14, ms(20));
        stream.note(15, ms(20));
        let block = stream.report(ms(30));
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest_sequence & 0xffff), (128, 2, 15));
        assert_eq!(block.last_sr, 0);
    }
}
