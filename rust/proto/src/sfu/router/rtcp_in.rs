//! RTCP in: reports become statistics, requests of receivers end here and become requests to the source.

use super::{Output, Router};
use crate::codec::MediaKind;
use crate::pacer::Class;
use crate::rtcp::{self, Nack, ReportBlock, RtcpPacket, SenderInfo, Tmmbr, WallClock, tmmbr};
use crate::rtp::Ssrc;
use crate::sfu::drops::MediaDrop;
use crate::sfu::ids::TransportId;
use crate::sfu::keyframe::Want;
use crate::sfu::retransmitter::{Answer, Original};
use crate::time::Time;

/// Sequence numbers of one NACK that are answered.
const MOST_ANSWERS: usize = 128;
/// Sources of one request for a lower rate that are looked at.
const MOST_REQUESTS: usize = 4;

impl Router {
    /// Takes a decrypted RTCP datagram of a transport, compound or reduced-size.
    pub fn handle_rtcp(
        &mut self,
        transport: TransportId,
        datagram: &[u8],
        wall: &WallClock,
        now: Time,
        output: &mut impl Output,
    ) {
        let Ok(key) = self.transport(transport) else {
            self.drops.count(MediaDrop::UnknownTransport);
            return;
        };
        let mut news = false;
        for packet in rtcp::packets(datagram) {
            match packet {
                Ok(RtcpPacket::SenderReport(report)) => {
                    self.handle_sender_info(key, &report.info, now);
                    self.handle_blocks(key, report.blocks(), wall, now);
                }
                Ok(RtcpPacket::ReceiverReport(report)) => self.handle_blocks(key, report.blocks(), wall, now),
                Ok(RtcpPacket::Pli(pli)) => self.picture_wanted(key, pli.media, Want::Picture, now),
                Ok(RtcpPacket::Fir(fir)) => {
                    for (media, _) in fir.entries() {
                        self.picture_wanted(key, media, Want::Picture, now);
                    }
                }
                Ok(RtcpPacket::Twcc(feedback)) => {
                    if let Err(reason) = self.transports[key].egress.feedback(&feedback, now) {
                        self.drops.count(reason);
                    }
                    news = true;
                }
                Ok(RtcpPacket::Remb(remb)) => {
                    self.transports[key].egress.remb(remb.bitrate_bps, now);
                    news = true;
                }
                Ok(RtcpPacket::Nack(nack)) => self.answer_nack(key, &nack, now, output),
                Ok(RtcpPacket::Tmmbr(tmmbr)) => self.take_request(key, &tmmbr, now, output),
                Ok(RtcpPacket::Sdes(_) | RtcpPacket::Bye(_) | RtcpPacket::Other { .. }) => {}
                Err(_) => self.drops.count(MediaDrop::RtcpMalformed),
            }
        }
        if news {
            self.run_egress(key, now, output);
        }
    }

    fn handle_sender_info(&mut self, key: usize, info: &SenderInfo, now: Time) {
        let transport = &mut self.transports[key];
        match transport.find(info.ssrc) {
            Some(index) => {
                transport.clock.update(info.ntp, now);
                transport.streams[index].receive.handle_sender_info(info, now);
            }
            None => self.drops.count(MediaDrop::RtcpUnknownSsrc),
        }
    }

    fn handle_blocks(&mut self, key: usize, blocks: impl Iterator<Item = ReportBlock>, wall: &WallClock, now: Time) {
        for block in blocks {
            match self.down_of_ssrc(key, block.ssrc) {
                Some(down) => {
                    let news = self.downs[down].track.handle_report(&block, now, wall);
                    if news.impossible_time {
                        self.drops.count(MediaDrop::RtcpImpossibleTime);
                    }
                    self.transports[key].egress.receiver_report(news.lost, news.packets, now);
                }
                // What is sent again has no statistics of its own.
                None if self.is_repair_ssrc(key, block.ssrc) => {}
                None => self.drops.count(MediaDrop::RtcpUnknownSsrc),
            }
        }
    }

