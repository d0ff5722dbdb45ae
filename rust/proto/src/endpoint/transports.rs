//! Opening, changing and closing transports.

use std::time::Duration;

use super::message::Shard;
use super::slot::{AnyTransport, Slot, Traffic};
use super::{CommandError, Endpoint, EndpointEvent};
use crate::ice::credentials::PASSWORD_BYTES;
use crate::ice::{LocalCredentials, UFRAG_LIFE_MINUTES};
use crate::io::{SocketId, TransmitQueue};
use crate::rtp::Ssrc;
use crate::sfu::router::TransportStats;
use crate::sfu::{TransportConfig, TransportId};
use crate::time::Time;
use crate::transport::{
    CloseReason, IceTransport, IceTransportConfig, RemoteParameters, RtpRemote, RtpTransport, RtpTransportConfig,
};

/// Random bytes for one set of ICE credentials; protocol code has no randomness of its own.
#[derive(Clone, Copy)]
pub struct Entropy {
    /// Becomes the password.
    pub password: [u8; PASSWORD_BYTES],
    /// Becomes the seed of transaction ids.
    pub seed: [u8; 32],
    /// Becomes the CNAME, which peers see.
    pub cname: [u8; 12],
    /// Becomes the SSRC of reports when no track of ours sends.
    pub rtcp_ssrc: u32,
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

/// The sockets of an RTP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpSockets {
    /// RTP port.
    pub rtp: SocketId,
    /// RTCP port.
    pub rtcp: SocketId,
}

/// Counters of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TransportSnapshot {
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub round_trip: Option<Duration>,
}

/// Everything that is counted about a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Its datagrams.
    pub transport: TransportSnapshot,
    /// Its media.
    pub tracks: TransportStats,
}

impl Endpoint {
    /// Makes a WebRTC transport and gives its local credentials.
    pub fn open_ice_transport(
        &mut self,
        id: u64,
        restart_grace: Duration,
        entropy: Entropy,
        now: Time,
    ) -> Result<LocalCredentials, CommandError> {
        self.check_new_transport(id)?;
        if self.half_open >= self.config.limits.half_open {
            return Err(CommandError::Limit("half_open"));
        }
        let credentials = self.make_credentials(id, 0, &entropy, now);
        let config = IceTransportConfig {
            credentials: credentials.clone(),
            seed: entropy.seed,
            identity: self.config.identity.clone(),
        };
        let transport = AnyTransport::Ice(Box::new(IceTransport::new(config)));
        self.half_open += 1;
        self.insert(id, transport, restart_grace, None, &entropy)?;
        Ok(credentials)
    }

    /// Takes what the peer's description says.
    pub fn set_ice_remote(
        &mut self,
        id: u64,
        remote: RemoteParameters,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        let index = self.transport_index(id)?;
        let AnyTransport::Ice(transport) = &mut self.slots[index].transport else {
            return Err(CommandError::WrongKind);
        };
        transport.set_remote(remote, now, out);
        self.touch(index);
        self.settle(now, out);
        Ok(())
    }

    /// Whether the peer takes feedback without a report before it (RFC 5506).
    pub fn set_reduced_size(&mut self, id: u64, reduced_size: bool) -> Result<(), CommandError> {
        self.media.router.set_reduced_size(TransportId(id), reduced_size)?;
        Ok(())
    }

