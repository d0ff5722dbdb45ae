"""Forwarding cost beside other servers: the same peers, the same rate, one server after the other, cipher by cipher.

CPU time of the whole server process per forwarded packet at 70 % of what the slowest can do; latency at half of that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fanout import Shape as LimitShape
from benchmarks.fanout import run_limit
from benchmarks.figures import Figure, Report, median
from benchmarks.generator import AUDIO, Generator, Handle, Stream, generator
from benchmarks.native import Programs
from benchmarks.processes import cores_awake, cpu_ns
from benchmarks.sfu_livekit import livekit_sfu
from benchmarks.sfu_servers import Sfu, janus_sfu, missing, own_sfu
from tests.peers.namespace import Namespace, namespace

LOAD_CPU = 1
SHARE_OF_SLOWEST = 0.7
MOST_LOSS = 0.002
"""More than this in a step of the search: the server cannot do it."""

VIDEO = Stream(frames_per_s=10.0, burst=8, packet_bytes=1200)
CIPHERS = {
    "gcm128": "AEAD_AES_128_GCM",
    "gcm256": "AEAD_AES_256_GCM",
    "cm80": "AES_CM_128_HMAC_SHA1_80",
}

Starter = Callable[[Path, Namespace, str], Any]
SERVERS: dict[str, Starter] = {"mediaserver": own_sfu, "janus": janus_sfu, "livekit": livekit_sfu}


@dataclass(frozen=True, slots=True)
class Case:
    """Who sends what to how many."""

    name: str
    publishers: int
    viewers: int
    """Of each publisher."""
    stream: Stream


CASES = (
    Case("video_1_to_300", 1, 300, VIDEO),
    Case("meeting_10_x_10", 10, 9, VIDEO),
    Case("audio_10_to_200", 10, 20, AUDIO),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How long and how often."""

    cases: Sequence[Case] = CASES
    ciphers: Sequence[str] = tuple(CIPHERS)
    rounds: int = 3
    settle_s: float = 1.0
    measure_s: float = 3.0
    search_s: float = 1.5
    first_fps: float = 5.0
    last_fps: float = 4000.0


