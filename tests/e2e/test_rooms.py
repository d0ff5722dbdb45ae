"""WHIP in, WHEP out: one publisher, viewers of several makes beside each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiortc.rtcdtlstransport import SRTP_AES128_CM_SHA1_80

from tests.e2e.house import page_sees_and_hears
from tests.e2e.rooms import join
from tests.peers.aiortc_peer import whep_viewer
from tests.peers.chromium import chromium, describe, streams
from tests.peers.daemon import daemon

LEAVE = """async (token) =>
    (await fetch(resource, {method: "DELETE", headers: {Authorization: "Bearer " + token}})).status"""


@pytest.mark.smoke
@pytest.mark.timeout(240)
async def test_one_publisher_two_chromium_viewers_and_aiortc(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes={"media": {"shards": 2}}) as server, chromium(tmp_path) as browser:
        await join(server, browser, "whip", await server.room_token("stage", "publish"))
        view = await server.room_token("stage", "view")
        viewers = [await join(server, browser, "whep", view) for _ in range(2)]
        url = f"{server.http_url}/v1/rooms/stage/whep"
        async with whep_viewer(url, view, profiles=[SRTP_AES128_CM_SHA1_80]) as third:
            await asyncio.gather(third.wait_frames("video", 30), third.wait_frames("audio", 50))
            assert third.received["audio"].level > 0.001
            assert third.srtp_profiles() == {"SRTP_AES128_CM_SHA1_80"}
            await asyncio.gather(*(page_sees_and_hears(viewer, seconds=3) for viewer in viewers))
        # Chromium is given GCM although it offers CM80 first; only aiortc, which offers nothing else, got CM80.
        counted = "mediaserver_engine_transports_connected_total{"
        connected = {name: value for name, value in (await server.metrics()).items() if name.startswith(counted)}
        assert connected.pop(f'{counted}srtp_profile="AES_CM_128_HMAC_SHA1_80"}}') == 1
        assert sum(connected.values()) == 3
        assert all("GCM" in name for name in connected)
        status = await viewers[0].page.evaluate(LEAVE, view)
        assert status == 200


SENT = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.kind === "video" && item.framesPerSecond > 0)
    .map((item) => [item.rid, item.frameHeight])"""
SEEN = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "inbound-rtp" && item.kind === "video")
    .map((item) => [item.frameHeight, item.freezeCount])"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_viewer_sees_the_largest_layer_that_is_sent(tmp_path: Path) -> None:
    """A busy machine makes Chromium drop its top layers; whatever it sends, the viewer has the largest of it."""
    async with daemon(tmp_path, changes={"media": {"shards": 2}}) as server, chromium(tmp_path) as browser:
        bearer = await server.room_token("stage", "publish")
        publisher = await join(server, browser, "whip", bearer, layers=("l", "m", "h"))
        viewer = await join(server, browser, "whep", await server.room_token("stage", "view"))
        deadline = asyncio.get_running_loop().time() + 60
        while True:
            # Chromium has no figures of a stream before its first packet.
            videos = streams(await viewer.media_over(3), "inbound", "video")
            sent, seen = await publisher.page.evaluate(SENT), await viewer.page.evaluate(SEEN)
            heights = sorted(height for _, height in sent)
            runs = any(video.frames_per_s >= 8 for video in videos)
            if runs and len(heights) >= 2 and seen[0][0] == heights[-1]:
                break
            assert asyncio.get_running_loop().time() < deadline, (sent, seen, videos, describe(viewer))


REMOTE_ADDRESSES = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "remote-candidate").map((item) => item.address)"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_room_is_reached_by_ipv6_alone(tmp_path: Path) -> None:
    changes = {"networks": {"main": {"addresses": [{"bind": "::1"}]}}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path) as browser:
        await join(server, browser, "whip", await server.room_token("stage", "publish"))
        viewer = await join(server, browser, "whep", await server.room_token("stage", "view"))
        await page_sees_and_hears(viewer, seconds=4)
        assert set(await viewer.page.evaluate(REMOTE_ADDRESSES)) == {"::1"}
