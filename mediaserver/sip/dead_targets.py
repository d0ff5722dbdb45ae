"""Next hops that did not answer, and when they may be tried again; a bounded list, time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mediaserver.sip.flow import Target, Transport

FIRST_REST_S: Final = 30.0
LONGEST_REST_S: Final = 600.0

_Key = tuple[Transport, str, int]


@dataclass(slots=True)
class _Dead:
    retry_at: float
    rest_s: float
    reason: str


def _key(target: Target) -> _Key:
    return target.transport, target.host.lower(), target.port


class DeadTargets:
    """A target rests 30 s after its first failure, twice as long after each further one, and lives again when it answers.

    RFC 3263 §4.3 asks that a target which failed is not tried first for every request; the times are ours.
    """

    def __init__(self, *, capacity: int = 1_000) -> None:
        self._capacity = capacity
        self._dead: OrderedDict[_Key, _Dead] = OrderedDict()

    def __len__(self) -> int:
        return len(self._dead)

    def failed(self, target: Target, reason: str, now: float, *, retry_after_s: float | None = None) -> bool:
        """Note a failure; `retry_after_s` is the target's own word (Retry-After). True when it was alive until now."""
        key = _key(target)
        old = self._dead.pop(key, None)
        if old is not None and now < old.retry_at:
            # Tried because nothing else was left: it was known.
            rest_s = old.rest_s
        else:
            rest_s = FIRST_REST_S if old is None else min(old.rest_s * 2, LONGEST_REST_S)
        wait_s = rest_s if retry_after_s is None else min(max(retry_after_s, 1.0), LONGEST_REST_S)
        self._dead[key] = _Dead(now + wait_s, rest_s, reason)
        if len(self._dead) > self._capacity:
            self._dead.popitem(last=False)
        return old is None

    def answered(self, target: Target) -> bool:
        """It answered: it lives. True when it was listed."""
        return self._dead.pop(_key(target), None) is not None

    def retry_at(self, target: Target, now: float) -> float | None:
        """When a resting target may be tried again; None for one that may be tried now."""
        dead = self._dead.get(_key(target))
        return dead.retry_at if dead is not None and now < dead.retry_at else None

    def reason(self, target: Target) -> str:
        """Why it is listed; "" where it is not."""
        dead = self._dead.get(_key(target))
        return dead.reason if dead is not None else ""

    def ordered(self, targets: Iterable[Target], now: float) -> list[Target]:
        """Those that may be tried in their order, then the resting ones, the next to wake first."""
        known = list(targets)
        live = [target for target in known if self.retry_at(target, now) is None]
        resting = [target for target in known if self.retry_at(target, now) is not None]
        return live + sorted(resting, key=lambda target: self.retry_at(target, now) or 0.0)
