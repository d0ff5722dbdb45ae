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

/// What the publisher was asked to send at most, in order: by which message, and for how many bits per second.
fn asked(sent: &Sent) -> Vec<(&'static str, u64)> {
    let to_publisher = sent.rtcp.iter().filter(|(to, _)| *to == PUBLISHER);
    let packets = to_publisher.flat_map(|(_, bytes)| rtcp::packets(bytes));
    packets
        .filter_map(|packet| match packet.unwrap() {
            RtcpPacket::Remb(remb) => {
                assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [VIDEO_SSRC]);
                Some(("remb", remb.bitrate_bps))
            }
            RtcpPacket::Tmmbr(tmmbr) => {
                let entry = tmmbr.entries().next().unwrap();
                assert_eq!(entry.media, VIDEO_SSRC);
                Some(("tmmbr", entry.bitrate_bps))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_publisher_is_asked_to_keep_to_its_limit_by_what_it_negotiated() {
    for (feedback, expected) in [("goog-remb", Some("remb")), ("ccm tmmbr", Some("tmmbr")), ("nack pli", None)] {
        let (mut router, mut sent) = (call(&[feedback]), Sent::default());
        feed(&mut router, &PICTURE, 0, &mut sent).unwrap();
        router.set_limits(PUBLISHER, None, Some(600_000), Time::from_millis(10)).unwrap();
        run_until(&mut router, 10, &mut sent);
        let expected: Vec<_> = expected.map(|name| (name, 600_000)).into_iter().collect();
        assert_eq!(asked(&sent), expected, "{feedback}");
        assert_eq!(router.stats(PUBLISHER).unwrap().asked_bps, expected.first().map(|(_, bps)| *bps));
    }
}

#[test]
fn what_the_only_receivers_target_allows_is_what_the_publisher_of_one_layer_is_asked_for() {
    let (mut router, mut sent) = (call(&["goog-remb"]), Sent::default());
    feed(&mut router, &SOUND, 0, &mut sent).unwrap();
    feed(&mut router, &PICTURE, 0, &mut sent).unwrap();
    let target = Target { max_bitrate_bps: 400_000, ..Target::default() };
    router.set_target(DOWN_VIDEO, target, Time::from_millis(10)).unwrap();
    run_until(&mut router, 10, &mut sent);
    assert_eq!(asked(&sent), [("remb", 448_000)], "and the sound");
    router.set_target(DOWN_VIDEO, Target { paused: true, ..target }, Time::from_millis(20)).unwrap();
    assert_eq!(router.stats(PUBLISHER).unwrap().asked_bps, None, "nobody receives it");
}

#[test]
fn a_receiver_that_asks_for_less_is_answered_and_gets_less() {
    let mut router = call(&["nack pli"]);
    let vp8 = payload(120, "VP8", 90_000, &["ccm tmmbr"]);
    router.update_down_track(DOWN_VIDEO, &[vp8], true, Time::ZERO).unwrap();
    let mut sent = Sent::default();
    let mut request = Vec::new();
    rtcp::tmmbr::write(&mut request, Ssrc(1), 300_000, &[Ssrc(0xd1)]);
    router.handle_rtcp(RECEIVER, &request, &WALL, Time::from_millis(10), &mut sent);
    assert_eq!(sent.rtcp.len(), 1);
    // RFC 5104 §4.2.2.1: feedback of format 4 from the source, with the bound and its owner.
    let (to, answer) = &sent.rtcp[0];
    assert_eq!(
        (*to, &answer[..2], &answer[4..8], &answer[12..16]),
        (RECEIVER, &[0x84, 205][..], &[0, 0, 0, 0xd1][..], &[0, 0, 0, 1][..])
    );
    rtcp::tmmbr::write(&mut request, Ssrc(1), 300_000, &[Ssrc(0xd0)]);
    router.handle_rtcp(RECEIVER, &request, &WALL, Time::from_millis(20), &mut sent);
    assert_eq!(router.drops().get(MediaDrop::FeedbackUnexpected), 1, "sound did not negotiate it");
}
