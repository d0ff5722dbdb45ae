//! A peer's address as tables keep it: 18 bytes for both families.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An IP address; IPv4 in its IPv4-mapped form, which no real IPv6 peer has.
pub(super) type PackedIp = [u8; 16];

/// Packs an IP address.
pub(super) fn pack_ip(ip: IpAddr) -> PackedIp {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The address that was packed.
pub(super) fn unpack(ip: PackedIp, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
}

/// A moment in whole seconds, as tables keep it; what lasts until then is over in its first nanosecond.
pub(super) fn seconds(now: crate::time::Time) -> u32 {
    u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX)
}
