//! A track that one peer receives: rewrites the packets of its changing sources into one stream of its own.

mod choice;
mod config;
mod dtmf;
mod forward;
mod going_over;
mod redundancy;
mod repair;
mod reports;
#[cfg(test)]
mod tests;

pub use config::{Allocation, DownStats, DownTrackConfig};

use super::dependency_filter::DependencyFilter;
use super::dtmf_sender::DtmfSender;
use super::freeze::FreezeMeter;
use super::ids::UpTrackId;
use super::layers::Choice;
use super::packet::WrittenExtensions;
use super::retransmitter::Retransmitter;
use super::rewriter::{DependencyMap, SequenceMap, TimestampMap, Vp8Map, Vp9Map};
use super::target::Target;
use super::temporal::TemporalFilter;
use super::vp9_filter::Vp9Filter;
use crate::codec::{Codec, MediaKind, Payload, PayloadTable};
use crate::rtp::{ExtensionKind, ExtensionMap};
use crate::time::Time;
use std::num::NonZeroU8;
use std::time::Duration;

/// Where the packets of a down track come from at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    up: UpTrackId,
    layer: u8,
    stream: u32,
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
    /// Whether the layers of its source lie inside one stream.
    one_stream: bool,
    temporal: TemporalFilter,
    vp9_filter: Vp9Filter,
    dependency_filter: DependencyFilter,
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
    vp9: Vp9Map,
    dependency: DependencyMap,
    /// Where the receiver takes dependency descriptors.
    dependency_id: Option<NonZeroU8>,
    dtmf: DtmfSender,
    dtmf_timestamp: u32,
    freezes: FreezeMeter,
    /// Timestamp under which the last keyframe was forwarded.
    keyframe: Option<u32>,
    stats: DownStats,
    /// Highest sequence number that the receiver has reported.
    reported: Option<u32>,
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
            one_stream: false,
            temporal: TemporalFilter::default(),
            vp9_filter: Vp9Filter::default(),
            dependency_filter: DependencyFilter::default(),
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
            vp9: Vp9Map::default(),
            dependency: DependencyMap::default(),
            dependency_id: None,
            dtmf: DtmfSender::default(),
            dtmf_timestamp: 0,
            freezes: FreezeMeter::default(),
            keyframe: None,
            stats: DownStats::default(),
            reported: None,
            retransmitter: None,
            config,
        };
        track.set_extensions(extensions);
        track.prepare_repair();
        track
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

    /// How often its picture froze as it left, and for how long.
    pub fn freezes(&self) -> (u32, Duration) {
        self.freezes.total()
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
        self.dependency_id = map.id(ExtensionKind::DependencyDescriptor).and_then(NonZeroU8::new);
    }

    /// Takes new payload types, and whether anything may be sent at all.
    pub fn update(&mut self, payloads: &[Payload], active: bool) {
        self.payloads = PayloadTable::new(payloads);
        self.prepare_repair();
        self.last_type = None;
        if !active || !self.active {
            // What was not sent meanwhile is no loss: go on as after a switch.
            self.source = None;
            self.freezes.rest();
        }
        self.active = active;
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

    /// Whether it is for a picture that may be sent.
    pub fn takes_picture(&self) -> bool {
        self.active && self.config.kind == MediaKind::Video
    }

    /// Whether it may send.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Forgets the source, so that the next packet that can start does so without a gap.
    pub fn detach(&mut self) {
        self.source = None;
        self.freezes.rest();
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
}
