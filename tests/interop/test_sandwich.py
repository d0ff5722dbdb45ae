"""The rig itself: what the two firewalls pass and drop, what is seen on the wires and what is found in memory."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.firewall import Openings
from tests.peers.memory_search import core_dump, find_in_file, find_in_memory
from tests.peers.namespace import Namespace
from tests.peers.process import PeerProcess
from tests.peers.sandwich import CORE, Sandwich, sandwich
from tests.peers.secret_forms import Needles
from tests.peers.wire_capture import WireCapture, captured

pytestmark = pytest.mark.smoke

SILENCE_S = 0.4
"""So long nothing comes back from where something would within a millisecond."""


@contextlib.asynccontextmanager
async def udp_echo(place: Namespace, port: int) -> AsyncIterator[list[tuple[str, int]]]:
    """Sends back what comes; gives the list of those who sent."""
    seen: list[tuple[str, int]] = []
    loop = asyncio.get_running_loop()
    with place.open_socket(kind=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("0.0.0.0", port))

        async def run() -> None:
            while True:
                data, source = await loop.sock_recvfrom(sock, 2048)
                seen.append(source)
                await loop.sock_sendto(sock, data, source)

        task = asyncio.create_task(run())
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def answers(place: Namespace, host: str, port: int, text: bytes = b"ping") -> bool:
    with place.open_socket(kind=socket.SOCK_DGRAM) as sock:
        return await asks(sock, host, port, text)


async def asks(sock: socket.socket, host: str, port: int, text: bytes = b"ping") -> bool:
    """Whether what is sent comes back."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    try:
        await loop.sock_sendto(sock, text, (host, port))
        async with asyncio.timeout(SILENCE_S):
            return (await loop.sock_recvfrom(sock, 2048))[0] == text
    except (TimeoutError, OSError):
        return False


