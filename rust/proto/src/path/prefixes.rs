//! How many unproven paths each source network has.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counts by network: /24 of IPv4, /56 of IPv6, which is what one house is given. Never more entries than paths.
#[derive(Debug, Default)]
pub(super) struct Prefixes(HashMap<u64, u16>);

impl Prefixes {
    pub(super) fn count(&self, ip: IpAddr) -> u16 {
        self.0.get(&prefix(ip)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, ip: IpAddr) {
        *self.0.entry(prefix(ip)).or_default() += 1;
    }

    pub(super) fn remove(&mut self, ip: IpAddr) {
        let prefix = prefix(ip);
        if let Some(count) = self.0.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&prefix);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
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
        let ip = IpAddr::from([192, 0, 2, 1]);
        let mut prefixes = Prefixes::default();
        prefixes.add(ip);
        prefixes.add(ip);
        assert_eq!(prefixes.count(ip), 2);
        prefixes.remove(ip);
        prefixes.remove(ip);
        assert_eq!((prefixes.count(ip), prefixes.len()), (0, 0));
    }
}
