"""Forwarding cost beside other servers: the same peers, the same rate, one server after the other, cipher by cipher.

CPU time of the whole server process per forwarded packet at 70 % of what the slowest can do; latency at half of what
ours can do; the same without feedback and with two shards; cost against the number of receivers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace

from benchmarks.figures import Figure, Report, median
from benchmarks.generator import AUDIO, Stream
from benchmarks.limit_program import LimitJob, run_limit
from benchmarks.native import Programs
from benchmarks.processes import cores_awake
from benchmarks.sfu_face import Wanted, missing
from benchmarks.sfu_janus import janus_sfu
from benchmarks.sfu_livekit import livekit_sfu
from benchmarks.sfu_own import own_sfu, own_sfu_of_two_shards
from benchmarks.sfu_stage import Case, Sample, Stage, Starter, stage

SHARE_OF_SLOWEST = 0.7
OWN = "mediaserver"
SERVERS: Mapping[str, Starter] = {OWN: own_sfu, "janus": janus_sfu, "livekit": livekit_sfu}
VIDEO = Stream(frames_per_s=10.0, burst=8, packet_bytes=1200)
CASES = (
    Case("video_1_to_300", 1, 300, VIDEO),
    Case("meeting_10_x_10", 10, 9, VIDEO, simulcast=True),
    Case("audio_10_to_200", 10, 20, AUDIO),
)


@dataclass(frozen=True, slots=True)
class Cipher:
    """A suite as the servers and as the limit program name it, and how much shorter its packets are than GCM's."""

    suite: str
    limit: str
    shorter_by: int = 0


CIPHERS: Mapping[str, Cipher] = {
    "gcm128": Cipher("AEAD_AES_128_GCM", "engine"),
    "gcm256": Cipher("AEAD_AES_256_GCM", "engine-gcm256"),
    "cm80": Cipher("AES_CM_128_HMAC_SHA1_80", "engine-cm80", 6),
}
FIRST = "gcm128"
"""Ours is also measured without feedback, with two shards and against the number of receivers with this one."""

RATIO_TO_LIMIT = 1.5
RATIO_TO_OTHERS = {"video": 1 / 8, "audio": 1 / 4}
ADDED_P99_MS = 1.0
RATIO_OF_SHARDS = 1.15


@dataclass(frozen=True, slots=True)
class Shape:
    """How long and how often."""

    cases: Sequence[Case] = CASES
    ciphers: Sequence[str] = tuple(CIPHERS)
    rounds: int = 3
    settle_s: float = 0.5
    measure_s: float = 1.5
    search_s: float = 1.0
    first_fps: float = 5.0
    last_fps: float = 4000.0
    receivers: Sequence[int] = (1, 3, 10, 30, 100, 300)
    """Of the last part."""
    most_fps: float = 250.0
    """There."""


QUICK = Shape(
    cases=(
        Case("video_1_to_5", 1, 5, VIDEO),
        Case("meeting_2_x_2", 2, 1, VIDEO, simulcast=True),
        Case("audio_2_to_6", 2, 3, AUDIO),
    ),
    ciphers=(FIRST,),
    rounds=1,
    settle_s=0.3,
    measure_s=0.5,
    search_s=0.3,
    first_fps=50.0,
    last_fps=100.0,
    receivers=(1, 5),
    most_fps=50.0,
)


async def measure(report: Report, programs: Programs, shape: Shape | None = None) -> None:
    """Add the figures of every case and cipher, ours beside every other server that is here."""
    shape = shape or Shape()
    absent = missing()
    for name, reason in absent.items():
        print(f"# not compared with {name}: {reason}", flush=True)
    starters = {name: start for name, start in SERVERS.items() if name not in absent}
    rates: dict[str, float] = {}
    with cores_awake():
        for case in shape.cases:
            for cipher in shape.ciphers:
                rates[f"{case.name}_{cipher}"] = await _compare(report, programs, starters, case, cipher, shape)
        first = shape.cases[0]
        rate = rates[f"{first.name}_{FIRST}"] * first.packets_per_frame
        await _receivers(report, programs, starters, first, rate, shape)


async def _compare(
    report: Report, programs: Programs, starters: Mapping[str, Starter], case: Case, cipher: str, shape: Shape
) -> float:
    """One case with one cipher; the rate at which all were measured, in frames per second."""
    label = f"{case.name}_{cipher}"
    wanted = Wanted(suite=CIPHERS[cipher].suite)
    async with AsyncExitStack() as stack:
        stages: dict[str, Stage] = {}
        for name, start in starters.items():
            stages[name] = await stack.enter_async_context(stage(start, programs.load, case, wanted))
            await stages[name].fill()
            await stages[name].rest()
            if cipher == FIRST:
                memory = stages[name].memory_per_viewer / 1024
                report.add(Figure(f"sfu_memory_per_subscriber_{case.name}_{name}", memory, "KiB"))
        capacities = {name: await _capacity(report, one, label, name, shape) for name, one in stages.items()}
        fps = min(capacities.values()) * SHARE_OF_SLOWEST
        if cipher == FIRST:
            variants = {f"{OWN}_no_feedback": (own_sfu, replace(wanted, feedback=False))}
            variants[f"{OWN}_two_shards"] = (own_sfu_of_two_shards, wanted)
            for name, (start, its) in variants.items():
                stages[name] = await stack.enter_async_context(stage(start, programs.load, case, its))
                await stages[name].fill()
                await stages[name].rest()
        samples: dict[str, list[Sample]] = {name: [] for name in stages}
        limits: list[float] = []
        for _ in range(shape.rounds):
            for name, one in stages.items():
                samples[name].append(await one.run(fps, shape.settle_s, shape.measure_s))
                await one.rest()
            limits += await asyncio.to_thread(_limit, programs, stages[OWN], case.viewers, cipher, fps)
        costs = {name: _cost(report, label, name, found, stages[name]) for name, found in samples.items()}
        _ratios(report, case, label, costs, limits)
        half = capacities[OWN] / 2
        latency = await stages[OWN].latency(programs.load, half, shape.settle_s, 2 * shape.measure_s)
        _latency(report, label, latency)
        details = {name: [asdict(one) for one in found] for name, found in samples.items()}
        report.details[f"sfu_{label}"] = {"fps": fps, "samples": details, "half_load": asdict(latency)}
    return fps


