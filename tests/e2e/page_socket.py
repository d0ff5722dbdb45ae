"""The WebSocket of a page without the page: for what a browser of good will would never say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.peers.daemon import Daemon


class PageSocket:
    """An open socket to ``/v1/session``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, kind: str, **members: Any) -> None:
        await self._socket.send_json({"type": kind, **members})

    async def hello(self, **members: Any) -> None:
        """The first message, as the page of the entry ``demo`` says it unless ``members`` say otherwise."""
        await self.send("hello", **{"version": 1, "role": "caller", "entry": "demo", **members})

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types."""
        async with asyncio.timeout(40):
            while True:
                message: dict[str, Any] = json.loads((await self._socket.receive()).data)
                if message["type"] in kinds:
                    return message

    async def refusal(self) -> str:
        """The code of the ``error`` with which the server closes the socket."""
        code = ""
        async with asyncio.timeout(40):
            async for frame in self._socket:
                code = json.loads(frame.data).get("code", "")
        return code

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    async def close(self) -> None:
        """Leave for good, as a page does that is closed."""
        await self._socket.close(code=1000)

    def vanish(self) -> None:
        """Lose the connection without a word."""
        response = self._socket._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()


class PageSockets:
    """Opens sockets from one address."""

    def __init__(self, server: Daemon, http: aiohttp.ClientSession) -> None:
        self._http = http
        # An address and no name, so that it is reached over IPv4, where every 127.0.0.x is ours.
        self._url = f"http://127.0.0.1:{server.ports.http}"

    async def open(self, *, query: str = "") -> PageSocket:
        """A socket as a page of the daemon's own opens it; raises ``aiohttp.WSServerHandshakeError``."""
        url = f"{self._url}/v1/session{query}"
        return PageSocket(await self._http.ws_connect(url, headers={"Origin": self._url}))


@contextlib.asynccontextmanager
async def page_sockets(server: Daemon, *, source: str = "127.0.0.1") -> AsyncIterator[PageSockets]:
    """A place to open sockets from; ``source`` is the loopback address that limits per source see."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield PageSockets(server, http)
