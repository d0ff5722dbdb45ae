"""Where SIP messages come from and go to: transports, flows, targets and sources as plain values."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]

DEFAULT_PORTS: dict[str, int] = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}

RELIABLE: frozenset[str] = frozenset({"tcp", "tls", "ws", "wss"})

WEBSOCKET: frozenset[str] = frozenset({"ws", "wss"})
"""Transports on which nobody can be reached but over the connection that he opened (RFC 7118 §5)."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A way back to one peer: a connection (`id` > 0), or for UDP our socket and the peer's address (`id` 0).

    RFC 5626 §1 calls it a flow. `remote_ip` is an address without brackets or scope.
    """

    transport: Transport
    local_ip: str
    local_port: int
    remote_ip: str
    remote_port: int
    id: int = 0
    edge: str = ""
    """Name of the Edge that it leads over; empty where none does."""

    @property
    def reliable(self) -> bool:
        """True where the transport itself delivers or fails (RFC 3261 §17 timers differ)."""
        return self.transport in RELIABLE

    @property
    def is_websocket(self) -> bool:
        """True where this connection is the only way to the peer."""
        return self.transport in WEBSOCKET


@dataclass(frozen=True, slots=True)
class Target:
    """A next hop to be reached: `host` is an address or a name that the resolver turns into one."""

    transport: Transport
    host: str
    port: int
    server_name: str | None = None
    """Name that a TLS certificate must carry; None means `host`."""
    at_edge: bool = False
    """It is reached over an Edge alone."""

    @property
    def reliable(self) -> bool:
        """True where the transport itself delivers or fails."""
        return self.transport in RELIABLE

    def __str__(self) -> str:
        return f"{self.transport}:{bracketed(self.host)}:{self.port}"


Destination = Flow | Target


@dataclass(frozen=True, slots=True)
class Source:
    """The network address that a request came from, as the socket saw it."""

    ip: str
    port: int
    transport: Transport


@lru_cache(maxsize=4096)
def is_ip_literal(host: str) -> bool:
    """True for IPv4 and bare IPv6 addresses (no brackets)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """`host` as it stands in a URI or Via: IPv6 addresses in brackets (RFC 3261 §25.1 IPv6reference)."""
    return f"[{host}]" if ":" in host else host
