//! Sending and receiving through real sockets on loopback.

use std::net::SocketAddr;

use mediaserver_proto::io::{Carries, Path, SocketId, TransmitQueue};

use super::sender::{GSO_BYTES, GSO_SEGMENTS, run_length};
use super::*;
use crate::config::Dscp;
use crate::gathering::Waited;

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
    assert_eq!(run_length(queue.entries(), Marks::default()), 3);
}

#[test]
fn a_run_ends_before_a_longer_datagram_and_before_another_path() {
    let mut queue = TransmitQueue::default();
    queue.push(path(1), &[0; 100]);
    queue.push(path(1), &[0; 101]);
    queue.push(path(2), &[0; 101]);
    assert_eq!(run_length(queue.entries(), Marks::default()), 1);
    assert_eq!(run_length(&queue.entries()[1..], Marks::default()), 1);
}

#[test]
fn a_run_is_bounded_in_datagrams_and_in_bytes() {
    let mut queue = TransmitQueue::default();
    for _ in 0..100 {
        queue.push(path(1), &[0; 10]);
    }
    assert_eq!(run_length(queue.entries(), Marks::default()), GSO_SEGMENTS);
    let mut queue = TransmitQueue::default();
    for _ in 0..60 {
        queue.push(path(1), &[0; 1472]);
    }
    assert_eq!(run_length(queue.entries(), Marks::default()), GSO_BYTES / 1472);
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
    Sender::new(gso, Marks::default()).send(&queue, |_| Some(&sender), &mut count);
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
    let mut sender = Sender::new(true, Marks::default());
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
    Sender::new(true, Marks::default()).send(&queue, |_| None, &mut count);
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
    let mut out = Sender::new(false, Marks::default());
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

const MARKED: Dscp = Dscp { audio: 46, video: 34, screen: 26 };

/// Sends sound, picture, screen and control by a socket marked for video; payload and DSCP of each as they arrive.
fn marks_seen(dscp: &Dscp, gso: bool, ip: &str) -> (SendCount, Vec<(u8, u8)>) {
    let bind = || UdpSocket::bind(SocketId(0), format!("{ip}:0").parse().unwrap(), true, 1 << 20).unwrap();
    let (from, to) = (bind(), bind());
    let receive = if ip == "[::1]" { libc::IPV6_RECVTCLASS } else { libc::IP_RECVTOS };
    set_option(&to.socket, tos_option(ip == "[::1]").0, receive, 1).unwrap();
    // Joined datagrams would hide how many there were.
    set_option(&to.socket, SOL_UDP, UDP_GRO, 0).unwrap();
    from.mark(dscp.video);
    let path = Path { socket: SocketId(0), remote: to.local() };
    let mut queue = TransmitQueue::default();
    for carries in [Carries::Audio, Carries::Video, Carries::Screen, Carries::Control] {
        queue.carries = carries;
        (0..3).for_each(|_| queue.push(path, &[carries as u8; 100]));
    }
    let mut count = SendCount::default();
    Sender::new(gso, Marks::new(dscp)).send(&queue, |_| Some(&from), &mut count);
    let seen = (0..12).map(|_| receive_marked(&to)).collect();
    (count, seen)
}

/// The first byte of the next datagram, and its DSCP.
fn receive_marked(socket: &UdpSocket) -> (u8, u8) {
    let (mut bytes, mut control) = ([0u8; 2048], Control([0; CONTROL_BYTES]));
    let mut iovec = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut header = empty_header().msg_hdr;
    header.msg_iov = &raw mut iovec;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the header points at live memory of the stated sizes, and the CMSG macros stay inside what came.
    unsafe {
        assert!(libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) > 0, "nothing came");
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(found) = message.as_ref() {
            if matches!((found.cmsg_level, found.cmsg_type), (libc::IPPROTO_IP, libc::IP_TOS)) {
                return (bytes[0], *libc::CMSG_DATA(message) >> 2);
            }
            if matches!((found.cmsg_level, found.cmsg_type), (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)) {
                return (bytes[0], (libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned() >> 2) as u8);
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    panic!("the kernel told no mark");
}

#[test]
fn every_kind_of_media_carries_its_mark() {
    let expected = [(Carries::Audio, 46), (Carries::Video, 34), (Carries::Screen, 26), (Carries::Control, 34)];
    let expected: Vec<_> = expected.iter().flat_map(|&(carries, dscp)| [(carries as u8, dscp); 3]).collect();
    for ip in ["127.0.0.1", "[::1]"] {
        for gso in [true, false] {
            let (count, seen) = marks_seen(&MARKED, gso, ip);
            assert_eq!(seen, expected, "{ip}, gso {gso}");
            // Control traffic has the mark of video, but is no neighbour of it here.
            assert_eq!((count.datagrams, count.runs), (12, if gso { 4 } else { 0 }));
        }
    }
}

#[test]
fn equal_marks_part_no_run() {
    for dscp in [Dscp { audio: 34, video: 34, screen: 34 }, Dscp::default()] {
        let (count, seen) = marks_seen(&dscp, true, "127.0.0.1");
        assert!(seen.iter().all(|&(_, mark)| mark == dscp.video));
        assert_eq!((count.datagrams, count.runs), (12, 1));
    }
}

#[test]
fn a_run_that_the_kernel_refuses_as_a_whole_keeps_its_mark_one_by_one() {
    let to = loopback();
    set_option(&to.socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1).unwrap();
    let from = loopback();
    // The kernel refuses to segment what it must not check itself (UDP_NO_CHECK), and says EIO.
    set_option(&from.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let mut queue = TransmitQueue::default();
    queue.carries = Carries::Audio;
    (0..3).for_each(|_| queue.push(path(to.local().port()), &[7; 100]));
    let mut count = SendCount::default();
    let mut sender = Sender::new(true, Marks::new(&MARKED));
    sender.send(&queue, |_| Some(&from), &mut count);
    assert_eq!((count.datagrams, count.runs, sender.gso()), (3, 0, false));
    (0..3).for_each(|_| assert_eq!(receive_marked(&to), (7, 46)));
}

#[test]
fn more_is_asked_for_when_more_waits_and_nothing_is_lost() {
    let sender = loopback();
    let mut socket = UdpSocket::bind(SocketId(0), "127.0.0.1:0".parse().unwrap(), false, 1 << 20).unwrap();
    let mut queue = TransmitQueue::default();
    for number in 0..100 {
        queue.push(path(socket.local().port()), &[number; 20]);
    }
    Sender::new(false, Marks::default()).send(&queue, |_| Some(&sender), &mut SendCount::default());
    let mut memory = Receiver::default();
    let mut batch = Receiver::new_batch();
    let (mut calls, mut numbers) = (Vec::new(), Vec::new());
    while numbers.len() < 100 {
        let count = memory.receive(&mut socket, &mut batch, 0, RECEIVE_SLOTS).unwrap();
        calls.push(count.messages);
        numbers.extend(batch.entries().iter().map(|entry| batch.datagram(entry)[0]));
        batch.recycle();
    }
    assert_eq!(calls, [16, 32, 52]);
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    assert_eq!(memory.receive(&mut socket, &mut batch, 0, RECEIVE_SLOTS).unwrap(), ReceiveCount::default());
}

#[test]
fn who_has_slept_is_given_one_message_and_then_the_rest() {
    let (sender, mut socket) = (loopback(), loopback());
    let mut queue = TransmitQueue::default();
    for index in 0..5u8 {
        queue.push(path(socket.local().port()), &[index; 10]);
    }
    Sender::new(false, Marks::default()).send(&queue, |_| Some(&sender), &mut SendCount::default());
    let (mut memory, mut batch) = (Receiver::default(), Receiver::new_batch());
    let mut slot = 0;
    let counts = [Waited::Woken, Waited::Found, Waited::Woken].map(|waited| {
        memory.after(waited);
        let count = memory.receive(&mut socket, &mut batch, slot, RECEIVE_SLOTS).unwrap();
        slot += count.messages;
        (count.messages, count.datagrams)
    });
    assert_eq!(counts, [(1, 1), (4, 4), (0, 0)]);
    let all: Vec<u8> = batch.entries().iter().map(|entry| batch.datagram(entry)[0]).collect();
    assert_eq!(all, [0, 1, 2, 3, 4]);
}
