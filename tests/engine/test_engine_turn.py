"""The relay in closed mode: aiortc with nothing but TURN reaches the engine's own media, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import aioice.turn
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from mediaserver.edge.credentials import CredentialMint
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import TurnConfig
from mediaserver.engine.engine import Engine
from tests.engine.browsers import Browser, publish, watch
from tests.engine.conftest import running
from tests.engine.phones import LOOPBACK, until

SECRET = b"what makes credentials"
MINT = CredentialMint(secret=SECRET, lifetime_s=600.0, clock=time.time)


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        found: int = probe.getsockname()[1]
    return found


@pytest.fixture(params=[1, 2], ids=["one-shard", "two-shards"])
async def relay(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate, port: int) -> AsyncIterator[Engine]:
    turn = TurnConfig(
        binds=(f"{LOOPBACK}:{port}",),
        realm="mediaserver",
        secrets=(SECRET,),
        allocations=50,
        allocations_per_user=10,
        answers_per_second=1_000,
    )
    async with running(dtls_certificate, shards=request.param, turn=turn) as started:
        yield started


@pytest.fixture
async def browsers() -> AsyncIterator[list[Browser]]:
    opened: list[Browser] = []
    yield opened
    for browser in opened:
        await browser.close()


def relay_only(port: int) -> RTCConfiguration:
    credentials = MINT.mint()
    server = RTCIceServer(
        urls=f"turn:{LOOPBACK}:{port}?transport=udp", username=credentials.username, credential=credentials.password
    )
    return RTCConfiguration(iceServers=[server], iceTransportPolicy=RTCIceTransportPolicy.RELAY)


async def test_sound_and_picture_go_by_the_relay_both_ways(
    relay: Engine, port: int, dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    tracks = [AudioStreamTrack(), VideoStreamTrack()]
    sender = await publish(relay, dtls_certificate, tracks, configuration=relay_only(port))
    browsers.append(sender)
    viewer = await watch(relay, dtls_certificate, sender, configuration=relay_only(port))
    browsers.append(viewer)
    frames = viewer.frames
    await until(
        lambda: len(frames["audio"]) >= 25 and len(frames["video"]) >= 10,
        what="25 frames of sound and 10 of picture",
        timeout_s=20,
    )
    await until(lambda: relay.counters()["turn.allocations"] == 2, what="two allocations", timeout_s=5)
    counters = relay.counters()
    assert counters["turn.packets_to_peers"] > 30
    assert counters["turn.packets_to_clients"] > 30
    assert counters["panics"] == 0
    assert counters["drop.handover_full"] == 0
    for browser in list(browsers):
        await browser.close()
    # aioice gives its relayed addresses back.
    await until(lambda: relay.counters()["turn.allocations"] == 0, what="no allocation", timeout_s=5)


async def test_the_relay_leads_to_nobody_else(relay: Engine, port: int) -> None:
    credentials = MINT.mint()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour:
        neighbour.bind((LOOPBACK, 0))
        neighbour.setblocking(False)
        transport, _ = await aioice.turn.create_turn_endpoint(
            asyncio.DatagramProtocol,
            server_addr=(LOOPBACK, port),
            username=credentials.username,
            password=credentials.password,
        )
        # The address is that of the engine's media, the port is not.
        transport.sendto(b"hello", neighbour.getsockname())
        await until(lambda: relay.counters().get("drop.turn.peer_denied", 0) >= 1, what="a refusal", timeout_s=5)
        with pytest.raises(BlockingIOError):
            neighbour.recv(100)
        transport.close()
