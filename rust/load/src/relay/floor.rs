//! Lanes through the limit program, which knows everybody by their ports.

use std::net::{Ipv4Addr, SocketAddr};

use mediaserver_proto::link::frame::frames;
use mediaserver_proto::path::PathId;
use mediaserver_proto::time::Time;

use super::ends::Ends;
use super::lanes::{Found, Lanes, Way};
use super::turn::{channel_data, unwrap_channel_data};
use super::visitors::Wires;
use crate::net::{Inbox, Socket};

fn open(port: u16, remote: SocketAddr) -> Result<Socket, String> {
    let socket = Socket::open(port).and_then(|socket| socket.connected(remote));
    socket.map_err(|error| format!("port {port}: {error}"))
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// As a TURN server with channels; nobody has to ask it for anything.
#[derive(Debug)]
pub(super) struct TurnFloor {
    ends: Ends,
    out: Vec<u8>,
}

impl TurnFloor {
    pub(super) fn new(
        server: SocketAddr,
        relayed: u16,
        clients: u16,
        peers: u16,
        count: u16,
    ) -> Result<TurnFloor, String> {
        let mut ends = Ends::new()?;
        for lane in 0..count {
            ends.push(open(clients + lane, server)?, open(peers + lane, local(relayed + lane))?)?;
        }
        Ok(TurnFloor { ends, out: Vec::new() })
    }
}

impl Lanes for TurnFloor {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn send(&mut self, lane: usize, way: Way, payloads: &[u8], bytes: usize) -> Result<(), String> {
        if way == Way::Down {
            return self.ends.send(lane, way, payloads, bytes);
        }
        self.out.clear();
        payloads.chunks_exact(bytes).for_each(|payload| channel_data(&mut self.out, payload));
        let piece = self.out.len() * bytes / payloads.len();
        self.ends.send(lane, way, &self.out, piece)
    }

    fn receive(&mut self, inbox: &mut Inbox, _now: Time, found: &mut Found<'_>) -> Result<(), String> {
        self.ends.receive(inbox, &mut |way, datagram, arrived| match way {
            Way::Up => found(datagram, arrived),
            Way::Down => found(unwrap_channel_data(datagram), arrived),
        })
    }

    fn tell_arrival(&self, on: bool) -> Result<(), String> {
        self.ends.tell_arrival(on)
    }
}

/// As an Edge, with one socket for the Core.
#[derive(Debug)]
pub(super) struct EdgeFloor {
    wires: Wires,
    out: Vec<u8>,
}

impl EdgeFloor {
    pub(super) fn new(
        public: SocketAddr,
        link: SocketAddr,
        core: u16,
        visitors: u16,
        count: u16,
    ) -> Result<EdgeFloor, String> {
        let mut wires = Wires::new(open(core, link)?)?;
        for lane in 0..count {
            wires.push(open(visitors + lane, public)?)?;
        }
        Ok(EdgeFloor { wires, out: Vec::new() })
    }
}

impl Lanes for EdgeFloor {
    fn count(&self) -> usize {
        self.wires.len()
    }

    fn send(&mut self, lane: usize, way: Way, payloads: &[u8], bytes: usize) -> Result<(), String> {
        match way {
            Way::Up => self.wires.send_up(lane, payloads, bytes),
            Way::Down => self.wires.send_down(PathId::new(lane as u16, 1), payloads, bytes, &mut self.out),
        }
    }

    fn receive(&mut self, inbox: &mut Inbox, _now: Time, found: &mut Found<'_>) -> Result<(), String> {
        self.wires.receive_down(inbox, found)?;
        self.wires.receive_up(inbox, &mut |datagram, arrived| {
            for frame in frames(datagram).map_while(Result::ok) {
                found(frame.body(), arrived);
            }
        })
    }

    fn tell_arrival(&self, on: bool) -> Result<(), String> {
        self.wires.tell_arrival(on)
    }
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::link::frame::{FrameKind, HEADER, Header};

    use super::*;

    #[test]
    fn frames_have_the_header_that_the_limit_program_reads() {
        let head = Header::new(FrameKind::Data, 172, PathId::new(5, 1)).write();
        assert_eq!((head.len(), head), (HEADER, [1, 0, 0, 172, 0, 1, 0, 5]));
    }
}
