//! A track that one peer receives: rewrites the packets of its changing sources into one stream of its own.

#[cfg(test)]
mod tests;

use super::drops::MediaDrop;
use super::dtmf_sender::{DtmfError, DtmfSender};
use super::ids::{DownTrackId, TransportId, UpTrackId};
use super::layers::{Choice, LayerTable};
use super::packet::{MAX_PREFIX, PacketMeta, Rewrite, UpPacket, WrittenExtensions};
use super::retransmitter::{Answer, Original, Retransmitter};
use super::rewriter::{Capture, Refused, SequenceMap, TimestampMap, Vp8Map};
use super::target::Target;
use super::temporal::TemporalFilter;
use crate::codec::{Codec, MediaKind, Payload, PayloadTable, telephone_event};
use crate::rtcp::ntp::from_compact;
use crate::rtcp::{ReportBlock, SenderInfo, WallClock};
use crate::rtp::{ExtensionKind, ExtensionMap, Ssrc, Token};
use crate::time::Time;
use std::time::Duration;

/// What a down track is made of.
#[derive(Clone, Debug)]
pub struct DownTrackConfig {
    /// Its id.
    pub id: DownTrackId,
    /// The transport that it leaves by.
    pub transport: TransportId,
    /// Sound or picture.
    pub kind: MediaKind,
    /// m-line identification; `None` on transports without BUNDLE.
    pub mid: Option<Token>,
    /// SSRC as told to the receiver; random, since the first sequence number and timestamp are taken from it.
    pub ssrc: Ssrc,
    /// SSRC of retransmissions; `None` where nothing is sent again.
    pub rtx_ssrc: Option<Ssrc>,
    /// CNAME of its source description.
    pub cname: String,
    /// Payload types that the receiver takes, in order of preference.
    pub payloads: Vec<Payload>,
}

/// What a receiver and we know about a down track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownStats {
    /// Packets given to the transport.
    pub packets: u64,
    /// Payload bytes given to the transport.
    pub octets: u64,
    /// Packets lost by the receiver's reports; negative with duplicates.
    pub remote_lost: i32,
    /// Jitter by the receiver's reports, in timestamp units.
    pub remote_jitter: u32,
    /// Round trip by the receiver's reports.
    pub round_trip: Option<Duration>,
    /// Codec of the last packet of the medium itself.
    pub codec: Option<Codec>,
    /// How often another layer began to flow.
    pub layer_switches: u64,
    /// Packets that the receiver asked for again, repetitions included.
    pub nacked: u64,
    /// Packets sent again.
    pub retransmitted: u64,
}

/// Where the packets of a down track come from at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    up: UpTrackId,
    layer: u8,
    stream: u32,
}

/// What the allocation of bandwidth grants a down track, within its [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Highest layer by rank.
    pub max_spatial: u8,
    /// Highest temporal layer.
    pub max_temporal: u8,
    /// Nothing at all for now.
    pub paused: bool,
}

impl Default for Allocation {
    fn default() -> Allocation {
        Allocation { max_spatial: u8::MAX, max_temporal: u8::MAX, paused: false }
    }
}

/// Keyframe requests that a receiver may make at once, and how fast it gets them back.
const REQUESTS: u32 = 5;
const REQUEST_EVERY: Duration = Duration::from_millis(500);

/// The source id of clips; no up track has it. Their `stream` is the number of the play.
pub const CLIP_SOURCE: UpTrackId = UpTrackId(u64::MAX);

/// See the module.
#[derive(Debug)]
pub struct DownTrack {
    config: DownTrackConfig,
    payloads: PayloadTable,
    ids: WrittenExtensions,
    mid_known: bool,
    active: bool,
    target: Target,
    allocation: Allocation,
    choice: Choice,
    /// Index of the layer that it is to go over to, or to stay with.
    wanted: u8,
    temporal: TemporalFilter,
    /// What was told last: which source, and what of it.
    told: Option<(UpTrackId, Choice)>,
    news: bool,
    requests: u32,
    requests_at: Time,
    playing: Option<u32>,
    source: Option<Source>,
    last_type: Option<(Codec, u8)>,
    sequence: SequenceMap,
    timestamp: TimestampMap,
    vp8: Vp8Map,
    dtmf: DtmfSender,
    dtmf_timestamp: u32,
    stats: DownStats,
    /// Where the receiver negotiated retransmissions.
    retransmitter: Option<Box<Retransmitter>>,
}

