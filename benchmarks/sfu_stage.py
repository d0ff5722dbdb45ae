"""One server with everybody of a case connected: run it at a rate, find the rate at which it begins to lose."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any

from benchmarks.generator import Generator, Handle, Reading, Stream, generator, layers
from benchmarks.processes import cpu_ns, memory_bytes
from benchmarks.sfu_face import CPU, Sfu, Wanted
from tests.peers.namespace import Namespace, Network, namespace

LOAD_CPU = 1
MOST_LOSS = 0.002
"""More than this in a step of the search: the server cannot do it."""
LEAST_DELIVERED = 0.97
"""Less than this share of what is sent, sequence numbers or not: it does not."""
MOST_BUSY = 0.95
"""Of the generator; beyond it the figure would be about that."""
WAITING_FPS = 1.0
"""While another server has its turn, as far as a call that goes on can sleep."""
CLIMB_S = 8.0
"""In this time a bandwidth estimate must have found the way up to what is sent."""

Starter = Callable[[Path, Namespace, Wanted], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """Who sends what to how many."""

    name: str
    publishers: int
    viewers: int
    """Of each publisher."""
    stream: Stream
    """With simulcast the largest layer."""
    simulcast: bool = False

    @property
    def packets_per_frame(self) -> int:
        """Forwarded, when all publishers send a frame."""
        return self.stream.burst * self.publishers * self.viewers

    def streams(self) -> Sequence[Stream]:
        """What each publisher sends."""
        return layers(self.stream) if self.simulcast else [self.stream]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    cpu_us_per_packet: float
    packets_per_s: float
    """Forwarded."""
    loss: float
    delivered: float
    """Share of what was sent that came, retransmissions counted."""
    cores: float
    """Of the server."""
    latency_ms: tuple[float, float, float]
    """Median, 99th and 99.9th percentile."""
    echo_ms: tuple[float, float, float]
    """The same of a UDP echo on the server's core; zeros without one."""
    generator_busy: float

    @property
    def holds(self) -> bool:
        """Whether the server did what it should."""
        return self.loss <= MOST_LOSS and self.delivered >= LEAST_DELIVERED


