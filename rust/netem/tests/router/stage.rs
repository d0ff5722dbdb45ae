//! Publishers, a router and viewers on one clock.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_netem::{Link, LinkConfig, Loss, QueueLimit, Schedule};
use mediaserver_proto::codec::{Feedback, MediaKind, Payload};
use mediaserver_proto::io::Paced;
use mediaserver_proto::pacer::PacerDrop;
use mediaserver_proto::rtcp::{self, NtpTime, RtcpPacket, WallClock};
use mediaserver_proto::rtp::{ExtensionKind, ExtensionMap, Ssrc, Token};
use mediaserver_proto::sfu::router::TransportStats;
use mediaserver_proto::sfu::{
    Departure, DownTrackConfig, DownTrackId, Output, Rewrite, Router, Target, TransportConfig, TransportId, UpPacket,
    UpTrackConfig,
};
use mediaserver_proto::time::Time;

use crate::publisher::{FRAME_MS, MID, PAYLOAD_TYPE, Publisher, RID, Shape};
use crate::viewer::{MEDIA_TYPE, NUMBERS, Picture, REPAIR_TYPE, Viewer};

const WALL: WallClock = WallClock { at: Time::ZERO, ntp: NtpTime(5000 << 32) };
/// Propagation delay of a line unless said otherwise, there and back the same.
const DELAY: Duration = Duration::from_millis(25);
const FIRST_VIEWER: u8 = 100;
/// A picture of this priority is a shared screen.
pub(crate) const SCREEN_PRIORITY: u8 = 200;
/// IP and UDP headers count on the line.
const BELOW: usize = 28;

/// A line with a queue of 300 ms.
pub(crate) fn line(rate: Schedule) -> LinkConfig {
    LinkConfig {
        rate,
        delay: DELAY,
        jitter: Duration::from_millis(2),
        reorders: false,
        loss: Loss::None,
        queue: QueueLimit::Time(Duration::from_millis(300)),
        seed: 7,
    }
}

#[derive(Default)]
struct Wire {
    media: Vec<(TransportId, Vec<u8>)>,
    control: Vec<(TransportId, Vec<u8>)>,
    paced: Vec<Paced>,
}

impl Output for Wire {
    fn rtp(&mut self, to: TransportId, rewrite: &Rewrite, departure: &Departure, payload: &[u8]) -> Option<usize> {
        let mut out = Vec::new();
        rewrite.write_packet(departure, payload, &mut out);
        let len = out.len() + 16;
        self.media.push((to, out));
        Some(len)
    }

    fn paced(&mut self, paced: Paced) {
        self.paced.push(paced);
    }

    fn rtcp(&mut self, to: TransportId, compound: &[u8]) {
        self.control.push((to, compound.to_vec()));
    }
}

/// See the module.
pub(crate) struct Stage {
    router: Router,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) viewers: Vec<Viewer>,
    wire: Wire,
    /// RTCP on its way back: when it comes, and from whom.
    back: VecDeque<(Time, TransportId, Vec<u8>)>,
    now: Time,
}

fn payload(payload_type: u8, name: &str, parameters: &[(&str, &str)]) -> Payload {
    Payload {
        payload_type,
        name: name.to_owned(),
        clock_rate: 90_000,
        channels: 1,
        parameters: parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        feedback: Feedback::from_values(["nack", "nack pli", "goog-remb"]),
    }
}

impl Stage {
    /// A room with publishers.
    pub(crate) fn new(sources: &[&[Shape]]) -> Stage {
        let mut stage = Stage {
            router: Router::new(),
            publishers: Vec::new(),
            viewers: Vec::new(),
            wire: Wire::default(),
            back: VecDeque::new(),
            now: Time::from_millis(1),
        };
        for (index, shapes) in sources.iter().enumerate() {
            let publisher = Publisher::new(index as u8 + 1, shapes);
            stage.add_transport(publisher.transport);
            let rids = shapes.iter().filter_map(|shape| Token::new(shape.rid.as_bytes()));
            let config = UpTrackConfig {
                id: publisher.up,
                transport: publisher.transport,
                kind: MediaKind::Video,
                mid: Token::new(&publisher.mid),
                payloads: vec![payload(PAYLOAD_TYPE, "VP8", &[])],
                ssrcs: vec![],
                rtx_ssrcs: vec![],
                rids: rids.collect(),
                closed_gates: vec![],
            };
            stage.router.add_up_track(config).unwrap();
            stage.publishers.push(publisher);
        }
        stage
    }

