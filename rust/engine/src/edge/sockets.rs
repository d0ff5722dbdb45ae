//! The sockets of an Edge's worker: public ones, the one towards Cores, and those of ports.

use std::io;

use mediaserver_proto::io::SocketId;

use crate::event::Address;
use crate::socket::UdpSocket;
use crate::sockets::Sockets;

/// See the module.
#[derive(Debug)]
pub struct EdgeSockets {
    sockets: Sockets,
    link: SocketId,
}

impl EdgeSockets {
    /// The public ones, in the order of their ids, and what makes the one towards Cores, given its id.
    pub fn new(
        public: Vec<UdpSocket>,
        bind_link: impl FnOnce(SocketId) -> io::Result<UdpSocket>,
    ) -> io::Result<EdgeSockets> {
        let mut sockets = Sockets::new(public);
        let link = sockets.reserve();
        sockets.put(bind_link(link)?);
        Ok(EdgeSockets { sockets, link })
    }

    /// All of them.
    pub(super) fn all(&self) -> &Sockets {
        &self.sockets
    }

    /// The same, to open and close some.
    pub(super) fn all_mut(&mut self) -> &mut Sockets {
        &mut self.sockets
    }

    /// The one towards Cores.
    pub fn link(&self) -> SocketId {
        self.link
    }

    /// The public ones.
    pub fn public(&self) -> &[UdpSocket] {
        self.sockets.shared()
    }

    /// Where Cores reach it.
    pub(super) fn link_address(&self) -> Option<Address> {
        self.sockets.get(self.link).map(|socket| socket.local().into())
    }
}
