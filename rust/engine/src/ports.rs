//! UDP port pairs for RTP transports: even for RTP, the next one for RTCP (RFC 3550 §11).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mediaserver_proto::io::SocketId;
use mediaserver_proto::time::Time;

use crate::socket::UdpSocket;

/// How long a released pair rests, so that a late packet of the old call does not reach the next one.
pub const QUARANTINE: Duration = Duration::from_secs(5);
/// Pairs tried for one transport when others on this host hold some of the range.
const TRIES: usize = 64;
/// SO_RCVBUF of an RTP socket, in bytes: a second of video.
const BUFFER_BYTES: usize = 512 * 1024;

/// Why no pair was given.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The address is not one on which RTP transports may be opened.
    #[error("{0} is not configured for SIP media")]
    UnknownAddress(IpAddr),
    /// All pairs of this shard are in use or resting.
    #[error("limit sip_ports")]
    Exhausted,
    /// The pair that is wanted belongs to somebody else, or to another thread.
    #[error("port {0} is taken")]
    Taken(u16),
    /// Binding failed for another reason than a port in use.
    #[error("cannot bind {address}: {source}")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

#[derive(Debug)]
struct Pool {
    ip: IpAddr,
    /// Even ports with the time from which they may be used, longest free first.
    free: VecDeque<(Time, u16)>,
}

/// The pairs of one shard: every `shards`th pair of the range, so that shards never compete for one.
#[derive(Debug)]
pub struct PortPools {
    pools: Vec<Pool>,
    /// Mark of the sockets.
    dscp: u8,
}

impl PortPools {
    /// The share of `shard` among `shards` of the ports `range` (both ends included) on each of `ips`.
    pub fn new(ips: &[IpAddr], range: (u16, u16), shard: usize, shards: usize) -> PortPools {
        let first = range.0.saturating_add(range.0 & 1);
        let free: VecDeque<(Time, u16)> = (first..range.1)
            .step_by(2)
            .enumerate()
            .filter(|(index, _)| index % shards.max(1) == shard)
            .map(|(_, port)| (Time::ZERO, port))
            .collect();
        PortPools { pools: ips.iter().map(|&ip| Pool { ip, free: free.clone() }).collect(), dscp: 0 }
    }

    /// The same, with sockets that mark what they send.
    pub fn marked(self, dscp: u8) -> PortPools {
        PortPools { dscp, ..self }
    }

    /// The same, beginning with another pair: what calls of an earlier life ask for again is then seldom given to new ones.
    pub fn beginning_at(mut self, random: u64) -> PortPools {
        for pool in &mut self.pools {
            let count = pool.free.len().max(1) as u64;
            pool.free.rotate_left((random % count) as usize);
        }
        self
    }

    /// Binds a pair on `ip`; `ids` name its RTP and RTCP socket.
    pub fn open(
        &mut self,
        ip: IpAddr,
        ids: (SocketId, SocketId),
        now: Time,
    ) -> Result<(UdpSocket, UdpSocket), PortError> {
        let pool = self.pools.iter_mut().find(|pool| pool.ip == ip).ok_or(PortError::UnknownAddress(ip))?;
        for _ in 0..TRIES.min(pool.free.len()) {
            let Some(&(usable, port)) = pool.free.front() else { break };
            if usable > now {
                break;
            }
            pool.free.pop_front();
            match bind_pair(ip, port, ids, self.dscp) {
                Ok(pair) => return Ok(pair),
                Err(source) => {
                    pool.free.push_back((now + QUARANTINE, port));
                    if source.kind() != io::ErrorKind::AddrInUse {
                        return Err(PortError::Bind { address: SocketAddr::new(ip, port), source });
                    }
                }
            }
        }
        Err(PortError::Exhausted)
    }

    /// Binds the pair whose first port is `port`: a peer knows it from before.
    pub fn open_again(
        &mut self,
        ip: IpAddr,
        port: u16,
        ids: (SocketId, SocketId),
        now: Time,
    ) -> Result<(UdpSocket, UdpSocket), PortError> {
        let pool = self.pools.iter_mut().find(|pool| pool.ip == ip).ok_or(PortError::UnknownAddress(ip))?;
        let free = pool.free.iter().position(|&(usable, free)| free == port && usable <= now);
        let at = free.ok_or(PortError::Taken(port))?;
        let address = SocketAddr::new(ip, port);
        let pair = bind_pair(ip, port, ids, self.dscp).map_err(|source| PortError::Bind { address, source })?;
        pool.free.remove(at);
        Ok(pair)
    }

    /// Takes a pair back; it rests for [`QUARANTINE`].
    pub fn release(&mut self, rtp: SocketAddr, now: Time) {
        if let Some(pool) = self.pools.iter_mut().find(|pool| pool.ip == rtp.ip()) {
            pool.free.push_back((now + QUARANTINE, rtp.port()));
        }
    }
}

