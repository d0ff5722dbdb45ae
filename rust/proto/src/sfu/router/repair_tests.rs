//! Lost packets: asked for from the publisher, sent again to receivers, and a picture for those who come late.

use super::tests::{WALL, add_transport, bytes_of, payload};
use super::*;
use crate::codec::{MediaKind, Payload};
use crate::rtcp::{self, RtcpPacket};
use crate::rtp::{HeaderWriter, RtpPacket, Token};
use crate::sfu::packet::{Departure, UpPacket};
use crate::sfu::{DownTrackConfig, UpTrackConfig};

const PUBLISHER: TransportId = TransportId(1);
const VIEWER: TransportId = TransportId(2);
const UP: UpTrackId = UpTrackId(10);
const MEDIA: u32 = 0xb0;
const REPAIR: u32 = 0xb1;
const VIEWER_MEDIA: u32 = 0xd0;
const VIEWER_REPAIR: u32 = 0xd1;

#[derive(Default)]
struct Wire {
    rtp: Vec<Vec<u8>>,
    to_publisher: Vec<Vec<u8>>,
}

impl Output for Wire {
    fn rtp(
        &mut self,
        transport: TransportId,
        rewrite: &Rewrite,
        departure: &Departure,
        payload: &[u8],
    ) -> Option<usize> {
        assert_eq!(transport, VIEWER);
        assert_eq!(rewrite.is_repair, rewrite.ssrc == Ssrc(VIEWER_REPAIR));
        let packet = bytes_of(rewrite, departure, payload);
        let len = packet.len();
        self.rtp.push(packet);
        Some(len)
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        if transport == PUBLISHER {
            self.to_publisher.push(compound.to_vec());
        }
    }
}

impl Wire {
    /// Sequence numbers of NACKs to the publisher, and how many PLIs.
    fn take_requests(&mut self) -> (Vec<u16>, usize) {
        let (mut nacked, mut plis) = (Vec::new(), 0);
        for datagram in self.to_publisher.drain(..) {
            for packet in rtcp::packets(&datagram) {
                match packet.unwrap() {
                    RtcpPacket::Nack(nack) => {
                        assert_eq!(nack.media, Ssrc(MEDIA));
                        nacked.extend(nack.sequences());
                    }
                    RtcpPacket::Pli(_) => plis += 1,
                    _ => {}
                }
            }
        }
        (nacked, plis)
    }
}

fn rtx(payload_type: u8, original: u8) -> Payload {
    let parameters = vec![("apt".to_owned(), original.to_string())];
    Payload { parameters, ..payload(payload_type, "rtx", 90_000, &[]) }
}

fn add_viewer(router: &mut Router, down: u64, ssrc: u32, rtx_ssrc: Option<u32>) {
    let config = DownTrackConfig {
        id: DownTrackId(down),
        transport: VIEWER,
        kind: MediaKind::Video,
        mid: None,
        ssrc: Ssrc(ssrc),
        rtx_ssrc: rtx_ssrc.map(Ssrc),
        cname: "p".to_owned(),
        payloads: vec![payload(120, "VP8", 90_000, &[]), rtx(121, 120)],
    };
    router.add_down_track(config).unwrap();
}

/// A publisher that takes NACKs and sends RTX, and one viewer that does the same.
fn room(viewer_rtx: Option<u32>) -> Router {
    let mut router = Router::new();
    add_transport(&mut router, PUBLISHER, true);
    add_transport(&mut router, VIEWER, true);
    let config = UpTrackConfig {
        id: UP,
        transport: PUBLISHER,
        kind: MediaKind::Video,
        mid: Token::new(b"1"),
        payloads: vec![payload(96, "VP8", 90_000, &["nack", "nack pli"]), rtx(97, 96)],
        ssrcs: vec![Ssrc(MEDIA)],
        rtx_ssrcs: vec![(Ssrc(REPAIR), Ssrc(MEDIA))],
        rids: vec![],
        closed_gates: vec![],
    };
    router.add_up_track(config).unwrap();
    add_viewer(&mut router, 20, VIEWER_MEDIA, viewer_rtx);
    router.subscribe(DownTrackId(20), UP, Time::ZERO).unwrap();
    router
}

/// The publisher's payload of a number: a keyframe for 1, else not; the last byte tells which.
fn picture(number: u16) -> Vec<u8> {
    let [high, low] = (number & 0x7fff).to_be_bytes();
    let mut payload = vec![0x90, 0x80, 0x80 | high, low, u8::from(number != 1), 0, 0];
    payload.resize(200, 0);
    payload.push(number as u8);
    payload
}

fn datagram(ssrc: u32, payload_type: u8, sequence: u16, number: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = 3_000 * u32::from(number);
    let header = HeaderWriter { marker: true, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) };
    let mut out = Vec::new();
    header.write(&mut out, |_| {});
    out.extend_from_slice(payload);
    out
}

fn media(number: u16) -> Vec<u8> {
    datagram(MEDIA, 96, number, number, &picture(number))
}

