//! The relay: a UDP port per line; each client behind it gets a socket of its own towards the target.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use crate::line::{Line, Nanos, Shape};

/// Clients of one line; what comes from more is dropped and counted.
const MOST_CLIENTS: usize = 256;
/// Datagrams taken from one socket before others have their turn.
const TURN: usize = 64;
const LONGEST: usize = 65_536;

/// One line with both directions.
#[derive(Debug)]
pub struct Relay {
    socket: UdpSocket,
    target: SocketAddr,
    clients: Vec<(SocketAddr, UdpSocket)>,
    by_address: HashMap<SocketAddr, usize>,
    /// From the clients to the target.
    pub up: Line<usize>,
    /// From the target to the clients.
    pub down: Line<usize>,
    refused: u64,
    buffer: Vec<u8>,
}

impl Relay {
    /// Listens on `bind` (port 0: any) for what is meant for `target`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn new(bind: SocketAddr, target: SocketAddr, seed: u64) -> io::Result<Relay> {
        let socket = UdpSocket::bind(bind)?;
        prepare(&socket)?;
        Ok(Relay {
            socket,
            target,
            clients: Vec::new(),
            by_address: HashMap::new(),
            up: Line::new(seed),
            down: Line::new(seed.wrapping_add(1)),
            refused: 0,
            buffer: vec![0; LONGEST],
        })
    }

    /// Where clients send.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sockets to watch for input.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        std::iter::once(self.socket.as_raw_fd()).chain(self.clients.iter().map(|(_, socket)| socket.as_raw_fd()))
    }

    /// Takes what the sockets have and gives on what has arrived.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being empty, full or refused by a peer that is gone.
    pub fn turn(&mut self, now: Nanos) -> io::Result<()> {
        for _ in 0..TURN {
            let Some((len, from)) = read(self.socket.recv_from(&mut self.buffer))? else { break };
            if let Some(client) = self.client(from)? {
                self.up.send(self.buffer[..len].to_vec(), client, now);
            }
        }
        for (client, (_, socket)) in self.clients.iter().enumerate() {
            for _ in 0..TURN {
                let Some(len) = read(socket.recv(&mut self.buffer))? else { break };
                self.down.send(self.buffer[..len].to_vec(), client, now);
            }
        }
        while let Some((packet, client)) = self.up.poll(now) {
            // A full socket drops, as a network would.
            read(self.clients[client].1.send(&packet))?;
        }
        while let Some((packet, client)) = self.down.poll(now) {
            read(self.socket.send_to(&packet, self.clients[client].0))?;
        }
        Ok(())
    }

    /// When [`Relay::turn`] is to be called at the latest.
    pub fn timeout(&self) -> Option<Nanos> {
        [self.up.poll_timeout(), self.down.poll_timeout()].into_iter().flatten().min()
    }

    /// Changes both directions, or one.
    pub fn reshape(&mut self, up: Option<Shape>, down: Option<Shape>, now: Nanos) {
        if let Some(shape) = up {
            self.up.reshape(shape, now);
        }
        if let Some(shape) = down {
            self.down.reshape(shape, now);
        }
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let part = |line: &Line<usize>| {
            let counts = line.counts();
            format!(
                "{{\"delivered\": {}, \"bytes\": {}, \"lost\": {}, \"overflowed\": {}, \"inside\": {}}}",
                counts.delivered,
                counts.bytes,
                counts.lost,
                counts.overflowed,
                line.inside()
            )
        };
        format!(
            "{{\"up\": {}, \"down\": {}, \"clients\": {}, \"refused\": {}}}",
            part(&self.up),
            part(&self.down),
            self.clients.len(),
            self.refused
        )
    }

    fn client(&mut self, from: SocketAddr) -> io::Result<Option<usize>> {
        if let Some(&client) = self.by_address.get(&from) {
            return Ok(Some(client));
        }
        if self.clients.len() == MOST_CLIENTS {
            self.refused += 1;
            return Ok(None);
        }
        // The target sees another port than the client's, on the address the target's own network gives us.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(self.target)?;
        prepare(&socket)?;
        self.clients.push((from, socket));
        self.by_address.insert(from, self.clients.len() - 1);
        Ok(Some(self.clients.len() - 1))
    }
}

/// None where there is nothing now, or a peer's port is closed at the moment.
fn read<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let bytes: libc::c_int = 4 << 20;
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        // SAFETY: the option is an int, and pointer and length are of one. What the kernel does not grant, it cuts.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                name,
                (&raw const bytes).cast(),
                size_of_val(&bytes) as libc::socklen_t,
            );
        }
    }
    Ok(())
}
