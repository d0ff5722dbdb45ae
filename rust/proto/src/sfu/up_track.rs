//! A track that one peer publishes: from a packet of a bound SSRC to what is forwarded.

#[cfg(test)]
mod tests;

use super::drops::MediaDrop;
use super::dtmf_receiver::{Digit, DtmfReceiver};
use super::gates::{Gate, Gates};
use super::ids::{TransportId, UpTrackId};
use super::keyframe::KeyframeRequests;
use super::packet::PacketMeta;
use super::receive_stream::Place;
use crate::codec::payload::PayloadEntry;
use crate::codec::telephone_event::TelephoneEvent;
use crate::codec::{Codec, MediaKind, Payload, PayloadTable, vp8};
use crate::rtp::{AudioLevel, Extensions, RtpPacket, Ssrc, Token};
use crate::time::Time;
use std::time::Duration;

/// A track stays with its SSRC until that is silent for so long, unless a new SSRC begins.
const SSRC_SILENCE: Duration = Duration::from_millis(500);

/// Most layers of one track.
pub const MAX_LAYERS: usize = 8;

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

/// What a packet brought beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// The first packet of the medium, or its codec changed.
    pub started: Option<(Codec, Ssrc)>,
    /// A digit is over.
    pub digit: Option<Digit>,
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
    /// When it was sampled.
    pub capture: Time,
}

/// See the module.
#[derive(Debug)]
pub struct UpTrack {
    config: UpTrackConfig,
    payloads: PayloadTable,
    gates: Gates,
    /// The SSRC that is forwarded and when it was heard last.
    active: Option<(Ssrc, Time)>,
    stream: u32,
    broken: bool,
    keyframe_timestamp: Option<u32>,
    dtmf: DtmfReceiver,
    stats: UpStats,
    /// Who asks for keyframes and when the source is told.
    pub keyframes: KeyframeRequests,
}

impl UpTrack {
    /// A track that has received nothing yet.
    pub fn new(config: UpTrackConfig) -> UpTrack {
        UpTrack {
            payloads: PayloadTable::new(&config.payloads),
            gates: Gates::closed(&config.closed_gates),
            active: None,
            stream: 0,
            broken: false,
            keyframe_timestamp: None,
            dtmf: DtmfReceiver::default(),
            stats: UpStats::default(),
            keyframes: KeyframeRequests::default(),
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

    /// The SSRC that is forwarded; `None` before the first packet.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.active.map(|(ssrc, _)| ssrc)
    }

    /// Takes new payload types, SSRCs and layers.
    pub fn update(&mut self, update: UpTrackUpdate) {
        self.payloads = PayloadTable::new(&update.payloads);
        (self.config.payloads, self.config.ssrcs) = (update.payloads, update.ssrcs);
        (self.config.rtx_ssrcs, self.config.rids) = (update.rtx_ssrcs, update.rids);
    }

    /// Opens or closes a gate; true when packets flow again.
    pub fn set_gate(&mut self, gate: Gate, open: bool) -> bool {
        self.gates.set(gate, open)
    }

    /// Takes a packet: its record when it is to be forwarded, and what else it brought in either case.
    pub fn handle(&mut self, incoming: &Incoming<'_>, now: Time) -> (Result<PacketMeta, MediaDrop>, News) {
        let mut news = News::default();
        if let Err(reason) = self.choose_ssrc(incoming, now) {
            return (Err(reason), news);
        }
        let packet = incoming.packet;
        let codec = incoming.entry.codec;
        self.stats.packets += 1;
        self.stats.octets += packet.payload.len() as u64;
        if incoming.extensions.audio_level.is_some() {
            self.stats.audio_level = incoming.extensions.audio_level;
        }
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
            if self.stats.codec != Some(codec) {
                self.stats.codec = Some(codec);
                news.started = Some((codec, packet.ssrc));
            }
        }
        let keyframe_start = codec.starts_keyframe(packet.payload);
        if keyframe_start && self.keyframe_timestamp != Some(packet.timestamp) {
            self.keyframe_timestamp = Some(packet.timestamp);
            self.stats.keyframes += 1;
        }
        if let Err(reason) = self.gates.pass() {
            self.broken = true;
            return (Err(reason), news);
        }
        if std::mem::take(&mut self.broken) {
            self.stream += 1;
        }
        if keyframe_start {
            self.keyframes.arrived();
        }
        (Ok(self.record(incoming, keyframe_start, now)), news)
    }

    fn record(&self, incoming: &Incoming<'_>, keyframe_start: bool, now: Time) -> PacketMeta {
        let packet = incoming.packet;
        let codec = incoming.entry.codec;
        PacketMeta {
            up: self.config.id,
            stream: self.stream,
            sequence: incoming.place.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            codec,
            keyframe_start,
            audio_level: incoming.extensions.audio_level,
            video_orientation: incoming.extensions.video_orientation,
            playout_delay: incoming.extensions.playout_delay,
            vp8: if codec == Codec::Vp8 { vp8::Descriptor::parse(packet.payload) } else { None },
            arrival: now,
            capture: incoming.capture,
            payload_start: u16::try_from(packet.payload_offset).unwrap_or(u16::MAX),
            payload_len: u16::try_from(packet.payload.len()).unwrap_or(0),
        }
    }

    /// Decides whether the packet's SSRC is the one that is forwarded. A sender that begins anew with another SSRC is
    /// followed at once; stragglers of the old one are not.
    fn choose_ssrc(&mut self, incoming: &Incoming<'_>, now: Time) -> Result<(), MediaDrop> {
        let ssrc = incoming.packet.ssrc;
        match &mut self.active {
            Some((active, last)) if *active == ssrc => {
                *last = now;
                if incoming.place.restarted {
                    self.stream += 1;
                }
                Ok(())
            }
            Some((_, last)) if !incoming.first && now.since(*last) < SSRC_SILENCE => Err(MediaDrop::SupersededSsrc),
            _ => {
                self.active = Some((ssrc, now));
                self.stream += 1;
                Ok(())
            }
        }
    }
}