    fn add_transport(&mut self, id: TransportId) {
        let config = TransportConfig {
            id,
            rtcp_ssrc: Ssrc(0xeeee_0000 + id.0 as u32),
            cname: "own".to_owned(),
            reduced_size: true,
            max_streams: 16,
        };
        self.router.add_transport(config).unwrap();
        let mut map = ExtensionMap::default();
        map.set(u16::from(MID), ExtensionKind::Mid.uri()).unwrap();
        map.set(u16::from(NUMBERS), ExtensionKind::TransportSequence.uri()).unwrap();
        map.set(u16::from(RID), ExtensionKind::Rid.uri()).unwrap();
        self.router.set_extensions(id, map).unwrap();
    }

    /// Somebody behind a line sees publishers (by index), each with a priority.
    pub(crate) fn view(&mut self, line: LinkConfig, wanted: &[(usize, u8)]) {
        self.add_viewer(line, wanted, true);
    }

    /// The same, but the viewer's feedback never comes.
    pub(crate) fn view_silently(&mut self, line: LinkConfig, wanted: &[(usize, u8)]) {
        self.add_viewer(line, wanted, false);
    }

    fn add_viewer(&mut self, line: LinkConfig, wanted: &[(usize, u8)], gives_feedback: bool) {
        let number = FIRST_VIEWER + self.viewers.len() as u8;
        let mut viewer = Viewer::new(number, line.delay, Link::new(line), gives_feedback);
        self.add_transport(viewer.transport);
        for &(publisher, priority) in wanted {
            let up = self.publishers[publisher].up;
            let picture = Picture::new(DownTrackId(u64::from(number) * 100 + up.0), up);
            let config = DownTrackConfig {
                id: picture.down,
                transport: viewer.transport,
                kind: MediaKind::Video,
                mid: None,
                ssrc: picture.ssrc,
                rtx_ssrc: Some(picture.repair()),
                cname: "v".to_owned(),
                payloads: vec![payload(MEDIA_TYPE, "VP8", &[]), payload(REPAIR_TYPE, "rtx", &[("apt", "120")])],
            };
            self.router.add_down_track(config).unwrap();
            self.router
                .set_target(
                    picture.down,
                    Target { priority, is_screen: priority >= SCREEN_PRIORITY, ..Target::default() },
                    self.now,
                )
                .unwrap();
            self.router.subscribe(picture.down, up, self.now).unwrap();
            viewer.pictures.push(picture);
        }
        self.viewers.push(viewer);
    }

    /// From now on a publisher keeps to what it is asked for.
    pub(crate) fn obey(&mut self, publisher: usize) {
        self.publishers[publisher].obeys = true;
    }

    /// Somebody says something that nobody has asked for.
    pub(crate) fn say(&mut self, from: TransportId, compound: &[u8]) {
        self.router.handle_rtcp(from, compound, &WALL, self.now, &mut self.wire);
    }

    /// A publisher sends a packet beside its own.
    pub(crate) fn slip_in(&mut self, publisher: usize, datagram: &[u8]) {
        let Publisher { transport, .. } = self.publishers[publisher];
        if let Ok(received) = self.router.handle_rtp(transport, datagram, self.now) {
            let packet = UpPacket { meta: received.meta, payload: received.meta.payload(datagram) };
            self.router.forward(&packet, self.now, &mut self.wire);
        }
    }

