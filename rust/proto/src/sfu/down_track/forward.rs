//! One packet on its way to the receiver: left out, or rewritten.

use super::{CLIP_SOURCE, DownTrack, Source};
use crate::codec::dependency_structure::Structure;
use crate::codec::{Codec, Descriptor, MediaKind};
use crate::io::Carries;
use crate::sfu::drops::MediaDrop;
use crate::sfu::layers::Choice;
use crate::sfu::packet::{MAX_PREFIX, PacketMeta, Rewrite, UpPacket};
use crate::sfu::rewriter::{Capture, Refused};
use crate::sfu::vp9_filter::Verdict;
use crate::time::Time;

impl DownTrack {
    /// Decides on one packet: the record of how it leaves, or the reason why not. Never touches the payload.
    pub fn forward(&mut self, packet: &UpPacket<'_>, now: Time) -> Result<Rewrite, MediaDrop> {
        let meta = &packet.meta;
        if !self.active {
            return Err(MediaDrop::DownInactive);
        }
        let is_clip = meta.up == CLIP_SOURCE;
        if self.playing != is_clip.then_some(meta.stream) {
            return Err(MediaDrop::DownPlaying);
        }
        let source = Source { up: meta.up, layer: meta.layer, stream: meta.stream };
        let continues = self.source == Some(source);
        if !continues && !is_clip {
            self.check_layer(source)?;
        }
        let payload_type = match self.usable_type(packet) {
            Ok(payload_type) => payload_type,
            Err(reason) => {
                if continues {
                    self.skip(meta);
                }
                return Err(reason);
            }
        };
        let clock_rate = meta.medium().clock_rate();
        if !continues {
            if self.config.kind == MediaKind::Video && !meta.keyframe_start {
                return Err(MediaDrop::DownAwaitsKeyframe);
            }
            self.begin(source, meta);
        } else if meta.codec.is_primary() && self.timestamp.clock_rate() != clock_rate {
            self.timestamp.start(meta.timestamp, meta.capture, clock_rate);
        }
        let mut marker = match self.filter(meta) {
            Ok(marker) => marker,
            Err(reason) => {
                self.skip(meta);
                return Err(reason);
            }
        };
        // RFC 3551 §4.1: in sound the marker says that a talkspurt begins; in pictures it ends a frame.
        marker |= !continues && self.config.kind == MediaKind::Audio;
        let sequence = self.sequence.map(meta.sequence).map_err(|refused| match refused {
            Refused::TooLate => MediaDrop::DownTooLate,
            Refused::Duplicate => MediaDrop::DownDuplicate,
        })?;
        let capture = Capture { at: meta.capture.at.min(now), ..meta.capture };
        let timestamp = self.timestamp.map(meta.timestamp, capture);
        let mut rewrite = self.blank(sequence, timestamp, payload_type, marker);
        rewrite.audio_level = meta.audio_level.filter(|_| self.ids.audio_level != 0);
        rewrite.video_orientation = meta.video_orientation.filter(|_| self.ids.video_orientation != 0);
        rewrite.playout_delay = meta.playout_delay.filter(|_| self.ids.playout_delay != 0);
        match &meta.descriptor {
            Descriptor::Vp8(descriptor) => {
                rewrite.prefix_len = self.vp8.map(descriptor).write(&mut rewrite.prefix);
                rewrite.skip = u16::from(descriptor.len);
            }
            Descriptor::Vp9(descriptor) => {
                rewrite.prefix_len = self.vp9.map(descriptor).write(&mut rewrite.prefix);
                rewrite.skip = u16::from(descriptor.rewritten_len);
            }
            Descriptor::Red(red) => self.rewrap(red, meta.codec, &mut rewrite),
            Descriptor::Dependency(frame) => {
                rewrite.skip = frame.head;
                if let Some(id) = self.dependency_id {
                    let structure = Structure::of(packet.payload, &frame.layout);
                    let expected = self.dependency_filter.expected();
                    rewrite.dependency = self.dependency.map(id, frame, structure.as_ref(), expected);
                }
            }
            Descriptor::None => {}
        }
        if meta.codec.is_primary() {
            self.stats.codec = Some(meta.medium());
        }
        let octets = packet.payload.len() - rewrite.skip() + rewrite.prefix().len();
        if let Some(retransmitter) = &mut self.retransmitter
            && !is_clip
        {
            retransmitter.remember(&rewrite, meta, octets);
        }
        self.count(octets);
        if self.config.kind == MediaKind::Video {
            self.freezes.packet(timestamp, now);
            self.keyframe = if meta.keyframe_start { Some(timestamp) } else { self.keyframe };
        }
        Ok(rewrite)
    }

    /// Goes over to a source whose first packet this is.
    fn begin(&mut self, source: Source, meta: &PacketMeta) {
        let before = self.source.replace(source);
        let switches = before.is_some_and(|before| before.up == source.up && before.layer != source.layer);
        self.stats.layer_switches += u64::from(switches);
        self.news = true;
        self.sequence.start(meta.sequence);
        self.timestamp.start(meta.timestamp, meta.capture, meta.medium().clock_rate());
        match &meta.descriptor {
            Descriptor::Vp8(_) => {
                self.temporal.start();
                self.vp8.start();
            }
            Descriptor::Vp9(descriptor) => {
                self.vp9_filter.start(descriptor);
                self.vp9.start();
            }
            Descriptor::Dependency(frame) => {
                self.dependency_filter.start(frame);
                self.dependency.start();
            }
            Descriptor::None | Descriptor::Red(_) => {}
        }
    }

