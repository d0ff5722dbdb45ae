//! One SIP media leg: plain RTP, or SRTP by SDES or DTLS, with symmetric-RTP latching in a bounded window.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::dtls_srtp::{DtlsTerms, Progress};
use super::latch::{Latch, Verdict};
use super::protection::{Keys, Protection};
use super::{CloseReason, Received, SendError, TransportEvent, close_reason, drop_of, send_error_of};
use crate::demux::{Kind, classify};
use crate::dtls::Identity;
use crate::error::{Drop, DropCounters};
use crate::io::{Path, SocketId, TransmitQueue};
use crate::srtp::header::rtcp_ssrc;
use crate::srtp::{RtpHeader, SrtpKeys, StreamIndices, Suite, guess_index};
use crate::time::Time;

/// SSRCs of plain RTP whose rollovers are counted; a newer one takes the place of the oldest.
const PLAIN_SSRCS: usize = 8;
/// DTLS datagrams kept until the peer's SDP is known: its hello overtakes its answer, and takes two when post-quantum.
const MAX_EARLY: usize = 2;

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
    /// The certificate that peers are shown; without one there is no DTLS.
    pub identity: Option<Identity>,
}

/// What the peer's SDP says about this media.
#[derive(Clone, Debug, Default)]
pub struct RtpRemote {
    /// Address for RTP; `None` when the SDP gives none (0.0.0.0 or port 0).
    pub rtp: Option<SocketAddr>,
    /// Address for RTCP; `None` means RTP's port + 1, or RTP's with `rtcp_mux`.
    pub rtcp: Option<SocketAddr>,
    /// RTCP on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// SDES keys; `None` without. An unchanged key keeps its indices; a replaced local key must never come back.
    pub srtp: Option<SrtpKeys>,
    /// Keys come by DTLS, and SDES has no say; until they are there nothing is sent or taken.
    pub dtls: Option<DtlsTerms>,
}

/// One SIP media leg's transport.
#[derive(Debug)]
pub struct RtpTransport {
    config: RtpTransportConfig,
    /// Whether the peer's SDP is known, and its RTCP comes and goes on the RTP port.
    described: bool,
    rtcp_mux: bool,
    protection: Protection,
    early: Vec<(Path, Vec<u8>)>,
    rtp: Latch,
    rtcp: Latch,
    window_ends: Time,
    plain_indices: Vec<(u32, u64)>,
    connected: bool,
    closed: bool,
    /// Last RTP, or the last offer/answer when that was later.
    quiet_since: Time,
    /// Silence since then has been reported.
    timed_out: bool,
    drops: DropCounters,
    events: VecDeque<TransportEvent>,
}

