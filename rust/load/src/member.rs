//! A served peer: sends tracks, and gives the feedback that a browser gives for what it receives.

use std::time::Duration;

use mediaserver_proto::bwe::FeedbackGenerator;
use mediaserver_proto::rtcp::report_block::MAX_BLOCKS;
use mediaserver_proto::rtcp::{self, ReportBlock, RtcpPacket, nack, pli, receiver_report};
use mediaserver_proto::rtp::Ssrc;
use mediaserver_proto::rtp::extension::elements;
use mediaserver_proto::rtp::header::FIXED_LEN;
use mediaserver_proto::sfu::nack_generator::MOST_IN_MESSAGE;
use mediaserver_proto::srtp::RtpHeader;
use mediaserver_proto::time::Time;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::peer::Peer;
use crate::plan;
use crate::source::{Source, Track};
use crate::stamp;
use crate::stream::Stream;

/// What browsers use as the SSRC of reports when they send nothing.
const REPORTER: Ssrc = Ssrc(1);
/// Of so many packets one is decrypted: to see that it is right, and how long it took.
const SAMPLE: u64 = 16;
/// Streams of one peer; packets of more are only counted.
const MOST_STREAMS: usize = 64;
/// A receiver that lost packets asks for a picture no more often than this.
const PLI_GAP: Duration = Duration::from_millis(500);

/// What to make.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// The connection, made by whoever asks.
    pub peer: plan::Peer,
    /// What it sends.
    pub tracks: Vec<Track>,
    /// Extension id of the transport-wide sequence number in what it receives; 0: none.
    pub twcc_id: u8,
    /// Payload type of what is sent again to it; 0: none.
    pub rtx_payload_type: u8,
    /// Whether it gives transport-wide feedback, NACKs and keyframe requests; reports are always sent.
    pub feedback: bool,
}

/// What it did since it was made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// RTP packets sent, those sent again not counted.
    pub sent: u64,
    /// RTP packets received, those that came late or again included.
    pub packets: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Of the packets, behind a later one.
    pub late: u64,
    /// What should have come, by sequence numbers.
    pub expected: u64,
    /// What did not.
    pub lost: i64,
    /// Packets asked for again.
    pub nacked: u64,
    /// Keyframe requests sent.
    pub plis: u64,
    /// Keyframe requests received.
    pub keys_asked: u64,
    /// Transport-wide feedback sent.
    pub feedbacks: u64,
    /// Sampled packets or checks that were not right.
    pub wrong: u64,
    /// Checks of the server, all answered.
    pub checks: u64,
    /// From its making to the first media packet, in milliseconds; negative before that.
    pub first_ms: f64,
    /// Packets received again, under another SSRC.
    pub repaired: u64,
    /// Packets sent again.
    pub resent: u64,
}

/// A peer at work.
#[derive(Debug)]
pub struct Member {
    /// Its connection.
    pub peer: Peer,
    /// What it sends.
    pub sources: Vec<Source>,
    /// How often its rate was changed.
    pub pace: u32,
    /// Until when a timer for the feedback runs.
    pub feedback_armed: Option<Time>,
    streams: Vec<Stream>,
    generator: FeedbackGenerator,
    twcc_id: u8,
    rtx_payload_type: u8,
    feedback: bool,
    transport_sequence: u16,
    born: Time,
    last_pli: Time,
    figures: Figures,
    plain: Vec<u8>,
    asked_again: Vec<(usize, u16)>,
}

