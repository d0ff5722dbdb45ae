"""One heap of deadlines for many sans-IO objects; an object that moved its deadline is simply looked at again."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """An object with a deadline. `armed_at` belongs to the heap."""

    armed_at: float | None

    def poll_timeout(self) -> float | None:
        """When it wants to be woken next, or None."""


T = TypeVar("T", bound=Timed)


class TimerHeap(Generic[T]):
    """Deadlines of objects, corrected lazily: call `schedule` after every change and `due` when time has passed."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._serial = 0

    def schedule(self, item: T) -> None:
        """Make sure that `item` is looked at no later than its deadline; O(log n), and O(1) when it moved later."""
        at = item.poll_timeout()
        if at is None or (item.armed_at is not None and item.armed_at <= at):
            return
        item.armed_at = at
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, item))

    def poll_timeout(self) -> float | None:
        """The earliest moment at which something may be due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """Items whose deadline has passed; handle and `schedule` each of them again."""
        out: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            if item.armed_at != at:
                continue  # armed earlier since: that entry was or will be seen
            item.armed_at = None
            deadline = item.poll_timeout()
            if deadline is None:
                continue
            if deadline <= now:
                out.append(item)
            else:
                self.schedule(item)
        return out
