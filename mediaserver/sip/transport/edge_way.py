"""Connections that come and go over an Edge: whoever is at the other end of the socket is not whom it shows."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a connection as its peer sees them."""

    local: Address
    """Where the peer reaches us."""
    remote: Address
    """The peer's own address."""
    edge: str = ""
    """Name of the Edge between them; empty where there is none."""


class EdgeWay(Protocol):
    """What has connections opened where this machine does not reach."""

    def announced(self) -> Address | None:
        """Where peers beyond reach us; None where no Edge takes SIP now."""
        ...

    def is_ours(self, host: str, port: int | None) -> bool:
        """Whether peers beyond know us by this address."""
        ...

    async def dial(self, remote: Address) -> tuple[socket.socket, Ends]:
        """Open a TCP connection to an address beyond; the socket carries its bytes. Raises OSError."""
        ...
