//! Behaviour of a SIP media leg on virtual time: latching, SRTP, RTCP, silence.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::io::{SocketId, TransmitQueue};
use crate::srtp::{MasterKey, SrtpKeys};
use crate::time::Time;

const RTP: SocketId = SocketId(1);
const RTCP: SocketId = SocketId(2);
const SENDER_REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];

fn leg() -> RtpTransport {
    RtpTransport::new(RtpTransportConfig {
        rtp_socket: RTP,
        rtcp_socket: Some(RTCP),
        latching: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        identity: None,
    })
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn from(socket: SocketId, text: &str) -> Path {
    Path { socket, remote: address(text) }
}

fn remote(srtp: Option<SrtpKeys>) -> RtpRemote {
    RtpRemote { rtp: Some(address("10.0.0.5:4000")), rtcp: None, rtcp_mux: false, srtp, dtls: None }
}

fn keys(local: u8, remote: u8) -> SrtpKeys {
    let key = |byte| MasterKey::from_key_and_salt(Suite::AesCm128HmacSha1_80, &[byte; 30]).unwrap();
    SrtpKeys { local: key(local), remote: key(remote) }
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut bytes = vec![0x80, 8, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1];
    bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(b"G.711 sound");
    bytes
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn events(leg: &mut RtpTransport) -> Vec<TransportEvent> {
    std::iter::from_fn(|| leg.poll_event()).collect()
}

fn sent_to(leg: &mut RtpTransport) -> SocketAddr {
    let mut out = TransmitQueue::default();
    leg.protect_rtp(&packet(1)[..12], b"x", &mut out).unwrap();
    out.entries()[0].path.remote
}

#[test]
fn plain_media_goes_to_the_sdp_address_before_anything_came() {
    let mut leg = leg();
    let mut out = TransmitQueue::default();
    assert_eq!(leg.protect_rtp(&packet(1)[..12], b"x", &mut out), Err(SendError::NotConnected));
    leg.set_remote(remote(None), at(0));
    assert_eq!(sent_to(&mut leg), address("10.0.0.5:4000"));
    leg.protect_rtcp(&SENDER_REPORT, &mut out).unwrap();
    assert_eq!(out.entries()[0].path, from(RTCP, "10.0.0.5:4001"));
}

#[test]
fn media_before_the_sdp_is_dropped_by_name() {
    let mut leg = leg();
    let received =
        leg.handle_datagram(from(RTP, "10.0.0.5:4000"), &mut packet(1), at(0), &mut TransmitQueue::default());
    assert_eq!(received, Received::Dropped(Drop::RtpNoRemote));
}

#[test]
fn a_phone_behind_nat_is_latched_and_its_rtcp_too() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    let received =
        leg.handle_datagram(from(RTP, "203.0.113.9:6000"), &mut packet(7), at(100), &mut TransmitQueue::default());
    assert_eq!(received, Received::Rtp { len: 23, header_len: 12, index: 7 });
    assert_eq!(sent_to(&mut leg), address("203.0.113.9:6000"));
    assert_eq!(leg.rtcp_path(), Some(from(RTCP, "203.0.113.9:6001")), "a guess until RTCP comes");
    let received = leg.handle_datagram(
        from(RTCP, "203.0.113.9:7777"),
        &mut SENDER_REPORT.clone(),
        at(200),
        &mut TransmitQueue::default(),
    );
    assert_eq!(received, Received::Rtcp { len: 8 });
    assert_eq!(leg.rtcp_path(), Some(from(RTCP, "203.0.113.9:7777")));
    assert_eq!(events(&mut leg), [TransportEvent::Connected { path: from(RTP, "203.0.113.9:6000"), suite: None }]);
}

#[test]
fn a_stranger_after_the_window_is_refused_and_counted() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    leg.handle_datagram(from(RTP, "10.0.0.5:4000"), &mut packet(1), at(100), &mut TransmitQueue::default());
    let received =
        leg.handle_datagram(from(RTP, "203.0.113.9:6000"), &mut packet(2), at(5001), &mut TransmitQueue::default());
    assert_eq!(received, Received::Dropped(Drop::UnexpectedSource));
    assert_eq!(leg.drops_mut().get(Drop::UnexpectedSource), 1);
    assert_eq!(sent_to(&mut leg), address("10.0.0.5:4000"));
}

#[test]
fn a_new_offer_answer_opens_the_window_again() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    leg.handle_datagram(from(RTP, "203.0.113.9:6000"), &mut packet(1), at(100), &mut TransmitQueue::default());
    leg.set_remote(remote(None), at(60_000));
    leg.handle_datagram(from(RTP, "203.0.113.9:6500"), &mut packet(2), at(60_100), &mut TransmitQueue::default());
    assert_eq!(sent_to(&mut leg), address("203.0.113.9:6500"));
    assert_eq!(events(&mut leg)[1..], [TransportEvent::PathChanged(from(RTP, "203.0.113.9:6500"))]);
}

