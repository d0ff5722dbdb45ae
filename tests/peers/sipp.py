"""SIPp 3.6.1 as caller, callee and load generator; its verdict is read from its own statistics file."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerError, PeerProcess
from tests.peers.tone import write_mulaw_tone

SCENARIOS = Path(__file__).parent / "scenarios"

TONE_HZ = 600
"""What the scenarios with sound play."""

_TALKS = frozenset({"uac_talk", "uac_barges_in"})

_LEAST_PAUSE_MS = 1
"""SIPp keeps the moment at which a pause ends in milliseconds of its own life, and takes 0 for no pause: a call that
comes in its first millisecond, as on a busy machine, and pauses for 0 ms would wait for ever."""

_NEVER_MS = "600000"
"""SIPp warns among its errors when it has not run for a while, and gives up when that happens often: a busy machine."""

TRANSPORTS = {"udp": "u1", "tcp": "t1"}


@dataclass(frozen=True, slots=True)
class SippResult:
    """Figures of a finished run, from the last line of the statistics file."""

    exit_code: int
    created: int
    successful: int
    failed: int
    retransmissions: int
    seconds: float
    call_rate: float
    """Calls per second, cumulated over the run."""
    response_ms: float
    """Mean of response timer 1 (INVITE to final answer in the scenarios here)."""
    errors: str
    """What SIPp said about unexpected messages; empty in a clean run."""


class Sipp:
    """One SIPp process. A callee runs until stopped; a caller ends after its calls."""

    def __init__(self, name: str, arguments: list[str], port: int, directory: Path, network: Network) -> None:
        self.port = port
        self.host = network.address
        self._statistics = directory / f"{name}-statistics.csv"
        self._errors = directory / f"{name}-errors.log"
        self._logged = directory / f"{name}-logged.log"
        self._process = PeerProcess(
            name,
            [
                "sipp",
                *arguments,
                *("-i", self.host, "-mi", self.host, "-p", str(port)),
                *("-trace_stat", "-stf", str(self._statistics), "-fd", "1"),
                *("-trace_err", "-error_file", str(self._errors)),
                *("-trace_logs", "-log_file", str(self._logged)),
                *("-watchdog_minor_threshold", _NEVER_MS, "-watchdog_major_threshold", _NEVER_MS),
                "-nostdin",
            ],
            directory=directory,
            environment={"TERM": "dumb"},
            prefix=network.exec_prefix,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._process.log()

    @property
    def errors(self) -> str:
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    @property
    def logged(self) -> list[str]:
        """The lines that the scenario has logged, whole ones only."""
        text = self._logged.read_text() if self._logged.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    async def start(self) -> None:
        await self._process.start()

    async def wait_logged(self, number: int = 1, timeout_s: float = 30.0) -> str:
        """The line of that number that the scenario logs."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while len(lines := self.logged) < number:
            if asyncio.get_running_loop().time() > deadline:
                raise PeerError(f"sipp has logged {lines} only:\n{self.log[-2000:]}\n{self.errors[:2000]}")
            await asyncio.sleep(0.02)
        return lines[number - 1]

    async def wait_listening(self, transport: str, network: Network, timeout_s: float = 30.0) -> None:
        """Wait until the port is taken (UDP) or accepts (TCP)."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            if self._process.returncode is not None:
                raise PeerError(f"sipp ended with {self._process.returncode}:\n{self.log[-2000:]}\n{self.errors}")
            if transport == "tcp":
                with contextlib.suppress(OSError):
                    _reader, writer = await network.connect(self.host, self.port)
                    writer.close()
                    return
            elif network.is_taken(self.host, self.port):
                return
            await asyncio.sleep(0.02)
        raise PeerError(f"sipp does not listen on {self.host}:{self.port}:\n{self.log[-2000:]}")

    async def finish(self, timeout_s: float = 90.0) -> SippResult:
        """Wait until all calls of a caller are over; it gives up by itself before this does."""
        code = await self._process.wait(timeout_s)
        return self._result(code)

    async def stop(self) -> SippResult:
        """End a callee: SIGUSR1 lets SIPp finish its calls and write its statistics."""
        code = await self._process.stop(grace_s=30.0, first=signal.SIGUSR1)
        return self._result(code if code is not None else -1)

    async def abandon(self) -> None:
        """End the process without asking for its figures."""
        await self._process.stop(grace_s=1.0)

    def _result(self, code: int) -> SippResult:
        if not self._statistics.exists():
            raise PeerError(f"sipp ended with {code} and left no statistics:\n{self.log[-2000:]}\n{self.errors}")
        with self._statistics.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        if not rows:
            raise PeerError(f"sipp's statistics are empty:\n{self.log[-2000:]}")
        last = rows[-1]
        return SippResult(
            exit_code=code,
            created=int(last["TotalCallCreated"]),
            successful=int(last["SuccessfulCall(C)"]),
            failed=int(last["FailedCall(C)"]),
            retransmissions=int(last["Retransmissions(C)"]),
            seconds=_epoch(last["CurrentTime"]) - _epoch(last["StartTime"]),
            call_rate=float(last["CallRate(C)"]),
            response_ms=_seconds(last["ResponseTime1(C)"]) * 1000 if "ResponseTime1(C)" in last else 0.0,
            errors=self.errors,
        )


def _seconds(text: str) -> float:
    """SIPp writes ``00:00:01`` or ``00:00:01:250000``: hours, minutes, seconds, microseconds."""
    hours, minutes, seconds, *rest = (int(part) for part in text.split(":"))
    return hours * 3600 + minutes * 60 + seconds + (rest[0] / 1e6 if rest else 0.0)


def _epoch(text: str) -> float:
    """SIPp writes date, time and seconds since 1970, with tabs between."""
    return float(text.split("\t")[2])


def _scenario(name: str) -> list[str]:
    """A scenario of ours by name, or SIPp's built-in one as ``builtin:uac``."""
    if name.startswith("builtin:"):
        return ["-sn", name.removeprefix("builtin:")]
    path = SCENARIOS / f"{name}.xml"
    if not path.exists():
        raise PeerError(f"no scenario {path}")
    return ["-sf", str(path)]


