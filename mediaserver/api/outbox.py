"""Numbers the messages of one session in both directions, so that a lost socket loses and repeats nothing."""

from __future__ import annotations

from collections import deque
from typing import Literal


class Outbox:
    """Messages on their way to the browser, kept until acknowledged or pushed out by newer ones.

    A browser that never acknowledges is served too: what was written to a socket may be dropped when the bound is
    reached, and only a resume that needs it then fails. What was never written is never dropped: `overflowed` says
    that the session is over.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._kept: deque[tuple[int, str]] = deque()
        self._bytes = 0
        self._last = 0
        self._sent = 0
        self.overflowed = False

    def push(self, text: str) -> int:
        """Add a message; returns its number (from 1)."""
        self._last += 1
        self._kept.append((self._last, text))
        self._bytes += len(text)
        while len(self._kept) > self._max_messages or self._bytes > self._max_bytes:
            if self._kept[0][0] > self._sent:
                self.overflowed = True
                break
            self._drop_first()
        return self._last

    def acknowledge(self, number: int) -> None:
        """The browser has everything up to `number`; a number from the future is ignored."""
        if number > self._sent:
            return
        while self._kept and self._kept[0][0] <= number:
            self._drop_first()

    def resume(self, number: int) -> bool:
        """Write again what follows `number`. False when that is not all here any more."""
        if number > self._last or number < 0:
            return False
        oldest = self._kept[0][0] if self._kept else self._last + 1
        if number < oldest - 1:
            return False
        self._sent = number
        self.acknowledge(number)
        return True

    def next_unsent(self) -> tuple[int, str] | None:
        """The next message to write, marked as written; None when all are."""
        if self._sent >= self._last:
            return None
        index = max(0, self._sent + 1 - self._kept[0][0])
        number, text = self._kept[index]
        self._sent = number
        return number, text

    def _drop_first(self) -> None:
        _, text = self._kept.popleft()
        self._bytes -= len(text)


class Inbox:
    """What has come from the browser so far."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the last message taken: what we acknowledge."""

    def take(self, number: int | None) -> Literal["new", "duplicate", "gap"]:
        """Judge a message by its number; one without a number is new (a client that never resumes)."""
        if number is None:
            return "new"
        if number <= self.received:
            return "duplicate"
        if number > self.received + 1:
            return "gap"
        self.received = number
        return "new"
