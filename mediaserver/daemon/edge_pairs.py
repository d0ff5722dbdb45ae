"""Pairs of ports that this Core has at its Edges: an Edge that was restarted is asked for the same ones again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog

from mediaserver.engine import commands
from mediaserver.errors import LimitExceeded
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.messages import PortsOpened
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner

_AT_ONCE: Final = 64
"""Pairs that an Edge is asked for at a time, so that new calls find room beside."""
_log = structlog.get_logger(__name__)

Moved = Callable[[int, int], None]
"""Told the ports of RTP and RTCP that stand in place of those that the peer knows."""


@dataclass(slots=True, eq=False)
class Pair:
    """One pair of a transport."""

    edge: str
    opened: PortsOpened
    life: str
    """That of the Edge in which it was opened, or asked for last."""
    link: int
    """The media link that leads to it."""
    moved: Moved
    named: tuple[commands.Address | None, commands.Address | None] | None = None
    """Where the peer's media comes from by its description, once there is one."""
    window_ends: float = 0.0
    """Until then others may come in its place."""


class Asks(Protocol):
    """Has an Edge open a pair."""

    async def __call__(
        self, end: CoreEnd, transport: int, ip: str, *, rtp: int | None = None, worker: int | None = None
    ) -> PortsOpened:
        """That of the number `rtp`, at the thread `worker`. Raises LimitExceeded with the Edge's reason, TimeoutError."""
        ...


class EdgePairs:
    """All of them. `media_link` gives the link to a thread of an Edge from a shard of ours; `revoke` ends a pair there."""

    def __init__(
        self,
        *,
        ask: Asks,
        media_link: Callable[[str, int, int], int | None],
        revoke: Callable[[int], None],
        tasks: TaskGroupOwner,
        metrics: Metrics,
    ) -> None:
        self._ask = ask
        self._media_link = media_link
        self._revoke = revoke
        self._tasks = tasks
        self._reopened = metrics.counter(
            "edge_ports_reopened_total",
            "Pairs of ports of phones and trunks at Edges that were restarted, by what became of them",
            ["result"],
        )
        self._pairs: dict[int, Pair] = {}
        """By the transport."""

    def __contains__(self, transport: int) -> bool:
        return transport in self._pairs

    def keep(self, end: CoreEnd, opened: PortsOpened, link: int, moved: Moved) -> None:
        """A transport has a pair from now on, until `forget`."""
        self._pairs[opened.transport] = Pair(end.name, opened, end.instance, link, moved)

    def aimed(
        self, transport: int, rtp: commands.Address | None, rtcp: commands.Address | None, *, latching_ms: int
    ) -> None:
        """Notes whom the Edge was told to let in."""
        if (pair := self._pairs.get(transport)) is not None:
            pair.named = rtp, rtcp
            pair.window_ends = asyncio.get_running_loop().time() + latching_ms / 1000

    def forget(self, transport: int) -> None:
        """The transport has ended."""
        self._pairs.pop(transport, None)

    def reopen(self, end: CoreEnd) -> None:
        """The Edge is there: what it had in an earlier life it is to have again."""
        lost = [pair for pair in self._pairs.values() if pair.edge == end.name and pair.life != end.instance]
        if lost:
            self._tasks.spawn(self._reopen(end, lost), name=f"reopen-{end.name}")

    async def _reopen(self, end: CoreEnd, lost: list[Pair]) -> None:
        life, began = end.instance, asyncio.get_running_loop().time()
        results = []
        for first in range(0, len(lost), _AT_ONCE):
            some = lost[first : first + _AT_ONCE]
            results += await asyncio.gather(*(self._again(end, pair, life) for pair in some))
            if end.instance != life or not end.is_ready:
                return  # whatever comes next begins anew
        took_ms = round((asyncio.get_running_loop().time() - began) * 1000)
        counts = {result: results.count(result) for result in ("same", "moved", "lost")}
        _log.info("edge_ports_reopened", edge=end.name, took_ms=took_ms, **counts)

    async def _again(self, end: CoreEnd, pair: Pair, life: str) -> Literal["same", "moved", "lost", "over"]:
        transport, wanted = pair.opened.transport, pair.opened
        opened = await self._had_again(end, wanted)
        if end.instance != life:
            return "over"  # the link has gone; the pair is asked for when it is back
        if self._pairs.get(transport) is not pair:
            # It ended while it was asked for: the Edge may have heard of that first.
            self._revoke(transport)
            return "over"
        pair.life = life
        if opened is None or self._media_link(end.name, opened.worker, transport >> 48) != pair.link:
            self._reopened.labels("lost").inc()
            return "lost"
        if pair.named is not None:
            rest_s = max(0.0, pair.window_ends - asyncio.get_running_loop().time())
            end.aim_ports(transport, *pair.named, round(rest_s * 1000))
        pair.opened = opened
        if opened.rtp == wanted.rtp:
            self._reopened.labels("same").inc()
            return "same"
        self._reopened.labels("moved").inc()
        pair.moved(opened.rtp, opened.rtcp)
        return "moved"

    async def _had_again(self, end: CoreEnd, wanted: PortsOpened) -> PortsOpened | None:
        """The same pair, else another one of the same thread, for its link is the only one that the transport knows."""
        for rtp in (wanted.rtp, None):
            try:
                return await self._ask(end, wanted.transport, wanted.ip, rtp=rtp, worker=wanted.worker)
            except LimitExceeded as error:
                _log.warning("edge_ports_not_reopened", edge=end.name, port=wanted.rtp, reason=str(error))
            except TimeoutError:
                _log.warning("edge_ports_not_reopened", edge=end.name, port=wanted.rtp, reason="no answer in time")
                break
        return None
