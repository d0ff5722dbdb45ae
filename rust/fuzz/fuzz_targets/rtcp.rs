//! RTCP compounds: every packet is iterated to its end, and what can be written is the same when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::rtcp::{RtcpPacket, nack, packets, receiver_report, remb, sender_report, tmmbr};

fuzz_target!(|datagram: &[u8]| {
    let mut count = 0;
    for packet in packets(datagram) {
        count += 1;
        let mut out = Vec::new();
        match packet {
            Ok(RtcpPacket::SenderReport(report)) => {
                let blocks: Vec<_> = report.blocks().collect();
                sender_report::write(&mut out, &report.info, &blocks);
                let Some(Ok(RtcpPacket::SenderReport(again))) = packets(&out).next() else { panic!("not read again") };
                assert!(again.info == report.info && again.blocks().eq(blocks));
            }
            Ok(RtcpPacket::ReceiverReport(report)) => {
                let blocks: Vec<_> = report.blocks().collect();
                receiver_report::write(&mut out, report.sender, &blocks);
                let Some(Ok(RtcpPacket::ReceiverReport(again))) = packets(&out).next() else {
                    panic!("not read again")
                };
                assert!(again.blocks().eq(blocks));
            }
            Ok(RtcpPacket::Nack(request)) => {
                let sequences: Vec<_> = request.sequences().collect();
                nack::write(&mut out, request.sender, request.media, &sequences);
                if let Some(Ok(RtcpPacket::Nack(again))) = packets(&out).next() {
                    assert!(again.sequences().count() <= sequences.len());
                }
            }
            Ok(RtcpPacket::Remb(estimate)) => {
                remb::write(&mut out, estimate.sender, estimate.bitrate_bps, &[]);
                let Some(Ok(RtcpPacket::Remb(again))) = packets(&out).next() else { panic!("not read again") };
                assert!(again.bitrate_bps <= estimate.bitrate_bps);
            }
            Ok(RtcpPacket::Tmmbr(request)) => {
                for entry in request.entries() {
                    out.clear();
                    tmmbr::write(&mut out, request.sender, entry.bitrate_bps, &[entry.media]);
                    let Some(Ok(RtcpPacket::Tmmbr(again))) = packets(&out).next() else { panic!("not read again") };
                    assert!(again.entries().all(|read| read.bitrate_bps <= entry.bitrate_bps));
                }
            }
            Ok(RtcpPacket::Twcc(feedback)) => {
                let reported = feedback.packets().count();
                assert_eq!(reported, usize::from(feedback.count));
            }
            Ok(RtcpPacket::Sdes(sdes)) => assert!(sdes.cnames().count() <= 31),
            Ok(RtcpPacket::Bye(bye)) => assert!(bye.ssrcs().count() <= 31),
            Ok(RtcpPacket::Fir(fir)) => assert!(fir.entries().count() <= datagram.len() / 8),
            Ok(RtcpPacket::Pli(_) | RtcpPacket::Other { .. }) | Err(_) => {}
        }
    }
    assert!(count <= datagram.len() / 4 + 1);
});
