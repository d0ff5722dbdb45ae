//! What we know about one SSRC that we receive: sequence, loss, jitter, the sender's clock (RFC 3550 appendix A).

use super::drops::MediaDrop;
use super::rewriter::Capture;
use crate::rtcp::ntp::to_compact;
use crate::rtcp::{NtpTime, ReportBlock, SenderInfo};
use crate::rtp::sequence::Seen;
use crate::rtp::{SequenceUnwrapper, SequenceWindow, Ssrc};
use crate::time::Time;
use std::time::Duration;

/// RFC 3550 A.1: a larger step forward is taken for a restart of the sender.
const MAX_DROPOUT: u16 = 3000;
/// Late packets up to this many numbers back are accepted.
const MAX_MISORDER: u16 = 1000;
/// A capture time estimated from sender reports may differ this much from the arrival.
const MAX_CAPTURE_AGE: Duration = Duration::from_secs(10);

/// The difference between a peer's NTP clock and engine time, shared by all sources of a transport, so that sound and
/// picture of one peer stay together.
#[derive(Clone, Copy, Debug, Default)]
pub struct SenderClock {
    /// Smallest transit seen, leaking upwards: NTP nanoseconds less arrival nanoseconds.
    offset_ns: Option<i64>,
}

impl SenderClock {
    /// Takes the NTP time of a sender report that arrived now.
    pub fn update(&mut self, ntp: NtpTime, now: Time) {
        if ntp == NtpTime::default() {
            // RFC 3550 §6.4.1: a sender without a clock says zero.
            return;
        }
        let sample = (ntp.as_nanos() as i64).wrapping_sub(now.0 as i64);
        self.offset_ns = Some(match self.offset_ns {
            // The largest difference is the least delayed report.
            Some(offset) if sample < offset && offset - sample < 1_000_000_000 => offset - (offset - sample) / 16,
            _ => sample,
        });
    }

    fn local(&self, ntp_ns: i64) -> Option<Time> {
        let local = ntp_ns.wrapping_sub(self.offset_ns?);
        u64::try_from(local).ok().map(Time)
    }
}

/// A sender report as far as timestamps are concerned.
#[derive(Clone, Copy, Debug)]
struct Reference {
    ntp: NtpTime,
    timestamp: u32,
    arrival: Time,
}

/// Numbers of one source for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Packets received, duplicates not counted.
    pub packets: u64,
    /// Payload bytes received.
    pub octets: u64,
    /// Packets lost; negative is not reported.
    pub lost: u64,
    /// Packets among the lost that came by retransmission.
    pub recovered: u64,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

/// A packet's place, as [`ReceiveStream::receive`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number without wraps.
    pub sequence: u64,
    /// The sender began anew: nothing before belongs together with what follows.
    pub restarted: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ReceiveStream {
    ssrc: Ssrc,
    unwrapper: SequenceUnwrapper,
    window: SequenceWindow<16>,
    first: u64,
    jump: Option<u16>,
    received: u64,
    lost_before: u64,
    octets: u64,
    total: u64,
    recovered: u64,
    expected_prior: u64,
    received_prior: u64,
    reported_packets: u64,
    jitter_16: u32,
    transit: Option<u32>,
    last_timestamp: u32,
    reference: Option<Reference>,
    last_arrival: Time,
}

impl ReceiveStream {
    /// Nothing received yet.
    pub fn new(ssrc: Ssrc) -> ReceiveStream {
        ReceiveStream {
            ssrc,
            unwrapper: SequenceUnwrapper::default(),
            window: SequenceWindow::default(),
            first: 0,
            jump: None,
            received: 0,
            lost_before: 0,
            octets: 0,
            total: 0,
            recovered: 0,
            expected_prior: 0,
            received_prior: 0,
            reported_packets: 0,
            jitter_16: 0,
            transit: None,
            last_timestamp: 0,
            reference: None,
            last_arrival: Time::ZERO,
        }
    }

    /// The source.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// When the last packet came.
    pub fn last_arrival(&self) -> Time {
        self.last_arrival
    }

    /// Whether any packet came.
    pub fn is_started(&self) -> bool {
        self.total > 0
    }

