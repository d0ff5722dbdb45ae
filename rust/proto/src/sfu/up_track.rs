//! A track that one peer publishes: from a packet of a bound SSRC to what is forwarded.

#[cfg(test)]
mod tests;

use super::drops::MediaDrop;
use super::dtmf_receiver::{Digit, DtmfReceiver};
use super::gates::{Gate, Gates};
use super::ids::{TransportId, UpTrackId};
use super::layers::{LayerTable, MAX_LAYERS};
use super::life::{ALIVE, SMALLEST_ALIVE};
use super::packet::PacketMeta;
use super::receive_stream::Place;
use super::rewriter::Capture;
use super::speech::SpeechMeter;
use super::up_layer::UpLayer;
use crate::codec::dependency::Unreadable;
use crate::codec::payload::PayloadEntry;
use crate::codec::telephone_event::TelephoneEvent;
use crate::codec::vp9_structure::Structure;
use crate::codec::{Codec, Descriptor, MediaKind, Payload, PayloadTable};
use crate::rtp::extension::Placed;
use crate::rtp::{AudioLevel, Extensions, RtpPacket, Ssrc, Token};
use crate::time::Time;

/// What an up track is made of.
#[derive(Clone, Debug)]
pub struct UpTrackConfig {
    /// Its id.
    pub id: UpTrackId,
    /// The transport that it arrives by.
    pub transport: TransportId,
    /// Sound or picture.
    pub kind: MediaKind,
    /// m-line identification; `None` on transports without BUNDLE.
    pub mid: Option<Token>,
    /// Payload types that the peer may send.
    pub payloads: Vec<Payload>,
    /// SSRCs that its SDP names.
    pub ssrcs: Vec<Ssrc>,
    /// SSRCs of retransmissions that its SDP names, each with the one that it repairs.
    pub rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
    /// Simulcast layers, at most [`MAX_LAYERS`]; empty for one stream.
    pub rids: Vec<Token>,
    /// Gates that are closed from the beginning.
    pub closed_gates: Vec<Gate>,
}

/// What a later negotiation changes of an up track.
#[derive(Clone, Debug, Default)]
pub struct UpTrackUpdate {
    /// As in [`UpTrackConfig`].
    pub payloads: Vec<Payload>,
    /// As in [`UpTrackConfig`].
    pub ssrcs: Vec<Ssrc>,
    /// As in [`UpTrackConfig`].
    pub rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
    /// As in [`UpTrackConfig`].
    pub rids: Vec<Token>,
}

/// What is known about an up track, beside its streams' reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpStats {
    /// Packets accepted, gated ones included.
    pub packets: u64,
    /// Payload bytes of those.
    pub octets: u64,
    /// Keyframes that began.
    pub keyframes: u64,
    /// Codec of the last packet of the medium itself.
    pub codec: Option<Codec>,
    /// Level of the last packet that told it.
    pub audio_level: Option<AudioLevel>,
}

fn layers_of(rids: &[Token]) -> Vec<UpLayer> {
    if rids.is_empty() {
        return vec![UpLayer::new(None)];
    }
    rids.iter().take(MAX_LAYERS).map(|&rid| UpLayer::new(Some(rid))).collect()
}

/// What a packet brought beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// The first packet of the medium, or its codec changed.
    pub started: Option<(Codec, Ssrc)>,
    /// A digit is over.
    pub digit: Option<Digit>,
    /// A layer came to life or changed its size.
    pub layers: bool,
    /// Somebody speaks louder or quieter, where that is wanted to be known.
    pub loudness: Option<u8>,
}

/// One packet on its way into a track.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The parsed packet.
    pub packet: &'a RtpPacket<'a>,
    /// Its header extensions.
    pub extensions: &'a Extensions<'a>,
    /// What its payload type means in this track.
    pub entry: &'a PayloadEntry,
    /// Its place in its SSRC's sequence.
    pub place: Place,
    /// First packet of its SSRC.
    pub first: bool,
    /// Index of its layer.
    pub layer: u8,
    /// When it was sampled.
    pub capture: Capture,
}

