"""TURN at an Edge, on the ports that media has there: aiortc with nothing but a relay reaches the engine of a Core."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator

import aioice.stun
import aioice.turn
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from mediaserver.edge.credentials import CredentialMint, TurnCredentials
from mediaserver.engine.certificate import DtlsCertificate
from tests.engine.browsers import publish, watch
from tests.engine.edge_pair import SECRET, Pair, count, edge_and_core
from tests.engine.phones import LOOPBACK, until


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
async def pair(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate) -> AsyncIterator[Pair]:
    async with edge_and_core(dtls_certificate, workers=request.param) as made:
        yield made


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
        await until(lambda: count(pair.edge, "turn.allocations") == 2, what="two allocations", timeout_s=5)
        await until(lambda: count(pair.edge, "turn.packets_to_peers") > 30, what="packets of clients", timeout_s=5)
        await until(lambda: count(pair.edge, "turn.packets_to_clients") > 30, what="packets of peers", timeout_s=5)
        await until(lambda: count(pair.edge, "edge_paths") == 2, what="two paths", timeout_s=5)
        assert (count(pair.edge, "panics"), count(pair.edge, "drop.handover_full")) == (0, 0)
        # What a relayed visitor sends goes over the link like that of any other, and is counted there.
        await until(lambda: count(pair.core, "link_paths") == 2, what="two paths at the Core", timeout_s=5)
    finally:
        await sender.close()
        await viewer.close()
    await until(lambda: count(pair.edge, "turn.allocations") == 0, what="no allocation", timeout_s=5)


async def test_the_edges_relay_leads_to_its_media_address_and_to_nobody_else(pair: Pair) -> None:
    client = await allocate(pair.port, minted())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour:
        neighbour.bind((LOOPBACK, 0))
        neighbour.setblocking(False)
        client.sendto(b"hello", neighbour.getsockname())
        await until(lambda: count(pair.edge, "drop.turn.peer_denied") >= 1, what="a refusal", timeout_s=5)
        # Nor is there anybody at the relayed address itself.
        neighbour.sendto(b"hello", client.get_extra_info("sockname"))
        with pytest.raises(BlockingIOError):
            neighbour.recv(100)
    before = count(pair.edge, "drop.edge_no_path")
    client.sendto(b"\x16 no check", (LOOPBACK, pair.port))
    await until(
        lambda: count(pair.edge, "drop.edge_no_path") == before + 1,
        what="a datagram without path",
        timeout_s=5,
    )
    client.close()


async def test_credentials_of_another_house_open_nothing(pair: Pair) -> None:
    with pytest.raises(aioice.stun.TransactionFailed) as refused:
        await allocate(pair.port, minted(b"the secret of another house"))
    assert refused.value.response.attributes["ERROR-CODE"][0] == 401
    assert count(pair.edge, "turn.allocations") == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_session_has_its_quota_however_often_it_comes_back(pair: Pair, transport: str) -> None:
    credentials = minted()
    clients = [await allocate(pair.port, credentials, transport) for _ in range(4)]
    for _ in range(3):
        with pytest.raises(aioice.stun.TransactionFailed) as refused:
            await allocate(pair.port, credentials, transport)
        assert refused.value.response.attributes["ERROR-CODE"][0] == 486
    clients.pop().close()
    await until(lambda: count(pair.edge, "turn.allocations") == 3, what="three allocations", timeout_s=5)
    clients.append(await allocate(pair.port, credentials, transport))
    relayed = [client.get_extra_info("sockname") for client in clients]
    assert len(set(relayed)) == 4
    for client in clients:
        client.close()
    await until(lambda: count(pair.edge, "turn.allocations") == 0, what="no allocation", timeout_s=5)


async def test_a_plain_binding_request_is_answered_on_the_port_of_media(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((LOOPBACK, 0))
        client.setblocking(False)
        request = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
        await loop.sock_sendto(client, bytes(request), (LOOPBACK, pair.port))
        answer = aioice.stun.parse_message(await asyncio.wait_for(loop.sock_recv(client, 1_500), 5))
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == client.getsockname()


async def test_over_tls_the_relay_shows_the_edges_own_certificate(pair: Pair) -> None:
    credentials = minted()
    client, _ = await aioice.turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=(LOOPBACK, pair.tls_port),
        username=credentials.username,
        password=credentials.password,
        transport="tcp",
        ssl=unnamed(pair.trust),
    )
    assert client.get_extra_info("sockname")[0] == LOOPBACK
    before = count(pair.edge, "drop.edge_no_path")
    client.sendto(b"\x16 no check", (LOOPBACK, pair.port))
    await until(
        lambda: count(pair.edge, "drop.edge_no_path") == before + 1, what="a datagram without path", timeout_s=5
    )
    client.close()
    await until(lambda: count(pair.edge, "turn.allocations") == 0, what="no allocation", timeout_s=5)


def unnamed(trust: ssl.SSLContext) -> ssl.SSLContext:
    """aioice asks for the address and not for a name, as Firefox does."""
    trust.check_hostname = False
    return trust


async def allocate(port: int, credentials: TurnCredentials, transport: str = "udp") -> asyncio.Transport:
    client, _ = await aioice.turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=(LOOPBACK, port),
        username=credentials.username,
        password=credentials.password,
        transport=transport,
    )
    return client
