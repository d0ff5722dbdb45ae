"""Flows of ours that somebody relies on: kept alive where both ends know how, and missed at once when they are lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mediaserver.sip.flow import Destination, Flow, Target
from mediaserver.sip.keep_alive import Failure, KeepAlive

News = Literal["alive", "closed"] | Failure
"""`alive` with the first answer to a keep-alive; anything else is the end of the flow."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a flow is kept."""

    trunk: str
    """Requests over the flow are this trunk's."""
    target: Target
    """What it was opened for."""
    outbound: bool
    """RFC 5626 is in force: keep-alives are sent and answered, and requests over the flow say `ob`."""
    flow_timer_s: float | None = None
    """Flow-Timer of the registrar: the longest that it waits for a keep-alive."""
    judged: bool = True
    """Whether silence is a failure before anything has been answered."""


@dataclass(frozen=True, slots=True)
class FlowNews:
    """What became of a kept flow."""

    flow: Flow
    what: News


class KeptFlows:
    """One table; `keep` and `release` are the owner's, the rest is the core's. Time is an argument."""

    def __init__(self, spread: Callable[[], float]) -> None:
        self._spread = spread
        self._kept: dict[Flow, tuple[Keeping, KeepAlive | None]] = {}
        self._outbound: set[Target] = set()
        self._news: deque[FlowNews] = deque()
        self._next_at: float | None = None

    def __contains__(self, flow: object) -> bool:
        return flow in self._kept

    def trunk_of(self, flow: Flow) -> str | None:
        """Whose flow it is."""
        found = self._kept.get(flow)
        return found[0].trunk if found is not None else None

    def is_outbound(self, destination: Destination) -> bool:
        """Whether what is sent there goes over a flow that a registrar knows as ours (RFC 5626 §4.3)."""
        return bool(self._outbound) and destination in self._outbound

    def keep(self, flow: Flow, keeping: Keeping, now: float) -> None:
        """Keep a flow from now on; the same again leaves its keep-alives as they are."""
        old = self._kept.get(flow)
        if old is not None and old[0] == keeping:
            return
        alive = KeepAlive(
            reliable=flow.reliable,
            flow_timer_s=keeping.flow_timer_s,
            spread=self._spread,
            now=now,
            judged=keeping.judged,
        )
        self._kept[flow] = keeping, alive if keeping.outbound else None
        self._settle()

    def release(self, flow: Flow) -> None:
        """Nobody relies on it any more."""
        if self._kept.pop(flow, None) is not None:
            self._settle()

    def handle_closed(self, flow: Flow) -> None:
        """The connection is gone."""
        if flow in self._kept:
            self._lost(flow, "closed")

    def handle_pong(self, flow: Flow, now: float) -> None:
        """A pong came."""
        self._heard(flow, lambda alive: alive.handle_pong(now))

    def handle_stun(self, data: bytes, flow: Flow, now: float) -> None:
        """A STUN response came."""
        self._heard(flow, lambda alive: alive.handle_stun(data, now))

    def handle_timeout(self, now: float) -> Iterator[tuple[bytes, Flow]]:
        """Time has passed. Yields keep-alives to send."""
        if self._next_at is None or now < self._next_at:
            return
        for flow, (_, alive) in list(self._kept.items()):
            if alive is None:
                continue
            data = alive.handle_timeout(now)
            if data is not None:
                yield data, flow
            if alive.failure is not None:
                self._lost(flow, alive.failure)
        self._settle()

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        return self._next_at

    def poll_event(self) -> FlowNews | None:
        """The next thing that the owner must know."""
        return self._news.popleft() if self._news else None

    def _heard(self, flow: Flow, tell: Callable[[KeepAlive], None]) -> None:
        alive = self._kept.get(flow, (None, None))[1]
        if alive is None:
            return
        before = alive.answered
        tell(alive)
        if alive.failure is not None:
            self._lost(flow, alive.failure)
        elif alive.answered and not before:
            self._news.append(FlowNews(flow, "alive"))
        self._settle()

    def _lost(self, flow: Flow, what: News) -> None:
        self.release(flow)
        self._news.append(FlowNews(flow, what))

    def _settle(self) -> None:
        """Note what every message asks: few flows are kept, and their table changes seldom."""
        self._outbound = {keeping.target for keeping, _ in self._kept.values() if keeping.outbound}
        times = (alive.poll_timeout() for _, alive in self._kept.values() if alive is not None)
        self._next_at = min((at for at in times if at is not None), default=None)
