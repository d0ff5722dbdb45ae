//! Frames of strangers at both ends of a link: nothing is sent to visitors, nothing is found of any, nothing is remembered.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::link::frame::frames;
use mediaserver_proto::link::{CoreLink, CoreLinkConfig, EdgeLink, EdgeLinkConfig, LinkKey, LinkName, Opening};
use mediaserver_proto::path::PathLimits;
use mediaserver_proto::time::Time;

const NAME: LinkName = LinkName { core: 0, shard: 0 };

fuzz_target!(|datagram: &[u8]| {
    let mut covered = 0;
    for frame in frames(datagram).flatten() {
        assert_eq!(frame.header.write(), mask(frame.bytes), "a header is written as it was read");
        covered += frame.bytes.len();
        Opening::read(frame.body());
    }
    assert!(covered <= datagram.len());

    let remote = ([192, 0, 2, 1], 5000).into();
    let mut out = TransmitQueue::default();
    let limits = PathLimits { paths: 16, unproven_per_prefix: 4 };
    let config = EdgeLinkConfig {
        link_socket: SocketId(1),
        secret: [1; 32],
        instance: 2,
        unix_epoch: Duration::from_secs(1_795_000_000),
        limits,
    };
    let mut edge = EdgeLink::new(config);
    edge.set_link(NAME, LinkKey::new(&[3; 32]));
    let mut batch = ReceiveBatch::default();
    batch.push(Path { socket: SocketId(1), remote }, datagram);
    edge.handle_link(&batch, 0..1, Time::from_millis(1), &mut out);
    edge.handle_public(&batch, 0..1, Time::from_millis(1), &mut out);
    assert!(out.is_empty() && edge.paths() == 0 && edge.poll_event().is_none());

    let config = CoreLinkConfig {
        name: NAME,
        instance: 4,
        seed: [5; 32],
        key: LinkKey::new(&[3; 32]),
        socket: SocketId(1),
        edge: remote,
        tls: None,
        number: 0,
        granted: 0,
    };
    let mut core = CoreLink::new(config, Time::ZERO);
    let mut found = Vec::new();
    core.handle_datagram(Path { socket: SocketId(1), remote }, datagram, 0, Time::from_millis(1), &mut found, &mut out);
    assert!(!core.is_up() && out.is_empty() && found.is_empty() && core.paths() == 0);
});

/// The header of a frame without the bits that say nothing.
fn mask(frame: &[u8]) -> [u8; 8] {
    let mut header = *frame.first_chunk::<8>().unwrap();
    header[1] &= 0b1_1100;
    header
}
