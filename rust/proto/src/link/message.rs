//! The bodies of control frames and the head of an open frame.

use std::net::{IpAddr, SocketAddr};

use super::seal::{NONCE, Nonce};
use crate::path::PathId;

/// Takes values off the front of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// A Core wants to be known at the address from which this comes. The first one has no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) core: u16,
    pub(super) shard: u16,
    /// The life of the Core: another one knows no paths.
    pub(super) instance: u64,
    pub(super) nonce: Nonce,
    pub(super) cookie: Cookie,
}

/// What only whoever receives at an address can have, and when it was made. As many bytes as the hello that asks for it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cookie {
    pub(super) issued: u64,
    pub(super) value: Nonce,
}

impl Cookie {
    const LEN: usize = 8 + NONCE;

    fn write(&self) -> [u8; Cookie::LEN] {
        let mut bytes = [0; Cookie::LEN];
        bytes[..8].copy_from_slice(&self.issued.to_be_bytes());
        bytes[8..].copy_from_slice(&self.value);
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Option<Cookie> {
        Some(Cookie { issued: reader.u64()?, value: reader.take()? })
    }
}

impl Hello {
    const LEN: usize = 12 + NONCE + Cookie::LEN;

    pub(super) fn write(&self) -> [u8; Hello::LEN] {
        let mut bytes = [0; Hello::LEN];
        bytes[..2].copy_from_slice(&self.core.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.shard.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.instance.to_be_bytes());
        bytes[12..28].copy_from_slice(&self.nonce);
        bytes[28..].copy_from_slice(&self.cookie.write());
        bytes
    }

    pub(super) fn read(body: &[u8]) -> Option<Hello> {
        let mut reader = Reader(body);
        Some(Hello {
            core: reader.u16()?,
            shard: reader.u16()?,
            instance: reader.u64()?,
            nonce: reader.take()?,
            cookie: Cookie::read(&mut reader)?,
        })
    }
}

/// The Edge's answer to a hello without a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CookieAnswer {
    pub(super) nonce: Nonce,
    pub(super) cookie: Cookie,
}

impl CookieAnswer {
    pub(super) fn write(&self) -> [u8; NONCE + Cookie::LEN] {
        let mut bytes = [0; NONCE + Cookie::LEN];
        bytes[..NONCE].copy_from_slice(&self.nonce);
        bytes[NONCE..].copy_from_slice(&self.cookie.write());
        bytes
    }

    pub(super) fn read(body: &[u8]) -> Option<CookieAnswer> {
        let mut reader = Reader(body);
        Some(CookieAnswer { nonce: reader.take()?, cookie: Cookie::read(&mut reader)? })
    }
}

/// The Edge's answer to a hello with a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) nonce: Nonce,
    /// The life of the Edge: another one has no paths.
    pub(super) edge: u64,
}

impl Welcome {
    pub(super) fn write(&self) -> [u8; NONCE + 8] {
        let mut bytes = [0; NONCE + 8];
        bytes[..NONCE].copy_from_slice(&self.nonce);
        bytes[NONCE..].copy_from_slice(&self.edge.to_be_bytes());
        bytes
    }

    pub(super) fn read(body: &[u8]) -> Option<Welcome> {
        let mut reader = Reader(body);
        Some(Welcome { nonce: reader.take()?, edge: reader.u64()? })
    }
}

/// Asks for an echo of the same length, which may be padded to learn what fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeepAlive {
    /// Until the next one, at the most.
    pub(super) interval_ms: u16,
    /// Bytes of a datagram that are known to pass both ways.
    pub(super) mtu: u16,
}

impl KeepAlive {
    pub(super) const LEN: usize = 4;

    pub(super) fn write(&self) -> [u8; KeepAlive::LEN] {
        let ([a, b], [c, d]) = (self.interval_ms.to_be_bytes(), self.mtu.to_be_bytes());
        [a, b, c, d]
    }

    pub(super) fn read(body: &[u8]) -> Option<KeepAlive> {
        let mut reader = Reader(body);
        Some(KeepAlive { interval_ms: reader.u16()?, mtu: reader.u16()? })
    }
}

/// What a Core must know of a path: its source and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Whether it leads to a port that the Edge has opened for the session alone.
    pub is_port: bool,
    /// Generation of the ICE credentials by which the visitor was admitted; of such a port 0 for RTP and 1 for RTCP.
    pub generation: u8,
    /// The Edge's socket; its own number, which says nothing to others.
    pub socket: u32,
    /// The session.
    pub transport: u64,
    /// The visitor.
    pub remote: SocketAddr,
}

impl Opening {
    /// Most bytes of one.
    pub(super) const MOST: usize = 32;

