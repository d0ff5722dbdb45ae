//! How many unproven paths each source network has.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::io::Path;

/// Counts by network: /24 of IPv4, /56 of IPv6, which is what one house is given. Never more entries than paths.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    counts: HashMap<u64, u16>,
    /// The thread whose sources are relayed addresses: all of one network, and bounded by quotas of their own.
    relay: Option<u16>,
}

impl Prefixes {
    pub(super) fn set_relay(&mut self, relay: u16) {
        self.relay = Some(relay);
    }

    pub(super) fn count(&self, path: Path) -> u16 {
        if self.is_relayed(path) { 0 } else { self.counts.get(&prefix(path.remote.ip())).copied().unwrap_or(0) }
    }

    pub(super) fn add(&mut self, path: Path) {
        if !self.is_relayed(path) {
            *self.counts.entry(prefix(path.remote.ip())).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, path: Path) {
        let prefix = prefix(path.remote.ip());
        if !self.is_relayed(path)
            && let Some(count) = self.counts.get_mut(&prefix)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&prefix);
            }
        }
    }

    fn is_relayed(&self, path: Path) -> bool {
        self.relay.is_some() && path.socket.carrier() == self.relay
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

/// The first 24 or 56 bits of an address, with the family in the bits that are left.
fn prefix(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => 4 << 56 | u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => 6 << 56 | (ip.to_bits() >> 72) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SocketId;

    #[test]
    fn a_network_is_24_bits_of_ipv4_and_56_of_ipv6() {
        let same = |a: &str, b: &str| prefix(a.parse().unwrap()) == prefix(b.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.255"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:1:200::1", "2001:db8:1:2ff:9::1"));
        assert!(!same("2001:db8:1:200::1", "2001:db8:1:300::1"));
        assert!(!same("0.0.0.0", "::"));
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let path = Path { socket: SocketId(0), remote: ([192, 0, 2, 1], 4000).into() };
        let mut prefixes = Prefixes::default();
        prefixes.add(path);
        prefixes.add(path);
        assert_eq!(prefixes.count(path), 2);
        prefixes.remove(path);
        prefixes.remove(path);
        assert_eq!((prefixes.count(path), prefixes.len()), (0, 0));
    }

    #[test]
    fn relayed_addresses_are_not_counted_and_connections_are() {
        let path = |carrier| Path { socket: SocketId::carried(carrier, 0), remote: ([192, 0, 2, 1], 4000).into() };
        let (relayed, connection) = (path(0), path(3));
        let mut prefixes = Prefixes::default();
        prefixes.set_relay(0);
        prefixes.add(relayed);
        prefixes.add(connection);
        assert_eq!((prefixes.count(relayed), prefixes.count(connection)), (0, 1));
        prefixes.remove(relayed);
        assert_eq!(prefixes.count(connection), 1);
    }
}
