"""Where a request comes from, also through reverse proxies that are ours."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import web

from mediaserver.runtime.sources import unmapped

Proxies = Sequence[IPv4Network | IPv6Network]

_MAX_HOPS: Final = 16
"""Entries of X-Forwarded-For that are looked at, from the right; a chain of more proxies than this is nobody's."""


class SourceResolver:
    """Finds the source address of a request; believes X-Forwarded-For only as far as our own proxies have written it.

    A proxy appends the address of whoever spoke to it, and a client may send the header already filled. So it is read
    from the right: the first address that is none of our proxies is the last one that one of them has seen itself.
    """

    def __init__(self, *, http: Proxies = (), https: Proxies = ()) -> None:
        """The proxies in front of plain HTTP and of HTTPS."""
        self._http = tuple(http)
        self._https = tuple(https)

    def __call__(self, request: web.BaseRequest) -> str:
        """An IP address as text; `0.0.0.0` where the peer has gone before anybody asked."""
        source = _parsed(request.remote or "") or IPv4Address(0)
        proxies = self._https if request.secure else self._http
        if not proxies or not _is_one_of(source, proxies):
            return str(source)
        header = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for hop in reversed(header.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
            told = _parsed(hop.strip())
            if told is None:
                break
            source = told
            if not _is_one_of(source, proxies):
                break
        return str(source)


def _is_one_of(address: IPv4Address | IPv6Address, networks: Proxies) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address of `192.0.2.1`, `2001:db8::1`, and of the forms with a port that some proxies write."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        return unmapped(ip_address(host))
    except ValueError:
        return None
