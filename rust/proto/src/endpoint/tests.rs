//! Two shards on virtual time: routing, hand-over, fan-out across shards, closing, recovery.

use std::time::{Duration, Instant};

use super::*;
use crate::codec::{Feedback, MediaKind, Payload};
use crate::ice::UfragKey;
use crate::io::{Path, ReceiveBatch, SocketId};
use crate::sfu::{DownTrackConfig, DownTrackId, TransportId, UpTrackConfig};
use crate::stun::{Class, TransactionId, Writer, method};
use crate::transport::RtpRemote;

pub(super) const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/dtls_certificate.der");
pub(super) const KEY: &[u8] = include_bytes!("../../tests/data/dtls_key.der");
const SHARED: SocketId = SocketId(0);

pub(super) fn endpoint(shard: Shard, shards: Shard) -> Endpoint {
    Endpoint::new(EndpointConfig {
        shard,
        shards,
        sources: shards,
        ufrag_key: UfragKey::new(1, 2, &[7; 32]),
        identity: Identity::new(CERTIFICATE.to_vec(), KEY.to_vec(), Instant::now()).unwrap(),
        unix_epoch: Duration::from_secs(1_800_000_000),
        limits: EndpointLimits { transports: 8, half_open: 2, tracks_per_transport: 4, unknown_ssrcs: 4 },
    })
}

pub(super) fn entropy(seed: u8) -> Entropy {
    Entropy { password: [seed; _], seed: [seed; 32], cname: [seed; 12], rtcp_ssrc: u32::from(seed) + 1 }
}

pub(super) fn id(shard: Shard, number: u64) -> u64 {
    (u64::from(shard) << 48) | number
}

fn payloads(kind: MediaKind) -> Vec<Payload> {
    let (payload_type, name, clock_rate) = match kind {
        MediaKind::Audio => (0, "PCMU", 8_000),
        MediaKind::Video => (96, "VP8", 90_000),
    };
    vec![Payload {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels: 1,
        parameters: Vec::new(),
        feedback: Feedback::default(),
    }]
}

/// An RTP leg with an up track `transport + 1` and a down track `transport + 2`.
struct Leg {
    transport: u64,
    socket: SocketId,
    peer: std::net::SocketAddr,
}

fn open_leg(endpoint: &mut Endpoint, transport: u64, port: u16) -> Leg {
    open_leg_of(MediaKind::Audio, endpoint, transport, port)
}

fn open_leg_of(kind: MediaKind, endpoint: &mut Endpoint, transport: u64, port: u16) -> Leg {
    let mut out = TransmitQueue::default();
    let socket = SocketId(u32::from(port));
    let sockets = RtpSockets { rtp: socket, rtcp: SocketId(u32::from(port) + 1) };
    endpoint.open_rtp_transport(transport, sockets, entropy(1), Duration::ZERO, Duration::ZERO).unwrap();
    let peer = ([192, 0, 2, 1], port).into();
    let remote = RtpRemote { rtp: Some(peer), ..RtpRemote::default() };
    endpoint.set_rtp_remote(transport, remote, Time::ZERO, &mut out).unwrap();
    let up = UpTrackConfig {
        id: UpTrackId(transport + 1),
        transport: TransportId(transport),
        kind,
        mid: None,
        payloads: payloads(kind),
        ssrcs: Vec::new(),
        rtx_ssrcs: Vec::new(),
        rids: Vec::new(),
        closed_gates: Vec::new(),
    };
    endpoint.add_up_track(up, Time::ZERO).unwrap();
    let down = DownTrackConfig {
        id: DownTrackId(transport + 2),
        transport: TransportId(transport),
        kind,
        mid: None,
        ssrc: Ssrc(u32::from(port)),
        rtx_ssrc: None,
        cname: "test".to_owned(),
        payloads: payloads(kind),
    };
    endpoint.add_down_track(down).unwrap();
    Leg { transport, socket, peer }
}

fn rtp(sequence: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&[fill; 160]);
    packet
}

/// A packet of the keyframe that a picture begins with: the first, the last, or neither.
fn picture(sequence: u16, marker: bool) -> Vec<u8> {
    let mut packet = vec![0x80, 96 | (u8::from(marker) << 7), 0, sequence as u8, 0, 0, 0, 9, 0, 0, 0, 9];
    // RFC 7741 §4.2 and §4.3: the first packet of partition 0 has S set and holds the frame's header.
    packet.push(if sequence == 1 { 0x10 } else { 0 });
    packet.extend_from_slice(&[0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0]);
    packet.extend_from_slice(&[sequence as u8; 100]);
    packet
}

