//! Two ends on a virtual wire: opening, delivery under loss, limits, slow readers, closing, and peers that misbehave.

use std::collections::VecDeque;
use std::time::Duration;

use super::association::Association;
use super::*;
use crate::dtls::Role;
use crate::error::Drop;
use crate::time::Time;

/// One way latency of the wire.
const LATENCY: Duration = Duration::from_millis(20);

struct Wire {
    ends: [DataChannels; 2],
    events: [Vec<DataEvent>; 2],
    flying: VecDeque<(Time, usize, Vec<u8>)>,
    now: Time,
    /// Packets lost of a hundred.
    loss: u64,
    random: u64,
    /// Set while the wire carries nothing to this end.
    cut: Option<usize>,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Wire {
    fn with(limits: DataLimits) -> Wire {
        let now = Time::from_millis(5000);
        let end = |entropy| {
            let config = DataConfig { local_port: 5000, remote_port: 5000, remote_message_bytes: 0, entropy, limits };
            DataChannels::new(config, now)
        };
        let mut wire = Wire {
            ends: [end(1), end(2)],
            events: [vec![], vec![]],
            flying: VecDeque::new(),
            now,
            loss: 0,
            random: 99,
            cut: None,
        };
        wire.ends[CLIENT].connect(Role::Client, now);
        wire.ends[SERVER].connect(Role::Server, now);
        wire
    }

    fn new() -> Wire {
        let mut wire = Wire::with(DataLimits::default());
        wire.run_for(Duration::from_millis(500));
        assert!(wire.ends.iter().all(DataChannels::is_connected));
        wire
    }

    fn lost(&mut self, to: usize) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.cut == Some(to) || (self.random >> 33) % 100 < self.loss
    }

    fn drain(&mut self) {
        for at in [CLIENT, SERVER] {
            while let Some(packet) = self.ends[at].poll_transmit() {
                assert!(packet.len() <= config::MTU);
                if !self.lost(1 - at) {
                    self.flying.push_back((self.now + LATENCY, 1 - at, packet));
                }
            }
            while let Some(event) = self.ends[at].poll_event() {
                self.events[at].push(event);
            }
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.drain();
            let arrival = self.flying.front().map_or(Time::FAR_FUTURE, |(at, ..)| *at);
            let due = self.ends.iter().map(DataChannels::poll_timeout).min().unwrap();
            let next = arrival.min(due);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            if arrival <= due {
                let (_, to, packet) = self.flying.pop_front().unwrap();
                self.ends[to].handle_packet(&packet, self.now);
            } else {
                for end in &mut self.ends {
                    if end.poll_timeout() <= self.now {
                        end.handle_timeout(self.now);
                    }
                }
            }
        }
    }

    fn open(&mut self, at: usize, channel: Channel) -> u16 {
        let stream = self.ends[at].open(channel, None, self.now).unwrap();
        self.run_for(Duration::from_secs(1));
        stream
    }

    fn send(&mut self, at: usize, stream: u16, payload: &[u8]) -> Result<(), SendRefusal> {
        let result = self.ends[at].send(stream, MessageKind::Binary, payload, self.now);
        self.drain();
        result
    }

    fn messages(&mut self, at: usize) -> Vec<Vec<u8>> {
        let mut messages = vec![];
        self.events[at].retain_mut(|event| match event {
            DataEvent::Message { payload, .. } => {
                messages.push(std::mem::take(payload));
                false
            }
            _ => true,
        });
        messages
    }

    fn dropped(&mut self, at: usize, reason: Drop) -> u64 {
        self.ends[at].drops_mut().get(reason)
    }
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_be_bytes().repeat(20)).collect()
}

#[test]
fn a_channel_opens_in_band_with_its_parameters_and_carries_both_kinds_both_ways() {
    let mut wire = Wire::new();
    let channel = Channel {
        protocol: "v1".into(),
        ordered: false,
        reliability: Reliability::LifetimeMs(250),
        priority: 512,
        ..Channel::new("pointer")
    };
    let stream = wire.open(CLIENT, channel.clone());
    assert_eq!(stream, 0, "the DTLS client has the even streams");
    let opened = vec![DataEvent::Opened { stream, channel }];
    assert_eq!(wire.events, [opened.clone(), opened]);
    assert_eq!(wire.open(SERVER, Channel::new("back")), 1);
    wire.events = [vec![], vec![]];
    for (kind, payload) in [
        (MessageKind::Text, "grüß".as_bytes()),
        (MessageKind::Text, b""),
        (MessageKind::Binary, b"\0"),
        (MessageKind::Binary, b""),
    ] {
        wire.ends[SERVER].send(0, kind, payload, wire.now).unwrap();
        wire.run_for(Duration::from_secs(1));
        assert_eq!(wire.events[CLIENT], [DataEvent::Message { stream: 0, kind, payload: payload.to_vec() }]);
        wire.events[CLIENT].clear();
    }
}

