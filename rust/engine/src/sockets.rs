//! The sockets of a shard: those that all shards share, and those of one transport each.

use mediaserver_proto::io::SocketId;

use crate::socket::UdpSocket;

/// First id of sockets that belong to one transport; below are those that all shards share.
pub const FIRST_OWN_SOCKET: u32 = 1 << 16;

/// All sockets of a shard by id.
#[derive(Debug, Default)]
pub struct Sockets {
    shared: Vec<UdpSocket>,
    own: Vec<Option<UdpSocket>>,
    free: Vec<u32>,
}

impl Sockets {
    /// The shared sockets, in the order of their ids.
    pub fn new(shared: Vec<UdpSocket>) -> Sockets {
        Sockets { shared, own: Vec::new(), free: Vec::new() }
    }

    /// Those that all shards share.
    pub fn shared(&self) -> &[UdpSocket] {
        &self.shared
    }

    /// Two ids for sockets of one transport.
    pub fn reserve_pair(&mut self) -> (SocketId, SocketId) {
        (self.reserve(), self.reserve())
    }

    /// An id for a socket of its own.
    pub fn reserve(&mut self) -> SocketId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.own.push(None);
            u32::try_from(self.own.len() - 1).unwrap_or(u32::MAX - FIRST_OWN_SOCKET)
        });
        SocketId(FIRST_OWN_SOCKET + index)
    }

    /// Puts a socket under its reserved id.
    pub fn put(&mut self, socket: UdpSocket) {
        if let Some(place) = self.place(socket.id()) {
            *place = Some(socket);
        }
    }

    /// Closes a socket (or gives up its reserved id).
    pub fn close(&mut self, id: SocketId) -> Option<UdpSocket> {
        let socket = self.place(id)?.take();
        self.free.push(id.0 - FIRST_OWN_SOCKET);
        socket
    }

    fn place(&mut self, id: SocketId) -> Option<&mut Option<UdpSocket>> {
        self.own.get_mut(id.0.checked_sub(FIRST_OWN_SOCKET)? as usize)
    }

    /// The socket with this id.
    pub fn get(&self, id: SocketId) -> Option<&UdpSocket> {
        match id.0.checked_sub(FIRST_OWN_SOCKET) {
            None => self.shared.get(id.0 as usize),
            Some(index) => self.own.get(index as usize)?.as_ref(),
        }
    }

    /// The same, to receive from it.
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut UdpSocket> {
        match id.0.checked_sub(FIRST_OWN_SOCKET) {
            None => self.shared.get_mut(id.0 as usize),
            Some(index) => self.own.get_mut(index as usize)?.as_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_that_was_given_up_is_given_again_and_names_nothing_meanwhile() {
        let mut sockets = Sockets::default();
        let (rtp, rtcp) = sockets.reserve_pair();
        sockets.put(UdpSocket::bind(rtp, "127.0.0.1:0".parse().unwrap(), false, 4096).unwrap());
        assert!(sockets.get(rtp).is_some() && sockets.get(rtcp).is_none());
        assert!(sockets.close(rtp).is_some());
        assert!(sockets.get(rtp).is_none());
        assert_eq!(sockets.reserve(), rtp);
    }
}
