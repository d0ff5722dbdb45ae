"""Two Edges: a call goes on over the other one when one of them dies, is cut off, or is left on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, metric_becomes, phone, show_my_camera, start_call
from tests.e2e.zone import PAGE, House, house, kill, names
from tests.peers.baresip import Baresip, baresip
from tests.peers.chromium import Tab, chromium, describe, streams
from tests.peers.sandwich import sandwich

LOOK_S = 0.04
WATCHED_S = 12.0


@dataclass(frozen=True, slots=True)
class Call:
    """A visitor in the internet and an agent inside who see and hear each other."""

    house: House
    tab: Tab
    agent: Baresip


@asynccontextmanager
async def call_over_two_edges(directory: Path) -> AsyncIterator[Call]:
    async with (
        sandwich(edges=2, names=names(2)) as rig,
        house(rig, directory) as made,
        chromium(directory, network=rig.internet) as browser,
        baresip(phone(made.core, "udp", ""), directory, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        tab = await start_call(browser, PAGE)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=3)
        yield Call(made, tab, agent)


SELECTED = """async () => {
  for (const connection of window.__connections) {
    if (connection.connectionState === "closed") continue;
    const stats = await connection.getStats();
    for (const transport of stats.values()) {
      if (transport.type !== "transport") continue;
      const pair = stats.get(transport.selectedCandidatePairId);
      return pair ? stats.get(pair.remoteCandidateId).address : null;
    }
  }
  return null;
}"""


async def carrying(call: Call) -> int:
    """The number of the Edge that the page sends its media to."""
    address = await call.tab.page.evaluate(SELECTED)
    return [edge.public for edge in call.house.rig.edges].index(address)


async def back_after(happening: Callable[[], Awaitable[None]], call: Call) -> tuple[float, float]:
    """How long after it happened decoded frames came again, at the phone and on the page: the end of the longest pause."""
    loop = asyncio.get_running_loop()

    async def shown() -> int:
        return (await call.agent.video_stats()).frames_shown

    async def decoded() -> int:
        return sum(item.frames for item in streams(await call.tab.media(), "inbound", "video"))

    async def watch(count: Callable[[], Awaitable[int]], until: float) -> float:
        known, since, longest, back = await count(), loop.time(), 0.0, loop.time()
        while (now := loop.time()) < until:
            if (fresh := await count()) != known:
                now = loop.time()
                if now - since > longest:
                    longest, back = now - since, now
                known, since = fresh, now
            await asyncio.sleep(LOOK_S)
        assert now - since < 1.0, f"no frames for {now - since:.1f} s at the end: {describe(call.tab)}"
        return back

    began = loop.time()
    until = began + WATCHED_S
    watched = asyncio.gather(watch(shown, until), watch(decoded, until))
    await happening()
    at_phone, at_page = await watched
    return at_phone - began, at_page - began


def report(what: str, at_phone: float, at_page: float) -> None:
    print(f"{what}: decoded frames are back at the phone after {at_phone:.2f} s, on the page after {at_page:.2f} s")  # noqa: T201 - the figure is what the test is for


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_frames_are_back_within_3_s_when_an_edge_is_killed(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path) as call:
        lost = await carrying(call)

        async def happening() -> None:
            kill(call.house.edges[lost])

        at_phone, at_page = await back_after(happening, call)
        report("kill -9 of one of two Edges", at_phone, at_page)
        assert await carrying(call) == 1 - lost
        await both_see_and_hear(call.tab, call.agent, seconds=2)
        assert max(at_phone, at_page) <= 3.0
        # The session has found its way, too.
        await call.tab.page.get_by_role("button", name="Hang up").click()
        await contact_ended(call.house.core, by="caller", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_frames_are_back_within_5_s_when_the_interfaces_of_an_edge_go_down(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path) as call:
        lost = await carrying(call)
        at_phone, at_page = await back_after(call.house.rig.edges[lost].down, call)
        report("interfaces of one of two Edges down", at_phone, at_page)
        assert await carrying(call) == 1 - lost
        await both_see_and_hear(call.tab, call.agent, seconds=2)
        assert max(at_phone, at_page) <= 5.0
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")


async def drain(house: House, edge: str, *more: str) -> str:
    """What `mediaserver drain-edge` prints for the Core."""
    process = await asyncio.create_subprocess_exec(
        *house.rig.inside.exec_prefix,
        sys.executable,
        *("-m", "mediaserver", "drain-edge", edge, "--config", str(house.core.config_path), *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_an_edge_is_left_by_command_and_its_call_goes_on_over_the_other(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path) as call:
        left = await carrying(call)
        name = ("dmz", "dmz1")[left]
        said: list[str] = []

        async def happening() -> None:
            said.append(await drain(call.house, name, "--deadline", "30s"))

        at_phone, at_page = await back_after(happening, call)
        report("an Edge left by command, longest pause", at_phone, at_page)
        assert "1 session still over it" in said[0]
        assert said[0].endswith(f"{name}: left, nothing goes over it any more\n")
        assert await carrying(call) == 1 - left
        await metric_becomes(call.house.edges[left], 'mediaserver_engine_edge_paths{shard="edge0"}', 0)
        await both_see_and_hear(call.tab, call.agent, seconds=2)
        assert await drain(call.house, name, "--undo") == f"{name}: takes sessions\n"
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_an_edge_that_is_stopped_ends_when_its_call_has_gone_to_the_other(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path) as call:
        stopped = await carrying(call)
        edge = call.house.edges[stopped]
        os.kill(edge.pid, signal.SIGTERM)
        assert await edge.process.wait(30) == 0
        assert await carrying(call) == 1 - stopped
        await both_see_and_hear(call.tab, call.agent, seconds=2)
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")
