"""One heap of deadlines for many sans-IO objects; an object that moved its deadline is simply looked at again."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar


class TimerEntry:
    """A place in the heap; emptied when its object is gone, so that nothing dead is kept until the deadline."""

    __slots__ = ("at", "item")

    def __init__(self, at: float, item: Timed) -> None:
        self.at = at
        self.item: Timed | None = item


class Timed(Protocol):
    """An object with a deadline. `timer` belongs to the heap."""

    timer: TimerEntry | None

    def poll_timeout(self) -> float | None:
        """When it wants to be woken next, or None."""


T = TypeVar("T", bound=Timed)


class TimerHeap(Generic[T]):
    """Deadlines of objects, corrected lazily: call `schedule` after every change and `due` when time has passed."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerEntry]] = []
        # The serial number, which no two have, keeps the heap from comparing entries: tuples compare without Python.
        self._serial = 0

    def schedule(self, item: T) -> None:
        """Make sure that `item` is looked at no later than its deadline; O(log n), and O(1) when it moved later."""
        at = item.poll_timeout()
        entry = item.timer
        if at is None or (entry is not None and entry.at <= at):
            return
        if entry is not None:
            entry.item = None
        self._serial += 1
        entry = item.timer = TimerEntry(at, item)
        heapq.heappush(self._heap, (at, self._serial, entry))

    def forget(self, item: T) -> None:
        """`item` is gone."""
        if item.timer is not None:
            item.timer.item = None
            item.timer = None

    def poll_timeout(self) -> float | None:
        """The earliest moment at which something may be due."""
        heap = self._heap
        while heap:
            at, _, entry = heap[0]
            if entry.item is not None:
                return at
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> list[T]:
        """Items whose deadline has passed; handle and `schedule` each of them again."""
        out: list[T] = []
        while (at := self.poll_timeout()) is not None and at <= now:
            item: T = heapq.heappop(self._heap)[2].item  # type: ignore[assignment]
            item.timer = None
            deadline = item.poll_timeout()
            if deadline is not None and deadline <= now:
                out.append(item)
            else:
                self.schedule(item)
        return out