#[test]
fn ordered_messages_survive_heavy_loss_in_order() {
    let mut wire = Wire::new();
    let stream = wire.open(CLIENT, Channel::new("form"));
    wire.loss = 20;
    let sent = numbered(400);
    for message in &sent {
        wire.send(CLIENT, stream, message).unwrap();
        wire.run_for(Duration::from_millis(5));
    }
    wire.run_for(Duration::from_secs(60));
    assert_eq!(wire.messages(SERVER), sent);
}

#[test]
fn unordered_messages_overtake_a_lost_one_and_all_arrive() {
    let mut wire = Wire::new();
    let stream = wire.open(CLIENT, Channel { ordered: false, ..Channel::new("any") });
    let sent = numbered(10);
    wire.cut = Some(SERVER);
    wire.send(CLIENT, stream, &sent[0]).unwrap();
    wire.cut = None;
    for message in &sent[1..] {
        wire.send(CLIENT, stream, message).unwrap();
    }
    wire.run_for(Duration::from_millis(30));
    assert_eq!(wire.messages(SERVER), sent[1..]);
    wire.run_for(Duration::from_secs(5));
    assert_eq!(wire.messages(SERVER), sent[..1]);
}

#[test]
fn a_message_without_retransmissions_is_lost_for_good_and_the_channel_goes_on() {
    for reliability in [Reliability::Retransmits(0), Reliability::LifetimeMs(1)] {
        let mut wire = Wire::new();
        let stream = wire.open(CLIENT, Channel { reliability, ..Channel::new("pointer") });
        wire.cut = Some(SERVER);
        wire.send(CLIENT, stream, b"lost").unwrap();
        wire.cut = None;
        wire.run_for(Duration::from_secs(10));
        wire.send(CLIENT, stream, b"next").unwrap();
        wire.run_for(Duration::from_secs(10));
        assert_eq!(wire.messages(SERVER), [b"next"], "{reliability:?}");
    }
}

#[test]
fn the_largest_message_passes_under_loss_and_a_larger_one_is_not_taken() {
    let mut wire = Wire::new();
    let stream = wire.open(CLIENT, Channel::new("file"));
    wire.loss = 5;
    let largest: Vec<u8> = (0..64 * 1024).map(|at| at as u8).collect();
    wire.send(CLIENT, stream, &largest).unwrap();
    assert_eq!(wire.send(CLIENT, stream, &[0; 64 * 1024 + 1]), Err(SendRefusal::TooLarge));
    assert_eq!(wire.dropped(CLIENT, Drop::SctpMessageTooLarge), 1);
    wire.run_for(Duration::from_secs(30));
    assert_eq!(wire.messages(SERVER), [largest]);
}

#[test]
fn a_negotiated_channel_needs_no_handshake() {
    let mut wire = Wire::new();
    for at in [CLIENT, SERVER] {
        assert_eq!(wire.ends[at].open(Channel::new("rtt"), Some(600), wire.now), Ok(600));
        assert_eq!(wire.ends[at].open(Channel::new("rtt"), Some(600), wire.now), Err(OpenError::InUse));
        assert_eq!(wire.ends[at].open(Channel::new("rtt"), Some(1024), wire.now), Err(OpenError::Limit));
    }
    wire.send(SERVER, 600, b"hello").unwrap();
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.messages(CLIENT), [b"hello"]);
}

