"""One publisher, many subscribers through the whole daemon, beside the limit of the machine for the same job.

`fanout_cpu_us_per_packet` is CPU time of the daemon's process per forwarded packet: every thread, Python included, with
TWCC, receiver reports, consent checks and a metrics scrape per second going on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure, Report, median
from benchmarks.limit_program import LimitJob, run_limit
from benchmarks.native import Programs
from benchmarks.peer_media import PAYLOAD_TYPE, TWCC_ID
from benchmarks.processes import cores_awake, cpu_ns, memory_bytes, thread_cpu_ns
from benchmarks.webrtc_client import ConnectError, Identity, Peer
from tests.peers.daemon import Daemon, daemon

ROOM = "fanout"
BURST = 8
RATIO_BOUND = 2.0
PER_SOURCE = 40
"""Viewers from one loopback address: the daemon limits how fast sessions begin from one source."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is measured; the published figures use the defaults, smoke tests smaller ones."""

    subscribers: int = 300
    packet_bytes: int = 1200
    low_rate: int = 400
    """Packets per second that the publisher sends in the unsaturated run."""
    rounds: int = 5
    warm_up_s: float = 0.5
    measure_s: float = 3.0
    limit_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run through the daemon."""

    cpu_us_per_packet: float
    packets_per_s: float
    bytes_per_packet: float
    lost: int
    threads_us_per_packet: dict[str, float]
    engine: dict[str, float]
    """What the engine's own counters gained."""
    load: dict[str, Any]


class Load:
    """The running load program; it keeps the peers alive between runs."""

    def __init__(self, process: asyncio.subprocess.Process, server: Daemon, beside: Sequence[int] = ()) -> None:
        self._process = process
        self._server = server
        self._pids = (server.pid, *beside)

    async def run(self, packets_per_s: int, shape: Shape) -> Sample:
        """0 packets/s: saturated. Raises RuntimeError when packets came that were not right."""
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the load program has no input")
        stdin.write(f"{packets_per_s} {shape.warm_up_s * 1000:.0f} {shape.measure_s * 1000:.0f}\n".encode())
        warm = json.loads((await self.expect("warm "))[5:])
        if warm["wrong"] or not warm["verified"]:
            raise RuntimeError(f"forwarded packets are not right: {warm}")
        await self.expect("begin")
        pid = self._server.pid
        counters = await _engine_counters(self._server)
        before, threads = self._spent(), thread_cpu_ns(pid)
        scrape = asyncio.create_task(_scrape(self._server), name="scrape")
        end = json.loads((await self.expect("end "))[4:])
        spent, after = self._spent() - before, thread_cpu_ns(pid)
        scrape.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scrape
        gained = {name: value - counters.get(name, 0) for name, value in (await _engine_counters(self._server)).items()}
        packets = end["packets"]
        if not packets:
            raise RuntimeError(f"nothing was forwarded: {end}")
        return Sample(
            cpu_us_per_packet=spent / packets / 1000,
            packets_per_s=packets / end["seconds"],
            bytes_per_packet=end["bytes"] / packets,
            lost=end["lost"],
            threads_us_per_packet={name: (after[name] - threads.get(name, 0)) / packets / 1000 for name in after},
            engine={name: value for name, value in gained.items() if value},
            load=end,
        )

    def _spent(self) -> int:
        return sum(cpu_ns(pid) for pid in self._pids)

    async def expect(self, start: str) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the load program has no output")
        async with asyncio.timeout(60):
            line = (await self._process.stdout.readline()).decode().strip()
        if not line.startswith(start):
            raise RuntimeError(f"the load program said {line!r} instead of {start!r}")
        return line


async def _engine_counters(server: Daemon) -> dict[str, float]:
    """The engine's figures of all shards together, by name."""
    pattern = re.compile(r'mediaserver_engine_([a-z_]+?)(_total)?\{shard="\d+"\}')
    sums: Counter[str] = Counter()
    for key, value in (await server.metrics()).items():
        if match := pattern.fullmatch(key):
            sums[match[1]] += value
    return dict(sums)


