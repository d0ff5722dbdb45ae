"""The two web applications, public and administration, and the listeners that serve them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import structlog
from aiohttp import web

from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.middleware import limited, observed
from mediaserver.api.problem import problems
from mediaserver.api.source import SourceResolver
from mediaserver.api.visitor_protocol import VisitorProtocol

log = structlog.get_logger()


class Resource(Protocol):
    """Something with routes."""

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one listener."""

    connections: int = 5000
    requests_per_second_per_source: float = 50.0
    request_burst_per_source: float = 100.0
    max_body_bytes: int = 262_144
    max_line_bytes: int = 8_190
    """Of the request line, and of a single header."""
    max_headers: int = 64
    idle_s: float = 20.0
    """A connection that has sent no whole request header for this long is closed."""
    handshake_s: float = 10.0


def make_app(
    resources: Iterable[Resource],
    *,
    name: str,
    metrics: ApiMetrics,
    source_of: SourceResolver,
    limits: HttpLimits | None = None,
    prefix: str = "",
) -> web.Application:
    """An application with everything that holds for all resources; `name` is the listener's in logs. With a `prefix`, like
    `/video`, everything is beneath it, too: a proxy may take it away, or leave it."""
    limits = limits or HttpLimits()
    app = web.Application(
        middlewares=[
            observed(metrics=metrics, source_of=source_of, listener=name, prefix=prefix),
            problems,
            limited(
                per_second=limits.requests_per_second_per_source,
                burst=limits.request_burst_per_source,
                source_of=source_of,
            ),
        ],
        client_max_size=limits.max_body_bytes,
    )
    for resource in resources:
        routes = resource.routes()
        app.add_routes(routes)
        if prefix:
            app.add_routes(_beneath(prefix, routes))
    return app


def _beneath(prefix: str, routes: Iterable[web.AbstractRouteDef]) -> Iterator[web.RouteDef]:
    for route in routes:
        if not isinstance(route, web.RouteDef):
            raise TypeError(f"{type(route).__name__} has no path of its own")
        yield web.RouteDef(route.method, f"{prefix}{route.path}", route.handler, route.kwargs)
        if route.path == "/":
            yield web.RouteDef(route.method, prefix, route.handler, route.kwargs)


@dataclass(frozen=True, slots=True)
class Bind:
    """An address to listen on; port 0 takes a free one. With `tls` it speaks HTTPS."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Listeners:
    """Serves one application on any number of addresses, with a bound on connections."""

    def __init__(
        self, app: web.Application, binds: Sequence[Bind], *, metrics: ApiMetrics, limits: HttpLimits | None = None
    ) -> None:
        self._app = app
        self._binds = binds
        self._metrics = metrics
        self._limits = limits or HttpLimits()
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._beginning: set[asyncio.Task[None]] = set()
        """Handshakes of connections that somebody else has accepted."""
        self.addresses: list[tuple[str, int]] = []
        """Where it listens, in the order of `binds`, once started."""

    async def start(self) -> None:
        """Raises `OSError` when an address cannot be had; nothing is left open then."""
        limits = self._limits
        self._runner = web.AppRunner(
            self._app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=limits.idle_s,
            max_line_size=limits.max_line_bytes,
            max_field_size=limits.max_line_bytes,
            max_headers=limits.max_headers,
            lingering_time=2.0,
            shutdown_timeout=2.0,
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            for bind in self._binds:
                server = await loop.create_server(
                    self._protocol,
                    bind.host,
                    bind.port,
                    ssl=bind.tls,
                    ssl_handshake_timeout=limits.handshake_s if bind.tls else None,
                    backlog=512,
                )
                self._servers.append(server)
                host, port = server.sockets[0].getsockname()[:2]
                self.addresses.append((host, port))
        except BaseException:
            await self.stop()
            raise

    def take(
        self,
        connection: socket.socket,
        tls: ssl.SSLContext,
        *,
        source: tuple[str, int],
        link: int = 0,
        in_clear: bool = False,
    ) -> None:
        """Serve HTTPS on a connection that somebody else has accepted; it is closed in any case.

        `source` is the visitor's address, which the socket does not know when the connection came over an Edge by `link`.
        With `in_clear` that Edge has ended the visitor's TLS: for who is served it is HTTPS all the same."""
        visitor = VisitorProtocol(self._protocol(), source, link=link, tls=tls if in_clear else None)
        task = asyncio.create_task(self._begin(connection, None if in_clear else tls, visitor), name="https-handshake")
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, tls: ssl.SSLContext | None, visitor: VisitorProtocol) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: visitor,
                connection,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._limits.handshake_s,
            )
        except (OSError, TimeoutError):
            # The visitor has gone, or does not speak TLS: what it said first was all that was read before.
            self._metrics.connections_refused.inc()
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server if self._runner is not None else None
        if server is None or len(server.connections) >= self._limits.connections:
            self._metrics.connections_refused.inc()
            return _Full()
        return server()

    async def stop(self) -> None:
        """Close the listeners, then every connection; requests in progress have two seconds."""
        for task in tuple(self._beginning):
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


class _Full(asyncio.Protocol):
    """Answers a connection over the limit without reading anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        cast("asyncio.Transport", transport).close()
