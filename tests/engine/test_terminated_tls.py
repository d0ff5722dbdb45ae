"""An Edge that ends the TLS of pages: what is inside comes out, proxies say whose it is, and all of it can be changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from mediaserver.api.app import Listeners
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.source import SourceResolver
from mediaserver.daemon.edge_tls import refuse_in_clear
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import EngineConfig, PageCertificate, SharedTls
from mediaserver.engine.engine import Engine, EngineError
from mediaserver.engine.events import StreamOpened
from mediaserver.runtime.metrics import Metrics
from tests.peers.namespace import LOOPBACK

PAGE, PASSED, RELAY = "calls.example.org", "sip.example.org", "turn.example.org"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class House:
    """An engine that ends the TLS of a page, and a site behind it that is told what is inside."""

    def __init__(self, dtls: DtlsCertificate) -> None:
        self.port = LOOPBACK.free_port()
        self.authority = trustme.CA()
        self.settings = self.settings_for(PAGE)
        self.engine = Engine(
            EngineConfig(
                shared_tls=self.settings,
                certificate_der=dtls.certificate_der,
                private_key_der=dtls.private_key_der,
                ufrag_key=os.urandom(32),
            )
        )
        self.client = ssl.create_default_context()
        self.authority.configure_trust(self.client)
        app = web.Application()
        source_of = SourceResolver()

        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=f"{source_of(request)} {request.secure} {len(await request.read())}")

        app.router.add_route("*", "/", answer)
        self.listeners = Listeners(app, [], metrics=ApiMetrics(Metrics()))
        self.opened: list[StreamOpened] = []
        self.has_core = True

    def settings_for(self, page: str, *, proxies: tuple[str, ...] = ()) -> SharedTls:
        chain, key = self._issued(RELAY)
        page_chain, page_key = self._issued(page)
        return SharedTls(
            binds=(f"127.0.0.1:{self.port}",),
            names=(PAGE, PASSED),
            certificate_chain=chain,
            private_key_der=key,
            page_certificate=PageCertificate(names=(page,), chain=page_chain, private_key_der=page_key),
            trusted_proxies=proxies,
        )

    def _issued(self, name: str) -> tuple[tuple[bytes, ...], bytes]:
        issued = self.authority.issue_cert(name)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        return (
            tuple(ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in issued.cert_chain_pems),
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def take(self, event: StreamOpened) -> None:
        self.opened.append(event)
        if event.server_name == PASSED:
            os.close(event.fd)
        elif self.has_core:
            site = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.listeners.take(socket.socket(fileno=event.fd), site, source=event.source, in_clear=True)
        else:
            refuse_in_clear(event.fd, retry_after_s=5)

    async def dropped(self, reason: str) -> None:
        async with asyncio.timeout(10):
            while self.engine.counters().get(f"streams.drop.stream_{reason}", 0) != 1:
                await asyncio.sleep(0.05)

    async def asked(self, *, before: bytes = b"", body: bytes = b"", name: str = PAGE) -> bytes:
        """What a visitor gets who sends `before` in the clear, then a request over TLS."""
        with await asyncio.to_thread(socket.create_connection, ("127.0.0.1", self.port), 10) as sock:
            return await asyncio.to_thread(self._exchange, sock, before, body, name)

    async def closes_on(self, said: bytes) -> None:
        """Whoever says this is sent away without a word."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(said)
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        assert self.opened == []

    def _exchange(self, sock: socket.socket, before: bytes, body: bytes, name: str) -> bytes:
        sock.sendall(before)
        with self.client.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False) as tls:
            tls.do_handshake()
            head = f"POST / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            tls.sendall(head.encode() + body)
            answer = b""
            with contextlib.suppress(ssl.SSLError):
                while piece := tls.recv(65_536):
                    answer += piece
            return answer


