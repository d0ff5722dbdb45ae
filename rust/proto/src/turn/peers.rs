//! Whom a relay leads to: into this process only, or out into the world.

use std::net::{IpAddr, SocketAddr};

use super::peer_policy::PeerPolicy;
use crate::io::SocketId;

/// A peer inside: one of the media addresses that this installation announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerPeer {
    /// As clients know it.
    pub address: SocketAddr,
    /// The carried socket on which its datagrams come in to the process, and leave it.
    pub socket: SocketId,
}

/// The two kinds of relay.
#[derive(Clone, Debug)]
pub enum Peers {
    /// Relayed addresses are numbers; data goes into the process, to these peers and nobody else.
    Closed(Vec<InnerPeer>),
    /// Relayed addresses are real; the policy says who can be reached.
    Open(PeerPolicy),
}

impl Peers {
    /// Whether a permission may be given for this address.
    pub(super) fn admits_ip(&self, ip: IpAddr) -> bool {
        match self {
            Peers::Closed(peers) => peers.iter().any(|peer| peer.address.ip() == ip),
            Peers::Open(policy) => policy.admits_ip(ip),
        }
    }

    /// Whether data may go to this address and port.
    pub(super) fn admits(&self, peer: SocketAddr) -> bool {
        match self {
            Peers::Closed(_) => self.inner_by_address(peer).is_some(),
            Peers::Open(policy) => policy.admits(peer),
        }
    }

    /// The inner peer with this address.
    pub(super) fn inner_by_address(&self, address: SocketAddr) -> Option<&InnerPeer> {
        let Peers::Closed(peers) = self else { return None };
        peers.iter().find(|peer| peer.address == address)
    }

    /// The inner peer behind this carried socket.
    pub(super) fn inner_by_socket(&self, socket: SocketId) -> Option<&InnerPeer> {
        let Peers::Closed(peers) = self else { return None };
        peers.iter().find(|peer| peer.socket == socket)
    }
}
