//! Phones that type to each other and into a topic, on two shards and virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::tests::{endpoint, entropy, id};
use super::*;
use crate::error::Drop;
use crate::io::{Path, ReceiveBatch, SocketId};
use crate::rtp::Ssrc;
use crate::sctp::MessageKind;
use crate::text::{SendFormat, TextConfig, TextFormat, TextLine};
use crate::transport::RtpRemote;

const RATES: DataRates = DataRates { messages_per_second: 100, bytes_per_second: 4096 };
const FORMAT: TextFormat = TextFormat { t140: 98, red: Some(100) };
const TOPIC: u64 = 7;

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
            shard.open_text(transport, config(1), RATES, Time::ZERO, &mut out).unwrap();
            Phone { transport, address, line: TextLine::new(config(2)), read: String::new() }
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
                    let mut batch = ReceiveBatch::default();
                    let socket = SocketId(u32::from(phone.address.port()));
                    batch.push(Path { socket, remote: phone.address }, &[&header[..], &payload].concat());
                    shard.handle_batch(&mut batch, 0..1, self.now, &mut TransmitQueue::default());
                }
                let mut out = TransmitQueue::default();
                if shard.poll_timeout().is_some_and(|due| due <= self.now) {
                    shard.handle_timeout(self.now, &mut out);
                }
                for entry in out.entries() {
                    assert_eq!(entry.path.remote, phone.address);
                    phone.line.handle_rtp(out.datagram(entry));
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
    assert!(house.shards.iter().all(|shard| shard.poll_timeout().is_none()), "nothing is due when nobody types");
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
    let mut typist = TextLine::new(TextConfig {
        send: Some(SendFormat { format: strange, characters_per_second: 30 }),
        ..config(3)
    });
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
fn only_an_rtp_transport_without_tracks_carries_text() {
    let mut shard = endpoint(0, 1);
    let mut out = TransmitQueue::default();
    let wrong = shard.open_text(id(0, 1), config(1), RATES, Time::ZERO, &mut out);
    assert_eq!(wrong, Err(CommandError::NoTransport));
    shard.open_ice_transport(id(0, 2), Duration::ZERO, entropy(2), Time::ZERO).unwrap();
    let wrong = shard.open_text(id(0, 2), config(1), RATES, Time::ZERO, &mut out);
    assert_eq!(wrong, Err(CommandError::WrongKind));
}
