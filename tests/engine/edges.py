"""An Edge's engine and a Core's in one process, joined by the link over loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import EdgeConfig, EngineConfig
from mediaserver.engine.engine import Engine
from tests.engine.phones import LOOPBACK
from tests.link.shown import issue

CORE_ID = 7
KEY_ID = 3
MEDIA_PORTS = (34_000, 34_063)
"""For phones, two for each."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A running Edge of one worker."""

    engine: Engine
    id: int
    public: commands.Address
    link: commands.Address


async def start_edge(public_port: int = 0, link_port: int = 0) -> Edge:
    """An Edge that lets nobody in yet; ports of 0 are chosen by the kernel."""
    config = EdgeConfig(
        public_binds=(f"{LOOPBACK}:{public_port}",),
        link_bind=f"{LOOPBACK}:{link_port}",
        media_binds=(LOOPBACK,),
        media_ports=MEDIA_PORTS,
    )
    engine = Engine(EngineConfig(shards=0, audio_threads=0, edge=config))
    worker = engine.edge_id(0)
    opened: asyncio.Future[events.EdgeOpened] = asyncio.get_running_loop().create_future()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgeOpened):
            opened.set_result(event)

    engine.subscribe_events(worker, take)
    await engine.start()
    event = await asyncio.wait_for(opened, 5)
    return Edge(engine, worker, event.public[0], event.link)


@asynccontextmanager
async def core_behind(
    edge: Edge, dtls: DtlsCertificate, *, shards: int, udp: commands.Address | None = None
) -> AsyncIterator[tuple[Engine, Joint]]:
    """A Core without a public socket, whose visitors all come by `edge`; `udp` is where it looks for the Edge's socket for
    Cores when not where that is, and then there is a TLS link beside it."""
    ufrag_key = os.urandom(32)
    engine = Engine(
        EngineConfig(
            shards=shards,
            certificate_der=dtls.certificate_der,
            private_key_der=dtls.private_key_der,
            ufrag_key=ufrag_key,
            core_id=CORE_ID,
            key_id=KEY_ID,
            media_over_tls=udp is not None,
        )
    )
    await engine.start()
    try:
        joint = Joint(engine, ufrag_key, [os.urandom(32) for _ in range(shards)])
        await joint.announce(edge)
        tls_link = None if udp is None else await join_by_tls(engine, edge)
        await joint.open(edge, udp, tls_link)
        yield engine, joint
    finally:
        await engine.stop()


async def join_by_tls(core: Engine, edge: Edge) -> int:
    """A link of both engines with a connection for frames; the Core's id of it, when that connection is there."""
    authority = trustme.CA()
    core_shown, edge_shown = issue(authority, "core.bank.example"), issue(authority, "edge.bank.example")
    pin = commands.LinkPin(link=edge.engine.new_link_id(), name="core.bank.example", fingerprint=core_shown.fingerprint)
    listen = commands.ListenLink(
        id=edge.engine.new_link_id(), bind=(LOOPBACK, 0), credentials=edge_shown.credentials, cores=(pin,)
    )
    address = await edge.engine.listen_link(listen)
    link, up = core.new_link_id(), asyncio.Event()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.LinkMediaUp):
            up.set()

    core.subscribe_events(link, take)
    await core.dial_link(
        commands.DialLink(
            id=link,
            address=address,
            server_name="edge.bank.example",
            fingerprint=edge_shown.fingerprint,
            credentials=core_shown.credentials,
            media=True,
        )
    )
    await asyncio.wait_for(up.wait(), 5)
    return link


@dataclass(frozen=True, slots=True)
class Joint:
    """What a Core tells its Edge over the encrypted channel, and the links that it opens."""

    core: Engine
    ufrag_key: bytes
    link_keys: list[bytes]
    links: list[int] = field(default_factory=list)
    """Ids of the links."""

    async def announce(self, edge: Edge) -> None:
        """Give the Edge the keys."""
        told: list[commands.Command] = [
            commands.SetCoreKey(id=edge.id, core=CORE_ID, key_id=KEY_ID, key=self.ufrag_key),
            *(
                commands.SetMediaLink(id=edge.id, core=CORE_ID, shard=shard, key=key)
                for shard, key in enumerate(self.link_keys)
            ),
        ]
        for command in told:
            await edge.engine.request(command)

    async def open(self, edge: Edge, udp: commands.Address | None = None, tls_link: int | None = None) -> None:
        """Open a link from each shard and wait until all are up."""
        up: list[asyncio.Future[None]] = []
        for shard, key in enumerate(self.link_keys):
            link = self.core.new_id(shard)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            up.append(future)
            self.links.append(link)

            def take(event: events.AnyEvent, future: asyncio.Future[None] = future) -> None:
                if isinstance(event, events.MediaLinkUp) and not future.done():
                    future.set_result(None)

            self.core.subscribe_events(link, take)
            opening = commands.OpenMediaLink(
                id=link, edge=udp or edge.link, bind_ip=LOOPBACK, key=key, tls_link=tls_link
            )
            await self.core.request(opening)
            await self.core.request(commands.SetEdgeAddresses(id=link, addresses=(edge.public,)))
        await asyncio.wait_for(asyncio.gather(*up), 5)
