//! No allocation in steady state: publishers, receivers with all their feedback, one shard and two, an Edge and its Core,
//! and a counting allocator around every call of theirs.

mod allocations;
mod link;
mod peer;
mod publisher;
mod receiver;
mod wire;

use std::time::Duration;

use mediaserver_proto::codec::{MediaKind, Payload};
use mediaserver_proto::endpoint::Shard;
use mediaserver_proto::rtp::{Ssrc, Token};
use mediaserver_proto::sfu::{DownTrackConfig, DownTrackId, TransportId, UpTrackConfig, UpTrackId};
use mediaserver_proto::srtp::Suite;

use peer::{Part, audio, video};
use publisher::{Publisher, RIDS};
use receiver::Receiver;
use wire::Wire;

/// Until everything has its size: rings hold a second, reports come every second or every five.
const WARM_UP: Duration = Duration::from_secs(60);
/// Many reports, checks, keyframes and wraps of the RTX and feedback counters.
const MEASURED: Duration = Duration::from_secs(30);

const MID: &str = "0";

fn kind_of(payloads: &[Payload]) -> (MediaKind, bool) {
    let is_video = payloads[0].clock_rate == 90_000;
    (if is_video { MediaKind::Video } else { MediaKind::Audio }, is_video)
}

fn add_up_track(wire: &mut Wire, transport: u64, payloads: Vec<Payload>, ssrc: u32) -> u64 {
    let up = transport + 1;
    let (kind, is_video) = kind_of(&payloads);
    let rids: &[&str] = if is_video { &RIDS } else { &[] };
    let config = UpTrackConfig {
        id: UpTrackId(up),
        transport: TransportId(transport),
        kind,
        mid: Token::new(MID.as_bytes()),
        payloads,
        ssrcs: if is_video { Vec::new() } else { vec![Ssrc(ssrc)] },
        rtx_ssrcs: Vec::new(),
        rids: rids.iter().filter_map(|rid| Token::new(rid.as_bytes())).collect(),
        closed_gates: Vec::new(),
    };
    let now = wire.now;
    wire.shards[(transport >> 48) as usize].add_up_track(config, now).unwrap();
    up
}

fn add_down_track(wire: &mut Wire, transport: u64, number: u64, payloads: Vec<Payload>, up: u64) {
    let down = transport + 2 + number;
    let (kind, is_video) = kind_of(&payloads);
    let ssrc = 10_000 + 2 * (transport as u32 & 0xffff) + 1_000_000 * number as u32;
    let config = DownTrackConfig {
        id: DownTrackId(down),
        transport: TransportId(transport),
        kind,
        mid: Token::new(MID.as_bytes()),
        ssrc: Ssrc(ssrc),
        rtx_ssrc: is_video.then_some(Ssrc(ssrc + 1)),
        cname: "steady".to_owned(),
        payloads,
    };
    let now = wire.now;
    let endpoint = &mut wire.shards[(transport >> 48) as usize];
    endpoint.add_down_track(config).unwrap();
    endpoint.subscribe(down, up, now).unwrap();
}

/// Connects publishers on shard 0 and receivers of all of them; where each receiver lives and where its datagrams come in.
fn hall(shards: Shard, payloads: &[Payload], publishers: u8, receivers: &[(Shard, Shard)]) -> Wire {
    let mut wire = Wire::new(shards);
    let (kind, is_video) = kind_of(payloads);
    let is_av1 = payloads[0].name == "AV1";
    let mut ups = Vec::new();
    for number in 0..publishers {
        let ssrc = 1_000 + 10 * u32::from(number);
        let publisher = match kind {
            MediaKind::Video => Publisher::video(MID, ssrc, is_av1, u64::from(number)),
            MediaKind::Audio => Publisher::audio(MID, ssrc, u64::from(number)),
        };
        let transport = wire.connect(0, 0, Part::Publishes(publisher));
        ups.push(add_up_track(&mut wire, transport, payloads.to_vec(), ssrc));
    }
    for (number, &(shard, arrives_at)) in receivers.iter().enumerate() {
        let receiver = Receiver::new(number as u8, is_video);
        let transport = wire.connect(shard, arrives_at, Part::Receives(receiver));
        for (index, &up) in ups.iter().enumerate() {
            add_down_track(&mut wire, transport, index as u64, payloads.to_vec(), up);
        }
    }
    wire
}

