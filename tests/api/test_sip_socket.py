"""The WebSocket of SIP clients: who may upgrade, and how messages pass between the socket and the SIP stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from mediaserver.api.app import Bind, HttpLimits, Listeners, make_app
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.origins import Origins
from mediaserver.api.sip_socket import SipSocketResource
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.metrics import Metrics

PAGE = "https://www.example.org"


@dataclass
class Connection:
    """Remembers what came, and sends what the test says; None closes."""

    received: list[bytes] = field(default_factory=list)
    outbox: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, data: bytes) -> None:
        self.received.append(data)
        self.came.set()

    async def outgoing(self) -> bytes | None:
        return await self.outbox.get()

    def lost(self) -> None:
        self.gone.set()


@dataclass
class Stack:
    """The SIP stack: takes everybody unless it is full."""

    full: bool = False
    ends: list[tuple[bool, tuple[str, int], tuple[str, int]]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def accept_websocket(self, *, secure: bool, local: tuple[str, int], remote: tuple[str, int]) -> Connection | None:
        if self.full:
            return None
        self.ends.append((secure, local, remote))
        self.connections.append(Connection())
        return self.connections[-1]


@dataclass
class House:
    stack: Stack
    resource: SipSocketResource
    http: aiohttp.ClientSession
    port: int

    async def connect(
        self, *, origin: str | None = PAGE, protocols: tuple[str, ...] = ("sip",)
    ) -> aiohttp.ClientWebSocketResponse:
        headers = {"Origin": origin} if origin else {}
        return await self.http.ws_connect("/sip", headers=headers, protocols=protocols)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    metrics, stack = ApiMetrics(Metrics()), Stack()
    source_of = SourceResolver()
    resource = SipSocketResource(
        path="/sip",
        origins=Origins.of(["self", PAGE]),
        acceptor=stack,
        source_of=source_of,
        metrics=metrics,
        max_message_bytes=4096,
    )
    limits = HttpLimits()
    app = make_app([resource], name="http", metrics=metrics, source_of=source_of, limits=limits)
    listeners = Listeners(app, [Bind("127.0.0.1", 0)], metrics=metrics, limits=limits)
    await listeners.start()
    port = listeners.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        yield House(stack, resource, http, port)
        await resource.stop()
    await listeners.stop()


async def test_messages_pass_both_ways_as_text_or_as_bytes(house: House) -> None:
    socket = await house.connect()
    assert socket.protocol == "sip"
    (connection,) = house.stack.connections
    assert house.stack.ends[0][:2] == (False, ("127.0.0.1", house.port))
    assert house.stack.ends[0][2][0] == "127.0.0.1"
    await socket.send_str("OPTIONS é")
    await socket.send_bytes(b"\xff\x00")
    connection.outbox.put_nowait("SIP/2.0 200 Æ".encode())
    connection.outbox.put_nowait(b"\xffbody")
    text, raw = await socket.receive(5), await socket.receive(5)
    assert (text.type, text.data) == (aiohttp.WSMsgType.TEXT, "SIP/2.0 200 Æ")
    assert (raw.type, raw.data) == (aiohttp.WSMsgType.BINARY, b"\xffbody")
    while len(connection.received) < 2:
        connection.came.clear()
        await asyncio.wait_for(connection.came.wait(), 30)
    assert connection.received == ["OPTIONS é".encode(), b"\xff\x00"]
    await socket.close()
    await asyncio.wait_for(connection.gone.wait(), 30)


async def test_only_pages_that_may_and_clients_that_speak_sip_get_in(house: House) -> None:
    for origin in (None, PAGE, f"http://127.0.0.1:{house.port}"):
        await (await house.connect(origin=origin)).close()
    for origin, protocols, status in (
        ("https://evil.test", ("sip",), 403),
        ("null", ("sip",), 403),
        (PAGE, (), 400),
        (PAGE, ("xmpp",), 400),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.connect(origin=origin, protocols=protocols)
        assert refused.value.status == status
    async with house.http.get("/sip") as answer:
        assert answer.status == 426
    assert len(house.stack.connections) == 3


async def test_the_stack_closes_what_it_does_not_want(house: House) -> None:
    socket = await house.connect()
    house.stack.connections[0].outbox.put_nowait(None)
    assert (await socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
    await asyncio.wait_for(house.stack.connections[0].gone.wait(), 30)
    house.stack.full = True
    refused = await house.connect()
    await refused.receive(5)
    assert refused.close_code == 1013


async def test_a_message_beyond_the_bound_ends_the_socket(house: House) -> None:
    socket = await house.connect()
    await socket.send_str("x" * 5000)
    await socket.receive(5)
    assert socket.close_code == 1009
    assert house.stack.connections[0].received == []


async def test_stopping_closes_every_socket(house: House) -> None:
    socket = await house.connect()
    stopping = asyncio.create_task(house.resource.stop())
    await socket.receive(5)
    await stopping
    assert socket.close_code == 1001
    await asyncio.wait_for(house.stack.connections[0].gone.wait(), 30)
