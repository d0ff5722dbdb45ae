"""What DNS has said, for as long as it may be believed: bounded, by TTL, negative answers too; time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

Key = tuple[str, str]
"""Name in lower case, and record type."""

FAILURE_S: Final = 5.0
"""How long a server that failed to answer is not asked again for a name (RFC 9520 §3.2: 1 s to 5 min)."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: records as plain values; none where the name or the type does not exist (RFC 2308)."""

    records: tuple[object, ...]
    expires_at: float


class DnsCache:
    """At most `capacity` answers, the one not asked for longest goes first."""

    def __init__(self, *, capacity: int = 2_000, longest_s: float = 3_600.0, stale_s: float = 86_400.0) -> None:
        self._capacity = capacity
        self._longest_s = longest_s
        self._stale_s = stale_s
        self._answers: OrderedDict[Key, Found] = OrderedDict()
        self._failed_until: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def fresh(self, key: Key, now: float) -> Found | None:
        """The answer while its TTL runs. After a failure the old answer, or none, stands for a few seconds."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
            if now < found.expires_at:
                return found
        if now < self._failed_until.get(key, 0.0):
            return self._stale(key, now)
        return None

    def put(self, key: Key, records: tuple[object, ...], ttl_s: float, now: float) -> Found:
        """Keep an answer for its TTL, `longest_s` at the most."""
        found = Found(records, now + max(0.0, min(ttl_s, self._longest_s)))
        self._answers[key] = found
        self._answers.move_to_end(key)
        self._failed_until.pop(key, None)
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
        return found

    def failed(self, key: Key, now: float) -> Found:
        """No server answered. What was known last is used on (RFC 8767 §4), else nothing."""
        self._failed_until[key] = now + FAILURE_S
        self._failed_until.move_to_end(key)
        if len(self._failed_until) > self._capacity:
            self._failed_until.popitem(last=False)
        return self._stale(key, now)

    def _stale(self, key: Key, now: float) -> Found:
        found = self._answers.get(key)
        if found is not None and now < found.expires_at + self._stale_s:
            return found
        return Found((), now)
