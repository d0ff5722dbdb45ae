"""Opens connections to targets: by TCP or TLS from here, or by TLS from an Edge where only that reaches them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from mediaserver.runtime.dscp import mark
from mediaserver.sip.config import Counters
from mediaserver.sip.flow import Target
from mediaserver.sip.transport.edge_way import EdgeWay, Ends
from mediaserver.sip.transport.stream import Connection

NewConnection = Callable[[Ends | None], Connection]
"""Makes the protocol of a connection to the target; its ends are given where its socket does not show them."""


class Dialler:
    """`context` is that of TLS connections from now on; without it there are none. `dscp` marks what is sent."""

    def __init__(self, context: ssl.SSLContext | None, *, dscp: int, counters: Counters) -> None:
        self.context = context
        self.edges: EdgeWay | None = None
        """Opens connections beyond the Edges; without it there are none."""
        self._dscp = dscp
        self._counters = counters

    async def dial(self, target: Target, ip: str, new: NewConnection) -> Connection | None:
        """A connection to this address of a target; None when there can be none, which is counted."""
        context: ssl.SSLContext | None = None
        server_name: str | None = None
        if target.transport == "tls":
            if self.context is None:
                self._counters.inc("sip.connects", result="no_tls_context")
                return None
            context, server_name = self.context, target.server_name or target.host
        if target.at_edge:
            return await self._dial_beyond(target, ip, new, context, server_name)
        try:
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: new(None), ip, target.port, ssl=context, server_hostname=server_name
            )
        except (OSError, ssl.SSLError):
            self._counters.inc("sip.connects", result="failed")
            return None
        mark(transport.get_extra_info("socket"), self._dscp)
        self._counters.inc("sip.connects", result="ok")
        return connection

    async def _dial_beyond(
        self, target: Target, ip: str, new: NewConnection, context: ssl.SSLContext | None, server_name: str | None
    ) -> Connection | None:
        """The same over an Edge. TLS begins here: the Edge carries what it cannot read, and nothing else."""
        if self.edges is None or context is None:
            self._counters.inc("sip.connects", result="no_edge")
            return None
        try:
            carried, ends = await self.edges.dial((ip, target.port))
        except OSError:
            self._counters.inc("sip.connects", result="failed")
            return None
        try:
            _, connection = await asyncio.get_running_loop().create_unix_connection(
                lambda: new(ends), sock=carried, ssl=context, server_hostname=server_name
            )
        except (OSError, ssl.SSLError):
            carried.close()
            self._counters.inc("sip.connects", result="failed")
            return None
        self._counters.inc("sip.connects", result="ok")
        return connection
