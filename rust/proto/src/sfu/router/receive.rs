//! RTP in: a packet finds its track, and its receivers.

use super::media_transport::Latch;
use super::{Output, Received, Router, RouterEvent, arm_in};
use crate::codec::Codec;
use crate::rtp::{Extensions, RtpPacket, Ssrc, Token};
use crate::sfu::drops::MediaDrop;
use crate::sfu::ids::{TransportId, UpTrackId};
use crate::sfu::keyframe::Want;
use crate::sfu::packet::UpPacket;
use crate::sfu::up_track::Incoming;
use crate::time::Time;

impl Router {
    /// Takes a decrypted RTP packet of a transport. What comes out is to be handed to [`Router::forward`] here, and
    /// to the shards that it names; a packet that is not forwarded is counted by its reason.
    pub fn handle_rtp(&mut self, transport: TransportId, datagram: &[u8], now: Time) -> Result<Received, MediaDrop> {
        let received = self.receive(transport, datagram, now);
        if let Err(reason) = received {
            self.drops.count(reason);
        }
        received
    }

    fn receive(&mut self, transport: TransportId, datagram: &[u8], now: Time) -> Result<Received, MediaDrop> {
        let key = self.transport(transport).map_err(|_| MediaDrop::UnknownTransport)?;
        let packet = RtpPacket::parse(datagram).map_err(|_| MediaDrop::Malformed)?;
        let map = self.transports[key].extensions;
        let extensions = Extensions::read(packet.extension_profile, packet.extension, &map);
        let transport = &mut self.transports[key];
        transport.packets_received += 1;
        transport.octets_received += datagram.len() as u64;
        if let Some(sequence) = extensions.transport_sequence {
            // Every packet on the transport counts, whatever becomes of it.
            transport.feedback.arrived(sequence, now);
            if let Some(at) = transport.feedback.poll_timeout() {
                self.arm(key, at);
            }
        }
        if packet.ssrc == Ssrc(0) {
            return Err(MediaDrop::Probe);
        }
        let index = self.find_stream(key, &packet, &extensions, now)?;
        let transport = &mut self.transports[key];
        let stream = &mut transport.streams[index];
        let up = &mut self.ups[stream.up];
        let entry = *up.track.payloads().by_type(packet.payload_type).ok_or(MediaDrop::UnknownPayloadType)?;
        if stream.rid.is_none() {
            stream.rid = extensions.rid.or(extensions.repaired_rid).and_then(Token::new);
        }
        let (clock_rate, octets) = (entry.codec.clock_rate(), packet.payload.len());
        let first = !stream.receive.is_started();
        let place = stream.receive.receive(packet.sequence, packet.timestamp, clock_rate, octets, now)?;
        if let Codec::Rtx { .. } = entry.codec {
            return Err(MediaDrop::Retransmission);
        }
        let capture = stream.receive.capture(packet.timestamp, clock_rate, &transport.clock, now);
        if first {
            transport.feedback.set_media(packet.ssrc);
        }
        let reports_at = transport.start_reports(now);
        let incoming = Incoming { packet: &packet, extensions: &extensions, entry: &entry, place, first, capture };
        let (meta, news) = up.track.handle(&incoming, now);
        let (id, remote_shards) = (up.track.config().id, up.remote_shards);
        if let Some(at) = reports_at {
            self.arm(key, at);
        }
        if let Some((codec, ssrc)) = news.started {
            self.emit(RouterEvent::UpTrackStarted { up: id, codec, ssrc });
        }
        if let Some(digit) = news.digit {
            let (digit, duration_ms) = (digit.digit, digit.duration_ms);
            self.emit(RouterEvent::DtmfReceived { up: id, digit, duration_ms });
        }
        Ok(Received { meta: meta?, local: self.subscribers.contains_key(&id), remote_shards })
    }

    /// Finds the stream of a packet's SSRC, or binds it: by `mid`, or by a payload type that one track only has.
    fn find_stream(
        &mut self,
        key: usize,
        packet: &RtpPacket<'_>,
        extensions: &Extensions<'_>,
        now: Time,
    ) -> Result<usize, MediaDrop> {
        let transport = &mut self.transports[key];
        let known = transport.find(packet.ssrc);
        let Some(mid) = extensions.mid else {
            if let Some(index) = known {
                return Ok(index);
            }
            let mut fitting = transport
                .ups
                .iter()
                .copied()
                .filter(|&up| self.ups[up].track.payloads().by_type(packet.payload_type).is_some());
            let (Some(up), None) = (fitting.next(), fitting.next()) else { return Err(MediaDrop::UnknownSsrc) };
            return transport.bind(packet.ssrc, up, Latch::PayloadType, now).ok_or(MediaDrop::SsrcLimit);
        };
        let named = transport
            .ups
            .iter()
            .copied()
            .find(|&up| self.ups[up].track.config().mid.is_some_and(|known| known.as_bytes() == mid));
        match (known, named) {
            (Some(index), Some(up)) => {
                // RFC 8843 §9.2: the mid in a packet decides, also over an earlier binding.
                let stream = &mut transport.streams[index];
                (stream.up, stream.latch) = (up, Latch::Mid);
                Ok(index)
            }
            (Some(index), None) => Ok(index),
            (None, Some(up)) => transport.bind(packet.ssrc, up, Latch::Mid, now).ok_or(MediaDrop::SsrcLimit),
            (None, None) => Err(MediaDrop::UnknownSsrc),
        }
    }

    /// Gives a packet, of this shard or another, to every down track of this shard that subscribed to its track.
    pub fn forward(&mut self, packet: &UpPacket<'_>, now: Time, output: &mut impl Output) {
        self.forward_batch(packet.meta.up, std::iter::once(*packet), now, output);
    }

    /// Gives packets of one up track to every down track of this shard that subscribed to it: all of them to the first
    /// receiver, then all to the next, so that what one receiver gets lies side by side and leaves as one GSO message.
    pub fn forward_batch<'a>(
        &mut self,
        up: UpTrackId,
        packets: impl Iterator<Item = UpPacket<'a>> + Clone,
        now: Time,
        output: &mut impl Output,
    ) {
        let Some(list) = self.subscribers.get(&up) else { return };
        let mut awaited = false;
        for &key in list {
            let entry = &mut self.downs[key];
            for packet in packets.clone() {
                match entry.track.forward(&packet, now) {
                    Ok(rewrite) => {
                        let transport = &mut self.transports[entry.transport];
                        output.rtp(transport.config.id, &rewrite, packet.payload);
                        if let Some(at) = transport.start_reports(now) {
                            arm_in(&mut self.timers, transport, entry.transport, at);
                        }
                    }
                    Err(reason) => {
                        awaited |= reason == MediaDrop::DownAwaitsKeyframe;
                        self.drops.count(reason);
                    }
                }
            }
        }
        if awaited {
            self.want_keyframe(up, Want::Picture, now);
        }
    }
}