#[test]
fn a_closed_channel_frees_its_stream_on_both_sides() {
    let mut wire = Wire::new();
    for round in 0..3 {
        let stream = wire.open(CLIENT, Channel::new("chat"));
        assert_eq!(stream, 0, "round {round}");
        wire.send(SERVER, stream, b"still here").unwrap();
        wire.run_for(Duration::from_secs(1));
        let closer = if round == 1 { SERVER } else { CLIENT };
        wire.ends[closer].close(stream, wire.now);
        wire.run_for(Duration::from_secs(2));
        assert_eq!(wire.events[closer].last(), Some(&DataEvent::Closed { stream, reason: EndReason::Commanded }));
        assert_eq!(wire.events[1 - closer].last(), Some(&DataEvent::Closed { stream, reason: EndReason::Peer }));
        assert_eq!(wire.send(CLIENT, stream, b"late"), Err(SendRefusal::NoChannel));
    }
}

#[test]
fn a_reader_that_has_gone_silent_costs_a_bounded_buffer_and_then_its_reliable_channel() {
    let mut wire = Wire::new();
    let reliable = wire.open(SERVER, Channel::new("chat"));
    let lossy = wire.open(SERVER, Channel { reliability: Reliability::Retransmits(0), ..Channel::new("pointer") });
    wire.cut = Some(CLIENT);
    let limit = DataLimits::default().channel_buffer_bytes;
    let mut most = 0;
    for _ in 0..1000 {
        wire.send(SERVER, reliable, &[1; 1000]).ok();
        wire.send(SERVER, lossy, &[2; 1000]).ok();
        most = most.max(wire.ends[SERVER].buffered());
    }
    assert!((limit..=2 * limit).contains(&most), "{most} bytes waiting");
    assert!(wire.events[SERVER].contains(&DataEvent::Closed { stream: reliable, reason: EndReason::TooSlow }));
    assert!(
        !wire.events[SERVER].iter().any(|event| matches!(event, DataEvent::Closed { stream, .. } if *stream == lossy)),
        "a channel that may lose messages loses them and stays"
    );
    assert!(wire.dropped(SERVER, Drop::DataChannelFull) > 500);
    // Nothing is acknowledged: the association gives up in the end.
    wire.run_for(Duration::from_secs(120));
    assert!(wire.events[SERVER].contains(&DataEvent::Closed { stream: lossy, reason: EndReason::Association }));
    assert_eq!(wire.ends[SERVER].buffered(), 0);
}

#[test]
fn channels_beyond_the_limit_are_refused_and_the_others_stay() {
    let mut wire = Wire::new();
    // The opener has a larger limit than the side that accepts.
    let limits = DataLimits { channels: 100, ..DataLimits::default() };
    wire.ends[CLIENT].set_limits(limits);
    for _ in 0..20 {
        wire.ends[CLIENT].open(Channel::new("many"), None, wire.now).unwrap();
    }
    wire.run_for(Duration::from_secs(5));
    assert_eq!(wire.dropped(SERVER, Drop::DataChannelLimit), 4);
    let open = wire.events[CLIENT].iter().filter(|event| matches!(event, DataEvent::Opened { .. })).count();
    let closed = wire.events[CLIENT].iter().filter(|event| matches!(event, DataEvent::Closed { .. })).count();
    assert_eq!((open, closed), (16, 4));
    wire.send(CLIENT, 0, b"works").unwrap();
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.messages(SERVER), [b"works"]);
}

/// A peer that speaks SCTP correctly and the channel protocol as the test likes.
struct Rogue {
    association: Association,
    victim: DataChannels,
    events: Vec<DataEvent>,
    now: Time,
}

impl Rogue {
    fn new() -> Rogue {
        let now = Time::from_millis(1);
        let limits = DataLimits::default();
        let config = DataConfig { local_port: 5000, remote_port: 5000, remote_message_bytes: 0, entropy: 3, limits };
        let generous = DataLimits { message_bytes: 1 << 20, ..limits };
        let association = Association::new(&DataConfig { entropy: 4, limits: generous, ..config }, now);
        let mut rogue = Rogue { association, victim: DataChannels::new(config, now), events: vec![], now };
        rogue.victim.connect(Role::Server, now);
        rogue.settle();
        assert!(rogue.association.is_connected());
        rogue
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            while let Some(packet) = self.victim.poll_transmit() {
                self.association.handle_packet(&packet, self.now);
            }
            while let Some(event) = self.association.poll_event() {
                if let association::AssociationEvent::Packet(packet) = event {
                    self.victim.handle_packet(&packet, self.now);
                }
            }
            while let Some(event) = self.victim.poll_event() {
                self.events.push(event);
            }
            self.now = self.now + Duration::from_millis(5);
            self.association.handle_timeout(self.now);
            self.victim.handle_timeout(self.now);
        }
    }

    fn send(&mut self, stream: u16, ppid: u32, payload: &[u8]) {
        assert!(self.association.send(stream, ppid, payload.to_vec(), &Channel::new(""), true, self.now));
        self.settle();
    }

    fn open(&mut self, stream: u16) {
        let mut bytes = vec![];
        Dcep::Open(Channel::new("x")).write(&mut bytes);
        self.send(stream, 50, &bytes);
    }

    fn dropped(&mut self, reason: Drop) -> u64 {
        self.victim.drops_mut().get(reason)
    }
}

