//! One WebRTC peer: ICE-lite, DTLS and SRTP behind one set of verbs.

use std::time::Duration;

use super::{CloseReason, Received, SendError, TransportEvent};
use crate::dtls::{Fingerprint, Identity, Role};
use crate::error::{Drop, DropCounters};
use crate::ice::{LocalCredentials, RemoteCredentials};
use crate::io::{Path, TransmitQueue};
use crate::srtp::Suite;
use crate::time::Time;

/// What an ICE transport is built from.
#[derive(Clone, Debug)]
pub struct IceTransportConfig {
    /// First ufrag and password.
    pub credentials: LocalCredentials,
    /// Secret of which transaction ids are derived; 32 random bytes.
    pub seed: [u8; 32],
    /// Certificate and DTLS settings.
    pub identity: Identity,
}

/// What the peer's description says about its transport.
#[derive(Clone, Debug)]
pub struct RemoteParameters {
    /// Ufrag and password.
    pub credentials: RemoteCredentials,
    /// Certificate fingerprints; at least one that we can compute.
    pub fingerprints: Vec<Fingerprint>,
    /// Our role.
    pub role: Role,
}

/// One WebRTC peer's transport.
#[derive(Debug)]
pub struct IceTransport {
    drops: DropCounters,
}

impl IceTransport {
    /// A transport that waits for the peer's checks and description.
    pub fn new(config: IceTransportConfig, now: Time) -> IceTransport {
        let _ = (config, now);
        IceTransport { drops: DropCounters::default() }
    }

    /// Takes the peer's description: the first one, or one with new credentials after an ICE restart.
    pub fn set_remote(&mut self, remote: RemoteParameters, now: Time, out: &mut TransmitQueue) {
        let _ = (remote, now, out);
    }

    /// ICE restart: answers to the new credentials from now on and to the old ones for `grace` more. DTLS and SRTP stay.
    pub fn restart(&mut self, credentials: LocalCredentials, grace: Duration, now: Time) {
        let _ = (credentials, grace, now);
    }

    /// Takes one datagram; decrypts media in place.
    pub fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Time, out: &mut TransmitQueue) -> Received {
        let _ = (path, datagram, now, out);
        self.drops.count(Drop::UnboundTuple);
        Received::Dropped(Drop::UnboundTuple)
    }

    /// Does what is due: retransmissions, consent, expiry of tuples.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        let _ = (now, out);
    }

    /// When [`IceTransport::handle_timeout`] wants to be called; `None` when nothing is pending.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The oldest event not yet taken; to be drained after every other call.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    /// Protects one RTP packet into the send buffer, for the selected path.
    pub fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let _ = (header, payload, out);
        Err(SendError::NotConnected)
    }

    /// Protects one compound RTCP packet into the send buffer, for the selected path.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let _ = (packet, out);
        Err(SendError::NotConnected)
    }

    /// Ends the transport: tells the peer by close_notify and forgets everything else.
    pub fn close(&mut self, reason: CloseReason, now: Time, out: &mut TransmitQueue) {
        let _ = (reason, now, out);
    }

    /// Where media goes now.
    pub fn selected_path(&self) -> Option<Path> {
        None
    }

    /// The tuples that belong to this transport.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        std::iter::empty()
    }

    /// How media is protected, once connected.
    pub fn suite(&self) -> Option<Suite> {
        None
    }

    /// Smoothed round trip of our own STUN checks.
    pub fn round_trip(&self) -> Option<Duration> {
        None
    }

    /// Current local credentials.
    pub fn local_credentials(&self) -> Option<&LocalCredentials> {
        None
    }

    /// What was dropped and why; take or merge them from here.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }
}
