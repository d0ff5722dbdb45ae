"""This machine's own addresses: which there are, and which one the system would use towards a peer."""

from __future__ import annotations

import ipaddress
import socket

import ifaddr


def own_addresses() -> list[str]:
    """Every address of this machine except link-local ones, loopback last; IPv6 without scope."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            address = ipaddress.ip_address(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
            if not address.is_link_local and str(address) not in found:
                found.append(str(address))
    return sorted(found, key=lambda text: ipaddress.ip_address(text).is_loopback)


def address_towards(peer_ip: str) -> str | None:
    """The local address from which the system would send to `peer_ip`; None without a route. Sends nothing."""
    family = socket.AF_INET6 if ":" in peer_ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer_ip, 9))
        except OSError:
            return None
        name: tuple[str, int] = probe.getsockname()[:2]
        return name[0]
