"""Pairs of media ports at Edges for `mediaserver check-link`: opened like those of a call, and closed after some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from mediaserver.api.media_probes import MediaProbeShown
from mediaserver.call.edge_ports import PortsBeyond
from mediaserver.config.values import SocketAddress
from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine, EngineError, LocalRtp
from mediaserver.errors import LimitExceeded

_LIFE_S: Final = 10.0


@dataclass(slots=True, eq=False)
class _Probe:
    local: LocalRtp
    heard_from: str | None = None
    ends: list[Callable[[], None]] = field(default_factory=list)
    """What is to be done at its end."""

    def handle_event(self, event: events.AnyEvent) -> None:
        """The first packet that was taken."""
        if isinstance(event, events.TransportConnected):
            self.heard_from = str(SocketAddress(*event.remote))


class MediaProbes:
    """See `api.media_probes.ProbesMedia`. What comes in goes nowhere: these transports have no tracks."""

    def __init__(self, *, engine: Engine, ports: PortsBeyond, life_s: float = _LIFE_S) -> None:
        self._engine = engine
        self._ports = ports
        self._life_s = life_s
        self._open: dict[str, _Probe | None] = {}
        """By the Edge; None while it is asked."""

    async def open(self, edge: str) -> MediaProbeShown:
        """Has this Edge open one."""
        if edge in self._open:
            return MediaProbeShown(state="refused", reason="another check has a pair open there")
        self._open[edge] = None
        try:
            probe = self._open[edge] = await self._opened(edge)
        except (LimitExceeded, EngineError) as error:
            return MediaProbeShown(state="refused", reason=str(error))
        finally:
            if self._open[edge] is None:
                del self._open[edge]
        timer = asyncio.get_running_loop().call_later(self._life_s, self._end, edge, probe)
        probe.ends.append(timer.cancel)
        return MediaProbeShown(state="open", ip=probe.local.ip, port=probe.local.rtp_port)

    async def close(self, edge: str) -> MediaProbeShown | None:
        """Ends it, and says what it has heard."""
        if (probe := self._open.get(edge)) is None:
            return None
        local = probe.local
        try:
            packets = sum(each.packets_received for each in await self._engine.stats([local.id]))
        finally:
            self._end(edge, probe)
        return MediaProbeShown(
            state="closed", ip=local.ip, port=local.rtp_port, packets=packets, heard_from=probe.heard_from
        )

    async def _opened(self, edge: str) -> _Probe:
        # Nobody is named: whoever sends first is let in.
        window_ms = round(self._life_s * 1000)
        at_edge = partial(self._ports.by(edge, "").open, latching_ms=window_ms)
        local = await self._engine.open_rtp_transport("0.0.0.0", latching_ms=window_ms, at_edge=at_edge)
        probe = _Probe(local)
        probe.ends.append(self._engine.subscribe_events(local.id, probe.handle_event))
        try:
            await self._engine.request(commands.SetRtpRemote(id=local.id))
        except EngineError:
            self._engine.close_transport(local.id)
            raise
        return probe

    def _end(self, edge: str, probe: _Probe) -> None:
        if self._open.get(edge) is probe:
            del self._open[edge]
            for end in probe.ends:
                end()
            self._engine.close_transport(probe.local.id)