/// Sends packets of the leg's phone and gives what leaves.
fn send(endpoint: &mut Endpoint, leg: &Leg, packets: &[Vec<u8>], now: Time) -> TransmitQueue<'static> {
    let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
    for packet in packets {
        batch.push(Path { socket: leg.socket, remote: leg.peer }, packet);
    }
    endpoint.handle_batch(&mut batch, 0..packets.len(), now, &mut out);
    out
}

/// Carries messages between two shards until there are none; gives what the second one sends.
fn exchange(a: &mut Endpoint, b: &mut Endpoint, now: Time) -> (TransmitQueue<'static>, TransmitQueue<'static>) {
    let (mut out_a, mut out_b) = (TransmitQueue::default(), TransmitQueue::default());
    loop {
        let mut any = false;
        while let Some((to, message)) = a.poll_message() {
            assert_eq!(to, 1);
            b.handle_message(0, message, now, &mut out_b);
            any = true;
        }
        while let Some((to, message)) = b.poll_message() {
            assert_eq!(to, 0);
            a.handle_message(1, message, now, &mut out_a);
            any = true;
        }
        if !any {
            return (out_a, out_b);
        }
    }
}

fn events(endpoint: &mut Endpoint) -> Vec<EndpointEvent> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

#[test]
fn packets_of_one_batch_leave_side_by_side_for_each_receiver() {
    let mut shard = endpoint(0, 1);
    let [source, first, second] = [10u64, 20, 30].map(|number| open_leg(&mut shard, number, 1000 + number as u16));
    for leg in [&first, &second] {
        shard.subscribe(leg.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    }
    let out = send(&mut shard, &source, &[rtp(1, 1), rtp(2, 2), rtp(3, 3)], Time::from_millis(1));
    let remotes: Vec<_> = out.entries().iter().map(|entry| entry.path.remote).collect();
    assert_eq!(remotes, [[first.peer; 3], [second.peer; 3]].concat());
    assert!(out.entries().windows(2).all(|pair| pair[1].start == pair[0].start + pair[0].len));
}

#[test]
fn a_large_batch_may_be_given_in_parts() {
    let mut shard = endpoint(0, 1);
    let [source, receiver] = [10u64, 20].map(|number| open_leg(&mut shard, number, 1000 + number as u16));
    shard.subscribe(receiver.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    let mut batch = ReceiveBatch::default();
    for sequence in 1..=5 {
        batch.push(Path { socket: source.socket, remote: source.peer }, &rtp(sequence, sequence as u8));
    }
    let mut left = Vec::new();
    for part in [0..2, 2..4, 4..9] {
        let mut out = TransmitQueue::default();
        shard.handle_batch(&mut batch, part, Time::from_millis(1), &mut out);
        left.extend(out.entries().iter().map(|entry| out.datagram(entry)[12]));
    }
    assert_eq!(left, [1, 2, 3, 4, 5]);
}

#[test]
fn what_comes_of_a_frame_while_it_is_looked_for_leaves_with_the_rest() {
    let mut shard = endpoint(0, 1);
    let [source, first, second] =
        [10u64, 20, 30].map(|number| open_leg_of(MediaKind::Video, &mut shard, number, 1000 + number as u16));
    for leg in [&first, &second] {
        shard.subscribe(leg.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    }
    let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
    let path = Path { socket: source.socket, remote: source.peer };
    let unfinished: Vec<usize> = [(1, false), (2, false), (3, true)]
        .into_iter()
        .enumerate()
        .map(|(at, (sequence, marker))| {
            batch.push(path, &picture(sequence, marker));
            shard.take_batch(&mut batch, at..at + 1, Time::from_millis(1), &mut out)
        })
        .collect();
    // Packets for both receivers, until the last one of the frame is there.
    assert_eq!(unfinished, [2, 4, 0]);
    assert!(out.is_empty());
    shard.finish_batch(&batch, Time::from_millis(1), &mut out);
    let remotes: Vec<_> = out.entries().iter().map(|entry| entry.path.remote).collect();
    assert_eq!(remotes, [[first.peer; 3], [second.peer; 3]].concat());
}

#[test]
fn a_receiver_on_another_shard_gets_each_batch_once() {
    let (mut a, mut b) = (endpoint(0, 2), endpoint(1, 2));
    let source = open_leg(&mut a, id(0, 10), 1010);
    let receivers = [20, 30].map(|number| open_leg(&mut b, id(1, number), 1000 + number as u16));
    for leg in &receivers {
        b.subscribe(leg.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    }
    exchange(&mut a, &mut b, Time::ZERO);
    let out = send(&mut a, &source, &[rtp(1, 1), rtp(2, 2)], Time::from_millis(1));
    assert!(out.is_empty());
    let mut carried = Vec::new();
    while let Some((to, message)) = a.poll_message() {
        let ShardMessage::Media(batch) = &message else { panic!("{message:?}") };
        assert_eq!((to, batch.len()), (1, 2));
        carried.push(message);
    }
    assert_eq!(carried.len(), 1, "once for the shard, not once for each receiver");
    let mut out = TransmitQueue::default();
    for message in carried {
        b.handle_message(0, message, Time::from_millis(1), &mut out);
    }
    let payloads: Vec<u8> = out.entries().iter().map(|entry| out.datagram(entry)[12]).collect();
    assert_eq!(payloads, [1, 2, 1, 2]);
}

#[test]
fn media_buffers_come_home_and_are_used_again() {
    let (mut a, mut b) = (endpoint(0, 2), endpoint(1, 2));
    let source = open_leg(&mut a, id(0, 10), 1010);
    let receiver = open_leg(&mut b, id(1, 20), 1020);
    b.subscribe(receiver.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    exchange(&mut a, &mut b, Time::ZERO);
    let mut addresses = std::collections::HashSet::new();
    for sequence in 1..50 {
        send(&mut a, &source, &[rtp(sequence, 1)], Time::from_millis(u64::from(sequence)));
        let Some((_, ShardMessage::Media(batch))) = a.poll_message() else { panic!("no media") };
        addresses.insert(std::sync::Arc::as_ptr(&batch));
        let mut out = TransmitQueue::default();
        b.handle_message(0, ShardMessage::Media(batch), Time::from_millis(u64::from(sequence)), &mut out);
        assert_eq!(out.len(), 1);
    }
    assert_eq!(addresses.len(), 1);
}

#[test]
fn unsubscribing_stops_the_media_between_shards() {
    let (mut a, mut b) = (endpoint(0, 2), endpoint(1, 2));
    let source = open_leg(&mut a, id(0, 10), 1010);
    let receiver = open_leg(&mut b, id(1, 20), 1020);
    b.subscribe(receiver.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    exchange(&mut a, &mut b, Time::ZERO);
    b.unsubscribe(receiver.transport + 2, Time::ZERO).unwrap();
    exchange(&mut a, &mut b, Time::ZERO);
    send(&mut a, &source, &[rtp(1, 1)], Time::from_millis(1));
    assert!(a.poll_message().is_none());
    assert!(a.wants.is_empty());
}

#[test]
fn a_subscription_may_come_before_its_source_on_another_shard() {
    let (mut a, mut b) = (endpoint(0, 2), endpoint(1, 2));
    let receiver = open_leg(&mut b, id(1, 20), 1020);
    b.subscribe(receiver.transport + 2, id(0, 11), Time::ZERO).unwrap();
    exchange(&mut a, &mut b, Time::ZERO);
    let source = open_leg(&mut a, id(0, 10), 1010);
    send(&mut a, &source, &[rtp(1, 1)], Time::from_millis(1));
    let (_, out) = exchange(&mut a, &mut b, Time::from_millis(1));
    assert_eq!(out.len(), 1);
}

fn binding_request(ufrag: &str) -> Vec<u8> {
    let username = format!("{ufrag}:peer");
    let padded = username.len().next_multiple_of(4);
    let mut datagram = vec![0, 1];
    datagram.extend_from_slice(&((4 + padded) as u16).to_be_bytes());
    datagram.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 6]);
    datagram.extend_from_slice(&(username.len() as u16).to_be_bytes());
    datagram.extend_from_slice(username.as_bytes());
    datagram.resize(24 + padded, 0);
    datagram
}

#[test]
fn a_check_at_any_socket_finds_its_shard_by_the_ufrag() {
    let (mut a, mut b) = (endpoint(0, 2), endpoint(1, 2));
    let credentials = b.open_ice_transport(id(1, 5), Duration::from_secs(5), entropy(3), Time::ZERO).unwrap();
    let path = Path { socket: SHARED, remote: ([192, 0, 2, 9], 4000).into() };
    let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
    batch.push(path, &binding_request(credentials.ufrag()));
    a.handle_batch(&mut batch, 0..1, Time::ZERO, &mut out);
    assert_eq!(a.handed_over(), 1);
    let Some((1, message @ ShardMessage::Datagrams(_))) = a.poll_message() else { panic!("not handed over") };
    b.handle_message(0, message, Time::ZERO, &mut out);
    // It has no MESSAGE-INTEGRITY: the transport itself refuses it, by name, and the buffer goes home.
    let refused = b.transport_drops.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(refused, 1);
    assert!(matches!(b.poll_message(), Some((0, ShardMessage::Returned(_)))));
    assert!(out.is_empty());
}

#[test]
fn a_tuple_that_another_thread_carries_is_told_to_it_alone_and_taken_back_by_it_alone() {
    let mut shard = endpoint(0, 3);
    let credentials = shard.open_ice_transport(id(0, 5), Duration::from_secs(5), entropy(3), Time::ZERO).unwrap();
    let path = Path { socket: SocketId::carried(4, 0), remote: ([192, 0, 2, 9], 4000).into() };
    let check = |out: &mut Vec<u8>| {
        let name = format!("{}:peer", credentials.ufrag());
        let writer = Writer::new(out, Class::Request, method::BINDING, TransactionId([1; 12]));
        writer.username(name.as_bytes()).integrity(credentials.key()).fingerprint();
    };
    let mut out = TransmitQueue::default();
    let mut bind = |shard: &mut Endpoint| {
        let mut batch = Box::<ReceiveBatch>::default();
        let mut bytes = Vec::new();
        check(&mut bytes);
        batch.push(path, &bytes);
        shard.handle_message(4, ShardMessage::Datagrams(batch), Time::ZERO, &mut out);
        assert!(matches!(shard.poll_message(), Some((4, ShardMessage::PathBound(bound))) if bound == path));
        assert!(matches!(shard.poll_message(), Some((4, ShardMessage::Returned(_)))));
    };
    bind(&mut shard);
    let close = |shard: &mut Endpoint, from, path| {
        shard.handle_message(from, ShardMessage::PathClosed(path), Time::ZERO, &mut TransmitQueue::default());
        shard.poll_message().map(|(to, message)| (to, matches!(message, ShardMessage::PathUnbound(_))))
    };
    assert_eq!(close(&mut shard, 3, path), None, "who does not carry it has no say");
    let other = Path { socket: SocketId::carried(4, 1), ..path };
    assert_eq!(close(&mut shard, 4, other), None);
    assert_eq!(close(&mut shard, 4, path), Some((4, true)));
    assert!(shard.poll_message().is_none(), "no shard can have heard of it");
    // The same address may come again, and is told again.
    bind(&mut shard);
}

#[test]
fn a_forged_ufrag_and_an_unknown_tuple_cost_nothing_but_a_counter() {
    let mut shard = endpoint(0, 2);
    let mut ufrag = UfragKey::new(1, 2, &[7; 32]).make(id(0, 5), 0, 0xff_ffff);
    ufrag.replace_range(30..31, if ufrag.as_bytes()[30] == b'A' { "B" } else { "A" });
    let path = Path { socket: SHARED, remote: ([192, 0, 2, 9], 4000).into() };
    let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
    batch.push(path, &binding_request(&ufrag));
    batch.push(path, &binding_request("somebody-elses"));
    batch.push(path, &rtp(1, 1));
    shard.handle_batch(&mut batch, 0..3, Time::ZERO, &mut out);
    let drops = &shard.drops;
    assert_eq!((drops.forged_ufrag, drops.foreign_ufrag, drops.unbound_tuple), (1, 1, 1));
    assert!(out.is_empty() && shard.poll_message().is_none());
}

#[test]
fn handed_over_datagrams_are_never_handed_on() {
    let mut shard = endpoint(0, 3);
    let ufrag = UfragKey::new(1, 2, &[7; 32]).make(id(2, 5), 0, 0xff_ffff);
    let mut batch = Box::<ReceiveBatch>::default();
    batch.push(Path { socket: SHARED, remote: ([192, 0, 2, 9], 4000).into() }, &binding_request(&ufrag));
    let mut out = TransmitQueue::default();
    shard.handle_message(1, ShardMessage::Datagrams(batch), Time::ZERO, &mut out);
    assert!(matches!(shard.poll_message(), Some((1, ShardMessage::Returned(_)))));
    assert!(shard.poll_message().is_none());
    assert_eq!(shard.drops.unknown_transport, 1);
}

#[test]
fn closing_a_transport_says_goodbye_takes_its_tracks_and_frees_its_ids() {
    let mut shard = endpoint(0, 1);
    let [source, receiver] = [10u64, 20].map(|number| open_leg(&mut shard, number, 1000 + number as u16));
    shard.subscribe(receiver.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    send(&mut shard, &source, &[rtp(1, 1)], Time::from_millis(1));
    events(&mut shard);
    let mut out = TransmitQueue::default();
    shard.close_transport(receiver.transport, Time::from_millis(2), &mut out).unwrap();
    let goodbye = out.entries().iter().any(|entry| {
        crate::rtcp::packets(out.datagram(entry)).any(|packet| matches!(packet, Ok(crate::rtcp::RtcpPacket::Bye(_))))
    });
    assert!(goodbye);
    let [EndpointEvent::TransportClosed { id, reason: "commanded", last: Some(last) }] = &events(&mut shard)[..] else {
        panic!("not closed, or without what was counted");
    };
    assert_eq!((*id, last.tracks.down[0].packets, last.transport.packets_sent), (receiver.transport, 1, 1));
    assert!(send(&mut shard, &source, &[rtp(2, 2)], Time::from_millis(3)).is_empty());
    assert_eq!((shard.transports(), shard.track_slots.len()), (1, 2));
    open_leg(&mut shard, receiver.transport, 1020);
}

#[test]
fn bounds_are_refused_by_name() {
    let mut shard = endpoint(0, 1);
    let open = |shard: &mut Endpoint, number| {
        shard.open_ice_transport(number, Duration::ZERO, entropy(1), Time::ZERO).map(|_| ())
    };
    assert_eq!(open(&mut shard, 1), Ok(()));
    assert_eq!(open(&mut shard, 1), Err(CommandError::IdInUse));
    assert_eq!(open(&mut shard, id(1, 2)), Err(CommandError::WrongShard));
    assert_eq!(open(&mut shard, 2), Ok(()));
    assert_eq!(open(&mut shard, 3), Err(CommandError::Limit("half_open")));
    for number in 0..6 {
        let sockets = RtpSockets { rtp: SocketId(100 + number), rtcp: SocketId(200 + number) };
        let number = u64::from(number) + 10;
        shard.open_rtp_transport(number, sockets, entropy(1), Duration::ZERO, Duration::ZERO).unwrap();
    }
    assert_eq!(open(&mut shard, 30), Err(CommandError::Limit("transports")));
    assert_eq!(shard.request_keyframe(99, Time::ZERO), Err(CommandError::NoTrack));
}

#[test]
fn after_a_panic_nothing_of_its_batch_is_forwarded_out_of_the_next_one() {
    let mut shard = endpoint(0, 1);
    let [source, receiver] = [10u64, 20].map(|number| open_leg(&mut shard, number, 1000 + number as u16));
    shard.subscribe(receiver.transport + 2, source.transport + 1, Time::ZERO).unwrap();
    let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
    let path = Path { socket: source.socket, remote: source.peer };
    batch.push(path, &rtp(1, 1));
    shard.take_batch(&mut batch, 0..1, Time::ZERO, &mut out);
    shard.recover(Time::ZERO, &mut out);
    let left = send(&mut shard, &source, &[rtp(2, 2)], Time::from_millis(20));
    assert_eq!(left.entries().iter().map(|entry| left.datagram(entry)[12]).collect::<Vec<_>>(), [2]);
}

#[test]
fn after_a_panic_only_the_transport_at_hand_is_closed() {
    let mut shard = endpoint(0, 1);
    let [first, second] = [10u64, 20].map(|number| open_leg(&mut shard, number, 1000 + number as u16));
    shard.current = shard.ids.get(&first.transport).copied();
    let mut out = TransmitQueue::default();
    shard.recover(Time::ZERO, &mut out);
    assert!(matches!(
        events(&mut shard)[..],
        [EndpointEvent::TransportClosed { id, reason: "failed", last: Some(_) }] if id == first.transport
    ));
    assert!(shard.statistics(second.transport).is_some());
}
