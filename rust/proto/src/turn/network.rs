//! A network: an address and how many of its bits count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// A network; more bits than an address has are all of its bits.
    pub const fn new(address: IpAddr, bits: u8) -> Network {
        Network { address, bits }
    }

    pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Network {
        Network::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
    }

    pub(super) const fn v6(a: u16, b: u16, c: u16, d: u16, bits: u8) -> Network {
        Network::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), bits)
    }

    /// Whether an address lies in it; one of the other family never does.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                (network.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                (network.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bits_decide() {
        let network = Network::v4(10, 1, 0, 0, 16);
        assert!(network.contains("10.1.255.255".parse().unwrap()));
        assert!(!network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.1.0.1".parse().unwrap()));
        assert!(Network::v4(0, 0, 0, 0, 0).contains("203.0.113.9".parse().unwrap()));
        assert!(Network::v6(0x2001, 0xdb8, 0, 0, 32).contains("2001:db8:ffff::".parse().unwrap()));
        assert!(!Network::v6(0x2001, 0xdb8, 0, 0, 32).contains("2001:db9::".parse().unwrap()));
    }
}
