//! Redundant audio towards receivers that take it and those that do not; Opus as it is.

use super::*;

const RED: Codec = Codec::Red { clock_rate: 48_000 };

/// Packet `number` with the one before it, each a byte with its number.
fn pair(number: u8) -> [u8; 7] {
    [0xef, 0x0f, 0x00, 0x01, 111, number - 1, number]
}

/// A receiver of Opus under 109, and of redundancy under 63 where it takes that.
fn receiver(redundancy: bool) -> DownTrack {
    let mut payloads = vec![payload(109, "opus", 48_000)];
    if redundancy {
        payloads.push(payload(63, "red", 48_000));
    }
    track(MediaKind::Audio, payloads)
}

/// What leaves for packet `number`, in order: sequence number, timestamp, payload type and payload.
fn send(track: &mut DownTrack, number: u8) -> Vec<(u64, u32, u8, Vec<u8>)> {
    let bytes = pair(number);
    let packet = packet(1, 100 + u64::from(number), 20 * u64::from(number), RED, &bytes);
    let now = packet.meta.arrival;
    let mut left = Vec::new();
    for back in [2, 1] {
        left.extend(track.recover(&packet, back, now).map(|(rewrite, payload)| (rewrite, payload.to_vec())));
    }
    left.extend(track.forward(&packet, now).map(|rewrite| (rewrite, bytes.to_vec())));
    let written = |(rewrite, payload): (Rewrite, Vec<u8>)| {
        let mut out = Vec::new();
        let start = rewrite.write_packet(&Departure { now, transport_sequence: 0 }, &payload, &mut out);
        (rewrite.sequence, rewrite.timestamp, rewrite.payload_type, out[start..].to_vec())
    };
    left.into_iter().map(written).collect()
}

#[test]
fn who_takes_redundancy_gets_it_with_payload_types_of_its_own() {
    let mut track = receiver(true);
    let left = send(&mut track, 5);
    assert_eq!((left[0].2, left[0].3.as_slice()), (63, &[0xed, 0x0f, 0x00, 0x01, 109, 4, 5][..]));
    assert_eq!(track.stats().codec, Some(Codec::Opus));
    let later = send(&mut track, 7);
    assert_eq!(later.len(), 1, "it recovers the loss by itself");
    assert_eq!(later[0].0 - left[0].0, 2);
}

#[test]
fn who_takes_none_gets_each_packet_by_itself() {
    let mut track = receiver(false);
    for number in 5..8 {
        let left = send(&mut track, number);
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].2, left[0].3.as_slice()), (109, &[number][..]));
    }
}

#[test]
fn a_lost_packet_is_taken_from_the_next_one_and_comes_but_once() {
    let mut track = receiver(false);
    let first = send(&mut track, 5)[0].clone();
    let left = send(&mut track, 7);
    let told: Vec<_> = left
        .iter()
        .map(|(sequence, timestamp, payload_type, payload)| {
            (sequence - first.0, timestamp.wrapping_sub(first.1), *payload_type, payload[0])
        })
        .collect();
    assert_eq!(told, [(1, 960, 109, 6), (2, 1_920, 109, 7)]);
    assert_eq!(track.stats().recovered, 1);
    assert_eq!(send(&mut track, 6), [], "it was only late");
    assert_eq!(send(&mut track, 8).len(), 1);
}

#[test]
fn nothing_is_recovered_before_the_beginning_or_over_what_was_no_sound() {
    let mut track = receiver(false);
    assert_eq!(send(&mut track, 5).len(), 1, "the first packet begins");
    // Number 106 is lost; what 107 holds was sampled when 105 was: 106 was no sound.
    let mut bytes = pair(7);
    bytes[1..3].copy_from_slice(&(1_920u16 << 2).to_be_bytes());
    let later = packet(1, 107, 140, RED, &bytes);
    assert_eq!(track.recover(&later, 1, later.meta.arrival), None);
}

#[test]
fn redundancy_that_cannot_be_read_or_holds_nothing_is_closed_over() {
    let mut track = receiver(false);
    let first = send(&mut track, 5)[0].0;
    let malformed = packet(1, 106, 120, RED, &[0xef, 0x0f]);
    assert_eq!(forward(&mut track, &malformed), Err(MediaDrop::MalformedDescriptor));
    let empty = packet(1, 107, 140, RED, &[111]);
    assert_eq!(forward(&mut track, &empty), Err(MediaDrop::PaddingOnly));
    assert_eq!(send(&mut track, 8)[0].0, first + 1);
}

#[test]
fn silence_by_dtx_is_no_loss_and_opus_passes_as_it_is() {
    let mut track = audio();
    // In-band FEC lies inside the payload.
    let speech = [0x78, 0xaa, 0xbb, 0xcc];
    let first = forward(&mut track, &packet(1, 100, 0, Codec::Opus, &speech)).unwrap();
    let comfort = forward(&mut track, &packet(1, 101, 400, Codec::Opus, &[0x78])).unwrap();
    assert_eq!(comfort.sequence, first.sequence + 1);
    assert_eq!(comfort.timestamp.wrapping_sub(first.timestamp), 400 * 48);
    let mut out = Vec::new();
    let start = first.write_packet(&Departure { now: Time::ZERO, transport_sequence: 0 }, &speech, &mut out);
    assert_eq!(out[start..], speech);
}