    /// Whether the receiver's layers are without this packet of its source; else its marker bit.
    fn filter(&mut self, meta: &PacketMeta) -> Result<bool, MediaDrop> {
        match &meta.descriptor {
            Descriptor::Vp8(descriptor) => {
                if let Some((layer, sync)) = descriptor.temporal
                    && !self.temporal.keep(meta.timestamp, layer, sync)
                {
                    self.vp8.skip(descriptor);
                    return Err(MediaDrop::DownTemporal);
                }
            }
            Descriptor::Vp9(descriptor) => {
                let before = self.vp9_filter.spatial();
                let verdict = self.vp9_filter.decide(meta.timestamp, meta.marker, descriptor);
                return self.obey(verdict, before, self.vp9_filter.spatial());
            }
            Descriptor::Dependency(frame) => {
                let before = self.dependency_filter.spatial();
                let verdict = self.dependency_filter.decide(meta.timestamp, meta.marker, frame);
                return self.obey(verdict, before, self.dependency_filter.spatial());
            }
            Descriptor::None | Descriptor::Red(_) => {}
        }
        Ok(meta.marker)
    }

    /// What a verdict means for the packet; tells where another layer flows `after` it than `before`.
    fn obey(&mut self, verdict: Verdict, before: Option<u8>, after: Option<u8>) -> Result<bool, MediaDrop> {
        if after != before {
            self.stats.layer_switches += u64::from(before.is_some());
            self.news = true;
        }
        match verdict {
            Verdict::Forward { ends_picture } => Ok(ends_picture),
            Verdict::Temporal => Err(MediaDrop::DownTemporal),
            Verdict::Spatial => Err(MediaDrop::DownOtherLayer),
            Verdict::AwaitsKeyframe => Err(MediaDrop::DownAwaitsKeyframe),
        }
    }

    /// Closes the sequence over a packet that is left out on purpose.
    fn skip(&mut self, meta: &PacketMeta) {
        if let Some(hole) = self.sequence.skip(meta.sequence)
            && let (Some(retransmitter), Some((_, payload_type))) = (&mut self.retransmitter, self.last_type)
        {
            retransmitter.remember_hole(hole, self.timestamp.peek(meta.timestamp), payload_type);
        }
    }

    /// Whether a packet of another source than the current one may begin here, keyframe or not.
    pub(super) fn check_layer(&self, source: Source) -> Result<(), MediaDrop> {
        if !matches!(self.choice, Choice::Layer(_) | Choice::Silent) {
            return Err(MediaDrop::DownPaused);
        }
        match self.source {
            Some(current) if current.up == source.up && current.layer == source.layer => {
                if current.stream > source.stream { Err(MediaDrop::DownOldStream) } else { Ok(()) }
            }
            _ if self.wanted_stream() == Some(source.layer) => Ok(()),
            _ => Err(MediaDrop::DownOtherLayer),
        }
    }

    /// The payload type of a packet that is to be forwarded, or why it is left out on purpose.
    fn usable_type(&mut self, packet: &UpPacket<'_>) -> Result<u8, MediaDrop> {
        if packet.payload.is_empty() {
            return Err(MediaDrop::PaddingOnly);
        }
        if self.dtmf.in_event() && self.config.kind == MediaKind::Audio {
            return Err(MediaDrop::DownSendingDtmf);
        }
        match (packet.meta.codec, &packet.meta.descriptor) {
            (Codec::Vp9 { .. } | Codec::Red { .. }, Descriptor::None) => Err(MediaDrop::MalformedDescriptor),
            (codec, Descriptor::Red(red)) if !self.takes_redundancy(codec, red) => {
                if usize::from(red.start) == packet.payload.len() {
                    return Err(MediaDrop::PaddingOnly);
                }
                self.payload_type(red.codec)
            }
            (codec, _) => self.payload_type(codec),
        }
    }

    pub(super) fn payload_type(&mut self, codec: Codec) -> Result<u8, MediaDrop> {
        if let Some((known, payload_type)) = self.last_type
            && known == codec
        {
            return Ok(payload_type);
        }
        let payload_type = self.payloads.type_for(codec).ok_or(MediaDrop::DownNoPayloadType)?;
        self.last_type = Some((codec, payload_type));
        Ok(payload_type)
    }

    pub(super) fn blank(&self, sequence: u64, timestamp: u32, payload_type: u8, marker: bool) -> Rewrite {
        Rewrite {
            ssrc: self.config.ssrc,
            sequence,
            timestamp,
            payload_type,
            marker,
            carries: match (self.config.kind, self.target.is_screen) {
                (MediaKind::Audio, _) => Carries::Audio,
                (MediaKind::Video, false) => Carries::Video,
                (MediaKind::Video, true) => Carries::Screen,
            },
            ids: self.ids,
            mid: if self.mid_known || self.ids.mid == 0 { None } else { self.config.mid },
            audio_level: None,
            video_orientation: None,
            playout_delay: None,
            dependency: None,
            is_repair: false,
            is_padding: false,
            prefix: [0; MAX_PREFIX],
            prefix_len: 0,
            skip: 0,
        }
    }

    pub(super) fn count(&mut self, octets: usize) {
        self.stats.packets += 1;
        self.stats.octets += octets as u64;
    }
}
