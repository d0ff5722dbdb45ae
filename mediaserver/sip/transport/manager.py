"""All sockets of one user agent: takes connections, and finds the socket for what is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.capture import Capture
from mediaserver.sip.certificates.standing import CertificateStanding
from mediaserver.sip.certificates.verdict import fingerprint
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.core import Announced
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import WEBSOCKET, Destination, Flow, Target, Transport, is_ip_literal
from mediaserver.sip.message import Request, Response
from mediaserver.sip.resolver import Resolver
from mediaserver.sip.transport.binds import Binds
from mediaserver.sip.transport.connections import Connections
from mediaserver.sip.transport.dialler import Dialler
from mediaserver.sip.transport.edge_way import EdgeWay, Ends
from mediaserver.sip.transport.handshakes import Handshakes
from mediaserver.sip.transport.stream import Connection, OnKeepAlive
from mediaserver.sip.transport.udp import UdpSocket
from mediaserver.sip.transport.websocket import WebSocketConnection

_Item = tuple[bytes, object]
_MAX_WAITING = 100


class Transports:
    """Sockets in, sockets out. Failures of what was sent come to `on_failure`, never as exceptions of `send`."""

    def __init__(
        self,
        *,
        config: SipConfig,
        counters: Counters,
        resolver: Resolver,
        tls_server: ssl.SSLContext | None,
        tls_client: ssl.SSLContext | None,
        on_message: Callable[[Request | Response, Flow], None],
        on_malformed: Callable[[SipParseError, Request | None, Flow], None],
        on_keep_alive: OnKeepAlive,
        on_failure: Callable[[object, Destination], None],
        on_closed: Callable[[Flow, Target | None], None],
        is_held: Callable[[Flow], bool],
        capture: Capture | None = None,
    ) -> None:
        self._config = config
        self._counters = counters
        self._resolver = resolver
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_keep_alive = on_keep_alive
        self._on_failure = on_failure
        self._on_closed = on_closed
        self._capture = capture
        self._binds = Binds(
            config.binds, dscp=config.dscp, new_udp=self._new_udp, new_connection=lambda kind: self._new(kind, None)
        )
        self._connections = Connections(
            limits=config.limits, counters=counters, on_closed=self._closed, is_held=is_held
        )
        self._handshakes = Handshakes(tls_server, timeout_s=config.limits.message_timeout_s, counters=counters)
        self._dialler = Dialler(tls_client, dscp=config.dscp, counters=counters)
        self._waiting: dict[Target, list[_Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open every bind. Raises OSError; what was opened is closed again."""
        if self._handshakes.context is None and any(bind.transport == "tls" for bind in self._config.binds):
            raise LocalProtocolError("a tls bind needs a server context")
        try:
            await self._binds.open()
        except BaseException:
            await self.stop()
            raise
        self._connections.start_sweeping()

    async def stop(self) -> None:
        """Close everything; bytes already written are flushed for a moment."""
        self._stopping = True
        self._connections.stop_sweeping()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)
        self._binds.close()
        await self._connections.close()

    def set_tls(self, *, server: ssl.SSLContext | None, client: ssl.SSLContext | None) -> None:
        """Contexts for connections from now on. Those that exist go on for what lives on them, but what is sent to their

        target next opens another one, which shows the new certificate.
        """
        self._handshakes.context, self._dialler.context = server, client
        self._connections.renew_tls()

    def use_edges(self, edges: EdgeWay) -> None:
        """What is beyond the Edges is reached by these."""
        self._dialler.edges = edges

    def use_certificates(self, standing: CertificateStanding) -> None:
        """Says from now on whether the certificates of peers still hold."""
        self._handshakes.standing = standing

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        """Transport, address and port of every open bind."""
        return self._binds.listening

    # -- Routes of the core -----------------------------------------------------------------------------------------

    def announced(self, destination: Destination) -> Announced:
        """What Via and Contact say towards a destination."""
        if isinstance(destination, Flow) and destination.is_websocket:
            return Announced(
                destination.transport, self._binds.announced_ip(destination.local_ip), destination.local_port
            )
        if (beyond := self._announced_beyond(destination)) is not None:
            return beyond
        if isinstance(destination, Flow):
            local_ip: str | None = destination.local_ip
            remote_ip: str | None = destination.remote_ip
        else:
            local_ip, remote_ip = None, destination.host if is_ip_literal(destination.host) else None
        announced = self._binds.announced(destination.transport, local_ip=local_ip, remote_ip=remote_ip)
        if announced is None:
            raise LocalProtocolError(f"no transport leads to {destination}")
        return announced

    def _announced_beyond(self, destination: Destination) -> Announced | None:
        """The same, where an Edge stands between; None where none does."""
        if isinstance(destination, Flow):
            connection = self._connections.stream_of(destination)
        else:
            connection = self._connections.towards(destination)
        if connection is not None and connection.ends is not None:
            ip, port = connection.ends.local
            return Announced(connection.kind, self._binds.announced_ip(ip), port)
        if isinstance(destination, Target) and destination.at_edge and self._dialler.edges is not None:
            address = self._dialler.edges.announced()
            return Announced("tls", *address) if address is not None else None
        return None

    def is_local(self, host: str, port: int | None) -> bool:
        """True when a URI's host and port are ours."""
        if not is_ip_literal(host):
            return False
        edges = self._dialler.edges
        return self._binds.is_ours(host, port) or (edges is not None and edges.is_ours(host, port))

    def certificate_names(self, flow: Flow) -> tuple[str, ...]:
        """Names in the verified certificate of the peer; empty without one."""
        connection = self._connections.of(flow)
        return connection.certificate_names if connection is not None else ()

    def alias(self, flow: Flow, port: int) -> None:
        """The peer of a TLS connection wants to be reached by it in place of one to its `port` (RFC 5923 §4)."""
        self._connections.alias(flow, port)

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes, destination: Destination, key: object) -> None:
        """Send one message. Never raises and never waits."""
        if isinstance(destination, Flow):
            if not self._send_flow(data, destination):
                self._fail(key, destination)
        elif destination.transport in WEBSOCKET:
            self._fail(key, destination)
        elif destination.transport == "udp" and is_ip_literal(destination.host):
            if not self._binds.send(data, destination.host, destination.port):
                self._fail(key, destination)
        else:
            self._send_target(data, destination, key)

    def _fail(self, key: object, destination: Destination) -> None:
        if not self._stopping:
            asyncio.get_running_loop().call_soon(self._on_failure, key, destination)

    def _send_flow(self, data: bytes, flow: Flow) -> bool:
        if flow.id:
            connection = self._connections.of(flow)
            return connection is not None and connection.send(data)
        return self._binds.send_from((flow.local_ip, flow.local_port), data, flow.remote_ip, flow.remote_port)

    def _send_target(self, data: bytes, target: Target, key: object) -> None:
        connection = self._connections.towards(target)
        if connection is not None:
            if not connection.send(data):
                self._fail(key, target)
            return
        waiting = self._waiting.get(target)
        if waiting is not None:
            if len(waiting) >= _MAX_WAITING:
                self._counters.inc("sip.dropped", reason="connect_queue")
                self._fail(key, target)
            else:
                waiting.append((data, key))
            return
        if self._stopping or len(self._connections) + len(self._waiting) >= self._config.limits.connections:
            self._counters.inc("sip.dropped", reason="connections_full")
            self._fail(key, target)
            return
        self._waiting[target] = [(data, key)]
        self._spawn(self._reach(target), f"sip-connect-{target.host}")

    async def _reach(self, target: Target) -> None:
        """Resolve and connect, then send what waits."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._config.limits.connect_timeout_s):
                for ip in await self._resolver.addresses(target.host):
                    if target.transport == "udp":
                        for data, key in self._waiting.pop(target, []):
                            if not self._binds.send(data, ip, target.port):
                                self._fail(key, target)
                        return
                    connection = await self._dialler.dial(target, ip, partial(self._new, target.transport, target))
                    if connection is not None:
                        break
        except TimeoutError:
            self._counters.inc("sip.connects", result="timeout")
        finally:
            waiting = self._waiting.pop(target, [])
            for data, key in waiting:
                if connection is None or not connection.send(data):
                    self._fail(key, target)

    # -- connections ------------------------------------------------------------------------------------------------

    def _new_udp(self) -> UdpSocket:
        return UdpSocket(
            limits=self._config.limits.message,
            counters=self._counters,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_keep_alive=self._on_keep_alive,
            capture=self._capture,
        )

    def _new(self, transport: Transport, target: Target | None, ends: Ends | None = None) -> Connection:
        return Connection(
            transport=transport,
            number=self._connections.new_number(),
            target=target,
            limits=self._config.limits,
            on_open=self._opened,
            on_lost=self._connections.forget,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_keep_alive=self._on_keep_alive,
            now=asyncio.get_running_loop().time,
            capture=self._capture,
            ends=ends,
        )

    def accept_stream(self, accepted: socket.socket, ends: Ends) -> None:
        """Take a connection for SIP over TLS that somebody else accepted; it is closed in any case."""
        self._spawn(self._accept(accepted, ends), "sip-accept")

    async def _accept(self, accepted: socket.socket, ends: Ends) -> None:
        if self._stopping or self._handshakes.context is None:
            accepted.close()
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self._new("tls", None, ends), accepted)
        except OSError:
            accepted.close()

    def is_open(self, flow: Flow) -> bool:
        """Whether something can be sent over a flow; UDP always can."""
        connection = self._connections.stream_of(flow)
        return not flow.id or (connection is not None and not connection.is_closing())

    def close_flow(self, flow: Flow) -> None:
        """Close a connection that does not answer any more; nothing for UDP."""
        connection = self._connections.stream_of(flow)
        if connection is not None and not connection.is_closing():
            self._counters.inc("sip.connections_closed", reason="flow_failed")
            connection.abort()

    def accept_websocket(
        self, *, secure: bool, local: tuple[str, int], remote: tuple[str, int]
    ) -> WebSocketConnection | None:
        """Take a WebSocket that somebody else accepted; None where there are too many connections.

        `local` and `remote` are address and port of its two ends, `remote` as the source is counted.
        """
        if self._stopping or self._connections.is_full(remote[0]):
            return None
        connection = WebSocketConnection(
            Flow("wss" if secure else "ws", *local, *remote, self._connections.new_number()),
            limits=self._config.limits,
            counters=self._counters,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_lost=self._connections.forget,
            now=asyncio.get_running_loop().time,
            capture=self._capture,
        )
        self._connections.add(connection)
        return connection

    def _opened(self, connection: Connection) -> bool:
        if connection.target is None and self._connections.is_full(connection.peer_ip):
            return False
        self._connections.add(connection)
        if connection.target is not None:
            connection.secured = True
        elif connection.kind == "tls":
            # Accepted in the clear first, so that handshakes under way are counted and bounded like connections.
            self._spawn(self._secure(connection), "sip-tls-accept")
        return True

    async def _secure(self, connection: Connection) -> None:
        if not await self._handshakes.secure(connection):
            self._connections.forget(connection)

    def _closed(self, flow: Flow, target: Target | None) -> None:
        if not self._stopping:
            self._on_closed(flow, target)

    def _spawn(self, coro: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- certificates -----------------------------------------------------------------------------------------------

    def revoked_flows(self) -> list[Flow]:
        """Connections whose certificate is known to hold no more."""
        return [
            connection.flow
            for connection in self._connections.streams()
            if connection.flow is not None and self._handshakes.is_revoked(connection)
        ]

    def end_revoked(self, flow: Flow) -> None:
        """Close such a connection, after what is queued has been sent."""
        connection = self._connections.stream_of(flow)
        if connection is not None:
            self._handshakes.end_revoked(connection)

    def certificate_of(self, flow: Flow) -> str | None:
        """Fingerprint of what the peer of a connection has shown."""
        connection = self._connections.stream_of(flow)
        shown = connection.certificate if connection is not None else None
        return fingerprint(shown) if shown is not None else None
