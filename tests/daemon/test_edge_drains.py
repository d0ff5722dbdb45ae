"""Leaving an Edge: its sessions are asked to go elsewhere until none is there, or the time is over."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.daemon import edge_drains
from mediaserver.daemon.edge_drains import EdgeDrains
from mediaserver.engine import commands, events
from mediaserver.engine.engine import CommandRefused
from mediaserver.runtime.tasks import TaskGroupOwner

LINKS = (1, 2)


class FakeEngine:
    """Two links; `sessions` still go over each."""

    def __init__(self) -> None:
        self.sessions = {1: 2, 2: 1}
        self.asked: list[int] = []
        self.swept = asyncio.Event()
        self.goes_at_once = False
        """Who is asked has gone by the next count."""
        self.counts: list[int] = []

    def submit(self, *batch: commands.Command) -> None:
        self.asked += [command.id for command in batch if isinstance(command, commands.LeaveMediaLink)]
        if self.goes_at_once:
            self.sessions = dict.fromkeys(self.sessions, 0)

    async def request(self, command: commands.Command) -> events.AnyEvent:
        assert isinstance(command, commands.SweepMediaLink)
        if command.id not in self.sessions:
            raise CommandRefused("sweep_media_link: link")
        if command.id == LINKS[-1]:
            self.swept.set()
        self.counts.append(self.sessions[command.id])
        return events.MediaLinkSwept(id=command.id, transports=self.sessions[command.id], request=1)


class House:
    def __init__(self, *, others: bool = True) -> None:
        self.engine = FakeEngine()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.tasks = TaskGroupOwner("test")
        self.drains = EdgeDrains(
            engine=self.engine,  # type: ignore[arg-type]
            tasks=self.tasks,
            has_others=lambda: others,
            close=self.closed.put_nowait,
        )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_drains, "_LOOK_S", 0.001)


async def test_it_is_over_when_the_last_session_has_gone() -> None:
    house = House()
    house.drains.begin("dmz", LINKS, 60.0)
    await house.drains.counted("dmz")
    assert house.drains.sessions("dmz") == 3
    assert house.engine.asked == [1, 2]
    assert not house.drains.is_over("dmz")
    house.engine.sessions = {1: 0, 2: 0}
    assert await house.closed.get() == "dmz"
    assert house.drains.is_over("dmz")
    assert house.drains.sessions("dmz") == 0


async def test_the_sessions_are_counted_before_anybody_is_asked_to_go() -> None:
    house = House()
    house.engine.goes_at_once = True
    house.drains.begin("dmz", LINKS, 60.0)
    await house.drains.counted("dmz")
    assert house.engine.counts[:2] == [2, 1]
    assert await house.closed.get() == "dmz"


async def test_nobody_waits_for_the_count_of_an_edge_that_is_used_again() -> None:
    house = House()
    await house.drains.counted("dmz")
    house.drains.begin("dmz", LINKS, 60.0)
    waiting = asyncio.create_task(house.drains.counted("dmz"))
    await asyncio.sleep(0)
    house.drains.end("dmz")
    await waiting
    assert house.drains.sessions("dmz") is None


async def test_at_the_deadline_what_is_left_is_closed() -> None:
    house = House()
    house.drains.begin("dmz", LINKS, 0.0)
    assert await house.closed.get() == "dmz"
    assert house.drains.sessions("dmz") == 3


async def test_where_there_is_no_other_edge_nobody_is_asked_to_go() -> None:
    house = House(others=False)
    house.drains.begin("dmz", LINKS, 0.0)
    assert await house.closed.get() == "dmz"
    assert house.engine.asked == []


async def test_an_edge_that_is_used_again_is_not_closed() -> None:
    house = House()
    house.drains.begin("dmz", LINKS, 60.0)
    await house.engine.swept.wait()
    house.drains.end("dmz")
    await house.tasks.join()
    assert house.closed.empty()
    assert house.drains.sessions("dmz") is None


async def test_a_link_that_is_gone_has_no_sessions() -> None:
    house = House()
    house.engine.sessions = {2: 0}
    house.drains.begin("dmz", LINKS, 60.0)
    assert await house.closed.get() == "dmz"
