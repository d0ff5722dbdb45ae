//! Clips and digits beside live media.

use super::*;

fn announcement() -> Arc<Clip> {
    let packets = |step: u32, count: u32, payload: &[u8]| {
        let packet = |index| ClipPacket { timestamp: step * index, marker: false, payload: payload.to_vec() };
        (0..count).map(packet).collect()
    };
    Arc::new(Clip {
        id: ClipId(5),
        tracks: vec![
            ClipTrack { codec: Codec::Pcmu, packets: packets(160, 5, &[1]) },
            ClipTrack { codec: Codec::Opus, packets: packets(960, 5, &[2]) },
            ClipTrack { codec: Codec::Vp8, packets: packets(3000, 3, KEYFRAME) },
        ],
        duration: Duration::from_millis(100),
    })
}

#[test]
fn a_clip_plays_in_the_format_of_the_receiver_and_live_media_follow_without_a_gap() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    router.load_clip(announcement());
    feed(&mut router, &PICTURE, 500, &mut sent).unwrap();
    sent.rtp.clear();
    router.play(&[DOWN_AUDIO, DOWN_VIDEO], ClipId(5), false, Time::from_millis(1000)).unwrap();
    assert_eq!(
        feed(&mut router, &SOUND, 1000, &mut sent).map(|_| sent.rtp.len()),
        Ok(0),
        "live sound waits behind the clip"
    );
    run_until(&mut router, 1099, &mut sent);
    let types = sent.payload_types();
    assert_eq!(types.iter().filter(|payload_type| **payload_type == 109).count(), 5);
    assert_eq!(types.iter().filter(|payload_type| **payload_type == 120).count(), 3);
    events(&mut router);
    run_until(&mut router, 1100, &mut sent);
    let finished = |down| RouterEvent::PlayFinished { down, clip: ClipId(5) };
    assert_eq!(events(&mut router), [finished(DOWN_AUDIO), finished(DOWN_VIDEO)]);
    feed(&mut router, &Rtp { sequence: 9, ..SOUND }, 1100, &mut sent).unwrap();
    let of_sound: Vec<_> = sent
        .rtp
        .iter()
        .map(|(_, bytes)| RtpPacket::parse(bytes).unwrap())
        .filter(|packet| packet.payload_type == 109)
        .map(|packet| (packet.sequence, packet.timestamp))
        .collect();
    assert_eq!(of_sound.len(), 6);
    for pair in of_sound.windows(2) {
        assert_eq!(pair[1].0.wrapping_sub(pair[0].0), 1);
        assert_eq!(pair[1].1.wrapping_sub(pair[0].1), 960);
    }
    assert!(sent.rtcp_names(PUBLISHER).contains(&"pli"), "the live picture starts with a keyframe");
}

#[test]
fn stopping_a_loop_goes_back_to_the_subscription_without_an_event() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    router.load_clip(announcement());
    router.play(&[DOWN_AUDIO], ClipId(5), true, Time::ZERO).unwrap();
    run_until(&mut router, 1_000, &mut sent);
    assert!(sent.rtp.len() > 45);
    router.stop_playing(&[DOWN_AUDIO], Time::from_millis(1_000)).unwrap();
    sent.rtp.clear();
    run_until(&mut router, 2_000, &mut sent);
    assert!(sent.rtp.is_empty());
    assert!(events(&mut router).is_empty());
    feed(&mut router, &SOUND, 2_000, &mut sent).unwrap();
    assert_eq!(sent.rtp.len(), 1);
}

#[test]
fn a_clip_that_nobody_can_take_is_an_error() {
    let mut router = call(&[]);
    let clip = Clip { tracks: vec![], ..Clip::clone(&announcement()) };
    router.load_clip(Arc::new(clip));
    assert_eq!(router.play(&[DOWN_AUDIO], ClipId(5), false, Time::ZERO), Err(RouterError::NothingToPlay(ClipId(5))));
    assert_eq!(router.play(&[DOWN_AUDIO], ClipId(6), false, Time::ZERO), Err(RouterError::UnknownClip(ClipId(6))));
}

#[test]
fn digits_are_sent_by_the_clock() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    let (tone, gap) = (Duration::from_millis(100), Duration::from_millis(50));
    router.send_dtmf(DOWN_AUDIO, "12", tone, gap, Time::from_millis(100)).unwrap();
    run_until(&mut router, 1_000, &mut sent);
    assert_eq!(sent.payload_types(), [101; 14]);
}

#[test]
fn a_digit_of_the_publisher_is_one_event() {
    let (mut router, mut sent) = (call(&[]), Sent::default());
    for sequence in 1..=3 {
        let end = Rtp { payload_type: 101, sequence, payload: &[4, 0x80, 0x12, 0xc0], ..SOUND };
        let mut bytes = end.bytes();
        bytes[4..8].copy_from_slice(&[0, 0, 1, 0]);
        router.handle_rtp(PUBLISHER, &bytes, Time::from_millis(20 * u64::from(sequence))).unwrap();
    }
    feed(&mut router, &Rtp { sequence: 4, ..SOUND }, 500, &mut sent).unwrap();
    let digits: Vec<_> =
        events(&mut router).into_iter().filter(|event| matches!(event, RouterEvent::DtmfReceived { .. })).collect();
    assert_eq!(digits, [RouterEvent::DtmfReceived { up: UP_AUDIO, digit: '4', duration_ms: 100 }]);
}

#[test]
fn nothing_is_left_of_a_removed_transport() {
    let (mut router, mut sent) = (call(&["nack pli"]), Sent::default());
    router.load_clip(announcement());
    feed(&mut router, &PICTURE, 0, &mut sent).unwrap();
    router.play(&[DOWN_AUDIO], ClipId(5), true, Time::ZERO).unwrap();
    assert_eq!(router.remove_transport(RECEIVER, Time::ZERO), Ok(Vec::new()));
    assert_eq!(router.remove_transport(PUBLISHER, Time::ZERO), Ok(vec![UP_AUDIO, UP_VIDEO]));
    sent = Sent::default();
    run_until(&mut router, 10_000, &mut sent);
    assert!(sent.rtp.is_empty() && sent.rtcp.is_empty());
    assert_eq!(router.poll_timeout(), None);
    assert_eq!(router.remove_transport(RECEIVER, Time::ZERO), Err(RouterError::UnknownTransport(RECEIVER)));
}
