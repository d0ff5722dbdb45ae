"""A reverse proxy of a house: shows a server beneath a path, and other things of its own beside it."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSMsgType, web

from tests.peers.namespace import LOOPBACK

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "content-encoding", "host"}


class PathProxy:
    """Listens on localhost. `strips`: the server is asked without the path, as by nginx's `proxy_pass http://server/`."""

    def __init__(self, target: str, path: str, *, strips: bool) -> None:
        self.port = LOOPBACK.free_port()
        self.origin = f"http://localhost:{self.port}"
        self.url = f"{self.origin}{path}"
        self.elsewhere: list[str] = []
        """Paths beside it that somebody asked for."""
        self._target = target
        self._path = path
        self._strips = strips
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Serve."""
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """End."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith(f"{self._path}/"):
            self.elsewhere.append(request.path)
            return web.Response(status=404)
        where = request.path_qs.removeprefix(self._path) if self._strips else request.path_qs
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        # As with `proxy_set_header Host $host`.
        headers["Host"] = request.host
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, where, headers)
        assert self._session is not None
        body = await request.read()
        async with self._session.request(
            request.method, f"{self._target}{where}", headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
            response = web.Response(status=answer.status, body=await answer.read())
            for name, value in kept:
                response.headers[name] = value
            return response

    async def _socket(self, request: web.Request, where: str, headers: dict[str, str]) -> web.StreamResponse:
        assert self._session is not None
        protocols = [
            each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each.strip()
        ]
        kept = {name: value for name, value in headers.items() if not name.lower().startswith("sec-websocket")}
        async with self._session.ws_connect(f"{self._target}{where}", headers=kept, protocols=protocols) as far:
            near = web.WebSocketResponse(protocols=protocols)
            await near.prepare(request)
            done, rest = await asyncio.wait(
                [asyncio.create_task(_pass_on(near, far)), asyncio.create_task(_pass_on(far, near))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in (*done, *rest):
                task.cancel()
            await asyncio.gather(*done, *rest, return_exceptions=True)
            await near.close()
            return near


async def _pass_on(
    one: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    other: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in one:
        if message.type is WSMsgType.TEXT:
            await other.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await other.send_bytes(message.data)
