"""WebRTC through an Edge: aiortc speaks to the Edge's socket alone, ICE, DTLS and SRTP end in the Core."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import CommandRefused
from tests.engine.browsers import Browser, publish, watch
from tests.engine.edges import CORE_ID, Edge, core_behind, start_edge
from tests.engine.phones import LOOPBACK, until


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    started = await start_edge()
    yield started
    await started.engine.stop()


@pytest.fixture
async def browsers() -> AsyncIterator[list[Browser]]:
    opened: list[Browser] = []
    yield opened
    for browser in opened:
        await browser.close()


@pytest.mark.parametrize("shards", [1, 2])
async def test_sound_and_picture_go_through_an_edge_both_ways(
    edge: Edge, dtls_certificate: DtlsCertificate, browsers: list[Browser], shards: int
) -> None:
    async with core_behind(edge, dtls_certificate, shards=shards) as (core, _):
        sender = await publish(core, dtls_certificate, [AudioStreamTrack(), VideoStreamTrack()])
        browsers.append(sender)
        assert sender.local.addresses == (edge.public,)
        viewer = await watch(core, dtls_certificate, sender)
        browsers.append(viewer)
        frames = viewer.frames
        await until(
            lambda: len(frames["audio"]) >= 25 and len(frames["video"]) >= 10,
            what="25 frames of sound and 10 of picture",
            timeout_s=20,
        )
        await until(lambda: edge.engine.counters().get("edge_paths") == 2, what="two paths", timeout_s=5)
        carried = edge.engine.counters()
        dropped = {name: value for name, value in carried.items() if name.startswith("drop.") and value}
        assert dropped == {}
        assert carried["panics"] == core.counters()["panics"] == 0
        assert core.counters()["links_up"] == shards
        assert sum(core.counters()[f"drop.link_{name}"] for name in ("no_path", "unknown_path", "forged_control")) == 0
        for browser in browsers:
            await browser.close()
            core.close_transport(browser.local.id)
        await until(
            lambda: edge.engine.counters()["edge_paths"] == 0, what="paths closed with their transports", timeout_s=5
        )


async def test_media_is_back_after_a_restart_of_the_edge(
    dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    edge = await start_edge()
    async with core_behind(edge, dtls_certificate, shards=1) as (core, joint):
        sender = await publish(core, dtls_certificate, [AudioStreamTrack()])
        browsers.append(sender)
        track = sender.section("audio").track

        async def packets() -> int:
            [stats] = await core.stats([sender.local.id])
            return next(item.packets for item in stats.up if item.id == track)

        await until(lambda: core.connected.total() == 1, what="connected", timeout_s=10)
        await edge.engine.stop()
        await asyncio.sleep(0.5)
        before = await packets()
        again = await start_edge(edge.public[1], edge.link[1])
        try:
            await joint.announce(again)
            returned = asyncio.get_running_loop().time()
            while await packets() < before + 10:
                assert asyncio.get_running_loop().time() - returned < 5
                await asyncio.sleep(0.02)
            assert core.counters()["transports"] == 1
        finally:
            await again.engine.stop()


async def test_an_edge_that_is_left_names_those_whose_media_goes_over_it(
    edge: Edge, dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    async with core_behind(edge, dtls_certificate, shards=1) as (core, joint):
        sender = await publish(core, dtls_certificate, [AudioStreamTrack()])
        browsers.append(sender)
        await until(lambda: core.connected.total() == 1, what="a connection", timeout_s=20)
        told: list[events.AnyEvent] = []
        core.subscribe_events(sender.local.id, told.append)
        await core.request(commands.LeaveMediaLink(id=joint.links[0]))
        assert events.EdgeLeft(id=sender.local.id) in told
        swept = await core.request(commands.SweepMediaLink(id=joint.links[0]))
        assert isinstance(swept, events.MediaLinkSwept)
        assert swept.transports == 1
        # There is no other way, so it stays.
        await until(lambda: core.counters().get("link_paths") == 1, what="the path", timeout_s=5)
        with pytest.raises(CommandRefused):
            await core.request(commands.LeaveMediaLink(id=joint.links[0] + 1))


async def test_a_stranger_gets_no_answer_and_leaves_nothing(edge: Edge, dtls_certificate: DtlsCertificate) -> None:
    async with core_behind(edge, dtls_certificate, shards=1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((LOOPBACK, 0))
            stranger.setblocking(False)
            stranger.sendto(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), edge.public)
            stranger.sendto(b"\x80\x00" + bytes(170), edge.public)
            stranger.sendto(b"\x01\x00\x00\x04\x00\x00\x00\x01data", edge.link)
            await until(
                lambda: (
                    edge.engine.counters().get("drop.edge_no_path") == 2
                    and edge.engine.counters().get("drop.edge_unproven_link") == 1
                ),
                what="each counted by name",
                timeout_s=5,
            )
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
        assert edge.engine.counters()["edge_paths"] == 0


async def test_a_session_that_was_revoked_is_not_let_in(
    edge: Edge, dtls_certificate: DtlsCertificate, browsers: list[Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with core_behind(edge, dtls_certificate, shards=1) as (core, _):
        original = core.open_ice_transport

        async def open_and_revoke() -> object:
            local = await original()
            await edge.engine.request(commands.RevokeSessions(id=edge.id, core=CORE_ID, sessions=(local.id,)))
            return local

        monkeypatch.setattr(core, "open_ice_transport", open_and_revoke)
        browsers.append(await publish(core, dtls_certificate, [AudioStreamTrack()]))
        await until(
            lambda: edge.engine.counters().get("drop.edge_revoked_token", 0) > 0, what="refused by name", timeout_s=10
        )
        assert core.connected.total() == 0


async def test_an_edge_refuses_what_is_for_others(edge: Edge) -> None:
    with pytest.raises(CommandRefused, match="32 bytes"):
        await edge.engine.request(commands.SetMediaLink(id=edge.id, core=1, shard=0, key=b"short"))
    with pytest.raises(CommandRefused, match="invalid command"):
        await edge.engine.request(commands.OpenIceTransport(id=edge.id))
    await edge.engine.request(commands.Ping(id=edge.id))
