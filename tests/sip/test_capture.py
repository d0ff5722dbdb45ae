"""Copies of SIP messages by HEP: what is in them, by a decoder of the test's own and by Kamailio."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from mediaserver.sip.capture import Capture
from mediaserver.sip.config import SipLimits
from mediaserver.sip.flow import Flow, Transport
from mediaserver.sip.hep import MAX_BYTES, packet
from mediaserver.sip.message import Request, Response
from mediaserver.sip.transport.websocket import WebSocketConnection
from tests.peers.kamailio_capture import kamailio_capture
from tests.sip.conftest import AGENT, KEY, Counts, MakeEndpoint
from tests.sip.wire import request

Address = IPv4Address | IPv6Address
LOOPBACK = ip_address("127.0.0.1")
OPTIONS = request("OPTIONS", body="", uri="sip:127.0.0.1").replace("\n", "\r\n").encode()
BROKEN = OPTIONS.replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE")


def chunks(datagram: bytes) -> dict[int, bytes]:
    """Chunk type to value. Vendor 0 is the standard's own."""
    assert datagram[:4] == b"HEP3"
    assert struct.unpack("!H", datagram[4:6])[0] == len(datagram)
    found, rest = {}, datagram[6:]
    while rest:
        vendor, type_, length = struct.unpack("!HHH", rest[:6])
        assert vendor == 0
        assert type_ not in found
        found[type_], rest = rest[6:length], rest[length:]
    return found


def ends(found: dict[int, bytes]) -> tuple[Address, int, Address, int]:
    source, target = (found[3], found[4]) if found[1] == b"\x02" else (found[5], found[6])
    source_port, target_port = (int.from_bytes(found[kind]) for kind in (7, 8))
    return ip_address(source), source_port, ip_address(target), target_port


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Takes copies."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(5)
        yield found


async def ask(port: int, transport: Transport, context: ssl.SSLContext, message: bytes = OPTIONS) -> tuple[bytes, int]:
    """Sends a request; the answer, and the port it was sent from."""
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.connect(("127.0.0.1", port))
            phone.setblocking(False)
            phone.send(message)
            async with asyncio.timeout(40):
                return await asyncio.get_running_loop().sock_recv(phone, 65_536), phone.getsockname()[1]
    secure = {"ssl": context, "server_hostname": "sip.example.org"} if transport == "tls" else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **secure)
    writer.write(b"\r\n\r\n" + message)
    async with asyncio.timeout(40):
        assert await reader.readexactly(2) == b"\r\n"
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer, writer.get_extra_info("sockname")[1]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("message", [OPTIONS, BROKEN], ids=["good", "broken"])
async def test_what_comes_and_what_leaves_is_copied_byte_for_byte(
    make_endpoint: MakeEndpoint,
    tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    server: socket.socket,
    transport: Transport,
    message: bytes,
) -> None:
    endpoint = await make_endpoint(capture_to=server.getsockname())
    port = endpoint.target(transport).port
    answer, phone = await ask(port, transport, tls_contexts[1], message)
    came, left = [chunks(await asyncio.to_thread(server.recv, 65_536)) for _ in range(2)]
    assert (came[15], ends(came)) == (message, (LOOPBACK, phone, LOOPBACK, port))
    assert (left[15], ends(left)) == (answer, (LOOPBACK, port, LOOPBACK, phone))
    for found in (came, left):
        assert found[2] == (b"\x11" if transport == "udp" else b"\x06")
        assert (found[11], found[12], found[14]) == (b"\x01", struct.pack("!I", AGENT), KEY.encode())
    # The keep-alive of the connection is no message.
    assert endpoint.counts.table["sip.captured.sent"] == 2


async def test_a_websocket_has_copies_too(server: socket.socket) -> None:
    counts = Counts()
    capture = Capture(server.getsockname(), agent=1, counters=counts)
    flow = Flow("wss", "192.0.2.1", 443, "198.51.100.7", 50_000, 1)

    def answer(message: Request | Response, flow: Flow) -> None:
        assert connection.send(b"SIP/2.0 200 OK\r\n\r\n")

    connection = WebSocketConnection(
        flow,
        limits=SipLimits(),
        counters=counts,
        on_message=answer,
        on_malformed=lambda error, request, flow: None,
        on_lost=lambda connection: None,
        now=lambda: 0.0,
        capture=capture,
    )
    connection.receive(b"\r\n\r\n")
    connection.receive(OPTIONS)
    copies = [chunks(server.recv(65_536)) for _ in range(2)]
    assert [found[15] for found in copies] == [OPTIONS, b"SIP/2.0 200 OK\r\n\r\n"]
    assert ends(copies[0]) == (ip_address("198.51.100.7"), 50_000, ip_address("192.0.2.1"), 443)
    capture.close()
    assert counts.table["sip.captured.sent"] == 2


def test_both_families_and_a_message_that_is_too_long() -> None:
    found = chunks(
        packet(
            bytes(70_000),
            transport="wss",
            source=("2001:db8::1", 5061),
            target=("192.0.2.7", 40_000),
            at=1_763_800_000.25,
            agent=1,
        )
    )
    assert ends(found) == (ip_address("2001:db8::1"), 5061, ip_address("::ffff:192.0.2.7"), 40_000)
    assert (found[9], found[10]) == (struct.pack("!I", 1_763_800_000), struct.pack("!I", 250_000))
    assert 14 not in found
    assert sum(6 + len(value) for value in found.values()) + 6 == MAX_BYTES
    assert found[15].strip(b"\0") == b""


def test_what_cannot_be_sent_is_counted() -> None:
    counts = Counts()
    capture = Capture(("127.0.0.1", 9), agent=1, counters=counts)
    capture.close()
    capture.sent(OPTIONS, Flow("udp", "127.0.0.1", 5060, "127.0.0.1", 5070))
    assert counts.table == {"sip.captured.dropped": 1}


async def test_kamailio_reads_the_copies(
    make_endpoint: MakeEndpoint, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path
) -> None:
    async with kamailio_capture(tmp_path) as homer:
        endpoint = await make_endpoint(capture_to=homer.address)
        port = endpoint.target("tls").port
        _, phone = await ask(port, "tls", tls_contexts[1])
        ours, theirs = f"127.0.0.1:{port}", f"127.0.0.1:{phone}"
        await homer.has("OPTIONS", "their-call", theirs)
        await homer.has("200", "their-call", ours)
