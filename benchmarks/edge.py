"""What a relayed packet costs at the Edge: TURN beside coturn, paths, and both beside the limit of the machine."""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks import edge_call
from benchmarks.edge_generator import Case, Generator, Run, generator
from benchmarks.edge_servers import Server, coturn, floor, missing, own_edge, own_turn
from benchmarks.figures import Figure, Report, median
from benchmarks.native import Programs
from benchmarks.processes import cores_awake, cpu_ns, memory_bytes
from benchmarks.sfu_stage import udp_echo
from tests.peers.namespace import LOOPBACK

RATIO_TO_COTURN: Final = {1: 0.9, 8: 0.75}
"""By burst."""
PATH_RATIO_TO_LIMIT: Final = 1.3
SEND_TO_CHANNEL: Final = 1.3
SETUP_MS: Final = 0.3
MEMORY_KIB: Final = 2.0
ADDED_DELAY_MS: Final = 0.3
MOST_LOST: Final = 0.02
"""Of a run; above that its figure says so."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is measured; the published figures use the defaults, smoke tests smaller ones."""

    sizes: Sequence[int] = (172, 1200)
    rates: Sequence[int] = (4_000, 20_000, 100_000)
    bursts: Sequence[int] = (1, 8)
    rounds: int = 5
    warm_up_s: float = 0.2
    measure_s: float = 1.0
    clients: int = 2_000
    """Set up at once, in each round of the set-up."""
    setup_rounds: int = 2
    delay_rate: int = 20_000
    delay_s: float = 3.0
    call: edge_call.Shape = field(default_factory=edge_call.Shape)

    def cases(self, form: str) -> list[Case]:
        made = product(self.sizes, self.rates, self.bursts)
        return [Case(form, size, rate, burst) for size, rate, burst in made]


QUICK: Final = Shape(
    rates=(4_000,),
    rounds=1,
    warm_up_s=0.05,
    measure_s=0.2,
    clients=50,
    setup_rounds=1,
    delay_rate=4_000,
    delay_s=0.5,
    call=edge_call.QUICK,
)


Costs = dict[str, dict[Case, list[float]]]
"""By server and case, for each round: µs of CPU for a packet."""


@dataclass(slots=True)
class Loaded:
    """A server with its load, and what it cost in each case."""

    server: Server
    generator: Generator
    costs: dict[Case, list[float]] = field(default_factory=dict)
    lost: dict[Case, float] = field(default_factory=dict)

    async def sample(self, case: Case, shape: Shape) -> Run:
        await self.generator.begin(case, shape.warm_up_s, shape.measure_s)
        before = cpu_ns(self.server.pid)
        run = await self.generator.end()
        self.costs.setdefault(case, []).append((cpu_ns(self.server.pid) - before) / run.received / 1e3)
        self.lost[case] = max(self.lost.get(case, 0.0), 1 - run.received / run.sent)
        return run

    def note(self, case: Case) -> str:
        lost = self.lost[case]
        return case.shape + (f"; lost up to {lost:.0%}" if lost > MOST_LOST else "")


async def measure(report: Report, programs: Programs, shape: Shape | None = None) -> None:
    """Add every figure of `make bench-edge`: servers on one CPU, the load on another, in turns, case by case."""
    shape = shape or Shape()
    # Every client that is set up is a socket, of the generator and of the server.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if reason := missing():
        report.details["edge_missing"] = {"coturn": reason}
        print(f"# without coturn: {reason}")
    with tempfile.TemporaryDirectory(prefix="edge-") as name, cores_awake():
        directory = Path(name)
        (directory / "delay").mkdir()
        async with _turn_servers(programs, directory) as servers:
            costs = await _relayed(report, programs, servers, shape)
            await _clients(report, programs, "turn", "allocation", servers, shape)
        async with _edge_servers(programs, directory) as servers:
            costs |= await _paths(report, programs, servers, shape)
            await _clients(report, programs, "path", "path", servers, shape)
        # What a thread waits for others on its core is no delay of the relay's: ours goes before them.
        async with _turn_servers(programs, directory / "delay", real_time=True) as servers:
            await _delay(report, programs, "turn", servers, shape)
        async with _edge_servers(programs, directory / "delay", real_time=True) as servers:
            await _delay(report, programs, "path", servers, shape)
        await edge_call.measure(report, programs, directory, shape.call)
    report.details["edge_costs"] = {
        name: {case.name: samples for case, samples in found.items()} for name, found in costs.items()
    }