QUICK = Shape(
    cases=(Case("video_1_to_5", 1, 5, VIDEO), Case("audio_2_to_6", 2, 3, AUDIO)),
    ciphers=("gcm128",),
    rounds=1,
    settle_s=0.3,
    measure_s=0.5,
    search_s=0.3,
    first_fps=50.0,
    last_fps=100.0,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    cpu_us_per_packet: float
    packets_per_s: float
    """Forwarded."""
    loss: float
    cores: float
    """Of the server."""
    latency_p50_ms: float
    latency_p99_ms: float
    latency_p999_ms: float
    generator_busy: float


class Stage:
    """One server with everybody of a case connected."""

    def __init__(self, sfu: Sfu, peers: Generator, publishers: list[Handle]) -> None:
        self.sfu = sfu
        self._peers = peers
        self._publishers = publishers

    async def run(self, fps: float, settle_s: float, measure_s: float) -> Sample:
        """Everybody sends ``fps`` frames per second. Raises RuntimeError when what came was not right."""
        for publisher in self._publishers:
            await self._peers.pace(publisher, fps)
        await asyncio.sleep(settle_s)
        before, spent = await self._peers.read(), cpu_ns(self.sfu.pid)
        await asyncio.sleep(measure_s)
        after, spent = await self._peers.read(), cpu_ns(self.sfu.pid) - spent

        def gained(name: str) -> int:
            return sum(getattr(one, name) - getattr(before.members[id], name) for id, one in after.members.items())

        packets, expected, wrong = gained("packets"), gained("expected"), gained("wrong")
        if not packets or wrong:
            raise RuntimeError(f"{self.sfu.name}: {packets} packets came, {wrong} of the sampled ones not right")
        seconds = after.at_s - before.at_s
        return Sample(
            cpu_us_per_packet=spent / packets / 1000,
            packets_per_s=packets / seconds,
            loss=max(0.0, gained("lost") / expected) if expected else 1.0,
            cores=spent / seconds / 1e9,
            latency_p50_ms=after.latency_p50_ms,
            latency_p99_ms=after.latency_p99_ms,
            latency_p999_ms=after.latency_p999_ms,
            generator_busy=after.busy,
        )

    async def capacity_fps(self, shape: Shape) -> tuple[float, str]:
        """The highest rate without loss, to an eighth, and what stopped the search."""
        good, rate, factor = 0.0, shape.first_fps, 2.0
        why = "the end of the scale"
        while rate <= shape.last_fps:
            sample = await self.run(rate, shape.settle_s, shape.search_s)
            if sample.loss <= MOST_LOSS and sample.generator_busy < 0.95:
                good, rate = rate, rate * factor
                continue
            why = "loss" if sample.generator_busy < 0.95 else "the generator"
            if factor < 1.2 or not good:
                break
            factor **= 0.5
            rate = good * factor
        return good or shape.first_fps, why


@asynccontextmanager
async def stage(
    start: Starter, directory: Path, program: Path, case: Case, suite: str, *, feedback: bool
) -> AsyncIterator[Stage]:
    """Start a server and connect everybody."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(namespace(host_link=True))
        sfu: Sfu = await stack.enter_async_context(start(directory, network, suite))
        peers = await stack.enter_async_context(generator(program, cpus=(LOAD_CPU,)))
        kinds = (case.stream.kind,)
        publishers = []
        for index in range(case.publishers):
            peer = await sfu.publish(f"feed{index}", kinds)
            publishers.append(await peers.add(peer, [replace(case.stream, frames_per_s=5.0)], feedback=feedback))
        for index in range(case.publishers):
            for _ in range(case.viewers):
                await peers.add(await sfu.view(f"feed{index}", kinds), feedback=feedback)
        yield Stage(sfu, peers, publishers)


async def measure(report: Report, programs: Programs, shape: Shape | None = None) -> None:
    """Add the figures of every case and cipher, ours beside every other server that is here."""
    shape = shape or Shape()
    absent = missing()
    for name, reason in absent.items():
        print(f"# not compared with {name}: {reason}", flush=True)
    starters = {name: start for name, start in SERVERS.items() if name not in absent}
    with cores_awake():
        for case in shape.cases:
            for cipher in shape.ciphers:
                await _compare(report, programs, starters, case, cipher, shape)


async def _compare(
    report: Report, programs: Programs, starters: dict[str, Starter], case: Case, cipher: str, shape: Shape
) -> None:
    label = f"{case.name}_{cipher}"
    async with AsyncExitStack() as stack:
        stages: dict[str, Stage] = {}
        for name, start in starters.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"sfu-{name}-")))
            stages[name] = await stack.enter_async_context(
                stage(start, directory, programs.load, case, CIPHERS[cipher], feedback=True)
            )
            await stages[name].run(1.0, 0.5, 1.0)
        capacities = {}
        for name, one in stages.items():
            capacities[name], why = await one.capacity_fps(shape)
            await one.run(1.0, 0.2, 1.0)
            capacity = capacities[name] * case.stream.burst * case.publishers * case.viewers
            report.add(Figure(f"sfu_capacity_{label}_{name}", capacity, "packets/s", note=f"stopped by {why}"))
        fps = min(capacities.values()) * SHARE_OF_SLOWEST
        samples: dict[str, list[Sample]] = {name: [] for name in stages}
        limits: list[float] = []
        for _ in range(shape.rounds):
            for name, one in stages.items():
                samples[name].append(await one.run(fps, shape.settle_s, shape.measure_s))
                await one.run(1.0, 0.2, 1.0)  # the others sleep, as far as a call that goes on can
            limits += await asyncio.to_thread(_limit, programs, case, cipher, fps)
        costs = {}
        for name, found in samples.items():
            note = f"{found[-1].packets_per_s:.0f} packets/s, {max(one.loss for one in found):.4f} lost"
            if stages[name].sfu.note:
                note += f"; {stages[name].sfu.note}"
            figure = median(
                f"sfu_cpu_us_per_packet_{label}_{name}", [one.cpu_us_per_packet for one in found], "µs", note=note
            )
            costs[name] = figure.value
            report.add(figure)
        own = costs["mediaserver"]
        for name in costs.keys() - {"mediaserver"}:
            report.add(Figure(f"sfu_ratio_to_{name}_{label}", own / costs[name], ""))
        if limits:
            limit = median(f"sfu_limit_us_per_packet_{label}", limits, "µs")
            report.add(limit, Figure(f"sfu_ratio_to_limit_{label}", own / limit.value, ""))
        half = await stages["mediaserver"].run(capacities["mediaserver"] / 2, shape.settle_s, shape.measure_s)
        note = f"at half load, p50 {half.latency_p50_ms:.3f}, p99.9 {half.latency_p999_ms:.3f} ms, sockets and wake-ups too"
        report.add(Figure(f"sfu_forward_p99_ms_{label}", half.latency_p99_ms, "ms", note=note))
        report.details[f"sfu_{label}"] = {name: [asdict(one) for one in found] for name, found in samples.items()}


def _limit(programs: Programs, case: Case, cipher: str, fps: float) -> list[float]:
    """The limit program does bursts of video from one sender with AEAD_AES_128_GCM, and nothing else."""
    if cipher != "gcm128" or case.stream.kind != "video" or case.publishers != 1:
        return []
    shape = LimitShape(subscribers=case.viewers, packet_bytes=case.stream.packet_bytes)
    found = run_limit(programs.limit, "engine", max(1, int(fps * case.stream.burst)), shape)
    return [] if found is None else [found["cpu_us_per_packet"]]
