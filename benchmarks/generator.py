"""The load program's peers as Python sees them: hand a connected peer over, take it back, read what it did."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peer_media import RIDS
from benchmarks.processes import cpu_ns
from benchmarks.webrtc_client import Peer

LONGEST_REPLY = 1 << 22


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """What one peer did since it was handed over; the load program's own names."""

    sent: int = 0
    packets: int = 0
    bytes: int = 0
    late: int = 0
    expected: int = 0
    lost: int = 0
    nacked: int = 0
    plis: int = 0
    keys_asked: int = 0
    feedbacks: int = 0
    wrong: int = 0
    checks: int = 0
    first_ms: float = -1.0
    """Negative: no media yet."""
    repaired: int = 0
    resent: int = 0


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """What the load program answers."""

    error: str | None
    members: list[tuple[int, Figures]]
    lateness_ms: tuple[float, float, float]
    """Median, 99th percentile and most of how late frames left."""
    latency_ms: tuple[float, float, float, float]
    """Median, 99th, 99.9th percentile and most from send to receive, where both were here."""
    latency_count: int
    busy: float
    """Share of the time that its thread had something to do."""
    echo_ms: tuple[float, float, float, float]
    """The same of the probed echo."""
    echo_count: int


class GeneratorError(Exception):
    """The load program refused something or is gone."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a peer sends: frames of ``burst`` packets of ``packet_bytes`` each, SRTP tag included."""

    kind: str = "video"
    frames_per_s: float = 25.0
    burst: int = 4
    packet_bytes: int = 1200
    rid: str = ""
    """Its simulcast layer."""
    width: int = 640

    @property
    def packets_per_s(self) -> float:
        return self.frames_per_s * self.burst

    def plan(self, peer: Peer) -> dict[str, Any]:
        """As the load program reads it."""
        video = self.kind == "video"
        return {
            **peer.media.source(self.kind, self.rid),
            "clock_rate": 90_000 if video else 48_000,
            "packet_size": self.packet_bytes,
            "burst": self.burst,
            "frames_per_s": float(self.frames_per_s),
            "vp8": video,
            "width": self.width if video else 0,
        }


AUDIO = Stream("audio", frames_per_s=50.0, burst=1, packet_bytes=172)
VIDEO = Stream()


def layers(top: Stream) -> list[Stream]:
    """Three simulcast layers, the largest of them ``top``: a quarter and a half of its width, fewer packets each."""
    return [
        replace(top, rid=rid, burst=max(1, round(top.burst * share)), width=max(16, int(top.width * size)))
        for rid, share, size in zip(RIDS, (0.12, 0.4, 1.0), (0.25, 0.5, 1.0), strict=True)
    ]


class Worker:
    """One load program: one thread on one core."""

    def __init__(self, program: Path, cpu: int | None = None) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(10.0)
        with theirs:
            command = [str(program), "serve", str(theirs.fileno()), *([] if cpu is None else [str(cpu)])]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._turn = asyncio.Lock()
        self.members = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Its peers vanish with it."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def ask(self, request: dict[str, Any], fd: int | None = None) -> Reply:
        """Raises GeneratorError."""
        async with self._turn:
            try:
                reply = await asyncio.to_thread(self._ask, msgspec.msgpack.encode(request), fd)
            except (OSError, msgspec.DecodeError) as error:
                raise GeneratorError(f"the load program is gone: {error}") from error
        if reply.error is not None:
            raise GeneratorError(reply.error)
        return reply

    def _ask(self, request: bytes, fd: int | None) -> Reply:
        socket.send_fds(self._control, [request], [] if fd is None else [fd])
        return msgspec.msgpack.decode(self._control.recv(LONGEST_REPLY), type=Reply)