    /// How often something was dropped, not believed, or not let out of the pacer, by its name.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let (router, of_name) = (&self.router, |(found, _): &(&str, u64)| *found == name);
        router.drops().iter().chain(router.faults().iter()).find(of_name).map_or(0, |(_, count)| count)
    }

    /// The statistics of somebody.
    pub(crate) fn stats(&self, of: TransportId) -> TransportStats {
        self.router.stats(of).unwrap()
    }

    /// What has left after waiting for its turn, since the last call.
    pub(crate) fn take_paced(&mut self) -> Vec<Paced> {
        std::mem::take(&mut self.wire.paced)
    }

    /// Bounds what leaves to a viewer, in bits per second.
    pub(crate) fn limit_viewer(&mut self, viewer: usize, bps: Option<u64>) {
        self.router.set_limits(self.viewers[viewer].transport, bps, None, self.now).unwrap();
    }

    /// Bounds what a publisher may send, in bits per second.
    pub(crate) fn limit_publisher(&mut self, publisher: usize, bps: Option<u64>) {
        self.router.set_limits(self.publishers[publisher].transport, None, bps, self.now).unwrap();
    }

    /// From now on what a viewer is sent takes longer by so much.
    pub(crate) fn reroute(&mut self, viewer: usize, detour: Duration) {
        self.viewers[viewer].detour = detour;
    }

    /// Lets time pass until `end_ms`, millisecond by millisecond.
    pub(crate) fn run(&mut self, end_ms: u64) {
        while self.now.as_millis() < end_ms {
            let ms = self.now.as_millis();
            for index in 0..self.publishers.len() {
                if (ms + 11 * index as u64).is_multiple_of(FRAME_MS) {
                    self.publish(index, ms);
                }
            }
            self.timers();
            self.carry();
            self.now = self.now + Duration::from_millis(1);
        }
    }

    fn publish(&mut self, index: usize, ms: u64) {
        let publisher = &mut self.publishers[index];
        let transport = publisher.transport;
        let datagrams = publisher.frames(ms);
        let received: Vec<_> = datagrams
            .iter()
            .filter_map(|bytes| Some((self.router.handle_rtp(transport, bytes, self.now).ok()?.meta, bytes)))
            .collect();
        // As from one receive batch: packets of one track side by side.
        let packets = received.iter().map(|(meta, bytes)| UpPacket { meta: *meta, payload: meta.payload(bytes) });
        self.router.forward_batch(self.publishers[index].up, packets, self.now, &mut self.wire);
    }

    fn timers(&mut self) {
        while let Some(at) = self.router.poll_timeout().filter(|at| *at <= self.now) {
            self.router.handle_timeout(&WALL, at.max(self.now), &mut self.wire);
        }
        for (to, compound) in std::mem::take(&mut self.wire.control) {
            let Some(publisher) = self.publishers.iter_mut().find(|publisher| publisher.transport == to) else {
                continue;
            };
            for packet in rtcp::packets(&compound) {
                match packet {
                    Ok(RtcpPacket::Pli(pli)) => publisher.asked(pli.media, self.now.as_millis()),
                    Ok(RtcpPacket::Remb(remb)) => publisher.asked_rate(self.now.as_millis(), remb.bitrate_bps),
                    _ => {}
                }
            }
        }
        while self.router.poll_event().is_some() {}
    }

    fn carry(&mut self) {
        for (to, bytes) in std::mem::take(&mut self.wire.media) {
            let viewer = self.viewers.iter_mut().find(|viewer| viewer.transport == to).expect("a viewer");
            viewer.line.send(0, bytes.len() + 16 + BELOW, viewer.detour, bytes, self.now);
        }
        for viewer in &mut self.viewers {
            while let Some(delivery) = viewer.line.poll(self.now) {
                viewer.arrived(&delivery);
            }
            for said in viewer.speak(self.now) {
                self.back.push_back((self.now + viewer.delay, viewer.transport, said));
            }
        }
        while let Some(index) = self.back.iter().position(|(at, ..)| *at <= self.now) {
            let (at, from, said) = self.back.remove(index).expect("looked at");
            self.router.handle_rtcp(from, &said, &WALL, at, &mut self.wire);
        }
    }

    /// Packets that waited for their turn and were dropped because their picture went on with another layer.
    pub(crate) fn abandoned(&self) -> u64 {
        self.router.pacer_drops().get(PacerDrop::Abandoned)
    }

    /// What a viewer was shown, and what was known of its line: for messages of failed tests.
    pub(crate) fn story(&self, viewer: usize) -> String {
        let viewer = &self.viewers[viewer];
        let mut lines = Vec::new();
        for picture in &viewer.pictures {
            let mut last = None;
            let changes = picture.shown.iter().filter(|shown| last.replace(shown.layer) != Some(shown.layer));
            lines.push(format!("{:?}: {:?}", picture.up, changes.map(|s| (s.ms, s.layer)).collect::<Vec<_>>()));
        }
        lines.push(format!("{:?}", self.router.stats(viewer.transport).unwrap().bandwidth));
        lines.push(format!("{:?} {:?} {:?}", self.router.drops(), self.router.faults(), self.router.pacer_drops()));
        lines.join("\n")
    }
}
