//! Real sockets behind relayed addresses, opened one for each allocation.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mediaserver_proto::io::SocketId;
use mediaserver_proto::turn::{Family, OpenedPorts, PortTable, PortWish, RelayPorts, Relayed};

use super::FIRST_RELAYED_SOCKET;
use crate::socket::UdpSocket;

/// SO_RCVBUF of a relayed socket, in bytes: a second of video.
const BUFFER_BYTES: usize = 512 * 1024;
/// Ports tried for one allocation when others on this host hold some of the range.
const TRIES: usize = 16;

/// Where relayed addresses are: bound here, and told to clients as that.
#[derive(Debug)]
struct RelayAddress {
    bind: IpAddr,
    announced: IpAddr,
    ports: PortTable,
}

/// The sockets, and the ports that are left.
#[derive(Debug, Default)]
pub(super) struct OpenPorts {
    addresses: Vec<RelayAddress>,
    sockets: Vec<Option<UdpSocket>>,
    free: Vec<usize>,
    /// Opened since [`OpenPorts::take_opened`] was called: they wait to be polled.
    opened: Vec<SocketId>,
}

impl OpenPorts {
    /// Ports `first..=last` of each address, which is bound as the first of a pair and announced as the second.
    pub(super) fn new(addresses: &[(IpAddr, IpAddr)], (first, last): (u16, u16), seed: u64) -> OpenPorts {
        let addresses = addresses.iter().zip(0..);
        let addresses = addresses.map(|(&(bind, announced), number)| RelayAddress {
            bind,
            announced,
            ports: PortTable::new(first, last, seed ^ number),
        });
        OpenPorts { addresses: addresses.collect(), ..OpenPorts::default() }
    }

    /// Sockets that are to be polled from now on.
    pub(super) fn take_opened(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.opened)
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&UdpSocket> {
        self.sockets.get(id.0.checked_sub(FIRST_RELAYED_SOCKET)? as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut UdpSocket> {
        self.sockets.get_mut(id.0.checked_sub(FIRST_RELAYED_SOCKET)? as usize)?.as_mut()
    }

    /// Binds a port, and the next one if that is to be kept; gives neither when one of them is somebody else's.
    fn bind(&mut self, address: usize, port: u16, pair: bool) -> io::Result<OpenedPorts> {
        let first = self.bind_one(address, port)?;
        let reserved = if pair {
            match self.bind_one(address, port + 1) {
                Ok(second) => Some(second),
                Err(error) => {
                    self.drop_socket(first.socket);
                    return Err(error);
                }
            }
        } else {
            None
        };
        Ok(OpenedPorts { relayed: first, reserved })
    }

    fn bind_one(&mut self, address: usize, port: u16) -> io::Result<Relayed> {
        let RelayAddress { bind, announced, .. } = self.addresses[address];
        let index = self.free.pop().unwrap_or(self.sockets.len());
        let id = SocketId(FIRST_RELAYED_SOCKET + index as u32);
        match UdpSocket::bind(id, SocketAddr::new(bind, port), false, BUFFER_BYTES) {
            Ok(socket) => {
                socket.join_datagrams();
                if index == self.sockets.len() {
                    self.sockets.push(None);
                }
                self.sockets[index] = Some(socket);
                self.opened.push(id);
                Ok(Relayed { socket: id, address: SocketAddr::new(announced, port) })
            }
            Err(error) => {
                if index < self.sockets.len() {
                    self.free.push(index);
                }
                Err(error)
            }
        }
    }

    fn drop_socket(&mut self, id: SocketId) {
        let Some(index) = id.0.checked_sub(FIRST_RELAYED_SOCKET).map(|index| index as usize) else { return };
        if self.sockets.get_mut(index).and_then(Option::take).is_some() {
            self.free.push(index);
        }
    }
}

impl RelayPorts for OpenPorts {
    fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| Family::of(address.announced) == family)
    }

    fn open(&mut self, wish: PortWish) -> Option<OpenedPorts> {
        let address = self.addresses.iter().position(|address| Family::of(address.announced) == wish.family)?;
        for _ in 0..TRIES {
            let port = self.addresses[address].ports.take(wish.even, wish.reserve_next)?;
            if let Ok(opened) = self.bind(address, port, wish.reserve_next) {
                return Some(opened);
            }
            // Somebody else's, or no more descriptors: behind all others.
            let ports = &mut self.addresses[address].ports;
            ports.give_back(port);
            if wish.reserve_next {
                ports.give_back(port + 1);
            }
        }
        None
    }

    fn close(&mut self, relayed: Relayed) {
        self.drop_socket(relayed.socket);
        if let Some(address) = self.addresses.iter_mut().find(|address| address.announced == relayed.address.ip()) {
            address.ports.give_back(relayed.address.port());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const WISH: PortWish = PortWish { family: Family::V4, even: false, reserve_next: false };

    #[test]
    fn a_socket_is_bound_and_closed_with_its_allocation() {
        let announced = "203.0.113.1".parse().unwrap();
        let mut ports = OpenPorts::new(&[(IP, announced)], (32_100, 32_103), 1);
        let pair = ports.open(PortWish { even: true, reserve_next: true, ..WISH }).unwrap();
        let reserved = pair.reserved.unwrap();
        assert_eq!(pair.relayed.address.port() + 1, reserved.address.port());
        assert_eq!(pair.relayed.address.ip(), announced);
        let local = ports.get(pair.relayed.socket).unwrap().local();
        assert_eq!(local, SocketAddr::new(IP, pair.relayed.address.port()));
        assert_eq!(ports.take_opened().len(), 2);
        assert!(std::net::UdpSocket::bind(local).is_err());
        ports.close(pair.relayed);
        assert!(ports.get(pair.relayed.socket).is_none());
        assert!(std::net::UdpSocket::bind(local).is_ok());
        assert!(!ports.has(Family::V6) && ports.open(PortWish { family: Family::V6, ..WISH }).is_none());
    }

    #[test]
    fn a_port_that_somebody_else_holds_is_passed_over() {
        let held = std::net::UdpSocket::bind("127.0.0.1:32111").unwrap();
        let mut ports = OpenPorts::new(&[(IP, IP)], (32_110, 32_111), 1);
        let pair = PortWish { even: true, reserve_next: true, ..WISH };
        assert!(ports.open(pair).is_none(), "half a pair is none");
        assert_eq!(ports.open(WISH).unwrap().relayed.address.port(), 32_110);
        assert!(ports.open(WISH).is_none());
        drop(held);
        assert_eq!(ports.open(WISH).unwrap().relayed.address.port(), 32_111);
    }
}
