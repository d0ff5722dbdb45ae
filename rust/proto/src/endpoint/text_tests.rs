//! Phones that type to each other and into a topic, on two shards and virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::tests::{endpoint, entropy, id};
use super::*;
use crate::error::Drop;
use crate::io::{Path, ReceiveBatch, SocketId};
use crate::rtcp::{NtpTime, RtcpPacket, WallClock, packets};
use crate::rtp::Ssrc;
use crate::sctp::MessageKind;
use crate::text::{SendFormat, TextConfig, TextFormat, TextLine};
use crate::transport::RtpRemote;

const RATES: DataRates = DataRates { messages_per_second: 100, bytes_per_second: 4096 };
const FORMAT: TextFormat = TextFormat { t140: 98, red: Some(100) };
const TOPIC: u64 = 7;
const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(1 << 63) };

fn config(ssrc: u32) -> TextConfig {
    let send = Some(SendFormat { format: FORMAT, characters_per_second: 30 });
    TextConfig { ssrc: Ssrc(ssrc), sequence: 1, timestamp: 0, receive: FORMAT, send }
}

/// A phone that types and reads.
struct Phone {
    transport: u64,
    address: SocketAddr,
    line: TextLine,
    read: String,
    /// Compounds that came.
    reports: Vec<Vec<u8>>,
}

/// The port of RTCP beside one of RTP.
fn next_port(rtp: SocketAddr) -> SocketAddr {
    (rtp.ip(), rtp.port() + 1).into()
}

/// A phone's datagram; ours have the number of its ports.
fn arrive(shard: &mut Endpoint, from: SocketAddr, datagram: &[u8], now: Time) {
    let mut batch = ReceiveBatch::default();
    batch.push(Path { socket: SocketId(u32::from(from.port())), remote: from }, datagram);
    shard.handle_batch(&mut batch, 0..1, now, &mut TransmitQueue::default());
}

/// Two shards with a phone each.
struct House {
    shards: [Endpoint; 2],
    phones: [Phone; 2],
    now: Time,
}

impl House {
    fn new() -> House {
        let mut shards = [endpoint(0, 2), endpoint(1, 2)];
        let phones = [0u16, 1].map(|number| {
            let (transport, port) = (id(number, 10), 1000 + 10 * number);
            let shard = &mut shards[usize::from(number)];
            let mut out = TransmitQueue::default();
            let socket = SocketId(u32::from(port));
            let sockets = RtpSockets { rtp: socket, rtcp: SocketId(u32::from(port) + 1) };
            shard.open_rtp_transport(transport, sockets, entropy(1), Duration::ZERO, Duration::ZERO).unwrap();
            let address = ([192, 0, 2, 1], port).into();
            let remote = RtpRemote { rtp: Some(address), ..RtpRemote::default() };
            shard.set_rtp_remote(transport, remote, Time::ZERO, &mut out).unwrap();
            shard.open_text(transport, config(1), "house".into(), RATES, Time::ZERO, &mut out).unwrap();
            Phone {
                transport,
                address,
                line: TextLine::new(config(2), "phone".into()),
                read: String::new(),
                reports: Vec::new(),
            }
        });
        House { shards, phones, now: Time::from_millis(1000) }
    }