    /// Takes a packet: finds its place, counts it, and measures jitter in units of `clock_rate`.
    pub fn receive(
        &mut self,
        sequence: u16,
        timestamp: u32,
        clock_rate: u32,
        octets: usize,
        now: Time,
    ) -> Result<Place, MediaDrop> {
        let mut restarted = false;
        let place = match self.unwrapper.highest() {
            None => {
                let place = self.unwrapper.unwrap(sequence);
                self.first = place;
                place
            }
            Some(highest) => {
                let forward = sequence.wrapping_sub(highest as u16);
                if !(MAX_DROPOUT..=u16::MAX - MAX_MISORDER).contains(&forward) {
                    self.unwrapper.unwrap(sequence)
                } else if self.jump == Some(sequence) {
                    restarted = true;
                    self.restart(sequence)
                } else {
                    self.jump = Some(sequence.wrapping_add(1));
                    return Err(MediaDrop::SequenceJump);
                }
            }
        };
        self.jump = None;
        match self.window.insert(place) {
            Seen::New => {}
            Seen::Duplicate => return Err(MediaDrop::Duplicate),
            Seen::TooOld => return Err(MediaDrop::TooOld),
        }
        self.received += 1;
        self.total += 1;
        self.octets += octets as u64;
        self.measure_jitter(timestamp, clock_rate, now);
        self.last_arrival = now;
        Ok(Place { sequence: place, restarted })
    }

    /// Takes a packet that came by retransmission; reports go on to call it lost (RFC 4588 §6.3 leaves them to the
    /// original stream).
    pub fn recover(&mut self, sequence: u16) -> Result<Place, MediaDrop> {
        let highest = self.unwrapper.highest().ok_or(MediaDrop::RtxUnbound)?;
        let forward = sequence.wrapping_sub(highest as u16);
        if (1..=u16::MAX - MAX_MISORDER).contains(&forward) {
            // A retransmission runs ahead of the stream only by a mistake or a probe.
            return Err(MediaDrop::TooOld);
        }
        let place = self.unwrapper.peek(sequence);
        match self.window.insert(place) {
            Seen::New => {}
            Seen::Duplicate => return Err(MediaDrop::Duplicate),
            Seen::TooOld => return Err(MediaDrop::TooOld),
        }
        self.recovered += 1;
        Ok(Place { sequence: place, restarted: false })
    }

    fn restart(&mut self, sequence: u16) -> u64 {
        self.lost_before += self.expected().saturating_sub(self.received);
        let place = self.unwrapper.restart(sequence);
        (self.first, self.received) = (place, 0);
        (self.expected_prior, self.received_prior) = (0, 0);
        (self.transit, self.reference) = (None, None);
        place
    }

