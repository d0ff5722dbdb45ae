"""The shared TLS port: pages pass through to Python with their visitor's address, all others end in the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import aioice.stun
import pytest
import trustme
from aiohttp import web
from aioice.stun import Class
from cryptography.hazmat.primitives import serialization

from mediaserver.api.app import Listeners
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.source import SourceResolver
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import EngineConfig, SharedTls
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import StreamOpened
from mediaserver.runtime.metrics import Metrics
from tests.engine.tcp_visitor import TcpVisitor, set_remote
from tests.peers.namespace import LOOPBACK

PAGE, RELAY = "calls.example.org", "turn.example.org"


class House:
    """An engine with a shared port, and a site that says from where it is asked."""

    def __init__(self, dtls: DtlsCertificate, *, ice: bool = False) -> None:
        self.port = LOOPBACK.free_port()
        self.authority = trustme.CA()
        relay = self.authority.issue_cert(RELAY)
        key = serialization.load_pem_private_key(relay.private_key_pem.bytes(), password=None)
        self.engine = Engine(
            EngineConfig(
                shared_tls=SharedTls(
                    binds=(f"127.0.0.1:{self.port}",),
                    names=(PAGE,),
                    ice=(f"192.0.2.1:{self.port}",) if ice else (),
                    certificate_chain=tuple(
                        ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in relay.cert_chain_pems
                    ),
                    private_key_der=key.private_bytes(
                        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    ),
                ),
                certificate_der=dtls.certificate_der,
                private_key_der=dtls.private_key_der,
                ufrag_key=os.urandom(32),
            )
        )
        self.site = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(PAGE).configure_cert(self.site)
        self.client = ssl.create_default_context()
        self.authority.configure_trust(self.client)
        app = web.Application()
        source_of = SourceResolver()

        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=f"{source_of(request)} {request.secure}")

        app.router.add_get("/", answer)
        self.listeners = Listeners(app, [], metrics=ApiMetrics(Metrics()))
        self.opened: list[StreamOpened] = []

    def take(self, event: StreamOpened) -> None:
        self.opened.append(event)
        self.listeners.take(socket.socket(fileno=event.fd), self.site, source=event.source)

    def dropped(self, reason: str) -> int:
        return self.engine.counters().get(f"streams.drop.stream_{reason}", 0)

    async def becomes(self, reason: str) -> None:
        async with asyncio.timeout(10):
            while self.dropped(reason) != 1:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(made: House) -> AsyncIterator[House]:
    await made.engine.start()
    await made.listeners.start()
    made.engine.on_stream = made.take
    await made.engine.ping()
    try:
        yield made
    finally:
        await made.listeners.stop()
        await made.engine.stop()


@pytest.fixture
async def house(dtls_certificate: DtlsCertificate) -> AsyncIterator[House]:
    async with running(House(dtls_certificate)) as made:
        yield made


@pytest.fixture
async def media_house(dtls_certificate: DtlsCertificate) -> AsyncIterator[House]:
    """The port takes media, too."""
    async with running(House(dtls_certificate, ice=True)) as made:
        yield made


@asynccontextmanager
async def connected(
    house: House, name: str | None, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """TLS that asks for a name, or for none."""
    context = house.client
    if name is None:
        context = ssl.create_default_context()
        house.authority.configure_trust(context)
        context.check_hostname = False
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", house.port, ssl=context, server_hostname=name or "", local_addr=(source, 0)
    )
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize("asked", [PAGE, "CALLS.Example.ORG"])
async def test_a_page_is_served_under_its_own_certificate_and_knows_its_visitor(house: House, asked: str) -> None:
    async with connected(house, asked, source="127.0.0.7") as (reader, writer):
        writer.write(f"GET / HTTP/1.1\r\nHost: {PAGE}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"\r\n\r\n127.0.0.7 True")
    (event,) = house.opened
    assert (event.server_name, event.source[0], event.local) == (PAGE, "127.0.0.7", ("127.0.0.1", house.port))


@pytest.mark.parametrize("asked", [RELAY, None])
async def test_who_asks_for_no_page_meets_the_other_certificate_and_gets_no_page(
    house: House, asked: str | None
) -> None:
    async with connected(house, asked) as (reader, writer):
        assert dict(writer.get_extra_info("peercert")["subjectAltName"]) == {"DNS": RELAY}
        writer.write(f"GET / HTTP/1.1\r\nHost: {PAGE}\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 421 ")
    assert house.opened == []
    await house.becomes("misdirected")


async def test_other_protocols_are_closed_at_once(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    await house.becomes("not_tls")


async def test_a_page_that_nobody_serves_is_closed(house: House) -> None:
    house.engine.on_stream = None
    with pytest.raises((ConnectionError, ssl.SSLError)):
        async with connected(house, PAGE):
            pass


async def test_a_hello_in_pieces_passes_whole(house: House) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = house.client.wrap_bio(incoming, outgoing, server_hostname=PAGE)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    for start in range(0, len(hello), 50):
        writer.write(hello[start : start + 50])
        await asyncio.sleep(0.002)
    assert (await reader.readexactly(1)) == b"\x16"
    writer.close()
    assert [event.server_name for event in house.opened] == [PAGE]


async def test_a_hello_that_is_never_finished_is_closed_in_time(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    # A record of 512 bytes, of which one comes.
    writer.write(b"\x16\x03\x01\x02\x00\x01")
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    assert house.opened == []
    await house.becomes("silent")


async def test_a_huge_hello_is_closed_at_once(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(100))
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert house.opened == []
    await house.becomes("hello_too_long")


async def test_many_visitors_of_pages_do_not_count_as_waiting(house: House) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=_Here())) as http:

        async def get() -> str:
            async with http.get(f"https://{PAGE}:{house.port}/", ssl=house.client) as response:
                return await response.text()

        for _ in range(2):
            assert set(await asyncio.gather(*(get() for _ in range(60)))) == {"127.0.0.1 True"}
    assert house.dropped("source_limit") == 0


class _Here(aiohttp.abc.AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return


async def test_a_check_over_plain_tcp_opens_a_path_and_pages_go_on_as_before(media_house: House) -> None:
    house = media_house
    local = await house.engine.open_ice_transport()
    assert local.tcp_addresses == (("192.0.2.1", house.port),)
    set_remote(house.engine, local)
    visitor = await TcpVisitor.connect("127.0.0.1", house.port)
    try:
        visitor.check(local)
        answer = aioice.stun.parse_message(await visitor.receive())
        assert answer.message_class is Class.RESPONSE
    finally:
        visitor.close()
    async with connected(house, PAGE) as (reader, writer):
        writer.write(f"GET / HTTP/1.1\r\nHost: {PAGE}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"127.0.0.1 True")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\x00\x14" + bytes(20), "no_check"),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42", "not_tls"),
        (b"\x10\x01" + bytes(40), "not_tls"),
        (b"GET / HTTP/1.1\r\n\r\n", "not_tls"),
    ],
    ids=["a frame that is no check", "TURN without TLS", "a frame that is too long", "plain HTTP"],
)
async def test_what_is_neither_tls_nor_a_check_is_closed_and_counted(
    media_house: House, said: bytes, reason: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", media_house.port)
    writer.write(said)
    try:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        await media_house.becomes(reason)
    finally:
        writer.close()


async def test_without_media_a_check_is_no_tls(house: House) -> None:
    assert (await house.engine.open_ice_transport()).tcp_addresses == ()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"\x00\x14" + bytes(20))
    try:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        await house.becomes("not_tls")
    finally:
        writer.close()
