//! Whom users may reach by a relay that is open: nobody inside, however the address is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::network::Network;

/// What no relay leads to unless it is allowed by name: RFC 6890 and its registries, and what clouds tell their machines.
const DENIED: &[Network] = &[
    Network::v4(0, 0, 0, 0, 8),
    // RFC 1918, RFC 6598.
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(127, 0, 0, 0, 8),
    // RFC 3927; 169.254.169.254 tells a virtual machine its secrets.
    Network::v4(169, 254, 0, 0, 16),
    // The same of two clouds that took other addresses.
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(192, 0, 0, 0, 24),
    // RFC 7526: anycast of 6to4; RFC 2544.
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(198, 18, 0, 0, 15),
    // RFC 5771, RFC 1112 §4, RFC 919.
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
    // RFC 8215: translation for one site, which may embed IPv4 addresses as it likes.
    Network::v6(0x0064, 0xff9b, 1, 0, 48),
    // RFC 6666, RFC 4193, RFC 4291 §2.5.6, RFC 3879, RFC 4291 §2.7.
    Network::v6(0x0100, 0, 0, 0, 64),
    Network::v6(0xfc00, 0, 0, 0, 7),
    Network::v6(0xfe80, 0, 0, 0, 10),
    Network::v6(0xfec0, 0, 0, 0, 10),
    Network::v6(0xff00, 0, 0, 0, 8),
];

/// Which peers an open relay lets its users talk with.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Networks that users may reach although they would be denied.
    pub allowed: Vec<Network>,
    /// Networks that they may not reach beside those that are denied anyway.
    pub denied: Vec<Network>,
    /// Addresses of the server itself, which would relay to itself.
    pub own: Vec<SocketAddr>,
}

impl PeerPolicy {
    /// Whether users may reach an address.
    pub fn admits_ip(&self, ip: IpAddr) -> bool {
        let IpAddr::V6(v6) = ip else { return !self.is_denied(ip) };
        let low = v6.to_bits();
        // RFC 4291 §2.5.5: ::/96 is "compatible" with IPv4 and holds :: and ::1; ::ffff:0:0/96 is mapped. On the wire
        // neither belongs to anybody.
        if low >> 32 == 0 || low >> 32 == 0xffff {
            return self.allowed.iter().any(|network| network.contains(ip));
        }
        !self.is_denied(ip) && !embedded(v6).into_iter().flatten().any(|v4| self.is_denied(IpAddr::V4(v4)))
    }

    /// Whether users may send to an address and port.
    pub fn admits(&self, peer: SocketAddr) -> bool {
        peer.port() != 0 && !self.own.contains(&peer) && self.admits_ip(peer.ip())
    }

    fn is_denied(&self, ip: IpAddr) -> bool {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        within(&self.denied) || within(DENIED) && !within(&self.allowed)
    }
}

/// The IPv4 addresses that an IPv6 address may lead to.
fn embedded(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let (bits, words) = (ip.to_bits(), ip.segments());
    let at = |shift: u32| Ipv4Addr::from_bits((bits >> shift) as u32);
    let by_prefix = match words {
        // RFC 3056: 6to4.
        [0x2002, ..] => [Some(at(80)), None],
        // RFC 4380 §4: Teredo, the server and the client, whose address is turned over.
        [0x2001, 0, ..] => [Some(at(64)), Some(Ipv4Addr::from_bits(!(bits as u32)))],
        // RFC 6052 §2.1, RFC 8215: NAT64.
        [0x0064, 0xff9b, 0 | 1, ..] => [Some(at(0)), None],
        // RFC 2765: IPv4-translated.
        [0, 0, 0, 0, 0xffff, 0, ..] => [Some(at(0)), None],
        _ => [None, None],
    };
    // RFC 5214 §6.1: ISATAP, under any prefix.
    let isatap = (words[4] & 0xfdff == 0 && words[5] == 0x5efe).then(|| at(0));
    [by_prefix[0], by_prefix[1], isatap]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(policy: &PeerPolicy, ip: &str) -> bool {
        policy.admits_ip(ip.parse().unwrap())
    }

    #[test]
    fn inner_addresses_are_denied_in_every_form() {
        let policy = PeerPolicy::default();
        let inner = ["127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.100.100.200"];
        let special = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "168.63.129.16", "192.0.0.192", "198.18.0.1"];
        for v4 in inner.into_iter().chain(special) {
            let ip: Ipv4Addr = v4.parse().unwrap();
            let [a, b, c, d] = ip.octets();
            let [hi, lo] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
            assert!(!admits(&policy, v4), "{v4}");
            for v6 in [
                format!("::ffff:{v4}"),
                format!("::{v4}"),
                format!("::ffff:0:{v4}"),
                format!("2002:{hi:x}:{lo:x}::1"),
                format!("64:ff9b::{v4}"),
                format!("64:ff9b:1::{v4}"),
                format!("2001:0:{hi:x}:{lo:x}::"),
                format!("2001:0:808:808::{:x}:{:x}", !hi, !lo),
                format!("2a00:1::5efe:{v4}"),
                format!("2a00:1::200:5efe:{v4}"),
            ] {
                assert!(!admits(&policy, &v6), "{v6}");
            }
        }
        for v6 in ["::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1"] {
            assert!(!admits(&policy, v6), "{v6}");
        }
    }

    #[test]
    fn the_rest_of_the_world_is_admitted() {
        let policy = PeerPolicy::default();
        for ip in ["8.8.8.8", "172.32.0.1", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1"] {
            assert!(admits(&policy, ip), "{ip}");
        }
        assert!(!admits(&policy, "::ffff:8.8.8.8"), "a mapped address is nobody's");
    }

    #[test]
    fn networks_are_allowed_and_denied_by_name() {
        let network = |ip: &str, bits| Network::new(ip.parse().unwrap(), bits);
        let policy = PeerPolicy {
            allowed: vec![network("10.1.0.0", 16), network("::1", 128)],
            denied: vec![network("8.8.8.0", 24), network("10.1.2.0", 24)],
            own: vec!["203.0.113.1:3478".parse().unwrap()],
        };
        assert!(admits(&policy, "10.1.0.1") && admits(&policy, "::1"));
        assert!(!admits(&policy, "8.8.8.8") && !admits(&policy, "10.1.2.3") && !admits(&policy, "10.2.0.1"));
        assert!(!admits(&policy, "2002:808:808::1"), "denied in its embedded form as well");
        assert!(!policy.admits("203.0.113.1:3478".parse().unwrap()), "no relaying to the relay itself");
        assert!(policy.admits("203.0.113.1:3479".parse().unwrap()));
        assert!(!policy.admits("203.0.113.1:0".parse().unwrap()));
    }
}
