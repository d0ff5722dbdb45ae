"""Load on a daemon from another machine: calls, meetings, broadcasts, SIP calls.

    python -m benchmarks.load --target https://media.example.org --token TOKEN --scenario broadcast \\
        --rate 5 --hold 60 --ramp 10 --duration 120 --out json,csv,png --max-join-ms 1500 --max-loss 0.001

Exit code 0: every service level was kept; 1: one was missed; 2: the run could not be made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmarks import native
from benchmarks.figures import RESULTS
from benchmarks.generator import GeneratorError, Reading, Stream, generator
from benchmarks.load_result import Levels, Result, Second
from benchmarks.load_scenarios import Broadcast, Calls, Crowd, Media, Meetings, Pace, Rooms, Scenario, Shape
from benchmarks.load_target import JoinError, load_target, local_ip
from benchmarks.sip_load import LoadResult, place_calls
from benchmarks.webrtc_client import PROFILES, SUITE
from mediaserver.sip.uri import parse_sip_uri

SCENARIOS = ("call", "meeting", "broadcast", "sip")
FORMATS = ("json", "csv", "png")
WAIT_STEP_S = 0.1
"""How often figures are read: a first packet is noticed so late at most."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--target", required=True, help="URL of the daemon; sip:user@host:port with --scenario sip")
    add("--token", default="", help="bearer token; with --admin-url the administration's, which makes one per room")
    add("--admin-url", help="administration listener, where it can be reached; meetings need it")
    add("--ca", help="PEM file with the authority of the daemon's certificate")
    add("--scenario", choices=SCENARIOS, required=True)
    add("--rate", type=float, default=2.0, help="arrivals per second (default %(default)s)")
    add("--hold", type=float, default=30.0, help="seconds each stays (default %(default)s)")
    add("--ramp", type=float, default=0.0, help="seconds in which the rate rises from 0 (default %(default)s)")
    add("--duration", type=float, default=60.0, help="seconds of arrivals (default %(default)s)")
    add("--room", default="load", help="room, or beginning of the meetings' rooms (default %(default)s)")
    add("--entry", default="demo", help="entry that calls come through (default %(default)s)")
    add("--size", type=int, default=4, help="participants of one meeting (default %(default)s)")
    add("--video-fps", type=float, default=25.0, help="frames per second of what is sent (default %(default)s)")
    add("--video-burst", type=int, default=4, help="packets of 1200 bytes per frame (default %(default)s)")
    add("--simulcast", action="store_true", help="publishers of rooms send three layers, the largest as said above")
    add("--no-feedback", action="store_true", help="no transport-wide feedback, NACKs and keyframe requests")
    add("--suite", choices=tuple(PROFILES), default=SUITE, help="SRTP suite offered (default %(default)s)")
    add("--transport", choices=("udp", "tcp", "tls"), default="udp", help="of SIP calls (default %(default)s)")
    add("--workers", type=int, default=1, help="load programs, each with a thread (default %(default)s)")
    add("--out", default="json", help="comma-separated, of json, csv, png (default %(default)s)")
    add("--results", type=Path, default=RESULTS, help="folder for them (default %(default)s)")
    add("--max-join-ms", type=float, help="service level: 95th percentile from asking to the first packet")
    add("--max-loss", type=float, help="service level: share of packets")
    add("--max-failed", type=int, help="service level: arrivals that failed")
    return found


async def drive(options: argparse.Namespace, show: Callable[[Second], None]) -> Result:
    """The whole run. Raises JoinError or GeneratorError when it cannot begin."""
    settings = {name: str(value) for name, value in vars(options).items() if name != "token" and value is not None}
    result = Result(options.scenario, settings)
    pace = Pace(options.rate, options.hold, options.ramp, options.duration)
    if options.scenario == "sip":
        await _drive_sip(options, pace, result, show)
        return result
    shape = Shape(
        room=options.room,
        entry=options.entry,
        size=options.size,
        video=Stream(frames_per_s=options.video_fps, burst=options.video_burst),
        simulcast=options.simulcast,
    )
    program = await asyncio.to_thread(native.build_load)
    async with (
        load_target(
            options.target,
            token=options.token,
            admin_url=options.admin_url,
            ca=options.ca,
            suite=options.suite,
            feedback=not options.no_feedback,
        ) as target,
        generator(program, workers=options.workers) as peers,
    ):
        media = Media(peers, result)
        rooms = Rooms(target, media, shape)
        scenario: Scenario = {
            "broadcast": lambda: Broadcast(rooms, shape),
            "meeting": lambda: Meetings(rooms, shape),
            "call": lambda: Calls(target, media, shape, options.token),
        }[options.scenario]()
        crowd = Crowd(scenario, pace, result)
        async with _watching(lambda began: _watch(media, crowd, result, show, began)):
            await crowd.run()
    return result