    /// Gives new local credentials; the old ones are honoured for the grace.
    pub fn restart_ice(
        &mut self,
        id: u64,
        entropy: Entropy,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<LocalCredentials, CommandError> {
        let index = self.transport_index(id)?;
        let generation = self.slots[index].generation.wrapping_add(1);
        let credentials = self.make_credentials(id, generation, &entropy, now);
        let slot = &mut self.slots[index];
        let AnyTransport::Ice(transport) = &mut slot.transport else {
            return Err(CommandError::WrongKind);
        };
        slot.generation = generation;
        transport.restart(credentials.clone(), slot.restart_grace, now);
        self.touch(index);
        self.settle(now, out);
        Ok(credentials)
    }

    /// Makes a transport on sockets of its own.
    pub fn open_rtp_transport(
        &mut self,
        id: u64,
        sockets: RtpSockets,
        entropy: Entropy,
        latching: Duration,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        self.check_new_transport(id)?;
        let config = RtpTransportConfig {
            rtp_socket: sockets.rtp,
            rtcp_socket: Some(sockets.rtcp),
            latching,
            timeout,
            identity: Some(self.config.identity.clone()),
        };
        let transport = AnyTransport::Rtp(Box::new(RtpTransport::new(config)));
        let index = self.insert(id, transport, Duration::ZERO, Some((sockets.rtp, sockets.rtcp)), &entropy)?;
        self.routes.bind_socket(sockets.rtp, index);
        self.routes.bind_socket(sockets.rtcp, index);
        Ok(())
    }

    /// Whether a transport of this id may be opened; asked before sockets are bound for it.
    pub fn check_new_transport(&self, id: u64) -> Result<(), CommandError> {
        if (id >> 48) as Shard != self.config.shard {
            return Err(CommandError::WrongShard);
        }
        if self.ids.contains_key(&id) {
            return Err(CommandError::IdInUse);
        }
        if self.slots.len() >= self.config.limits.transports {
            return Err(CommandError::Limit("transports"));
        }
        Ok(())
    }

    /// Takes what the peer's SDP says; opens the latching window anew.
    pub fn set_rtp_remote(
        &mut self,
        id: u64,
        remote: RtpRemote,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        let index = self.transport_index(id)?;
        let AnyTransport::Rtp(transport) = &mut self.slots[index].transport else {
            return Err(CommandError::WrongKind);
        };
        transport.set_remote(remote, now);
        self.touch(index);
        self.settle(now, out);
        Ok(())
    }

    /// Closes a transport with its tracks.
    pub fn close_transport(&mut self, id: u64, now: Time, out: &mut TransmitQueue) -> Result<(), CommandError> {
        let index = self.transport_index(id)?;
        self.close_slot(index, now, out);
        self.settle(now, out);
        Ok(())
    }

    /// Closes all of them: the engine stops.
    pub fn close_all(&mut self, now: Time, out: &mut TransmitQueue) {
        let all: Vec<usize> = self.slots.iter().map(|(index, _)| index).collect();
        for index in all {
            self.close_slot(index, now, out);
        }
        self.settle(now, out);
    }

    /// Everything counted about a transport; `None` when there is none of this id.
    pub fn statistics(&self, id: u64) -> Option<Statistics> {
        let slot = self.slots.get(*self.ids.get(&id)?)?;
        let tracks = self.media.router.stats(TransportId(id)).ok()?;
        let Traffic { packets_received, bytes_received, packets_sent, bytes_sent } = slot.traffic;
        let round_trip = slot.transport.round_trip();
        let transport = TransportSnapshot { packets_received, bytes_received, packets_sent, bytes_sent, round_trip };
        Some(Statistics { transport, tracks })
    }

    pub(super) fn transport_index(&self, id: u64) -> Result<usize, CommandError> {
        self.ids.get(&id).copied().ok_or(CommandError::NoTransport)
    }

    pub(super) fn remove_transport(&mut self, index: usize, now: Time, out: &mut TransmitQueue) {
        let last = self.remove_tracks(index, now, out);
        let mut slot = self.slots.remove(index);
        self.forget_data(slot.id);
        self.media.remove(slot.id);
        // The router knows every transport that has a slot.
        self.media.router.remove_transport(TransportId(slot.id), now).ok();
        self.take_media_outputs();
        slot.transport.close(CloseReason::Commanded, out);
        self.transport_drops.merge(&slot.transport.drops_mut().take());
        self.ids.remove(&slot.id);
        if let Some((rtp, rtcp)) = slot.sockets {
            self.routes.unbind_socket(rtp);
            self.routes.unbind_socket(rtcp);
        } else {
            for path in self.routes.unbind_all(index) {
                self.tell_unbound(path);
            }
            if !slot.connected {
                self.half_open = self.half_open.saturating_sub(1);
            }
        }
        let reason = slot.closed.unwrap_or(CloseReason::Commanded.name());
        let last = slot.last.or(last.map(Box::new));
        self.events.push_back(EndpointEvent::TransportClosed { id: slot.id, reason, last });
    }

    fn close_slot(&mut self, index: usize, now: Time, out: &mut TransmitQueue) {
        let last = self.remove_tracks(index, now, out);
        let slot = &mut self.slots[index];
        slot.last = last.map(Box::new);
        slot.closed = Some(CloseReason::Commanded.name());
        slot.transport.close(CloseReason::Commanded, out);
        self.touch(index);
    }

    fn insert(
        &mut self,
        id: u64,
        transport: AnyTransport,
        restart_grace: Duration,
        sockets: Option<(SocketId, SocketId)>,
        entropy: &Entropy,
    ) -> Result<usize, CommandError> {
        // RFC 7022 §4.2: a CNAME is short-lived and says nothing about the host.
        let cname = entropy.cname.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.media.router.add_transport(TransportConfig {
            id: TransportId(id),
            rtcp_ssrc: Ssrc(entropy.rtcp_ssrc.max(1)),
            cname: cname.clone(),
            // Until the description of a browser says otherwise; SIP phones are not asked.
            reduced_size: sockets.is_none(),
            max_streams: self.config.limits.tracks_per_transport + self.config.limits.unknown_ssrcs,
        })?;
        let index = self.slots.insert(Slot {
            id,
            transport,
            generation: 0,
            restart_grace,
            sockets,
            taken_at_edge: [None; 2],
            armed: None,
            dirty: false,
            connected: false,
            closed: None,
            last: None,
            told_round_trip: None,
            tracks: 0,
            cname,
            traffic: Traffic::default(),
            text: None,
        });
        self.media.insert(id, index);
        self.ids.insert(id, index);
        self.touch(index);
        Ok(index)
    }

    fn make_credentials(&self, id: u64, generation: u8, entropy: &Entropy, now: Time) -> LocalCredentials {
        let expires = self.minute(now).saturating_add(UFRAG_LIFE_MINUTES);
        LocalCredentials::new(self.config.ufrag_key.make(id, generation, expires), &entropy.password)
    }
}