fn retransmission(sequence: u16, number: u16) -> Vec<u8> {
    datagram(REPAIR, 97, sequence, number, &[&number.to_be_bytes()[..], &picture(number)].concat())
}

fn feed(router: &mut Router, datagram: &[u8], ms: u64, wire: &mut Wire) -> Result<(), MediaDrop> {
    let now = Time::from_millis(ms);
    let received = router.handle_rtp(PUBLISHER, datagram, now)?;
    let packet = UpPacket { meta: received.meta, payload: received.meta.payload(datagram) };
    router.forward(&packet, now, wire);
    Ok(())
}

fn run_until(router: &mut Router, ms: u64, wire: &mut Wire) {
    while let Some(at) = router.poll_timeout().filter(|at| *at <= Time::from_millis(ms)) {
        router.handle_timeout(&WALL, at, wire);
    }
}

fn nack(router: &mut Router, media: u32, sequences: &[u16], ms: u64, wire: &mut Wire) {
    let mut datagram = Vec::new();
    rtcp::nack::write(&mut datagram, Ssrc(1), Ssrc(media), sequences);
    router.handle_rtcp(VIEWER, &datagram, &WALL, Time::from_millis(ms), wire);
}

/// Feeds numbers in order, 30 ms apart, and gives the first number that the viewer got.
fn stream(router: &mut Router, numbers: std::ops::RangeInclusive<u16>, wire: &mut Wire) -> u16 {
    for number in numbers {
        feed(router, &media(number), 30 * u64::from(number), wire).unwrap();
    }
    RtpPacket::parse(&wire.rtp[0]).unwrap().sequence
}

#[test]
fn a_packet_that_the_publisher_sends_again_takes_its_place() {
    let (mut router, mut wire) = (room(Some(VIEWER_REPAIR)), Wire::default());
    let first = stream(&mut router, 1..=3, &mut wire);
    feed(&mut router, &media(6), 100, &mut wire).unwrap();
    assert_eq!(wire.take_requests(), (vec![], 0));
    run_until(&mut router, 110, &mut wire);
    assert_eq!(wire.take_requests(), (vec![4, 5], 0));
    feed(&mut router, &retransmission(900, 4), 150, &mut wire).unwrap();
    run_until(&mut router, 300, &mut wire);
    assert_eq!(wire.take_requests(), (vec![5], 0), "after a round trip, what is still missing");
    feed(&mut router, &retransmission(901, 5), 310, &mut wire).unwrap();
    let duplicate = feed(&mut router, &retransmission(902, 5), 320, &mut wire);
    assert_eq!(duplicate, Err(MediaDrop::Duplicate));
    let got: Vec<_> = wire.rtp.iter().map(|bytes| RtpPacket::parse(bytes).unwrap()).collect();
    let numbers: Vec<_> = got.iter().map(|packet| *packet.payload.last().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 6, 4, 5]);
    for packet in &got {
        let number = u16::from(*packet.payload.last().unwrap());
        assert_eq!((packet.sequence.wrapping_sub(first), packet.ssrc), (number - 1, Ssrc(VIEWER_MEDIA)));
    }
    let stats = router.stats(PUBLISHER).unwrap();
    assert_eq!((stats.up[0].nacked, stats.up[0].recovered), (2, 2));
}

#[test]
fn what_the_publisher_never_sends_again_becomes_a_keyframe_request() {
    let (mut router, mut wire) = (room(None), Wire::default());
    stream(&mut router, 1..=3, &mut wire);
    feed(&mut router, &media(5), 2_000, &mut wire).unwrap();
    run_until(&mut router, 5_000, &mut wire);
    let (nacked, plis) = wire.take_requests();
    assert_eq!(nacked, [4; 8]);
    assert!(plis > 0);
}

#[test]
fn nobody_is_asked_for_what_nobody_receives() {
    let (mut router, mut wire) = (room(None), Wire::default());
    stream(&mut router, 1..=3, &mut wire);
    router.unsubscribe(DownTrackId(20), Time::from_millis(95)).unwrap();
    feed(&mut router, &media(6), 100, &mut wire).unwrap();
    run_until(&mut router, 3_000, &mut wire);
    assert_eq!(wire.take_requests(), (vec![], 0));
}

