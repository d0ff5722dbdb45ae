"""The mark of a socket's packets (RFC 2474)."""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol


class _Socket(Protocol):
    """As asyncio and uvloop show the socket of a transport or a server."""

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        ...

    def setsockopt(self, level: int, name: int, value: int, /) -> None:
        """As `socket.socket.setsockopt`."""


def mark(sock: _Socket | None, dscp: int) -> None:
    """Gives everything that a socket sends the mark `dscp`, 0 to 63; connections that it accepts inherit it.

    A system that does not allow it leaves the packets unmarked: a mark is a wish.
    """
    if sock is None or not dscp:
        return
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
