//! What goes over the media link of one thread, at an Edge and in a Core alike: each frame with its header, and each datagram
//! of frames as the line carries it.

use std::net::IpAddr;

use mediaserver_proto::io::{Path, Received, Transmit};

use crate::counters::{Counters, set};

/// Bytes before a frame in a TLS connection: its length, and which threads it is between.
const TLS_HEADERS: u64 = 6;

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Direction {
    bytes: u64,
    frames: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkTraffic {
    received: Direction,
    sent: Direction,
}

impl LinkTraffic {
    /// Datagrams came in; whoever unpacked them found so many frames.
    pub(crate) fn received(&mut self, datagrams: &[Received], frames: u64) {
        self.received.bytes += datagrams.iter().map(|datagram| on_the_line(datagram.path, datagram.len)).sum::<u64>();
        self.received.frames += frames;
    }

    /// A datagram of frames leaves.
    pub(crate) fn sent(&mut self, datagram: &Transmit) {
        self.sent.bytes += on_the_line(datagram.path, datagram.len);
        self.sent.frames += u64::from(datagram.pieces);
    }

    /// Writes the counters under their names.
    pub(crate) fn write(&self, counters: &mut Counters) {
        set(counters, "link_bytes_received", self.received.bytes);
        set(counters, "link_bytes_sent", self.sent.bytes);
        set(counters, "link_frames_received", self.received.frames);
        set(counters, "link_frames_sent", self.sent.frames);
    }
}

/// What a datagram of frames takes on the line: with UDP and IP (RFC 768, RFC 791 §3.1, RFC 8200 §3), or in TLS, whose own
/// headers many share.
fn on_the_line(path: Path, len: usize) -> u64 {
    let headers = match path.remote.ip() {
        _ if path.socket.carrier().is_some() => TLS_HEADERS,
        IpAddr::V4(_) => 20 + 8,
        IpAddr::V6(_) => 40 + 8,
    };
    len as u64 + headers
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::io::{SocketId, TransmitQueue};

    use super::*;

    fn path(socket: SocketId, ip: &str) -> Path {
        Path { socket, remote: (ip.parse::<IpAddr>().unwrap(), 4000).into() }
    }

    #[test]
    fn bytes_count_with_all_headers_of_the_line() {
        let of = |path| Received { path, start: 0, len: 1000 };
        let mut traffic = LinkTraffic::default();
        let udp = [of(path(SocketId(70_000), "192.0.2.1")), of(path(SocketId(70_000), "2001:db8::1"))];
        traffic.received(&udp, 5);
        assert_eq!(traffic.received, Direction { bytes: 2000 + 28 + 48, frames: 5 });
        traffic.received(&[of(path(SocketId::carried(3, 0), "::7"))], 0);
        assert_eq!(traffic.received, Direction { bytes: 3000 + 28 + 48 + 6, frames: 5 });
        assert_eq!(traffic.sent, Direction::default());
    }

    #[test]
    fn frames_that_share_a_datagram_count_one_by_one() {
        let to = path(SocketId(70_000), "192.0.2.1");
        let mut queue = TransmitQueue::default();
        for _ in 0..3 {
            queue.append(to, 250, [&[0; 8], &[0; 92]]);
        }
        let mut traffic = LinkTraffic::default();
        queue.entries().iter().for_each(|entry| traffic.sent(entry));
        assert_eq!(queue.len(), 2);
        assert_eq!(traffic.sent, Direction { bytes: 300 + 2 * 28, frames: 3 });
    }
}
