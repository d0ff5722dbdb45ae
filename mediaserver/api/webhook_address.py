"""Where a webhook may be: the addresses that its name resolves to, without those of this machine and private networks."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from mediaserver.errors import MediaServerError
from mediaserver.runtime.sources import unmapped

_NAT64: Final = bytes.fromhex("0064ff9b0000000000000000")
"""RFC 6052 §2.1: an IPv4 address follows."""


class AddressRefused(MediaServerError):
    """The webhook is at an address that it may not be at."""


def require_public(host: str) -> None:
    """Raises AddressRefused where `host`, an IP address, is one of this machine, a private network, or none at all.

    By the registries of RFC 6890; an address inside of another (RFC 4291 §2.5.5.2, RFC 3056, RFC 4380) is looked at, too.
    """
    address = unmapped(ip_address(host))
    inside: list[IPv4Address | None] = []
    if isinstance(address, IPv6Address):
        inside = [address.sixtofour, *(address.teredo or ())]
        if address.packed[:12] == _NAT64:
            inside.append(IPv4Address(address.packed[12:]))
    for each in (address, *(found for found in inside if found is not None)):
        if not each.is_global or each.is_multicast:
            raise AddressRefused(f"{host} is an address of this machine or of a private network (allow_private)")


def is_literal(host: str) -> bool:
    """Whether a host is written as an address, which no resolver is asked for."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names as the system does, and gives away public addresses only: what is asked is what was checked."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises AddressRefused where one of them is not public: such a name is not to be trusted at all."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            require_public(each["host"])
        return found

    async def close(self) -> None:
        """Closes what it asks."""
        await self._inner.close()
