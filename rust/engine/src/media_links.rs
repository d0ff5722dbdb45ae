//! The links of a shard to Edges: their frames become datagrams of visitors, and back.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::rand;
use mediaserver_proto::endpoint::{Endpoint, LinkedPath};
use mediaserver_proto::io::{Carries, Path, ReceiveBatch, Received, SocketId, TransmitQueue};
use mediaserver_proto::link::{CoreEvent, CoreLink, CoreLinkConfig, LinkDrop, LinkDrops, LinkKey, LinkName, Way};
use mediaserver_proto::time::Time;

use crate::counters::{Counters, set};
use crate::event::Event;
use crate::link::way_over;
use crate::link_traffic::LinkTraffic;
use crate::socket::UdpSocket;
use crate::sockets::Sockets;

/// Links of one shard.
const MOST_LINKS: usize = 256;

/// Beside media a visitor sends repairs, reports, checks and data: so much of the media's rate, and so many bytes a second.
const BESIDE_MEDIA: u64 = 4;
const AT_LEAST_BESIDE: u64 = 16_000;

/// Bytes a second that an Edge lets pass for so many bits a second of media.
fn policed(media_bps: u64) -> u32 {
    let media = media_bps / 8;
    u32::try_from(media + media / BESIDE_MEDIA + AT_LEAST_BESIDE).unwrap_or(u32::MAX)
}

/// What a link is opened with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) id: u64,
    pub(crate) edge: SocketAddr,
    pub(crate) bind_ip: IpAddr,
    pub(crate) key: LinkKey,
    pub(crate) path_bytes_per_second: u32,
    /// The link whose TLS connection carries frames, and the number of the Edge's worker.
    pub(crate) tls: Option<(u64, u16)>,
}

/// Why a link cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("limit links")]
    TooMany,
    #[error("the id is in use")]
    InUse,
    #[error("there is no such link")]
    Unknown,
    #[error("no random numbers")]
    Random,
    #[error("cannot bind {0}: {1}")]
    Bind(IpAddr, io::Error),
}

#[derive(Debug)]
struct OpenLink {
    id: u64,
    socket: SocketId,
    tls: Option<Path>,
    link: CoreLink,
}

/// All links of a shard.
#[derive(Debug)]
pub struct CoreLinks {
    core: u16,
    shard: u16,
    /// This life of the Core.
    instance: u64,
    receive_buffer: usize,
    /// Index of the thread that carries frames over TLS.
    carrier: Option<u16>,
    /// By number, which is never given again.
    links: HashMap<u32, OpenLink>,
    by_socket: HashMap<SocketId, u32>,
    by_tls: HashMap<Path, u32>,
    /// By transport: bytes a second that its visitor may send.
    granted: HashMap<u64, u32>,
    next_number: u32,
    /// Ports at Edges, by their ids here: the link that they are reached by, and the transport.
    ports: HashMap<SocketId, (u32, u64)>,
    next_port: u32,
    unpacked: Vec<Received>,
    found: Vec<Received>,
    framed: TransmitQueue<'static>,
    traffic: LinkTraffic,
    /// Paths that Edges have ended.
    closed: VecDeque<Path>,
    drops: LinkDrops,
}

impl CoreLinks {
    /// A shard without links; `instance` is random, and the same for all shards of an engine.
    pub fn new(core: u16, shard: u16, instance: u64, receive_buffer: usize, carrier: Option<u16>) -> CoreLinks {
        CoreLinks {
            core,
            shard,
            instance,
            receive_buffer,
            carrier,
            links: HashMap::new(),
            by_socket: HashMap::new(),
            by_tls: HashMap::new(),
            granted: HashMap::new(),
            next_number: 0,
            ports: HashMap::new(),
            next_port: 0,
            unpacked: Vec::new(),
            found: Vec::new(),
            framed: TransmitQueue::default(),
            traffic: LinkTraffic::default(),
            closed: VecDeque::new(),
            drops: LinkDrops::default(),
        }
    }

