//! The text of one m-line, both ways: RTP packets in and out, text out and in.

use std::collections::VecDeque;

use super::blocks::Blocks;
use super::receiver::Receiver;
use super::reports::{CLOCK_RATE, Reports};
use super::sender::{Outgoing, Sender};
use crate::error::{Drop, DropCounters};
use crate::rtcp::WallClock;
use crate::rtp::{HeaderWriter, RtpPacket, Ssrc};
use crate::time::Time;

/// Payload types of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextFormat {
    /// `t140/1000`.
    pub t140: u8,
    /// `red/1000` of `t140`; `None` where there is no redundancy.
    pub red: Option<u8>,
}

/// How text is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFormat {
    /// The peer's payload types.
    pub format: TextFormat,
    /// The peer's `cps`: characters a second, as a mean over ten seconds.
    pub characters_per_second: u32,
}

/// What a description and its answer agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Ours.
    pub ssrc: Ssrc,
    /// First sequence number, random (RFC 3550 §5.1).
    pub sequence: u16,
    /// First timestamp, random.
    pub timestamp: u32,
    /// Our payload types.
    pub receive: TextFormat,
    /// `None` while nothing may be sent: what is typed meanwhile waits.
    pub send: Option<SendFormat>,
}

/// The text of one m-line.
#[derive(Debug)]
pub struct TextLine {
    config: TextConfig,
    sequence: u16,
    receiver: Receiver,
    sender: Sender,
    reports: Reports,
    messages: VecDeque<String>,
    drops: DropCounters,
}

impl TextLine {
    /// A line that sends its byte order mark first, and reports by `cname`.
    pub fn new(config: TextConfig, cname: String) -> TextLine {
        let characters = config.send.map_or(1, |send| send.characters_per_second);
        TextLine {
            sequence: config.sequence,
            receiver: Receiver::default(),
            sender: Sender::new(characters),
            reports: Reports::new(config.ssrc, cname),
            messages: VecDeque::new(),
            drops: DropCounters::default(),
            config,
        }
    }

    /// Other payload types or another rate; the stream goes on under its own SSRC and numbers.
    pub fn update(&mut self, receive: TextFormat, send: Option<SendFormat>) {
        if let Some(send) = send.filter(|send| {
            self.config.send.is_none_or(|before| before.characters_per_second != send.characters_per_second)
        }) {
            self.sender.set_rate(send.characters_per_second);
        }
        self.config = TextConfig { receive, send, ..self.config };
    }

    /// Takes one plaintext RTP packet of the peer.
    pub fn handle_rtp(&mut self, datagram: &[u8], now: Time) {
        let Ok(packet) = RtpPacket::parse(datagram) else { return self.drops.count(Drop::RtpMalformed) };
        let format = self.config.receive;
        let blocks = if packet.payload_type == format.t140 {
            Some(Blocks::single(packet.payload))
        } else if Some(packet.payload_type) == format.red {
            Blocks::parse(packet.payload, format.t140)
        } else {
            None
        };
        let Some(blocks) = blocks else { return self.drops.count(Drop::TextFormat) };
        self.reports.count_received(&packet, now);
        let mut text = String::new();
        self.receiver.take(packet.ssrc, packet.sequence, &blocks, &mut text, &mut self.drops);
        if !text.is_empty() {
            self.messages.push_back(text);
        }
    }

    /// Takes one plaintext RTCP datagram of the peer.
    pub fn handle_rtcp(&mut self, datagram: &[u8], now: Time) {
        if !self.reports.handle_rtcp(datagram, now) {
            self.drops.count(Drop::TextReport);
        }
    }

    /// The oldest text of the peer not yet taken; to be drained after every packet.
    pub fn poll_message(&mut self) -> Option<String> {
        self.messages.pop_front()
    }

    /// Takes text for the peer.
    pub fn push(&mut self, text: &str) {
        for _ in 0..self.sender.push(text) {
            self.drops.count(Drop::TextOverflow);
        }
    }

    /// Takes a message of a data channel for the peer; false when it is not text.
    pub fn take_message(&mut self, message: &[u8]) -> bool {
        match std::str::from_utf8(message) {
            Ok(text) => self.push(text),
            Err(_) => self.drops.count(Drop::TextNotUtf8),
        }
        std::str::from_utf8(message).is_ok()
    }

    /// When [`TextLine::poll_transmit`] or [`TextLine::poll_report`] has something.
    pub fn poll_timeout(&self) -> Option<Time> {
        let text = self.config.send.and_then(|_| self.sender.poll_timeout());
        text.into_iter().chain(self.reports.poll_timeout()).min()
    }