/// Warms up, then counts. Returns how many datagrams the endpoints sent meanwhile.
fn assert_steady(wire: &mut Wire) -> u64 {
    wire.run(WARM_UP);
    allocations::forget();
    let (taken, sent) = (wire.taken, wire.sent);
    wire.run(MEASURED);
    let (count, places) = allocations::found();
    let (taken, sent) = (wire.taken - taken, wire.sent - sent);
    assert_eq!(count, 0, "{count} allocations for {taken} datagrams in and {sent} out: {places:#?}");
    sent
}

#[test]
fn the_allocator_counts_rust_and_c() {
    let kept = allocations::counted(|| Box::new(5));
    let (count, places) = allocations::found();
    assert!(*kept == 5 && count > 0 && !places.is_empty());
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // A key schedule lives on the heap of the C library underneath.
        let before = allocations::found().0;
        let context = allocations::counted(|| aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256));
        assert!(allocations::found().0 > before);
        drop(context);
    }
    allocations::forget();
}

#[test]
fn simulcast_to_receivers_that_give_feedback() {
    let mut wire = hall(1, &video("VP8"), 2, &[(0, 0); 4]);
    let sent = assert_steady(&mut wire);
    assert!(sent > 40_000, "{sent}");
    for receiver in wire.receivers() {
        assert!(receiver.packets > 10_000 && receiver.nacked > 50 && receiver.feedbacks > 500);
        assert!(receiver.repaired > 50, "{} of {} sent again", receiver.repaired, receiver.nacked);
    }
}

/// AV1, with a dependency descriptor in every packet and a structure in front of keyframes.
#[test]
fn dependency_descriptors_over_two_shards() {
    let mut wire = hall(2, &video("AV1"), 1, &[(0, 0), (1, 1), (1, 0)]);
    assert_steady(&mut wire);
    for receiver in wire.receivers() {
        assert!(receiver.packets > 5_000 && receiver.repaired > 20);
        assert!(receiver.described > 5_000, "{} of {}", receiver.described, receiver.packets);
    }
}

#[test]
fn sound_to_receivers_that_give_feedback() {
    let mut wire = hall(1, &audio(), 4, &[(0, 0); 5]);
    let sent = assert_steady(&mut wire);
    assert!(sent > 25_000, "{sent}");
    assert!(wire.receivers().all(|receiver| receiver.packets > 10_000 && receiver.feedbacks > 500));
}

/// Receivers on both shards, some of whose datagrams come in at the socket of the other one.
#[test]
fn simulcast_over_two_shards() {
    let mut wire = hall(2, &video("VP8"), 1, &[(0, 0), (0, 1), (1, 1), (1, 0)]);
    assert_steady(&mut wire);
    assert!(wire.messages > 3_000, "{}", wire.messages);
    assert!(wire.receivers().all(|receiver| receiver.packets > 5_000 && receiver.repaired > 20));
}

#[test]
fn sound_over_two_shards() {
    let mut wire = hall(2, &audio(), 3, &[(1, 1), (1, 0), (0, 1)]);
    assert_steady(&mut wire);
    assert!(wire.messages > 3_000, "{}", wire.messages);
    assert!(wire.receivers().all(|receiver| receiver.packets > 6_000));
}

/// SDES keys and sockets of their own, with every suite that needs no DTLS.
#[test]
fn phones_with_every_suite() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32, Suite::AeadAes128Gcm] {
        let mut wire = Wire::new(1);
        let publisher = wire.connect_phone(suite, Part::Publishes(Publisher::audio(MID, 1_000, 1)));
        let up = add_up_track(&mut wire, publisher, audio(), 1_000);
        for number in 0..3 {
            let receiver = wire.connect_phone(suite, Part::Receives(Receiver::new(number, false)));
            add_down_track(&mut wire, receiver, 0, audio(), up);
        }
        assert_steady(&mut wire);
        assert!(wire.receivers().all(|receiver| receiver.packets > 3_000), "{suite:?}");
    }
}