@dataclass(frozen=True, slots=True)
class Handle:
    """A peer that was handed over."""

    worker: Worker
    id: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything at one moment; lateness, latency and busyness are of the time since the last reading."""

    at_s: float
    members: dict[int, Figures]
    lateness_p99_ms: float
    latency_p50_ms: float
    latency_p99_ms: float
    latency_p999_ms: float
    latency_count: int
    echo_ms: tuple[float, float, float]
    """Median, 99th and 99.9th percentile of the echo probed by the first worker."""
    echo_count: int
    busy: float
    """Of the busiest worker."""
    cores: float
    """CPU time per second of all workers and of this process."""


class Generator:
    """Several workers as one."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = list(workers)
        self._next = 0
        self._cpu = self._cpu_ns()
        self._read_at = time.monotonic()

    async def add(self, peer: Peer, streams: Sequence[Stream] = ()) -> Handle:
        """Hand a connected peer over; it is closed here. Streams go with the peer's source of the same kind and layer."""
        self._next += 1
        worker = min(self._workers, key=lambda one: one.members)
        handle = Handle(worker, self._next)
        worker.members += 1
        plan = {
            "peer": peer.plan_entry(),
            "tracks": [stream.plan(peer) for stream in streams],
            "twcc_id": peer.media.extensions.get("twcc", 0),
            "rtx_payload_type": peer.media.rtx_payload_type,
            "feedback": peer.media.feedback,
        }
        try:
            await worker.ask({"op": "add", "id": handle.id, "plan": plan}, peer.socket.fileno())
        except BaseException:
            worker.members -= 1
            raise
        finally:
            peer.close()
        return handle

    async def remove(self, handle: Handle) -> Figures:
        """The peer falls silent; what it did up to now."""
        reply = await handle.worker.ask({"op": "remove", "id": handle.id})
        handle.worker.members -= 1
        return reply.members[0][1]

    async def pace(self, handle: Handle, frames_per_s: float) -> None:
        """All streams of a peer go at another rate from now on."""
        await handle.worker.ask({"op": "pace", "id": handle.id, "frames_per_s": frames_per_s})

    async def set_timing(self, on: bool) -> None:
        """Let the kernel say when packets arrived, instead of when a worker looked; costs something on every packet."""
        for worker in self._workers:
            await worker.ask({"op": "timing", "on": on})

    async def probe_echo(self, remote: tuple[str, int], local_ip: str) -> None:
        """Ask a UDP echo at a steady rate from now on, beside everything else."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((local_ip, 0))
            await self._workers[0].ask({"op": "echo", "remote": f"{remote[0]}:{remote[1]}"}, probe.fileno())

    async def read(self) -> Reading:
        """All peers' figures."""
        replies = await asyncio.gather(*(worker.ask({"op": "figures"}) for worker in self._workers))
        now, cpu = time.monotonic(), self._cpu_ns()
        cores = (cpu - self._cpu) / 1e9 / max(now - self._read_at, 1e-6)
        self._read_at, self._cpu = now, cpu
        slowest = max(replies, key=lambda reply: reply.latency_ms[1])
        return Reading(
            at_s=now,
            members={id: figures for reply in replies for id, figures in reply.members},
            lateness_p99_ms=max(reply.lateness_ms[1] for reply in replies),
            latency_p50_ms=slowest.latency_ms[0],
            latency_p99_ms=slowest.latency_ms[1],
            latency_p999_ms=slowest.latency_ms[2],
            latency_count=sum(reply.latency_count for reply in replies),
            echo_ms=replies[0].echo_ms[:3],
            echo_count=replies[0].echo_count,
            busy=max(reply.busy for reply in replies),
            cores=cores,
        )

    def _cpu_ns(self) -> int:
        return sum(cpu_ns(pid) for pid in (os.getpid(), *(worker.pid for worker in self._workers)))


@contextlib.asynccontextmanager
async def generator(program: Path, *, workers: int = 1, cpus: Sequence[int] = ()) -> AsyncIterator[Generator]:
    """Start the workers, each on a CPU of its own where ``cpus`` names some; they end on the way out."""
    started: list[Worker] = []
    try:
        started.extend(Worker(program, cpus[index] if index < len(cpus) else None) for index in range(workers))
        yield Generator(started)
    finally:
        for worker in started:
            worker.close()
