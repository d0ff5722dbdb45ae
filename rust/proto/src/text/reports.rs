//! What both ends of a text line tell each other about their streams (RFC 3550 §6): losses, and that they are there while
//! nobody types.

use crate::rtcp::{RtcpPacket, SenderInfo, WallClock, packets, receiver_report, sdes, sender_report};
use crate::rtp::{RtpPacket, Ssrc};
use crate::sfu::receive_stream::ReceiveStream;
use crate::sfu::reports::ReportSchedule;
use crate::time::Time;

/// RFC 4103 §6: the clock has 1000 Hz.
pub const CLOCK_RATE: u32 = 1000;

/// The reports of one line, both ways.
#[derive(Debug)]
pub struct Reports {
    ssrc: Ssrc,
    cname: String,
    received: Option<ReceiveStream>,
    packets: u32,
    octets: u32,
    /// `packets` when the last report was written, and the one before it.
    reported: [u32; 2],
    schedule: ReportSchedule,
}

impl Reports {
    /// Of the stream `ssrc` of ours, by `cname`.
    pub fn new(ssrc: Ssrc, cname: String) -> Reports {
        Reports {
            ssrc,
            cname,
            received: None,
            packets: 0,
            octets: 0,
            reported: [0; 2],
            schedule: ReportSchedule::new(ssrc.0),
        }
    }

