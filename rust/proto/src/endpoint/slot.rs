//! One transport of a shard, of either kind, with what the shard keeps beside it.

use std::time::Duration;

use super::text::TEXT_STREAM;
use super::transports::Statistics;
use crate::error::DropCounters;
use crate::io::{Path, SocketId, TransmitQueue};
use crate::rtcp::WallClock;
use crate::sctp::{DataEvent, MessageKind};
use crate::text::TextLine;
use crate::time::Time;
use crate::transport::{CloseReason, IceTransport, Received, RtpTransport, SendError, TransportEvent};

/// A transport of either kind; boxed, because both are large and live in one slab.
#[derive(Debug)]
pub(super) enum AnyTransport {
    /// WebRTC, on the shared port.
    Ice(Box<IceTransport>),
    /// SIP, on ports of its own.
    Rtp(Box<RtpTransport>),
}

impl AnyTransport {
    /// Takes one datagram; decrypts media in place.
    pub(super) fn handle_datagram(
        &mut self,
        path: Path,
        datagram: &mut [u8],
        now: Time,
        out: &mut TransmitQueue,
    ) -> Received {
        match self {
            AnyTransport::Ice(transport) => transport.handle_datagram(path, datagram, now, out),
            AnyTransport::Rtp(transport) => transport.handle_datagram(path, datagram, now, out),
        }
    }

    /// A tuple is gone.
    pub(super) fn close_path(&mut self, path: Path) {
        if let AnyTransport::Ice(transport) = self {
            transport.close_path(path);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        match self {
            AnyTransport::Ice(transport) => transport.handle_timeout(now, out),
            AnyTransport::Rtp(transport) => transport.handle_timeout(now, out),
        }
    }

    /// When something will be due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self {
            AnyTransport::Ice(transport) => transport.poll_timeout(),
            AnyTransport::Rtp(transport) => transport.poll_timeout(),
        }
    }

    /// The oldest event not yet taken.
    pub(super) fn poll_event(&mut self) -> Option<TransportEvent> {
        match self {
            AnyTransport::Ice(transport) => transport.poll_event(),
            AnyTransport::Rtp(transport) => transport.poll_event(),
        }
    }

    /// The oldest event of its data channels not yet taken.
    pub(super) fn poll_data_event(&mut self) -> Option<DataEvent> {
        match self {
            AnyTransport::Ice(transport) => transport.poll_data_event(),
            AnyTransport::Rtp(_) => None,
        }
    }

    /// Ends it.
    pub(super) fn close(&mut self, reason: CloseReason, out: &mut TransmitQueue) {
        match self {
            AnyTransport::Ice(transport) => transport.close(reason, out),
            AnyTransport::Rtp(transport) => transport.close(reason, out),
        }
    }

    /// Protects one RTP packet into the send buffer.
    pub(super) fn protect_rtp(
        &mut self,
        header: &[u8],
        payload: &[u8],
        out: &mut TransmitQueue,
    ) -> Result<(), SendError> {
        match self {
            AnyTransport::Ice(transport) => transport.protect_rtp(header, payload, out),
            AnyTransport::Rtp(transport) => transport.protect_rtp(header, payload, out),
        }
    }

    /// Protects one compound RTCP packet into the send buffer.
    pub(super) fn protect_rtcp(&mut self, packet: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        match self {
            AnyTransport::Ice(transport) => transport.protect_rtcp(packet, out),
            AnyTransport::Rtp(transport) => transport.protect_rtcp(packet, out),
        }
    }

    /// Whether what was to be sent before [`TransportEvent::Connected`] had no keys to leave with.
    pub(super) fn waits_for_keys(&self) -> bool {
        match self {
            AnyTransport::Ice(_) => true,
            AnyTransport::Rtp(transport) => transport.uses_dtls(),
        }
    }

    /// What was dropped and why.
    pub(super) fn drops_mut(&mut self) -> &mut DropCounters {
        match self {
            AnyTransport::Ice(transport) => transport.drops_mut(),
            AnyTransport::Rtp(transport) => transport.drops_mut(),
        }
    }

    /// Round trip of our own STUN checks.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        match self {
            AnyTransport::Ice(transport) => transport.round_trip(),
            AnyTransport::Rtp(_) => None,
        }
    }
}

/// A transport in its place on the shard.
#[derive(Debug)]
pub(super) struct Slot {
    /// The control plane's id.
    pub(super) id: u64,
    /// The transport.
    pub(super) transport: AnyTransport,
    /// How often ICE was restarted.
    pub(super) generation: u8,
    /// How long old credentials are honoured after a restart.
    pub(super) restart_grace: Duration,
    /// Sockets of its own: RTP, then RTCP.
    pub(super) sockets: Option<(SocketId, SocketId)>,
    /// Where media comes from that was taken at its ports at an Edge, where it has such ports: RTP, then RTCP.
    pub(super) taken_at_edge: [Option<Path>; 2],
    /// Earliest entry in the timer heap.
    pub(super) armed: Option<Time>,
    /// Whether events and timers are still to be looked at.
    pub(super) dirty: bool,
    /// Whether media can flow.
    pub(super) connected: bool,
    /// Set once it is closed.
    pub(super) closed: Option<&'static str>,
    /// What was counted, once the tracks are gone and it is not.
    pub(super) last: Option<Box<Statistics>>,
    /// Round trip that the router was told.
    pub(super) told_round_trip: Option<Duration>,
    /// Up and down tracks on it.
    pub(super) tracks: usize,
    /// CNAME of what we send on it.
    pub(super) cname: String,
    /// Counters for statistics.
    pub(super) traffic: Traffic,
    /// Real-time text on it, in place of tracks.
    pub(super) text: Option<Box<TextLine>>,
}

impl Slot {
    /// When something will be due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let text = self.text.as_ref().and_then(|text| text.poll_timeout());
        self.transport.poll_timeout().into_iter().chain(text).min()
    }

    /// The oldest event of its data channels not yet taken; a phone's text is one channel.
    pub(super) fn poll_data_event(&mut self) -> Option<DataEvent> {
        match &mut self.text {
            Some(text) => text.poll_message().map(|text| DataEvent::Message {
                stream: TEXT_STREAM,
                kind: MessageKind::Text,
                payload: text.into_bytes(),
            }),
            None => self.transport.poll_data_event(),
        }
    }

    /// Sends the text and the report that are due.
    pub(super) fn send_text(&mut self, wall: &WallClock, now: Time, out: &mut TransmitQueue) {
        let Some(text) = &mut self.text else { return };
        let mut header = Vec::new();
        while let Some(payload) = text.poll_transmit(now, &mut header) {
            if self.transport.protect_rtp(&header, &payload, out).is_ok() {
                self.traffic.packets_sent += 1;
                self.traffic.bytes_sent += (header.len() + payload.len()) as u64;
            }
        }
        if text.poll_report(wall, now, &mut header) && self.transport.protect_rtcp(&header, out).is_ok() {
            self.traffic.packets_sent += 1;
            self.traffic.bytes_sent += header.len() as u64;
        }
    }
}

/// Media that passed a transport, RTP and RTCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) struct Traffic {
    pub(super) packets_received: u64,
    pub(super) bytes_received: u64,
    pub(super) packets_sent: u64,
    pub(super) bytes_sent: u64,
}
