"""Connections that an Edge opens to trunks because a Core says so: bounded, to plain public addresses, as opaque streams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.messages import Dial
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner

_MOST: Final = 64
"""Connections that are being opened at a time."""
_PATIENCE_S: Final = 5.0

Carry = Callable[[EdgeEnd, int, socket.socket], None]
"""Takes a connection for the Core that wants it, and the Core's number of it."""


class EdgeDialling:
    """Gives open connections to `carry`; the Core is told of the others. `allowed` is what this Edge's file says."""

    def __init__(self, *, allowed: bool, carry: Carry, metrics: Metrics) -> None:
        self._allowed = allowed
        self._carry = carry
        self._tasks = TaskGroupOwner("edge-dialling")
        self._dialling = 0
        self._results = metrics.counter(
            "edge_dialled_total",
            "Connections to trunks that a Core wanted, by what became of them",
            ["result"],
        )

    async def stop(self, deadline_s: float) -> None:
        """Opens nothing any more."""
        await self._tasks.stop(deadline_s)

    def handle_dial(self, core: EdgeEnd, dial: Dial) -> None:
        """Opens one connection."""
        if not self._allowed:
            self._refuse(core, dial, "not_allowed", "edge.dial_trunks is not on there")
        elif not may_be_dialled(dial.ip):
            self._refuse(core, dial, "denied_address", f"{dial.ip} is no address of a trunk")
        elif self._dialling >= _MOST:
            self._refuse(core, dial, "limit", "too many connections are being opened there")
        else:
            self._tasks.spawn(self._dial(core, dial), name="dial")

    async def _dial(self, core: EdgeEnd, dial: Dial) -> None:
        family = socket.AF_INET6 if ":" in dial.ip else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        self._dialling += 1
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(connection, (dial.ip, dial.port))
        except (OSError, TimeoutError) as error:
            connection.close()
            why = str(error) or "no answer"
            self._refuse(core, dial, "failed", f"{dial.ip}:{dial.port} cannot be reached from there: {why}")
        except BaseException:
            connection.close()
            raise
        else:
            self._results.labels("opened").inc()
            self._carry(core, dial.number, connection)
        finally:
            self._dialling -= 1

    def _refuse(self, core: EdgeEnd, dial: Dial, result: str, reason: str) -> None:
        self._results.labels(result).inc()
        core.refuse_dial(dial.number, reason)


def may_be_dialled(text: str) -> bool:
    """Whether an address may be a trunk's: none of this machine, of a link, of a group, or of the clouds' own services."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        embedded: IPv4Address | None = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return may_be_dialled(str(embedded))
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)
