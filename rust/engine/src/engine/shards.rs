//! The shards: the sockets that they share, what their peers are told, and the start of their threads.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mediaserver_proto::dtls::Identity;
use mediaserver_proto::endpoint::{Endpoint, EndpointConfig, EndpointLimits};
use mediaserver_proto::io::SocketId;

use super::address::{read_addresses, read_ip, read_ips};
use super::{Engine, EngineError};
use crate::config::EngineConfig;
use crate::media_links::CoreLinks;
use crate::ports::PortPools;
use crate::scheduling::Scheduling;
use crate::shard::{Announced, ShardControl};
use crate::socket::{Marks, Sender, UdpSocket};
use crate::sockets::Sockets;
use crate::stream::{Listening, Serves};
use crate::worker::Worker;

impl Engine {
    /// One set of sockets for each shard. With more shards than ports some share theirs, and the kernel gives a packet to any
    /// of them.
    pub(super) fn bind_shared(&mut self) -> Result<Vec<Vec<UdpSocket>>, EngineError> {
        let mut shards: Vec<Vec<UdpSocket>> = (0..self.layout.shards).map(|_| Vec::new()).collect();
        let ports = usize::from(self.config.webrtc_ports.max(1));
        let binds = read_addresses("webrtc_binds", &self.config.webrtc_binds)?;
        for (index, first) in binds.into_iter().enumerate() {
            let id = SocketId(u32::try_from(index).unwrap_or(u32::MAX));
            for shard in 0..shards.len() {
                let address = match shard.checked_sub(ports) {
                    Some(before) => shards[before][index].local(),
                    // With port 0 the kernel chooses one.
                    None if first.port() == 0 => first,
                    None => SocketAddr::new(first.ip(), first.port().saturating_add(shard as u16)),
                };
                shards[shard].push(self.bind_public(id, address)?);
            }
        }
        Ok(shards)
    }

    /// Starts the shards, each with its sockets.
    pub(super) fn start_shards(
        &mut self,
        shared: Vec<Vec<UdpSocket>>,
        listeners: &[Listening],
    ) -> Result<(), EngineError> {
        let sip_ips = read_ips("sip_binds", &self.config.sip_binds)?;
        for sockets in shared {
            self.start_shard(sockets, &sip_ips, listeners)?;
        }
        Ok(())
    }

    fn start_shard(
        &mut self,
        sockets: Vec<UdpSocket>,
        sip_ips: &[IpAddr],
        listeners: &[Listening],
    ) -> Result<(), EngineError> {
        let (seat, links) = self.seat();
        let shard = seat.index;
        let poller = Worker::poller(shard, &sockets, &links).map_err(seat.failed())?;
        let endpoint = self.endpoint_config(shard)?;
        let (ports, count) = (self.config.sip_ports, self.layout.shards);
        let ports = PortPools::new(sip_ips, ports, shard, count).marked(self.config.dscp.video);
        let (announced, sockets) = (self.announced(&sockets, listeners)?, Sockets::new(sockets));
        let scheduling = Scheduling::new(self.config.pin.then_some(shard), self.config.real_time);
        let sender = Sender::new(self.config.gso, Marks::new(&self.config.dscp));
        let (core, instance, epoch) = (self.config.core_id as u16, self.instance, self.epoch);
        let (buffer, carrier) = (self.config.receive_buffer_bytes, self.layout.frames_carrier());
        // The endpoint is made on its thread and stays there: SCTP associations cannot move between threads.
        self.spawn(seat, move || {
            let edges = CoreLinks::new(core, shard as u16, instance, buffer, carrier);
            let control = ShardControl::new(Endpoint::new(endpoint), sockets, ports, announced, edges);
            Worker::new(shard, scheduling, sender, epoch, poller, control, links).run();
        })
    }

    /// What the peers of a shard with these sockets are told.
    pub(super) fn announced(&self, sockets: &[UdpSocket], listeners: &[Listening]) -> Result<Announced, EngineError> {
        let mut ips = HashMap::new();
        for (bind, announced) in &self.config.announced {
            ips.insert(read_ip("announced", bind)?, read_ip("announced", announced)?);
        }
        let mut announced = Announced { ips, ..Announced::default() };
        let seen = |local: SocketAddr| SocketAddr::new(announced.ip(local.ip()), local.port());
        let shared = sockets.iter().map(|socket| seen(socket.local())).collect();
        let ice = listeners.iter().filter(|each| matches!(each.serves, Serves::Ice { .. } | Serves::IceOrTurn { .. }));
        let mut tcp: Vec<_> = ice.filter_map(|each| each.listener.local_addr().ok()).map(seen).collect();
        if let Some(settings) = &self.config.shared_tls {
            tcp.extend(read_addresses("shared_tls", &settings.ice)?);
        }
        (announced.shared, announced.tcp) = (shared, tcp);
        Ok(announced)
    }

    fn endpoint_config(&self, shard: usize) -> Result<EndpointConfig, EngineError> {
        let limits = &self.config.limits;
        Ok(EndpointConfig {
            shard: shard as u16,
            shards: self.layout.shards as u16,
            sources: self.layout.audio().end as u16,
            ufrag_key: self.ufrag_key.clone(),
            identity: identity(&self.config, self.epoch)?,
            unix_epoch: self.unix_epoch(),
            limits: EndpointLimits {
                transports: limits.transports,
                half_open: limits.half_open,
                tracks_per_transport: limits.tracks_per_transport,
                unknown_ssrcs: limits.unknown_ssrcs,
            },
        })
    }
}

/// Who the shards are in DTLS.
pub(super) fn identity(config: &EngineConfig, epoch: Instant) -> Result<Identity, EngineError> {
    Identity::new(config.certificate_der.to_vec(), config.private_key_der.to_vec(), epoch)
        .map_err(|error| EngineError::Config(error.to_string()))
}