    /// Writes into `bytes` and gives what was written.
    pub(super) fn write<'a>(&self, bytes: &'a mut [u8; Opening::MOST]) -> &'a [u8] {
        bytes[0] = if self.remote.is_ipv4() { 4 } else { 6 } | u8::from(self.is_port) << 7;
        bytes[1] = self.generation;
        bytes[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&self.socket.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.transport.to_be_bytes());
        match self.remote.ip() {
            IpAddr::V4(ip) => bytes[16..20].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[16..32].copy_from_slice(&ip.octets()),
        }
        &bytes[..if self.remote.is_ipv4() { 20 } else { 32 }]
    }

    /// Reads one and gives what follows it.
    pub fn read(body: &[u8]) -> Option<(Opening, &[u8])> {
        let mut reader = Reader(body);
        let [family, generation] = reader.take()?;
        let (port, socket, transport) = (reader.u16()?, reader.u32()?, reader.u64()?);
        let is_port = family & 1 << 7 != 0;
        let ip = match family & !(1 << 7) {
            4 => IpAddr::from(reader.take::<4>()?),
            6 => IpAddr::from(reader.take::<16>()?),
            _ => return None,
        };
        // As everywhere: one visitor has one address.
        let remote = SocketAddr::new(ip.to_canonical(), port);
        Some((Opening { is_port, generation, socket, transport, remote }, reader.0))
    }
}

/// One path of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) id: PathId,
    pub(super) granted: u32,
    pub(super) opening: Opening,
}

impl Replayed {
    /// Most bytes of one.
    pub(super) const MOST: usize = 8 + Opening::MOST;

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.id.0.to_be_bytes());
        bytes.extend_from_slice(&self.granted.to_be_bytes());
        bytes.extend_from_slice(self.opening.write(&mut [0; Opening::MOST]));
    }

    pub(super) fn read(body: &[u8]) -> Option<(Replayed, &[u8])> {
        let mut reader = Reader(body);
        let (id, granted) = (PathId(reader.u32()?), reader.u32()?);
        let (opening, rest) = Opening::read(reader.0)?;
        Some((Replayed { id, granted, opening }, rest))
    }
}

/// A path's name before a replay and after it; [`PathId::NONE`] for one that could not be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renamed {
    pub(super) from: PathId,
    pub(super) to: PathId,
}

impl Renamed {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.from.0.to_be_bytes());
        bytes.extend_from_slice(&self.to.0.to_be_bytes());
    }

    pub(super) fn read(body: &[u8]) -> Option<(Renamed, &[u8])> {
        let mut reader = Reader(body);
        let renamed = Renamed { from: PathId(reader.u32()?), to: PathId(reader.u32()?) };
        Some((renamed, reader.0))
    }
}

/// Bytes a second that a path may send, 0 for no bound: the body of an acknowledgement and of a proof.
pub(super) fn read_rate(body: &[u8]) -> Option<u32> {
    Reader(body).u32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_are_written() {
        let cookie = Cookie { issued: 5, value: [6; NONCE] };
        let hello = Hello { core: 1, shard: 2, instance: 3, nonce: [4; NONCE], cookie };
        assert_eq!(Hello::read(&hello.write()), Some(hello));
        let answer = CookieAnswer { nonce: [4; NONCE], cookie };
        assert_eq!(CookieAnswer::read(&answer.write()), Some(answer));
        let welcome = Welcome { nonce: [4; NONCE], edge: 9 };
        assert_eq!(Welcome::read(&welcome.write()), Some(welcome));
        let keep_alive = KeepAlive { interval_ms: 500, mtu: 1472 };
        assert_eq!(KeepAlive::read(&keep_alive.write()), Some(keep_alive));
        for cut in 0..hello.write().len() {
            assert_eq!(Hello::read(&hello.write()[..cut]), None);
        }
    }

    #[test]
    fn the_answer_to_a_hello_is_not_longer_than_it() {
        let hello = Hello { core: 1, shard: 2, instance: 3, nonce: [4; NONCE], cookie: Cookie::default() };
        let answer = CookieAnswer { nonce: [4; NONCE], cookie: Cookie::default() };
        let welcome = Welcome { nonce: [4; NONCE], edge: 9 };
        assert!(answer.write().len() <= hello.write().len() && welcome.write().len() <= hello.write().len());
    }

    #[test]
    fn a_path_is_told_with_either_kind_of_address() {
        for remote in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
            let is_port = remote.starts_with('[');
            let opening =
                Opening { is_port, generation: 1, socket: 2, transport: 3 << 48, remote: remote.parse().unwrap() };
            let replayed = Replayed { id: PathId(7), granted: 8, opening };
            let mut bytes = Vec::new();
            replayed.write(&mut bytes);
            for cut in 0..bytes.len() {
                assert_eq!(Replayed::read(&bytes[..cut]), None);
            }
            bytes.extend_from_slice(b"rest");
            assert_eq!(Replayed::read(&bytes), Some((replayed, &b"rest"[..])));
        }
        let mut bytes = [0; Opening::MOST];
        let mapped = Opening {
            is_port: false,
            generation: 0,
            socket: 0,
            transport: 0,
            remote: "[::ffff:192.0.2.1]:5".parse().unwrap(),
        };
        let written = mapped.write(&mut bytes);
        assert_eq!(Opening::read(written).unwrap().0.remote, "192.0.2.1:5".parse().unwrap());
        bytes[0] = 5;
        assert_eq!(Opening::read(&bytes), None);
    }
}