    /// A receiver wants less of a picture: what is sent to it keeps to that, and it hears so (RFC 5104 §4.2.2).
    fn take_request(&mut self, key: usize, request: &Tmmbr<'_>, now: Time, output: &mut impl Output) {
        for entry in request.entries().take(MOST_REQUESTS) {
            let down = self.down_of_ssrc(key, entry.media).map(|down| &self.downs[down].track);
            if !down.is_some_and(|track| track.payloads().feedback().ccm_tmmbr) {
                self.drops.count(MediaDrop::FeedbackUnexpected);
                continue;
            }
            self.transports[key].egress.set_peer_limit(entry.bitrate_bps);
            self.tracks_changed(key, now);
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            self.begin_feedback(key, &mut scratch);
            tmmbr::write_notification(&mut scratch, entry.media, &entry, request.sender);
            output.rtcp(self.transports[key].config.id, &scratch);
            self.scratch = scratch;
        }
    }

    fn is_repair_ssrc(&self, key: usize, ssrc: Ssrc) -> bool {
        self.transports[key].downs.iter().any(|&down| self.downs[down].track.config().rtx_ssrc == Some(ssrc))
    }

    /// Sends again what a receiver misses, and asks for a keyframe when that cannot be.
    fn answer_nack(&mut self, key: usize, nack: &Nack<'_>, now: Time, output: &mut impl Output) {
        let Some(down) = self.down_of_ssrc(key, nack.media) else {
            self.drops.count(MediaDrop::RtcpUnknownSsrc);
            return;
        };
        let Router { transports, downs, sources, timers, drops, .. } = self;
        let (transport, entry) = (&mut transports[key], &mut downs[down]);
        let source = entry.subscription.and_then(|up| sources.get(&up));
        let (mut answered, mut helpless) = (0, false);
        for sequence in nack.sequences() {
            if answered == MOST_ANSWERS {
                drops.count(MediaDrop::NackLimit);
                break;
            }
            answered += 1;
            let find = |original: &Original| source?.packet(original);
            match entry.track.answer_nack(sequence, find, now) {
                Ok(Answer { rewrite, packet, .. }) => {
                    transport.egress.send(Class::Retransmission, &rewrite, packet.as_ref(), now, output);
                }
                Err(reason) => {
                    helpless |= reason == MediaDrop::NackUnknown;
                    drops.count(reason);
                }
            }
        }
        transport.arm_waiting(key, timers, now);
        if helpless {
            self.picture_wanted(key, nack.media, Want::Loss, now);
        }
    }

    fn picture_wanted(&mut self, key: usize, media: Ssrc, want: Want, now: Time) {
        let Some(down) = self.down_of_ssrc(key, media) else {
            self.drops.count(MediaDrop::RtcpUnknownSsrc);
            return;
        };
        let entry = &mut self.downs[down];
        let is_live_picture = entry.track.config().kind == MediaKind::Video && entry.track.playing().is_none();
        let (Some(up), Some(layer)) = (entry.subscription, entry.track.wanted_stream()) else { return };
        if !is_live_picture || !entry.track.is_active() {
            return;
        }
        if !entry.track.may_request(now) {
            self.drops.count(MediaDrop::KeyframeRequestLimit);
            return;
        }
        // Another one would only wait behind the one that is on its way.
        let keyframe = entry.track.keyframe_sent().filter(|_| entry.track.target().is_screen);
        if keyframe.is_some_and(|timestamp| self.transports[key].egress.holds(media, timestamp)) {
            self.drops.count(MediaDrop::KeyframeUnderWay);
            return;
        }
        self.want_keyframe(up, layer, want, now);
    }

    fn down_of_ssrc(&self, key: usize, ssrc: Ssrc) -> Option<usize> {
        let downs = &self.transports[key].downs;
        downs.iter().copied().find(|&down| self.downs[down].track.config().ssrc == ssrc)
    }
}
