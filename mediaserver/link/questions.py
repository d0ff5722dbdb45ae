"""Questions that a Core asks an Edge over the link: bounded in number and in time, answered by the Edge that was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from mediaserver.link.core_end import CoreEnd

Answer = TypeVar("Answer")


class Questions(Generic[Answer]):
    """Questions of one kind, known by their numbers; `most` of them wait at a time, `patience_s` each."""

    def __init__(self, *, most: int, patience_s: float) -> None:
        self._most = most
        self._patience_s = patience_s
        self._waiting: dict[int, tuple[CoreEnd, asyncio.Future[Answer]]] = {}

    @property
    def is_full(self) -> bool:
        """Whether no more may be asked now."""
        return len(self._waiting) >= self._most

    async def ask(self, end: CoreEnd, number: int, send: Callable[[], None]) -> Answer:
        """Has `send` ask this Edge, and gives its answer. Raises TimeoutError, and what the question failed with."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = end, answered
        try:
            send()
            async with asyncio.timeout(self._patience_s):
                return await answered
        finally:
            del self._waiting[number]

    def answer(self, number: int, answer: Answer, *, by: CoreEnd | None = None) -> bool:
        """An answer has come, from any Edge without `by`. False when nobody waits for it (any more)."""
        answered = self._find(number, by)
        if answered is None:
            return False
        answered.set_result(answer)
        return True

    def fail(self, number: int, error: Exception, *, by: CoreEnd) -> None:
        """An Edge cannot do what it was asked; nothing where another one was asked, or nobody waits."""
        answered = self._find(number, by)
        if answered is not None:
            answered.set_exception(error)

    def _find(self, number: int, by: CoreEnd | None) -> asyncio.Future[Answer] | None:
        asked, answered = self._waiting.get(number, (None, None))
        if answered is None or answered.done() or by not in (None, asked):
            return None
        return answered
