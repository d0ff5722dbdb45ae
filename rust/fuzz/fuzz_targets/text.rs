//! Real-time text: whatever packets come, nothing panics, and a peer's own packets among them give its text back.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::rtcp::{NtpTime, WallClock};
use mediaserver_proto::rtp::Ssrc;
use mediaserver_proto::text::{SendFormat, TextConfig, TextFormat, TextLine};
use mediaserver_proto::time::Time;

const FORMAT: TextFormat = TextFormat { t140: 98, red: Some(100) };

const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(1 << 63) };

fn line(ssrc: u32) -> TextLine {
    let send = Some(SendFormat { format: FORMAT, characters_per_second: 30 });
    TextLine::new(TextConfig { ssrc: Ssrc(ssrc), sequence: 65_530, timestamp: 0, receive: FORMAT, send }, "fuzz".into())
}

fuzz_target!(|input: &[u8]| {
    let (mut ours, mut theirs) = (line(1), line(2));
    let mut now = Time::ZERO;
    let mut header = Vec::new();
    let mut rest = input;
    while let Some((&[kind, len], tail)) = rest.split_first_chunk::<2>() {
        let (part, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        match kind % 5 {
            // A packet of anybody.
            0 => ours.handle_rtp(part, now),
            // A payload of anybody under a header that is right.
            1 => {
                let payload_type = if kind & 4 == 0 { FORMAT.t140 } else { 100 };
                let mut packet = vec![0x80, payload_type, 0, kind, 0, 0, 0, 0, 0, 0, 0, 2];
                packet.extend_from_slice(part);
                ours.handle_rtp(&packet, now);
            }
            // A report of anybody.
            4 => ours.handle_rtcp(part, now),
            // A message of a data channel.
            2 => assert_eq!(theirs.take_message(part), std::str::from_utf8(part).is_ok()),
            // Time goes on, and every other packet of the peer arrives.
            _ => {
                now = now + Duration::from_millis(u64::from(len) * 10);
                while let Some(payload) = theirs.poll_transmit(now, &mut header) {
                    if kind & 4 == 0 {
                        ours.handle_rtp(&[&header[..], &payload].concat(), now);
                    }
                }
            }
        }
        ours.poll_report(&WALL, now, &mut header);
        while ours.poll_message().is_some_and(|text| !text.is_empty()) {}
        assert!(ours.poll_message().is_none(), "no message is empty");
    }
});
