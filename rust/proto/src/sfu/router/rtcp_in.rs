//! RTCP in: reports become statistics, requests of receivers end here and become requests to the source.

use super::Router;
use crate::codec::MediaKind;
use crate::rtcp::{self, ReportBlock, RtcpPacket, SenderInfo, WallClock};
use crate::rtp::Ssrc;
use crate::sfu::drops::MediaDrop;
use crate::sfu::ids::TransportId;
use crate::sfu::keyframe::Want;
use crate::time::Time;

impl Router {
    /// Takes a decrypted RTCP datagram of a transport, compound or reduced-size. Transport-wide feedback about what
    /// we sent is left to the bandwidth estimation, which parses the same datagram.
    pub fn handle_rtcp(&mut self, transport: TransportId, datagram: &[u8], wall: &WallClock, now: Time) {
        let Ok(key) = self.transport(transport) else {
            self.drops.count(MediaDrop::UnknownTransport);
            return;
        };
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
                Ok(RtcpPacket::Nack(nack)) => self.picture_wanted(key, nack.media, Want::Loss, now),
                Ok(
                    RtcpPacket::Sdes(_)
                    | RtcpPacket::Bye(_)
                    | RtcpPacket::Remb(_)
                    | RtcpPacket::Twcc(_)
                    | RtcpPacket::Other { .. },
                ) => {}
                Err(_) => self.drops.count(MediaDrop::RtcpMalformed),
            }
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
                Some(down) => self.downs[down].track.handle_report(&block, now, wall),
                None => self.drops.count(MediaDrop::RtcpUnknownSsrc),
            }
        }
    }

    fn picture_wanted(&mut self, key: usize, media: Ssrc, want: Want, now: Time) {
        let Some(down) = self.down_of_ssrc(key, media) else {
            self.drops.count(MediaDrop::RtcpUnknownSsrc);
            return;
        };
        let entry = &mut self.downs[down];
        let is_live_picture = entry.track.config().kind == MediaKind::Video && entry.track.playing().is_none();
        let (Some(up), Some(layer)) = (entry.subscription, entry.track.wanted_layer()) else { return };
        if !is_live_picture || !entry.track.is_active() {
            return;
        }
        if !entry.track.may_request(now) {
            self.drops.count(MediaDrop::KeyframeRequestLimit);
            return;
        }
        self.want_keyframe(up, layer, want, now);
    }

    fn down_of_ssrc(&self, key: usize, ssrc: Ssrc) -> Option<usize> {
        let downs = &self.transports[key].downs;
        downs.iter().copied().find(|&down| self.downs[down].track.config().ssrc == ssrc)
    }
}
