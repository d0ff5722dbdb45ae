"""The writer: never waits, retries, and counts what it loses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from mediaserver.runtime.metrics import Metrics
from mediaserver.store.records import ContactRecord, StoreError
from mediaserver.store.writer import RecordWriter
from tests.passing import passed
from tests.store.memory_records import MemoryRecords

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def record(name: str) -> ContactRecord:
    return ContactRecord(contact_id=name, started_at=NOW, ended_at=NOW, ended_by="caller", end_reason="hangup")


class Flaky(MemoryRecords):
    """Refuses the first `failures` writes; waits for `gate` before each."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[int] = []

    async def add(self, *records: ContactRecord) -> None:
        await self.gate.wait()
        self.batches.append(len(records))
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        await super().add(*records)


def lost(metrics: Metrics, reason: str) -> float:
    return metrics.value("records_lost_total", reason=reason)


def writer(
    store: MemoryRecords, metrics: Metrics, capacity: int = 10, retry_s: Sequence[float] = (0.0,)
) -> RecordWriter:
    made = RecordWriter(store, capacity=capacity, metrics=metrics, retry_s=retry_s)
    made.start()
    return made


async def test_stop_writes_what_waits(metrics: Metrics) -> None:
    store = Flaky()
    writing = writer(store, metrics)
    assert all(writing.submit(record(str(number))) for number in range(5))
    await writing.stop(1.0)
    assert len(await store.list()) == 5
    assert metrics.value("records_written_total") == 5


async def test_what_waits_is_written_in_one_batch(metrics: Metrics) -> None:
    store = Flaky()
    store.gate.clear()
    writing = writer(store, metrics)
    writing.submit(record("first"))
    await passed(0.01)
    for number in range(5):
        writing.submit(record(str(number)))
    store.gate.set()
    await writing.stop(1.0)
    assert store.batches == [1, 5]


async def test_a_store_that_fails_once_is_tried_again(metrics: Metrics) -> None:
    store = Flaky(failures=1)
    writing = writer(store, metrics)
    writing.submit(record("a"))
    await writing.stop(1.0)
    assert await store.get("a") == record("a")
    assert lost(metrics, "store_failed") == 0


async def test_a_store_that_keeps_failing_loses_the_batch_and_counts_it(metrics: Metrics) -> None:
    store = Flaky(failures=2)
    writing = writer(store, metrics)
    writing.submit(record("a"))
    await passed(0.05)
    writing.submit(record("b"))
    await writing.stop(1.0)
    assert lost(metrics, "store_failed") == 1
    assert await store.get("b") == record("b")


async def test_a_full_queue_refuses_without_waiting(metrics: Metrics) -> None:
    store = Flaky()
    store.gate.clear()
    writing = writer(store, metrics, capacity=1)
    writing.submit(record("writing"))
    await passed(0.01)
    assert writing.submit(record("waiting"))
    assert not writing.submit(record("refused"))
    assert lost(metrics, "queue_full") == 1
    store.gate.set()
    await writing.stop(1.0)


async def test_what_is_left_at_the_deadline_is_counted(metrics: Metrics) -> None:
    store = Flaky()
    store.gate.clear()
    writing = writer(store, metrics)
    writing.submit(record("writing"))
    await passed(0.01)
    writing.submit(record("waiting"))
    await writing.stop(0.01)
    assert lost(metrics, "stopped") == 2
    assert metrics.value("records_waiting") == 0


async def test_records_of_many_calls_share_a_transaction(metrics: Metrics) -> None:
    store = Flaky()
    writing = writer(store, metrics)
    for number in range(5):
        writing.submit(record(str(number)))
        await passed(0.01)
    await writing.stop(1.0)
    assert store.batches == [1, 4]
