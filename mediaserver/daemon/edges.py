"""The Core's side of its links: dials every Edge, gives it keys, and tells the engine where visitors come in."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from mediaserver.api.edges import EdgeReached, EdgeShown
from mediaserver.api.page_servers import PageServers
from mediaserver.config.link import LinkedEdge
from mediaserver.config.model import Config
from mediaserver.daemon.edge_drains import EdgeDrains
from mediaserver.daemon.edge_media import EdgeMedia
from mediaserver.daemon.edge_ports import CorePorts
from mediaserver.daemon.edge_way import EdgeDialler
from mediaserver.daemon.link_identity import accepted, credentials
from mediaserver.daemon.link_wire import EngineWire, connect
from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine
from mediaserver.engine.ids import make_id
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_registry import EdgeDraining, EdgeEvent, EdgeLost, EdgeReady, EdgeRegistry
from mediaserver.link.messages import Revocation
from mediaserver.link.rotating import Rotating
from mediaserver.link.token_keys import TokenKeys
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner

_LOOK_S: Final = 0.25
"""How often it is looked whether sessions exist: with some, a link is watched closely."""
_TOKEN_LIFE_MINUTES: Final = 24 * 60
"""As long as the engine's tokens bind new paths."""
_UNIX_2020_S: Final = 1_577_836_800
_MOST_SOURCES: Final = 100_000
_MOST_REVOKED: Final = 100_000
"""Ended sessions that an Edge which comes back is told; tokens of older ones still lead nowhere inside."""


class TakesVisitors(Protocol):
    """Serves those who came over an Edge."""

    def __call__(self, event: events.StreamOpened, edge: str, *, in_clear: bool) -> None:
        """`edge` is its name. `in_clear`: it has ended the visitor's TLS."""
        ...


