"""Media through an Edge to which no UDP passes: frames go over the link's TLS connection, both ways."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from mediaserver.engine import commands
from mediaserver.engine.certificate import DtlsCertificate
from tests.engine.browsers import publish, watch
from tests.engine.edges import Edge, core_behind, start_edge
from tests.engine.phones import LOOPBACK, until


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture
def silent() -> Iterator[commands.Address]:
    """A socket that never answers, as one behind a firewall that drops."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    started = await start_edge()
    yield started
    await started.engine.stop()


@pytest.mark.parametrize("shards", [1, 2])
async def test_sound_and_picture_go_over_tls_both_ways(
    edge: Edge, silent: commands.Address, dtls_certificate: DtlsCertificate, shards: int
) -> None:
    async with core_behind(edge, dtls_certificate, shards=shards, udp=silent) as (core, _):
        await until(lambda: core.counters()["links_over_tls"] == shards, what="links over TLS", timeout_s=5)
        sender = await publish(core, dtls_certificate, [AudioStreamTrack(), VideoStreamTrack()])
        viewer = await watch(core, dtls_certificate, sender)
        try:
            frames = viewer.frames
            await until(
                lambda: len(frames["audio"]) >= 25 and len(frames["video"]) >= 10,
                what="25 frames of sound and 10 of picture",
                timeout_s=20,
            )
            await until(lambda: edge.engine.counters().get("edge_paths") == 2, what="two paths", timeout_s=5)
            await until(lambda: edge.engine.counters()["links_over_tls"] == shards, what="told so", timeout_s=5)
            for name in ("link_bytes_sent", "link_bytes_received", "link_frames_sent", "link_frames_received"):
                of_shards = [core.counters()[f"shard{shard}.{name}"] for shard in range(shards)]
                assert min(edge.engine.counters()[f"edge0.{name}"], *of_shards) > 0, name
            for counters in (core.counters(), edge.engine.counters()):
                assert counters["link.link_media_frames_sent"] > 50
                assert counters["link.link_media_frames_received"] > 50
                assert counters["panics"] == 0
                lost = {name: value for name, value in counters.items() if name.startswith("drop.link") and value}
                assert lost == {}
                lost = {name: value for name, value in counters.items() if "link.drop" in name and value}
                assert lost == {}
        finally:
            for browser in (sender, viewer):
                await browser.close()