def proxied(source: str, port: int, *, command: int = 0x21, family: int | None = None) -> bytes:
    """A header of the PROXY protocol, version 2."""
    address = ip_address(source)
    kind = family if family is not None else 0x11 if address.version == 4 else 0x21
    addresses = address.packed * 2 + struct.pack("!HH", port, 443)
    return SIGNATURE + struct.pack("!BBH", command, kind, len(addresses)) + addresses


@pytest.fixture
async def house(dtls_certificate: DtlsCertificate) -> AsyncIterator[House]:
    made = House(dtls_certificate)
    await made.engine.start()
    await made.listeners.start()
    made.engine.on_stream = made.take
    await made.engine.ping()
    try:
        yield made
    finally:
        await made.listeners.stop()
        await made.engine.stop()


async def test_a_page_is_served_with_what_was_inside_and_knows_that_its_visitor_speaks_tls(house: House) -> None:
    assert (await house.asked(body=bytes(300_000))).endswith(b"\r\n\r\n127.0.0.1 True 300000")
    (event,) = house.opened
    assert (event.server_name, event.local) == (PAGE, ("127.0.0.1", house.port))


async def test_a_name_without_a_certificate_here_passes_through(house: House) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        await house.asked(name=PASSED)
    assert [event.server_name for event in house.opened] == [PASSED]


async def test_without_a_core_a_visitor_is_told_when_to_come_back(house: House) -> None:
    house.has_core = False
    answer = await house.asked()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5\r\n" in answer


@pytest.mark.parametrize("source", ["203.0.113.9", "2001:db8::7"])
async def test_a_trusted_proxy_says_whose_a_connection_is(house: House, source: str) -> None:
    await house.engine.set_shared_tls(house.settings_for(PAGE, proxies=("127.0.0.0/8",)))
    assert (await house.asked(before=proxied(source, 4711))).endswith(f"\r\n\r\n{source} True 0".encode())
    assert house.opened[0].source == (source, 4711)


async def test_a_proxy_that_asks_for_itself_is_served_as_itself(house: House) -> None:
    await house.engine.set_shared_tls(house.settings_for(PAGE, proxies=("127.0.0.0/8",)))
    assert (await house.asked(before=proxied("203.0.113.9", 1, command=0x20))).endswith(b"127.0.0.1 True 0")


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), "no_proxy_header"),
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", "no_proxy_header"),
        (proxied("203.0.113.9", 1, command=0x22), "proxy_unknown"),
        (proxied("203.0.113.9", 1, family=0x31), "proxy_unknown"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65_535), "proxy_length"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 4) + bytes(4), "proxy_length"),
    ],
)
async def test_a_trusted_proxy_without_a_good_header_is_closed(house: House, before: bytes, reason: str) -> None:
    await house.engine.set_shared_tls(house.settings_for(PAGE, proxies=("127.0.0.0/8",)))
    await house.closes_on(before)
    await house.dropped(reason)


async def test_who_is_no_proxy_cannot_say_who_he_is(house: House) -> None:
    await house.engine.set_shared_tls(house.settings_for(PAGE, proxies=("10.0.0.0/8",)))
    await house.closes_on(proxied("203.0.113.9", 1))
    await house.dropped("not_tls")


async def test_names_and_certificates_change_while_it_runs(house: House) -> None:
    house.authority = trustme.CA()
    await house.engine.set_shared_tls(house.settings_for(PAGE))
    with pytest.raises(ssl.SSLError):
        await house.asked()
    house.client = ssl.create_default_context()
    house.authority.configure_trust(house.client)
    assert (await house.asked()).endswith(b"127.0.0.1 True 0")


async def test_a_certificate_that_does_not_fit_its_key_changes_nothing(house: House) -> None:
    good, other = house.settings_for(PAGE), house.settings_for(PAGE)
    with pytest.raises(EngineError, match="invalid shared_tls"):
        await house.engine.set_shared_tls(
            SharedTls(
                binds=good.binds,
                names=good.names,
                certificate_chain=good.certificate_chain,
                private_key_der=other.private_key_der,
            )
        )
    assert (await house.asked()).endswith(b"127.0.0.1 True 0")
