//! What a relay is made of: its part of the configuration, read and checked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use mediaserver_proto::io::SocketId;
use mediaserver_proto::turn::{
    InnerPeer, Limits, MOST_REALM, Network, PeerPolicy, Peers, PseudoPorts, RelayPorts, Server, ServerConfig,
};

use super::listeners::Listeners;
use super::open_ports::OpenPorts;
use crate::config::{OpenRelay, TurnConfig};
use crate::engine::{EngineError, io_error, read_addresses, read_ip};

/// Numbers of relayed addresses that are never opened: the ports that no media of this installation has by default.
const PSEUDO_PORTS: (u16, u16) = (49_152, 65_535);

/// A relay, before its thread runs.
#[derive(Debug)]
pub struct RelaySetup {
    pub(super) server: Server,
    pub(super) ports: Ports,
    pub(super) listeners: Listeners,
}

/// Where relayed addresses come from.
#[derive(Debug)]
pub(super) enum Ports {
    Closed(PseudoPorts),
    Open(OpenPorts),
}

impl Ports {
    pub(super) fn as_relay_ports(&mut self) -> &mut dyn RelayPorts {
        match self {
            Ports::Closed(ports) => ports,
            Ports::Open(ports) => ports,
        }
    }

    pub(super) fn open(&self) -> Option<&OpenPorts> {
        match self {
            Ports::Closed(_) => None,
            Ports::Open(ports) => Some(ports),
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut OpenPorts> {
        match self {
            Ports::Closed(_) => None,
            Ports::Open(ports) => Some(ports),
        }
    }
}

impl RelaySetup {
    /// Reads the configuration and binds the sockets that are the relay's `own`. `member` is the thread's index among all,
    /// `inner` are the media addresses that a closed relay leads to, `unix_epoch` is the time of day at `Time::ZERO`.
    pub fn new(
        config: &TurnConfig,
        own: &[String],
        member: u16,
        inner: &[SocketAddr],
        unix_epoch: Duration,
        buffer_bytes: usize,
    ) -> Result<RelaySetup, EngineError> {
        if config.realm.is_empty() || config.realm.len() > MOST_REALM {
            return Err(EngineError::Config(format!("turn: realm must have 1 to {MOST_REALM} bytes")));
        }
        let binds = read_addresses("turn", &config.binds)?;
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| EngineError::Config("turn: no random numbers".to_owned()))?;
        let mut order = [0; 8];
        rand::fill(&mut order).map_err(|_| EngineError::Config("turn: no random numbers".to_owned()))?;
        let order = u64::from_ne_bytes(order);
        let (peers, ports) = match &config.open {
            Some(open) => open_relay(open, &binds, order)?,
            None => closed_relay(inner, member, order),
        };
        let own = read_addresses("turn", own)?;
        let listeners = Listeners::bind(&own, buffer_bytes)
            .map_err(|(address, error)| io_error(format!("cannot bind {address}"))(error))?;
        let server = Server::new(ServerConfig {
            realm: config.realm.clone(),
            secrets: config.secrets.iter().map(|secret| secret.to_vec()).collect(),
            users: config.users.clone(),
            peers,
            limits: Limits {
                allocations: config.allocations,
                allocations_per_user: config.allocations_per_user,
                answers_per_second: config.answers_per_second,
            },
            unix_epoch,
            seed,
        });
        Ok(RelaySetup { server, ports, listeners })
    }
}

fn closed_relay(inner: &[SocketAddr], member: u16, order: u64) -> (Peers, Ports) {
    let peers = inner.iter().zip(0..);
    let peers = peers.map(|(&address, number)| InnerPeer { address, socket: SocketId::carried(member, number) });
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in inner.iter().map(SocketAddr::ip) {
        // One of each family is enough.
        if !ips.iter().any(|known| known.is_ipv4() == ip.is_ipv4()) {
            ips.push(ip);
        }
    }
    let ports = PseudoPorts::new(&ips, PSEUDO_PORTS.0, PSEUDO_PORTS.1, order);
    (Peers::Closed(peers.collect()), Ports::Closed(ports))
}

fn open_relay(open: &OpenRelay, binds: &[SocketAddr], order: u64) -> Result<(Peers, Ports), EngineError> {
    let mut addresses = Vec::with_capacity(open.addresses.len());
    for (bind, announced) in &open.addresses {
        addresses.push((read_ip("turn", bind)?, read_ip("turn", announced)?));
    }
    let mut own = binds.to_vec();
    for &(bind, announced) in &addresses {
        own.extend(binds.iter().filter(|listener| listener.ip() == bind).map(|listener| {
            // As others see it, where a router stands in between.
            SocketAddr::new(announced, listener.port())
        }));
    }
    let policy = PeerPolicy { allowed: read_networks(&open.allowed)?, denied: read_networks(&open.denied)?, own };
    Ok((Peers::Open(policy), Ports::Open(OpenPorts::new(&addresses, open.ports, order))))
}

fn read_networks(texts: &[String]) -> Result<Vec<Network>, EngineError> {
    let read = |text: &String| {
        let (ip, bits) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let bits: u8 = bits.parse().ok().filter(|&bits| bits <= if ip.is_ipv4() { 32 } else { 128 })?;
        Some(Network::new(ip, bits))
    };
    let network = |text| read(text).ok_or_else(|| EngineError::Config(format!("turn: {text} is not a network")));
    texts.iter().map(network).collect()
}