@asynccontextmanager
async def _turn_servers(
    programs: Programs, directory: Path, *, real_time: bool = False
) -> AsyncIterator[dict[str, Server]]:
    starts: list[AbstractAsyncContextManager[Server]] = [own_turn(directory, real_time=real_time)]
    if not missing():
        starts.append(coturn(directory))
    starts.append(floor(programs, directory, "turn"))
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(start) for start in starts]
        yield {server.name: server for server in servers}


@asynccontextmanager
async def _edge_servers(
    programs: Programs, directory: Path, *, real_time: bool = False
) -> AsyncIterator[dict[str, Server]]:
    async with own_edge(real_time=real_time) as own, floor(programs, directory, "edge") as limit:
        yield {own.name: own, limit.name: limit}


@asynccontextmanager
async def _loads(programs: Programs, servers: Sequence[Server], form: str) -> AsyncIterator[dict[str, Loaded]]:
    async with AsyncExitStack() as stack:
        loads = {}
        for server in servers:
            load = await stack.enter_async_context(generator(programs.load, *server.load(form)))
            loads[server.name] = Loaded(server, load)
        yield loads


async def _in_turns(loads: Sequence[tuple[Loaded, Case]], shape: Shape) -> None:
    """Every load with its case, so often."""
    for _ in range(shape.rounds):
        for load, case in loads:
            await load.sample(case, shape)


def _ratio(name: str, ours: Sequence[float], theirs: Sequence[float], bound: float | None, note: str) -> Figure:
    """Rounds are compared one by one: what disturbs the machine disturbs both runs of a round."""
    return median(name, [one / other for one, other in zip(ours, theirs, strict=True)], "", bound=bound, note=note)


async def _relayed(report: Report, programs: Programs, servers: dict[str, Server], shape: Shape) -> Costs:
    """TURN with ChannelData and with indications, in turns too: the machine is not the same one minutes later."""
    # The floor knows channels only; an indication has to carry the same bytes, and stands beside ChannelData.
    knowing = [server for server in servers.values() if server.is_turn]
    async with (
        _loads(programs, list(servers.values()), "channel") as by_channel,
        _loads(programs, knowing, "send") as by_send,
    ):
        for channel, send in zip(shape.cases("channel"), shape.cases("send"), strict=True):
            channels = [(load, channel) for load in by_channel.values()]
            await _in_turns(channels + [(load, send) for load in by_send.values()], shape)
            _add_relayed(report, by_channel, channel)
            _add_relayed(report, by_send, send)
            ours, theirs = by_send["mediaserver"].costs[send], by_channel["mediaserver"].costs[channel]
            report.add(_ratio(f"turn_send_to_channel_{send.name}", ours, theirs, SEND_TO_CHANNEL, send.shape))
    costs = {name: load.costs | (by_send[name].costs if name in by_send else {}) for name, load in by_channel.items()}
    return {"turn_floor" if name == "limit" else name: found for name, found in costs.items()}


def _add_relayed(report: Report, loads: dict[str, Loaded], case: Case) -> None:
    own = loads["mediaserver"]
    for name, load in loads.items():
        prefix = {"mediaserver": "turn", "limit": "turn_floor"}.get(name, name)
        report.add(median(f"{prefix}_cpu_us_{case.name}", load.costs[case], "µs", note=load.note(case)))
    if "coturn" in loads:
        theirs, bound = loads["coturn"].costs[case], RATIO_TO_COTURN[case.burst]
        report.add(_ratio(f"turn_ratio_to_coturn_{case.name}", own.costs[case], theirs, bound, case.shape))
    if "limit" in loads:
        theirs = loads["limit"].costs[case]
        report.add(_ratio(f"turn_ratio_to_limit_{case.name}", own.costs[case], theirs, None, case.shape))