/// See the module.
#[derive(Debug)]
pub struct UpTrack {
    config: UpTrackConfig,
    payloads: PayloadTable,
    gates: Gates,
    layers: Vec<UpLayer>,
    /// The SSRC heard last, of whichever layer.
    latest: Option<Ssrc>,
    dtmf: DtmfReceiver,
    speech: Option<SpeechMeter>,
    stats: UpStats,
}

impl UpTrack {
    /// A track that has received nothing yet.
    pub fn new(config: UpTrackConfig) -> UpTrack {
        UpTrack {
            payloads: PayloadTable::new(&config.payloads),
            gates: Gates::closed(&config.closed_gates),
            layers: layers_of(&config.rids),
            latest: None,
            dtmf: DtmfReceiver::default(),
            speech: None,
            stats: UpStats::default(),
            config,
        }
    }

    /// What it was made of.
    pub fn config(&self) -> &UpTrackConfig {
        &self.config
    }

    /// Payload types that it accepts.
    pub fn payloads(&self) -> &PayloadTable {
        &self.payloads
    }

    /// Its gates.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// What is known about it.
    pub fn stats(&self) -> UpStats {
        self.stats
    }

    /// The SSRC heard last; `None` before the first packet.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.latest
    }

    /// Its layers by index; one without simulcast.
    pub fn layers(&self) -> &[UpLayer] {
        &self.layers
    }

    /// Its layers, to ask them for keyframes and to end a measurement.
    pub fn layers_mut(&mut self) -> &mut [UpLayer] {
        &mut self.layers
    }

    /// Ends an interval of the measurement, and the life of layers that are silent. `smallest` is the index of the one
    /// that is to be given up last.
    pub fn tick(&mut self, smallest: Option<u8>, now: Time) {
        let latest = self.layers.iter().filter_map(UpLayer::last_heard).max();
        let pauses = latest.is_none_or(|latest| now.since(latest) > ALIVE);
        let any = self.layers.iter().any(|layer| layer.life.is_heard());
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.tick(now);
            let is_smallest = smallest.is_some_and(|smallest| usize::from(smallest) == index);
            layer.life.tick(any, if is_smallest { SMALLEST_ALIVE } else { ALIVE });
            if pauses {
                layer.life.sleep();
            }
        }
    }

    /// One of its layers came to life: those that fell silent together with it do, too.
    pub fn wake(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.life.wake());
    }

    /// Whether the publisher names layers.
    pub fn is_simulcast(&self) -> bool {
        !self.config.rids.is_empty()
    }

    /// Index of the layer with a name.
    pub fn layer_of(&self, rid: &[u8]) -> Option<u8> {
        self.layers.iter().position(|layer| layer.rid().is_some_and(|known| known.as_bytes() == rid)).map(|at| at as u8)
    }

    /// Ranks the layers, or the spatial layers of the only one, by what is known of them now.
    pub fn describe(&self, table: &mut LayerTable) {
        let one = self.layers.first().filter(|_| self.config.rids.is_empty());
        match one.and_then(|layer| Some((layer.spatial()?, layer.temporal_bps()))) {
            Some((spatial, temporal_bps)) => table.update(spatial.describe(temporal_bps)),
            None => table.update(self.layers.iter().map(UpLayer::describe)),
        }
        table.set_described(matches!(self.stats.codec, Some(Codec::Av1 { .. })));
    }

    /// Takes new payload types, SSRCs and layers.
    pub fn update(&mut self, update: UpTrackUpdate) {
        self.payloads = PayloadTable::new(&update.payloads);
        (self.config.payloads, self.config.ssrcs) = (update.payloads, update.ssrcs);
        self.config.rtx_ssrcs = update.rtx_ssrcs;
        if self.config.rids != update.rids {
            self.rename_layers(&update.rids);
            self.config.rids = update.rids;
        }
    }

    /// A layer whose name stays keeps its index and its state; the others are given to the new names.
    fn rename_layers(&mut self, rids: &[Token]) {
        let known: Vec<_> = self.layers.iter().map(UpLayer::rid).collect();
        let mut new = rids.iter().take(MAX_LAYERS).filter(|rid| !known.contains(&Some(**rid))).copied();
        for layer in &mut self.layers {
            if layer.rid().is_none_or(|rid| !rids.contains(&rid)) {
                layer.rename(new.next());
            }
        }
        self.layers.extend(new.map(|rid| UpLayer::new(Some(rid))));
        // Names that went leave nameless layers behind, which only a track without simulcast has; the last ones go.
        while !rids.is_empty() && self.layers.last().is_some_and(|layer| layer.rid().is_none()) {
            self.layers.pop();
        }
        self.layers.truncate(if rids.is_empty() { 1 } else { MAX_LAYERS });
    }

    /// Whether it is to be found out how loudly somebody speaks; of sound only.
    pub fn watch_speech(&mut self, on: bool) {
        self.speech = (on && self.config.kind == MediaKind::Audio).then(SpeechMeter::default);
    }

    /// How loudly somebody speaks, where that is watched.
    pub fn speech_mut(&mut self) -> Option<&mut SpeechMeter> {
        self.speech.as_mut()
    }

    /// When that is to be looked at although nothing comes.
    pub fn speech_timeout(&self) -> Option<Time> {
        self.speech.as_ref()?.poll_timeout()
    }

    /// Opens or closes a gate; true when packets flow again.
    pub fn set_gate(&mut self, gate: Gate, open: bool) -> bool {
        self.gates.set(gate, open)
    }

    /// Takes a packet: its record when it is to be forwarded, and what else it brought in either case.
    pub fn handle(&mut self, incoming: &Incoming<'_>, now: Time) -> (Result<PacketMeta, MediaDrop>, News) {
        let mut news = News::default();
        let packet = incoming.packet;
        let codec = incoming.entry.codec;
        let Some(layer) = self.layers.get_mut(usize::from(incoming.layer)) else {
            return (Err(MediaDrop::UnknownRid), news);
        };
        if let Err(reason) = layer.choose_ssrc(packet.ssrc, incoming.place, incoming.first, now) {
            return (Err(reason), news);
        }
        self.latest = Some(packet.ssrc);
        news.layers = layer.count(packet.timestamp, packet.payload.len());
        self.stats.packets += 1;
        self.stats.octets += packet.payload.len() as u64;
        if incoming.extensions.audio_level.is_some() {
            self.stats.audio_level = incoming.extensions.audio_level;
        }
        let descriptor = match describe(incoming, layer, &self.payloads) {
            Ok(descriptor) => descriptor,
            Err(reason) => return (Err(reason), news),
        };
        if let Codec::TelephoneEvent { clock_rate } = codec {
            // Digits are meant for us even while nobody may hear the track.
            match TelephoneEvent::parse(packet.payload) {
                Some(event) => {
                    news.digit = self.dtmf.handle_event(packet.ssrc, packet.timestamp, clock_rate, event, now);
                }
                None => return (Err(MediaDrop::MalformedEvent), news),
            }
        } else if codec.is_primary() && !packet.payload.is_empty() {
            news.digit = self.dtmf.handle_sound(now);
            let medium = if let Descriptor::Red(red) = &descriptor { red.codec } else { codec };
            if self.stats.codec != Some(medium) {
                self.stats.codec = Some(medium);
                layer.forget_inner_layers();
                news.started = Some((medium, packet.ssrc));
            }
        }
        if codec.is_video() && !packet.payload.is_empty() {
            layer.freezes.packet(packet.timestamp, now);
        }
        if let Descriptor::Vp9(descriptor) = &descriptor
            && self.config.rids.is_empty()
        {
            let structure = Structure::parse(packet.payload, descriptor);
            news.layers |= layer.count_spatial(descriptor.spatial(), packet.payload.len(), structure.as_ref(), now);
        }
        if let Descriptor::Dependency(frame) = &descriptor
            && self.config.rids.is_empty()
        {
            let structure = layer.dependencies.structure().filter(|_| frame.layout.has_structure());
            let sizes = structure.map(|structure| structure.sizes);
            news.layers |= layer.count_spatial(frame.spatial, packet.payload.len(), sizes.as_ref(), now);
        }
        if let Some((0, temporal)) = descriptor.place() {
            layer.count_temporal(temporal, packet.payload.len());
        }
        let keyframe_start = codec.starts_keyframe(packet.payload, &descriptor);
        if keyframe_start {
            self.stats.keyframes += u64::from(layer.keyframe_began(packet.timestamp, packet.payload.len()));
            let told = layer.dependencies.structure().and_then(|structure| structure.size());
            if let Some(size) = told.or_else(|| codec.frame_size(packet.payload, &descriptor)) {
                news.layers |= layer.resize(size);
            }
        }
        if let Err(reason) = self.gates.pass() {
            layer.interrupt();
            return (Err(reason), news);
        }
        layer.resume();
        if let Some(speech) = &mut self.speech
            && codec.is_primary()
            && !packet.payload.is_empty()
        {
            news.loudness = speech.heard(incoming.extensions.audio_level, now);
        }
        if keyframe_start {
            layer.keyframes.arrived();
        }
        (Ok(self.record(incoming, descriptor, keyframe_start, now)), news)
    }

    fn record(&self, incoming: &Incoming<'_>, descriptor: Descriptor, keyframe_start: bool, now: Time) -> PacketMeta {
        let packet = incoming.packet;
        let end = packet.payload_offset + packet.payload.len();
        // What is shared begins with the dependency descriptor.
        let head = if let Descriptor::Dependency(frame) = &descriptor { usize::from(frame.head) } else { 0 };
        let start = packet.payload_offset - head;
        PacketMeta {
            up: self.config.id,
            layer: incoming.layer,
            stream: self.layers.get(usize::from(incoming.layer)).map_or(0, UpLayer::stream),
            sequence: incoming.place.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            codec: incoming.entry.codec,
            keyframe_start,
            audio_level: incoming.extensions.audio_level,
            video_orientation: incoming.extensions.video_orientation,
            playout_delay: incoming.extensions.playout_delay,
            descriptor,
            arrival: now,
            capture: incoming.capture,
            payload_start: u16::try_from(start).unwrap_or(u16::MAX),
            payload_len: u16::try_from(end - start).unwrap_or(0),
        }
    }
}

