"""Numbers events as they happen, keeps the newest at hand, and writes all of them behind the calls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from mediaserver.errors import MediaServerError
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.store.events import EventStore, StoredEvent
from mediaserver.store.records import StoreError

AT_HAND: Final = 5_000
"""Events that are kept in memory, and as many that may wait to be written."""
_BATCH: Final = 500
_PAUSE_S: Final = 0.25
_PRUNE_S: Final = 60.0
_RETRY_S: Final = (0.1, 0.5, 2.0)
_log = structlog.get_logger(__name__)

Owed = Callable[[str], Sequence[str]]
"""Names of the webhooks that want events of a type."""


class CursorLost(MediaServerError):
    """Not everything after a cursor is here any more; `oldest` is the first cursor from which all is."""

    def __init__(self, oldest: int) -> None:
        super().__init__("Events after this cursor are no longer kept; begin anew, and look at what is there now.")
        self.oldest = oldest


class Journal:
    """A number is the microseconds since 1970 at which an event happened, or one more than the last: none is given
    twice, not even after a crash that lost what was not written yet."""

    def __init__(
        self,
        store: EventStore,
        *,
        keep_s: float,
        most: int,
        metrics: Metrics,
        owed: Owed = lambda _: (),
        on_stored: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
        retry_s: Sequence[float] = _RETRY_S,
        at_hand: int = AT_HAND,
    ) -> None:
        """Events are kept for `keep_s` seconds, at most `most` of them. `on_stored` hears when some were written."""
        self._store = store
        self._keep_s = keep_s
        self._most = most
        self._owed = owed
        self.on_stored = on_stored
        self._wall_clock = wall_clock
        self._retry_s = tuple(retry_s)
        self._at_hand = at_hand
        self._tail: list[StoredEvent] = []
        self._waiting: list[StoredEvent] = []
        self._before_tail = 0
        self._forgotten = 0
        self.last = 0
        """Number of the last event."""
        self._listeners: set[asyncio.Future[None]] = set()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self._tasks = TaskGroupOwner("journal")
        self._happened = metrics.counter("events_total", "Events that happened", ["type"])
        self._lost = metrics.counter("events_lost_total", "Events that could not be written", ["reason"])

    async def start(self) -> None:
        """Begin where the last process ended. Raises StoreError."""
        self._forgotten, self.last = await self._store.bounds()
        self._before_tail = self.last
        self._tasks.spawn(self._run(), name="writer")
        self._tasks.spawn(self._prune(), name="prune")

    def append(self, type_: str, contact_id: str, call_id: str, data: Mapping[str, Any]) -> None:
        """Something happened. Never waits; what finds no room to be written is counted and only told to listeners."""
        now = self._wall_clock()
        number = self.last = max(self.last + 1, int(now * 1e6))
        body = {
            "cursor": str(number),
            "type": type_,
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds"),
            "data": {"contact_id": contact_id, "call_id": call_id, **data},
        }
        event = StoredEvent(number, now, contact_id, type_, msgspec.json.encode(body).decode())
        self._happened.labels(type_).inc()
        self._tail.append(event)
        if len(self._tail) > 2 * self._at_hand:
            gone = len(self._tail) - self._at_hand
            self._before_tail = self._tail[gone - 1].number
            del self._tail[:gone]
        if len(self._waiting) < self._at_hand:
            self._waiting.append(event)
            self._idle.clear()
            self._work.set()
        else:
            self._lose("queue_full", [event])
        for listener in self._listeners:
            if not listener.done():
                listener.set_result(None)
        self._listeners.clear()

    @property
    def oldest(self) -> int:
        """The first cursor after which everything is here."""
        return self._forgotten

    async def after(self, number: int, limit: int) -> Sequence[StoredEvent]:
        """What happened after a number, in order. Raises CursorLost, StoreError."""
        if number < self._forgotten or number > self.last:
            raise CursorLost(self._forgotten)
        if number >= self._before_tail:
            begin = bisect_right(self._tail, number, key=lambda event: event.number)
            return self._tail[begin : begin + limit]
        found = await self._store.after(number, limit)
        if number < self._forgotten:  # meanwhile
            raise CursorLost(self._forgotten)
        return found

    async def news(self, number: int) -> None:
        """Returns when something has happened after a number."""
        while self.last <= number:
            listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._listeners.add(listener)
            try:
                await listener
            finally:
                self._listeners.discard(listener)

    async def stop(self, deadline_s: float) -> None:
        """Write what waits, for at most `deadline_s` seconds; what is left then is counted as lost."""
        self._stopping.set()
        try:
            await asyncio.wait_for(self._idle.wait(), deadline_s)
        except TimeoutError:
            self._lose("stopped", self._waiting)
        await self._tasks.stop(1.0)

    # -- writing -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            batch = self._waiting[:_BATCH]
            if not batch:
                self._work.clear()
                self._idle.set()
                continue
            await self._write(batch)
            del self._waiting[: len(batch)]
            if len(batch) < _BATCH and not self._waiting:
                self._work.clear()
                self._idle.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S):
                        await self._stopping.wait()

    async def _write(self, batch: list[StoredEvent]) -> None:
        owed = [(target, event) for event in batch for target in self._owed(event.type)]
        for pause_s in (*self._retry_s, None):
            try:
                await self._store.add(batch, owed)
            except StoreError as error:
                _log.warning("events_not_written", error=str(error), events=len(batch), retry_s=pause_s)
                if pause_s is None:
                    self._lose("store_failed", batch)
                    return
                await asyncio.sleep(pause_s)
            else:
                self.on_stored()
                return

    def _lose(self, reason: str, events: Sequence[StoredEvent]) -> None:
        if events:
            self._lost.labels(reason).inc(len(events))
            # Whoever comes back with an older cursor is told that something is missing.
            self._forgotten = max(self._forgotten, events[-1].number) if reason != "stopped" else self._forgotten
            _log.error("events_lost", reason=reason, events=len(events), last=events[-1].number)

    async def _prune(self) -> None:
        while True:
            try:
                forgotten = await self._store.prune(before=self._wall_clock() - self._keep_s, most=self._most)
                self._forgotten = max(self._forgotten, forgotten)
            except StoreError as error:
                _log.warning("events_not_forgotten", error=str(error))
            await asyncio.sleep(_PRUNE_S)