#[test]
fn a_viewer_gets_again_what_it_missed_under_another_ssrc() {
    let (mut router, mut wire) = (room(Some(VIEWER_REPAIR)), Wire::default());
    let first = stream(&mut router, 1..=10, &mut wire);
    let originals = std::mem::take(&mut wire.rtp);
    nack(&mut router, VIEWER_MEDIA, &[first + 3, first + 4], 400, &mut wire);
    assert_eq!(wire.rtp.len(), 2);
    for (bytes, original) in wire.rtp.iter().zip(&originals[3..]) {
        let (packet, original) = (RtpPacket::parse(bytes).unwrap(), RtpPacket::parse(original).unwrap());
        assert_eq!((packet.ssrc, packet.payload_type), (Ssrc(VIEWER_REPAIR), 121));
        assert_eq!((packet.timestamp, packet.marker), (original.timestamp, original.marker));
        assert_eq!(packet.payload[..2], original.sequence.to_be_bytes());
        assert_eq!(packet.payload[2..], *original.payload);
    }
    let sequences: Vec<_> = wire.rtp.iter().map(|bytes| RtpPacket::parse(bytes).unwrap().sequence).collect();
    assert_eq!(sequences[1], sequences[0] + 1, "in a sequence of its own");
    nack(&mut router, VIEWER_MEDIA, &[first + 3], 405, &mut wire);
    assert_eq!(router.drops().get(MediaDrop::NackRepeated), 1);
    nack(&mut router, VIEWER_MEDIA, &[first + 3], 500, &mut wire);
    assert_eq!(wire.rtp.len(), 3);
    let again = RtpPacket::parse(&wire.rtp[2]).unwrap();
    assert_eq!(again.sequence, sequences[0] + 2, "never the same index twice");
    let stats = router.stats(VIEWER).unwrap();
    assert_eq!((stats.down[0].nacked, stats.down[0].retransmitted), (4, 3));
    assert_eq!(stats.down[0].recovered, 2, "each once");
}

#[test]
fn without_retransmissions_a_loss_is_answered_by_a_keyframe_request() {
    let (mut router, mut wire) = (room(None), Wire::default());
    let first = stream(&mut router, 1..=10, &mut wire);
    wire.rtp.clear();
    nack(&mut router, VIEWER_MEDIA, &[first + 3], 4_000, &mut wire);
    run_until(&mut router, 4_000, &mut wire);
    assert!(wire.rtp.is_empty(), "no bytes leave twice under one index");
    assert_eq!(wire.take_requests(), (vec![], 1));
}

#[test]
fn a_storm_of_nacks_is_bounded_by_a_share_of_what_is_sent() {
    let (mut router, mut wire) = (room(Some(VIEWER_REPAIR)), Wire::default());
    let first = stream(&mut router, 1..=400, &mut wire);
    let sent: usize = wire.rtp.iter().map(Vec::len).sum();
    wire.rtp.clear();
    for round in 0..50 {
        let all: Vec<u16> = (340..399).map(|number| first.wrapping_add(number)).collect();
        nack(&mut router, VIEWER_MEDIA, &all, 12_000 + 20 * round, &mut wire);
    }
    let again: usize = wire.rtp.iter().map(Vec::len).sum();
    assert!(again > 10_000 && again < sent * 2 / 3, "{again} of {sent}");
    assert!(router.drops().get(MediaDrop::NackLimit) > 0);
}

#[test]
fn nacks_about_another_source_than_the_present_one_are_not_answered_from_it() {
    let (mut router, mut wire) = (room(Some(VIEWER_REPAIR)), Wire::default());
    let first = stream(&mut router, 1..=10, &mut wire);
    router.unsubscribe(DownTrackId(20), Time::from_millis(310)).unwrap();
    router.subscribe(DownTrackId(20), UP, Time::from_millis(310)).unwrap();
    wire.rtp.clear();
    nack(&mut router, VIEWER_MEDIA, &[first + 3], 320, &mut wire);
    assert!(wire.rtp.is_empty());
    assert_eq!(router.drops().get(MediaDrop::NackUnknown), 1);
}

#[test]
fn who_comes_late_gets_a_short_group_of_pictures_from_the_ring() {
    let (mut router, mut wire) = (room(None), Wire::default());
    stream(&mut router, 1..=10, &mut wire);
    run_until(&mut router, 300, &mut wire);
    wire.take_requests();
    wire.rtp.clear();
    add_viewer(&mut router, 30, 0xe0, None);
    router.subscribe(DownTrackId(30), UP, Time::from_millis(310)).unwrap();
    feed(&mut router, &media(11), 330, &mut wire).unwrap();
    let late: Vec<_> = wire
        .rtp
        .iter()
        .map(|bytes| RtpPacket::parse(bytes).unwrap())
        .filter(|packet| packet.ssrc == Ssrc(0xe0))
        .map(|packet| *packet.payload.last().unwrap())
        .collect();
    assert_eq!(late, (1..=11).collect::<Vec<u8>>());
    run_until(&mut router, 1_000, &mut wire);
    assert_eq!(wire.take_requests().1, 0, "without a keyframe request");
}

#[test]
fn who_comes_after_a_long_group_of_pictures_costs_one_keyframe_request() {
    let (mut router, mut wire) = (room(None), Wire::default());
    stream(&mut router, 1..=50, &mut wire);
    run_until(&mut router, 1_500, &mut wire);
    wire.take_requests();
    wire.rtp.clear();
    for down in 30..40u32 {
        add_viewer(&mut router, u64::from(down), 0xe00 + down, None);
        router.subscribe(DownTrackId(u64::from(down)), UP, Time::from_millis(1_510)).unwrap();
    }
    run_until(&mut router, 1_510, &mut wire);
    assert_eq!(wire.take_requests().1, 1);
    feed(&mut router, &media(51), 1_530, &mut wire).unwrap();
    assert_eq!(wire.rtp.len(), 1, "only who was there before");
}