    /// A packet of ours leaves, with so many bytes of payload.
    pub fn count_sent(&mut self, octets: usize, now: Time) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        self.schedule.start(now);
    }

    /// Takes a packet of the peer. A stream of another SSRC takes the place of the one before it.
    pub fn count_received(&mut self, packet: &RtpPacket<'_>, now: Time) {
        let known = self.received.take().filter(|stream| stream.ssrc() == packet.ssrc);
        let stream = self.received.insert(known.unwrap_or_else(|| ReceiveStream::new(packet.ssrc)));
        // What is late or repeated here is counted where its text is read.
        stream.receive(packet.sequence, packet.timestamp, CLOCK_RATE, packet.payload.len(), now).ok();
        self.schedule.start(now);
    }

    /// Takes one plaintext RTCP datagram of the peer: the clock of its stream. False when a packet of it is malformed.
    pub fn handle_rtcp(&mut self, datagram: &[u8], now: Time) -> bool {
        for packet in packets(datagram) {
            match packet {
                Ok(RtcpPacket::SenderReport(report)) => {
                    if let Some(stream) = self.received.as_mut().filter(|stream| stream.ssrc() == report.info.ssrc) {
                        stream.handle_sender_info(&report.info, now);
                    }
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// When a report is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.schedule.poll_timeout()
    }

    /// Writes the compound that is due; `timestamp` is that of our stream now.
    pub fn poll(&mut self, timestamp: u32, wall: &WallClock, now: Time, out: &mut Vec<u8>) -> bool {
        if !self.schedule.poll(now, false) {
            return false;
        }
        let news = self.received.as_mut().filter(|stream| stream.has_news());
        let block = news.map(|stream| stream.report(now));
        let blocks = block.as_slice();
        out.clear();
        // RFC 3550 §6.4: a sender is who has sent since the report before the last.
        if self.reported[1] == self.packets {
            receiver_report::write(out, self.ssrc, blocks);
        } else {
            let info = SenderInfo {
                ssrc: self.ssrc,
                ntp: wall.ntp_at(now),
                rtp_timestamp: timestamp,
                packets: self.packets,
                octets: self.octets,
            };
            sender_report::write(out, &info, blocks);
        }
        self.reported = [self.packets, self.reported[0]];
        sdes::write_cname(out, &[(self.ssrc, &self.cname)]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{NtpTime, ReportBlock};
    use std::time::Duration;

    const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(0xe900_0000_0000_0000) };

    fn packet(bytes: &mut [u8; 13], ssrc: u8, sequence: u16, now: Time) -> RtpPacket<'_> {
        *bytes = [0x80, 98, 0, 0, 0, 0, 0, 0, 0, 0, 0, ssrc, b'x'];
        bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&(now.as_millis() as u32).to_be_bytes());
        RtpPacket::parse(&bytes[..]).unwrap()
    }

    /// The report that is due next: when, and its compound.
    fn next(reports: &mut Reports) -> (Time, Vec<u8>) {
        let (due, mut out) = (reports.poll_timeout().unwrap(), Vec::new());
        assert!(reports.poll(due.as_millis() as u32, &WALL, due, &mut out));
        (due, out)
    }

    fn blocks(compound: &[u8]) -> Vec<ReportBlock> {
        match packets(compound).next() {
            Some(Ok(RtcpPacket::SenderReport(report))) => report.blocks().collect(),
            Some(Ok(RtcpPacket::ReceiverReport(report))) => report.blocks().collect(),
            other => panic!("{other:?}"),
        }
    }

    fn is_sender(compound: &[u8]) -> bool {
        matches!(packets(compound).next(), Some(Ok(RtcpPacket::SenderReport(_))))
    }

    #[test]
    fn who_has_sent_since_the_report_before_the_last_is_a_sender() {
        let mut reports = Reports::new(Ssrc(9), "phone".into());
        assert_eq!(reports.poll_timeout(), None);
        reports.count_sent(40, Time::ZERO);
        let seen: Vec<bool> = (0..4).map(|_| is_sender(&next(&mut reports).1)).collect();
        assert_eq!(seen, [true, true, false, false]);
        reports.count_sent(2, Time::from_millis(60_000));
        let (due, compound) = next(&mut reports);
        let Some(Ok(RtcpPacket::SenderReport(report))) = packets(&compound).next() else { panic!("no sender") };
        assert_eq!((report.info.packets, report.info.octets), (2, 42));
        assert_eq!(report.info.ntp, WALL.ntp_at(due));
        assert_eq!(report.info.rtp_timestamp, due.as_millis() as u32);
        let Some(Ok(RtcpPacket::Sdes(names))) = packets(&compound).nth(1) else { panic!("no description") };
        assert_eq!(names.cnames().collect::<Vec<_>>(), [(Ssrc(9), &b"phone"[..])]);
    }

    #[test]
    fn losses_and_the_age_of_the_peers_report_are_told() {
        let (mut reports, mut bytes) = (Reports::new(Ssrc(9), "phone".into()), [0; 13]);
        for sequence in [1, 2, 4] {
            let now = Time::from_millis(u64::from(sequence) * 10);
            reports.count_received(&packet(&mut bytes, 5, sequence, now), now);
        }
        let mut theirs = Vec::new();
        let info = SenderInfo { ssrc: Ssrc(5), ntp: NtpTime(0x1234_5678_9abc_def0), ..SenderInfo::default() };
        sender_report::write(&mut theirs, &info, &[]);
        assert!(reports.handle_rtcp(&theirs, Time::from_millis(100)));
        let (due, compound) = next(&mut reports);
        assert!(!is_sender(&compound));
        let block = blocks(&compound)[0];
        assert_eq!((block.ssrc, block.cumulative_lost, block.fraction_lost), (Ssrc(5), 1, 64));
        assert_eq!(block.last_sr, 0x5678_9abc);
        let age = crate::rtcp::ntp::to_compact(due.since(Time::from_millis(100)));
        assert_eq!(block.delay_since_last_sr, age);
        assert_eq!(blocks(&next(&mut reports).1), [], "nothing is new");
    }

    #[test]
    fn another_stream_is_reported_in_place_of_the_one_before_and_strange_reports_change_nothing() {
        let (mut reports, mut bytes) = (Reports::new(Ssrc(9), "phone".into()), [0; 13]);
        for (ssrc, sequence) in [(5, 1), (6, 900)] {
            reports.count_received(&packet(&mut bytes, ssrc, sequence, Time::ZERO), Time::ZERO);
        }
        let mut theirs = Vec::new();
        let info = SenderInfo { ssrc: Ssrc(5), ntp: NtpTime(1 << 40), ..SenderInfo::default() };
        sender_report::write(&mut theirs, &info, &[]);
        assert!(reports.handle_rtcp(&theirs, Time::ZERO));
        assert!(!reports.handle_rtcp(&theirs[..6], Time::ZERO));
        let block = blocks(&next(&mut reports).1)[0];
        assert_eq!((block.ssrc, block.cumulative_lost, block.last_sr), (Ssrc(6), 0, 0));
    }

    #[test]
    fn a_peer_that_is_silent_hears_from_us_every_few_seconds() {
        let mut reports = Reports::new(Ssrc(9), "phone".into());
        reports.count_sent(1, Time::ZERO);
        let mut last = next(&mut reports).0;
        for _ in 0..50 {
            let due = next(&mut reports).0;
            assert!((Duration::from_millis(2500)..=Duration::from_millis(7500)).contains(&due.since(last)));
            last = due;
        }
    }
}