async def _capacity(report: Report, one: Stage, label: str, name: str, shape: Shape) -> float:
    fps, why = await one.capacity_fps(shape.first_fps, shape.last_fps, shape.settle_s, shape.search_s)
    await one.rest()
    value = fps * one.case.packets_per_frame
    report.add(Figure(f"sfu_packets_per_s_per_core_{label}_{name}", value, "packets/s", note=f"stopped by {why}"))
    return fps


def _cost(report: Report, label: str, name: str, samples: Sequence[Sample], one: Stage) -> float:
    loss, delivered = max(one.loss for one in samples), min(one.delivered for one in samples)
    notes = [f"{samples[-1].packets_per_s:.0f} packets/s", f"{loss:.4f} lost"]
    if not all(one.holds for one in samples):
        notes.append(f"only {delivered:.2f} of what was sent came")
    if one.sfu.note:
        notes.append(one.sfu.note)
    values = [one.cpu_us_per_packet for one in samples]
    figure = median(f"sfu_cpu_us_per_packet_{label}_{name}", values, "µs", note="; ".join(notes))
    report.add(figure)
    return figure.value


def _ratios(report: Report, case: Case, label: str, costs: Mapping[str, float], limits: Sequence[float]) -> None:
    own = costs[OWN]
    if limits:
        limit = median(f"sfu_limit_us_per_packet_{label}", limits, "µs")
        report.add(limit, Figure(f"sfu_ratio_to_limit_{label}", own / limit.value, "", bound=RATIO_TO_LIMIT))
        frame_ms = limit.value * case.stream.burst * case.viewers / 1000
        report.add(Figure(f"sfu_limit_frame_ms_{label}", frame_ms, "ms", note="of the last receiver, at best"))
    for name in [name for name in SERVERS if name != OWN and name in costs]:
        bound = RATIO_TO_OTHERS[case.stream.kind]
        report.add(Figure(f"sfu_ratio_to_{name}_{label}", own / costs[name], "", bound=bound))
    if (two := costs.get(f"{OWN}_two_shards")) is not None:
        report.add(Figure(f"sfu_ratio_of_two_shards_{label}", two / own, "", bound=RATIO_OF_SHARDS))


def _latency(report: Report, label: str, found: Sample) -> None:
    note = f"at half load, {found.packets_per_s:.0f} packets/s, beside an echo on the same core"
    for name, through, echo in zip(("p50", "p99", "p999"), found.latency_ms, found.echo_ms, strict=True):
        bound = ADDED_P99_MS if name == "p99" else None
        # An echo that was held up itself tells nothing: then nothing is taken off.
        value, text = (through - echo, f"{through:.3f} less {echo:.3f}")
        if echo > through:
            value, text = through, f"{through:.3f}, nothing taken off for an echo of {echo:.3f}"
        report.add(Figure(f"sfu_forward_{name}_ms_{label}", value, "ms", bound=bound, note=f"{note}: {text}"))


async def _receivers(
    report: Report,
    programs: Programs,
    starters: Mapping[str, Starter],
    case: Case,
    packets_per_s: float,
    shape: Shape,
) -> None:
    """Cost per packet against the number of receivers, at the same rate of forwarded packets where that can be."""
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in (*starters, "limit")}
    async with AsyncExitStack() as stack:
        stages = {
            name: await stack.enter_async_context(stage(start, programs.load, case, Wanted(suite=CIPHERS[FIRST].suite)))
            for name, start in starters.items()
        }
        for count in shape.receivers:
            fps = min(shape.most_fps, packets_per_s / (case.stream.burst * count))
            for name, one in stages.items():
                await one.fill(viewers=count)
                sample = await one.run(fps, shape.settle_s, shape.measure_s)
                await one.rest()
                points[name].append((count, sample.cpu_us_per_packet))
            found = await asyncio.to_thread(_limit, programs, stages[OWN], count, FIRST, fps)
            points["limit"] += [(count, value) for value in found]
    for name, line in points.items():
        for count, value in line:
            report.add(Figure(f"sfu_receivers_{count}_us_per_packet_{name}", value, "µs"))
    report.details["sfu_receivers"] = points


def _limit(programs: Programs, beside: Stage, receivers: int, cipher: str, fps: float) -> list[float]:
    """What the limit program needs for the largest layer of everybody, with the engine's own cipher library, over the
    same wire: what a packet costs on its way to a receiver's socket is charged to who sends it."""
    case = beside.case
    size = case.stream.packet_bytes - CIPHERS[cipher].shorter_by
    job = LimitJob(receivers, size, 0.6, case.publishers, case.stream.burst, beside.network)
    rate = max(1, int(fps * case.stream.burst * case.publishers))
    found = run_limit(programs.limit, CIPHERS[cipher].limit, rate, job)
    return [] if found is None else [found["cpu_us_per_packet"]]
