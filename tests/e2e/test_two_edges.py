"""Two Edges: a call goes on over the other one when one of them dies, is cut off, or is left on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.e2e.house import (
    both_see_and_hear,
    contact_ended,
    metric_becomes,
    phone,
    phone_sees_and_hears,
    show_my_camera,
    start_call,
)
from tests.e2e.zone import PAGE, House, house, kill, names
from tests.peers.baresip import OPUS, Baresip, baresip
from tests.peers.chromium import Chromium, Tab, chromium, streams
from tests.peers.firefox import Firefox, firefox
from tests.peers.sandwich import sandwich

LOOK_S = 0.04
WATCHED_S = 12.0


@dataclass(frozen=True, slots=True)
class Call:
    """A visitor in the internet and an agent inside who see and hear each other."""

    house: House
    page: Tab | Firefox
    agent: Baresip

    async def evaluate(self, function: str) -> Any:
        """What a function gives on the visitor's page."""
        return await (
            self.page.evaluate(function) if isinstance(self.page, Firefox) else self.page.page.evaluate(function)
        )

    async def lives(self) -> None:
        """Both see and hear each other."""
        if isinstance(self.page, Tab):
            await both_see_and_hear(self.page, self.agent, seconds=2)
            return
        await phone_sees_and_hears(self.agent, seconds=2)
        async with asyncio.timeout(30):
            while True:
                media = await self.page.media_over(2)
                (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
                if video.frames_per_s >= 8 and audio.packets > 50:
                    return


@asynccontextmanager
async def call_over_two_edges(
    directory: Path, make: Literal["chromium", "firefox"] = "chromium"
) -> AsyncIterator[Call]:
    # Debian's Firefox has no H.264 of its own.
    codecs: dict[str, Any] = {"audio": (OPUS,), "video": ("VP8",)} if make == "firefox" else {}
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(sandwich(edges=2, names=names(2)))
        made = await stack.enter_async_context(house(rig, directory))
        browser: Chromium | Firefox = await stack.enter_async_context(
            firefox(directory, rig.internet) if make == "firefox" else chromium(directory, network=rig.internet)
        )
        sip = phone(made.core, "udp", "", **codecs)
        agent = await stack.enter_async_context(baresip(sip, directory, network=rig.inside))
        await agent.wait_registered()
        page: Tab | Firefox
        if isinstance(browser, Firefox):
            page = browser
            await browser.goto(PAGE)
            await browser.click("button", "Video call")
            await agent.wait_established()
            await browser.click("button", "Show my camera")
        else:
            page = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(page)
        call = Call(made, page, agent)
        await call.lives()
        yield call


SELECTED = """async () => {
  for (const connection of window.__connections) {
    if (connection.connectionState === "closed") continue;
    const stats = await connection.getStats();
    for (const transport of stats.values()) {
      if (transport.type !== "transport") continue;
      const pair = stats.get(transport.selectedCandidatePairId);
      if (pair) return stats.get(pair.remoteCandidateId).address;
    }
    // Firefox has no such member, but one of its own in the pair.
    for (const pair of stats.values()) {
      if (pair.type === "candidate-pair" && pair.selected) return stats.get(pair.remoteCandidateId).address;
    }
  }
  return null;
}"""


async def carrying(call: Call) -> int:
    """The number of the Edge that the page sends its media to."""
    address = await call.evaluate(SELECTED)
    return [edge.public for edge in call.house.rig.edges].index(address)


async def carries(call: Call, edge: int, within_s: float = 10.0) -> None:
    """The page sends its media to this Edge, or soon does: the Core knows by the first packet, the page by its next look."""
    async with asyncio.timeout(within_s):
        while await carrying(call) != edge:
            await asyncio.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest time without a decoded frame."""

    lasted: float
    ended: float
    """Seconds after what happened."""

    def __str__(self) -> str:
        return f"a pause of {self.lasted:.2f} s that was over {self.ended:.2f} s after it"


async def back_after(happening: Callable[[], Awaitable[None]], call: Call) -> tuple[Pause, Pause]:
    """The longest pause at the phone and on the page, from what happened on."""
    loop = asyncio.get_running_loop()

    async def shown() -> int:
        return (await call.agent.video_stats()).frames_shown

    async def decoded() -> int:
        return sum(item.frames for item in streams(await call.page.media(), "inbound", "video"))

    async def watch(count: Callable[[], Awaitable[int]], until: float) -> Pause:
        known, since, longest = await count(), loop.time(), Pause(0.0, 0.0)
        while (now := loop.time()) < until:
            if (fresh := await count()) != known:
                now = loop.time()
                if now - since > longest.lasted:
                    longest = Pause(now - since, now - began)
                known, since = fresh, now
            await asyncio.sleep(LOOK_S)
        assert now - since < 1.0, f"no frames for {now - since:.1f} s at the end: {call.page.errors}"
        return longest

    began = loop.time()
    until = began + WATCHED_S
    watched = asyncio.gather(watch(shown, until), watch(decoded, until))
    await happening()
    return await watched


def report(what: str, at_phone: Pause, at_page: Pause) -> None:
    print(f"{what}: at the phone {at_phone}, on the page {at_page}")  # noqa: T201 - the figure is what the test is for


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
        await call.lives()
        assert max(at_phone.lasted, at_page.lasted) <= 3.0
        # The session has found its way, too.
        assert isinstance(call.page, Tab)
        await call.page.page.get_by_role("button", name="Hang up").click()
        await contact_ended(call.house.core, by="caller", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_frames_are_back_within_5_s_when_the_interfaces_of_an_edge_go_down(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path) as call:
        lost = await carrying(call)
        at_phone, at_page = await back_after(call.house.rig.edges[lost].down, call)
        report("interfaces of one of two Edges down", at_phone, at_page)
        assert await carrying(call) == 1 - lost
        await call.lives()
        assert max(at_phone.lasted, at_page.lasted) <= 5.0
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_frames_are_back_with_firefox_when_an_edge_is_killed(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path, "firefox") as call:
        lost = await carrying(call)

        async def happening() -> None:
            kill(call.house.edges[lost])

        at_phone, at_page = await back_after(happening, call)
        report("kill -9 of one of two Edges, Firefox", at_phone, at_page)
        assert max(at_phone.lasted, at_page.lasted) <= 3.0
        await call.lives()
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_frames_are_back_with_firefox_when_the_interfaces_of_an_edge_go_down(tmp_path: Path) -> None:
    async with call_over_two_edges(tmp_path, "firefox") as call:
        lost = await carrying(call)
        at_phone, at_page = await back_after(call.house.rig.edges[lost].down, call)
        report("interfaces of one of two Edges down, Firefox", at_phone, at_page)
        assert max(at_phone.lasted, at_page.lasted) <= 5.0
        await call.lives()
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
        report("an Edge left by command", at_phone, at_page)
        assert max(at_phone.lasted, at_page.lasted) <= 1.5
        assert "1 session still over it" in said[0]
        assert said[0].endswith(f"{name}: left, nothing goes over it any more\n")
        assert await carrying(call) == 1 - left
        await metric_becomes(call.house.edges[left], 'mediaserver_engine_edge_paths{shard="edge0"}', 0)
        await call.lives()
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
        await carries(call, 1 - stopped)
        await call.lives()
        await call.agent.hangup()
        await contact_ended(call.house.core, by="agent", reason="hangup")
