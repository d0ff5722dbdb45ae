//! What the router keeps for one transport: its extension ids, the SSRCs bound to tracks, feedback and report timers.

use super::TransportConfig;
use crate::bwe::FeedbackGenerator;
use crate::rtp::{ExtensionMap, Ssrc};
use crate::sfu::allocator::Allocator;
use crate::sfu::asked_rate::AskedRate;
use crate::sfu::egress::Egress;
use crate::sfu::nack_generator::NackGenerator;
use crate::sfu::receive_stream::{ReceiveStream, SenderClock};
use crate::sfu::reports::ReportSchedule;
use crate::time::Time;
use std::time::Duration;

/// A stream that was bound by payload type may give its place to another after this silence.
const EVICT_AFTER: Duration = Duration::from_secs(10);

/// The layer of an SSRC that SDP names for a simulcast track.
pub(super) const UNKNOWN_LAYER: u8 = u8::MAX;

/// Round trip of a transport that has not told its own.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// How an SSRC was bound to its track; a stronger reason replaces a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Latch {
    /// Its payload type belongs to one track only.
    PayloadType,
    /// SDP names it.
    Signalled,
    /// A packet carried the track's `mid`.
    Mid,
}

/// An SSRC bound to a track. The binding lives as long as the track: browsers stop to send `mid` and `rid` after
/// the first receiver report.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: ReceiveStream,
    pub(super) up: usize,
    pub(super) latch: Latch,
    /// Index of its layer in the track; [`UNKNOWN_LAYER`] before a packet has told it.
    pub(super) layer: u8,
    /// What is missing of a picture whose sender takes NACKs.
    pub(super) nacks: Option<Box<NackGenerator>>,
    /// Lost packets that were asked for; each counts once.
    pub(super) nacked: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct MediaTransport {
    pub(super) config: TransportConfig,
    pub(super) extensions: ExtensionMap,
    pub(super) streams: Vec<Stream>,
    pub(super) ups: Vec<usize>,
    pub(super) downs: Vec<usize>,
    pub(super) clock: SenderClock,
    /// Of a peer that numbers its packets transport-wide; phones do not.
    pub(super) feedback: Option<Box<FeedbackGenerator>>,
    pub(super) reports: ReportSchedule,
    /// Everything that is sent passes here.
    pub(super) egress: Egress,
    /// Gives the estimate of the line to the down tracks.
    pub(super) allocator: Allocator,
    /// Whether it has bounded them.
    pub(super) allocated: bool,
    /// Most that the peer may send, in bits per second.
    pub(super) receive_limit: Option<u64>,
    /// What the peer is asked to send at most.
    pub(super) asked: AskedRate,
    /// Its earliest timer entry that is still meant.
    pub(super) egress_armed: Time,
    /// The earliest timer entry of this transport that is still meant.
    pub(super) armed: Time,
    pub(super) packets_received: u64,
    pub(super) octets_received: u64,
    pub(super) round_trip: Duration,
    last_stream: usize,
}

impl MediaTransport {
    pub(super) fn new(config: TransportConfig) -> MediaTransport {
        MediaTransport {
            reports: ReportSchedule::new(config.rtcp_ssrc.0),
            egress: Egress::new(config.id),
            allocator: Allocator::new(),
            allocated: false,
            receive_limit: None,
            asked: AskedRate::default(),
            egress_armed: Time::FAR_FUTURE,
            config,
            extensions: ExtensionMap::default(),
            streams: Vec::new(),
            ups: Vec::new(),
            downs: Vec::new(),
            clock: SenderClock::default(),
            feedback: None,
            armed: Time::FAR_FUTURE,
            packets_received: 0,
            octets_received: 0,
            round_trip: ROUND_TRIP,
            last_stream: 0,
        }
    }

    /// Index of the stream of an SSRC; a few dozen at most, and mostly the one found last.
    pub(super) fn find(&mut self, ssrc: Ssrc) -> Option<usize> {
        if self.streams.get(self.last_stream).is_some_and(|stream| stream.receive.ssrc() == ssrc) {
            return Some(self.last_stream);
        }
        let index = self.streams.iter().position(|stream| stream.receive.ssrc() == ssrc)?;
        self.last_stream = index;
        Some(index)
    }

    /// There is something to report; when the first report is due, if that is news.
    pub(super) fn start_reports(&mut self, now: Time) -> Option<Time> {
        if self.reports.poll_timeout().is_some() {
            return None;
        }
        self.reports.start(now);
        self.reports.poll_timeout()
    }

    /// Binds an SSRC to a track and returns the stream's index; `None` when there is no room. The room of a stream
    /// that SDP did not name and that has been silent for long is used again.
    pub(super) fn bind(&mut self, ssrc: Ssrc, up: usize, layer: u8, latch: Latch, now: Time) -> Option<usize> {
        let stream = Stream { receive: ReceiveStream::new(ssrc), up, layer, latch, nacks: None, nacked: 0 };
        if self.streams.len() < self.config.max_streams {
            self.streams.push(stream);
            return Some(self.streams.len() - 1);
        }
        let (index, oldest) = self
            .streams
            .iter()
            .enumerate()
            .filter(|(_, old)| old.latch == Latch::PayloadType)
            .min_by_key(|(_, old)| old.receive.last_arrival())?;
        if now.since(oldest.receive.last_arrival()) < EVICT_AFTER {
            return None;
        }
        self.streams[index] = stream;
        Some(index)
    }
}