/// What stands in front of a packet's payload, or beside it in a header extension.
fn describe(incoming: &Incoming<'_>, layer: &mut UpLayer, payloads: &PayloadTable) -> Result<Descriptor, MediaDrop> {
    let (packet, codec) = (incoming.packet, incoming.entry.codec);
    if !matches!(codec, Codec::Av1 { .. }) || packet.payload.is_empty() {
        return Ok(codec.describe(packet.payload, payloads));
    }
    let Some(Placed { value, at }) = incoming.extensions.dependency_descriptor else {
        // One packet of a stream that has descriptors would pass for one of every layer.
        let is_lost = layer.dependencies.structure().is_some();
        return if is_lost { Err(MediaDrop::MalformedDescriptor) } else { Ok(Descriptor::None) };
    };
    let mut frame = layer.dependencies.read(value, packet.timestamp).map_err(|unreadable| match unreadable {
        Unreadable::Malformed => MediaDrop::MalformedDescriptor,
        Unreadable::UnknownTemplate => MediaDrop::UnknownTemplate,
    })?;
    let head = packet.payload_offset.checked_sub(packet.extension_offset + at);
    frame.head = head.and_then(|head| u16::try_from(head).ok()).ok_or(MediaDrop::MalformedDescriptor)?;
    Ok(Descriptor::Dependency(frame))
}
