"""Load for a relay or an Edge: `mediaserver-load relay`, a process of its own on the CPU that servers leave alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

CPU: Final = 1
LANES: Final = 20
"""Clients with a peer each, or visitors: who carries the load."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the load looks like."""

    form: str
    """`channel` or `send` through TURN, `path` through an Edge."""
    bytes: int
    packets_per_s: int
    burst: int
    """Packets of one client that leave at once; 1: single packets."""

    @property
    def name(self) -> str:
        return f"{self.form}_{self.bytes}b_{self.packets_per_s}pps_{'burst' if self.burst > 1 else 'single'}"

    @property
    def shape(self) -> str:
        kind = f"bursts of {self.burst}" if self.burst > 1 else "single packets"
        return f"{self.bytes} B, {self.packets_per_s} packets/s, {kind}"


class Run(msgspec.Struct, frozen=True):
    """What came of a load."""

    sent: int
    received: int
    wrong: int
    """Of what was received: not what had been sent."""
    seconds: float
    latency_ms: tuple[float, float]
    """Median and 99th percentile, as the others."""
    lateness_ms: tuple[float, float]
    """How late packets left: large numbers mean that the generator was the limit."""
    echo_ms: tuple[float, float] | None


class Added(msgspec.Struct, frozen=True):
    count: int
    seconds: float


class Generator:
    """A running one, whose clients are set up."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begin(self, case: Case, warm_up_s: float, measure_s: float) -> None:
        """Start a load; returns when the measured part begins."""
        numbers = (case.bytes, case.burst, case.packets_per_s, round(warm_up_s * 1000), round(measure_s * 1000))
        self._say("run " + " ".join(map(str, numbers)))
        await self.expect("begin")

    async def end(self) -> Run:
        """Wait for the end of it. Raises RuntimeError when nothing arrived, or what nobody had sent."""
        run = msgspec.json.decode(await self.expect("end "), type=Run)
        if run.wrong or not run.received:
            raise RuntimeError(f"what was relayed is not right: {run}")
        return run

    async def add(self, count: int) -> Added:
        """Set up so many silent clients, one after the other."""
        self._say(f"add {count}")
        return msgspec.json.decode(await self.expect("added "), type=Added)

    async def probe_echo(self, address: tuple[str, int]) -> None:
        """Ask a UDP echo beside every load from now on; times are the kernel's then."""
        self._say(f"echo {address[0]}:{address[1]}")
        await self.expect("probing")

    def _say(self, line: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the load program has no input")
        self._process.stdin.write(f"{line}\n".encode())

    async def expect(self, start: str) -> bytes:
        """What follows `start` in the next line."""
        if self._process.stdout is None:
            raise RuntimeError("the load program has no output")
        async with asyncio.timeout(120):
            line = (await self._process.stdout.readline()).strip()
        if not line.startswith(start.strip().encode()):
            raise RuntimeError(f"the load program said {line!r} instead of {start!r}")
        return line[len(start) :]


@asynccontextmanager
async def generator(program: Path, *arguments: str) -> AsyncIterator[Generator]:
    """Start one with the arguments that follow its CPU; it ends on the way out."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", str(program), "relay", str(CPU), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        started = Generator(process)
        await started.expect("ready")
        yield started
        # With the end of its input it gives its allocations back.
        if process.stdin is not None:
            process.stdin.close()
        async with asyncio.timeout(30):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
