"""The Core's side of its links: dials every Edge, gives it keys, and tells the engine where visitors come in."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from mediaserver.config.link import LinkedEdge
from mediaserver.config.model import Config
from mediaserver.daemon.edge_ports import CorePorts
from mediaserver.daemon.edge_way import EdgeDialler
from mediaserver.daemon.link_identity import accepted, credentials
from mediaserver.daemon.link_wire import EngineWire, connect
from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine
from mediaserver.engine.ids import make_id
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_registry import EdgeEvent, EdgeRegistry
from mediaserver.link.messages import Revocation, TokenKey, media_key
from mediaserver.runtime.tasks import TaskGroupOwner

_LOOK_S: Final = 0.25
"""How often it is looked whether sessions exist: with some, a link is watched closely."""
_TOKEN_LIFE_MINUTES: Final = 24 * 60
"""As long as the engine's tokens bind new paths."""
_UNIX_2020_S: Final = 1_577_836_800
_MOST_REVOKED: Final = 100_000
"""Ended sessions that an Edge which comes back is told; tokens of older ones still lead nowhere inside."""


class Edges:
    """All Edges of a Core. `start` dials them; they may come at any time."""

    def __init__(
        self,
        config: Config,
        *,
        engine: Engine,
        token_key: bytes,
        software: str,
        on_stream: Callable[[events.StreamOpened, str], None],
    ) -> None:
        self._config = config
        self._engine = engine
        self._token_key = TokenKey(id=0, secret=token_key)
        self._software = software
        self._on_stream = on_stream
        self._media_links: dict[str, tuple[tuple[int, ...], list[int]]] = {}
        """By the Edge's name: its ports, and the links to them."""
        self._revoked: deque[Revocation] = deque(maxlen=_MOST_REVOKED)
        self._tasks = TaskGroupOwner("edges")
        self.registry = EdgeRegistry()
        """Which of them are up."""
        self.dialler = EdgeDialler(self.registry)
        """Opens connections from there."""
        self.ports = CorePorts(self.registry, media_link=self._media_link, revoke=self._revoke)
        """Opens ports for media there."""

    async def start(self) -> None:
        """Dials. Raises ConfigError and EngineError for certificates that cannot be used."""
        self.registry.listen(self._announce)
        self._engine.on_closed = self._revoke
        for name, edge in self._config.link.edges.items():
            await self._dial(name, edge)
        self._tasks.spawn(self._watch(), name="edges")

    async def stop(self, deadline_s: float) -> None:
        """Looks no more; the links end with the engine."""
        self._engine.on_closed = None
        await self._tasks.stop(deadline_s)

    async def _dial(self, name: str, edge: LinkedEdge) -> None:
        other = accepted(self._config, edge.certificate_file, key=f"link.edges.{name}.certificate_file")
        link = self._engine.new_link_id()
        end = CoreEnd(
            name=name,
            core_id=self._config.link.core_id,
            shards=self._engine.config.shards,
            software=self._software,
            wire=EngineWire(self._engine, link),
            keys=(self._token_key,),
            revoked=self._current_revocations,
            media_ready=lambda secret: self._open_media(name, edge.address.host, secret),
            changed=self.registry.handle_change,
        )
        end.on_ports = self.ports.handle_answer
        end.on_dial_failed = self.dialler.handle_failure
        self.registry.add(end)
        connect(self._engine, link, end, on_stream=partial(self._take, name))
        await self._engine.dial_link(
            commands.DialLink(
                id=link,
                address=(edge.address.host, edge.address.port),
                server_name=edge.name,
                fingerprint=other.fingerprint,
                credentials=credentials(self._config, (other,)),
            )
        )

    def _take(self, name: str, event: events.StreamOpened) -> None:
        if event.service == "dialled":
            self.dialler.take(event)
        else:
            self._on_stream(event, name)

    def _open_media(self, name: str, host: str, secret: bytes) -> None:
        """The Edge takes our media links. Those that are there stay, and what comes over them: they find a restarted Edge
        by themselves."""
        end = next(end for end in self.registry.edges() if end.name == name)
        ports, links = self._media_links.get(name, ((), []))
        if ports == end.media_ports:
            return
        engine = self._engine
        engine.submit(*(commands.CloseMediaLink(id=link) for link in links))
        opened = [
            commands.OpenMediaLink(
                id=engine.new_id(shard),
                edge=(host, port),
                bind_ip="::" if ":" in host else "0.0.0.0",
                key=media_key(secret, worker=worker, shard=shard),
                path_bytes_per_second=self._config.link.visitor_bitrate // 8,
            )
            for worker, port in enumerate(end.media_ports)
            for shard in range(engine.config.shards)
        ]
        self._media_links[name] = (end.media_ports, [command.id for command in opened])
        engine.submit(*opened)

    def _media_link(self, name: str, worker: int, shard: int) -> int | None:
        _, links = self._media_links.get(name, ((), []))
        place = worker * self._engine.config.shards + shard
        return links[place] if place < len(links) else None

    def _announce(self, _event: EdgeEvent) -> None:
        """Sessions that begin from now on are told the Edges that take them."""
        addresses = tuple((each.ip, each.port) for each in self.registry.addresses("media") if each.protocol == "udp")
        shards = range(self._engine.config.shards)
        self._engine.submit(*(commands.SetEdgeAddresses(id=make_id(shard, 0), addresses=addresses) for shard in shards))

    def _revoke(self, transport: int) -> None:
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
