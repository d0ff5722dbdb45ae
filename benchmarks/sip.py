"""What SIP costs: reading a message, calls through the B2BUA, registrations, relayed packets; others beside it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import sip_calls, sip_reading, sip_registrations, sip_relay, sip_sippy
from benchmarks.figures import ROOT, Figure, Report, median
from benchmarks.processes import cpu_ns
from tests.peers import sipp


@dataclass(frozen=True, slots=True)
class Shape:
    calls: sip_calls.Shape = field(default_factory=sip_calls.Shape)
    registrations: sip_registrations.Shape = field(default_factory=sip_registrations.Shape)
    relay: sip_relay.Shape = field(default_factory=sip_relay.Shape)
    messages: int = 10_000


QUICK = Shape(
    sip_calls.Shape(calls=20, rate=20, rounds=1, hold_ms=100, ramp_s=1, last_rate=50, held_calls=20),
    sip_registrations.Shape(phones=10, measure_s=0.5, settle_s=0.5),
    sip_relay.Shape(calls=5, measure_s=0.5, rounds=1, first=5, most=10, search_s=0.5),
    messages=200,
)


async def measure(report: Report, shape: Shape | None = None) -> None:
    """Add every figure of `make bench-sip`."""
    shape = shape or Shape()
    sip_reading.measure(report, messages=shape.messages)
    await sip_calls.measure(report, shape.calls)
    await _over_tls(report, shape.calls)
    await _sippy(report, shape.calls)
    with tempfile.TemporaryDirectory(prefix="sip-") as name:
        await sip_registrations.measure(report, Path(name), shape.registrations)
    await sip_relay.measure(report, shape.relay)


async def _over_tls(report: Report, shape: sip_calls.Shape) -> None:
    """The caller's leg over one TLS connection, by the project's own user agent; SIPp answers over UDP."""
    with tempfile.TemporaryDirectory(prefix="sip-") as name:
        directory = Path(name)
        async with (
            sipp.callee(directory, network=sip_calls.CALLEE) as uas,
            sip_calls.b2bua(directory, transport="udp", callee=uas) as server,
        ):
            command = [
                *(sys.executable, "-m", "benchmarks.sip_load", server.sip_uri(sip_calls.USER, "tls")),
                *("--transport", "tls", "--ca", str(server.certificates.ca)),
                *("--rate", str(shape.rate), "--hold", str(shape.hold_ms / 1000)),
            ]
            await _load(command, shape.rate)
            samples, failed = [], 0
            for _ in range(shape.rounds):
                before = cpu_ns(server.pid)
                failed += await _load(command, shape.calls)
                samples.append((cpu_ns(server.pid) - before) / shape.calls / 1e6)
    note = f"{shape.calls} calls at {shape.rate}/s, TLS to the caller and UDP to the callee"
    report.add(median("sip_cpu_ms_per_call_tls", samples, "ms", note=note))
    report.add(Figure("sip_failed_calls_tls", failed, f"of {shape.calls * shape.rounds}", bound=0))


async def _load(command: list[str], calls: int) -> int:
    """Runs so many calls; how many of them failed."""
    process = await asyncio.create_subprocess_exec(
        *command, "--calls", str(calls), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    figures = dict(line.split(": ", 1) for line in output.decode().splitlines() if ": " in line)
    return int(figures.get("sip_load_failed", f"{calls} calls").split()[0])


async def _sippy(report: Report, shape: sip_calls.Shape) -> None:
    python = sip_sippy.python_with_sippy()
    if python is None:
        print("# without sippy: no interpreter that has it (make bench-sip installs it)")
        return
    with tempfile.TemporaryDirectory(prefix="sip-") as name:
        directory = Path(name)
        async with (
            sipp.callee(directory, network=sip_calls.CALLEE) as uas,
            sip_sippy.sippy_b2bua(directory, python, uas) as server,
        ):
            print(f"# sippy {sip_sippy.version(python)}: signalling alone, it opens no media ports")
            await sip_calls.cpu_per_call(report, server, directory, shape, "udp")
            await sip_calls.highest_rate(report, server, directory, shape)
