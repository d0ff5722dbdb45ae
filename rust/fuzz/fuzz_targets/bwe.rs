//! The send side of bandwidth estimation: whatever a peer reports, the estimate stays within its bounds, what is
//! counted stays countable, and time goes on.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::bwe::{Bounds, Estimator};
use mediaserver_proto::rtcp::{RtcpPacket, packets};
use mediaserver_proto::time::Time;

fuzz_target!(|input: &[u8]| {
    let bounds = Bounds { min_bps: 50_000, start_bps: 300_000, max_bps: 5_000_000 };
    let mut estimator = Estimator::new(bounds);
    let (mut now, mut sequence) = (Time::from_millis(1_000), 0u16);
    // Each step: a byte that says how many packets leave before it, then a length and that much RTCP.
    let mut rest = input;
    while let Some((&[leave, length], tail)) = rest.split_first_chunk::<2>() {
        for _ in 0..leave % 32 {
            now = now + Duration::from_millis(3);
            let cluster = estimator.poll_probe(now).map(|probe| probe.cluster);
            estimator.sent(sequence, 1_000, cluster, now);
            sequence = sequence.wrapping_add(1);
        }
        let (compound, tail) = tail.split_at(usize::from(length).min(tail.len()));
        for packet in packets(compound) {
            match packet {
                Ok(RtcpPacket::Twcc(feedback)) => estimator.feedback(&feedback, now),
                Ok(RtcpPacket::Remb(remb)) => estimator.remb(remb.bitrate_bps, now),
                Ok(RtcpPacket::ReceiverReport(report)) => {
                    for block in report.blocks() {
                        estimator.receiver_report(u32::from(block.fraction_lost), 256, now);
                    }
                }
                _ => {}
            }
        }
        estimator.handle_timeout(now);
        let figures = estimator.figures(now);
        assert!((bounds.min_bps..=bounds.max_bps).contains(&figures.estimate_bps));
        assert!(figures.queue_ms.is_finite() && (0.0..=1.0).contains(&figures.loss));
        rest = tail;
    }
});
