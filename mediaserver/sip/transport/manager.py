"""All sockets of one user agent: opens binds, keeps the table of connections, finds the socket for what is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mediaserver.errors import LocalProtocolError
from mediaserver.runtime.dscp import mark
from mediaserver.sip.capture import Capture
from mediaserver.sip.certificates.standing import CertificateStanding
from mediaserver.sip.certificates.verdict import fingerprint
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.core import Announced
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import WEBSOCKET, Destination, Flow, Target, Transport, is_ip_literal
from mediaserver.sip.message import Request, Response
from mediaserver.sip.resolver import Resolver
from mediaserver.sip.transport.edge_way import EdgeWay, Ends
from mediaserver.sip.transport.listener import Listener, choose_listener
from mediaserver.sip.transport.stream import Connection, OnKeepAlive
from mediaserver.sip.transport.udp import UdpSocket
from mediaserver.sip.transport.websocket import WebSocketConnection

_Item = tuple[bytes, object]
_MAX_WAITING = 100
_FAREWELL_S = 1.0


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
        self._tls_server = tls_server
        self._tls_client = tls_client
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_keep_alive = on_keep_alive
        self._on_failure = on_failure
        self._on_closed = on_closed
        self._is_held = is_held
        self._capture = capture
        self._listeners: list[Listener] = []
        self._choose = lru_cache(maxsize=1024)(self._choose_listener)
        self._udp: dict[tuple[str, int], UdpSocket] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: dict[int, Connection | WebSocketConnection] = {}
        self._per_source: Counter[str] = Counter()
        self._outgoing: dict[Target, Connection] = {}
        self._aliases: dict[tuple[str, int], Connection] = {}
        """Connections of peers by which they want to be reached under this address and port (RFC 5923); one each."""
        self._waiting: dict[Target, list[_Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._stopping = False
        self.certificates: CertificateStanding | None = None
        """Says whether the certificates of peers still hold; without it all do."""
        self.edges: EdgeWay | None = None
        """Opens connections beyond the Edges; without it there are none."""

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open every bind. Raises OSError; what was opened is closed again."""
        try:
            for bind in self._config.binds:
                if bind.transport == "udp":
                    await self._open_udp(bind.ip, bind.port)
                    ip, port = list(self._udp)[-1]
                else:
                    if bind.transport == "tls" and self._tls_server is None:
                        raise LocalProtocolError("a tls bind needs a server context")
                    ip, port = await self._open_stream(bind.transport, bind.ip, bind.port)
                self._listeners.append(Listener(bind, bind.transport, ip, port))
                self._choose.cache_clear()
        except BaseException:
            await self.stop()
            raise
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._on_sweep)

    async def _open_udp(self, ip: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: UdpSocket(
                limits=self._config.limits.message,
                counters=self._counters,
                on_message=self._on_message,
                on_malformed=self._on_malformed,
                on_keep_alive=self._on_keep_alive,
                capture=self._capture,
            ),
            local_addr=(ip, port),
        )
        mark(transport.get_extra_info("socket"), self._config.dscp)
        self._udp[(protocol.ip, protocol.port)] = protocol

    async def _open_stream(self, transport: Transport, ip: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._new(transport, None), ip, port, backlog=256)
        self._servers.append(server)
        mark(server.sockets[0], self._config.dscp)
        name = server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def stop(self) -> None:
        """Close everything; bytes already written are flushed for a moment."""
        self._stopping = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.close()
        for udp in self._udp.values():
            udp.close()
        for _ in range(20):
            if not self._connections:
                break
            await asyncio.sleep(0.01)
        for connection in list(self._connections.values()):
            connection.abort()
        await asyncio.sleep(0)
        self._servers.clear()
        self._udp.clear()

    def set_tls(self, *, server: ssl.SSLContext | None, client: ssl.SSLContext | None) -> None:
        """Contexts for connections from now on. Those that exist go on for what lives on them, but what is sent to their

        target next opens another one, which shows the new certificate.
        """
        self._tls_server, self._tls_client = server, client
        for target in [target for target in self._outgoing if target.transport == "tls"]:
            del self._outgoing[target]

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        """Transport, address and port of every open bind."""
        return [(item.transport, item.ip, item.port) for item in self._listeners]

    @property
    def connections(self) -> int:
        """Open connections, handshakes under way included."""
        return len(self._connections)

    def _choose_listener(self, transport: Transport, local_ip: str | None, remote_ip: str | None) -> Listener | None:
        return choose_listener(self._listeners, transport, local_ip=local_ip, remote_ip=remote_ip)

    # -- Routes of the core -----------------------------------------------------------------------------------------

    def announced(self, destination: Destination) -> Announced:
        """What Via and Contact say towards a destination."""
        if isinstance(destination, Flow) and destination.is_websocket:
            return Announced(destination.transport, self._announced_ip(destination.local_ip), destination.local_port)
        if (beyond := self._announced_beyond(destination)) is not None:
            return beyond
        if isinstance(destination, Flow):
            local_ip: str | None = destination.local_ip
            remote_ip: str | None = destination.remote_ip
        else:
            local_ip, remote_ip = None, destination.host if is_ip_literal(destination.host) else None
        listener = self._choose(destination.transport, local_ip, remote_ip)
        if listener is None:
            raise LocalProtocolError(f"no transport leads to {destination}")
        return Announced(listener.transport, listener.announced_ip(remote_ip), listener.announced_port)

    def _announced_beyond(self, destination: Destination) -> Announced | None:
        """The same, where an Edge stands between; None where none does."""
        if isinstance(destination, Flow):
            connection = self._connections.get(destination.id)
        else:
            connection = self._outgoing.get(destination) or self._alias_of(destination)
        if isinstance(connection, Connection) and connection.ends is not None:
            ip, port = connection.ends.local
            return Announced(connection.kind, self._announced_ip(ip), port)
        if isinstance(destination, Target) and destination.at_edge and self.edges is not None:
            address = self.edges.announced()
            return Announced("tls", *address) if address is not None else None
        return None

    def _announced_ip(self, local_ip: str) -> str:
        """What peers are told in place of an address of ours."""
        binds = (item.bind for item in self._listeners if item.ip == local_ip)
        return next((bind.announced_ip for bind in binds if bind.announced_ip), local_ip)

    def is_local(self, host: str, port: int | None) -> bool:
        """True when a URI's host and port are ours."""
        if not is_ip_literal(host):
            return False
        for item in self._listeners:
            if port is not None and port not in (item.port, item.announced_port):
                continue
            if host in (item.ip, item.bind.announced_ip) or host == item.announced_ip(host):
                return True
        return self.edges is not None and self.edges.is_ours(host, port)

    def certificate_names(self, flow: Flow) -> tuple[str, ...]:
        """Names in the verified certificate of the peer; empty without one."""
        connection = self._connections.get(flow.id)
        return connection.certificate_names if connection is not None else ()

    def alias(self, flow: Flow, port: int) -> None:
        """The peer of a TLS connection wants to be reached by it in place of one to its `port` (RFC 5923 §4).

        Only who has proven a name by a certificate: the connection serves calls to that name alone (§5).
        """
        connection = self._connections.get(flow.id)
        if isinstance(connection, Connection) and connection.target is None and connection.certificate_names:
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

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes, destination: Destination, key: object) -> None:
        """Send one message. Never raises and never waits."""
        if isinstance(destination, Flow):
            if not self._send_flow(data, destination):
                self._fail(key, destination)
        elif destination.transport in WEBSOCKET:
            self._fail(key, destination)
        elif destination.transport == "udp" and is_ip_literal(destination.host):
            if not self._send_udp(data, destination.host, destination.port):
                self._fail(key, destination)
        else:
            self._send_target(data, destination, key)

    def _fail(self, key: object, destination: Destination) -> None:
        if not self._stopping:
            asyncio.get_running_loop().call_soon(self._on_failure, key, destination)

    def _send_flow(self, data: bytes, flow: Flow) -> bool:
        if flow.id:
            connection = self._connections.get(flow.id)
            return connection is not None and connection.send(data)
        udp = self._udp.get((flow.local_ip, flow.local_port))
        return udp is not None and udp.send(data, flow.remote_ip, flow.remote_port)

    def _send_udp(self, data: bytes, ip: str, port: int) -> bool:
        listener = self._choose("udp", None, ip)
        if listener is None or listener.transport != "udp":
            return False
        return self._udp[(listener.ip, listener.port)].send(data, ip, port)

    def _send_target(self, data: bytes, target: Target, key: object) -> None:
        connection = self._outgoing.get(target) or self._alias_of(target)
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
        task = asyncio.get_running_loop().create_task(self._reach(target), name=f"sip-connect-{target.host}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self, target: Target) -> None:
        """Resolve and connect, then send what waits."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._config.limits.connect_timeout_s):
                for ip in await self._resolver.addresses(target.host):
                    if target.transport == "udp":
                        for data, key in self._waiting.pop(target, []):
                            if not self._send_udp(data, ip, target.port):
                                self._fail(key, target)
                        return
                    connection = await self._connect(target, ip)
                    if connection is not None:
                        break
        except TimeoutError:
            self._counters.inc("sip.connects", result="timeout")
        finally:
            waiting = self._waiting.pop(target, [])
            for data, key in waiting:
                if connection is None or not connection.send(data):
                    self._fail(key, target)

    async def _connect(self, target: Target, ip: str) -> Connection | None:
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        server_name: str | None = None
        if target.transport == "tls":
            if self._tls_client is None:
                self._counters.inc("sip.connects", result="no_tls_context")
                return None
            context, server_name = self._tls_client, target.server_name or target.host
        if target.at_edge:
            return await self._connect_beyond(target, ip, context, server_name)
        try:
            transport, connection = await loop.create_connection(
                lambda: self._new(target.transport, target), ip, target.port, ssl=context, server_hostname=server_name
            )
        except (OSError, ssl.SSLError):
            self._counters.inc("sip.connects", result="failed")
            return None
        mark(transport.get_extra_info("socket"), self._config.dscp)
        self._counters.inc("sip.connects", result="ok")
        return connection

    async def _connect_beyond(
        self, target: Target, ip: str, context: ssl.SSLContext | None, server_name: str | None
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
                lambda: self._new("tls", target, ends), sock=carried, ssl=context, server_hostname=server_name
            )
        except (OSError, ssl.SSLError):
            carried.close()
            self._counters.inc("sip.connects", result="failed")
            return None
        self._counters.inc("sip.connects", result="ok")
        return connection

    # -- connections ------------------------------------------------------------------------------------------------

    def _new(self, transport: Transport, target: Target | None, ends: Ends | None = None) -> Connection:
        self._number += 1
        return Connection(
            transport=transport,
            number=self._number,
            target=target,
            limits=self._config.limits,
            on_open=self._opened,
            on_lost=self._forget,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_keep_alive=self._on_keep_alive,
            now=asyncio.get_running_loop().time,
            capture=self._capture,
            ends=ends,
        )

    def accept_stream(self, accepted: socket.socket, ends: Ends) -> None:
        """Take a connection for SIP over TLS that somebody else accepted; it is closed in any case."""
        task = asyncio.get_running_loop().create_task(self._accept(accepted, ends), name="sip-accept")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, accepted: socket.socket, ends: Ends) -> None:
        if self._stopping or self._tls_server is None:
            accepted.close()
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self._new("tls", None, ends), accepted)
        except OSError:
            accepted.close()

    def is_open(self, flow: Flow) -> bool:
        """Whether something can be sent over a flow; UDP always can."""
        connection = self._connections.get(flow.id)
        return not flow.id or (isinstance(connection, Connection) and not connection.is_closing())

    def close_flow(self, flow: Flow) -> None:
        """Close a connection that does not answer any more; nothing for UDP."""
        connection = self._connections.get(flow.id)
        if isinstance(connection, Connection) and not connection.is_closing():
            self._counters.inc("sip.connections_closed", reason="flow_failed")
            connection.abort()

    def accept_websocket(
        self, *, secure: bool, local: tuple[str, int], remote: tuple[str, int]
    ) -> WebSocketConnection | None:
        """Take a WebSocket that somebody else accepted; None where there are too many connections.

        `local` and `remote` are address and port of its two ends, `remote` as the source is counted.
        """
        if self._stopping or self._is_full(remote[0]):
            return None
        self._number += 1
        connection = WebSocketConnection(
            Flow("wss" if secure else "ws", *local, *remote, self._number),
            limits=self._config.limits,
            counters=self._counters,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_lost=self._forget,
            now=asyncio.get_running_loop().time,
            capture=self._capture,
        )
        self._keep(connection)
        return connection

    def _is_full(self, ip: str) -> bool:
        limits = self._config.limits
        full = len(self._connections) >= limits.connections or self._per_source[ip] >= limits.connections_per_source
        if full:
            self._counters.inc("sip.dropped", reason="connections_full")
        return full

    def _keep(self, connection: Connection | WebSocketConnection) -> None:
        self._connections[connection.number] = connection
        self._per_source[connection.peer_ip] += 1

    def _opened(self, connection: Connection) -> bool:
        if connection.target is None and self._is_full(connection.peer_ip):
            return False
        self._keep(connection)
        if connection.target is not None:
            connection.secured = True
            self._outgoing[connection.target] = connection
        elif connection.kind == "tls":
            # Accepted in the clear first, so that handshakes under way are counted and bounded like connections.
            task = asyncio.get_running_loop().create_task(self._secure(connection), name="sip-tls-accept")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _secure(self, connection: Connection) -> None:
        transport, context = connection.transport, self._tls_server
        if transport is None or context is None:
            connection.abort()
            return
        handshake = asyncio.ensure_future(
            asyncio.get_running_loop().start_tls(
                transport,
                connection,
                context,
                server_side=True,
                ssl_handshake_timeout=self._config.limits.message_timeout_s,
            )
        )
        try:
            # uvloop reads before start_tls can stop it, and a ClientHello that came by then is in our hands: one turn
            # lets start_tls take the transport over, the next one connects its protocol, which then gets the bytes.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if early := connection.take_early():
                _feed(transport.get_protocol(), early)
            secured = await handshake
        except (OSError, ssl.SSLError):
            self._counters.inc("sip.tls_handshakes", result="failed")
            connection.abort()
            self._forget(connection)
            return
        finally:
            handshake.cancel()  # when this task was cancelled before it came to wait for it
        if secured is None:
            self._forget(connection)
            return
        self._counters.inc("sip.tls_handshakes", result="ok")
        connection.certificate = _certificate_of(secured)
        if await self._holds(connection):
            connection.secure(secured)
        else:
            secured.abort()
            self._forget(connection)

    async def _holds(self, connection: Connection) -> bool:
        """Whether the certificate of a peer lets it in; until that is known nothing that it says is read."""
        if connection.certificate is None or self.certificates is None:
            return True
        if await self.certificates.holds(connection.certificate):
            return not connection.is_closing()
        self._counters.inc("sip.connections_closed", reason="certificate")
        return False

    def revoked_flows(self) -> list[Flow]:
        """Connections whose certificate is known to hold no more."""
        standing = self.certificates
        return [
            connection.flow
            for connection in self._connections.values()
            if isinstance(connection, Connection)
            and standing is not None
            and connection.flow is not None
            and connection.certificate is not None
            and standing.is_revoked(connection.certificate)
        ]

    def end_revoked(self, flow: Flow) -> None:
        """Close such a connection, after what is queued has been sent."""
        connection = self._connections.get(flow.id)
        if isinstance(connection, Connection):
            self._counters.inc("sip.connections_closed", reason="certificate")
            connection.close()
            # Whoever does not answer the end of TLS would keep it open.
            asyncio.get_running_loop().call_later(_FAREWELL_S, connection.abort)

    def certificate_of(self, flow: Flow) -> str | None:
        """Fingerprint of what the peer of a connection has shown."""
        connection = self._connections.get(flow.id)
        shown = connection.certificate if isinstance(connection, Connection) else None
        return fingerprint(shown) if shown is not None else None

    def _forget(self, connection: Connection | WebSocketConnection) -> None:
        """The connection is gone, whoever closed it."""
        if self._connections.pop(connection.number, None) is None:
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
        if connection.flow is not None and not self._stopping:
            self._on_closed(connection.flow, target)

    def _on_sweep(self) -> None:
        """Once a second: close what is idle, slow, or never said anything."""
        loop = asyncio.get_running_loop()
        now, limits = loop.time(), self._config.limits
        for connection in list(self._connections.values()):
            began = connection.message_began_at
            if began is not None and now - began > limits.message_timeout_s:
                reason = "slow_message"
            elif (
                connection.target is None
                and not connection.messages
                and now - connection.opened_at > limits.message_timeout_s * 2
            ):
                reason = "silent"
            elif now - connection.active_at > limits.connection_idle_s and not (
                connection.flow is not None and self._is_held(connection.flow)
            ):
                reason = "idle"
            else:
                continue
            self._counters.inc("sip.connections_closed", reason=reason)
            connection.abort()
        self._sweep = loop.call_later(1.0, self._on_sweep)


def _certificate_of(transport: asyncio.BaseTransport) -> bytes | None:
    tls = transport.get_extra_info("ssl_object")
    shown: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
    return shown


def _feed(protocol: Any, data: bytes) -> None:
    """Hand bytes to a buffered protocol as its transport would (uvloop's is none by inheritance)."""
    while data:
        buffer = protocol.get_buffer(len(data))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]
