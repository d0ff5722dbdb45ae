//! A UDP echo and its probe: what the way to a server's core and back costs without the server.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use mediaserver_proto::time::Time;

use crate::histogram::Histogram;
use crate::net::{Inbox, Socket};
use crate::stamp;

/// Between two probes; prime against the gaps of frames.
const GAP: Duration = Duration::from_micros(4_999);
/// As long as a packet of video.
const BYTES: usize = 1_200;

/// Answers every datagram to its sender until nobody can send any more.
///
/// # Errors
/// A sentence when the socket fails.
///
/// # Safety
/// `fd` is an open UDP socket that nothing else in this process owns.
pub unsafe fn serve(fd: i32) -> Result<(), String> {
    // SAFETY: promised by the caller.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut bytes = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut bytes).map_err(|error| format!("echo: {error}"))?;
        // A full socket drops, as a network would.
        drop(socket.send_to(&bytes[..len], from));
    }
}

/// Asks an echo at a steady rate and counts how long the answers take.
#[derive(Debug)]
pub struct Probe {
    socket: Socket,
    next: Time,
    /// How long answers took, from send to the kernel's receipt.
    pub took: Histogram,
    bytes: Vec<u8>,
}

impl Probe {
    /// Probes over a socket that is connected to the echo.
    ///
    /// # Errors
    /// A sentence when the kernel does not tell arrival times.
    pub fn new(socket: Socket, now: Time) -> Result<Probe, String> {
        socket.tell_arrival(true).map_err(|error| format!("echo: {error}"))?;
        Ok(Probe { socket, next: now, took: Histogram::default(), bytes: vec![0; BYTES] })
    }

    /// Its descriptor, to wait for.
    pub fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Sends a probe; when the next one is due.
    pub fn ask(&mut self, now: Time) -> Time {
        stamp::write(&mut self.bytes, now.0);
        drop(self.socket.send(&self.bytes));
        self.next = now + GAP;
        self.next
    }

    /// Takes answers; `time` makes engine time of what the kernel says.
    ///
    /// # Errors
    /// A sentence when the socket fails.
    pub fn receive(&mut self, inbox: &mut Inbox, time: impl Fn(u64) -> Time) -> Result<(), String> {
        let count = match inbox.receive(&self.socket) {
            Ok(count) => count,
            // Nobody listens any more.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => 0,
            Err(error) => return Err(format!("echo: {error}")),
        };
        for index in 0..count {
            let arrived = inbox.arrived_ns(index);
            let (_, datagram) = inbox.datagram(index);
            if let (Some(arrived), Some(sent)) = (arrived, stamp::read(datagram)) {
                self.took.add(time(arrived).since(Time(sent)));
            }
        }
        Ok(())
    }
}
