//! DTLS-SRTP of a SIP media leg without ICE (RFC 5763, RFC 5764): an association for RTP, and one for RTCP where that
//! has a port of its own (RFC 5764 §4.1).

use std::net::SocketAddr;

use super::srtp_pair::SrtpPair;
use crate::dtls::{Dtls, DtlsEnd, DtlsEvent, Fingerprint, Identity, Role};
use crate::error::Drop;
use crate::io::{Path, SocketId, TransmitQueue};
use crate::time::Time;

/// What offer and answer say about DTLS.
#[derive(Clone, Debug)]
pub struct DtlsTerms {
    /// Names the association: as long as it stays the same, its keys and indices go on (RFC 8842 §3.1).
    pub association: u32,
    /// Our role.
    pub role: Role,
    /// Of which the peer's certificate must have one; at least one that we can compute.
    pub fingerprints: Vec<Fingerprint>,
}

/// What a component's association has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing new.
    Pending,
    /// The peer at this address is who it promised to be, and there are keys.
    Keyed(SocketAddr),
    /// It failed.
    Failed(DtlsEnd),
}

/// One association on one port, and the keys that came of it.
#[derive(Debug)]
pub(super) struct Component {
    socket: SocketId,
    dtls: Dtls,
    /// Where our flights go: the address of the description when we begin, otherwise that of the ClientHello.
    peer: Option<SocketAddr>,
    pub(super) srtp: Option<SrtpPair>,
}

/// The associations of a leg.
#[derive(Debug)]
pub(super) struct DtlsSrtp {
    identity: Identity,
    terms: DtlsTerms,
    pub(super) rtp: Component,
    /// None while RTCP comes on the RTP port.
    pub(super) rtcp: Option<Component>,
}

impl DtlsSrtp {
    /// Associations that begin as soon as there is an address.
    pub(super) fn new(identity: Identity, terms: DtlsTerms, rtp: SocketId, now: Time) -> DtlsSrtp {
        let rtp = Component::new(&identity, &terms, rtp, now);
        DtlsSrtp { identity, terms, rtp, rtcp: None }
    }

    /// Whether these are the associations that `terms` name.
    pub(super) fn is(&self, terms: &DtlsTerms) -> bool {
        self.terms.association == terms.association
    }

    /// Where the description says that the peer is, and whether RTCP has a port of its own there.
    pub(super) fn aim(&mut self, rtp: Option<SocketAddr>, rtcp: Option<(SocketId, Option<SocketAddr>)>, now: Time) {
        match rtcp {
            Some((socket, _)) if self.rtcp.is_none() => {
                self.rtcp = Some(Component::new(&self.identity, &self.terms, socket, now));
            }
            None => self.rtcp = None,
            Some(_) => {}
        }
        if self.terms.role == Role::Client {
            self.rtp.peer = rtp.or(self.rtp.peer);
            if let (Some(component), Some((_, address))) = (&mut self.rtcp, rtcp) {
                component.peer = address.or(component.peer);
            }
        }
    }

    /// Takes a datagram from `path`; `outweighs` says whether its sender fits the description better than another.
    pub(super) fn handle_datagram(
        &mut self,
        path: Path,
        datagram: &[u8],
        outweighs: impl FnOnce(SocketAddr) -> bool,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<Progress, Drop> {
        let component = match &mut self.rtcp {
            _ if self.rtp.socket == path.socket => &mut self.rtp,
            Some(rtcp) if rtcp.socket == path.socket => rtcp,
            _ => return Err(Drop::Unclassified),
        };
        let server = self.terms.role == Role::Server;
        match component.peer {
            Some(peer) if peer == path.remote => {}
            None if server => component.peer = Some(path.remote),
            // A stranger inside the window must not keep the phone from its handshake.
            Some(peer) if server && component.srtp.is_none() && outweighs(peer) => {
                *component = Component::new(&self.identity, &self.terms, path.socket, now);
                component.peer = Some(path.remote);
            }
            _ => return Err(Drop::UnexpectedSource),
        }
        match component.dtls.handle_datagram(datagram, now)? {
            Some(event) => Ok(component.take(event)),
            None => Ok(component.drive(now, out)),
        }
    }

    /// Sends what is due, and says what came of RTP's association and of RTCP's.
    pub(super) fn drive(&mut self, now: Time, out: &mut TransmitQueue) -> [Progress; 2] {
        let rtcp = self.rtcp.as_mut().map_or(Progress::Pending, |component| component.drive(now, out));
        [self.rtp.drive(now, out), rtcp]
    }

    /// How many records of application data came since the last call; nobody wants them here.
    pub(super) fn take_ignored(&mut self) -> u32 {
        self.rtp.dtls.take_ignored() + self.rtcp.as_mut().map_or(0, |component| component.dtls.take_ignored())
    }

    /// When [`DtlsSrtp::drive`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Time {
        self.rtcp.as_ref().map_or(Time::FAR_FUTURE, Component::poll_timeout).min(self.rtp.poll_timeout())
    }

    /// Says goodbye where there is an association to end.
    pub(super) fn close(&mut self, out: &mut TransmitQueue) {
        for component in [Some(&mut self.rtp), self.rtcp.as_mut()].into_iter().flatten() {
            let socket = component.socket;
            if let Some(remote) = component.peer {
                component.dtls.close(|datagram| out.push(Path { socket, remote }, datagram));
            }
        }
    }
}

impl Component {
    fn new(identity: &Identity, terms: &DtlsTerms, socket: SocketId, now: Time) -> Component {
        let mut dtls = Dtls::with_cookie(identity.clone());
        dtls.start(terms.role, terms.fingerprints.clone(), now);
        Component { socket, dtls, peer: None, srtp: None }
    }

    fn drive(&mut self, now: Time, out: &mut TransmitQueue) -> Progress {
        let Some(remote) = self.peer else { return Progress::Pending };
        let path = Path { socket: self.socket, remote };
        match self.dtls.drive(now, |datagram| out.push(path, datagram)) {
            Some(event) => {
                let progress = self.take(event);
                // What the handshake left to send, our last flight, leaves with it.
                if let Some(DtlsEvent::Ended(end)) = self.dtls.drive(now, |datagram| out.push(path, datagram)) {
                    return self.take(DtlsEvent::Ended(end));
                }
                progress
            }
            None => Progress::Pending,
        }
    }

    fn take(&mut self, event: DtlsEvent) -> Progress {
        match event {
            DtlsEvent::Connected(keys) => {
                self.srtp = Some(SrtpPair::new(keys));
                self.peer.map_or(Progress::Pending, Progress::Keyed)
            }
            // Media end with the association; whether the call does, signalling says.
            DtlsEvent::Ended(DtlsEnd::PeerClosed) => {
                self.srtp = None;
                Progress::Pending
            }
            DtlsEvent::Ended(end) => Progress::Failed(end),
        }
    }

    fn poll_timeout(&self) -> Time {
        if self.peer.is_some() { self.dtls.poll_timeout() } else { Time::FAR_FUTURE }
    }
}
