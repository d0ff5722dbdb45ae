"""What strangers do, logged once: the first time for each source and kind, then not again until it has been quiet."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mediaserver.runtime.token_bucket import TokenBucket

QUIET_S: Final = 600.0
"""After so long without it, the same from the same source is told again."""
_MOST_KNOWN: Final = 4_096
_PER_MINUTE: Final = 30.0
"""Lines of all sources together: who has many addresses has no more words than who has few."""


class Notices:
    """Decides what is worth a line. Bounded in memory and in lines; time is an argument, in seconds."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lines = TokenBucket(per_second=_PER_MINUTE / 60.0, burst=_PER_MINUTE)
        self._untold = 0

    def take(self, kind: str, source: str, now: float) -> int | None:
        """None where nothing is to be logged; else how many kinds and sources went untold since the last line."""
        key = (kind, source)
        last = self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > _MOST_KNOWN:
            self._last.popitem(last=False)
        if last is not None and now - last < QUIET_S:
            return None
        if not self._lines.take(now):
            self._untold += 1
            return None
        untold, self._untold = self._untold, 0
        return untold