def _pin_shards(pid: int) -> None:
    """Keep the engine's shards where the limit program runs too: CPU 0; the load is on CPU 1."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("shard-"):
            os.sched_setaffinity(int(task.name), {0})


async def _scrape(server: Daemon) -> None:
    while True:
        await server.metrics()
        await asyncio.sleep(1)


async def join(server: Daemon, identity: Identity, token: str, *, sends: bool, source: str = "127.0.0.1") -> Peer:
    """A connected peer that publishes into the room, or views it. Raises ConnectError."""
    peer, answer = await offered(server, identity, token, sends=sends, source=source)
    try:
        await asyncio.to_thread(peer.connect, answer)
    except BaseException:
        peer.close()
        raise
    return peer


async def offered(
    server: Daemon, identity: Identity, token: str, *, sends: bool, source: str = "127.0.0.1"
) -> tuple[Peer, str]:
    """A peer that is not connected yet, and the answer that it got. Raises ConnectError."""
    peer = Peer(identity, sends=sends)
    try:
        url = server.room_url(ROOM, "whip" if sends else "whep")
        status, answer = await server.request(
            "POST", url, body=peer.offer(), token=token, content_type="application/sdp", source=source
        )
        if status != 201:
            raise ConnectError(f"{url} answered {status}: {answer[:500]}")
    except BaseException:
        peer.close()
        raise
    return peer, answer


@contextlib.asynccontextmanager
async def fanout_room(directory: Path, shape: Shape) -> AsyncIterator[tuple[Daemon, list[Peer], float]]:
    """A daemon with a connected publisher and subscribers (publisher first), and its memory per idle subscriber."""
    changes = {
        "media": {"shards": 1},
        "limits": {
            "http_requests_per_source": "1000/s",
            "viewers_per_room": 500,
            "contacts_per_source": 1000,
            "sessions_per_source": 1000,
        },
        "log": {"level": "warning"},
    }
    peers: list[Peer] = []
    async with daemon(directory, changes=changes) as server:
        token = await server.room_token(ROOM, "publish", "view")
        identity = Identity()
        try:
            peers.append(await join(server, identity, token, sends=True))
            before = memory_bytes(server.pid)
            for index in range(shape.subscribers):
                source = f"127.0.1.{index // PER_SOURCE + 1}"
                subscriber = await join(server, identity, token, sends=False, source=source)
                peers.append(subscriber)
            idle_bytes = (memory_bytes(server.pid) - before) / shape.subscribers
            yield server, peers, idle_bytes
        finally:
            for peer in peers:
                peer.close()


@contextlib.asynccontextmanager
async def load_program(
    program: Path,
    directory: Path,
    server: Daemon,
    peers: list[Peer],
    packet_bytes: int,
    *,
    beside: Sequence[int] = (),
) -> AsyncIterator[Load]:
    """Hand the connections over to the load program. `beside` are processes whose CPU time counts like the server's."""
    publisher, *subscribers = peers
    plan = {
        "publisher": {
            "peer": publisher.plan_entry(),
            "ssrc": publisher.media.sources[0].ssrc,
            "payload_type": PAYLOAD_TYPE,
            "twcc_id": TWCC_ID,
        },
        "subscribers": [peer.plan_entry() for peer in subscribers],
        "packet_size": packet_bytes,
        "burst": BURST,
        "report_interval_ms": 1000,
        "check_interval_ms": 2500,
        "cpu": 1,
    }
    path = directory / "plan.msgpack"
    path.write_bytes(msgspec.msgpack.encode(plan))
    process = await asyncio.create_subprocess_exec(
        str(program),
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[peer.socket.fileno() for peer in peers],
        limit=1 << 20,
    )
    try:
        load = Load(process, server, beside)
        await load.expect("ready")
        yield load
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(report: Report, programs: Programs, shape: Shape | None = None) -> None:
    """Add the fan-out figures; daemon and limit take turns, so that a noisy minute hits both."""
    shape = shape or Shape()
    with tempfile.TemporaryDirectory(prefix="fanout-") as name, cores_awake():
        directory = Path(name)
        async with fanout_room(directory, shape) as (server, peers, idle_bytes):
            _pin_shards(server.pid)
            report.add(
                Figure("memory_per_idle_subscriber", idle_bytes / 1024, "KiB", note="PSS of the daemon per WHEP viewer")
            )
            async with load_program(programs.load, directory, server, peers, shape.packet_bytes) as load:
                for label, rate in (("saturated", 0), (f"{shape.low_rate}pps", shape.low_rate)):
                    await _compare(report, load, programs.limit, shape, label, rate)


async def _compare(report: Report, load: Load, limit: Path, shape: Shape, label: str, rate: int) -> None:
    ours: list[Sample] = []
    job = LimitJob(shape.subscribers, shape.packet_bytes, shape.limit_s)
    limits: dict[str, list[float]] = {"engine": [], "openssl": [], "vaes": [], "vaes256": []}
    for _ in range(shape.rounds):
        ours.append(await load.run(rate, shape))
        for cipher, samples in limits.items():
            found = await asyncio.to_thread(run_limit, limit, cipher, rate, job)
            if found is not None:
                samples.append(found["cpu_us_per_packet"])
    lost = sum(sample.lost for sample in ours)
    engine = median(
        f"fanout_cpu_us_per_packet_{label}",
        [sample.cpu_us_per_packet for sample in ours],
        "µs",
        note=f"{shape.subscribers} subscribers, {shape.packet_bytes} B, AEAD_AES_128_GCM, {lost} lost",
    )
    report.add(engine)
    report.add(median(f"fanout_packets_per_s_{label}", [sample.packets_per_s for sample in ours], "packets/s"))
    for cipher, samples in limits.items():
        if not samples:
            continue
        suffix = "" if cipher == "engine" else f"_{cipher}"
        bound = RATIO_BOUND if cipher == "engine" else None
        found_limit = median(f"limit_cpu_us_per_packet_{label}{suffix}", samples, "µs")
        ratio = engine.value / found_limit.value
        report.add(found_limit, Figure(f"fanout_ratio_to_limit_{label}{suffix}", ratio, "", bound=bound))
    report.details[f"fanout_{label}"] = [msgspec.to_builtins(sample) for sample in ours]
