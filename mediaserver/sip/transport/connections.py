"""The table of connections: which there are, from whom and to where, how many there may be, and which have to go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from mediaserver.sip.config import Counters, SipLimits
from mediaserver.sip.flow import Flow, Target
from mediaserver.sip.transport.stream import Connection
from mediaserver.sip.transport.websocket import WebSocketConnection

AnyConnection = Connection | WebSocketConnection


class Connections:
    """`on_closed` hears of each that is gone, with the target that only it led to; one that `is_held` may be idle."""

    def __init__(
        self,
        *,
        limits: SipLimits,
        counters: Counters,
        on_closed: Callable[[Flow, Target | None], None],
        is_held: Callable[[Flow], bool],
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._on_closed = on_closed
        self._is_held = is_held
        self._number = 0
        self._open: dict[int, AnyConnection] = {}
        self._per_source: Counter[str] = Counter()
        self._outgoing: dict[Target, Connection] = {}
        self._aliases: dict[tuple[str, int], Connection] = {}
        """Connections of peers by which they want to be reached under this address and port (RFC 5923); one each."""
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Handshakes under way included."""
        return len(self._open)

    def new_number(self) -> int:
        """The number of the next one."""
        self._number += 1
        return self._number

    # -- looking up -------------------------------------------------------------------------------------------------

    def of(self, flow: Flow) -> AnyConnection | None:
        """That of a flow; None when it is gone, and for UDP."""
        return self._open.get(flow.id)

    def stream_of(self, flow: Flow) -> Connection | None:
        """The same, without WebSockets."""
        connection = self._open.get(flow.id)
        return connection if isinstance(connection, Connection) else None

    def streams(self) -> Iterator[Connection]:
        """All but WebSockets."""
        return (connection for connection in self._open.values() if isinstance(connection, Connection))

    def towards(self, target: Target) -> Connection | None:
        """One that leads to a target: ours, or one by which the peer there wants to be reached."""
        return self._outgoing.get(target) or self._alias_of(target)

    def is_full(self, ip: str) -> bool:
        """Whether no more may come from this address, which is counted."""
        limits = self._limits
        full = len(self._open) >= limits.connections or self._per_source[ip] >= limits.connections_per_source
        if full:
            self._counters.inc("sip.dropped", reason="connections_full")
        return full

    # -- coming and going -------------------------------------------------------------------------------------------

    def add(self, connection: AnyConnection) -> None:
        """Keep one; what is sent to the target of one of ours goes over it from now on."""
        self._open[connection.number] = connection
        self._per_source[connection.peer_ip] += 1
        if isinstance(connection, Connection) and connection.target is not None:
            self._outgoing[connection.target] = connection

    def forget(self, connection: AnyConnection) -> None:
        """The connection is gone, whoever closed it."""
        if self._open.pop(connection.number, None) is None:
            return
        ip = connection.peer_ip
        self._per_source[ip] -= 1
        if self._per_source[ip] <= 0:
            del self._per_source[ip]
        target = connection.target
        if target is not None and self._outgoing.get(target) is connection:
            del self._outgoing[target]
        else:
            target = None  # another connection leads there by now
        if isinstance(connection, Connection):
            self._unalias(connection)
        if connection.flow is not None:
            self._on_closed(connection.flow, target)

    def renew_tls(self) -> None:
        """What is sent by TLS to a target next opens another connection; those that exist go on for what lives on them."""
        for target in [target for target in self._outgoing if target.transport == "tls"]:
            del self._outgoing[target]

    # -- aliases ----------------------------------------------------------------------------------------------------

    def alias(self, flow: Flow, port: int) -> None:
        """The peer of a TLS connection wants to be reached by it in place of one to its `port` (RFC 5923 §4).

        Only who has proven a name by a certificate: the connection serves calls to that name alone (§5).
        """
        connection = self.stream_of(flow)
        if connection is not None and connection.target is None and connection.certificate_names:
            self._unalias(connection)
            connection.alias = flow.remote_ip, port
            self._aliases[connection.alias] = connection

    def _unalias(self, connection: Connection) -> None:
        if connection.alias is not None and self._aliases.get(connection.alias) is connection:
            del self._aliases[connection.alias]
        connection.alias = None

    def _alias_of(self, target: Target) -> Connection | None:
        connection = self._aliases.get((target.host, target.port)) if target.transport == "tls" else None
        if connection is None or connection.is_closing():
            return None
        name = (target.server_name or target.host).lower()
        return connection if name in connection.certificate_names else None

    # -- closing ----------------------------------------------------------------------------------------------------

    def start_sweeping(self) -> None:
        """Look once a second for those that are idle, slow, or never said anything."""
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._on_sweep)

    def stop_sweeping(self) -> None:
        """Look no more."""
        if self._sweep is not None:
            self._sweep.cancel()

    async def close(self) -> None:
        """Close all; bytes already written are flushed for a moment."""
        for connection in list(self._open.values()):
            connection.close()
        for _ in range(20):
            if not self._open:
                break
            await asyncio.sleep(0.01)
        for connection in list(self._open.values()):
            connection.abort()
        await asyncio.sleep(0)

    def _on_sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._open.values()):
            if (reason := self._overdue(connection, now)) is not None:
                self._counters.inc("sip.connections_closed", reason=reason)
                connection.abort()
        self.start_sweeping()

    def _overdue(self, connection: AnyConnection, now: float) -> str | None:
        """Why a connection has to go, if it has."""
        limits, began = self._limits, connection.message_began_at
        if began is not None and now - began > limits.message_timeout_s:
            return "slow_message"
        never_spoke = connection.target is None and not connection.messages
        if never_spoke and now - connection.opened_at > limits.message_timeout_s * 2:
            return "silent"
        if now - connection.active_at <= limits.connection_idle_s:
            return None
        return None if connection.flow is not None and self._is_held(connection.flow) else "idle"
