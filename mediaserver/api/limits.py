"""Bounds on what one source, and all sources together, may ask of the web side."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from mediaserver.errors import LimitExceeded
from mediaserver.runtime.sources import source_prefix


class RateLimit:
    """Token buckets by key, in a bounded table: the key not seen for longest makes room."""

    def __init__(self, *, per_second: float, burst: float, max_keys: int = 10_000) -> None:
        """`per_second` tokens flow in, `burst` is the most that are held."""
        self._per_second = per_second
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """Take `cost` tokens. Returns 0.0 when allowed, else the seconds until it would be."""
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= cost
        if allowed:
            tokens -= cost
        self._buckets[key] = (tokens, now)
        while len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (cost - tokens) / self._per_second

    def wait(self, key: str, now: float) -> float:
        """Seconds until one token is there; takes none."""
        tokens, since = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        return max(0.0, (1.0 - tokens) / self._per_second)

    def __len__(self) -> int:
        return len(self._buckets)


class Occupancy:
    """Counts what is held at once: by source and in total."""

    def __init__(self, name: str, *, per_source: int, total: int) -> None:
        """`name` is the limit's name in the configuration, used in what the refused are told."""
        self._name = name
        self._per_source = per_source
        self._total = total
        self._by_source: Counter[str] = Counter()
        self.total = 0

    def enter(self, source: str) -> None:
        """Raises `LimitExceeded`; every `enter` needs its `leave`."""
        key = source_prefix(source)
        if self.total >= self._total:
            raise LimitExceeded("The server is full at the moment; please try again later.", limit=self._name)
        if self._by_source[key] >= self._per_source:
            raise LimitExceeded(
                f"Your network already has {self._per_source} open here; close one first.",
                limit=f"{self._name}_per_source",
            )
        self._by_source[key] += 1
        self.total += 1

    def leave(self, source: str) -> None:
        """Give back what `enter` took."""
        key = source_prefix(source)
        self.total -= 1
        self._by_source[key] -= 1
        if self._by_source[key] <= 0:
            del self._by_source[key]

    @contextmanager
    def held(self, source: str) -> Iterator[None]:
        """`enter` and `leave` around a block."""
        self.enter(source)
        try:
            yield
        finally:
            self.leave(source)