impl Member {
    /// Takes over a connection.
    ///
    /// # Errors
    /// A sentence when the plan makes no peer.
    ///
    /// # Safety
    /// `plan.peer.fd` is an open UDP socket that nothing else in this process owns.
    pub unsafe fn new(plan: Plan, now: Time) -> Result<Member, String> {
        let sources = plan.tracks.into_iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Member {
            // SAFETY: promised by the caller.
            peer: unsafe { Peer::new(&plan.peer) }?,
            sources,
            pace: 0,
            feedback_armed: None,
            streams: Vec::new(),
            generator: FeedbackGenerator::default(),
            twcc_id: plan.twcc_id,
            rtx_payload_type: plan.rtx_payload_type,
            feedback: plan.feedback,
            transport_sequence: 1,
            born: now,
            last_pli: now,
            figures: Figures { first_ms: -1.0, ..Figures::default() },
            plain: Vec::with_capacity(2048),
            asked_again: Vec::with_capacity(64),
        })
    }

    /// Everything so far.
    pub fn figures(&self) -> Figures {
        let mut figures = self.figures;
        for stream in &self.streams {
            figures.late += stream.late;
            figures.expected += stream.expected();
            figures.lost += stream.lost();
            figures.repaired += stream.repaired;
        }
        figures.sent = self.sources.iter().map(|source| source.packets).sum();
        figures.resent = self.sources.iter().map(|source| source.resent).sum();
        figures.wrong += self.peer.counts.wrong;
        figures.checks = self.peer.counts.checks;
        figures
    }

    /// Sends all its tracks at another rate from the next frame on.
    ///
    /// # Errors
    /// A sentence when it is no rate.
    pub fn set_pace(&mut self, frames_per_s: f64) -> Result<(), String> {
        self.pace += 1;
        self.sources.iter_mut().try_for_each(|source| source.pace(frames_per_s))
    }

    /// Sends the next frame of a track.
    ///
    /// # Errors
    /// A sentence when it cannot be protected.
    pub fn send(&mut self, track: usize, now: Time) -> Result<(), String> {
        match self.sources.get_mut(track) {
            Some(source) => source.send(&mut self.peer, &mut self.transport_sequence, now.0),
            None => Ok(()),
        }
    }

    /// One datagram, and when the kernel says that it arrived where that is known better than by `now`.
    ///
    /// # Errors
    /// A sentence when what is to be sent again cannot be protected.
    pub fn handle(
        &mut self,
        datagram: &mut [u8],
        now: Time,
        arrived: Time,
        latency: &mut Histogram,
    ) -> Result<(), String> {
        // RFC 7983: the first byte says what it is; RFC 5761: the second tells RTCP from RTP.
        match (datagram.first(), datagram.get(1)) {
            (Some(128..=191), Some(192..=223)) => return self.handle_rtcp(datagram, now),
            (Some(128..=191), Some(_)) => self.handle_rtp(datagram, now, arrived, latency),
            _ => {
                let len = datagram.len();
                self.peer.handle(len, datagram, false);
            }
        }
        Ok(())
    }

    fn handle_rtp(&mut self, datagram: &mut [u8], now: Time, arrived: Time, latency: &mut Histogram) {
        let Some(header) = RtpHeader::parse(datagram) else {
            self.figures.wrong += 1;
            return;
        };
        self.figures.packets += 1;
        self.figures.bytes += datagram.len() as u64;
        if self.figures.packets == 1 {
            self.figures.first_ms = now.since(self.born).as_secs_f64() * 1000.0;
        }
        if self.feedback
            && self.twcc_id > 0
            && let Some(sequence) = transport_sequence(&datagram[..header.len], self.twcc_id)
        {
            self.generator.set_media(Ssrc(header.ssrc));
            self.generator.arrived(sequence, now);
        }
        let payload_type = datagram[1] & 0x7f;
        if self.rtx_payload_type > 0 && payload_type == self.rtx_payload_type {
            self.handle_rtx(datagram, &header, now);
            return;
        }
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == header.ssrc) {
            stream.note(header.sequence, now);
        } else if self.streams.len() < MOST_STREAMS {
            self.streams.push(Stream::new(header.ssrc, header.sequence, now));
        }
        if self.figures.packets % SAMPLE == 1 {
            match self.peer.open_rtp(datagram, &header) {
                Some(len) => {
                    if let Some(sent) = stamp::read(&datagram[header.len..len]) {
                        latency.add(arrived.since(Time(sent)));
                    }
                }
                None => self.figures.wrong += 1,
            }
        }
    }

    /// A packet that came again. Whose it is, its SSRC does not tell: of a stream that was asked for that number.
    fn handle_rtx(&mut self, datagram: &mut [u8], header: &RtpHeader, now: Time) {
        let Some(len) = self.peer.open_rtp(datagram, header) else {
            self.figures.wrong += 1;
            return;
        };
        // Without a payload it is padding, sent to find out how much fits.
        let Some(&[high, low]) = datagram[header.len..len].first_chunk::<2>() else { return };
        let sequence = u16::from_be_bytes([high, low]);
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.misses(sequence)) {
            stream.repair(sequence, now);
        }
    }

    fn handle_rtcp(&mut self, datagram: &mut [u8], now: Time) -> Result<(), String> {
        let Some(len) = self.peer.open_rtcp(datagram) else {
            self.figures.wrong += 1;
            return Ok(());
        };
        self.asked_again.clear();
        for packet in rtcp::packets(&datagram[..len]).flatten() {
            let wants_key = match packet {
                RtcpPacket::Pli(asked) => Some(asked.media),
                RtcpPacket::Fir(asked) => asked.entries().next().map(|(media, _)| media),
                RtcpPacket::Nack(asked) => {
                    if let Some(at) = self.sources.iter().position(|source| source.is(asked.media.0)) {
                        self.asked_again.extend(asked.sequences().map(|sequence| (at, sequence)));
                    }
                    None
                }
                RtcpPacket::SenderReport(report) => {
                    let info = report.info;
                    if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == info.ssrc.0) {
                        stream.heard_report(&info, now);
                    }
                    None
                }
                _ => None,
            };
            if let Some(source) = wants_key.and_then(|media| self.sources.iter_mut().find(|source| source.is(media.0)))
            {
                self.figures.keys_asked += 1;
                source.want_key();
            }
        }
        for &(at, sequence) in &self.asked_again {
            if let Some(source) = self.sources.get_mut(at) {
                source.resend(sequence, &mut self.peer, &mut self.transport_sequence)?;
            }
        }
        Ok(())
    }

    /// A receiver report about every stream; nothing before the first packet.
    pub fn report(&mut self, now: Time) {
        let mut blocks = [ReportBlock::default(); MAX_BLOCKS];
        let count = self.streams.len().min(MAX_BLOCKS);
        for (block, stream) in blocks.iter_mut().zip(&mut self.streams) {
            *block = stream.report(now);
        }
        if count > 0 {
            self.plain.clear();
            receiver_report::write(&mut self.plain, REPORTER, &blocks[..count]);
            self.peer.send_rtcp(&self.plain);
        }
    }

    /// When [`Member::give_feedback`] has something to send.
    pub fn feedback_timeout(&self) -> Option<Time> {
        let nacks = self.streams.iter().filter(|_| self.feedback).filter_map(Stream::poll_timeout);
        nacks.chain(self.generator.poll_timeout()).min()
    }

    /// Sends the transport-wide feedback and asks for the missing packets that are due.
    pub fn give_feedback(&mut self, now: Time) {
        loop {
            self.plain.clear();
            if !self.generator.write(REPORTER, now, &mut self.plain) {
                break;
            }
            self.figures.feedbacks += 1;
            self.peer.send_rtcp(&self.plain);
        }
        if !self.feedback {
            return;
        }
        self.plain.clear();
        for stream in &mut self.streams {
            let mut missing = [0; MOST_IN_MESSAGE];
            let due = stream.ask(now, &mut missing);
            nack::write(&mut self.plain, REPORTER, Ssrc(stream.ssrc), &missing[..due.count]);
            self.figures.nacked += due.first as u64;
            if due.gave_up && now.since(self.last_pli) >= PLI_GAP {
                self.last_pli = now;
                self.figures.plis += 1;
                pli::write(&mut self.plain, REPORTER, Ssrc(stream.ssrc));
            }
        }
        if !self.plain.is_empty() {
            self.peer.send_rtcp(&self.plain);
        }
    }
}

/// The transport-wide sequence number in a header's extension.
fn transport_sequence(header: &[u8], id: u8) -> Option<u16> {
    if header.first()? & 0x10 == 0 {
        return None;
    }
    let start = FIXED_LEN + 4 * usize::from(header[0] & 0x0f);
    let profile = u16::from_be_bytes([*header.get(start)?, *header.get(start + 1)?]);
    let block = header.get(start + 4..)?;
    let value = elements(profile, block).find(|(found, _)| *found == id)?.1;
    Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transport_sequence_is_found_by_its_id() {
        let mut header = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0xBE, 0xDE, 0, 2];
        header.extend([0x50, 7, 0x31, 0x12, 0x34, 0, 0, 0]);
        assert_eq!(transport_sequence(&header, 3), Some(0x1234));
        assert_eq!(transport_sequence(&header, 4), None);
        header[0] = 0x80;
        assert_eq!(transport_sequence(&header, 3), None);
    }
}