#[test]
fn what_the_channel_protocol_forbids_is_refused_and_counted() {
    let mut rogue = Rogue::new();
    rogue.open(1);
    assert_eq!(rogue.dropped(Drop::DcepUnexpected), 1, "an odd stream is not the client's");
    rogue.send(2, 50, &[3, 0, 0]);
    assert_eq!(rogue.dropped(Drop::DcepMalformed), 1);
    rogue.send(4, 50, &[2]);
    assert_eq!(rogue.dropped(Drop::DcepUnexpected), 2, "an ACK that answers nothing");
    rogue.send(6, 51, b"no channel");
    assert_eq!(rogue.dropped(Drop::SctpUnknownChannel), 1);
    assert_eq!(rogue.events, []);
    rogue.open(8);
    rogue.send(8, 51, b"\xff\xfe");
    assert_eq!(rogue.dropped(Drop::SctpTextNotUtf8), 1);
    rogue.send(8, 52, b"deprecated");
    assert_eq!(rogue.dropped(Drop::SctpUnknownPpid), 1);
    rogue.send(8, 51, b"good");
    assert_eq!(
        rogue.events.split_off(1),
        [DataEvent::Message { stream: 8, kind: MessageKind::Text, payload: b"good".to_vec() }]
    );
    rogue.open(8);
    assert_eq!(rogue.events.split_off(1), [DataEvent::Closed { stream: 8, reason: EndReason::Protocol }]);
}

#[test]
fn a_message_above_the_announced_size_ends_its_channel() {
    let mut rogue = Rogue::new();
    rogue.open(0);
    rogue.send(0, 53, &[0; 64 * 1024 + 1]);
    assert_eq!(rogue.dropped(Drop::SctpMessageTooLarge), 1);
    assert_eq!(rogue.events.last(), Some(&DataEvent::Closed { stream: 0, reason: EndReason::Protocol }));
    rogue.open(2);
    rogue.send(2, 53, b"next");
    assert!(matches!(rogue.events.last(), Some(DataEvent::Message { stream: 2, .. })), "the others are not hurt");
}

#[test]
fn a_message_that_never_ends_fills_the_window_and_no_more() {
    let mut rogue = Rogue::new();
    rogue.open(0);
    rogue.association.send(0, 53, vec![0; 1 << 20], &Channel::new(""), true, rogue.now);
    rogue.settle();
    assert_eq!(rogue.events.len(), 1, "the message is not delivered");
    let waiting = rogue.association.buffered(0);
    assert!(waiting > (1 << 20) - 4 * 64 * 1024, "the window stopped it: {waiting} bytes did not leave");
}

#[test]
fn streams_out_of_range_never_reach_the_association() {
    let mut rogue = Rogue::new();
    rogue.association.send(5000, 53, vec![0], &Channel::new(""), true, rogue.now);
    rogue.settle();
    assert!(rogue.dropped(Drop::SctpStreamOutOfRange) > 0);
}

#[test]
fn a_flood_of_packets_is_counted_and_costs_nothing_more() {
    let mut rogue = Rogue::new();
    rogue.open(0);
    for number in 0..20_000u32 {
        rogue.victim.handle_packet(&number.to_be_bytes().repeat(50), rogue.now);
    }
    let limits = DataLimits::default();
    assert!(rogue.dropped(Drop::SctpPacketRate) >= 20_000 - 2 * u64::from(limits.packets_per_second));
    assert_eq!(rogue.victim.poll_transmit(), None);
    rogue.now = rogue.now + Duration::from_secs(2);
    rogue.send(0, 51, b"after the flood");
    assert!(matches!(rogue.events.last(), Some(DataEvent::Message { .. })));
}
