//! Sending and receiving through real sockets on loopback.

use std::net::SocketAddr;

use mediaserver_proto::io::{Path, SocketId, TransmitQueue};

use super::sender::{GSO_BYTES, GSO_SEGMENTS, run_length};
use super::*;

fn path(port: u16) -> Path {
    Path { socket: SocketId(0), remote: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn loopback() -> UdpSocket {
    UdpSocket::bind(SocketId(0), "127.0.0.1:0".parse().unwrap(), true, 1 << 20).unwrap()
}

#[test]
fn a_run_ends_after_the_first_shorter_datagram() {
    let mut queue = TransmitQueue::default();
    for len in [100, 100, 60, 100] {
        queue.push(path(1), &vec![0; len]);
    }
    assert_eq!(run_length(queue.entries()), 3);
}

#[test]
fn a_run_ends_before_a_longer_datagram_and_before_another_path() {
    let mut queue = TransmitQueue::default();
    queue.push(path(1), &[0; 100]);
    queue.push(path(1), &[0; 101]);
    queue.push(path(2), &[0; 101]);
    assert_eq!(run_length(queue.entries()), 1);
    assert_eq!(run_length(&queue.entries()[1..]), 1);
}

#[test]
fn a_run_is_bounded_in_datagrams_and_in_bytes() {
    let mut queue = TransmitQueue::default();
    for _ in 0..100 {
        queue.push(path(1), &[0; 10]);
    }
    assert_eq!(run_length(queue.entries()), GSO_SEGMENTS);
    let mut queue = TransmitQueue::default();
    for _ in 0..60 {
        queue.push(path(1), &[0; 1472]);
    }
    assert_eq!(run_length(queue.entries()), GSO_BYTES / 1472);
}

fn exchange(gso: bool) -> (SendCount, Vec<Vec<u8>>) {
    let sender = loopback();
    let mut receiver = loopback();
    let port = receiver.local().port();
    let mut queue = TransmitQueue::default();
    for index in 0..20u8 {
        queue.push(path(port), &[index; 500]);
    }
    queue.push(path(port), &[20; 7]);
    let mut count = SendCount::default();
    Sender::new(gso).send(&queue, |_| Some(&sender), &mut count);
    let mut batch = Receiver::new_batch();
    let mut slot = 0;
    let mut memory = Receiver::default();
    while batch.len() < 21 {
        let got = memory.receive(&mut receiver, &mut batch, slot, 64).unwrap();
        assert!(got.messages > 0, "nothing more came after {} datagrams", batch.len());
        slot += got.messages;
    }
    assert!(batch.entries().iter().all(|entry| entry.path.remote == sender.local()));
    (count, batch.entries().iter().map(|entry| batch.datagram(entry).to_vec()).collect())
}

#[test]
fn a_run_sent_as_one_message_arrives_as_the_same_datagrams() {
    let (count, datagrams) = exchange(true);
    assert_eq!((count.datagrams, count.runs, count.calls, count.bytes), (21, 1, 1, 10_007));
    let expected: Vec<Vec<u8>> = (0..20u8).map(|index| vec![index; 500]).chain([vec![20; 7]]).collect();
    assert_eq!(datagrams, expected);
}

#[test]
fn without_gso_the_same_datagrams_arrive() {
    let (count, datagrams) = exchange(false);
    assert_eq!((count.datagrams, count.runs, count.calls), (21, 0, 1));
    assert_eq!(datagrams.len(), 21);
}

#[test]
fn a_destination_that_cannot_be_is_refused_alone_and_leaves_gso_on() {
    let socket = loopback();
    let port = socket.local().port();
    let mut queue = TransmitQueue::default();
    queue.push(path(0), &[1; 10]);
    queue.push(path(0), &[1; 10]);
    queue.push(path(port), &[2; 10]);
    let mut sender = Sender::new(true);
    let mut count = SendCount::default();
    sender.send(&queue, |_| Some(&socket), &mut count);
    assert_eq!((count.refused, count.datagrams), (2, 1));
    assert!(sender.gso());
}

#[test]
fn datagrams_for_a_closed_socket_are_counted() {
    let mut queue = TransmitQueue::default();
    queue.push(path(9), &[1; 10]);
    let mut count = SendCount::default();
    Sender::new(true).send(&queue, |_| None, &mut count);
    assert_eq!(count.no_socket, 1);
}

#[test]
fn the_kernels_own_drops_are_reported() {
    let sender = loopback();
    let mut receiver = UdpSocket::bind(SocketId(0), "127.0.0.1:0".parse().unwrap(), true, 4096).unwrap();
    let mut queue = TransmitQueue::default();
    for _ in 0..200 {
        queue.push(path(receiver.local().port()), &[0; 1000]);
    }
    let mut out = Sender::new(false);
    let mut count = SendCount::default();
    out.send(&queue, |_| Some(&sender), &mut count);
    let mut batch = Receiver::new_batch();
    let mut memory = Receiver::default();
    let before = memory.receive(&mut receiver, &mut batch, 0, 64).unwrap();
    out.send(&queue, |_| Some(&sender), &mut count);
    let after = memory.receive(&mut receiver, &mut batch, 0, 64).unwrap();
    assert!(before.datagrams < 200);
    assert!(before.kernel_drops + after.kernel_drops > 0);
}
