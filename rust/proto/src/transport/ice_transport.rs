//! One WebRTC peer: ICE-lite, DTLS, SRTP and data channels behind one set of verbs.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CloseReason, Received, SendError, TransportEvent, close_reason, drop_of, send_error_of};
use crate::demux::{Kind, classify};
use crate::dtls::{Dtls, DtlsEvent, Fingerprint, Identity, Role};
use crate::error::{Drop, DropCounters};
use crate::ice::{Agent, IceEvent, LocalCredentials, RemoteCredentials};
use crate::io::{Path, TransmitQueue};
use crate::sctp::{Channel, DataChannels, DataConfig, DataEvent, MessageKind, OpenError, SendRefusal};
use crate::srtp::{Inbound, Outbound, RtpHeader, StreamIndices, Suite};
use crate::stun::{Message, ParseError};
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

/// SRTP of both directions.
#[derive(Debug)]
struct Srtp {
    inbound: Inbound,
    outbound: Outbound,
}

/// One WebRTC peer's transport.
#[derive(Debug)]
pub struct IceTransport {
    ice: Agent,
    dtls: Dtls,
    srtp: Option<Srtp>,
    /// Our role in DTLS, once the descriptions have said it.
    role: Option<Role>,
    data: Option<Box<DataChannels>>,
    connected: bool,
    closed: bool,
    drops: DropCounters,
    events: VecDeque<TransportEvent>,
}

impl IceTransport {
    /// A transport that waits for the peer's checks and description.
    pub fn new(config: IceTransportConfig) -> IceTransport {
        IceTransport {
            ice: Agent::new(config.credentials, &config.seed),
            dtls: Dtls::new(config.identity),
            srtp: None,
            role: None,
            data: None,
            connected: false,
            closed: false,
            drops: DropCounters::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes the peer's description: the first one, or one with new credentials after an ICE restart.
    ///
    /// Fingerprints and role count the first time only; the association outlives restarts.
    pub fn set_remote(&mut self, remote: RemoteParameters, now: Time, out: &mut TransmitQueue) {
        if self.closed {
            return;
        }
        self.ice.set_remote(remote.credentials, now, out);
        self.role.get_or_insert(remote.role);
        self.dtls.start(remote.role, remote.fingerprints, now);
        self.advance(now, out);
    }

    /// ICE restart: answers to the new credentials from now on and to the old ones for `grace` more. DTLS and SRTP stay.
    /// To be called before [`IceTransport::set_remote`] with the peer's new credentials.
    pub fn restart(&mut self, credentials: LocalCredentials, grace: Duration, now: Time) {
        self.ice.restart(credentials, grace, now);
    }

    /// Takes one datagram; decrypts media in place.
    pub fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Time, out: &mut TransmitQueue) -> Received {
        let result = if self.closed {
            Err(Drop::TransportClosed)
        } else {
            match classify(datagram) {
                Kind::Rtp => self.handle_rtp(path, datagram, now),
                Kind::Rtcp => self.handle_rtcp(path, datagram, now),
                Kind::Stun => self.handle_stun(path, datagram, now, out),
                Kind::Dtls => self.handle_dtls(path, datagram, now, out),
                Kind::TurnChannel | Kind::Unknown => Err(Drop::Unclassified),
            }
        };
        result.unwrap_or_else(|reason| {
            self.drops.count(reason);
            Received::Dropped(reason)
        })
    }

    fn handle_rtp(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Result<Received, Drop> {
        if !self.ice.is_bound(path) {
            return Err(Drop::UnboundTuple);
        }
        let srtp = self.srtp.as_mut().ok_or(Drop::SrtpNoKeys)?;
        let header = RtpHeader::parse(datagram).ok_or(Drop::RtpMalformed)?;
        let opened = srtp.inbound.unprotect_rtp(datagram, &header).map_err(drop_of)?;
        if opened.newest {
            self.heard_media(path, now);
        }
        Ok(Received::Rtp { len: opened.len, header_len: header.len, index: opened.index })
    }

    fn handle_rtcp(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Result<Received, Drop> {
        if !self.ice.is_bound(path) {
            return Err(Drop::UnboundTuple);
        }
        let srtp = self.srtp.as_mut().ok_or(Drop::SrtpNoKeys)?;
        let len = srtp.inbound.unprotect_rtcp(datagram).map_err(drop_of)?;
        self.heard_media(path, now);
        Ok(Received::Rtcp { len })
    }

    fn heard_media(&mut self, path: Path, now: Time) {
        if self.ice.selected() != Some(path) {
            self.ice.heard_media(path, now);
            self.take_ice_events();
        }
    }

    fn handle_stun(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<Received, Drop> {
        let message = Message::parse(datagram).map_err(|error| match error {
            ParseError::Fingerprint => Drop::StunFingerprint,
            ParseError::Truncated | ParseError::Malformed => Drop::StunMalformed,
        })?;
        let result = self.ice.handle_message(path, &message, now, out);
        self.advance(now, out);
        result.map(|()| Received::Consumed)
    }

    fn handle_dtls(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<Received, Drop> {
        if !self.ice.is_bound(path) {
            return Err(Drop::UnboundTuple);
        }
        if self.ice.selected().is_none() {
            self.dtls.hold(datagram)?;
        } else if let Some(event) = self.dtls.handle_datagram(datagram, now)? {
            self.take_dtls_event(event, now, out);
        }
        self.advance(now, out);
        Ok(Received::Consumed)
    }

    /// A tuple is gone for good: the connection that it was has ended.
    pub fn close_path(&mut self, path: Path) {
        if !self.closed {
            self.ice.forget(path);
            self.take_ice_events();
        }
    }

    /// Whether [`IceTransport::poll_event`] would give one.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// An Edge is lost, or shall be left: see [`Agent::leave_link`].
    pub fn leave_link(&mut self, link: u32) -> bool {
        let used = !self.closed && self.ice.leave_link(link);
        self.take_ice_events();
        used
    }

    /// Forgets an Edge's paths where media goes elsewhere; whether it still goes there.
    pub fn forget_link(&mut self, link: u32) -> bool {
        self.ice.forget_link(link);
        self.take_ice_events();
        !self.closed && self.ice.uses_link(link)
    }

    /// Does what is due: retransmissions, consent, expiry of tuples.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        if self.closed {
            return;
        }
        self.ice.handle_timeout(now, out);
        if let Some(data) = &mut self.data
            && data.poll_timeout() <= now
        {
            data.handle_timeout(now);
        }
        self.advance(now, out);
    }

    /// When [`IceTransport::handle_timeout`] wants to be called; `None` when nothing is pending.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.closed {
            return None;
        }
        // Without a path DTLS may not send; its timer waits for one.
        let dtls = if self.ice.selected().is_some() { self.dtls.poll_timeout() } else { Time::FAR_FUTURE };
        let data = self.data.as_ref().map_or(Time::FAR_FUTURE, |data| data.poll_timeout());
        Some(self.ice.poll_timeout().min(dtls).min(data)).filter(|due| *due != Time::FAR_FUTURE)
    }

    /// The oldest event not yet taken; to be drained after every other call.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// Protects one RTP packet into the send buffer, for the selected path.
    pub fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let (path, outbound) = self.sender()?;
        out.push_with(path, |bytes| outbound.protect_rtp(header, payload, bytes).map(drop)).map_err(send_error_of)
    }

