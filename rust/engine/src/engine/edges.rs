//! The start of an Edge's threads.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::rand;
use mediaserver_proto::io::SocketId;
use mediaserver_proto::link::{EdgeLink, EdgeLinkConfig};
use mediaserver_proto::path::PathLimits;
use rtrb::RingBuffer;

use super::{Engine, EngineError, INBOX, RingEnds, ShardHandle, edge_workers, io_error, members};
use crate::config::{EdgeConfig, EngineConfig};
use crate::edge::{EdgeSockets, EdgeWorker, Neighbours, SharedWithTurn};
use crate::link::{Owners, Rings};
use crate::metrics::Published;
use crate::ports::PortPools;
use crate::scheduling::Scheduling;
use crate::socket::{Marks, Sender, UdpSocket};

impl Engine {
    /// Starts the threads of an Edge, whose indices are behind those of the audio threads.
    pub(super) fn start_edge_workers(
        &mut self,
        ends: Vec<RingEnds>,
        sockets: Vec<EdgeSockets>,
    ) -> Result<(), EngineError> {
        let Some(config) = self.config.edge.clone() else { return Ok(()) };
        for (number, (ends, sockets)) in ends.into_iter().zip(sockets).enumerate() {
            let index = self.shards.len();
            let what = || format!("edge thread {number}");
            let (inbox, consumer) = RingBuffer::new(INBOX);
            let published = Published::default();
            let links = self.links(consumer, ends, published.clone());
            let (mut secret, mut instance) = ([0; 32], [0; 8]);
            let filled = rand::fill(&mut secret).and_then(|()| rand::fill(&mut instance));
            filled.map_err(|_| EngineError::Config("there are no random numbers".to_owned()))?;
            let (unix_epoch, instance) = (self.unix_epoch(), u64::from_ne_bytes(instance));
            let limits = PathLimits { paths: config.paths, unproven_per_prefix: config.unproven_per_prefix };
            let mut edge =
                EdgeLink::new(EdgeLinkConfig { link_socket: sockets.link(), secret, instance, unix_epoch, limits });
            let turn = self.shared_with_turn(&config);
            if self.config.turn.is_some() {
                edge.set_relay(u16::try_from(self.relay_index()).unwrap_or(u16::MAX));
            }
            let mut ips = Vec::with_capacity(config.media_binds.len());
            for text in &config.media_binds {
                let bad = |_| EngineError::Config(format!("{text} is no IP address"));
                ips.push(text.parse::<IpAddr>().map_err(bad)?);
            }
            let ports = PortPools::new(&ips, config.media_ports, number, config.workers);
            let ports = ports.beginning_at(instance).marked(self.config.dscp.video);
            let scheduling = Scheduling::new(self.config.pin.then_some(index), self.config.real_time);
            let sender = Sender::new(self.config.gso, Marks::new(&self.config.dscp));
            let poller = EdgeWorker::poller(index, &sockets, &links).map_err(io_error(what()))?;
            let epoch = self.epoch;
            let neighbours = Neighbours::new(index, turn, links);
            let run = move || {
                EdgeWorker::new(index, epoch, unix_epoch, scheduling, sender, edge, sockets, ports, poller, neighbours)
                    .run();
            };
            let thread =
                std::thread::Builder::new().name(format!("edge-{number}")).spawn(run).map_err(io_error(what()))?;
            self.shards.push(ShardHandle { inbox, published, thread: Some(thread) });
        }
        Ok(())
    }

    /// Lets the thread of the links carry frames: at an Edge for its workers, in a Core for its shards.
    pub(super) fn connect_links(&mut self, (inbound, outbound): RingEnds) {
        let Some(member) = frames_carrier(&self.config) else { return };
        let workers = edge_workers(&self.config);
        let owners = match workers {
            0 => Owners { first: 0, count: self.config.shards, is_edge: false },
            count => {
                let first = self.relay_index() + usize::from(self.config.turn.is_some());
                Owners { first, count, is_edge: true }
            }
        };
        let rings = Rings { inbound, outbound, wakers: self.wakers.clone() };
        self.links.connect(member, self.epoch, owners, rings);
    }

    /// The sockets of all threads of an Edge.
    pub(super) fn bind_edges(&mut self) -> Result<Vec<EdgeSockets>, EngineError> {
        let Some(config) = self.config.edge.clone() else { return Ok(Vec::new()) };
        let mut public: Vec<SocketAddr> = Vec::new();
        (0..config.workers).map(|number| self.bind_edge(&config, number, &mut public)).collect()
    }

    /// Public sockets that are those of TURN, too.
    fn shared_with_turn(&self, config: &EdgeConfig) -> Option<SharedWithTurn> {
        let turn = self.config.turn.as_ref()?;
        let shared = config.public_binds.iter().zip(0..).filter(|(text, _)| turn.binds.contains(text));
        Some(SharedWithTurn { relay: self.relay_index(), sockets: shared.map(|(_, id)| SocketId(id)).collect() })
    }

    /// The sockets of an Edge's worker. All workers share the public addresses, which are in `public` once they are known, and
    /// the kernel gives a visitor always to the same one.
    fn bind_edge(
        &mut self,
        config: &EdgeConfig,
        number: usize,
        public: &mut Vec<SocketAddr>,
    ) -> Result<EdgeSockets, EngineError> {
        if number == 0 {
            *public = config.public_binds.iter().map(|text| read_address(text)).collect::<Result<_, _>>()?;
        }
        let buffer = self.config.receive_buffer_bytes;
        let mut sockets = Vec::with_capacity(public.len());
        for (at, address) in public.iter_mut().enumerate() {
            let id = SocketId(u32::try_from(at).unwrap_or(u32::MAX));
            let socket =
                UdpSocket::bind(id, *address, true, buffer).map_err(io_error(format!("cannot bind {address}")))?;
            *address = socket.local();
            if self.config.dscp.video != 0 {
                socket.mark(self.config.dscp.video);
            }
            self.receive_buffer = socket.receive_buffer_bytes() as u64;
            sockets.push(socket);
        }
        let mut link = read_address(&config.link_bind)?;
        if link.port() != 0 {
            link.set_port(link.port().saturating_add(number as u16));
        }
        EdgeSockets::new(sockets, |id| Ok(UdpSocket::bind(id, link, false, buffer)?.for_link()))
            .map_err(io_error(format!("cannot bind {link}")))
    }
}

/// Those, and the thread of the links where it carries frames for them.
pub(super) fn mesh(config: &EngineConfig) -> usize {
    members(config) + usize::from(frames_carrier(config).is_some())
}

/// Index of the thread of the links among those that are connected with each other.
pub(super) fn frames_carrier(config: &EngineConfig) -> Option<u16> {
    let is_wanted = config.edge.is_some() || config.media_over_tls;
    u16::try_from(members(config)).ok().filter(|_| is_wanted)
}

fn read_address(text: &str) -> Result<SocketAddr, EngineError> {
    text.parse().map_err(|_| EngineError::Config(format!("{text} is not ip:port")))
}
