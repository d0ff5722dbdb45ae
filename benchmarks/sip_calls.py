"""SIPp to SIPp through the B2BUA, media ports open on both legs: CPU per call, calls per second, memory per call."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure, Report, median
from benchmarks.processes import cpu_ns, memory_bytes
from tests.peers import sipp
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import LOOPBACK, Network

CALLEE = Network("127.0.0.2")
"""The called SIPp has a loopback address of its own, by which its trunk is known."""

USER = "service"

TRUNK: Final[Mapping[str, Any]] = {"srtp": "never", "keep_alive": {"interval": "0s"}, "max_calls": 5000}
"""What both trunks are: nothing in them may end before the CPU does."""


@dataclass(frozen=True, slots=True)
class Shape:
    calls: int = 500
    rate: int = 50
    rounds: int = 3
    hold_ms: int = 1000
    ramp_s: int = 4
    first_rate: int = 50
    last_rate: int = 1000
    held_calls: int = 200


@dataclass(frozen=True, slots=True)
class B2bua:
    """A process that passes calls on, and where it takes them."""

    name: str
    """Behind the names of its figures; empty for ours."""
    pid: int
    target: tuple[str, int]


def own(server: Daemon) -> B2bua:
    """The daemon."""
    return B2bua("", server.pid, (server.host, server.ports.sip))


@asynccontextmanager
async def b2bua(directory: Path, *, transport: str, callee: sipp.Sipp) -> AsyncIterator[Daemon]:
    """A daemon that passes calls from one trunk to the other."""
    changes = {
        "trunks": {
            "caller": {"peers": ["127.0.0.1"], "target": "sip:127.0.0.1:9", **TRUNK},
            "callee": {
                "peers": ["127.0.0.2"],
                "target": f"sip:127.0.0.2:{callee.port}",
                "transport": transport,
                **TRUNK,
            },
        },
        "routes": [{"match": {"trunk": "caller"}, "to": {"trunk": "callee"}}],
        "limits": {"calls": 5000, "contacts": 5000, "contacts_per_source": 5000, "sip_transactions": 100_000},
        "log": {"level": "warning"},
    }
    async with daemon(directory, changes=changes) as server:
        await announcements_loaded(server)
        yield server


async def announcements_loaded(server: Daemon) -> None:
    """Wait until the announcement is encoded behind the running daemon: the first calls would pay for it."""
    async with asyncio.timeout(60):
        while not (await server.metrics())["mediaserver_announcements_loaded"]:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.2)


async def calls_through(
    server: B2bua, directory: Path, *, calls: int, rate: int, hold_ms: int, transport: str
) -> sipp.SippResult:
    """Calls at a steady rate, and what became of them."""
    async with sipp.caller(
        directory,
        server.target,
        user=USER,
        calls=calls,
        rate=rate,
        hold_ms=hold_ms,
        concurrent=max(1000, 3 * rate),
        transport=transport,
        network=LOOPBACK,
    ) as uac:
        return await uac.finish(60 + calls / rate)


async def measure(report: Report, shape: Shape | None = None) -> None:
    """Add the SIP figures: CPU per call over UDP and TCP, highest clean rate over UDP, memory per held call."""
    shape = shape or Shape()
    for transport in ("udp", "tcp"):
        with tempfile.TemporaryDirectory(prefix="sip-") as name:
            directory = Path(name)
            async with (
                sipp.callee(directory, transport=transport, network=CALLEE) as uas,
                b2bua(directory, transport=transport, callee=uas) as server,
            ):
                await cpu_per_call(report, own(server), directory, shape, transport)
                if transport == "udp":
                    await _memory_per_call(report, own(server), directory, shape)
                    await highest_rate(report, own(server), directory, shape)


async def cpu_per_call(report: Report, server: B2bua, directory: Path, shape: Shape, transport: str) -> None:
    """CPU time of the process per call at a steady rate, after calls that warm it up."""
    await calls_through(server, directory, calls=shape.rate, rate=shape.rate, hold_ms=100, transport=transport)
    samples, failed = [], 0
    for _ in range(shape.rounds):
        before = cpu_ns(server.pid)
        result = await calls_through(
            server, directory, calls=shape.calls, rate=shape.rate, hold_ms=shape.hold_ms, transport=transport
        )
        samples.append((cpu_ns(server.pid) - before) / shape.calls / 1e6)
        failed += result.failed
    suffix = named(server, transport)
    note = f"{shape.calls} calls at {shape.rate}/s over {transport.upper()}"
    report.add(median(f"sip_cpu_ms_per_call{suffix}", samples, "ms", note=note))
    report.add(
        Figure(
            f"sip_failed_calls{suffix}", failed, f"of {shape.calls * shape.rounds}", bound=None if server.name else 0
        )
    )


def named(server: B2bua, transport: str = "udp") -> str:
    """What stands behind the names of its figures."""
    return "".join(f"_{part}" for part in (server.name, transport.replace("udp", "")) if part)


async def _memory_per_call(report: Report, server: B2bua, directory: Path, shape: Shape) -> None:
    idle = memory_bytes(server.pid)
    calls = asyncio.create_task(
        calls_through(server, directory, calls=shape.held_calls, rate=shape.rate, hold_ms=6000, transport="udp"),
        name="held-calls",
    )
    await asyncio.sleep(shape.held_calls / shape.rate + 1)
    held = memory_bytes(server.pid)
    result = await calls
    note = f"PSS of the daemon, {result.successful} calls held"
    report.add(Figure("memory_per_sip_call", (held - idle) / max(1, result.successful) / 1024, "KiB", note=note))


async def highest_rate(report: Report, server: B2bua, directory: Path, shape: Shape) -> None:
    """Raise the rate by a quarter until a call fails, a message is repeated, or the rate is not reached."""
    best, rate, why = 0.0, shape.first_rate, "the end of the scale"
    while rate <= shape.last_rate:
        result = await calls_through(
            server, directory, calls=rate * shape.ramp_s, rate=rate, hold_ms=0, transport="udp"
        )
        if result.failed or result.retransmissions or result.call_rate < rate * 0.9:
            why = f"at {rate}/s: {result.failed} failed, {result.retransmissions} repeated, {result.call_rate:.0f}/s reached"
            break
        best, rate = result.call_rate, rate * 5 // 4
    report.add(
        Figure(f"sip_calls_per_s{named(server)}", best, "calls/s", note=f"stopped by {why}; SIPp runs on the same CPUs")
    )
