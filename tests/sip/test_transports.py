"""Sockets against peers that are slow, many, silent, or hang up: everything is bounded and counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace

from mediaserver.sip.config import SipLimits
from mediaserver.sip.events import Rejected
from mediaserver.sip.flow import Transport
from tests.sip.conftest import LOOPBACK_TRUNK, Endpoint, MakeEndpoint, Reader, party
from tests.sip.wire import request

QUICK = SipLimits(message_timeout_s=0.2, connection_idle_s=0.3, connections_per_source=3, connections=5)
OPTIONS = request("OPTIONS", body="", uri="sip:127.0.0.1").replace("\n", "\r\n").encode()


async def connect(
    endpoint: Endpoint, transport: Transport = "tcp"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    target = endpoint.target(transport)
    return await asyncio.open_connection(target.host, target.port)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """True once the peer closed or cut the connection."""
    try:
        async with asyncio.timeout(30):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def test_keep_alive_is_answered_and_requests_may_share_a_segment(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint()
    reader, writer = await connect(endpoint)
    writer.write(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"\r\n"
    writer.write(OPTIONS + OPTIONS.replace(b"theirs1", b"theirs2") + OPTIONS[:50])
    for _ in range(2):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"SIP/2.0 200 OK\r\n")
    writer.write(OPTIONS[50:])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 OK\r\n")
    writer.close()


async def test_single_line_break_is_a_keep_alive_too(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=replace(QUICK, connection_idle_s=30))
    reader, writer = await connect(endpoint)
    writer.write(OPTIONS + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1.5)
    writer.write(OPTIONS.replace(b"theirs1", b"theirs2"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 OK")
    writer.close()


async def test_broken_stream_is_answered_and_closed(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint()
    reader, writer = await connect(endpoint)
    writer.write(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: -5"))
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"SIP/2.0 400 Bad Request\r\n")
    writer.close()


async def test_slow_message_silence_and_idleness_are_cut(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=QUICK)
    slow_reader, slow = await connect(endpoint)
    silent_reader, silent = await connect(endpoint)
    idle_reader, idle = await connect(endpoint)
    idle.write(OPTIONS)

    async def drip() -> None:
        for byte in OPTIONS[:60]:
            slow.write(bytes([byte]))
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    await idle_reader.readuntil(b"\r\n\r\n")
    assert await is_closed(slow_reader)
    assert await is_closed(silent_reader)
    assert await is_closed(idle_reader)
    dripping.cancel()
    for writer in (slow, silent, idle):
        writer.close()
    closed = {key.rpartition(".")[2] for key in endpoint.counts.table if key.startswith("sip.connections_closed")}
    assert {"slow_message", "idle"} <= closed


async def test_connections_of_one_source_are_bounded(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=replace(QUICK, message_timeout_s=30, connection_idle_s=30))
    kept = [await connect(endpoint) for _ in range(3)]
    reader, writer = await connect(endpoint)
    assert await is_closed(reader)
    assert endpoint.counts.table["sip.dropped.connections_full"] == 1
    kept[0][1].close()
    async with asyncio.timeout(30):
        while True:  # until the endpoint has seen that there is room again
            again_reader, again = await connect(endpoint)
            again.write(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                assert await again_reader.readexactly(2) == b"\r\n"
                break
            again.close()
    for other in (writer, again, *(item[1] for item in kept)):
        other.close()


async def test_plain_text_to_the_tls_port_gets_nothing_back(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint()
    reader, writer = await connect(endpoint, "tls")
    writer.write(OPTIONS)
    try:
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    assert not answer.startswith(b"SIP/")
    assert endpoint.counts.table["sip.tls_handshakes.failed"] == 1
    writer.close()


async def test_half_open_handshakes_are_bounded_and_time_out(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=replace(QUICK, connection_idle_s=30))
    opened = [await connect(endpoint, "tls") for _ in range(4)]
    assert await is_closed(opened[3][0])
    assert await is_closed(opened[0][0])
    for _, writer in opened:
        writer.close()


async def test_untrusted_server_certificate_is_not_talked_to(make_endpoint: MakeEndpoint) -> None:
    strict = ssl.create_default_context()
    caller, callee = await make_endpoint(), await make_endpoint(trunks=(LOOPBACK_TRUNK,))
    caller.agent.set_tls(server=None, client=strict)
    session = await caller.agent.invite(
        callee.uri("bob", "tls"), from_=party("alice"), body=b"offer", route_to=callee.target("tls")
    )
    assert await Reader(session).rest() == [Rejected(503, "Service Unavailable")]
    assert caller.counts.table["sip.connects.failed"] == 1


async def test_lost_connection_fails_the_unanswered_request_at_once(make_endpoint: MakeEndpoint) -> None:
    caller = await make_endpoint()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    target = replace(caller.target("tcp"), port=server.sockets[0].getsockname()[1])
    session = await caller.agent.invite(caller.uri("bob"), from_=party("alice"), body=b"offer", route_to=target)
    assert await Reader(session).rest() == [Rejected(503, "Service Unavailable")]
    server.close()
    await server.wait_closed()


async def test_answers_carry_the_mark_of_signalling(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(dscp=24)
    target = endpoint.target("udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        peer.settimeout(5)
        peer.connect((target.host, target.port))
        peer.send(OPTIONS.replace(b"/TCP ", b"/UDP "))
        answer, control, _, _ = await asyncio.to_thread(peer.recvmsg, 4096, 64)
    assert answer.startswith(b"SIP/2.0 200 OK")
    assert control[0][2][0] >> 2 == 24