    fn measure_jitter(&mut self, timestamp: u32, clock_rate: u32, now: Time) {
        // Packets of one frame share a timestamp; RFC 3550 A.8 would call their pacing jitter.
        if self.transit.is_some() && timestamp == self.last_timestamp {
            return;
        }
        self.last_timestamp = timestamp;
        let arrival = (u128::from(now.0) * u128::from(clock_rate) / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(previous) = self.transit {
            let difference = (transit.wrapping_sub(previous) as i32).unsigned_abs();
            // A jump of the timestamp is no jitter.
            if difference < clock_rate.saturating_mul(5) {
                self.jitter_16 = self.jitter_16.wrapping_add(difference).wrapping_sub((self.jitter_16 + 8) >> 4);
            }
        }
        self.transit = Some(transit);
    }

    fn expected(&self) -> u64 {
        self.unwrapper.highest().map_or(0, |highest| highest + 1 - self.first)
    }

    /// Takes the sender's report about itself.
    pub fn handle_sender_info(&mut self, info: &SenderInfo, now: Time) {
        if info.ntp == NtpTime::default() {
            return;
        }
        self.reference = Some(Reference { ntp: info.ntp, timestamp: info.rtp_timestamp, arrival: now });
    }

    /// When the sample with `timestamp` was taken, in engine time; `arrival` while no report tells or it tells nonsense.
    pub fn capture(&self, timestamp: u32, clock_rate: u32, clock: &SenderClock, arrival: Time) -> Capture {
        let Some(reference) = &self.reference else { return Capture::estimated(arrival) };
        let units = i64::from(timestamp.wrapping_sub(reference.timestamp) as i32);
        let ntp_ns = (reference.ntp.as_nanos() as i64) + units * 1_000_000_000 / i64::from(clock_rate.max(1));
        match clock.local(ntp_ns) {
            Some(local) if local <= arrival + Duration::from_secs(1) && arrival.since(local) < MAX_CAPTURE_AGE => {
                Capture::exact(local.min(arrival))
            }
            _ => Capture::estimated(arrival),
        }
    }

    /// Whether packets came since the last [`ReceiveStream::report`].
    pub fn has_news(&self) -> bool {
        self.total != self.reported_packets
    }

    /// The block about this source for our next report; each call ends an interval of `fraction_lost`.
    pub fn report(&mut self, now: Time) -> ReportBlock {
        let expected = self.expected();
        let interval = expected - self.expected_prior;
        let received = self.received - self.received_prior;
        let lost = interval.saturating_sub(received);
        (self.expected_prior, self.received_prior) = (expected, self.received);
        self.reported_packets = self.total;
        let cumulative = self.lost_before as i64 + expected as i64 - self.received as i64;
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost << 8).checked_div(interval).unwrap_or(0).min(255) as u8,
            cumulative_lost: cumulative.clamp(-0x80_0000, 0x7f_ffff) as i32,
            // The unwrapper counts from one cycle above zero.
            highest_sequence: self.unwrapper.highest().unwrap_or(0).wrapping_sub(0x1_0000) as u32,
            jitter: self.jitter_16 >> 4,
            last_sr: self.reference.map_or(0, |reference| reference.ntp.compact()),
            delay_since_last_sr: self.reference.map_or(0, |reference| to_compact(now.since(reference.arrival))),
        }
    }

    /// Numbers for statistics.
    pub fn stats(&self) -> ReceiveStats {
        ReceiveStats {
            packets: self.total,
            octets: self.octets,
            lost: self.lost_before + self.expected().saturating_sub(self.received),
            recovered: self.recovered,
            jitter: self.jitter_16 >> 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8000;

    fn feed(stream: &mut ReceiveStream, sequence: u16, ms: u64) -> Result<Place, MediaDrop> {
        stream.receive(sequence, (ms as u32).wrapping_mul(8), RATE, 160, Time::from_millis(ms))
    }

    #[test]
    fn loss_is_reported_as_fraction_and_in_total() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        for (index, sequence) in [65534u16, 65535, 0, 2].into_iter().enumerate() {
            feed(&mut stream, sequence, 20 * index as u64).unwrap();
        }
        let block = stream.report(Time::from_millis(100));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 1));
        assert_eq!(block.highest_sequence, 0x1_0002);
        feed(&mut stream, 3, 100).unwrap();
        assert!(stream.has_news());
        assert_eq!(stream.report(Time::from_millis(200)).fraction_lost, 0);
        assert!(!stream.has_news());
    }

    #[test]
    fn duplicates_are_dropped_by_name() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        feed(&mut stream, 10, 0).unwrap();
        assert_eq!(feed(&mut stream, 10, 1), Err(MediaDrop::Duplicate));
        assert_eq!(stream.stats().packets, 1);
    }

    #[test]
    fn a_sender_that_restarts_is_believed_at_its_second_packet() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        let before = feed(&mut stream, 10, 0).unwrap();
        assert_eq!(feed(&mut stream, 30_000, 20), Err(MediaDrop::SequenceJump));
        let after = feed(&mut stream, 30_001, 40).unwrap();
        assert!(after.restarted && after.sequence > before.sequence);
        assert!(!feed(&mut stream, 30_002, 60).unwrap().restarted);
    }

    #[test]
    fn steady_packets_have_no_jitter_and_late_ones_have() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        for index in 0..50u16 {
            feed(&mut stream, index, 20 * u64::from(index)).unwrap();
        }
        assert_eq!(stream.stats().jitter, 0);
        for index in 50..100u16 {
            let late = u64::from(index % 2) * 10;
            let at = Time::from_millis(20 * u64::from(index) + late);
            stream.receive(index, 160 * u32::from(index), RATE, 160, at).unwrap();
        }
        let jitter = stream.stats().jitter;
        assert!((60..=85).contains(&jitter), "10 ms are 80 units, got {jitter}");
    }

    #[test]
    fn the_capture_time_follows_the_sender_report() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        let mut clock = SenderClock::default();
        let arrival = Time::from_millis(5_000);
        assert_eq!(stream.capture(800, RATE, &clock, arrival), Capture::estimated(arrival));
        let info = SenderInfo { ssrc: Ssrc(1), ntp: NtpTime(1000 << 32), rtp_timestamp: 0, packets: 1, octets: 1 };
        clock.update(info.ntp, Time::from_millis(4_000));
        stream.handle_sender_info(&info, Time::from_millis(4_000));
        assert_eq!(stream.capture(4_000, RATE, &clock, arrival), Capture::exact(Time::from_millis(4_500)));
        let future = stream.capture(4_000_000, RATE, &clock, arrival);
        assert_eq!(future, Capture::estimated(arrival), "a capture in the future is nonsense");
    }

    #[test]
    fn the_delay_since_the_last_sender_report_is_told() {
        let mut stream = ReceiveStream::new(Ssrc(1));
        feed(&mut stream, 1, 0).unwrap();
        let ntp = NtpTime((7 << 32) + 0x8000_0000);
        let info = SenderInfo { ssrc: Ssrc(1), ntp, ..SenderInfo::default() };
        stream.handle_sender_info(&info, Time::from_millis(1_000));
        let block = stream.report(Time::from_millis(1_500));
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x0007_8000, 0x8000));
    }
}
