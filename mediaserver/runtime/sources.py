"""What counts as one source of traffic, for everything that is bounded by source."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2), as dual-stack sockets tell it, is that IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def source_prefix(source: str) -> str:
    """What one source can easily have: an IPv4 address, or an IPv6 /64 (a subscriber owns at least that much).

    Anything that is no IP address is a source of its own.
    """
    try:
        address = unmapped(ip_address(source.partition("%")[0]))
    except ValueError:
        return source
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)
