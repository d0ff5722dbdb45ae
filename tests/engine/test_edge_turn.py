"""TURN at an Edge, on the ports that media has there: aiortc with nothing but a relay reaches the engine of a Core."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aioice.stun
import aioice.turn
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from mediaserver.edge.credentials import CredentialMint, TurnCredentials
from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import EdgeConfig, EngineConfig, TurnConfig
from mediaserver.engine.engine import Engine
from tests.engine.browsers import publish, watch
from tests.engine.phones import LOOPBACK, until

SECRET = b"the house's own secret"
LINK_KEY = os.urandom(32)
UFRAG_KEY = os.urandom(32)


@dataclass(frozen=True, slots=True)
class Pair:
    """An Edge's engine and a Core's, with a link between them."""

    edge: Engine
    core: Engine
    port: int
    """Of the Edge, for media and for TURN, by UDP and TCP."""


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
async def pair(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate) -> AsyncIterator[Pair]:
    port, workers = free_port(), request.param
    edge = Engine(edge_config(port, workers))
    opened = [link_of(edge, worker) for worker in range(workers)]
    core = Engine(core_config(dtls_certificate))
    async with started(edge), started(core):
        links = [await asyncio.wait_for(address, 5) for address in opened]
        for worker in range(workers):
            let_in(edge, worker)
        up = asyncio.Event()
        for address in links:
            link = core.new_id(0)
            core.subscribe_events(link, lambda event: up.set() if isinstance(event, events.MediaLinkUp) else None)
            core.submit(
                commands.OpenMediaLink(
                    id=link, edge=address, bind_ip=LOOPBACK, key=LINK_KEY, path_bytes_per_second=10_000_000
                )
            )
            await asyncio.wait_for(up.wait(), 5)
            up.clear()
        here = ((LOOPBACK, port),)
        core.submit(commands.SetEdgeAddresses(id=0, addresses=here, tcp_addresses=here))
        edge.submit(commands.SetTurnSecrets(id=0, secrets=(SECRET,)))
        yield Pair(edge, core, port)


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[None]:
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def edge_config(port: int, workers: int) -> EngineConfig:
    here = (f"{LOOPBACK}:{port}",)
    turn = TurnConfig(
        binds=here, tcp_binds=here, realm="house", allocations=50, allocations_per_user=4, answers_per_second=1_000
    )
    edge = EdgeConfig(workers=workers, public_binds=here, link_bind=f"{LOOPBACK}:0")
    return EngineConfig(shards=0, audio_threads=0, edge=edge, webrtc_tcp_binds=here, turn=turn)


def core_config(dtls: DtlsCertificate) -> EngineConfig:
    return EngineConfig(
        shards=1,
        audio_threads=0,
        certificate_der=dtls.certificate_der,
        private_key_der=dtls.private_key_der,
        ufrag_key=UFRAG_KEY,
    )


def link_of(edge: Engine, worker: int) -> asyncio.Future[commands.Address]:
    """Where the Core finds a worker, once the engine has started."""
    found: asyncio.Future[commands.Address] = asyncio.get_running_loop().create_future()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgeOpened):
            found.set_result(event.link)

    edge.subscribe_events(edge.edge_id(worker), take)
    return found


def let_in(edge: Engine, worker: int) -> None:
    """The Core and its visitors."""
    to = edge.edge_id(worker)
    edge.submit(
        commands.SetCoreKey(id=to, core=0, key_id=0, key=UFRAG_KEY),
        commands.SetMediaLink(id=to, core=0, shard=0, key=LINK_KEY),
    )


def free_port() -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((LOOPBACK, 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            port: int = udp.getsockname()[1]
            return port


def minted(secret: bytes = SECRET) -> TurnCredentials:
    return CredentialMint(secret=secret, lifetime_s=600.0, clock=time.time).mint()


def relay_only(port: int, transport: str) -> RTCConfiguration:
    credentials = minted()
    url = f"turn:{LOOPBACK}:{port}?transport={transport}"
    server = RTCIceServer(urls=url, username=credentials.username, credential=credentials.password)
    return RTCConfiguration(iceServers=[server], iceTransportPolicy=RTCIceTransportPolicy.RELAY)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sound_and_picture_go_by_the_edges_relay_both_ways(
    pair: Pair, dtls_certificate: DtlsCertificate, transport: str
) -> None:
    tracks = [AudioStreamTrack(), VideoStreamTrack()]
    sender = await publish(pair.core, dtls_certificate, tracks, configuration=relay_only(pair.port, transport))
    viewer = await watch(pair.core, dtls_certificate, sender, configuration=relay_only(pair.port, transport))
    try:
        frames = viewer.frames
        await until(
            lambda: len(frames["audio"]) >= 25 and len(frames["video"]) >= 10,
            what="25 frames of sound and 10 of picture",
            timeout_s=20,
        )
        await until(lambda: pair.edge.counters()["turn.allocations"] == 2, what="two allocations", timeout_s=5)
        counters = pair.edge.counters()
        assert counters["turn.packets_to_peers"] > 30
        assert counters["turn.packets_to_clients"] > 30
        assert (counters["edge_paths"], counters["panics"], counters["drop.handover_full"]) == (2, 0, 0)
        # What a relayed visitor sends goes over the link like that of any other, and is counted there.
        assert pair.core.counters()["link_paths"] == 2
    finally:
        await sender.close()
        await viewer.close()
    await until(lambda: pair.edge.counters()["turn.allocations"] == 0, what="no allocation", timeout_s=5)


async def test_the_edges_relay_leads_to_its_media_address_and_to_nobody_else(pair: Pair) -> None:
    client = await allocate(pair.port, minted())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour:
        neighbour.bind((LOOPBACK, 0))
        neighbour.setblocking(False)
        client.sendto(b"hello", neighbour.getsockname())
        await until(lambda: pair.edge.counters().get("drop.turn.peer_denied", 0) >= 1, what="a refusal", timeout_s=5)
        # Nor is there anybody at the relayed address itself.
        neighbour.sendto(b"hello", client.get_extra_info("sockname"))
        with pytest.raises(BlockingIOError):
            neighbour.recv(100)
    before = pair.edge.counters().get("drop.edge_no_path", 0)
    client.sendto(b"\x16 no check", (LOOPBACK, pair.port))
    await until(
        lambda: pair.edge.counters().get("drop.edge_no_path", 0) == before + 1,
        what="a datagram without path",
        timeout_s=5,
    )
    client.close()


async def test_credentials_of_another_house_open_nothing(pair: Pair) -> None:
    with pytest.raises(aioice.stun.TransactionFailed) as refused:
        await allocate(pair.port, minted(b"the secret of another house"))
    assert refused.value.response.attributes["ERROR-CODE"][0] == 401
    assert pair.edge.counters().get("turn.allocations", 0) == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_session_has_its_quota_however_often_it_comes_back(pair: Pair, transport: str) -> None:
    credentials = minted()
    clients = [await allocate(pair.port, credentials, transport) for _ in range(4)]
    for _ in range(3):
        with pytest.raises(aioice.stun.TransactionFailed) as refused:
            await allocate(pair.port, credentials, transport)
        assert refused.value.response.attributes["ERROR-CODE"][0] == 486
    clients.pop().close()
    await until(lambda: pair.edge.counters()["turn.allocations"] == 3, what="three allocations", timeout_s=5)
    clients.append(await allocate(pair.port, credentials, transport))
    relayed = [client.get_extra_info("sockname") for client in clients]
    assert len(set(relayed)) == 4
    for client in clients:
        client.close()
    await until(lambda: pair.edge.counters()["turn.allocations"] == 0, what="no allocation", timeout_s=5)


async def test_a_plain_binding_request_is_answered_on_the_port_of_media(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((LOOPBACK, 0))
        client.setblocking(False)
        request = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
        await loop.sock_sendto(client, bytes(request), (LOOPBACK, pair.port))
        answer = aioice.stun.parse_message(await asyncio.wait_for(loop.sock_recv(client, 1_500), 5))
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == client.getsockname()


async def test_a_connection_with_a_token_of_nobody_is_closed_at_once(pair: Pair) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, pair.port)
    check = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
    check.attributes["USERNAME"] = "nobody:peer"
    datagram = bytes(check)
    writer.write(len(datagram).to_bytes(2, "big") + datagram)
    begun = time.monotonic()
    assert await asyncio.wait_for(reader.read(100), 10) == b""
    assert time.monotonic() - begun < 3
    await until(lambda: pair.edge.counters().get("drop.edge_foreign_token", 0) == 1, what="a refusal", timeout_s=5)
    writer.close()


async def allocate(port: int, credentials: TurnCredentials, transport: str = "udp") -> asyncio.Transport:
    client, _ = await aioice.turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=(LOOPBACK, port),
        username=credentials.username,
        password=credentials.password,
        transport=transport,
    )
    return client
