//! An Edge's workers: their sockets, and the start of their threads.

use std::net::SocketAddr;

use aws_lc_rs::rand;
use mediaserver_proto::io::SocketId;
use mediaserver_proto::link::{EdgeLink, EdgeLinkConfig};
use mediaserver_proto::path::PathLimits;

use super::address::{read_address, read_addresses, read_ips};
use super::{Engine, EngineError, io_error};
use crate::config::EdgeConfig;
use crate::edge::{EdgeSockets, EdgeWorker, Neighbours, SharedWithTurn};
use crate::link::Owners;
use crate::ports::PortPools;
use crate::scheduling::Scheduling;
use crate::socket::{Marks, Sender, UdpSocket};

impl Engine {
    /// Starts the workers, each with its sockets.
    pub(super) fn start_edge_workers(&mut self, sockets: Vec<EdgeSockets>) -> Result<(), EngineError> {
        let Some(config) = self.config.edge.clone() else { return Ok(()) };
        for sockets in sockets {
            self.start_edge_worker(&config, sockets)?;
        }
        Ok(())
    }

    fn start_edge_worker(&mut self, config: &EdgeConfig, sockets: EdgeSockets) -> Result<(), EngineError> {
        let (seat, links) = self.seat();
        let (index, epoch, unix_epoch) = (seat.index, self.epoch, self.unix_epoch());
        let instance = u64::from_ne_bytes(random()?);
        let mut edge = EdgeLink::new(EdgeLinkConfig {
            link_socket: sockets.link(),
            secret: random()?,
            instance,
            unix_epoch,
            limits: PathLimits { paths: config.paths, unproven_per_prefix: config.unproven_per_prefix },
        });
        if let Some(relay) = self.layout.relay() {
            edge.set_relay(relay as u16);
        }
        let ips = read_ips("media_binds", &config.media_binds)?;
        let number = index - self.layout.edge().start;
        let ports = PortPools::new(&ips, config.media_ports, number, config.workers);
        let ports = ports.beginning_at(instance).marked(self.config.dscp.video);
        let scheduling = Scheduling::new(self.config.pin.then_some(index), self.config.real_time);
        let sender = Sender::new(self.config.gso, Marks::new(&self.config.dscp));
        let poller = EdgeWorker::poller(index, &sockets, &links).map_err(seat.failed())?;
        let neighbours = Neighbours::new(index, self.shared_with_turn(config), links);
        self.spawn(seat, move || {
            EdgeWorker::new(index, epoch, unix_epoch, scheduling, sender, edge, sockets, ports, poller, neighbours)
                .run();
        })
    }

    /// Lets the thread of the links carry frames: at an Edge for its workers, in a Core for its shards.
    pub(super) fn connect_links(&mut self) {
        let Some(member) = self.layout.frames_carrier() else { return };
        let (edge, shards) = (self.layout.edge(), self.layout.shards);
        let owners = match edge.is_empty() {
            true => Owners { first: 0, count: shards, is_edge: false },
            false => Owners { first: edge.start, count: edge.len(), is_edge: true },
        };
        let rings = std::mem::take(&mut self.rings[usize::from(member)]);
        self.links.connect(member, self.epoch, owners, rings, self.wakers.clone());
    }

    /// The sockets of all workers. They share the public addresses, and the kernel gives a visitor always to the same one.
    pub(super) fn bind_edges(&mut self) -> Result<Vec<EdgeSockets>, EngineError> {
        let Some(config) = self.config.edge.clone() else { return Ok(Vec::new()) };
        let mut public = read_addresses("public_binds", &config.public_binds)?;
        let link = read_address("link_bind", &config.link_bind)?;
        (0..config.workers).map(|number| self.bind_edge(number, link, &mut public)).collect()
    }

    /// Public sockets that are those of TURN, too.
    fn shared_with_turn(&self, config: &EdgeConfig) -> Option<SharedWithTurn> {
        let (turn, relay) = (self.config.turn.as_ref()?, self.layout.relay()?);
        let shared = config.public_binds.iter().zip(0..).filter(|(text, _)| turn.binds.contains(text));
        Some(SharedWithTurn { relay, sockets: shared.map(|(_, id)| SocketId(id)).collect() })
    }

    /// The sockets of an Edge's worker. Of `public` the first one finds out which ports the kernel chose, where it may.
    fn bind_edge(
        &mut self,
        number: usize,
        mut link: SocketAddr,
        public: &mut [SocketAddr],
    ) -> Result<EdgeSockets, EngineError> {
        let mut sockets = Vec::with_capacity(public.len());
        for (address, id) in public.iter_mut().zip(0..) {
            let socket = self.bind_public(SocketId(id), *address)?;
            *address = socket.local();
            sockets.push(socket);
        }
        if link.port() != 0 {
            link.set_port(link.port().saturating_add(number as u16));
        }
        let buffer = self.config.receive_buffer_bytes;
        EdgeSockets::new(sockets, |id| Ok(UdpSocket::bind(id, link, false, buffer)?.for_link()))
            .map_err(io_error(format!("cannot bind {link}")))
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], EngineError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| EngineError::Config("there are no random numbers".to_owned()))?;
    Ok(bytes)
}
