"""What a SIP leg needs of the ports that an Edge opens for its media."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mediaserver.engine.commands import Address, EdgePorts


class PortsAtEdge(Protocol):
    """Opens pairs of ports at one Edge; each ends with its transport."""

    on_moved: Callable[[int, int, int], None] | None
    """Told the transport and its ports of RTP and RTCP when the Edge was restarted and could not open the same ones."""

    @property
    def announced_ip(self) -> str:
        """The address that peers are told."""
        ...

    async def open(self, transport: int, *, latching_ms: int = 0) -> EdgePorts:
        """Opens a pair for a transport of the engine, to anybody for this long from the start. Raises LimitExceeded where
        there is none."""
        ...

    def aim(self, transport: int, rtp: Address | None, rtcp: Address | None, *, latching_ms: int) -> None:
        """Says where the peer's media comes from by its description, and how long others may come in its place."""
        ...


class PortsBeyond(Protocol):
    """Finds the Edge that a leg's media go by."""

    def by(self, edge: str, peer_ip: str) -> PortsAtEdge:
        """That of this name; any for an empty one."""
        ...
