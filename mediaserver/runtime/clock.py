"""Clocks: monotonic seconds for every timer, and the wall clock for what is written down."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic time."""

    def now(self) -> float:
        """Monotonic seconds; only differences have a meaning."""
        ...


class SystemClock:
    """The machine's clock; `now()` counts like the event loop's `time()`."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


class VirtualClock:
    """A clock that moves only when it is told to; tests run protocols on it without sleeping."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds on this clock."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move forward by `seconds` (never back) and return the new time."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not run backwards")
        self._now += seconds
        return self._now

    def advance_to(self, now: float) -> float:
        """Move forward to `now`; a time that has passed already changes nothing."""
        self._now = max(self._now, now)
        return self._now


def utc_now() -> datetime:
    """The wall clock, aware and in UTC, for records and logs."""
    return datetime.now(UTC)
