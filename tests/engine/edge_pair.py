"""An Edge's engine and a Core's on loopback, with a link between them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trustme
from cryptography.hazmat.primitives import serialization

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import EdgeConfig, EngineConfig, SharedTls, TurnConfig
from mediaserver.engine.engine import Engine
from tests.engine.phones import LOOPBACK

SECRET = b"the house's own secret"
"""Makes TURN credentials."""
TURN_NAME = "turn.example.org"
LINK_KEY = os.urandom(32)
UFRAG_KEY = os.urandom(32)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both engines. The Core has no address of its own for media."""

    edge: Engine
    core: Engine
    port: int
    """Of the Edge, for media and for TURN, by UDP and TCP."""
    tls_port: int
    """Of the Edge, for TURN over TLS."""
    trust: ssl.SSLContext
    """Of those who check the certificate there."""


@asynccontextmanager
async def edge_and_core(dtls: DtlsCertificate, *, workers: int) -> AsyncIterator[Pair]:
    """Start both, and wait until the link is up."""
    port, tls_port, authority = free_port(), free_port(), trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    edge = Engine(_edge_config(port, workers, _shared_tls(tls_port, authority)))
    opened = [_link_of(edge, worker) for worker in range(workers)]
    core = Engine(_core_config(dtls))
    async with _started(edge), _started(core):
        for worker, address in enumerate(opened):
            _let_in(edge, worker)
            await _connect(core, await asyncio.wait_for(address, 5))
        here = ((LOOPBACK, port),)
        core.submit(commands.SetEdgeAddresses(id=0, addresses=here, tcp_addresses=here))
        edge.submit(commands.SetTurnSecrets(id=0, secrets=(SECRET,)))
        yield Pair(edge, core, port, tls_port, trust)


@asynccontextmanager
async def _started(engine: Engine) -> AsyncIterator[None]:
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def _edge_config(port: int, workers: int, shared_tls: SharedTls) -> EngineConfig:
    here = (f"{LOOPBACK}:{port}",)
    turn = TurnConfig(
        binds=here, tcp_binds=here, realm="house", allocations=50, allocations_per_user=4, answers_per_second=1_000
    )
    edge = EdgeConfig(workers=workers, public_binds=here, link_bind=f"{LOOPBACK}:0")
    return EngineConfig(shards=0, audio_threads=0, edge=edge, webrtc_tcp_binds=here, turn=turn, shared_tls=shared_tls)


def _shared_tls(port: int, authority: trustme.CA) -> SharedTls:
    issued = authority.issue_cert(TURN_NAME)
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    return SharedTls(
        binds=(f"{LOOPBACK}:{port}",),
        names=("calls.example.org",),
        certificate_chain=tuple(ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in issued.cert_chain_pems),
        private_key_der=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _core_config(dtls: DtlsCertificate) -> EngineConfig:
    return EngineConfig(
        shards=1,
        audio_threads=0,
        certificate_der=dtls.certificate_der,
        private_key_der=dtls.private_key_der,
        ufrag_key=UFRAG_KEY,
    )


def _link_of(edge: Engine, worker: int) -> asyncio.Future[commands.Address]:
    """Where the Core finds a worker, once the engine has started."""
    found: asyncio.Future[commands.Address] = asyncio.get_running_loop().create_future()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgeOpened):
            found.set_result(event.link)

    edge.subscribe_events(edge.edge_id(worker), take)
    return found


def _let_in(edge: Engine, worker: int) -> None:
    """The Core and its visitors."""
    to = edge.edge_id(worker)
    edge.submit(
        commands.SetCoreKey(id=to, core=0, key_id=0, key=UFRAG_KEY),
        commands.SetMediaLink(id=to, core=0, shard=0, key=LINK_KEY),
    )


async def _connect(core: Engine, worker: commands.Address) -> None:
    """Open a link to a worker of the Edge."""
    link, up = core.new_id(0), asyncio.Event()
    core.subscribe_events(link, lambda event: up.set() if isinstance(event, events.MediaLinkUp) else None)
    core.submit(
        commands.OpenMediaLink(id=link, edge=worker, bind_ip=LOOPBACK, key=LINK_KEY, path_bytes_per_second=10_000_000)
    )
    await asyncio.wait_for(up.wait(), 5)


def count(engine: Engine, name: str) -> int:
    """A counter; threads publish theirs a few times a second, and first after a moment."""
    return engine.counters().get(name, 0)


def free_port() -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((LOOPBACK, 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            port: int = udp.getsockname()[1]
            return port