class Edges:
    """All Edges of a Core. `start` dials them; they may come at any time."""

    def __init__(
        self,
        config: Config,
        *,
        engine: Engine,
        token_keys: TokenKeys,
        turn_secrets: Rotating[bytes],
        registry: EdgeRegistry,
        software: str,
        page_servers: PageServers,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._engine = engine
        self._token_keys = token_keys
        self._turn_secrets = turn_secrets
        self._software = software
        self._page_servers = page_servers
        self._on_stream: TakesVisitors | None = None
        self._media: dict[str, EdgeMedia] = {}
        """By the Edge's name."""
        self._sources: dict[str, None] = {}
        """Addresses of visitors, the latest last."""
        self._revoked: deque[Revocation] = deque(maxlen=_MOST_REVOKED)
        self._tasks = TaskGroupOwner("edges")
        self._deaf: Callable[[], None] = lambda: None
        """Ends what the registry tells us."""
        self._drains = EdgeDrains(
            engine=engine,
            tasks=self._tasks,
            has_others=lambda: bool(self.registry.open_edges()),
            close=lambda name: self._media[name].close(),
        )
        self.registry = registry
        """Which of them are up."""
        self.dialler = EdgeDialler(self.registry)
        """Opens connections from there."""
        self.ports = CorePorts(
            self.registry, media_link=self._media_link, revoke=self._revoke, tasks=self._tasks, metrics=metrics
        )
        """Opens ports for media there."""

    async def start(self, on_stream: TakesVisitors) -> None:
        """Dials; `on_stream` takes visitors. Raises ConfigError and EngineError for certificates that cannot be used."""
        self._on_stream = on_stream
        self._deaf = self.registry.listen(self._follow)
        self._engine.on_closed = self._revoke
        for name, edge in self._config.link.edges.items():
            await self._dial(name, edge)
        self._tasks.spawn(self._watch(), name="edges")

    async def stop(self, deadline_s: float) -> None:
        """Looks no more; the links end with the engine."""
        # Links go down with the engine, which takes no commands then.
        self._deaf()
        self._engine.on_closed = None
        await self._tasks.stop(deadline_s)

    def drain(self, deadline_s: float) -> None:
        """This Core takes no new visitors and ends after a time: Edges bring them to others."""
        for end in self.registry.edges():
            end.drain(deadline_s)

    def status(self) -> Sequence[EdgeShown]:
        """See `api.edges.EdgeControl`."""
        shown = [(end, self._shown(end), self._media[end.name].way) for end in self.registry.edges()]
        return [
            edge.model_copy(update={"media": way.state, "media_words": way.words, "addresses": _reached(end)})
            for end, edge, way in shown
        ]

    async def leave(self, name: str, deadline_s: float | None) -> None:
        """See `api.edges.EdgeControl`."""
        self.registry.leave(name, deadline_s)
        await self._drains.counted(name)

    def bring_elsewhere(self, link: int, source: str, core_id: int | None) -> None:
        """See `api.other_cores.BringsElsewhere`."""
        for end in self.registry.edges():
            if self._media[end.name].tls_link == link:
                end.bring_elsewhere(source, core_id)

    def announce_keys(self) -> None:
        """The keys of tokens or of TURN have changed: Edges are to know the new ones before a visitor shows them."""
        self.registry.set_keys(self._token_keys.all, self._turn_secrets.all)

    def brings(self, address: str) -> bool:
        """Whether somebody with this address came by an Edge, as far as that is remembered."""
        return address in self._sources

    def _take_stream(self, end: CoreEnd, event: events.StreamOpened) -> None:
        if event.service == "dialled":
            self.dialler.take(event)
            return
        source = event.source[0]
        self._sources.pop(source, None)
        self._sources[source] = None
        if len(self._sources) > _MOST_SOURCES:
            del self._sources[next(iter(self._sources))]
        if self._on_stream is not None:
            self._on_stream(event, end.name, in_clear=event.server_name in end.terminated)

    def _shown(self, end: CoreEnd) -> EdgeShown:
        if not end.is_ready:
            return EdgeShown(name=end.name, state="away", reason=end.reason)
        if not self.registry.is_draining(end.name):
            return EdgeShown(name=end.name, state="ready")
        is_over, sessions = self._drains.is_over(end.name), self._drains.sessions(end.name)
        if is_over:
            return EdgeShown(name=end.name, state="left", sessions=sessions)
        remaining_s = self._drains.remaining_s(end.name)
        return EdgeShown(name=end.name, state="draining", sessions=sessions, remaining_s=remaining_s)

    async def _dial(self, name: str, edge: LinkedEdge) -> None:
        other = accepted(self._config, edge.certificate_file, key=f"link.edges.{name}.certificate_file")
        media = self._media[name] = EdgeMedia(
            name,
            edge.address.host,
            engine=self._engine,
            path_bytes_per_second=self._config.link.visitor_bitrate // 8,
            on_down=partial(self._bring_away, name),
        )
        end = CoreEnd(
            name=name,
            core_id=self._config.link.core_id,
            shards=self._engine.config.shards,
            software=self._software,
            wire=EngineWire(self._engine, media.tls_link),
            keys=self._token_keys.all,
            turn_secrets=self._turn_secrets.all,
            revoked=self._current_revocations,
            media_ready=lambda secret: media.open(end.media_ports, secret),
            changed=self.registry.handle_change,
            may_end_tls=edge.tls == "terminate",
        )
        end.on_ports = self.ports.handle_answer
        end.on_dial_failed = self.dialler.handle_failure
        self.registry.add(end)
        connect(self._engine, media.tls_link, end, on_stream=partial(self._take_stream, end))
        await self._engine.dial_link(
            commands.DialLink(
                id=media.tls_link,
                address=(edge.address.host, edge.address.port),
                server_name=edge.name,
                fingerprint=other.fingerprint,
                credentials=credentials(self._config, (other,)),
                media=True,
            )
        )

    def _media_link(self, name: str, worker: int, shard: int) -> int | None:
        return self._media[name].link_to(worker, shard)

    def _follow(self, event: EdgeEvent) -> None:
        self._announce()
        match event:
            case EdgeReady(edge=name):
                self._drains.end(name)
                end = self.registry.edge(name)
                if not self._media[name].links:
                    end.open_media()
                self.ports.pairs.reopen(end)
            case EdgeLost(edge=name):
                self._drains.end(name)
                self._bring_away(name)
            case EdgeDraining(edge=name, deadline_s=deadline_s):
                media = self._media[name]
                self._drains.begin(name, media.links, deadline_s)
                self._page_servers.leave(media.tls_link)
            case _:
                pass

    def _bring_away(self, name: str) -> None:
        """Media that goes over an Edge goes over another one, if there is one."""
        if any(other != name for other in self.registry.open_edges()):
            self._media[name].leave()

    def _announce(self) -> None:
        """Sessions that begin from now on are told the Edges that take them; where none does, those that are there, for who
        has lost the way must find one."""
        media = self.registry.addresses("media") or self.registry.addresses("media", for_new=False)
        udp, tcp = (
            tuple((each.ip, each.port) for each in media if each.protocol == protocol) for protocol in ("udp", "tcp")
        )
        edges = self._config.link.edges
        names = self.registry.open_edges()
        self._page_servers.set([origin for name in names if (origin := edges[name].origin) is not None])
        ids = (make_id(shard, 0) for shard in range(self._engine.config.shards))
        self._engine.submit(*(commands.SetEdgeAddresses(id=to, addresses=udp, tcp_addresses=tcp) for to in ids))

    def _revoke(self, transport: int) -> None:
        self.ports.pairs.forget(transport)
        expires = int(time.time() - _UNIX_2020_S) // 60 + _TOKEN_LIFE_MINUTES
        revocation = Revocation(session=transport, expires_minute=expires)
        self._revoked.append(revocation)
        self.registry.revoke((revocation,))

    def _current_revocations(self) -> Iterator[Revocation]:
        minute = int(time.time() - _UNIX_2020_S) // 60
        while self._revoked and self._revoked[0].expires_minute < minute:
            self._revoked.popleft()
        return iter(tuple(self._revoked))

    async def _watch(self) -> None:
        was_busy = False
        while True:
            busy = self._engine.transports > 0
            if busy != was_busy:
                was_busy = busy
                for end in self.registry.edges():
                    end.set_busy(busy)
            await asyncio.sleep(_LOOK_S)


def _reached(end: CoreEnd) -> list[EdgeReached]:
    return [
        EdgeReached(protocol=each.protocol, ip=each.ip, port=each.port, purpose=each.purpose, name=each.name)
        for each in end.addresses
    ]
