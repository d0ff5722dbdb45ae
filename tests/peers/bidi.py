"""WebDriver BiDi: commands and events as JSON on one WebSocket that the browser itself serves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from tests.peers.namespace import Network
from tests.peers.process import PeerError


class Bidi:
    """An open connection; what the pages log goes to whoever has asked for that window."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._logs: dict[str, Callable[[dict[str, Any]], None]] = {}

    async def command(self, method: str, timeout_s: float = 60.0, **parameters: Any) -> dict[str, Any]:
        """One command; raises :class:`PeerError` with the browser's own words."""
        number = next(self._numbers)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await reply
        except TimeoutError:
            raise PeerError(f"the browser did not answer {method} in {timeout_s} s") from None
        finally:
            del self._replies[number]
        if answer["type"] == "error":
            raise PeerError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def on_log(self, context: str, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand every ``log.entryAdded`` of a window to ``take``."""
        self._logs[context] = take

    async def read(self) -> None:
        """Feed replies and log entries until the connection ends."""
        async for message in self._socket:
            data = json.loads(message.data)
            if data["type"] == "event":
                if data["method"] == "log.entryAdded":
                    take = self._logs.get(data["params"]["source"].get("context") or "")
                    if take is not None:
                        take(data["params"])
            elif (waiting := self._replies.get(data.get("id") or 0)) is not None and not waiting.done():
                waiting.set_result(data)


@contextlib.asynccontextmanager
async def bidi(network: Network, port: int) -> AsyncIterator[Bidi]:
    """Connect to a browser inside ``network`` and begin a session that takes any certificate."""

    def open_socket(info: Any) -> Any:
        sock = network.open_socket(info[0], info[1])
        sock.setblocking(False)
        return sock

    connector = aiohttp.TCPConnector(socket_factory=open_socket)
    url = f"ws://127.0.0.1:{port}/session"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url, max_msg_size=1 << 26) as socket,
    ):
        connection = Bidi(socket)
        reader = asyncio.create_task(connection.read(), name="bidi")
        try:
            await connection.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
            await connection.command("session.subscribe", events=["log.entryAdded"])
            yield connection
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
