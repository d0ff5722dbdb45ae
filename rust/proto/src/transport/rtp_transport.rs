//! One SIP media leg: plain RTP or SDES-SRTP with symmetric-RTP latching in a bounded window.

use std::net::SocketAddr;
use std::time::Duration;

use super::{CloseReason, Received, SendError, TransportEvent};
use crate::error::{Drop, DropCounters};
use crate::io::{Path, SocketId, TransmitQueue};
use crate::srtp::SrtpKeys;
use crate::time::Time;

/// What a SIP media leg is built from.
#[derive(Clone, Debug)]
pub struct RtpTransportConfig {
    /// Socket of the RTP port.
    pub rtp_socket: SocketId,
    /// Socket of the RTCP port; `None` when RTCP only comes on the RTP port.
    pub rtcp_socket: Option<SocketId>,
    /// How long after each offer/answer a source may be learned; zero: never.
    pub latching: Duration,
    /// Silence after which a media timeout is reported; zero: never.
    pub timeout: Duration,
}

/// What the peer's SDP says about this media.
#[derive(Clone, Debug)]
pub struct RtpRemote {
    /// Address for RTP; `None` when the SDP gives none (0.0.0.0 or port 0).
    pub rtp: Option<SocketAddr>,
    /// Address for RTCP; `None` means RTP's port + 1, or RTP's with `rtcp_mux`.
    pub rtcp: Option<SocketAddr>,
    /// RTCP on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// SDES keys; `None` for plain RTP. Unchanged keys keep their indices.
    pub srtp: Option<SrtpKeys>,
}

/// One SIP media leg's transport.
#[derive(Debug)]
pub struct RtpTransport {
    drops: DropCounters,
}

impl RtpTransport {
    /// A leg that drops everything until the peer's SDP is known.
    pub fn new(config: RtpTransportConfig, now: Time) -> RtpTransport {
        let _ = (config, now);
        RtpTransport { drops: DropCounters::default() }
    }

    /// Takes the peer's SDP; opens the latching window anew.
    pub fn set_remote(&mut self, remote: RtpRemote, now: Time) {
        let _ = (remote, now);
    }

    /// Takes one datagram; decrypts in place.
    pub fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Received {
        let _ = (path, datagram, now);
        self.drops.count(Drop::RtpNoRemote);
        Received::Dropped(Drop::RtpNoRemote)
    }

    /// Reports silence when it is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let _ = now;
    }

    /// When [`RtpTransport::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The oldest event not yet taken; to be drained after every other call.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    /// Writes one RTP packet, protected when SRTP was negotiated, for the peer's address.
    pub fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let _ = (header, payload, out);
        Err(SendError::NotConnected)
    }

    /// Writes one compound RTCP packet, protected when SRTP was negotiated, for the peer's RTCP address.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let _ = (packet, out);
        Err(SendError::NotConnected)
    }

    /// Ends the leg.
    pub fn close(&mut self, reason: CloseReason) {
        let _ = reason;
    }

    /// Where RTP goes now.
    pub fn selected_path(&self) -> Option<Path> {
        None
    }

    /// What was dropped and why; take or merge them from here.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }
}