impl DownTrack {
    /// An active track without a source, on a transport with the given extension ids.
    pub fn new(config: DownTrackConfig, extensions: &ExtensionMap) -> DownTrack {
        let ssrc = config.ssrc.0;
        let mut track = DownTrack {
            payloads: PayloadTable::new(&config.payloads),
            ids: WrittenExtensions::default(),
            mid_known: false,
            active: true,
            target: Target::default(),
            allocation: Allocation::default(),
            choice: Choice::Layer(0),
            wanted: 0,
            temporal: TemporalFilter::default(),
            told: None,
            news: false,
            requests: REQUESTS,
            requests_at: Time::ZERO,
            playing: None,
            source: None,
            last_type: None,
            // RFC 3711 §3.3.1: below 2^15, so that the receiver's guess of the rollover counter survives early loss.
            sequence: SequenceMap::new((ssrc & 0x7fff) as u16),
            timestamp: TimestampMap::new(ssrc.wrapping_mul(0x9e37_79b1)),
            vp8: Vp8Map::default(),
            dtmf: DtmfSender::default(),
            dtmf_timestamp: 0,
            stats: DownStats::default(),
            retransmitter: None,
            config,
        };
        track.set_extensions(extensions);
        track.prepare_repair();
        track
    }

    fn prepare_repair(&mut self) {
        let negotiated = self.payloads.entries().iter().any(|entry| matches!(entry.codec, Codec::Rtx { .. }));
        match self.config.rtx_ssrc.filter(|_| negotiated && self.config.kind == MediaKind::Video) {
            // One that exists goes on: its sequence numbers are used up.
            Some(ssrc) if self.retransmitter.is_none() => {
                self.retransmitter = Some(Box::new(Retransmitter::new(ssrc)));
            }
            _ => {}
        }
    }

    /// Forgets what was sent, because its source is another one from now on.
    pub fn forget_sent(&mut self) {
        if let Some(retransmitter) = &mut self.retransmitter {
            retransmitter.forget();
        }
    }

