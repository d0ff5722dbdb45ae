"""Addresses of this machine: all of them, and the one that leads to a peer."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import ifaddr

_DISCARD_PORT = 9


def local_addresses() -> tuple[IPv4Address | IPv6Address, ...]:
    """Every address of every interface, loopback included and link-local left out; IPv4 first, each once."""
    found: set[IPv4Address | IPv6Address] = set()
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ip_address(text)
            if not address.is_link_local and not address.is_unspecified:
                found.add(address)
    return tuple(sorted(found, key=lambda address: (address.version, address.is_loopback, int(address))))


def address_towards(peer_ip: str) -> str | None:
    """The address from which the system would send to `peer_ip`; None without a route. Nothing is sent."""
    family = socket.AF_INET6 if ":" in peer_ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer_ip, _DISCARD_PORT))
        except OSError:
            return None
        return str(probe.getsockname()[0])
