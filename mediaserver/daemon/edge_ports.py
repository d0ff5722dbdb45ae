"""Ports for media of phones and trunks at the Edges: the Core says whose they are, the Edge opens them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from mediaserver.daemon.edge_pairs import EdgePairs, Moved
from mediaserver.engine import commands, events
from mediaserver.engine.engine import CommandRefused, Engine, EngineError
from mediaserver.errors import LimitExceeded
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.messages import AimPorts, OpenPorts, PortsOpened, PortsRefused
from mediaserver.link.questions import Questions
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner

_PATIENCE_S: Final = 2.0
_MOST_WAITING: Final = 256
"""Pairs that one Edge is asked for at a time."""
_log = structlog.get_logger(__name__)

MediaLink = Callable[[str, int, int], int | None]
"""The media link to a thread of the Edge of this name, from a shard of ours; None where there is none."""


class CorePorts:
    """The Core's side (`call.edge_ports.PortsBeyond`). `revoke` tells Edges that a transport has ended."""

    def __init__(
        self,
        registry: EdgeRegistry,
        *,
        media_link: MediaLink,
        revoke: Callable[[int], None],
        tasks: TaskGroupOwner,
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self.pairs = EdgePairs(ask=self._ask, media_link=media_link, revoke=revoke, tasks=tasks, metrics=metrics)
        """Those that are open."""
        self._media_link = media_link
        self._revoke = revoke
        self._questions: Questions[PortsOpened] = Questions(most=_MOST_WAITING, patience_s=_PATIENCE_S)
        """By the transport."""

    def by(self, edge: str, peer_ip: str) -> PortsByEdge:
        """Ports at the Edge of this name, or at the first that has some for an empty one."""
        found: CoreEnd | None = None
        for end in self._registry.edges():
            if edge == end.name or (not edge and end.is_ready and not end.is_draining and _addresses(end)):
                found = end
                break
        ips = _addresses(found) if found is not None else ()
        same = [ip for ip in ips if (":" in ip) == (":" in peer_ip)] or [*ips]
        return PortsByEdge(self, found, same[0] if same else "")

    async def open(
        self, end: CoreEnd, transport: int, ip: str, moved: Moved, *, latching_ms: int
    ) -> commands.EdgePorts:
        """Has one pair opened; `moved` is told when it had to change. Raises LimitExceeded."""
        try:
            answer = await self._ask(end, transport, ip, latching_ms=latching_ms)
        except TimeoutError:
            self._revoke(transport)
            raise LimitExceeded(f"{end.name} opened no ports in time", limit="edge.sip_media_ports") from None
        link = self._media_link(end.name, answer.worker, transport >> 48)
        if link is None:
            self._revoke(transport)
            raise LimitExceeded(f"no media can go by {end.name}", limit="edge.sip_media_ports")
        self.pairs.keep(end, answer, link, moved)
        return commands.EdgePorts(link=link, ip=answer.ip, rtp_port=answer.rtp, rtcp_port=answer.rtcp)

    async def _ask(
        self,
        end: CoreEnd,
        transport: int,
        ip: str,
        *,
        rtp: int | None = None,
        worker: int | None = None,
        latching_ms: int = 0,
    ) -> PortsOpened:
        """See `edge_pairs.Asks`."""
        if self._questions.is_full:
            raise LimitExceeded(f"{end.name} is asked for too many ports", limit="edge.sip_media_ports")
        ask = partial(end.open_ports, transport, ip, rtp=rtp, worker=worker, latching_ms=latching_ms)
        return await self._questions.ask(end, transport, ask)

    def handle_answer(self, end: CoreEnd, answer: PortsOpened | PortsRefused) -> None:
        """An Edge has opened a pair, or cannot."""
        if isinstance(answer, PortsRefused):
            error = LimitExceeded(f"{end.name}: {answer.reason}", limit="edge.sip_media_ports")
            self._questions.fail(answer.transport, error, by=end)
        elif not self._questions.answer(answer.transport, answer, by=end) and answer.transport not in self.pairs:
            # Nobody waits for it any more.
            self._revoke(answer.transport)


class PortsByEdge:
    """`call.edge_ports.PortsAtEdge` of one Edge, if there is one."""

    def __init__(self, ports: CorePorts, end: CoreEnd | None, ip: str) -> None:
        self._ports = ports
        self._end = end
        self.announced_ip = ip
        """The address that peers are told."""
        self.on_moved: Callable[[int, int, int], None] | None = None
        """See `PortsAtEdge`."""

    async def open(self, transport: int, *, latching_ms: int = 0) -> commands.EdgePorts:
        """See `call.edge_ports.PortsAtEdge`. Raises LimitExceeded where there is none."""
        if self._end is None or not self.announced_ip:
            raise LimitExceeded("no Edge has ports for media of phones and trunks", limit="edge.sip_media_ports")
        moved = partial(self._moved, transport)
        return await self._ports.open(self._end, transport, self.announced_ip, moved, latching_ms=latching_ms)

    def aim(
        self, transport: int, rtp: commands.Address | None, rtcp: commands.Address | None, *, latching_ms: int
    ) -> None:
        """Says where the peer's media comes from by its description."""
        if self._end is not None:
            self._ports.pairs.aimed(transport, rtp, rtcp, latching_ms=latching_ms)
            self._end.aim_ports(transport, rtp, rtcp, latching_ms)

    def _moved(self, transport: int, rtp: int, rtcp: int) -> None:
        if self.on_moved is not None:
            self.on_moved(transport, rtp, rtcp)


@dataclass(slots=True)
class _AtWorker:
    worker: int
    opened: PortsOpened | None = None
    """What the Core was told."""


class EdgePortsSide:
    """The Edge's side: a thread of it has each pair. `told` is the address that peers see, by the one that is bound."""

    def __init__(self, *, allowed: bool, workers: int, told: Mapping[str, str]) -> None:
        self._allowed = allowed
        self._workers = workers
        self._binds = {announced: bind for bind, announced in told.items()}
        self._tasks = TaskGroupOwner("edge-ports")
        self._engine: Engine | None = None
        self._next = 0
        self._pairs: dict[tuple[int, int], _AtWorker] = {}
        """By core id and transport; until the engine says that the pair is closed."""

    def start(self, engine: Engine) -> None:
        """Begin to hear of ports that are closed."""
        self._engine = engine
        for worker in range(self._workers):
            engine.subscribe_events(engine.edge_id(worker), self._handle_event)

    async def stop(self, deadline_s: float) -> None:
        """Opens nothing any more."""
        await self._tasks.stop(deadline_s)

    def handle_open(self, core: EdgeEnd, message: OpenPorts) -> None:
        """A Core wants a pair."""
        bind = self._binds.get(message.ip)
        if not self._allowed or self._engine is None or bind is None:
            core.refuse_ports(message.transport, "edge.sip_media_ports opens none there")
        elif message.worker is not None and message.worker >= self._workers:
            core.refuse_ports(message.transport, "link.workers are fewer there now")
        elif core.core_id is not None:
            worker = message.worker
            if worker is None:
                worker = self._next = (self._next + 1) % self._workers
            self._tasks.spawn(self._open(self._engine, core, core.core_id, message, bind, worker), name="open")

    def handle_aim(self, core_id: int, message: AimPorts) -> None:
        """A Core says where the peer of a pair is."""
        pair = self._pairs.get((core_id, message.transport))
        if pair is not None and self._engine is not None:
            self._engine.submit(
                commands.AimEdgePorts(
                    id=self._engine.edge_id(pair.worker),
                    core=core_id,
                    transport=message.transport,
                    rtp=message.rtp,
                    rtcp=message.rtcp,
                    latching_ms=message.latching_ms,
                )
            )

    async def _open(
        self, engine: Engine, core: EdgeEnd, core_id: int, message: OpenPorts, bind: str, worker: int
    ) -> None:
        key = core_id, message.transport
        if (known := self._pairs.get(key)) is not None:
            if known.opened is not None and known.opened.rtp == message.rtp:
                # The answer was lost with the link.
                core.tell_ports(known.opened)
            else:
                core.refuse_ports(message.transport, "it has ports already")
            return
        pair = self._pairs[key] = _AtWorker(worker)
        command = commands.OpenEdgePorts(
            id=engine.edge_id(worker), core=core_id, transport=message.transport, ip=bind, rtp_port=message.rtp
        )
        try:
            opened = await engine.request(command)
            if message.latching_ms:
                await engine.request(_to_anybody(command, message.latching_ms))
        except (CommandRefused, EngineError, LimitExceeded) as error:
            self._pairs.pop(key, None)
            core.refuse_ports(message.transport, str(error))
            _log.warning("edge_ports_refused", core=core.core_name, reason=str(error))
            return
        if isinstance(opened, events.EdgePortsOpened):
            pair.opened = PortsOpened(
                transport=message.transport,
                ip=message.ip,
                rtp=opened.rtp_port,
                rtcp=opened.rtcp_port,
                worker=worker,
            )
            core.tell_ports(pair.opened)

    def _handle_event(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgePortsClosed):
            self._pairs.pop((event.core, event.transport), None)


def _to_anybody(opened: commands.OpenEdgePorts, latching_ms: int) -> commands.AimEdgePorts:
    return commands.AimEdgePorts(id=opened.id, core=opened.core, transport=opened.transport, latching_ms=latching_ms)


def _addresses(end: CoreEnd) -> tuple[str, ...]:
    return tuple(each.ip for each in end.addresses if each.purpose == "sip_media")
