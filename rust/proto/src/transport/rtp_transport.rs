//! One SIP media leg: plain RTP or SDES-SRTP with symmetric-RTP latching in a bounded window.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::latch::{Latch, Verdict};
use super::{CloseReason, Received, SendError, TransportEvent, drop_of, send_error_of};
use crate::demux::{Kind, classify};
use crate::error::{Drop, DropCounters};
use crate::io::{Path, SocketId, TransmitQueue};
use crate::srtp::header::rtcp_ssrc;
use crate::srtp::{Inbound, MasterKey, Outbound, RtpHeader, SrtpKeys, StreamIndices, Suite, guess_index};
use crate::time::Time;

/// SSRCs of plain RTP whose rollovers are counted; a newer one takes the place of the oldest.
const PLAIN_SSRCS: usize = 8;

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
    /// SDES keys; `None` for plain RTP. An unchanged key keeps its indices; a replaced local key must never come back.
    pub srtp: Option<SrtpKeys>,
}

/// SRTP of both directions, with the keys to tell whether they change.
#[derive(Debug)]
struct Srtp {
    local: MasterKey,
    remote: MasterKey,
    inbound: Inbound,
    outbound: Outbound,
}

/// One SIP media leg's transport.
#[derive(Debug)]
pub struct RtpTransport {
    config: RtpTransportConfig,
    /// Whether the peer's SDP is known, and its RTCP comes and goes on the RTP port.
    described: bool,
    rtcp_mux: bool,
    srtp: Option<Srtp>,
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
            srtp: None,
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
        self.srtp = remote.srtp.map(|keys| rekey(self.srtp.take(), keys));
        self.report_path(before);
    }

    /// Takes one datagram; decrypts in place.
    pub fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Received {
        let result = match classify(datagram) {
            _ if self.closed => Err(Drop::TransportClosed),
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

    fn handle_rtp(&mut self, path: Path, datagram: &mut [u8], now: Time) -> Result<Received, Drop> {
        if path.socket != self.config.rtp_socket {
            return Err(Drop::UnexpectedSource);
        }
        let verdict = judge(&self.rtp, path.remote, now < self.window_ends, &self.config)?;
        let header = RtpHeader::parse(datagram).ok_or(Drop::RtpMalformed)?;
        let (len, index) = match &mut self.srtp {
            Some(srtp) => {
                let opened = srtp.inbound.unprotect_rtp(datagram, &header).map_err(drop_of)?;
                (opened.len, opened.index)
            }
            None => (datagram.len(), self.plain_index(&header)),
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
        let len = match &mut self.srtp {
            Some(srtp) => srtp.inbound.unprotect_rtcp(datagram).map_err(drop_of)?,
            None => datagram.len(),
        };
        if verdict == Verdict::Learn {
            let before = self.rtp.destination();
            let latch = if on_rtp_port { &mut self.rtp } else { &mut self.rtcp };
            latch.learn(path.remote);
            self.report_path(before);
        }
        Ok(Received::Rtcp { len })
    }

    /// Reports silence when it is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.timed_out = true;
            let silent_ms = u64::try_from(now.since(self.quiet_since).as_millis()).unwrap_or(u64::MAX);
            self.events.push_back(TransportEvent::MediaTimeout { silent_ms });
        }
    }

    /// When [`RtpTransport::handle_timeout`] wants to be called; moves with every RTP packet.
    pub fn poll_timeout(&self) -> Option<Time> {
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
        out.push_with(path, |bytes| match &mut self.srtp {
            Some(srtp) => srtp.outbound.protect_rtp(header, payload, bytes).map(drop),
            None => {
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
        out.push_with(path, |bytes| match &mut self.srtp {
            Some(srtp) => srtp.outbound.protect_rtcp(packet, bytes).map(drop),
            None => {
                bytes.extend_from_slice(packet);
                Ok(())
            }
        })
        .map_err(send_error_of)
    }

    /// Ends the leg.
    pub fn close(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.srtp = None;
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

    /// How what we send is protected; `None` for plain RTP.
    pub fn suite(&self) -> Option<Suite> {
        self.srtp.as_ref().map(|srtp| srtp.outbound.suite())
    }

    /// Highest SRTP and SRTCP indices we sent under, for export.
    pub fn send_indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.srtp.iter().flat_map(|srtp| srtp.outbound.indices())
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

/// A direction whose key did not change keeps its context: its indices must go on (RFC 3711 §9.1).
fn rekey(old: Option<Srtp>, keys: SrtpKeys) -> Srtp {
    let (mut inbound, mut outbound) = (None, None);
    if let Some(old) = old {
        inbound = (old.remote == keys.remote).then_some(old.inbound);
        outbound = (old.local == keys.local).then_some(old.outbound);
    }
    Srtp {
        inbound: inbound.unwrap_or_else(|| Inbound::new(&keys.remote)),
        outbound: outbound.unwrap_or_else(|| Outbound::new(&keys.local)),
        local: keys.local,
        remote: keys.remote,
    }
}
