"""The announcements of the configuration: encoded behind the running daemon, and there once they are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from mediaserver.engine.engine import Engine
from mediaserver.media.clip import ClipError, load_clip
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner

_STOP_DEADLINE_S: Final = 2.0
_log = structlog.get_logger(__name__)


class Announcements:
    """Encoding a new file takes seconds of CPU, so it never keeps the daemon from serving; a caller who comes before

    hears nothing. What was encoded is kept in `cache_dir` and is there at once at the next start.
    """

    def __init__(self, files: Mapping[str, Path], *, engine: Engine, cache_dir: Path, metrics: Metrics) -> None:
        self._files = files
        self._engine = engine
        self._cache_dir = cache_dir
        self._clips: dict[str, int] = {}
        self._durations_s: dict[str, float] = {}
        self._tasks = TaskGroupOwner("announcements")
        metrics.gauge("announcements_loaded", "Announcements that can be played").set_function(lambda: len(self._clips))
        self._failed = metrics.counter("announcements_failed_total", "Announcements that could not be encoded")

    def start(self) -> None:
        """Begins to load, one file after the other. Raises ClipError at once for a file that is not there."""
        for name, path in self._files.items():
            if not path.is_file():
                raise ClipError(f"announcements.{name}: there is no file {path}")
        self._tasks.spawn(self._load_all(), name="load")

    def clip(self, name: str) -> int | None:
        """The engine's clip, or None while it is being encoded or cannot be."""
        return self._clips.get(name)

    def duration_s(self, name: str) -> float:
        """How long a loaded announcement is."""
        return self._durations_s[name]

    async def stop(self) -> None:
        """Gives up what is still being loaded."""
        await self._tasks.stop(_STOP_DEADLINE_S)

    async def _load_all(self) -> None:
        for name, path in self._files.items():
            try:
                clip = await asyncio.to_thread(load_clip, path, cache_dir=self._cache_dir)
                self._durations_s[name] = clip.duration_ms / 1000
                self._clips[name] = await self._engine.load_clip(clip.tracks)
            except ClipError as error:
                self._failed.inc()
                _log.error("announcement_failed", announcement=name, error=str(error))
            else:
                _log.info("announcement_loaded", announcement=name, duration_ms=clip.duration_ms)