    /// Opens a socket for a link and begins it; the socket's id.
    pub(crate) fn open(&mut self, opening: Opening, sockets: &mut Sockets, now: Time) -> Result<SocketId, LinkError> {
        if self.links.len() >= MOST_LINKS {
            return Err(LinkError::TooMany);
        }
        if self.links.values().any(|open| open.id == opening.id) {
            return Err(LinkError::InUse);
        }
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| LinkError::Random)?;
        let socket = sockets.reserve();
        let bound = UdpSocket::bind(socket, SocketAddr::new(opening.bind_ip, 0), false, self.receive_buffer);
        let bound = bound.map_err(|error| {
            sockets.close(socket);
            LinkError::Bind(opening.bind_ip, error)
        })?;
        sockets.put(bound.for_link());
        let number = self.next_number;
        self.next_number += 1;
        let tls = self.carrier.zip(opening.tls).map(|(carrier, (link, worker))| way_over(carrier, link, worker));
        let config = CoreLinkConfig {
            name: LinkName { core: self.core, shard: self.shard },
            instance: self.instance,
            seed,
            key: opening.key,
            socket,
            edge: opening.edge,
            tls,
            number,
            granted: opening.path_bytes_per_second,
        };
        let mut link = CoreLink::new(config, now);
        // It has no path yet, so there is nothing to tell.
        self.granted
            .iter()
            .for_each(|(&transport, &rate)| link.grant(transport, Some(rate), &mut TransmitQueue::default()));
        self.links.insert(number, OpenLink { id: opening.id, socket, tls, link });
        if let Some(tls) = tls {
            self.by_tls.insert(tls, number);
        }
        self.by_socket.insert(socket, number);
        Ok(socket)
    }

    /// Ends a link; false when there is none of this id.
    pub(crate) fn close(&mut self, id: u64, sockets: &mut Sockets) -> bool {
        let Some(number) = self.number_of(id) else { return false };
        if let Some(open) = self.links.remove(&number) {
            self.by_socket.remove(&open.socket);
            if let Some(tls) = open.tls {
                self.by_tls.remove(&tls);
            }
            sockets.close(open.socket);
        }
        true
    }

    /// An Edge has opened a pair of ports for a transport, which the link with `id` leads to; names them here.
    pub(crate) fn open_ports(&mut self, id: u64, transport: u64) -> Result<(SocketId, SocketId), LinkError> {
        let found = self.links.iter_mut().find(|(_, open)| open.id == id);
        let (&number, open) = found.ok_or(LinkError::Unknown)?;
        let (rtp, rtcp) = (SocketId::edge_port(self.next_port), SocketId::edge_port(self.next_port.wrapping_add(1)));
        if self.ports.contains_key(&rtp) {
            return Err(LinkError::TooMany);
        }
        self.next_port = self.next_port.wrapping_add(2);
        open.link.open_ports(transport, [rtp, rtcp]);
        self.ports.insert(rtp, (number, transport));
        self.ports.insert(rtcp, (number, transport));
        Ok((rtp, rtcp))
    }

    /// A transport has ended that had such ports.
    pub(crate) fn close_ports(&mut self, rtp: SocketId, rtcp: SocketId) {
        self.ports.remove(&rtcp);
        if let Some((number, transport)) = self.ports.remove(&rtp)
            && let Some(open) = self.links.get_mut(&number)
        {
            open.link.close_ports(transport);
        }
    }

    /// What admission control grants the visitor of a transport, in bits a second of media above UDP, is what Edges let pass.
    pub fn grant(&mut self, transport: u64, media_bps: Option<u64>, out: &mut TransmitQueue<'_>) {
        let rate = media_bps.map(policed);
        match rate {
            Some(rate) => self.granted.insert(transport, rate),
            None => self.granted.remove(&transport),
        };
        for open in self.links.values_mut() {
            open.link.grant(transport, rate, out);
        }
    }

    /// A transport is gone.
    pub fn forget(&mut self, transport: u64) {
        if self.granted.remove(&transport).is_some() {
            self.links.values_mut().for_each(|open| open.link.forget(transport));
        }
    }

    /// The number of a link, as it is in the sockets of paths.
    pub(crate) fn number_of(&self, id: u64) -> Option<u32> {
        self.links.iter().find(|(_, open)| open.id == id).map(|(&number, _)| number)
    }

    /// Whether a socket is that of a link.
    pub fn has(&self, socket: SocketId) -> bool {
        self.by_socket.contains_key(&socket)
    }

    /// Puts the datagrams of visitors in place of the frames that are in `batch` from `first` on: they came in at the socket
    /// of a link, or over TLS.
    pub fn unpack(&mut self, batch: &mut ReceiveBatch, first: usize, now: Time, out: &mut TransmitQueue<'_>) {
        self.unpacked.clear();
        self.found.clear();
        batch.unpack(first, &mut self.unpacked);
        for run in self.unpacked.chunk_by(|one, next| one.path == next.path) {
            let from = run[0].path;
            let number = match from.socket.carrier() {
                Some(_) => self.by_tls.get(&from),
                None => self.by_socket.get(&from.socket),
            };
            let mut frames = 0;
            match number.and_then(|number| self.links.get_mut(number)) {
                Some(OpenLink { link, .. }) => {
                    for received in run {
                        let datagram = batch.datagram(received);
                        frames += link.handle_datagram(from, datagram, received.start, now, &mut self.found, out);
                    }
                }
                None => run.iter().for_each(|_| self.drops.count(LinkDrop::ForeignSource)),
            }
            self.traffic.received(run, frames);
        }
        for &Received { path, start, len } in &self.found {
            batch.announce(path, start, len);
        }
    }

    /// Whether what comes from the thread with index `from` came over TLS from Edges.
    pub fn is_carrier(&self, from: usize) -> bool {
        self.carrier.is_some_and(|carrier| usize::from(carrier) == from)
    }

    /// Makes frames of those datagrams of `queue` that leave at an Edge.
    pub fn frame(&mut self, queue: &TransmitQueue<'_>) -> &TransmitQueue<'static> {
        self.framed.clear();
        if self.links.is_empty() {
            return &self.framed;
        }
        for entry in queue.entries() {
            let (path, datagram) = (entry.path, queue.datagram(entry));
            if let Some(number) = link_number(&self.ports, path.socket) {
                let Some(open) = self.links.get_mut(&number) else { continue };
                open.link.push(path, entry.carries, datagram, &mut self.framed);
            } else if entry.carries == Carries::Control && self.is_way(path) {
                // What the links themselves have to say.
                self.traffic.sent(entry);
            }
        }
        for entry in self.framed.entries() {
            self.traffic.sent(entry);
        }
        &self.framed
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue<'_>) {
        for open in self.links.values_mut() {
            if open.link.poll_timeout().is_some_and(|due| due <= now) {
                open.link.handle_timeout(now, out);
            }
        }
    }

    /// When [`CoreLinks::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.links.values().filter_map(|open| open.link.poll_timeout()).min()
    }

    /// Tells Edges what the endpoint knows of their paths, and `events` what links say.
    pub fn settle(&mut self, endpoint: &mut Endpoint, now: Time, out: &mut TransmitQueue<'_>, events: &mut Vec<Event>) {
        for open in self.links.values_mut() {
            while let Some(event) = open.link.poll_event() {
                match event {
                    CoreEvent::Up | CoreEvent::OtherWay => {
                        events.push(Event::MediaLinkUp { id: open.id, way: open.link.way().name() });
                    }
                    CoreEvent::Down => events.push(Event::MediaLinkDown { id: open.id }),
                    // The Edge may have lost what the endpoint still has.
                    CoreEvent::Opened(path) if endpoint.is_proven(path) => open.link.prove(path, now, out),
                    CoreEvent::Opened(_) => {}
                    CoreEvent::Closed(path) => self.closed.push_back(path),
                }
            }
            self.drops.merge(&open.link.drops_mut().take());
        }
        while let Some(news) = endpoint.poll_linked_path() {
            match news {
                LinkedPath::Proven(path) => {
                    if let Some(link) = self.link_of(path) {
                        link.prove(path, now, out);
                    }
                }
                LinkedPath::Unbound(path) => {
                    if let Some(link) = self.link_of(path) {
                        link.close_path(path, out);
                    }
                }
            }
        }
    }

    /// A path that an Edge has ended and that the endpoint is to lose.
    pub fn poll_closed(&mut self) -> Option<Path> {
        self.closed.pop_front()
    }

    /// Writes the counters under their names.
    pub fn write(&self, counters: &mut Counters) {
        let links = self.links.values();
        set(counters, "links", self.links.len() as u64);
        let up = links.clone().filter(|open| open.link.is_up());
        set(counters, "links_up", up.clone().count() as u64);
        set(counters, "links_over_tls", up.filter(|open| open.link.way() == Way::Tls).count() as u64);
        self.traffic.write(counters);
        set(counters, "link_paths", links.map(|open| open.link.paths() as u64).sum());
        for (reason, value) in self.drops.iter() {
            set(counters, &format!("drop.{reason}"), value);
        }
    }

    /// Whether frames leave by this path.
    fn is_way(&self, path: Path) -> bool {
        self.has(path.socket) || self.by_tls.contains_key(&path)
    }

    fn link_of(&mut self, path: Path) -> Option<&mut CoreLink> {
        self.links.get_mut(&link_number(&self.ports, path.socket)?).map(|open| &mut open.link)
    }
}

/// The link by which leaves what leaves by a socket, when that is at an Edge.
fn link_number(ports: &HashMap<SocketId, (u32, u64)>, socket: SocketId) -> Option<u32> {
    if socket.is_edge_port() {
        return ports.get(&socket).map(|(number, _)| *number);
    }
    socket.link()
}