@contextlib.asynccontextmanager
async def _watching(make: Callable[[float], object]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(make(time.monotonic()))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch(media: Media, crowd: Crowd, result: Result, show: Callable[[Second], None], began: float) -> None:
    """Read figures often, write a row each second."""
    before_expected = before_received = before_bytes = 0
    lag, row_at = 0.0, began
    readings: list[Reading] = []
    while True:
        asked = time.monotonic()
        await asyncio.sleep(WAIT_STEP_S)
        lag = max(lag, time.monotonic() - asked - WAIT_STEP_S)
        readings.append(await media.read())
        passed = time.monotonic() - row_at
        if passed < 1.0:
            continue
        total_bytes = media.bytes + sum(one.bytes for one in readings[-1].members.values())
        expected, received = result.expected - before_expected, result.received - before_received
        second = Second(
            at_s=time.monotonic() - began,
            present=crowd.present,
            joined=crowd.joined,
            failed=result.failed,
            packets_per_s=received / passed,
            mbit_per_s=max(0, total_bytes - before_bytes) * 8 / passed / 1e6,
            loss=max(0.0, 1 - received / expected) if expected > 0 else 0.0,
            latency_p99_ms=max(reading.latency_p99_ms for reading in readings),
            lateness_p99_ms=max(reading.lateness_p99_ms for reading in readings),
            loop_lag_ms=lag * 1000,
            busy=sum(reading.busy for reading in readings) / len(readings),
            cores=sum(reading.cores for reading in readings) / len(readings),
        )
        result.seconds.append(second)
        show(second)
        before_expected, before_received, before_bytes = result.expected, result.received, total_bytes
        lag, row_at, readings = 0.0, time.monotonic(), []


async def _drive_sip(options: argparse.Namespace, pace: Pace, result: Result, show: Callable[[Second], None]) -> None:
    """Calls by the project's own user agent."""
    calls = LoadResult()
    target = parse_sip_uri(options.target)

    async def watch(began: float) -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(1.0)
            second = Second(
                at_s=time.monotonic() - began,
                present=calls.answered - calls.completed,
                joined=calls.answered,
                failed=calls.failures.total(),
                loop_lag_ms=(time.monotonic() - asked - 1.0) * 1000,
            )
            result.seconds.append(second)
            show(second)

    async with _watching(watch):
        await place_calls(
            target,
            transport=options.transport,
            arrivals=pace.arrivals(),
            hold_s=pace.hold_s,
            tls=ssl.create_default_context(cafile=options.ca) if options.transport == "tls" else None,
            local_ip=local_ip(target.host, target.port or 5060),
            result=calls,
        )
    result.join_ms = [seconds * 1000 for seconds in calls.setup_s]
    result.failures = calls.failures


def _table(second: Second) -> Table:
    table = Table(show_header=True, box=None)
    cells = {
        "s": f"{second.at_s:.0f}",
        "present": str(second.present),
        "joined": str(second.joined),
        "failed": str(second.failed),
        "packets/s": f"{second.packets_per_s:.0f}",
        "Mbit/s": f"{second.mbit_per_s:.1f}",
        "loss": f"{second.loss:.4f}",
        "through p99 ms": f"{second.latency_p99_ms:.1f}",
        "own lateness ms": f"{second.lateness_p99_ms:.1f}",
        "busy": f"{second.busy:.2f}",
        "cores": f"{second.cores:.2f}",
    }
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*cells.values())
    return table


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    command = parser()
    options = command.parse_args(arguments)
    formats = [name for name in options.out.split(",") if name]
    if unknown := set(formats) - set(FORMATS):
        command.error(f"--out knows {', '.join(FORMATS)}, not {', '.join(sorted(unknown))}")
    if options.scenario == "meeting" and not options.admin_url:
        command.error("a token holds for one room: meetings need --admin-url and the administration's token")
    if min(options.rate, options.duration, options.size, options.workers) <= 0:
        command.error("--rate, --duration, --size and --workers are above 0")
    console = Console(stderr=True)
    try:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            result = asyncio.run(drive(options, lambda second: live.update(_table(second), refresh=True)))
    except (JoinError, GeneratorError, OSError) as error:
        console.print(f"the run could not be made: {error}", markup=False)
        return 2
    levels = Levels(options.max_join_ms, options.max_loss, options.max_failed)
    print("\n".join(result.lines()))
    for reason in result.saturation():
        console.print(f"warning: the generator itself was saturated; {reason}", markup=False, style="yellow")
    stem = options.results / f"load-{options.scenario}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    try:
        for path in result.write(stem, formats, levels):
            print(f"# written to {path}")
    except ImportError:
        console.print("a PNG needs matplotlib (requirements/dev.lock): not drawn")
        return 2
    missed = result.missed(levels)
    for text in missed:
        console.print(f"missed: {text}", markup=False, style="red")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