    /// Protects one compound RTCP packet into the send buffer, for the selected path.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let (path, outbound) = self.sender()?;
        out.push_with(path, |bytes| outbound.protect_rtcp(packet, bytes).map(drop)).map_err(send_error_of)
    }

    /// Whether a tuple has answered a challenge.
    pub fn is_proven(&self, path: Path) -> bool {
        self.ice.is_proven(path)
    }

    fn sender(&mut self) -> Result<(Path, &mut Outbound), SendError> {
        match (self.ice.selected(), &mut self.srtp) {
            (Some(path), Some(srtp)) if !self.closed => Ok((path, &mut srtp.outbound)),
            _ => Err(SendError::NotConnected),
        }
    }

    /// Ends the transport: tells the peer by close_notify and forgets everything else.
    pub fn close(&mut self, reason: CloseReason, out: &mut TransmitQueue) {
        if self.closed {
            return;
        }
        if let Some(path) = self.ice.selected() {
            self.dtls.close(|datagram| out.push(path, datagram));
        }
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.srtp = None;
            self.data = None;
            self.events.push_back(TransportEvent::Closed(reason));
        }
    }

    /// Lets DTLS speak where a path allows it, and passes on what ICE has to say.
    fn advance(&mut self, now: Time, out: &mut TransmitQueue) {
        if self.closed {
            return;
        }
        if let Some(path) = self.ice.selected()
            && let Some(event) = self.dtls.drive(now, |datagram| out.push(path, datagram))
        {
            self.take_dtls_event(event, now, out);
        }
        self.pump_data(now, out);
        for _ in 0..self.dtls.take_ignored() {
            self.drops.count(Drop::DtlsApplicationData);
        }
        self.take_ice_events();
        if self.closed {
            return;
        }
        if let (false, Some(path), Some(srtp)) = (self.connected, self.ice.selected(), &self.srtp) {
            self.connected = true;
            self.events.push_back(TransportEvent::Connected { path, suite: Some(srtp.outbound.suite()) });
            // Nothing is sent before DTLS is up, so data channels begin here.
            self.pump_data(now, out);
        }
    }

    fn take_dtls_event(&mut self, event: DtlsEvent, now: Time, out: &mut TransmitQueue) {
        match event {
            DtlsEvent::Connected(keys) => {
                self.srtp = Some(Srtp { inbound: Inbound::new(&keys.remote), outbound: Outbound::new(&keys.local) });
                // What the handshake left to send (our last flight) leaves with it.
                if let Some(path) = self.ice.selected()
                    && let Some(DtlsEvent::Ended(end)) = self.dtls.drive(now, |datagram| out.push(path, datagram))
                {
                    self.end(close_reason(end));
                }
            }
            DtlsEvent::Ended(end) => self.end(close_reason(end)),
        }
    }

    fn take_ice_events(&mut self) {
        while let Some(event) = self.ice.poll_event() {
            match event {
                IceEvent::Bound(path) => self.events.push_back(TransportEvent::PathBound(path)),
                IceEvent::Proven(path) => self.events.push_back(TransportEvent::PathProven(path)),
                IceEvent::Unbound(path) => self.events.push_back(TransportEvent::PathUnbound(path)),
                // Before that, `Connected` says the path.
                IceEvent::Selected(path) if self.connected => self.events.push_back(TransportEvent::PathChanged(path)),
                IceEvent::Selected(_) => {}
                IceEvent::ConsentExpired => self.end(CloseReason::ConsentExpired),
            }
        }
    }

    /// Data channels were agreed on. Only the first call counts: an association outlives later descriptions.
    pub fn accept_data(&mut self, config: DataConfig, now: Time, out: &mut TransmitQueue) {
        if self.closed || self.data.is_some() {
            return;
        }
        self.dtls.accept_data();
        self.data = Some(Box::new(DataChannels::new(config, now)));
        self.pump_data(now, out);
    }

    /// Opens a channel; see [`DataChannels::open`].
    pub fn open_channel(
        &mut self,
        channel: Channel,
        negotiated: Option<u16>,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<u16, OpenError> {
        let data = self.data.as_mut().ok_or(OpenError::NotConnected)?;
        let result = data.open(channel, negotiated, now);
        self.pump_data(now, out);
        result
    }

    /// Queues a message; see [`DataChannels::send`].
    pub fn send_message(
        &mut self,
        stream: u16,
        kind: MessageKind,
        payload: &[u8],
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), SendRefusal> {
        let data = self.data.as_mut().ok_or(SendRefusal::NoChannel)?;
        let result = data.send(stream, kind, payload, now);
        self.pump_data(now, out);
        result
    }

    /// Closes a channel.
    pub fn close_channel(&mut self, stream: u16, now: Time, out: &mut TransmitQueue) {
        if let Some(data) = &mut self.data {
            data.close(stream, now);
            self.pump_data(now, out);
        }
    }

    /// The oldest event of the data channels not yet taken.
    pub fn poll_data_event(&mut self) -> Option<DataEvent> {
        self.data.as_mut()?.poll_event()
    }

    /// Carries SCTP packets between DTLS and the channels.
    fn pump_data(&mut self, now: Time, out: &mut TransmitQueue) {
        let (Some(data), Some(path)) = (&mut self.data, self.ice.selected()) else { return };
        if let (true, Some(role)) = (self.connected, self.role) {
            data.connect(role, now);
        }
        while let Some(packet) = self.dtls.take_received() {
            data.handle_packet(&packet, now);
        }
        let mut ended = None;
        while let Some(packet) = data.poll_transmit() {
            let event = self.dtls.send_data(&packet, |datagram| out.push(path, datagram));
            ended = ended.or(event);
        }
        self.drops.merge(&data.drops_mut().take());
        if let Some(DtlsEvent::Ended(end)) = ended {
            self.end(close_reason(end));
        }
    }

    /// Where media goes now.
    pub fn selected_path(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// The tuples that belong to this transport.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.ice.paths()
    }

    /// How media is protected, once the handshake is done.
    pub fn suite(&self) -> Option<Suite> {
        self.srtp.as_ref().map(|srtp| srtp.outbound.suite())
    }

    /// Smoothed round trip of our own STUN checks.
    pub fn round_trip(&self) -> Option<Duration> {
        self.ice.round_trip()
    }

    /// Current local credentials.
    pub fn local_credentials(&self) -> &LocalCredentials {
        self.ice.local()
    }

    /// Highest SRTP and SRTCP indices we sent under, for export.
    pub fn send_indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.srtp.iter().flat_map(|srtp| srtp.outbound.indices())
    }

    /// What was dropped and why; take or merge them from here.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }
}
