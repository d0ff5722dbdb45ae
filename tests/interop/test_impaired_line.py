"""The relay does to packets what it was told: rate, delay, loss, queue, each direction for itself."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.peers.impaired_line import CLEAR, ImpairedLine, Impairment, Relay, impaired_lines
from tests.peers.process import PeerError

HEADERS = 28

pytestmark = pytest.mark.timeout(600)
"""The first use compiles the relay."""


class End:
    """A UDP socket without protocol."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address: tuple[str, int] = self.socket.getsockname()

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(data, to)

    async def receive(self, timeout_s: float = 20.0) -> tuple[bytes, tuple[str, int]]:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().sock_recvfrom(self.socket, 2048)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with impaired_lines() as running:
        yield running


@pytest.fixture
def ends() -> Iterator[list[End]]:
    opened = [End(), End(), End()]
    yield opened
    for end in opened:
        end.socket.close()


async def _pass(
    line: ImpairedLine, sender: End, target: End, count: int, size: int = 1000
) -> tuple[float, list[float]]:
    """Seconds that sending took, and those after the first was sent at which each that got through arrived."""
    began = time.monotonic()
    for _ in range(count):
        sender.send(bytes(size - HEADERS), line.address)
    sending_s = time.monotonic() - began
    arrivals: list[float] = []
    while (up := (await line.counts())[0]).delivered + up.overflowed < count or len(arrivals) < up.delivered:
        await target.receive()
        arrivals.append(time.monotonic() - began)
    return sending_s, arrivals


async def test_an_unimpaired_line_answers_to_whoever_sent(relay: Relay, ends: list[End]) -> None:
    client, server, other = ends
    line = await relay.line(server.address)
    client.send(b"one", line.address)
    data, seen_as = await server.receive()
    other.send(b"two", line.address)
    _, other_seen_as = await server.receive()
    assert (data, seen_as == other_seen_as) == (b"one", False)
    server.send(b"answer", seen_as)
    answer, source = await client.receive()
    assert (answer, source) == (b"answer", line.address)
    up, down = await line.counts()
    assert (up.delivered, down.delivered, up.bytes) == (2, 1, 6)


async def test_delay_is_as_stated_in_one_direction_only(relay: Relay, ends: list[End]) -> None:
    client, server, _ = ends
    line = await relay.line(server.address, up=Impairment(delay_ms=40))
    there, back = [], []
    for _ in range(20):
        began = time.monotonic()
        client.send(b"ping", line.address)
        _, seen_as = await server.receive()
        arrived = time.monotonic()
        server.send(b"pong", seen_as)
        await client.receive()
        there.append(arrived - began)
        back.append(time.monotonic() - arrived)
    assert min(there) >= 0.040
    # The quickest of twenty: a busy machine adds to all but a few.
    assert min(there) < 0.060
    assert min(back) < 0.020


async def test_rate_and_queue_are_as_stated(relay: Relay, ends: list[End]) -> None:
    client, server, _ = ends
    # 1000 bytes take 10 ms; 50 fit into the queue behind the one on the line.
    line = await relay.line(server.address, up=Impairment(rate_bps=800_000, queue_ms=500))
    sending_s, arrivals = await _pass(line, client, server, 100)
    # As many more get through as leave the queue while the others are still being sent.
    assert 50 <= len(arrivals) <= 52 + sending_s / 0.010
    # Never sooner than at the rate; later only as the machine is busy.
    assert 0.95 * 0.010 <= arrivals[-1] / len(arrivals) < 0.030


async def test_the_rate_changes_for_what_already_waits(relay: Relay, ends: list[End]) -> None:
    client, server, _ = ends
    line = await relay.line(server.address, up=Impairment(rate_bps=80_000, queue_ms=9000))
    for _ in range(50):  # five seconds at this rate
        client.send(bytes(1000 - HEADERS), line.address)
    await server.receive()
    await line.set(up=CLEAR)
    began = time.monotonic()
    for _ in range(49):
        await server.receive()
    assert time.monotonic() - began < 2.5


async def test_loss_is_as_stated(relay: Relay, ends: list[End]) -> None:
    client, server, _ = ends
    line = await relay.line(server.address, up=Impairment(loss=0.1))
    for sent in range(50, 2001, 50):
        for _ in range(50):
            client.send(b"x", line.address)
        async with asyncio.timeout(20):
            while (up := (await line.counts())[0]).delivered + up.lost < sent:
                await asyncio.sleep(0.001)
    # Binomial(2000, 0.1): 200 with a deviation of 13.4; the relay's seed is fixed besides.
    assert 140 <= up.lost <= 260
    assert up.overflowed == 0


async def test_a_command_that_makes_no_sense_is_refused(relay: Relay, ends: list[End]) -> None:
    line = await relay.line(ends[1].address)
    with pytest.raises(PeerError, match="loss=2"):
        await line.set(up=Impairment(loss=2.0))
    assert (await line.counts())[0].delivered == 0
