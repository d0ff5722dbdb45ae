"""Addresses of this machine, for networks whose bind address is `auto`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import ifaddr


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