def _keys(values: Mapping[str, str]) -> list[str]:
    return [argument for key, value in values.items() for argument in ("-key", key, value)]


@contextlib.asynccontextmanager
async def callee(
    directory: Path,
    *,
    scenario: str = "uas",
    transport: str = "udp",
    echo: bool = False,
    pause_ms: int = 0,
    keys: Mapping[str, str] | None = None,
    network: Network = LOOPBACK,
) -> AsyncIterator[Sipp]:
    """A SIPp that answers calls. ``echo`` sends received RTP back, ``pause_ms`` is what the scenario's pause takes."""
    port, media = network.free_port(), network.free_port(4)
    name = f"sipp-{scenario.replace(':', '-')}-{port}"
    arguments = [
        *_scenario(scenario),
        *("-t", TRANSPORTS[transport], "-mp", str(media), "-d", str(max(_LEAST_PAUSE_MS, pause_ms))),
        *_keys(keys or {}),
    ]
    if echo:
        arguments.append("-rtp_echo")
    running = Sipp(name, arguments, port, directory, network)
    await running.start()
    try:
        await running.wait_listening(transport, network)
        yield running
    finally:
        await running.abandon()


@contextlib.asynccontextmanager
async def caller(
    directory: Path,
    target: tuple[str, int],
    *,
    user: str = "service",
    scenario: str = "uac",
    transport: str = "udp",
    calls: int = 1,
    rate: float = 10.0,
    concurrent: int = 1000,
    hold_ms: int = 0,
    timeout_s: float = 60.0,
    keys: Mapping[str, str] | None = None,
    credentials: tuple[str, str] | None = None,
    to_user: bool = False,
    fields: Sequence[str] = (),
    network: Network = LOOPBACK,
) -> AsyncIterator[Sipp]:
    """A SIPp that places ``calls`` calls at ``rate`` per second; await :meth:`Sipp.finish` for the verdict.

    ``hold_ms`` is the time between ACK and BYE, ``user`` the user part of the called URI,
    ``credentials`` what a challenge is answered with (``to_user``: of requests to that user, not to the host alone),
    ``fields`` what each call in turn has for the scenario's fields, with a semicolon between one and the next.
    """
    port, media = network.free_port(), network.free_port(4)
    name = f"sipp-{scenario.replace(':', '-')}-{port}"
    per_second = max(1, round(rate))
    arguments = [
        f"{target[0]}:{target[1]}",
        *_scenario(scenario),
        *("-t", TRANSPORTS[transport], "-mp", str(media)),
        *("-m", str(calls), "-l", str(concurrent), "-s", user, "-d", str(max(_LEAST_PAUSE_MS, hold_ms))),
        *(("-r", str(per_second)) if rate >= 1 else ("-r", "1", "-rp", str(round(1000 / rate)))),
        *("-timeout", f"{timeout_s:.0f}s", "-timeout_error"),
        *_keys(keys or {}),
    ]
    if credentials is not None:
        arguments += ["-au", credentials[0], "-ap", credentials[1]]
        if to_user:
            arguments += ["-auth_uri", f"{user}@{target[0]}:{target[1]}"]
    if fields:
        (directory / f"{name}-fields.csv").write_text("\n".join(["SEQUENTIAL", *fields, ""]))
        arguments += ["-inf", str(directory / f"{name}-fields.csv")]
    if scenario in _TALKS:
        write_mulaw_tone(directory / "tone.ulaw", hz=TONE_HZ, seconds=10)
    running = Sipp(name, arguments, port, directory, network)
    await running.start()
    try:
        yield running
    finally:
        await running.abandon()