/// `dscp` marks what the sockets send; 0 leaves it.
fn bind_pair(ip: IpAddr, port: u16, ids: (SocketId, SocketId), dscp: u8) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = UdpSocket::bind(ids.0, SocketAddr::new(ip, port), false, BUFFER_BYTES)?;
    let rtcp = UdpSocket::bind(ids.1, SocketAddr::new(ip, port + 1), false, BUFFER_BYTES)?;
    if dscp != 0 {
        rtp.mark(dscp);
        rtcp.mark(dscp);
    }
    Ok((rtp, rtcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const IDS: (SocketId, SocketId) = (SocketId(8), SocketId(9));

    #[test]
    fn pairs_are_even_and_odd_and_shards_share_the_range() {
        let pool = |shard| PortPools::new(&[IP], (30_001, 30_010), shard, 2).pools[0].free.clone();
        let ports = |shard| pool(shard).iter().map(|(_, port)| *port).collect::<Vec<_>>();
        assert_eq!(ports(0), [30_002, 30_006]);
        assert_eq!(ports(1), [30_004, 30_008]);
    }

    #[test]
    fn pools_that_begin_elsewhere_have_the_same_pairs() {
        let ports = |random| {
            let pools = PortPools::new(&[IP], (30_000, 30_007), 0, 1).beginning_at(random);
            pools.pools[0].free.iter().map(|(_, port)| *port).collect::<Vec<_>>()
        };
        assert_eq!(ports(0), [30_000, 30_002, 30_004, 30_006]);
        assert_eq!(ports(u64::MAX - 1), [30_004, 30_006, 30_000, 30_002]);
        assert!(PortPools::new(&[IP], (30_001, 30_002), 0, 1).beginning_at(7).pools[0].free.is_empty());
    }

    #[test]
    fn a_released_pair_rests_before_it_is_given_again() {
        let mut pools = PortPools::new(&[IP], (31_410, 31_411), 0, 1);
        let (rtp, rtcp) = pools.open(IP, IDS, Time::ZERO).unwrap();
        assert_eq!((rtp.local().port(), rtcp.local().port()), (31_410, 31_411));
        assert!(matches!(pools.open(IP, IDS, Time::ZERO), Err(PortError::Exhausted)));
        let address = rtp.local();
        drop((rtp, rtcp));
        pools.release(address, Time::ZERO);
        assert!(matches!(pools.open(IP, IDS, Time::from_millis(4_999)), Err(PortError::Exhausted)));
        assert!(pools.open(IP, IDS, Time::from_millis(5_000)).is_ok());
    }

    #[test]
    fn a_pair_that_somebody_else_holds_is_passed_over() {
        let held = std::net::UdpSocket::bind("127.0.0.1:31423").unwrap();
        let mut pools = PortPools::new(&[IP], (31_422, 31_425), 0, 1);
        let (rtp, _rtcp) = pools.open(IP, IDS, Time::ZERO).unwrap();
        assert_eq!(rtp.local().port(), 31_424);
        drop(held);
    }

    #[test]
    fn a_pair_is_had_again_by_its_number_unless_it_is_in_use_or_rests() {
        let mut pools = PortPools::new(&[IP], (31_440, 31_447), 0, 1);
        let (rtp, rtcp) = pools.open_again(IP, 31_444, IDS, Time::ZERO).unwrap();
        assert_eq!((rtp.local().port(), rtcp.local().port()), (31_444, 31_445));
        let refused = |pools: &mut PortPools, port, ms| pools.open_again(IP, port, IDS, Time::from_millis(ms)).is_err();
        assert!(refused(&mut pools, 31_444, 9_000), "in use");
        assert!(refused(&mut pools, 31_443, 0) && refused(&mut pools, 31_450, 0), "no pair begins there");
        let address = rtp.local();
        drop((rtp, rtcp));
        pools.release(address, Time::ZERO);
        assert!(refused(&mut pools, 31_444, 4_999));
        assert!(pools.open_again(IP, 31_444, IDS, Time::from_millis(5_000)).is_ok());
        // What somebody else holds stays among the free ones.
        let held = std::net::UdpSocket::bind("127.0.0.1:31442").unwrap();
        assert!(refused(&mut pools, 31_442, 0));
        drop(held);
        assert!(!refused(&mut pools, 31_442, 0));
    }

    #[test]
    fn an_address_that_is_not_configured_is_refused() {
        let mut pools = PortPools::new(&[IP], (31_430, 31_433), 0, 1);
        let other: IpAddr = "127.0.0.2".parse().unwrap();
        assert!(matches!(pools.open(other, IDS, Time::ZERO), Err(PortError::UnknownAddress(_))));
    }
}
