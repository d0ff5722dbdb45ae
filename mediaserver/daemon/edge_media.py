"""What a Core has to one Edge: its TLS link, and the media links from each shard to each of the Edge's threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine
from mediaserver.link.media_way import MediaWay
from mediaserver.link.messages import media_key


class EdgeMedia:
    """`host` is the Edge's own address; `on_down` is called when one of the media links does not answer any more."""

    def __init__(
        self,
        name: str,
        host: str,
        *,
        engine: Engine,
        path_bytes_per_second: int,
        on_down: Callable[[], None],
    ) -> None:
        self.tls_link = engine.new_link_id()
        """It carries all but media."""
        self.way = MediaWay(name)
        """How media get there."""
        self._host = host
        self._engine = engine
        self._path_bytes_per_second = path_bytes_per_second
        self._on_down = on_down
        self._ports: tuple[int, ...] = ()
        self._links: tuple[int, ...] = ()
        self._unsubscribe: list[Callable[[], None]] = []

    @property
    def links(self) -> Sequence[int]:
        """The media links; none before the Edge was there."""
        return self._links

    def link_to(self, worker: int, shard: int) -> int | None:
        """The media link to a thread of the Edge from a shard of ours; None where there is none."""
        place = worker * self._engine.config.shards + shard
        return self._links[place] if place < len(self._links) else None

    def open(self, ports: tuple[int, ...], secret: bytes) -> None:
        """The Edge takes our media links at these ports. Those that are there stay, and what comes over them: they find a
        restarted Edge by themselves."""
        if ports == self._ports:
            return
        engine, host = self._engine, self._host
        self.close()
        opened = [
            commands.OpenMediaLink(
                id=engine.new_id(shard),
                edge=(host, port),
                bind_ip="::" if ":" in host else "0.0.0.0",
                key=media_key(secret, worker=worker, shard=shard),
                path_bytes_per_second=self._path_bytes_per_second,
                tls_link=self.tls_link,
                worker=worker,
            )
            for worker, port in enumerate(ports)
            for shard in range(engine.config.shards)
        ]
        self._ports, self._links = ports, tuple(command.id for command in opened)
        # The rest of the link may be well while these are down.
        self._unsubscribe = [engine.subscribe_events(link, self._handle_event) for link in self._links]
        engine.submit(*opened)

    def close(self) -> None:
        """No media go there any more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        links = self._links
        self._ports, self._links, self._unsubscribe = (), (), []
        for link in links:
            self.way.handle_down(link)
        self._engine.submit(*(commands.CloseMediaLink(id=link) for link in links))

    def leave(self) -> None:
        """Media that go there go over another Edge."""
        self._engine.submit(*(commands.LeaveMediaLink(id=link) for link in self._links))

    def _handle_event(self, event: events.AnyEvent) -> None:
        match event:
            case events.MediaLinkUp():
                self.way.handle_up(event.id, event.way)
            case events.MediaLinkDown():
                self.way.handle_down(event.id)
                self._on_down()
