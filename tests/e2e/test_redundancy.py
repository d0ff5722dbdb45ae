"""Redundant audio of Chromium: as it is to Chromium, packet by packet to aiortc, which does not know it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.rooms import join
from tests.peers.aiortc_peer import whep_viewer
from tests.peers.chromium import chromium, describe, streams
from tests.peers.daemon import daemon

BYTES_PER_PACKET = """async () => {
    const all = [...(await pc.getStats()).values()];
    const sound = all.find((item) => item.type === "outbound-rtp" && item.kind === "audio");
    return sound.bytesSent / sound.packetsSent;
}"""
FORMATS = """() => pc.remoteDescription.sdp.split("\\r\\n").filter((line) => line.startsWith("a=rtpmap:"))"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_redundant_sound_is_heard_by_who_takes_it_and_by_who_does_not(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes={"media": {"shards": 2}}) as server, chromium(tmp_path) as browser:
        publisher = await join(server, browser, "whip", await server.room_token("stage", "publish"), redundancy=True)
        view = await server.room_token("stage", "view")
        viewer = await join(server, browser, "whep", view)
        async with whep_viewer(f"{server.http_url}/v1/rooms/stage/whep", view) as plain:
            await plain.wait_frames("audio", 100)
            deadline = asyncio.get_running_loop().time() + 40
            while True:
                # Chromium has no figures of a stream before its first packet.
                heard = streams(await viewer.media_over(2), "inbound", "audio")
                if any(audio.loudness > 0.01 for audio in heard) and plain.received["audio"].level > 0.001:
                    break
                assert asyncio.get_running_loop().time() < deadline, (plain.received, describe(viewer))
        # Chromium names the codec inside in its statistics; each packet of some 48 bytes holds the one before it, too.
        assert await publisher.page.evaluate(BYTES_PER_PACKET) > 70
        assert any("red/48000/2" in line for line in await viewer.page.evaluate(FORMATS))
        drops = {name: value for name, value in (await server.metrics()).items() if "malformed_descriptor" in name}
        assert not any(drops.values()), drops