impl RtpTransport {
    /// A leg that drops everything until the peer's SDP is known.
    pub fn new(config: RtpTransportConfig) -> RtpTransport {
        RtpTransport {
            config,
            described: false,
            rtcp_mux: false,
            protection: Protection::Plain,
            early: Vec::new(),
            rtp: Latch::default(),
            rtcp: Latch::default(),
            window_ends: Time::ZERO,
            plain_indices: Vec::with_capacity(PLAIN_SSRCS),
            connected: false,
            closed: false,
            quiet_since: Time::ZERO,
            timed_out: false,
            drops: DropCounters::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes the peer's SDP; opens the latching window anew.
    pub fn set_remote(&mut self, remote: RtpRemote, now: Time) {
        let before = self.rtp.destination();
        let rtcp = remote.rtcp.or_else(|| {
            let rtp = remote.rtp?;
            // RFC 3550 §11, unless a=rtcp (RFC 3605) says otherwise.
            Some(SocketAddr::new(rtp.ip(), if remote.rtcp_mux { rtp.port() } else { rtp.port().checked_add(1)? }))
        });
        self.rtp.rearm(remote.rtp);
        self.rtcp.rearm(rtcp);
        self.rtcp_mux = remote.rtcp_mux;
        self.described = true;
        self.window_ends = now + self.config.latching;
        self.quiet_since = now;
        // What was silent by agreement, on hold, is waited for anew.
        self.timed_out = false;
        self.protect(remote.srtp, remote.dtls, now);
        self.report_path(before);
    }

    fn protect(&mut self, srtp: Option<SrtpKeys>, dtls: Option<DtlsTerms>, now: Time) {
        let dtls = dtls.zip(self.config.identity.as_ref());
        self.protection.update(srtp, dtls, self.config.rtp_socket, now);
        if let Protection::Dtls(dtls) = &mut self.protection {
            let rtcp = self.config.rtcp_socket.filter(|_| !self.rtcp_mux);
            dtls.aim(self.rtp.destination(), rtcp.map(|socket| (socket, self.rtcp.destination())), now);
        } else {
            self.early.clear();
        }
    }

    /// Takes one datagram; decrypts in place.
    pub fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Time, out: &mut TransmitQueue) -> Received {
        let result = match classify(datagram) {
            _ if self.closed => Err(Drop::TransportClosed),
            Kind::Dtls => self.handle_dtls(path, datagram, now, out),
            _ if !self.described => Err(Drop::RtpNoRemote),
            Kind::Rtp => self.handle_rtp(path, datagram, now),
            Kind::Rtcp => self.handle_rtcp(path, datagram, now),
            _ => Err(Drop::Unclassified),
        };
        result.unwrap_or_else(|reason| {
            self.drops.count(reason);
            Received::Dropped(reason)
        })
    }

    fn handle_dtls(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<Received, Drop> {
        if !self.described {
            if self.config.identity.is_none() || self.early.len() >= MAX_EARLY {
                return Err(Drop::DtlsEarly);
            }
            self.early.push((path, datagram.to_vec()));
            return Ok(Received::Consumed);
        }
        let latch = if path.socket == self.config.rtp_socket { &self.rtp } else { &self.rtcp };
        judge(latch, path.remote, now < self.window_ends, &self.config)?;
        let Protection::Dtls(dtls) = &mut self.protection else { return Err(Drop::Unclassified) };
        let outweighs = |other| latch.outweighs(path.remote, other);
        let progress = dtls.handle_datagram(path, datagram, outweighs, now, out)?;
        for _ in 0..dtls.take_ignored() {
            self.drops.count(Drop::DtlsApplicationData);
        }
        self.follow(path.socket == self.config.rtp_socket, progress, now);
        Ok(Received::Consumed)
    }

    /// What came of the handshake on the RTP port, or on RTCP's.
    fn follow(&mut self, on_rtp_port: bool, progress: Progress, now: Time) {
        match progress {
            Progress::Pending => {}
            Progress::Keyed(peer) => {
                // It has shown the certificate of the description: that is better than any address.
                let latch = if on_rtp_port { &mut self.rtp } else { &mut self.rtcp };
                latch.learn(peer);
                if on_rtp_port {
                    self.connected = true;
                    self.quiet_since = now;
                    if let Some(path) = self.selected_path() {
                        self.events.push_back(TransportEvent::Connected { path, suite: self.suite() });
                    }
                }
            }
            Progress::Failed(end) => self.end(close_reason(end)),
        }
    }

    fn handle_rtp(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Result<Received, Drop> {
        if path.socket != self.config.rtp_socket {
            return Err(Drop::UnexpectedSource);
        }
        let verdict = judge(&self.rtp, path.remote, now < self.window_ends, &self.config)?;
        let header = RtpHeader::parse(datagram).ok_or(Drop::RtpMalformed)?;
        let (len, index) = match self.protection.rtp() {
            Keys::Awaited => return Err(Drop::SrtpNoKeys),
            Keys::Srtp(srtp) => {
                let opened = srtp.inbound.unprotect_rtp(datagram, &header).map_err(drop_of)?;
                (opened.len, opened.index)
            }
            Keys::None => (datagram.len(), self.plain_index(&header)),
        };
        let before = self.rtp.destination();
        if verdict == Verdict::Learn {
            self.rtp.learn(path.remote);
        }
        self.quiet_since = now;
        if self.timed_out {
            self.timed_out = false;
            self.events.push_back(TransportEvent::MediaResumed);
        }
        if self.connected {
            self.report_path(before);
        } else {
            self.connected = true;
            self.events.push_back(TransportEvent::Connected { path, suite: self.suite() });
        }
        Ok(Received::Rtp { len, header_len: header.len, index })
    }

    fn handle_rtcp(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Result<Received, Drop> {
        // Some phones send RTCP to the RTP port unasked; the demultiplexer tells it anyway.
        let on_rtp_port = path.socket == self.config.rtp_socket;
        if !on_rtp_port && Some(path.socket) != self.config.rtcp_socket {
            return Err(Drop::UnexpectedSource);
        }
        let latch = if on_rtp_port { &self.rtp } else { &self.rtcp };
        let verdict = judge(latch, path.remote, now < self.window_ends, &self.config)?;
        rtcp_ssrc(datagram).ok_or(Drop::RtpMalformed)?;
        let len = match self.protection.rtcp(on_rtp_port) {
            Keys::Awaited => return Err(Drop::SrtpNoKeys),
            Keys::Srtp(srtp) => srtp.inbound.unprotect_rtcp(datagram).map_err(drop_of)?,
            Keys::None => datagram.len(),
        };
        if verdict == Verdict::Learn {
            let before = self.rtp.destination();
            let latch = if on_rtp_port { &mut self.rtp } else { &mut self.rtcp };
            latch.learn(path.remote);
            self.report_path(before);
        }
        Ok(Received::Rtcp { len })
    }

    /// Does what is due: flights of a handshake, and the word that it has long been silent.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        for (path, mut datagram) in std::mem::take(&mut self.early) {
            self.handle_datagram(path, &mut datagram, now, out);
        }
        if let Protection::Dtls(dtls) = &mut self.protection {
            let [rtp, rtcp] = dtls.drive(now, out);
            self.follow(true, rtp, now);
            self.follow(false, rtcp, now);
        }
        if self.silent_at().is_some_and(|due| due <= now) {
            self.timed_out = true;
            let silent_ms = u64::try_from(now.since(self.quiet_since).as_millis()).unwrap_or(u64::MAX);
            self.events.push_back(TransportEvent::MediaTimeout { silent_ms });
        }
    }

    /// When [`RtpTransport::handle_timeout`] wants to be called; moves with every RTP packet.
    pub fn poll_timeout(&self) -> Option<Time> {
        let dtls = match &self.protection {
            // What came early waits for the next call, which is due at once.
            Protection::Dtls(_) if !self.early.is_empty() => Time::ZERO,
            Protection::Dtls(dtls) => dtls.poll_timeout(),
            Protection::Plain | Protection::Sdes(_) => Time::FAR_FUTURE,
        };
        self.silent_at().into_iter().chain((dtls != Time::FAR_FUTURE).then_some(dtls)).min()
    }

    fn silent_at(&self) -> Option<Time> {
        let watching = self.described && !self.closed && !self.timed_out && !self.config.timeout.is_zero();
        watching.then(|| self.quiet_since + self.config.timeout)
    }

    /// The oldest event not yet taken; to be drained after every other call.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// Writes one RTP packet, protected when SRTP was negotiated, for the peer's address.
    pub fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let path = self.selected_path().ok_or(SendError::NotConnected)?;
        let keys = self.protection.rtp();
        if matches!(keys, Keys::Awaited) {
            return Err(SendError::NotConnected);
        }
        out.push_with(path, |bytes| match keys {
            Keys::Srtp(srtp) => srtp.outbound.protect_rtp(header, payload, bytes).map(drop),
            Keys::None | Keys::Awaited => {
                bytes.extend_from_slice(header);
                bytes.extend_from_slice(payload);
                Ok(())
            }
        })
        .map_err(send_error_of)
    }

    /// Writes one compound RTCP packet, protected when SRTP was negotiated, for the peer's RTCP address.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut TransmitQueue) -> Result<(), SendError> {
        let path = self.rtcp_path().ok_or(SendError::NotConnected)?;
        let keys = self.protection.rtcp(path.socket == self.config.rtp_socket);
        if matches!(keys, Keys::Awaited) {
            return Err(SendError::NotConnected);
        }
        out.push_with(path, |bytes| match keys {
            Keys::Srtp(srtp) => srtp.outbound.protect_rtcp(packet, bytes).map(drop),
            Keys::None | Keys::Awaited => {
                bytes.extend_from_slice(packet);
                Ok(())
            }
        })
        .map_err(send_error_of)
    }

