"""Events keep their order and numbers, can be read again in bounds, and whoever is too late is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mediaserver.runtime.metrics import Metrics
from mediaserver.store.events import SqliteEvents, StoredEvent
from mediaserver.store.journal import CursorLost, Journal
from mediaserver.store.records import SqliteRecords, StoreError

NOW = 1_800_000_000.0
Opened = Callable[..., Awaitable[Journal]]


class Wall:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteRecords]:
    opened = await SqliteRecords.open(tmp_path / "records.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def opened(file: SqliteRecords) -> AsyncIterator[Opened]:
    journals: list[Journal] = []

    async def make(store: Any = None, **more: Any) -> Journal:
        journal = Journal(
            store or await SqliteEvents.open(file),
            **{"keep_s": 3600.0, "most": 1000, "metrics": Metrics(), "wall_clock": Wall(), "retry_s": (), **more},
        )
        await journal.start()
        journals.append(journal)
        return journal

    yield make
    for journal in journals:
        await journal.stop(1.0)


def happen(journal: Journal, *types: str) -> None:
    for type_ in types:
        journal.append(type_, "contact", "call", {"n": type_})


async def types_after(journal: Journal, number: int, limit: int = 100) -> list[str]:
    return [event.type for event in await journal.after(number, limit)]


async def test_events_are_numbered_in_order_even_in_one_microsecond(opened: Opened) -> None:
    journal = await opened()
    happen(journal, "a", "b", "c")
    numbers = [event.number for event in await journal.after(0, 10)]
    assert numbers == [int(NOW * 1e6) + offset for offset in range(3)]
    assert await types_after(journal, numbers[0], limit=1) == ["b"]


async def test_what_was_written_is_read_again_by_the_next_process(opened: Opened) -> None:
    first = await opened()
    happen(first, "a", "b")
    await first.stop(5.0)
    second = await opened()
    happen(second, "c")
    everything = await second.after(0, 10)
    assert [event.type for event in everything] == ["a", "b"]
    assert await types_after(second, everything[-1].number) == ["c"]
    assert second.last > everything[-1].number


async def test_numbers_go_on_when_the_clock_went_back(opened: Opened) -> None:
    first = await opened()
    happen(first, "a")
    await first.stop(5.0)
    wall = Wall()
    wall.now -= 1000
    second = await opened(wall_clock=wall)
    happen(second, "b")
    assert second.last == first.last + 1


async def test_what_is_no_longer_at_hand_comes_from_the_file(opened: Opened) -> None:
    journal = await opened(at_hand=2)
    for index in range(12):
        happen(journal, f"t{index}")
        await asyncio.wait_for(journal._idle.wait(), 30.0)
    assert await types_after(journal, 0, limit=3) == ["t0", "t1", "t2"]
    assert await types_after(journal, journal.last - 2) == ["t10", "t11"]


async def test_a_cursor_that_is_too_old_or_from_elsewhere_is_told(opened: Opened, file: SqliteRecords) -> None:
    journal = await opened()
    happen(journal, "a", "b", "c")
    first = (await journal.after(0, 1))[0].number
    await asyncio.wait_for(journal._idle.wait(), 30.0)
    await journal.stop(1.0)
    store = await SqliteEvents.open(file)
    assert await store.prune(before=0.0, most=2) == first
    again = await opened()
    with pytest.raises(CursorLost) as lost:
        await again.after(first - 1, 10)
    assert lost.value.oldest == first
    assert await types_after(again, first) == ["b", "c"]
    with pytest.raises(CursorLost):
        await again.after(again.last + 1, 10)


async def test_events_are_forgotten_by_age(file: SqliteRecords) -> None:
    store = await SqliteEvents.open(file)
    old, new = (StoredEvent(number, float(number), "c", "t", "{}") for number in (1, 50))
    await store.add([old, new], [])
    assert await store.prune(before=10.0, most=100) == 1
    assert await store.after(0, 10) == [new]
    assert await store.prune(before=0.0, most=100) == 1, "what was forgotten stays so"


class Broken:
    """A store whose disk is full."""

    async def add(self, events: Sequence[StoredEvent], owed: object) -> None:
        raise StoreError("the disk is full")

    async def after(self, number: int, limit: int) -> Sequence[StoredEvent]:
        return []

    async def prune(self, *, before: float, most: int) -> int:
        return 0

    async def bounds(self) -> tuple[int, int]:
        return 0, 0


async def test_what_cannot_be_written_is_counted_and_a_late_reader_is_told(opened: Opened) -> None:
    metrics = Metrics()
    journal = await opened(Broken(), metrics=metrics)
    happen(journal, "a", "b")
    await asyncio.wait_for(journal._idle.wait(), 30.0)
    assert metrics.value("events_lost_total", reason="store_failed") == 2
    with pytest.raises(CursorLost):
        await journal.after(0, 10)
    assert await types_after(journal, journal.last) == []


async def test_news_wakes_whoever_waits(opened: Opened) -> None:
    journal = await opened()
    waiting = asyncio.ensure_future(journal.news(journal.last))
    await asyncio.sleep(0)
    assert not waiting.done()
    happen(journal, "a")
    await asyncio.wait_for(waiting, 30.0)


async def test_an_event_and_what_is_owed_are_written_at_once(opened: Opened, file: SqliteRecords) -> None:
    store = await SqliteEvents.open(file)
    journal = await opened(store, owed=lambda type_: ["crm"] if type_ == "a" else [])
    happen(journal, "a", "b")
    await asyncio.wait_for(journal._idle.wait(), 30.0)
    found, total = await store.owed("crm", after=0, limit=10)
    assert ([delivery.text for delivery in found], total) == ([(await journal.after(0, 1))[0].text], 1)
    await store.forget_all_but(["other"])
    assert (await store.owed("crm", after=0, limit=10))[1] == 0
