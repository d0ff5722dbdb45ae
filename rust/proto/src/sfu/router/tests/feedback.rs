//! Reports and requests of receivers, and what the publisher hears of them.

use super::*;

fn write_feedback(ssrc: u32, write: impl Fn(&mut Vec<u8>, Ssrc)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, Ssrc(ssrc));
    out
}

#[test]
fn requests_of_receivers_become_one_request_to_the_source() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    feed(&mut router, &PICTURE, 0, &mut sent).unwrap();
    run_until(&mut router, 0, &mut sent);
    sent.rtcp.clear();
    let pli = write_feedback(0xd1, |out, media| rtcp::pli::write(out, Ssrc(1), media));
    let fir = write_feedback(0xd1, |out, media| rtcp::fir::write(out, Ssrc(1), media, 3));
    for datagram in [&pli, &fir, &pli] {
        router.handle_rtcp(RECEIVER, datagram, &WALL, Time::from_millis(2000), &mut sent);
    }
    run_until(&mut router, 2000, &mut sent);
    assert_eq!(sent.rtcp_names(PUBLISHER).iter().filter(|name| **name == "pli").count(), 1);
    run_until(&mut router, 2700, &mut sent);
    assert_eq!(sent.rtcp_names(PUBLISHER).iter().filter(|name| **name == "pli").count(), 3, "after 200 and 500 ms");
    feed(&mut router, &Rtp { sequence: 2, ..PICTURE }, 2750, &mut sent).unwrap();
    sent.rtcp.clear();
    run_until(&mut router, 6000, &mut sent);
    assert!(!sent.rtcp_names(PUBLISHER).contains(&"pli"));
}

#[test]
fn a_nack_asks_for_a_keyframe_and_feedback_about_strangers_is_counted() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    feed(&mut router, &PICTURE, 0, &mut sent).unwrap();
    let nack = write_feedback(0xd1, |out, media| rtcp::nack::write(out, Ssrc(1), media, &[7]));
    router.handle_rtcp(RECEIVER, &nack, &WALL, Time::from_millis(5000), &mut sent);
    run_until(&mut router, 5000, &mut sent);
    assert!(sent.rtcp_names(PUBLISHER).contains(&"pli"));
    let stranger = write_feedback(0x99, |out, media| rtcp::pli::write(out, Ssrc(1), media));
    router.handle_rtcp(RECEIVER, &stranger, &WALL, Time::from_millis(5001), &mut sent);
    assert_eq!(router.drops().get(MediaDrop::RtcpUnknownSsrc), 1);
    router.handle_rtcp(RECEIVER, &[0x81, 206, 0, 9], &WALL, Time::from_millis(5002), &mut sent);
    assert_eq!(router.drops().get(MediaDrop::RtcpMalformed), 1);
}

#[test]
fn a_source_with_fir_only_gets_fir_and_one_with_neither_an_event() {
    let (mut router, mut sent) = (call(&["ccm fir"]), Sent::default());
    feed(&mut router, &Rtp { payload: DELTA, ..PICTURE }, 0, &mut sent).unwrap();
    run_until(&mut router, 10, &mut sent);
    assert_eq!(sent.rtcp_names(PUBLISHER), ["fir"]);
    let (mut router, mut sent) = (call(&[]), Sent::default());
    feed(&mut router, &Rtp { payload: DELTA, ..PICTURE }, 0, &mut sent).unwrap();
    run_until(&mut router, 10, &mut sent);
    assert!(sent.rtcp_names(PUBLISHER).is_empty());
    assert!(events(&mut router).contains(&RouterEvent::KeyframeNeeded { up: UP_VIDEO }));
}

#[test]
fn feedback_to_a_peer_without_reduced_size_begins_with_a_report() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    router.set_reduced_size(PUBLISHER, false).unwrap();
    feed(&mut router, &Rtp { payload: DELTA, ..PICTURE }, 0, &mut sent).unwrap();
    run_until(&mut router, 10, &mut sent);
    assert_eq!(sent.rtcp_names(PUBLISHER), ["rr", "sdes", "pli"]);
}

#[test]
fn reports_tell_the_publisher_and_the_receiver() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    run_until(&mut router, 5_000, &mut sent);
    assert!(!sent.rtcp_names(PUBLISHER).contains(&"rr"), "no report before an SSRC is bound");
    for sequence in [1u16, 2, 4] {
        feed(&mut router, &Rtp { sequence, ..SOUND }, 5_000 + 20 * u64::from(sequence), &mut sent).unwrap();
    }
    run_until(&mut router, 7_000, &mut sent);
    let blocks: Vec<ReportBlock> = sent
        .rtcp
        .iter()
        .filter(|(to, _)| *to == PUBLISHER)
        .flat_map(|(_, bytes)| rtcp::packets(bytes))
        .filter_map(|packet| match packet.unwrap() {
            RtcpPacket::ReceiverReport(report) => Some(report.blocks().collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!((blocks[0].ssrc, blocks[0].cumulative_lost, blocks[0].highest_sequence), (AUDIO_SSRC, 1, 4));
    let names = sent.rtcp_names(RECEIVER);
    assert_eq!(&names[..2], &["sr", "sdes"]);
}

#[test]
fn the_round_trip_of_a_receiver_is_in_the_statistics() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    feed(&mut router, &SOUND, 0, &mut sent).unwrap();
    let last_sr = WALL.ntp_at(Time::from_millis(1000)).compact();
    let block = ReportBlock { ssrc: Ssrc(0xd0), cumulative_lost: 2, last_sr, ..ReportBlock::default() };
    let mut report = Vec::new();
    rtcp::receiver_report::write(&mut report, Ssrc(1), &[block]);
    router.handle_rtcp(RECEIVER, &report, &WALL, Time::from_millis(1100), &mut sent);
    let stats = router.stats(RECEIVER).unwrap();
    assert_eq!(stats.down[0].remote_lost, 2);
    assert!(stats.round_trip.unwrap().abs_diff(Duration::from_millis(100)) < Duration::from_millis(1));
    assert_eq!((stats.down[0].packets, stats.down[0].codec), (1, Some(Codec::Opus)));
}

#[test]
fn the_publisher_gets_transport_wide_feedback_about_a_source_that_it_knows() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    for sequence in [1u16, 2, 4] {
        let rtp = Rtp { sequence, transport_sequence: Some(sequence), ..SOUND };
        feed(&mut router, &rtp, 10 * u64::from(sequence), &mut sent).unwrap();
    }
    run_until(&mut router, 60, &mut sent);
    let (to, bytes) = &sent.rtcp[0];
    let Some(Ok(RtcpPacket::Twcc(feedback))) = rtcp::packets(bytes).next() else { panic!("not a feedback") };
    assert_eq!((*to, feedback.media), (PUBLISHER, AUDIO_SSRC));
    let arrived: Vec<_> = feedback.packets().map(|packet| packet.arrival_us.is_some()).collect();
    assert_eq!(arrived, [true, true, false, true]);
}