    fn join(&mut self, number: usize) {
        let membership =
            Membership { topic: TOPIC, may_send: true, may_receive: true, report: false, sender: "phone".into() };
        let channel = (self.phones[number].transport, text::TEXT_STREAM);
        let mut out = TransmitQueue::default();
        self.shards[number].join_topic(channel, membership, self.now, &mut out).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        for shard in [0, 1, 0] {
            while let Some((to, message)) = self.shards[shard].poll_message() {
                let mut out = TransmitQueue::default();
                self.shards[usize::from(to)].handle_message(shard as Shard, message, self.now, &mut out);
                assert!(out.entries().is_empty(), "text leaves by its own clock");
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.now = self.now + Duration::from_millis(10);
            for number in 0..2 {
                let (phone, shard) = (&mut self.phones[number], &mut self.shards[number]);
                let mut header = Vec::new();
                while let Some(payload) = phone.line.poll_transmit(self.now, &mut header) {
                    arrive(shard, phone.address, &[&header[..], &payload].concat(), self.now);
                }
                if phone.line.poll_report(&WALL, self.now, &mut header) {
                    arrive(shard, next_port(phone.address), &header, self.now);
                }
                let mut out = TransmitQueue::default();
                if shard.poll_timeout().is_some_and(|due| due <= self.now) {
                    shard.handle_timeout(self.now, &mut out);
                }
                for entry in out.entries() {
                    let datagram = out.datagram(entry);
                    if entry.path.remote == phone.address {
                        phone.line.handle_rtp(datagram, self.now);
                    } else {
                        assert_eq!(entry.path.remote, next_port(phone.address));
                        phone.line.handle_rtcp(datagram, self.now);
                        phone.reports.push(datagram.to_vec());
                    }
                }
                while let Some(text) = phone.line.poll_message() {
                    phone.read.push_str(&text);
                }
            }
            self.settle();
        }
    }

    fn counter(&self, wanted: &str) -> u64 {
        let mut total = 0;
        for shard in &self.shards {
            shard.counters(|name, value| total += if name == wanted { value } else { 0 });
        }
        total
    }
}

#[test]
fn two_phones_type_to_each_other_across_shards() {
    let mut house = House::new();
    house.phones[0].line.push("typed early, ");
    house.run(Duration::from_secs(1));
    house.join(0);
    house.join(1);
    house.phones[0].line.push("Hej\u{8}");
    house.phones[1].line.push("å");
    house.run(Duration::from_secs(2));
    assert_eq!(house.phones.each_ref().map(|phone| &phone.read[..]), ["å", "typed early, Hej\u{8}"]);
    let due = house.shards.each_ref().map(|shard| shard.poll_timeout().unwrap().since(house.now));
    assert!(due.iter().all(|due| *due > Duration::from_millis(300)), "only reports are due when nobody types: {due:?}");
    for (shard, phone) in house.shards.iter().zip(&house.phones) {
        let statistics = shard.statistics(phone.transport).unwrap().transport;
        assert!(statistics.packets_sent >= 3 && statistics.packets_received >= 3);
    }
}

#[test]
fn what_a_page_writes_is_typed_at_the_phones_rate() {
    let mut house = House::new();
    house.join(0);
    let message = TopicMessage { kind: MessageKind::Text, payload: "x".repeat(100).into_bytes() };
    house.shards[0].publish(TOPIC, message, house.now, &mut TransmitQueue::default());
    house.run(Duration::from_secs(2));
    assert!((50..=90).contains(&house.phones[0].read.len()), "{}", house.phones[0].read.len());
    house.run(Duration::from_secs(2));
    assert_eq!(house.phones[0].read, "x".repeat(100));
    let bytes = TopicMessage { kind: MessageKind::Binary, payload: b"bytes".to_vec() };
    house.shards[0].publish(TOPIC, bytes, house.now, &mut TransmitQueue::default());
    house.run(Duration::from_secs(2));
    assert_eq!(house.phones[0].read.len(), 100);
}

#[test]
fn a_phone_beyond_its_rate_and_one_in_a_strange_format_are_counted() {
    let mut house = House::new();
    house.join(0);
    house.join(1);
    let mut header = Vec::new();
    let strange = TextFormat { t140: 97, red: None };
    let send = Some(SendFormat { format: strange, characters_per_second: 30 });
    let mut typist = TextLine::new(TextConfig { send, ..config(3) }, "phone".into());
    let payload = typist.poll_transmit(house.now, &mut header).unwrap();
    let mut batch = ReceiveBatch::default();
    let path = Path { socket: SocketId(1000), remote: house.phones[0].address };
    batch.push(path, &[&header[..], &payload].concat());
    house.shards[0].handle_batch(&mut batch, 0..1, house.now, &mut TransmitQueue::default());
    assert_eq!(house.counter(Drop::TextFormat.name()), 1);
    for sequence in 0..300u16 {
        let mut batch = ReceiveBatch::default();
        let [high, low] = sequence.to_be_bytes();
        batch.push(path, &[0x80, 98, high, low, 0, 0, 0, 0, 0, 0, 0, 5, b'x']);
        house.shards[0].handle_batch(&mut batch, 0..1, house.now, &mut TransmitQueue::default());
    }
    assert_eq!(house.counter("data_rate_messages"), 100);
}

#[test]
fn who_does_not_type_is_told_of_losses_and_that_the_line_lives() {
    let mut house = House::new();
    house.run(Duration::from_secs(30));
    for phone in &house.phones {
        assert!((4..=12).contains(&phone.reports.len()), "{}", phone.reports.len());
        let reported = phone.reports.iter().filter_map(|compound| match packets(compound).next() {
            Some(Ok(RtcpPacket::SenderReport(report))) => report.blocks().next(),
            Some(Ok(RtcpPacket::ReceiverReport(report))) => report.blocks().next(),
            other => panic!("{other:?}"),
        });
        assert!(reported.into_iter().all(|block| (block.ssrc, block.cumulative_lost) == (Ssrc(2), 0)));
        assert!(phone.reports.iter().any(|compound| compound.ends_with(b"house\0")), "the name we gave");
    }
    let address = house.phones[0].address;
    arrive(&mut house.shards[0], next_port(address), &[0x80, 200, 0, 9, 0, 0, 0, 0], house.now);
    assert_eq!(house.counter(Drop::TextReport.name()), 1);
}

#[test]
fn only_an_rtp_transport_without_tracks_carries_text() {
    let mut shard = endpoint(0, 1);
    let mut out = TransmitQueue::default();
    let wrong = shard.open_text(id(0, 1), config(1), "house".into(), RATES, Time::ZERO, &mut out);
    assert_eq!(wrong, Err(CommandError::NoTransport));
    shard.open_ice_transport(id(0, 2), Duration::ZERO, entropy(2), Time::ZERO).unwrap();
    let wrong = shard.open_text(id(0, 2), config(1), "house".into(), RATES, Time::ZERO, &mut out);
    assert_eq!(wrong, Err(CommandError::WrongKind));
}
