"""What client and server transactions have in common: a table of states, two timers, and a queue towards the wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from mediaserver.sip.config import Timers
from mediaserver.sip.message import Request
from mediaserver.sip.timers import TimerEntry

State = TypeVar("State", bound=Enum)
Input = TypeVar("Input", bound=Enum)


class Transaction(Generic[State, Input]):
    """One request and what belongs to it. `timer` is the transaction layer's mark for the next `poll_timeout`."""

    __slots__ = (
        "_expire_at",
        "_interval",
        "_invite",
        "_out",
        "_retransmit_at",
        "_table",
        "_terminated",
        "_timers",
        "request",
        "state",
        "timer",
    )

    def __init__(
        self,
        request: Request,
        *,
        table: Mapping[tuple[State, Input], State],
        state: State,
        terminated: State,
        timers: Timers,
    ) -> None:
        """Begins in `state`; `terminated` is the state of `table` that nothing leaves."""
        self.request = request
        self.state = state
        self.timer: TimerEntry | None = None
        self._timers = timers
        self._invite = request.method == "INVITE"
        self._table = table
        self._terminated = terminated
        self._out: deque[bytes] = deque()
        self._interval = timers.t1
        self._retransmit_at: float | None = None
        self._expire_at: float | None = None

    @property
    def terminated(self) -> bool:
        """True when it may be forgotten."""
        return self.state is self._terminated

    def _step(self, what: Input) -> bool:
        """Goes where the table says; False, and nothing happens, where it says nothing."""
        state = self._table.get((self.state, what))
        if state is None:
            return False
        self.state = state
        return True

    def _linger(self, seconds: float, now: float) -> None:
        """Ends after `seconds`, in which stragglers are still taken care of; at once where there can be none."""
        if seconds <= 0:
            self.state = self._terminated
            self._expire_at = None
        else:
            self._expire_at = now + seconds

    def poll_transmit(self) -> bytes | None:
        """The next message to send to `destination`."""
        return self._out.popleft() if self._out else None

    def poll_timeout(self) -> float | None:
        """When the next timer is due."""
        if self._retransmit_at is None:
            return self._expire_at
        if self._expire_at is None:
            return self._retransmit_at
        return min(self._retransmit_at, self._expire_at)
