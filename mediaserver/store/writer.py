"""Writes records behind the calls: a bounded queue, batches, retries, and a count of what was lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.store.records import ContactRecord, ContactRecords, StoreError

_BATCH = 100
_PAUSE_S = 0.25
"""Between two batches: a lone record is written at once, of many calls a second some dozen share a transaction."""
_RETRY_S = (0.1, 0.5, 2.0, 5.0)

_log = structlog.get_logger(__name__)


class RecordWriter:
    """Takes records without ever waiting and writes them in batches.

    A full queue refuses the record, counts it and logs it whole but for its attributes, so that nothing is lost
    silently. A batch that the store refuses is tried again a few times, then given up and counted.
    """

    def __init__(
        self,
        records: ContactRecords,
        *,
        capacity: int,
        metrics: Metrics,
        retry_s: Sequence[float] = _RETRY_S,
    ) -> None:
        self._records = records
        self._queue: asyncio.Queue[ContactRecord] = asyncio.Queue(capacity)
        self._retry_s = tuple(retry_s)
        self._stopping = asyncio.Event()
        self._tasks = TaskGroupOwner("records")
        self._written = metrics.counter("records_written_total", "Records of finished contacts written")
        self._lost = metrics.counter("records_lost_total", "Records that could not be written", ["reason"])
        self._waiting = metrics.gauge("records_waiting", "Records that wait to be written")
        self._waiting.set_function(self._queue.qsize)

    def start(self) -> None:
        """Begin writing."""
        self._tasks.spawn(self._run(), name="writer")

    def submit(self, record: ContactRecord) -> bool:
        """Queue a record; False where the queue is full and the record is lost."""
        try:
            self._queue.put_nowait(record)
        except asyncio.QueueFull:
            self._lose("queue_full", [record])
            return False
        return True

    async def stop(self, deadline_s: float) -> None:
        """Write what waits, for at most `deadline_s` seconds; what is left then is counted as lost."""
        self._stopping.set()
        try:
            await asyncio.wait_for(self._queue.join(), deadline_s)
        except TimeoutError:
            left = []
            while not self._queue.empty():
                left.append(self._queue.get_nowait())
            self._lose("stopped", left)
        await self._tasks.stop(1.0)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._write(batch)
            except asyncio.CancelledError:
                self._lose("stopped", batch)
                raise
            finally:
                for _ in batch:
                    self._queue.task_done()
            if len(batch) < _BATCH:
                await self._rest()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_S):
                await self._stopping.wait()

    async def _write(self, batch: list[ContactRecord]) -> None:
        for pause_s in (*self._retry_s, None):
            try:
                await self._records.add(*batch)
            except StoreError as error:
                _log.warning("records_not_written", error=str(error), records=len(batch), retry_s=pause_s)
                if pause_s is None:
                    self._lose("store_failed", batch)
                    return
                await asyncio.sleep(pause_s)
            else:
                self._written.inc(len(batch))
                return

    def _lose(self, reason: str, records: Sequence[ContactRecord]) -> None:
        self._lost.labels(reason).inc(len(records))
        for record in records:
            _log.error(
                "record_lost",
                reason=reason,
                contact_id=record.contact_id,
                started_at=record.started_at.isoformat(),
                ended_at=record.ended_at.isoformat(),
                ended_by=record.ended_by,
                end_reason=record.end_reason,
                entry=record.entry,
            )
