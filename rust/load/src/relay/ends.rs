//! The sockets at both ends of many lanes.

use std::io;
use std::os::fd::AsRawFd;

use super::lanes::{Found, Way};
use crate::net::{BATCH, Inbox, Poll, Socket};

/// As `Found`, with the way by which it came.
pub(super) type FoundByWay<'a> = dyn FnMut(Way, &[u8], Option<u64>) + 'a;

/// A client's socket and its peer's, each connected to where it sends.
#[derive(Debug)]
pub(super) struct Ends {
    lanes: Vec<[Socket; 2]>,
    poll: Poll,
    ready: Vec<u64>,
}

impl Ends {
    pub(super) fn new() -> Result<Ends, String> {
        let poll = Poll::new([]).map_err(|error| format!("epoll: {error}"))?;
        Ok(Ends { lanes: Vec::new(), poll, ready: Vec::new() })
    }

    pub(super) fn push(&mut self, client: Socket, peer: Socket) -> Result<(), String> {
        let name = self.lanes.len() as u64 * 2;
        for (socket, name) in [(&client, name), (&peer, name + 1)] {
            self.poll.add(socket.as_raw_fd(), name).map_err(|error| format!("epoll: {error}"))?;
        }
        self.lanes.push([client, peer]);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn client(&self, lane: usize) -> &Socket {
        &self.lanes[lane][0]
    }

    /// Sends what has been made of payloads: datagrams of `piece` bytes.
    pub(super) fn send(&self, lane: usize, way: Way, bytes: &[u8], piece: usize) -> Result<(), String> {
        let socket = &self.lanes[lane][usize::from(way == Way::Down)];
        sent(if bytes.len() > piece { socket.send_joined(bytes, piece) } else { socket.send(bytes) })
    }

    /// Shows each datagram that came, and by which way.
    pub(super) fn receive(&mut self, inbox: &mut Inbox, found: &mut FoundByWay<'_>) -> Result<(), String> {
        let Ends { lanes, poll, ready } = self;
        ready.clear();
        ready.extend_from_slice(poll.wait(0).map_err(|error| format!("epoll: {error}"))?);
        for &name in &*ready {
            let way = if name % 2 == 0 { Way::Down } else { Way::Up };
            each(inbox, &lanes[name as usize / 2][(name % 2) as usize], &mut |bytes, arrived| {
                found(way, bytes, arrived);
            })?;
        }
        Ok(())
    }

    pub(super) fn tell_arrival(&self, on: bool) -> Result<(), String> {
        let result: io::Result<()> = self.lanes.iter().flatten().try_for_each(|socket| socket.tell_arrival(on));
        result.map_err(|error| format!("timing: {error}"))
    }
}

/// Shows each datagram that waits at a socket.
pub(super) fn each(inbox: &mut Inbox, socket: &Socket, found: &mut Found<'_>) -> Result<(), String> {
    loop {
        let count = match inbox.receive(socket) {
            Ok(count) => count,
            // A port that was closed: as good as no packet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => 0,
            Err(error) => return Err(format!("receive: {error}")),
        };
        for index in 0..count {
            let arrived = inbox.arrived_ns(index);
            found(inbox.datagram(index).1, arrived);
        }
        if count < BATCH {
            return Ok(());
        }
    }
}

/// What is sent to a full socket is lost, as on a network, and so is what is sent to a closed port.
pub(super) fn sent(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {
            Err(format!("send: {error}"))
        }
        _ => Ok(()),
    }
}
