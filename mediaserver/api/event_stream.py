"""`/v1/events`: what happens to contacts and calls, as a WebSocket stream that begins where the last one ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Final

from aiohttp import WSCloseCode, web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from mediaserver.api.auth import AdminAuth
from mediaserver.api.limits import Occupancy
from mediaserver.api.operation import JSON, Operation, read_query, routes
from mediaserver.api.problem import Problem
from mediaserver.api.source import SourceResolver
from mediaserver.store.events import StoredEvent
from mediaserver.store.journal import CursorLost, Journal

_BATCH: Final = 100
_HEARTBEAT_S: Final = 20.0
_SLOW_S: Final = 30.0
CURSOR_LOST: Final = 4410
"""Close code of a stream that fell behind what is kept; like HTTP's 410."""
TOKEN_GONE: Final = 4401
"""Close code of a stream whose token has expired or was revoked; like HTTP's 401."""


class EventsQuery(BaseModel):
    """Where to begin."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    after: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,16}$")] | None = None
    """`cursor` of the last event that was seen; without it a stream begins now, and a list with the oldest."""
    limit: Annotated[int, Field(ge=1, le=1000)] = _BATCH
    """Events at most, of a list."""


class EventShown(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    cursor: str
    """Goes into `after` for what came next; opaque, and greater than all before it."""
    type: str
    """`contact.started`, `call.answered`, `contact.ended` and so on."""
    timestamp: str
    """ISO 8601 in UTC."""
    data: dict[str, JsonValue]
    """`contact_id`, `call_id`, and what there is to say."""


class EventPage(BaseModel):
    """A part of the list."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    items: list[EventShown]
    next: str
    """Goes into `after` for what comes next, now or later."""


class EventsResource:
    """Needs the scope `events`."""

    def __init__(
        self,
        *,
        journal: Journal,
        admin: AdminAuth,
        source_of: SourceResolver,
        streams: int = 100,
        streams_per_source: int = 20,
        heartbeat_s: float = _HEARTBEAT_S,
    ) -> None:
        self._journal = journal
        self._admin = admin
        self._source_of = source_of
        self._occupancy = Occupancy("event_streams", per_source=streams_per_source, total=streams)
        self._heartbeat_s = heartbeat_s
        self._sockets: set[web.WebSocketResponse] = set()

    def operations(self) -> list[Operation]:
        """The stream, and the same as a list."""
        return [
            Operation(
                method="GET",
                path="/v1/events",
                handler=self.read,
                summary="Events after a cursor: a list, or with `Upgrade: websocket` (RFC 6455) a stream of them, one "
                f"text message each, that goes on. It is closed with {CURSOR_LOST} when it falls behind what is kept, and "
                f"with {TOKEN_GONE} when its token ends.",
                scope="events",
                answer=EventPage,
                query=EventsQuery,
                problems={
                    410: "Not everything after this cursor is kept any more; `oldest` is the first from which all is.",
                    503: "The store cannot be read.",
                },
            )
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read(self, request: web.Request) -> web.StreamResponse:
        """A list, or a stream where the request asks for one."""
        self._admin.require(request, "events")
        query = read_query(request, EventsQuery)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request, query)
        begin = int(query.after) if query.after is not None else self._journal.oldest
        found = await self._after(begin, query.limit)
        following = found[-1].number if found else begin
        text = f'{{"items":[{",".join(event.text for event in found)}],"next":"{following}"}}'
        return web.Response(text=text, content_type=JSON, headers={"Cache-Control": "no-store"})

    async def stop(self) -> None:
        """Ends every stream; whoever listens comes back with a cursor."""
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")

    async def _after(self, number: int, limit: int) -> list[StoredEvent]:
        try:
            return list(await self._journal.after(number, limit))
        except CursorLost as error:
            raise Problem(410, "cursor-lost", str(error), oldest=str(error.oldest)) from None

    async def _stream(self, request: web.Request, query: EventsQuery) -> web.StreamResponse:
        begin = int(query.after) if query.after is not None else self._journal.last
        await self._after(begin, 1)  # a cursor that is lost is told before the upgrade
        with self._occupancy.held(self._source_of(request)):
            socket = web.WebSocketResponse(heartbeat=self._heartbeat_s, max_msg_size=1024)
            await socket.prepare(request)
            self._sockets.add(socket)
            sender = asyncio.ensure_future(self._send(request, socket, begin))
            try:
                async for _ in socket:
                    pass  # whatever listeners say means nothing; reading notices that they have gone
            finally:
                self._sockets.discard(socket)
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sender
        return socket

    async def _send(self, request: web.Request, socket: web.WebSocketResponse, number: int) -> None:
        try:
            await socket.send_str(json.dumps({"type": "stream.began", "cursor": str(number)}))
            while True:
                self._admin.require(request, "events")
                found = await self._after(number, _BATCH)
                for event in found:
                    async with asyncio.timeout(_SLOW_S):
                        await socket.send_str(event.text)
                    number = event.number
                if not found:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._heartbeat_s):
                            await self._journal.news(number)
        except Problem as problem:
            code = CURSOR_LOST if problem.status == 410 else TOKEN_GONE
            await socket.close(code=code, message=problem.detail.encode()[:123])
        except TimeoutError:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow")
        except ConnectionError:
            await socket.close()