#[test]
fn with_srtp_only_an_authentic_packet_latches() {
    let (mut leg, mut phone) = (leg(), leg());
    leg.set_remote(remote(Some(keys(1, 2))), at(0));
    phone.set_remote(remote(Some(keys(2, 1))), at(0));
    let received =
        leg.handle_datagram(from(RTP, "198.51.100.1:1"), &mut packet(1), at(10), &mut TransmitQueue::default());
    assert_eq!(received, Received::Dropped(Drop::SrtpAuthentication));
    assert_eq!(sent_to(&mut leg), address("10.0.0.5:4000"));
    let mut out = TransmitQueue::default();
    phone.protect_rtp(&packet(1)[..12], &packet(1)[12..], &mut out).unwrap();
    phone.protect_rtcp(&SENDER_REPORT, &mut out).unwrap();
    let (mut media, mut report) = (out.datagram(&out.entries()[0]).to_vec(), out.datagram(&out.entries()[1]).to_vec());
    let received =
        leg.handle_datagram(from(RTP, "203.0.113.9:6000"), &mut media, at(20), &mut TransmitQueue::default());
    assert_eq!(received, Received::Rtp { len: 23, header_len: 12, index: 1 });
    assert_eq!(media[..23], packet(1));
    assert_eq!(leg.selected_path(), Some(from(RTP, "203.0.113.9:6000")));
    let received =
        leg.handle_datagram(from(RTCP, "203.0.113.9:6001"), &mut report, at(20), &mut TransmitQueue::default());
    assert_eq!(received, Received::Rtcp { len: 8 });
    assert_eq!(report[..8], SENDER_REPORT);
}

#[test]
fn an_unchanged_key_keeps_its_indices_over_a_new_offer_answer() {
    let mut leg = leg();
    leg.set_remote(remote(Some(keys(1, 2))), at(0));
    let mut out = TransmitQueue::default();
    leg.protect_rtp(&packet(9)[..12], b"first", &mut out).unwrap();
    leg.set_remote(remote(Some(keys(1, 3))), at(1000));
    assert_eq!(leg.protect_rtp(&packet(9)[..12], b"second", &mut out), Err(SendError::IndexUsed));
    leg.set_remote(remote(Some(keys(4, 3))), at(2000));
    assert_eq!(leg.protect_rtp(&packet(9)[..12], b"new key", &mut out), Ok(()));
    assert_eq!(out.len(), 2);
}

#[test]
fn muxed_rtcp_goes_where_rtp_goes() {
    let mut leg = leg();
    leg.set_remote(RtpRemote { rtcp_mux: true, ..remote(None) }, at(0));
    leg.handle_datagram(from(RTP, "203.0.113.9:6000"), &mut packet(1), at(1), &mut TransmitQueue::default());
    assert_eq!(leg.rtcp_path(), Some(from(RTP, "203.0.113.9:6000")));
    let received = leg.handle_datagram(
        from(RTP, "203.0.113.9:6000"),
        &mut SENDER_REPORT.clone(),
        at(2),
        &mut TransmitQueue::default(),
    );
    assert_eq!(received, Received::Rtcp { len: 8 });
}

#[test]
fn silence_is_reported_once_and_so_is_its_end() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    leg.handle_datagram(from(RTP, "10.0.0.5:4000"), &mut packet(1), at(1000), &mut TransmitQueue::default());
    events(&mut leg);
    assert_eq!(leg.poll_timeout(), Some(at(11_000)));
    leg.handle_timeout(at(10_999), &mut TransmitQueue::default());
    assert_eq!(events(&mut leg), []);
    leg.handle_timeout(at(11_000), &mut TransmitQueue::default());
    leg.handle_timeout(at(30_000), &mut TransmitQueue::default());
    assert_eq!(events(&mut leg), [TransportEvent::MediaTimeout { silent_ms: 10_000 }]);
    assert_eq!(leg.poll_timeout(), None);
    leg.handle_datagram(from(RTP, "10.0.0.5:4000"), &mut packet(2), at(31_000), &mut TransmitQueue::default());
    assert_eq!(events(&mut leg), [TransportEvent::MediaResumed]);
    assert_eq!(leg.poll_timeout(), Some(at(41_000)));
}

#[test]
fn silence_after_a_hold_is_reported_again() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    leg.handle_timeout(at(10_000), &mut TransmitQueue::default());
    assert_eq!(events(&mut leg), [TransportEvent::MediaTimeout { silent_ms: 10_000 }]);
    leg.set_remote(remote(None), at(60_000));
    assert_eq!(leg.poll_timeout(), Some(at(70_000)));
    leg.handle_timeout(at(70_000), &mut TransmitQueue::default());
    assert_eq!(events(&mut leg), [TransportEvent::MediaTimeout { silent_ms: 10_000 }]);
}

#[test]
fn a_hold_without_address_sends_nothing() {
    let mut leg = leg();
    leg.set_remote(RtpRemote { rtp: None, ..remote(None) }, at(0));
    let mut out = TransmitQueue::default();
    assert_eq!(leg.protect_rtp(&packet(1)[..12], b"x", &mut out), Err(SendError::NotConnected));
}

#[test]
fn rollovers_of_plain_rtp_are_counted() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    let indices: Vec<u64> = [65_535, 1, 0, 2]
        .into_iter()
        .map(|sequence| {
            match leg.handle_datagram(
                from(RTP, "10.0.0.5:4000"),
                &mut packet(sequence),
                at(1),
                &mut TransmitQueue::default(),
            ) {
                Received::Rtp { index, .. } => index,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(indices, [65_535, 65_537, 65_536, 65_538]);
}

#[test]
fn a_closed_leg_takes_and_sends_nothing() {
    let mut leg = leg();
    leg.set_remote(remote(None), at(0));
    leg.close(CloseReason::Commanded, &mut TransmitQueue::default());
    let received =
        leg.handle_datagram(from(RTP, "10.0.0.5:4000"), &mut packet(1), at(1), &mut TransmitQueue::default());
    assert_eq!(received, Received::Dropped(Drop::TransportClosed));
    assert_eq!(leg.selected_path(), None);
    assert_eq!(leg.poll_timeout(), None);
    assert_eq!(events(&mut leg), [TransportEvent::Closed(CloseReason::Commanded)]);
}
