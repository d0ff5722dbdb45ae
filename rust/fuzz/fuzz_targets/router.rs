//! A router with one publisher and one receiver that is fed packets, reports, gates and time in any order: no SRTP index
//! is ever given out twice.
#![no_main]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::{Codec, Feedback, MediaKind, Payload};
use mediaserver_proto::player::{Clip, ClipPacket, ClipTrack};
use mediaserver_proto::rtcp::{NtpTime, WallClock};
use mediaserver_proto::rtp::{ExtensionKind, ExtensionMap, Ssrc, Token};
use mediaserver_proto::sfu::{
    ClipId, Departure, DownTrackConfig, DownTrackId, Gate, Output, Rewrite, Router, TransportConfig, TransportId,
    UpPacket, UpTrackConfig, UpTrackId,
};
use mediaserver_proto::time::Time;

const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(5000 << 32) };

#[derive(Default)]
struct Indices {
    seen: HashSet<(u32, u64)>,
    bytes: Vec<u8>,
}

impl Output for Indices {
    fn rtp(&mut self, _: TransportId, rewrite: &Rewrite, departure: &Departure, payload: &[u8]) -> Option<usize> {
        assert!(self.seen.insert((rewrite.ssrc.0, rewrite.sequence)), "an index was given out twice");
        self.bytes.clear();
        rewrite.write_packet(departure, payload, &mut self.bytes);
        Some(self.bytes.len())
    }

    fn rtcp(&mut self, _: TransportId, compound: &[u8]) {
        assert!(compound.len() % 4 == 0 && compound.len() <= 1400);
    }
}

fn payload(payload_type: u8, name: &str, clock_rate: u32) -> Payload {
    let feedback = Feedback { nack_pli: true, ..Feedback::default() };
    Payload { payload_type, name: name.to_owned(), clock_rate, channels: 1, parameters: Vec::new(), feedback }
}

fn router() -> Router {
    let mut router = Router::new();
    let mut extensions = ExtensionMap::default();
    extensions.set(1, ExtensionKind::Mid.uri()).expect("id 1 is free");
    extensions.set(2, ExtensionKind::TransportSequence.uri()).expect("id 2 is free");
    extensions.set(3, ExtensionKind::DependencyDescriptor.uri()).expect("id 3 is free");
    for id in [TransportId(1), TransportId(2)] {
        let (rtcp_ssrc, cname) = (Ssrc(77), "c".to_owned());
        let config = TransportConfig { id, rtcp_ssrc, cname, reduced_size: true, max_streams: 4 };
        router.add_transport(config).expect("the id is free");
        router.set_extensions(id, extensions).expect("the transport is there");
    }
    let tracks = [
        (
            MediaKind::Audio,
            vec![payload(0, "PCMU", 8000), payload(63, "red", 8000), payload(101, "telephone-event", 8000)],
        ),
        (MediaKind::Video, vec![payload(96, "VP8", 90_000), payload(98, "VP9", 90_000), payload(45, "AV1", 90_000)]),
    ];
    for (index, (kind, payloads)) in tracks.into_iter().enumerate() {
        let (id, mid) = (index as u64 + 1, Token::new(&[b'0' + index as u8]));
        let (up, down) = (UpTrackId(id), DownTrackId(id));
        let (ssrcs, closed_gates) = (vec![], vec![]);
        let config = UpTrackConfig {
            id: up,
            transport: TransportId(1),
            kind,
            mid,
            payloads: payloads.clone(),
            ssrcs,
            rtx_ssrcs: vec![],
            rids: vec![],
            closed_gates,
        };
        router.add_up_track(config).expect("the id is free");
        let (transport, ssrc, cname) = (TransportId(2), Ssrc(id as u32), "d".to_owned());
        // Without redundancy, so that it is taken off.
        let payloads = payloads.into_iter().filter(|payload| payload.name != "red").collect();
        let config = DownTrackConfig { id: down, transport, kind, mid, ssrc, rtx_ssrc: None, cname, payloads };
        router.add_down_track(config).expect("the id is free");
        router.subscribe(down, up, Time::ZERO).expect("the track is there");
    }
    let packet = |index: u32| ClipPacket { timestamp: 160 * index, marker: false, payload: vec![1] };
    let tracks = vec![ClipTrack { codec: Codec::Pcmu, packets: (0..5).map(packet).collect() }];
    router.load_clip(Arc::new(Clip { id: ClipId(1), tracks, duration: Duration::from_millis(100) }));
    router
}

fuzz_target!(|input: &[u8]| {
    let (mut router, mut out) = (router(), Indices::default());
    let (mut now, mut rest) = (Time::from_millis(1), input);
    let down = DownTrackId(1);
    while let [kind, len, after @ ..] = rest {
        let (datagram, next) = after.split_at(after.len().min(usize::from(*len)));
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 3));
        match kind & 7 {
            0..=2 => {
                if let Ok(received) = router.handle_rtp(TransportId(1), datagram, now) {
                    let packet = UpPacket { meta: received.meta, payload: received.meta.payload(datagram) };
                    router.forward(&packet, now, &mut out);
                }
            }
            3 => router.handle_rtcp(TransportId(1 + u64::from(len & 1)), datagram, &WALL, now, &mut out),
            4 => router.set_gate(UpTrackId(1), Gate::Mute, len & 1 == 0, now).expect("the track is there"),
            5 => drop(router.play(&[down], ClipId(1), len & 1 == 0, now)),
            6 => drop(router.send_dtmf(down, "1", Duration::from_millis(40), Duration::from_millis(40), now)),
            _ => drop(router.stop_playing(&[down], now)),
        }
        router.handle_timeout(&WALL, now, &mut out);
        while router.poll_event().is_some() {}
    }
});