    /// How the receiver is answered about a packet that it misses; `find` gives the payload.
    pub fn answer_nack<'a>(
        &mut self,
        sequence: u16,
        find: impl FnOnce(&Original) -> Option<UpPacket<'a>>,
        now: Time,
    ) -> Result<Answer<'a>, MediaDrop> {
        self.stats.nacked += 1;
        let blank = self.blank(0, 0, 0, false);
        let retransmitter = self.retransmitter.as_mut().ok_or(MediaDrop::NackUnknown)?;
        let entries = self.payloads.entries();
        let repair_type = |original: u8| {
            entries.iter().find(|entry| entry.codec == Codec::Rtx { original }).map(|entry| entry.payload_type)
        };
        let answer = retransmitter.answer(sequence, repair_type, find, self.stats.round_trip, &blank, now)?;
        self.stats.retransmitted += 1;
        Ok(answer)
    }

    /// Index of the layer whose last group of pictures, begun at `capture`, it could start with.
    pub fn may_start_at(&self, layer: u8, capture: Time) -> bool {
        self.source.is_none() && self.awaited_layer() == Some(layer) && self.timestamp.precedes(capture)
    }

    /// What it was made of.
    pub fn config(&self) -> &DownTrackConfig {
        &self.config
    }

    /// Payload types of the receiver.
    pub fn payloads(&self) -> &PayloadTable {
        &self.payloads
    }

    /// What is known about it.
    pub fn stats(&self) -> DownStats {
        self.stats
    }

    /// Takes the extension ids of the transport.
    pub fn set_extensions(&mut self, map: &ExtensionMap) {
        let id = |kind| map.id(kind).unwrap_or(0);
        self.ids = WrittenExtensions {
            mid: id(ExtensionKind::Mid),
            audio_level: id(ExtensionKind::AudioLevel),
            transport_sequence: id(ExtensionKind::TransportSequence),
            abs_send_time: id(ExtensionKind::AbsSendTime),
            video_orientation: id(ExtensionKind::VideoOrientation),
            playout_delay: id(ExtensionKind::PlayoutDelay),
        };
    }

    /// Takes new payload types, and whether anything may be sent at all.
    pub fn update(&mut self, payloads: &[Payload], active: bool) {
        self.payloads = PayloadTable::new(payloads);
        self.prepare_repair();
        self.last_type = None;
        if !active || !self.active {
            // What was not sent meanwhile is no loss: go on as after a switch.
            self.source = None;
        }
        self.active = active;
    }

    /// Takes the most that the receiver shall get. [`DownTrack::choose`] comes next.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
        self.bound();
    }

    /// Takes what the allocation of bandwidth grants. [`DownTrack::choose`] comes next.
    pub fn set_allocation(&mut self, allocation: Allocation) {
        self.allocation = allocation;
        self.bound();
    }

    fn bound(&mut self) {
        if self.is_paused() && self.playing.is_none() {
            self.source = None;
            self.news = true;
        }
        self.temporal.set_target(self.target.max_temporal.min(self.allocation.max_temporal));
    }

    fn is_paused(&self) -> bool {
        self.target.paused || self.allocation.paused
    }

    /// Chooses among the layers of its source; true when it goes over to another one.
    pub fn choose(&mut self, table: &LayerTable) -> bool {
        let target = Target { paused: self.is_paused(), ..self.target };
        let choice = match table.choose(&target, self.allocation.max_spatial) {
            // A picture with one layer only may be still for long.
            Choice::Silent if !table.is_layered() => Choice::Layer(0),
            choice => choice,
        };
        self.news |= self.choice != choice;
        let before = std::mem::replace(&mut self.choice, choice);
        match choice {
            Choice::Layer(layer) => {
                // Also after a pause or a decoder's limit, which took the source away.
                let changes = self.wanted != layer || !matches!(before, Choice::Layer(_));
                self.wanted = layer;
                changes
            }
            // What was silent may go on where it stopped.
            Choice::Silent => false,
            Choice::TooLarge | Choice::Paused => {
                if self.playing.is_none() {
                    self.source = None;
                }
                false
            }
        }
    }

    /// What it was found to be given, or why nothing.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// Index of the layer that it is given, or waits for; `None` when it is given nothing.
    pub fn wanted_layer(&self) -> Option<u8> {
        matches!(self.choice, Choice::Layer(_) | Choice::Silent).then_some(self.wanted)
    }

    /// Index of the layer that flows.
    pub fn layer(&self) -> Option<u8> {
        self.source.filter(|source| source.up != CLIP_SOURCE).map(|source| source.layer)
    }

    /// Highest temporal layer that flows; `None` where the stream has none.
    pub fn temporal(&self) -> Option<u8> {
        self.temporal.highest()
    }

    /// Whether [`DownTrack::take_news`] may have something to tell.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// What is worth telling: another layer flows, or none, and why. Of a source that is not `layered` only that
    /// nothing can flow, and that it does again.
    pub fn take_news(&mut self, layered: bool) -> Option<Choice> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let (up, choice) = match (self.choice, self.source) {
            (Choice::Layer(_), Some(source)) if source.up != CLIP_SOURCE => (source.up, Choice::Layer(source.layer)),
            (Choice::Layer(_), _) => return None,
            (choice, _) => (self.told.map_or(CLIP_SOURCE, |(up, _)| up), choice),
        };
        let flowed = self.told.is_none_or(|(_, choice)| matches!(choice, Choice::Layer(_)));
        let plain = !layered && flowed && matches!(choice, Choice::Layer(_));
        let changed = self.told.replace((up, choice)) != Some((up, choice));
        (changed && !plain).then_some(choice)
    }

    /// Whether its receiver may ask for one more keyframe; each takes from a budget that time gives back.
    pub fn may_request(&mut self, now: Time) -> bool {
        let back = now.since(self.requests_at).as_millis() / REQUEST_EVERY.as_millis();
        if back > 0 {
            self.requests = (u128::from(self.requests) + back).min(u128::from(REQUESTS)) as u32;
            self.requests_at = now;
        }
        let may = self.requests > 0;
        self.requests = self.requests.saturating_sub(1);
        may
    }

    /// The most that the receiver shall get.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether it may send.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Forgets the source, so that the next packet that can start does so without a gap.
    pub fn detach(&mut self) {
        self.source = None;
    }

    /// Lets only the packets of the play `serial` through, or, with `None`, those of the subscription again.
    pub fn set_playing(&mut self, serial: Option<u32>) {
        self.playing = serial;
        self.source = None;
    }

    /// The play that it takes its packets from.
    pub fn playing(&self) -> Option<u32> {
        self.playing
    }

    /// Index of the layer of its subscribed source whose keyframe it waits for.
    pub fn awaited_layer(&self) -> Option<u8> {
        if self.config.kind != MediaKind::Video || !self.active || self.playing.is_some() {
            return None;
        }
        self.wanted_layer().filter(|&layer| self.source.is_none_or(|source| source.layer != layer))
    }

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
        if let Some(descriptor) = &meta.vp8
            && let Some((layer, sync)) = descriptor.temporal
            && continues
            && !self.temporal.keep(meta.timestamp, layer, sync)
        {
            self.skip(meta);
            self.vp8.skip(descriptor);
            return Err(MediaDrop::DownTemporal);
        }
        let mut marker = meta.marker;
        let clock_rate = meta.codec.clock_rate();
        if !continues {
            if self.config.kind == MediaKind::Video && !meta.keyframe_start {
                return Err(MediaDrop::DownAwaitsKeyframe);
            }
            let before = self.source.replace(source);
            let switches = before.is_some_and(|before| before.up == source.up && before.layer != source.layer);
            self.stats.layer_switches += u64::from(switches);
            self.news = true;
            self.temporal.start();
            self.sequence.start(meta.sequence);
            self.timestamp.start(meta.timestamp, meta.capture, clock_rate);
            self.vp8.start();
            // RFC 3551 §4.1: in sound the marker says that a talkspurt begins; in pictures it ends a frame.
            marker |= self.config.kind == MediaKind::Audio;
        } else if meta.codec.is_primary() && self.timestamp.clock_rate() != clock_rate {
            self.timestamp.start(meta.timestamp, meta.capture, clock_rate);
        }
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
        if let Some(descriptor) = &meta.vp8 {
            rewrite.prefix_len = self.vp8.map(descriptor).write(&mut rewrite.prefix);
            rewrite.skip = descriptor.len;
        }
        if meta.codec.is_primary() {
            self.stats.codec = Some(meta.codec);
        }
        let octets = packet.payload.len() - rewrite.skip() + rewrite.prefix().len();
        if let Some(retransmitter) = &mut self.retransmitter
            && !is_clip
        {
            retransmitter.remember(&rewrite, meta, octets);
        }
        self.count(octets);
        Ok(rewrite)
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
    fn check_layer(&self, source: Source) -> Result<(), MediaDrop> {
        if !matches!(self.choice, Choice::Layer(_) | Choice::Silent) {
            return Err(MediaDrop::DownPaused);
        }
        match self.source {
            Some(current) if current.up == source.up && current.layer == source.layer => {
                if current.stream > source.stream { Err(MediaDrop::DownOldStream) } else { Ok(()) }
            }
            _ if source.layer == self.wanted => Ok(()),
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
        self.payload_type(packet.meta.codec)
    }

    fn payload_type(&mut self, codec: Codec) -> Result<u8, MediaDrop> {
        if let Some((known, payload_type)) = self.last_type
            && known == codec
        {
            return Ok(payload_type);
        }
        let payload_type = self.payloads.type_for(codec).ok_or(MediaDrop::DownNoPayloadType)?;
        self.last_type = Some((codec, payload_type));
        Ok(payload_type)
    }

    fn blank(&self, sequence: u64, timestamp: u32, payload_type: u8, marker: bool) -> Rewrite {
        Rewrite {
            ssrc: self.config.ssrc,
            sequence,
            timestamp,
            payload_type,
            marker,
            ids: self.ids,
            mid: if self.mid_known || self.ids.mid == 0 { None } else { self.config.mid },
            audio_level: None,
            video_orientation: None,
            playout_delay: None,
            is_repair: false,
            prefix: [0; MAX_PREFIX],
            prefix_len: 0,
            skip: 0,
        }
    }

    fn count(&mut self, octets: usize) {
        self.stats.packets += 1;
        self.stats.octets += octets as u64;
    }

    /// Queues DTMF digits; while a digit sounds the source's packets are dropped.
    pub fn send_dtmf(&mut self, digits: &str, duration: Duration, gap: Duration, now: Time) -> Result<(), DtmfError> {
        let entry = self.payloads.telephone_event().ok_or(DtmfError::NotNegotiated)?;
        self.dtmf.queue(digits, duration, gap, entry.codec.clock_rate(), now)
    }

    /// When [`DownTrack::poll_dtmf`] has a packet.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.dtmf.poll_timeout()
    }

    /// The DTMF packet that is due; its whole payload is the record's prefix.
    pub fn poll_dtmf(&mut self, now: Time) -> Option<Rewrite> {
        let Some(entry) = self.payloads.telephone_event().copied() else {
            self.dtmf = DtmfSender::default();
            return None;
        };
        let clock_rate = entry.codec.clock_rate();
        let report = self.dtmf.poll(now, clock_rate)?;
        if !self.active {
            return None;
        }
        if report.first {
            self.timestamp.begin(now, clock_rate);
            self.dtmf_timestamp = self.timestamp.at(now, self.timestamp.clock_rate());
        }
        let sequence = self.sequence.insert();
        let mut rewrite = self.blank(sequence, self.dtmf_timestamp, entry.payload_type, report.first);
        rewrite.prefix[..telephone_event::LEN].copy_from_slice(&report.event.to_bytes());
        rewrite.prefix_len = telephone_event::LEN as u8;
        self.count(telephone_event::LEN);
        Some(rewrite)
    }

    /// The sender's part of our next report, in the receiver's timeline;
    /// `None` before the first packet and while it is not active.
    pub fn sender_info(&self, now: Time, wall: &WallClock) -> Option<SenderInfo> {
        if self.stats.packets == 0 || !self.active {
            return None;
        }
        Some(SenderInfo {
            ssrc: self.config.ssrc,
            ntp: wall.ntp_at(now),
            rtp_timestamp: self.timestamp.report(now)?,
            packets: self.stats.packets as u32,
            octets: self.stats.octets as u32,
        })
    }

    /// Takes what the receiver reports about this track.
    pub fn handle_report(&mut self, block: &ReportBlock, now: Time, wall: &WallClock) {
        self.mid_known = true;
        self.stats.remote_lost = block.cumulative_lost;
        self.stats.remote_jitter = block.jitter;
        if block.last_sr != 0 {
            // RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s.
            let elapsed = wall.ntp_at(now).compact().wrapping_sub(block.last_sr);
            let round_trip = elapsed.wrapping_sub(block.delay_since_last_sr);
            if round_trip < 60 << 16 {
                self.stats.round_trip = Some(from_compact(round_trip));
            }
        }
    }
}