class Stage:
    """See the module."""

    def __init__(self, sfu: Sfu, network: Namespace, peers: Generator, case: Case) -> None:
        self.sfu = sfu
        self.network = network
        self.case = case
        self.memory_per_viewer = 0.0
        """In bytes, of the server's process."""
        self._peers = peers
        self._publishers: list[Handle] = []
        self._viewers = 0

    async def fill(self, *, viewers: int | None = None) -> None:
        """Connect the publishers, and viewers of each up to this number, or as many as the case has."""
        while len(self._publishers) < self.case.publishers:
            peer = await self.sfu.publish(f"feed{len(self._publishers)}")
            streams = [replace(stream, frames_per_s=5.0) for stream in self.case.streams()]
            self._publishers.append(await self._peers.add(peer, streams))
        before, had = memory_bytes(self.sfu.pid), self._viewers
        while self._viewers < (self.case.viewers if viewers is None else viewers):
            for index in range(self.case.publishers):
                await self._peers.add(await self.sfu.view(f"feed{index}"))
            self._viewers += 1
        if joined := (self._viewers - had) * self.case.publishers:
            await asyncio.sleep(0.5)
            self.memory_per_viewer = (memory_bytes(self.sfu.pid) - before) / joined

    async def pace(self, fps: float) -> None:
        """Everybody sends so many frames per second from now on."""
        for publisher in self._publishers:
            await self._peers.pace(publisher, fps)

    async def rest(self) -> None:
        """Almost nothing is sent, while others have their turn."""
        await self.pace(WAITING_FPS)

    async def run(self, fps: float, settle_s: float, measure_s: float) -> Sample:
        """Measure at ``fps``, once what is sent comes through. Raises RuntimeError when what came was not right."""
        await self.pace(fps)
        await asyncio.sleep(settle_s)
        deadline = asyncio.get_running_loop().time() + CLIMB_S
        before, spent = await self._peers.read(), cpu_ns(self.sfu.pid)
        while True:
            await asyncio.sleep(min(0.4, measure_s))
            after, now = await self._peers.read(), cpu_ns(self.sfu.pid)
            sample = self._sample(before, after, now - spent)
            # A server that loses will not get better; one that holds back may be on its way up.
            held_back = sample.delivered < LEAST_DELIVERED and sample.loss <= MOST_LOSS and sample.cores < 0.9
            if not held_back or asyncio.get_running_loop().time() > deadline:
                break
            before, spent = after, now
        before, spent = await self._peers.read(), cpu_ns(self.sfu.pid)
        await asyncio.sleep(measure_s)
        after = await self._peers.read()
        return self._sample(before, after, cpu_ns(self.sfu.pid) - spent)

    def _sample(self, before: Reading, after: Reading, spent_ns: int) -> Sample:
        def gained(name: str) -> int:
            return sum(getattr(one, name) - getattr(before.members[id], name) for id, one in after.members.items())

        packets, expected, wrong = gained("packets"), gained("expected"), gained("wrong")
        if not packets or wrong:
            raise RuntimeError(f"{self.sfu.name}: {packets} packets came, {wrong} of the sampled ones not right")
        seconds = after.at_s - before.at_s
        # Of simulcast layers, which all go at one rate of frames, each viewer gets the largest.
        share = self.case.stream.burst / sum(stream.burst for stream in self.case.streams())
        sent = max(1.0, gained("sent") * share * self._viewers)
        return Sample(
            cpu_us_per_packet=spent_ns / packets / 1000,
            packets_per_s=packets / seconds,
            loss=max(0.0, gained("lost") / expected) if expected else 1.0,
            delivered=packets / sent,
            cores=spent_ns / seconds / 1e9,
            latency_ms=(after.latency_p50_ms, after.latency_p99_ms, after.latency_p999_ms),
            echo_ms=after.echo_ms,
            generator_busy=after.busy,
        )

    async def capacity_fps(
        self, first_fps: float, last_fps: float, settle_s: float, measure_s: float
    ) -> tuple[float, str]:
        """The highest rate without loss, to an eighth, and what stopped the search."""
        sample = await self.run(first_fps, settle_s, measure_s)
        if not sample.holds:
            return first_fps, "loss at the first step"
        # What one core might do at this price is a good place to begin; the search itself decides.
        good, rate = first_fps, max(first_fps, min(last_fps, 0.6 * first_fps / max(sample.cores, 0.01)))
        factor = 1.3
        while rate <= last_fps:
            sample = await self.run(rate, settle_s, measure_s)
            if sample.holds and sample.generator_busy < MOST_BUSY:
                good, rate = rate, rate * factor
                continue
            why = "loss" if sample.generator_busy < MOST_BUSY else "the generator"
            if factor < 1.15 or rate / good < 1.15:
                return good, why
            factor = factor**0.5 if rate / good < 1.5 else 1.3
            rate = good * factor if rate / good < 1.5 else (good * rate) ** 0.5
        return good, "the end of the scale"

    async def latency(self, program: Path, fps: float, settle_s: float, measure_s: float) -> Sample:
        """Measure with arrival times of the kernel, beside a UDP echo on the server's core."""
        with udp_echo(program, self.network) as address:
            await self._peers.probe_echo(address, self.network.host_address or "127.0.0.1")
            await self._peers.set_timing(True)
            try:
                return await self.run(fps, settle_s, measure_s)
            finally:
                await self._peers.set_timing(False)


@contextmanager
def udp_echo(program: Path, network: Network) -> Iterator[tuple[str, int]]:
    """A UDP echo on the server's core and in its namespace: its address."""
    with network.open_socket(kind=SOCK_DGRAM) as socket:
        socket.bind((network.address, 0))
        address: tuple[str, int] = socket.getsockname()
        command = [str(program), "echo", str(socket.fileno()), str(CPU)]
        with subprocess.Popen(command, pass_fds=[socket.fileno()]) as process:
            # Before everybody else on that core: the baseline is the way, not the wait for the server to give way.
            with suppress(PermissionError):
                os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
            try:
                yield address
            finally:
                process.kill()


async def quiet(pid: int) -> None:
    """Wait until a server has done what it does at its start; ours encodes an announcement."""
    for _ in range(60):
        before = cpu_ns(pid)
        await asyncio.sleep(0.5)
        if cpu_ns(pid) - before < 10_000_000:
            return


@asynccontextmanager
async def stage(start: Starter, program: Path, case: Case, wanted: Wanted) -> AsyncIterator[Stage]:
    """Start a server in a namespace, and the generator beside it; nobody is connected yet."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfu-")))
        network = await stack.enter_async_context(namespace(host_link=True))
        wanted = replace(wanted, kinds=(case.stream.kind,), simulcast=case.simulcast)
        sfu: Sfu = await stack.enter_async_context(start(directory, network, wanted))
        await quiet(sfu.pid)
        peers = await stack.enter_async_context(generator(program, cpus=(LOAD_CPU,)))
        yield Stage(sfu, network, peers, case)
