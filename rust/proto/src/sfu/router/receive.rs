//! RTP in: a packet finds its SSRC, its layer and its track.

use super::media_transport::Latch;
use super::{Received, Router, RouterEvent};
use crate::codec::Codec;
use crate::rtp::{Extensions, RtpPacket, Ssrc};
use crate::sfu::Want;
use crate::sfu::drops::MediaDrop;
use crate::sfu::ids::TransportId;
use crate::sfu::layers::MAX_LAYERS;
use crate::sfu::packet::PacketMeta;
use crate::sfu::up_track::Incoming;
use crate::time::Time;

/// Clock of retransmissions, for their own statistics; all that we know of are of pictures.
const RTX_CLOCK_RATE: u32 = 90_000;

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
            let feedback = transport.feedback.get_or_insert_default();
            feedback.arrived(sequence, now);
            if let Some(at) = feedback.poll_timeout() {
                self.arm(key, at);
            }
        }
        if packet.ssrc == Ssrc(0) {
            return Err(MediaDrop::Probe);
        }
        let index = self.find_stream(key, &packet, &extensions, now)?;
        let transport = &mut self.transports[key];
        let stream = &mut transport.streams[index];
        let up = &self.ups[stream.up];
        let entry = *up.track.payloads().by_type(packet.payload_type).ok_or(MediaDrop::UnknownPayloadType)?;
        if let Codec::Rtx { original } = entry.codec {
            return self.receive_rtx(key, index, original, &packet, &extensions, now);
        }
        if usize::from(stream.layer) >= up.track.layers().len() {
            // Nothing is counted, so that no report makes the browser leave the name out before it was heard.
            return Err(MediaDrop::UnknownRid);
        }
        let (clock_rate, octets) = (entry.codec.clock_rate(), packet.payload.len());
        let first = !stream.receive.is_started();
        let place = stream.receive.receive(packet.sequence, packet.timestamp, clock_rate, octets, now)?;
        let capture = stream.receive.capture(packet.timestamp, clock_rate, &transport.clock, now);
        let (layer, up) = (stream.layer, stream.up);
        let mut nack_at = None;
        if entry.feedback.nack && entry.codec.is_video() {
            let nacks = stream.nacks.get_or_insert_default();
            if place.restarted {
                nacks.reset();
            }
            if nacks.received(place.sequence, now) {
                nack_at = nacks.poll_timeout();
            }
        }
        if let Some(feedback) = transport.feedback.as_mut().filter(|feedback| first || !feedback.has_media()) {
            feedback.set_media(packet.ssrc);
        }
        let reports_at = transport.start_reports(now);
        for at in reports_at.into_iter().chain(nack_at) {
            self.arm(key, at);
        }
        let (packet, extensions, entry) = (&packet, &extensions, &entry);
        let incoming = Incoming { packet, extensions, entry, place, first, layer, capture };
        let received = self.accept(up, &incoming, now)?;
        if received.meta.keyframe_start
            && let Some(nacks) = &mut self.transports[key].streams[index].nacks
        {
            nacks.keyframe(place.sequence);
        }
        Ok(received)
    }

    /// A retransmission (RFC 4588 §4): the original packet goes the way that it would have gone.
    fn receive_rtx(
        &mut self,
        key: usize,
        index: usize,
        original: u8,
        packet: &RtpPacket<'_>,
        extensions: &Extensions<'_>,
        now: Time,
    ) -> Result<Received, MediaDrop> {
        let transport = &mut self.transports[key];
        let stream = &mut transport.streams[index];
        stream.receive.receive(packet.sequence, packet.timestamp, RTX_CLOCK_RATE, packet.payload.len(), now)?;
        let (up, layer) = (stream.up, stream.layer);
        let track = &self.ups[up].track;
        let signalled = track.config().rtx_ssrcs.iter().find(|(rtx, _)| *rtx == packet.ssrc).map(|(_, media)| *media);
        let latched = track.layers().get(usize::from(layer)).and_then(|layer| layer.ssrc());
        let media = latched.or(signalled).ok_or(MediaDrop::RtxUnbound)?;
        let entry = *track.payloads().by_type(original).ok_or(MediaDrop::RtxUnbound)?;
        let Some((sequence, payload)) = packet.payload.split_first_chunk::<2>() else {
            return Err(MediaDrop::RtxPadding);
        };
        let index = transport.find(media).ok_or(MediaDrop::RtxUnbound)?;
        let stream = &mut transport.streams[index];
        if stream.up != up || usize::from(stream.layer) >= track.layers().len() {
            return Err(MediaDrop::RtxUnbound);
        }
        let place = stream.receive.recover(u16::from_be_bytes(*sequence))?;
        if let Some(nacks) = &mut stream.nacks {
            nacks.received(place.sequence, now);
        }
        let recovered = RtpPacket {
            payload_type: original,
            sequence: place.sequence as u16,
            ssrc: media,
            payload,
            payload_offset: packet.payload_offset + sequence.len(),
            ..*packet
        };
        let capture = stream.receive.capture(packet.timestamp, entry.codec.clock_rate(), &transport.clock, now);
        let (packet, entry, layer) = (&recovered, &entry, stream.layer);
        self.accept(up, &Incoming { packet, extensions, entry, place, first: false, layer, capture }, now)
    }

    /// Gives a packet with its place to its track.
    fn accept(&mut self, key: usize, incoming: &Incoming<'_>, now: Time) -> Result<Received, MediaDrop> {
        let up = &mut self.ups[key];
        let (meta, news) = up.track.handle(incoming, now);
        if matches!(meta, Err(MediaDrop::UnknownTemplate)) {
            self.ask_source(key, incoming.layer, Want::Loss, now);
        }
        let up = &self.ups[key];
        let (id, remote_shards) = (up.track.config().id, up.remote_layers[usize::from(incoming.layer) % MAX_LAYERS]);
        if news.layers {
            self.layers_changed(key, now);
            if meta.as_ref().is_ok_and(PacketMeta::opens_layer)
                && let Some(layer) = self.ups[key].track.layers_mut().get_mut(usize::from(incoming.layer))
            {
                // Whoever goes over to the layer that begins here has its keyframe.
                layer.keyframes.arrived();
            }
        }
        if let Some((codec, ssrc)) = news.started {
            self.emit(RouterEvent::UpTrackStarted { up: id, codec, ssrc });
        }
        if let Some(loudness) = news.loudness {
            self.emit(RouterEvent::SpeechChanged { up: id, loudness });
            let (transport, at) = (self.ups[key].transport, self.ups[key].track.speech_timeout());
            if let Some(at) = at {
                self.arm(transport, at);
            }
        }
        if let Some(digit) = news.digit {
            let (digit, duration_ms) = (digit.digit, digit.duration_ms);
            self.emit(RouterEvent::DtmfReceived { up: id, digit, duration_ms });
        }
        Ok(Received { meta: meta?, local: self.sources.contains_key(&id), remote_shards })
    }

    /// Finds the stream of a packet's SSRC, or binds it. What a packet says of itself decides, also over an earlier
    /// binding (RFC 8843 §9.2); what it leaves out stays as it was said before.
    fn find_stream(
        &mut self,
        key: usize,
        packet: &RtpPacket<'_>,
        extensions: &Extensions<'_>,
        now: Time,
    ) -> Result<usize, MediaDrop> {
        let known = self.transports[key].find(packet.ssrc);
        let name = extensions.repaired_rid.or(extensions.rid);
        if let (Some(index), None, None) = (known, extensions.mid, name) {
            return Ok(index);
        }
        let transport = &mut self.transports[key];
        let before = known.map(|index| &transport.streams[index]);
        let mut named = transport.ups.iter().copied().filter(|&up| {
            extensions.mid.is_some_and(|mid| self.ups[up].track.config().mid.is_some_and(|is| is.as_bytes() == mid))
        });
        let (up, latch) = match (named.next(), before, extensions.mid) {
            (Some(up), ..) => (up, Latch::Mid),
            (None, Some(stream), _) => (stream.up, stream.latch),
            (None, None, Some(_)) => return Err(MediaDrop::UnknownSsrc),
            (None, None, None) => (self.up_of_payload_type(key, packet.payload_type)?, Latch::PayloadType),
        };
        let transport = &mut self.transports[key];
        let track = &self.ups[up].track;
        let layer = match name {
            _ if !track.is_simulcast() => 0,
            Some(name) => track.layer_of(name).ok_or(MediaDrop::UnknownRid)?,
            None => match known.map(|index| &transport.streams[index]) {
                Some(stream) if stream.up == up => stream.layer,
                _ => return Err(MediaDrop::UnknownRid),
            },
        };
        match known {
            Some(index) => {
                let stream = &mut transport.streams[index];
                (stream.up, stream.layer, stream.latch) = (up, layer, latch);
                Ok(index)
            }
            None => transport.bind(packet.ssrc, up, layer, latch, now).ok_or(MediaDrop::SsrcLimit),
        }
    }

    /// The only track of a transport that has a payload type.
    fn up_of_payload_type(&self, key: usize, payload_type: u8) -> Result<usize, MediaDrop> {
        let ups = self.transports[key].ups.iter().copied();
        let mut fitting = ups.filter(|&up| self.ups[up].track.payloads().by_type(payload_type).is_some());
        match (fitting.next(), fitting.next()) {
            (Some(up), None) => Ok(up),
            _ => Err(MediaDrop::UnknownSsrc),
        }
    }
}