async def connects(place: Namespace, host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(SILENCE_S):
            _, writer = await place.connect(host, port)
    except (TimeoutError, OSError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def tcp_echo(place: Namespace, port: int) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2048):
            writer.write(data)
        writer.close()

    sock = place.open_socket()
    sock.bind(("0.0.0.0", port))
    server = await asyncio.start_server(serve, sock=sock)
    try:
        yield
    finally:
        server.close()


@pytest.mark.parametrize("static_nat", [False, True])
async def test_the_outer_firewall_lets_in_what_is_opened_and_nothing_else(static_nat: bool) -> None:
    async with sandwich(static_nat=static_nat) as rig, contextlib.AsyncExitStack() as stack:
        edge = rig.edges[0]
        assert (edge.public != edge.address) is static_nat
        for port in (3478, 3479):
            seen = await stack.enter_async_context(udp_echo(edge, port))
            await stack.enter_async_context(tcp_echo(edge, port))
            assert await answers(rig.internet, edge.public, port) is (port == 3478)
            assert await connects(rig.internet, edge.public, port) is (port == 3478)
            # The visitor's own address is what the Edge sees.
            assert {host for host, _ in seen} == ({rig.internet.address} if port == 3478 else set())
        assert await rig.outer.packets("refused") > 0


async def test_a_visitor_may_have_nothing_but_tcp_443_and_what_was_open_ends() -> None:
    async with sandwich() as rig, udp_echo(rig.edges[0], 3478), tcp_echo(rig.edges[0], 443):
        edge = rig.edges[0]
        with rig.internet.open_socket(kind=socket.SOCK_DGRAM) as open_before:
            assert await asks(open_before, edge.public, 3478)
            await rig.admit_visitors(Openings(tcp=[443]))
            assert not await asks(open_before, edge.public, 3478)
        assert not await answers(rig.internet, edge.public, 3478)
        assert await connects(rig.internet, edge.public, 443)


async def test_nobody_in_the_zone_or_outside_begins_anything_inwards() -> None:
    async with sandwich(edges=2) as rig, udp_echo(rig.inside, 3478), tcp_echo(rig.inside, 443):
        for place in (rig.internet, *rig.edges):
            assert not await answers(place, CORE, 3478)
            assert not await connects(place, CORE, 443)
        assert await rig.inner.packets("asked_inwards") > 0
        assert await rig.inner.packets("passed") == 0
        listing = await rig.inner.listing()
        inwards = [line for line in listing.splitlines() if 'iifname { "dmz' in line or 'oifname "lan"' in line]
        assert inwards
        assert not any("accept" in line for line in inwards), listing
        # And no Edge is a way around the firewalls to the other one.
        async with udp_echo(rig.edges[1], 5000):
            assert not await answers(rig.edges[0], rig.edges[1].inner, 5000)


@pytest.mark.parametrize("inner_nat", [False, True])
async def test_inside_reaches_each_edge_and_is_answered(inner_nat: bool) -> None:
    async with sandwich(edges=2, inner_nat=inner_nat) as rig:
        for edge in rig.edges:
            async with udp_echo(edge, 9000) as seen, tcp_echo(edge, 9000):
                assert await answers(rig.inside, edge.inner, 9000)
                assert await connects(rig.inside, edge.inner, 9000)
                assert {host for host, _ in seen} == {edge.inner_gateway if inner_nat else CORE}
        assert await rig.inner.packets("asked_inwards") == 0


async def test_udp_between_inside_and_zone_can_be_blocked_while_tcp_passes() -> None:
    async with sandwich() as rig, udp_echo(rig.edges[0], 9000), tcp_echo(rig.edges[0], 9000):
        edge = rig.edges[0]
        with rig.inside.open_socket(kind=socket.SOCK_DGRAM) as sock:
            assert await asks(sock, edge.inner, 9000)
            await rig.block_inner_udp()
            assert not await asks(sock, edge.inner, 9000)
            assert await connects(rig.inside, edge.inner, 9000)
            await rig.block_inner_udp(False)
            assert await asks(sock, edge.inner, 9000)


async def test_the_inner_link_is_cut_and_restored_under_an_open_connection() -> None:
    async with sandwich() as rig, tcp_echo(rig.edges[0], 9000):
        reader, writer = await rig.inside.connect(rig.edges[0].inner, 9000)
        await rig.cut()
        writer.write(b"held back")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await reader.read(100)
        await rig.restore()
        async with asyncio.timeout(20):
            assert await reader.readexactly(9) == b"held back"
        writer.close()


async def test_an_inner_firewall_that_forgets_gives_a_new_port() -> None:
    async with sandwich(inner_nat=True) as rig, udp_echo(rig.edges[0], 9000) as seen:
        with rig.inside.open_socket(kind=socket.SOCK_DGRAM) as sock:
            assert await asks(sock, rig.edges[0].inner, 9000)
            rig.inner.forget_connections()
            assert await asks(sock, rig.edges[0].inner, 9000)
        assert len(set(seen)) == 2


async def test_an_edge_whose_interfaces_are_down_is_gone_and_comes_back() -> None:
    async with sandwich(edges=2, static_nat=True) as rig, contextlib.AsyncExitStack() as stack:
        for edge in rig.edges:
            await stack.enter_async_context(udp_echo(edge, 3478))
        first, second = rig.edges

        async def reached() -> list[bool]:
            return [
                await answers(place, host, 3478)
                for place, host in (
                    (rig.internet, first.public),
                    (rig.inside, first.inner),
                    (rig.internet, second.public),
                    (rig.inside, second.inner),
                )
            ]

        assert await reached() == [True] * 4
        await first.down()
        assert await reached() == [False, False, True, True]
        await first.up()
        assert await reached() == [True] * 4


async def test_names_are_known_in_every_place_and_forgotten_afterwards() -> None:
    async with sandwich(names={"video.bank.example": "198.51.100.2"}) as rig:
        for place in (rig.internet, rig.edges[0], rig.inside):
            process = await asyncio.create_subprocess_exec(
                *place.exec_prefix, "getent", "hosts", "video.bank.example", stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
            assert said.split() == [b"198.51.100.2", b"video.bank.example"]
        folder = Path("/etc/netns") / rig.internet.name
        assert folder.exists()
    assert not folder.exists()


async def test_a_secret_is_found_on_the_wires_that_it_passed_and_on_no_other() -> None:
    secret, other = secrets.token_bytes(16), secrets.token_bytes(16)
    needles = Needles({"secret": secret, "other": other})
    async with sandwich(edges=2) as rig, udp_echo(rig.edges[0], 3478), tcp_echo(rig.edges[0], 9000):
        with captured(rig.wires()) as wires:
            assert await answers(rig.internet, rig.edges[0].public, 3478, b"before " + secret.hex().encode())
            await _in_pieces(rig, base64.b64encode(b"x" + secret))
        found = {wire.name.partition("-")[2]: wire.find(needles) for wire in wires}
    nothing = {"secret": 0, "other": 0}
    assert found["internet/wan"] == found["edge0/outer"] == {"secret": 2, "other": 0}
    assert found["edge0/inner"]["secret"] == found["inside/lan"]["secret"] >= 1
    assert found["edge1/outer"] == found["edge1/inner"] == nothing


async def test_a_capture_ends_although_its_wire_is_never_silent() -> None:
    ended = threading.Event()

    def chatter(sock: socket.socket, host: str) -> None:
        while not ended.wait(0.005):
            sock.sendto(b"and on", (host, 3478))

    async with sandwich() as rig, udp_echo(rig.edges[0], 3478) as seen:
        wire = WireCapture(rig.internet, "wan")
        with rig.internet.open_socket(kind=socket.SOCK_DGRAM) as sock:
            thread = threading.Thread(target=chatter, args=(sock, rig.edges[0].public))
            thread.start()
            try:
                while not seen:
                    await asyncio.sleep(0.005)
                async with asyncio.timeout(5):
                    await asyncio.to_thread(wire.stop)
            finally:
                ended.set()
                thread.join()
    assert b"and on" in {payload for _, _, payload in wire.datagrams()}


async def _in_pieces(rig: Sandwich, data: bytes) -> None:
    """Over TCP from inside to the first Edge and back, in segments too short for the whole."""
    reader, writer = await rig.inside.connect(rig.edges[0].inner, 9000)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for place in range(0, len(data), 5):
        writer.write(data[place : place + 5])
        assert await reader.readexactly(len(data[place : place + 5])) == data[place : place + 5]
    writer.close()
    await writer.wait_closed()


_HOLDER = """
import sys, time
kept = bytes.fromhex(open(int(sys.argv[1])).readline())
print("holding", flush=True)
while True: time.sleep(1)
"""


@pytest.mark.parametrize("has_it", [True, False])
async def test_a_secret_is_found_in_the_memory_of_whoever_has_it(tmp_path: Path, has_it: bool) -> None:
    needles = Needles({"secret": (secret := secrets.token_bytes(30))})
    async with _holder(tmp_path, secret if has_it else b"") as process:
        assert (find_in_memory(process.pid, needles)["secret"] > 0) is has_it
        assert process.returncode is None


@pytest.mark.parametrize("has_it", [True, False])
async def test_a_secret_is_found_in_the_core_dump_of_whoever_has_it(tmp_path: Path, has_it: bool) -> None:
    needles = Needles({"secret": (secret := secrets.token_bytes(30))})
    async with _holder(tmp_path, secret if has_it else b"") as process:
        dump = await core_dump(process, tmp_path)
        assert (find_in_file(dump, needles)["secret"] > 0) is has_it


@contextlib.asynccontextmanager
async def _holder(directory: Path, secret: bytes) -> AsyncIterator[PeerProcess]:
    """A process that keeps the secret, which no file and no argument of it has."""
    given, taken = os.pipe()
    os.write(taken, secret.hex().encode() + b"\n")
    os.close(taken)
    try:
        command = [sys.executable, "-c", _HOLDER, str(given)]
        async with PeerProcess("holder", command, directory=directory, pass_files=(given,)) as process:
            await process.wait_for_log("holding")
            yield process
    finally:
        os.close(given)


def test_a_secret_is_known_in_whatever_form_it_is_written() -> None:
    secret = bytes(range(200, 230))
    needles = Needles({"key": secret})
    forms = [secret, secret.hex().encode(), secret.hex().upper().encode(), secret.hex(":").upper().encode()]
    forms += [base64.b64encode(b"abc"[:shift] + secret + b"more") for shift in range(3)]
    forms += [base64.urlsafe_b64encode(b"abc"[:shift] + secret) for shift in range(3)]
    assert all(needles.count_in(b"around " + form + b" it") == {"key": 1} for form in forms)
    assert needles.count_in(bytes(range(199, 229))) == {}
    with pytest.raises(ValueError, match="too short"):
        Needles({"pin": b"1234"})
