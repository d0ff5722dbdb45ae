"""A stream through Edge, link and Core beside the same stream through a daemon alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import fanout
from benchmarks.figures import Report, median
from benchmarks.native import Programs
from benchmarks.sfu_face import pin
from benchmarks.sfu_stage import quiet
from benchmarks.webrtc_client import Identity, Peer
from tests.e2e.zone import link_files
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerError

LIMITS: Final = {
    "http_requests_per_source": "1000/s",
    "contacts_per_source": 1000,
    "sessions_per_source": 1000,
}
COMMON: Final = {"limits": LIMITS, "log": {"level": "warning"}}
PATIENCE_S: Final = 20.0
BYTES: Final = 1200


@dataclass(frozen=True, slots=True)
class Shape:
    """Frames of eight packets of 1200 bytes, from one publisher to so many."""

    viewers: int = 10
    packets_per_s: int = 400
    rounds: int = 5
    warm_up_s: float = 0.5
    measure_s: float = 3.0

    @property
    def fanout(self) -> fanout.Shape:
        return fanout.Shape(subscribers=self.viewers, warm_up_s=self.warm_up_s, measure_s=self.measure_s)


QUICK: Final = Shape(viewers=2, rounds=1, warm_up_s=0.2, measure_s=0.3)


@dataclass(frozen=True, slots=True)
class Way:
    """The processes that a packet goes through; the first is the one that visitors signal with."""

    servers: tuple[Daemon, ...]

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(server.pid for server in self.servers)


@asynccontextmanager
async def alone(directory: Path) -> AsyncIterator[Way]:
    """One daemon that does everything."""
    async with daemon(directory / "alone", changes=COMMON) as server:
        yield Way((server,))


@asynccontextmanager
async def behind_edge(directory: Path) -> AsyncIterator[Way]:
    """A Core whose visitors' media come by an Edge, all on the loopback; their HTTP goes to the Core itself."""
    inside, outside = link_files(directory, "core.bank.example"), link_files(directory, "edge.bank.example")
    address = f"127.0.0.1:{LOOPBACK.free_port()}"
    edge: dict[str, Any] = {
        **COMMON,
        "role": "edge",
        "link": {
            "name": outside.name,
            "certificate": outside.section,
            "listen": address,
            "cores": {"inside": {"name": inside.name, "certificate_file": str(inside.chain)}},
        },
    }
    dmz = {"address": address, "name": outside.name, "certificate_file": str(outside.chain)}
    core: dict[str, Any] = {
        **COMMON,
        "role": "core",
        "link": {"name": inside.name, "certificate": inside.section, "edges": {"dmz": dmz}},
    }
    # The Core first: it waits for the Edge, and is to find it gone last.
    async with (
        daemon(directory / "core", changes=core) as core_daemon,
        daemon(directory / "edge", changes=edge) as edge_daemon,
    ):
        yield Way((core_daemon, edge_daemon))


async def _peers(way: Way, shape: Shape) -> list[Peer]:
    """A publisher and its viewers, connected; waits for the Edge where there is one."""
    server = way.servers[0]
    token = await server.room_token(fanout.ROOM, "publish", "view")
    identity, peers = Identity(), list[Peer]()
    media = way.servers[-1].ports.media
    async with asyncio.timeout(PATIENCE_S):
        while not peers:
            peer, answer = await fanout.offered(server, identity, token, sends=True)
            if f" {media} typ host" in answer:
                await asyncio.to_thread(peer.connect, answer)
                peers.append(peer)
            else:  # The Core has not found its Edge yet.
                peer.close()
                await asyncio.sleep(0.2)
    for _ in range(shape.viewers):
        peers.append(await fanout.join(server, identity, token, sends=False))
    return peers


async def measure(report: Report, programs: Programs, directory: Path, shape: Shape) -> None:
    """Add the cost of a forwarded packet either way, in turns."""
    folder = directory / "call"
    folder.mkdir()
    costs: dict[str, list[float]] = {"alone": [], "edge": []}
    async with AsyncExitStack() as stack:
        ways = {"alone": await stack.enter_async_context(alone(folder))}
        ways["edge"] = await stack.enter_async_context(behind_edge(folder))
        loads = {}
        for name, way in ways.items():
            for pid in way.pids:
                pin(pid)
                await quiet(pid)
            peers = await _peers(way, shape)
            for peer in peers:
                stack.callback(peer.close)
            program = fanout.load_program(programs.load, folder, way.servers[0], peers, BYTES, beside=way.pids[1:])
            loads[name] = await stack.enter_async_context(program)
        for _ in range(shape.rounds):
            for name, load in loads.items():
                sample = await load.run(shape.packets_per_s, shape.fanout)
                if sample.lost:
                    raise PeerError(f"{sample.lost} packets were lost on the loopback")
                costs[name].append(sample.cpu_us_per_packet)
    note = f"1 to {shape.viewers}, {shape.packets_per_s} packets/s in frames of {fanout.BURST}, {BYTES} B"
    ratios = [edge / alone for edge, alone in zip(costs["edge"], costs["alone"], strict=True)]
    report.add(
        median("edge_call_cpu_us_per_packet", costs["edge"], "µs", note=f"Edge and Core together; {note}"),
        median("edge_call_cpu_us_per_packet_without", costs["alone"], "µs", note=f"one daemon; {note}"),
        median("edge_call_ratio_to_without", ratios, "", note=note),
    )
    report.details["edge_call"] = costs
