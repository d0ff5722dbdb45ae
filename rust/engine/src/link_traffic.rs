//! What goes over the media link of one thread, at an Edge and in a Core alike: each frame with its header, and each datagram
//! of frames as the line carries it.

use std::net::IpAddr;

use mediaserver_proto::io::Path;
use mediaserver_proto::link::frame::frames;

use crate::metrics::{Counters, set};

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
    /// A datagram of frames came in.
    pub(crate) fn received(&mut self, path: Path, datagram: &[u8]) {
        self.received.count(path, datagram);
    }

    /// One leaves.
    pub(crate) fn sent(&mut self, path: Path, datagram: &[u8]) {
        self.sent.count(path, datagram);
    }

    /// Writes the counters under their names.
    pub(crate) fn write(&self, counters: &mut Counters) {
        set(counters, "link_bytes_received", self.received.bytes);
        set(counters, "link_bytes_sent", self.sent.bytes);
        set(counters, "link_frames_received", self.received.frames);
        set(counters, "link_frames_sent", self.sent.frames);
    }
}

impl Direction {
    fn count(&mut self, path: Path, datagram: &[u8]) {
        self.bytes += on_the_line(path, datagram.len());
        self.frames += frames(datagram).flatten().count() as u64;
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
    use mediaserver_proto::io::SocketId;
    use mediaserver_proto::link::frame::{FrameKind, HEADER, Header};
    use mediaserver_proto::path::PathId;

    use super::*;

    #[test]
    fn frames_count_one_by_one_and_bytes_with_all_headers_of_the_line() {
        let datagram: Vec<u8> = [3u16, 1000]
            .iter()
            .flat_map(|&length| {
                let header = Header::new(FrameKind::Data, length, PathId(1)).write();
                header.into_iter().chain(std::iter::repeat_n(0, usize::from(length)))
            })
            .collect();
        let path = |socket, ip: &str| Path { socket, remote: (ip.parse::<IpAddr>().unwrap(), 4000).into() };
        let len = (2 * HEADER + 1003) as u64;
        let mut traffic = LinkTraffic::default();
        traffic.received(path(SocketId(70_000), "192.0.2.1"), &datagram);
        assert_eq!(traffic.received, Direction { bytes: len + 28, frames: 2 });
        traffic.received(path(SocketId(70_000), "2001:db8::1"), &datagram);
        assert_eq!(traffic.received, Direction { bytes: 2 * len + 28 + 48, frames: 4 });
        traffic.sent(path(SocketId::carried(3, 0), "::7"), &datagram);
        assert_eq!(traffic.sent, Direction { bytes: len + 6, frames: 2 });
    }

    #[test]
    fn what_is_no_whole_frame_counts_as_bytes_alone() {
        let path = Path { socket: SocketId(70_000), remote: ([192, 0, 2, 1], 4000).into() };
        let mut traffic = LinkTraffic::default();
        traffic.received(path, &[0; 20]);
        assert_eq!(traffic.received, Direction { bytes: 48, frames: 0 });
    }
}
