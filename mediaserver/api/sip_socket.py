"""SIP over WebSocket (RFC 7118): upgrades requests of SIP clients in web pages and hands their sockets to the SIP stack."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Final, Protocol

import structlog
from aiohttp import WSMsgType, web

from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.origins import Origins
from mediaserver.api.problem import Problem
from mediaserver.api.session_channel import CLOSE_TRY_AGAIN
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.sources import unmapped

_SUBPROTOCOL: Final = "sip"
"""RFC 7118 §4.1: client and server must agree on it."""
_CLOSE_S: Final = 2.0
_log = structlog.get_logger(__name__)


class SipConnection(Protocol):
    """One connection as the SIP stack wants it served."""

    def receive(self, data: bytes) -> None:
        """One message came."""

    async def outgoing(self) -> bytes | None:
        """The next message to send; None when the socket is to be closed."""

    def lost(self) -> None:
        """The socket is gone."""


class SipAcceptor(Protocol):
    """The SIP stack."""

    def accept_websocket(
        self, *, secure: bool, local: tuple[str, int], remote: tuple[str, int]
    ) -> SipConnection | None:
        """Take a WebSocket; None where there are too many."""


class SipSocketResource:
    """The path that SIP clients connect to. Who they are, they prove by SIP's own digest."""

    def __init__(
        self,
        *,
        path: str,
        origins: Origins,
        acceptor: SipAcceptor,
        source_of: SourceResolver,
        metrics: ApiMetrics,
        max_message_bytes: int,
        heartbeat_s: float = 30.0,
    ) -> None:
        self._path = path
        self._origins = origins
        self._acceptor = acceptor
        self._source_of = source_of
        self._metrics = metrics
        self._max_message_bytes = max_message_bytes
        self._heartbeat_s = heartbeat_s
        self._open: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return [web.get(self._path, self.connect, allow_head=False)]

    async def stop(self) -> None:
        """Close every socket."""
        await asyncio.gather(*(_close(socket, 1001, b"shutdown") for socket in list(self._open)))

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade and serve until either side closes."""
        self._check(request)
        socket = web.WebSocketResponse(
            protocols=(_SUBPROTOCOL,),
            heartbeat=self._heartbeat_s,
            max_msg_size=self._max_message_bytes,
            compress=False,
            timeout=_CLOSE_S,
        )
        await socket.prepare(request)
        connection = self._acceptor.accept_websocket(
            secure=request.secure, local=_local(request), remote=(self._source_of(request), _port(request))
        )
        if connection is None:
            await _close(socket, CLOSE_TRY_AGAIN, b"too many connections")
            return socket
        self._open.add(socket)
        writer = asyncio.create_task(_write(socket, connection), name="sip-websocket-writer")
        try:
            await _read(socket, connection)
        finally:
            self._open.discard(socket)
            writer.cancel()
            connection.lost()
        return socket

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Problem(
                426,
                "upgrade-required",
                "This is SIP over WebSocket (RFC 7118); connect with a SIP client of a web page.",
                headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": _SUBPROTOCOL},
            )
        offered = {
            name.strip().lower()
            for value in request.headers.getall("Sec-WebSocket-Protocol", ())
            for name in value.split(",")
        }
        if _SUBPROTOCOL not in offered:
            raise Problem(400, "wrong-subprotocol", "The WebSocket subprotocol must be `sip` (RFC 7118 §4.1).")
        origin = request.headers.get("Origin")
        if origin is not None and not self._origins.allow_request(request):
            self._metrics.session_refused("origin")
            raise Problem(
                403,
                "origin-refused",
                f"Pages of {origin[:256]} may not connect here; list the origin under "
                "`listeners.sip.websocket.allowed_origins`.",
            )


async def _read(socket: web.WebSocketResponse, connection: SipConnection) -> None:
    async for frame in socket:
        if frame.type is WSMsgType.TEXT:
            connection.receive(frame.data.encode("utf-8", "surrogateescape"))
        elif frame.type is WSMsgType.BINARY:
            connection.receive(frame.data)
        else:
            return


async def _write(socket: web.WebSocketResponse, connection: SipConnection) -> None:
    while (data := await connection.outgoing()) is not None:
        try:
            await _send(socket, data)
        except (ConnectionError, RuntimeError) as error:
            _log.debug("sip_websocket_lost", error=str(error))
            return
    await _close(socket, 1000, b"")


async def _send(socket: web.WebSocketResponse, data: bytes) -> None:
    # RFC 7118 §5.2: either kind is right; clients in browsers are written for text.
    try:
        text = data.decode()
    except UnicodeDecodeError:
        await socket.send_bytes(data)
        return
    await socket.send_str(text)


async def _close(socket: web.WebSocketResponse, code: int, reason: bytes) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await socket.close(code=code, message=reason)
    except (TimeoutError, ConnectionError, RuntimeError) as error:
        _log.debug("sip_websocket_not_closed", error=str(error))


def _local(request: web.Request) -> tuple[str, int]:
    name = _name(request, "sockname")
    return name if name is not None else ("0.0.0.0", 0)


def _port(request: web.Request) -> int:
    name = _name(request, "peername")
    return name[1] if name is not None else 0


def _name(request: web.Request, what: str) -> tuple[str, int] | None:
    name = request.transport.get_extra_info(what) if request.transport is not None else None
    if not name:
        return None
    return str(unmapped(ip_address(str(name[0]).partition("%")[0]))), int(name[1])
