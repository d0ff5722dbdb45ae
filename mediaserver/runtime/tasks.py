"""Owned tasks: each has a name, an owner that ends it, and a deadline by which it must have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class TaskGroupOwner:
    """Owns the tasks of one object; that object's `stop()` ends them all.

    Unlike `asyncio.TaskGroup` it is no context manager and one failed task leaves the others running: the failure is
    logged with the task's name, and handed to `on_failure` where the owner wants to act on it.
    """

    def __init__(self, name: str, *, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._name = name
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks that still run, sorted."""
        return tuple(sorted(task.get_name() for task in self._tasks))

    def spawn(self, coro: Coroutine[Any, Any, _T], *, name: str) -> asyncio.Task[_T]:
        """Start `coro` as the task `<owner>:<name>`.

        Raises `RuntimeError` once `stop()` has begun; the coroutine is closed then, so that nothing is left unawaited.
        """
        if self._stopping:
            coro.close()
            raise RuntimeError(f"{self._name} is stopping and starts no task {name!r}")
        task = asyncio.get_running_loop().create_task(coro, name=f"{self._name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def join(self) -> None:
        """Wait until every task has ended by itself, those included that are spawned meanwhile."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self, deadline_s: float) -> tuple[str, ...]:
        """Cancel every task and wait at most `deadline_s` seconds.

        Returns the names of the tasks that had not ended by then (and logs them); the empty tuple is the good case.
        A task may call it about its own owner: it is then left out.
        """
        self._stopping = True
        own = asyncio.current_task()
        pending = {task for task in self._tasks if task is not own}
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=deadline_s)
        late = tuple(sorted(task.get_name() for task in pending))
        if late:
            _log.error("tasks_outlived_their_deadline", owner=self._name, tasks=late, deadline_s=deadline_s)
        return late

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        _log.error("task_failed", owner=self._name, task=task.get_name(), exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)
