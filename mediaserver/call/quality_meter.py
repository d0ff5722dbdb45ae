"""One leg's quality over its life: the last look at its counters, and the summary of all looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mediaserver.call.quality import LegQuality, measure
from mediaserver.call.quality_summary import QualitySummary
from mediaserver.engine.commands import Kind
from mediaserver.engine.events import TransportStats

_SHORTEST_S = 1.0
"""Over less time a share says nothing."""


class QualityMeter:
    """Times are those of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.summary = QualitySummary()
        self.changed = False
        """Whether the last look found another level than the one before; a good beginning is no change."""
        self._before: Sequence[TransportStats] = ()
        self._at: float | None = None

    def begin(self, at: float) -> None:
        """Counts from now on; what the tracks counted before is nothing, because they begin with their leg."""
        if self._at is None:
            self._at = at

    def look(self, stats: Sequence[TransportStats], kinds: Mapping[int, Kind], at: float) -> LegQuality | None:
        """Takes the counters as they are at `at`; None where too little time has passed since the last look."""
        if self._at is None or at - self._at < _SHORTEST_S:
            return None
        quality = measure(self._before, stats, kinds, at - self._at)
        self._before, self._at = tuple(stats), at
        first = self.summary.level is None
        changed = self.summary.add(quality)
        self.changed = changed and not (first and quality.level == "good")
        return quality
