"""VP9 with spatial layers inside one stream, from Chromium to Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.rooms import join
from tests.peers.chromium import chromium, describe, streams
from tests.peers.daemon import daemon

SENT = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.kind === "video")
    .map((item) => [item.scalabilityMode, item.frameHeight, item.framesPerSecond])"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["L3T3_KEY", "L3T3", "L1T2"])
async def test_a_viewer_sees_the_largest_spatial_layer_that_is_sent(tmp_path: Path, mode: str) -> None:
    changes = {"media": {"shards": 2, "video_codecs": ["VP9", "VP8", "H264"]}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path) as browser:
        bearer = await server.room_token("stage", "publish")
        # No smaller, or Chromium makes fewer layers of it, and no larger than a busy machine encodes.
        publisher = await join(server, browser, "whip", bearer, scalability=mode, size=(960, 540))
        viewer = await join(server, browser, "whep", await server.room_token("stage", "view"))
        deadline = asyncio.get_running_loop().time() + 60
        while True:
            # Chromium has no figures of a stream before its first packet.
            seen = streams(await viewer.media_over(3), "inbound", "video")
            sent = await publisher.page.evaluate(SENT)
            assert all(video.codec in ("", "VP9") for video in seen)
            ((used, height, _),) = sent
            if used == mode and any(height == video.height and video.frames_per_s >= 5 for video in seen):
                break
            assert asyncio.get_running_loop().time() < deadline, (sent, seen, describe(viewer))
