//! The sockets that TURN clients send to.

use std::io;
use std::net::SocketAddr;

use mediaserver_proto::io::SocketId;

use super::FIRST_RELAYED_SOCKET;
use crate::socket::UdpSocket;

/// The sockets by id.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<UdpSocket>);

impl Listeners {
    /// Binds all addresses.
    pub(super) fn bind(addresses: &[SocketAddr], buffer_bytes: usize) -> Result<Listeners, (SocketAddr, io::Error)> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for (index, &address) in addresses.iter().enumerate() {
            let id = SocketId(u32::try_from(index).unwrap_or(FIRST_RELAYED_SOCKET - 1));
            let socket = UdpSocket::bind(id, address, false, buffer_bytes).map_err(|error| (address, error))?;
            socket.join_datagrams();
            sockets.push(socket);
        }
        Ok(Listeners(sockets))
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, UdpSocket> {
        self.0.iter()
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&UdpSocket> {
        self.0.get(id.0 as usize)
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut UdpSocket> {
        self.0.get_mut(id.0 as usize)
    }
}
