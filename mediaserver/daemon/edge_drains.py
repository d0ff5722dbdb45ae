"""Edges that are being left: their sessions are brought to others until none is there any more, or the time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine, EngineError
from mediaserver.runtime.tasks import TaskGroupOwner

_LOOK_S: Final = 0.5
_ASK_AGAIN_S: Final = 5.0
"""A page that was away is asked once more."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Drain:
    deadline_at: float
    links: Sequence[int]
    sessions: int | None = None
    is_over: bool = False
    counted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class EdgeDrains:
    """`close` ends this Core's media links to an Edge that has been left; `has_others` says whether sessions could go
    anywhere else."""

    def __init__(
        self, *, engine: Engine, tasks: TaskGroupOwner, has_others: Callable[[], bool], close: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._has_others = has_others
        self._tasks = tasks
        self._close = close
        self._drains: dict[str, _Drain] = {}

    def begin(self, edge: str, links: Sequence[int], deadline_s: float) -> None:
        """Leave an Edge by the deadline; one that is being left already gets another deadline."""
        self.end(edge)
        drain = self._drains[edge] = _Drain(asyncio.get_running_loop().time() + deadline_s, tuple(links))
        _log.info("edge_drain_begun", edge=edge, deadline_s=deadline_s)
        drain.task = self._tasks.spawn(self._run(edge, drain), name=f"drain-{edge}")

    def end(self, edge: str) -> None:
        """The Edge is used again, or gone."""
        drain = self._drains.pop(edge, None)
        if drain is not None:
            drain.counted.set()
            if drain.task is not None:
                drain.task.cancel()

    async def counted(self, edge: str) -> None:
        """Returns when `sessions` of an Edge that is being left is known; at once for one that is not left."""
        if (drain := self._drains.get(edge)) is not None:
            await drain.counted.wait()

    def sessions(self, edge: str) -> int | None:
        """How many sessions' media still goes over an Edge that is being left."""
        drain = self._drains.get(edge)
        return drain.sessions if drain is not None else None

    def remaining_s(self, edge: str) -> float | None:
        """Time that is left to them."""
        drain = self._drains.get(edge)
        return max(0.0, drain.deadline_at - asyncio.get_running_loop().time()) if drain is not None else None

    def is_over(self, edge: str) -> bool:
        """Whether an Edge has been left."""
        drain = self._drains.get(edge)
        return drain is not None and drain.is_over

    async def _run(self, edge: str, drain: _Drain) -> None:
        loop = asyncio.get_running_loop()
        ask_at = loop.time()
        while True:
            # Counted before anybody is asked to go: the operator sees how many there were.
            drain.sessions = await self._sweep(drain.links)
            drain.counted.set()
            now = loop.time()
            if not drain.sessions or now >= drain.deadline_at:
                break
            if now >= ask_at and self._has_others():
                self._engine.submit(*(commands.LeaveMediaLink(id=link) for link in drain.links))
                ask_at = now + _ASK_AGAIN_S
            await asyncio.sleep(min(_LOOK_S, drain.deadline_at - now))
        drain.is_over = True
        _log.info("edge_drain_over", edge=edge, sessions=drain.sessions)
        self._close(edge)

    async def _sweep(self, links: Sequence[int]) -> int:
        sessions = 0
        for link in links:
            try:
                answer = await self._engine.request(commands.SweepMediaLink(id=link))
            except EngineError:
                continue  # the link was closed meanwhile
            if isinstance(answer, events.MediaLinkSwept):
                sessions += answer.transports
        return sessions