    /// Ends the leg; an association of DTLS is told.
    pub fn close(&mut self, reason: CloseReason, out: &mut TransmitQueue) {
        if let (Protection::Dtls(dtls), false) = (&mut self.protection, self.closed) {
            dtls.close(out);
        }
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.early.clear();
            self.protection = Protection::Plain;
            self.events.push_back(TransportEvent::Closed(reason));
        }
    }

    /// Where RTP goes now: the learned address, else the one of the SDP.
    pub fn selected_path(&self) -> Option<Path> {
        let remote = self.rtp.destination().filter(|_| !self.closed)?;
        Some(Path { socket: self.config.rtp_socket, remote })
    }

    /// Where RTCP goes now.
    pub fn rtcp_path(&self) -> Option<Path> {
        let rtp = self.selected_path()?;
        if self.rtcp_mux {
            return Some(rtp);
        }
        let socket = self.config.rtcp_socket.unwrap_or(self.config.rtp_socket);
        let signalled = self.rtcp.destination()?;
        let behind_nat = self.rtcp.learned().is_none() && rtp.remote.ip() != signalled.ip();
        // Until RTCP itself comes from behind a NAT, the best guess is the port next to the learned one.
        let remote =
            if behind_nat { SocketAddr::new(rtp.remote.ip(), rtp.remote.port().checked_add(1)?) } else { signalled };
        Some(Path { socket, remote })
    }

    /// Whether keys come by DTLS, so that what is to be sent may have to wait for them.
    pub fn uses_dtls(&self) -> bool {
        matches!(self.protection, Protection::Dtls(_))
    }

    /// How what we send is protected; `None` for plain RTP and before there are keys.
    pub fn suite(&self) -> Option<Suite> {
        self.protection.pairs().next().map(|srtp| srtp.outbound.suite())
    }

    /// Highest SRTP and SRTCP indices we sent under, for export.
    pub fn send_indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.protection.pairs().flat_map(|srtp| srtp.outbound.indices())
    }

    /// What was dropped and why; take or merge them from here.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }

    fn report_path(&mut self, before: Option<SocketAddr>) {
        if let Some(path) = self.selected_path()
            && self.connected
            && before != Some(path.remote)
        {
            self.events.push_back(TransportEvent::PathChanged(path));
        }
    }

    /// Counts rollovers of plain RTP, so that receivers of the packet need not.
    fn plain_index(&mut self, header: &RtpHeader) -> u64 {
        if let Some((_, highest)) = self.plain_indices.iter_mut().find(|(ssrc, _)| *ssrc == header.ssrc) {
            let index = guess_index(Some(*highest), header.sequence);
            *highest = index.max(*highest);
            return index;
        }
        if self.plain_indices.len() >= PLAIN_SSRCS {
            self.plain_indices.remove(0);
        }
        let index = u64::from(header.sequence);
        self.plain_indices.push((header.ssrc, index));
        index
    }
}

fn judge(latch: &Latch, source: SocketAddr, open: bool, config: &RtpTransportConfig) -> Result<Verdict, Drop> {
    match latch.judge(source, open, !config.latching.is_zero()) {
        Verdict::Refuse => Err(Drop::UnexpectedSource),
        verdict => Ok(verdict),
    }
}
