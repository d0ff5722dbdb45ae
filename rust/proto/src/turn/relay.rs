//! Data between clients and peers: nothing here takes memory of its own.

use std::net::SocketAddr;

use super::channel_data;
use super::drops::TurnDrop;
use super::ports::PseudoPorts;
use super::server::{Outputs, Server};
use crate::io::{Path, SocketId};
use crate::stun::{Class, Message, TransactionId, Writer, attribute, method};
use crate::time::Time;

/// What was relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams from clients to peers.
    pub packets_to_peers: u64,
    /// Bytes of data in them.
    pub bytes_to_peers: u64,
    /// Datagrams from peers to clients.
    pub packets_to_clients: u64,
    /// Bytes of data in them.
    pub bytes_to_clients: u64,
}

impl Server {
    /// RFC 8656 §12.6: data to the peer that a number names.
    pub(super) fn relay_channel_data(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let (number, data) = channel_data::parse(datagram)?;
        let index = *self.by_client.get(&path).ok_or(TurnDrop::NoAllocation)?;
        let allocation = self.allocations.get(index).ok_or(TurnDrop::NoAllocation)?;
        let peer = allocation.channels.peer(number, now).ok_or(TurnDrop::NoChannel)?;
        self.relay_to_peer(index, peer, data, out)
    }

    /// RFC 8656 §11.2: data to a peer that is named by its address.
    pub(super) fn relay_send(
        &mut self,
        path: Path,
        message: &Message<'_>,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let index = *self.by_client.get(&path).ok_or(TurnDrop::NoAllocation)?;
        let (mut peer, mut data) = (None, None);
        for attribute in message.attributes() {
            match attribute.kind {
                // RFC 8489 §14: of attributes that come twice the first one counts.
                attribute::XOR_PEER_ADDRESS => peer = peer.or(Some(attribute.value)),
                attribute::DATA => data = data.or(Some(attribute.value)),
                // DONT-FRAGMENT among them: it is not offered, so it is unknown (RFC 8656 §11.2).
                kind if kind < 0x8000 => return Err(TurnDrop::UnknownAttribute),
                _ => {}
            }
        }
        let peer = peer.and_then(|value| message.read_xor_address(value)).ok_or(TurnDrop::Malformed)?;
        let data = data.ok_or(TurnDrop::Malformed)?;
        let allocation = self.allocations.get(index).ok_or(TurnDrop::NoAllocation)?;
        if !allocation.is_of_family(peer) {
            return Err(TurnDrop::PeerFamily);
        }
        if !allocation.permissions.contains(peer.ip(), now) {
            return Err(TurnDrop::NoPermission);
        }
        // The permission is one for an address; ports have their own rules.
        if !self.peers.admits(peer) {
            return Err(TurnDrop::PeerDenied);
        }
        self.relay_to_peer(index, peer, data, out)
    }

    fn relay_to_peer(
        &mut self,
        index: usize,
        peer: SocketAddr,
        data: &[u8],
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let relayed = self.allocations.get(index).ok_or(TurnDrop::NoAllocation)?.relayed;
        match self.peers.inner_by_address(peer) {
            Some(inner) => out.inward.push(Path { socket: inner.socket, remote: relayed.address }, data),
            None => out.transmit.push(Path { socket: relayed.socket, remote: peer }, data),
        }
        self.traffic.packets_to_peers += 1;
        self.traffic.bytes_to_peers += data.len() as u64;
        Ok(())
    }

    /// Takes a datagram that a peer sent to the relayed address behind `socket`.
    pub fn handle_relayed(
        &mut self,
        socket: SocketId,
        peer: SocketAddr,
        data: &[u8],
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) {
        if let Err(reason) = self.relay_to_client(socket, peer, data, now, out) {
            self.drops.count(reason);
        }
    }

    /// Takes a datagram from inside the process: `path` names the inner peer that sends it, and the relayed address.
    pub fn handle_inward(&mut self, path: Path, data: &[u8], now: Time, out: &mut Outputs<'_, '_>) {
        let Some(peer) = self.peers.inner_by_socket(path.socket).map(|peer| peer.address) else {
            return self.drops.count(TurnDrop::NoRelay);
        };
        self.handle_relayed(PseudoPorts::socket(path.remote), peer, data, now, out);
    }

    fn relay_to_client(
        &mut self,
        socket: SocketId,
        peer: SocketAddr,
        data: &[u8],
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let index = *self.by_relay.get(&socket).ok_or(TurnDrop::NoRelay)?;
        let allocation = self.allocations.get(index).ok_or(TurnDrop::NoRelay)?;
        let client = allocation.client;
        // RFC 8656 §12.7, §11.3: a permission is needed either way.
        if !allocation.permissions.contains(peer.ip(), now) {
            return Err(TurnDrop::UnpermittedPeer);
        }
        let number = allocation.channels.number(peer, now);
        let random = &mut self.random;
        let written = out.transmit.push_with(client, |bytes| {
            // A length field has 16 bits; no datagram of UDP is longer.
            if data.len() > usize::from(u16::MAX) - 64 {
                return Err(TurnDrop::Malformed);
            }
            match number {
                Some(number) => channel_data::write(bytes, number, data, is_stream(client)),
                None => {
                    let mut transaction = [0u8; 12];
                    random.fill(&mut transaction);
                    Writer::new(bytes, Class::Indication, method::DATA, TransactionId(transaction))
                        .xor_address(attribute::XOR_PEER_ADDRESS, peer)
                        .attribute(attribute::DATA, data)
                        .finish();
                }
            }
            Ok(())
        });
        written?;
        self.traffic.packets_to_clients += 1;
        self.traffic.bytes_to_clients += data.len() as u64;
        Ok(())
    }
}

/// Whether a client is reached by a stream: its datagrams are carried to this server by whoever owns the streams.
fn is_stream(client: Path) -> bool {
    client.socket.carrier().is_some()
}