async def _paths(report: Report, programs: Programs, servers: dict[str, Server], shape: Shape) -> Costs:
    """An Edge's paths, frames in one direction and datagrams in the other."""
    async with _loads(programs, list(servers.values()), "path") as loads:
        own, limit = loads["mediaserver"], loads["limit"]

        for case in shape.cases("path"):
            await _in_turns([(own, case), (limit, case)], shape)
            report.add(
                median(f"path_cpu_us_{case.name}", own.costs[case], "µs", note=own.note(case)),
                median(f"path_floor_cpu_us_{case.name}", limit.costs[case], "µs", note=limit.note(case)),
            )
            name, bound = f"path_ratio_to_limit_{case.name}", PATH_RATIO_TO_LIMIT
            report.add(_ratio(name, own.costs[case], limit.costs[case], bound, case.shape))
        return {"edge": own.costs, "edge_floor": limit.costs}


async def _delay(report: Report, programs: Programs, kind: str, servers: dict[str, Server], shape: Shape) -> None:
    """What a relay adds: its 99th percentile less that of an echo on its core that is asked in between."""
    form = "channel" if kind == "turn" else "path"
    for burst in shape.bursts:
        case = Case(form, 172, shape.delay_rate, burst)
        for server in servers.values():
            samples, whole, echo = [], [], []
            for _ in range(shape.rounds):
                async with generator(programs.load, *server.load(form)) as load:
                    with udp_echo(programs.load, LOOPBACK) as address:
                        await load.probe_echo(address)
                        await load.begin(case, shape.warm_up_s, shape.delay_s)
                        run = await load.end()
                if run.echo_ms is None:
                    raise RuntimeError("nobody asked the echo")
                samples.append(max(0.0, run.latency_ms[1] - run.echo_ms[1]))
                whole.append(run.latency_ms[1])
                echo.append(run.echo_ms[1])
            prefix = {"mediaserver": kind, "limit": f"{kind}_floor"}.get(server.name, server.name)
            bound = ADDED_DELAY_MS if server.name == "mediaserver" else None
            name = f"{prefix}_added_delay_p99_ms_{case.name}"
            note = f"{case.shape}; {statistics.median(whole):.3f} less an echo's {statistics.median(echo):.3f}"
            report.add(median(name, samples, "ms", bound=bound, note=note))


async def _clients(
    report: Report, programs: Programs, kind: str, noun: str, servers: dict[str, Server], shape: Shape
) -> None:
    """What setting up and keeping a client costs; each has been set up before, so that tables have grown to their size."""
    form = "channel" if kind == "turn" else "path"
    for server in servers.values():
        if server.name == "limit":
            continue
        async with generator(programs.load, *server.load(form)) as load:
            await load.add(shape.clients // 10)
            costs, memory = [], []
            for _ in range(shape.setup_rounds):
                spent, size = cpu_ns(server.pid), memory_bytes(server.pid)
                await load.add(shape.clients)
                costs.append((cpu_ns(server.pid) - spent) / shape.clients / 1e6)
                memory.append((memory_bytes(server.pid) - size) / shape.clients / 1024)
        is_own = server.name == "mediaserver"
        prefix = kind if is_own else server.name
        what = "401, Allocate, ChannelBind" if kind == "turn" else "a check with a token, until the path is proven"
        setup_bound, memory_bound = (SETUP_MS, MEMORY_KIB) if is_own else (None, None)
        report.add(
            median(f"{prefix}_setup_ms_per_{noun}", costs, "ms", bound=setup_bound, note=f"CPU; {what}"),
            median(
                f"{prefix}_memory_kib_per_{noun}",
                memory,
                "KiB",
                bound=memory_bound,
                note=f"PSS of the process, {shape.clients} more; sockets in the kernel are apart",
            ),
        )
