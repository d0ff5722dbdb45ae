"""A bound on how often one thing may happen: tokens flow in steadily, each time takes one."""

from __future__ import annotations


class TokenBucket:
    """`per_second` tokens flow in, `burst` is the most that are held; it begins full. Time is an argument, in seconds."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._since: float | None = None

    def take(self, now: float) -> bool:
        """Whether it may happen now."""
        if self._since is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._since) * self._per_second)
        self._since = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