    /// Writes the packet that is due: header, then payload.
    pub fn poll_transmit(&mut self, now: Time, header: &mut Vec<u8>) -> Option<Vec<u8>> {
        let SendFormat { format, .. } = self.config.send?;
        let Outgoing { marker, payload } = self.sender.poll_transmit(format.red.is_some(), format.t140, now)?;
        let writer = HeaderWriter {
            marker,
            payload_type: format.red.unwrap_or(format.t140),
            sequence: self.sequence,
            timestamp: self.timestamp(now),
            ssrc: self.config.ssrc,
        };
        self.sequence = self.sequence.wrapping_add(1);
        header.clear();
        writer.write(header, |_| {});
        self.reports.count_sent(payload.len(), now);
        Some(payload)
    }

    /// Writes the RTCP compound that is due.
    pub fn poll_report(&mut self, wall: &WallClock, now: Time, out: &mut Vec<u8>) -> bool {
        self.reports.poll(self.timestamp(now), wall, now, out)
    }

    fn timestamp(&self, now: Time) -> u32 {
        let passed = now.as_millis() * u64::from(CLOCK_RATE) / 1000;
        self.config.timestamp.wrapping_add(passed as u32)
    }

    /// What was dropped and why.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn format(t140: u8, red: Option<u8>) -> TextFormat {
        TextFormat { t140, red }
    }

    fn line(receive: TextFormat, send: TextFormat) -> TextLine {
        let send = Some(SendFormat { format: send, characters_per_second: 30 });
        let config = TextConfig { ssrc: Ssrc(9), sequence: 65_530, timestamp: u32::MAX - 100, receive, send };
        TextLine::new(config, "line".into())
    }

    /// Two lines and a wire that loses the packets of these numbers; what the second one read.
    fn talk(texts: &[(u64, &str)], lost: &[usize], red: bool) -> (String, TextLine) {
        let own = format(98, red.then_some(100));
        let (mut typist, mut reader) = (line(own, own), line(own, own));
        let (mut read, mut header, mut sent) = (String::new(), Vec::new(), 0);
        for at in 0..20_000 {
            texts.iter().filter(|(when, _)| *when == at).for_each(|(_, text)| typist.push(text));
            if let Some(payload) = typist.poll_transmit(Time::from_millis(at), &mut header) {
                if !lost.contains(&sent) {
                    reader.handle_rtp(&[&header[..], &payload].concat(), NOW);
                }
                sent += 1;
            }
            while let Some(text) = reader.poll_message() {
                read.push_str(&text);
            }
        }
        (read, reader)
    }

    const TYPED: [(u64, &str); 4] = [(1000, "H"), (1250, "ej"), (1900, "d\u{8}"), (9000, "å!")];

    #[test]
    fn text_arrives_in_order_and_whole_when_two_packets_of_three_are_lost() {
        assert_eq!(talk(&TYPED, &[], true).0, "Hejd\u{8}å!");
        assert_eq!(talk(&TYPED, &[0, 1, 3, 4, 6, 7], true).0, "Hejd\u{8}å!");
    }

    #[test]
    fn without_redundancy_each_lost_packet_is_a_mark() {
        let (read, mut reader) = talk(&TYPED, &[2], false);
        assert_eq!(read, "H\u{fffd}d\u{8}å!");
        assert_eq!(reader.drops_mut().get(Drop::TextLost), 1);
    }

    #[test]
    fn other_payload_types_are_counted() {
        let mut reader = line(format(98, Some(100)), format(98, None));
        let mut header = Vec::new();
        let mut typist = line(format(98, None), format(97, None));
        let payload = typist.poll_transmit(Time::ZERO, &mut header).unwrap();
        reader.handle_rtp(&[&header[..], &payload].concat(), NOW);
        reader.handle_rtp(&header[..5], NOW);
        reader.handle_rtcp(&[0x80, 200, 0], NOW);
        assert_eq!(reader.poll_message(), None);
        assert_eq!(reader.drops_mut().get(Drop::TextFormat), 1);
        assert_eq!(reader.drops_mut().get(Drop::RtpMalformed), 1);
        assert_eq!(reader.drops_mut().get(Drop::TextReport), 1);
    }

    #[test]
    fn what_is_typed_on_hold_follows_under_the_same_numbers() {
        let own = format(98, Some(100));
        let mut typist = line(own, own);
        let mut header = Vec::new();
        typist.poll_transmit(Time::ZERO, &mut header).unwrap();
        typist.update(own, None);
        typist.push("later");
        assert_eq!(typist.poll_timeout(), typist.reports.poll_timeout(), "no text is due");
        assert_eq!(typist.poll_transmit(Time::from_millis(5000), &mut header), None);
        typist.update(own, Some(SendFormat { format: own, characters_per_second: 30 }));
        let payload = typist.poll_transmit(Time::from_millis(5000), &mut header).unwrap();
        assert_eq!(Blocks::parse(&payload, 98).unwrap().all().last(), Some(&&b"later"[..]));
        let packet = RtpPacket::parse(&header).unwrap();
        assert_eq!((packet.sequence, packet.ssrc, packet.payload_type), (65_531, Ssrc(9), 100));
    }
}
