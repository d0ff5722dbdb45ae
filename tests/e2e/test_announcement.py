"""The greeting: heard and seen at once, and no hole in the sound when the phone with other codecs takes over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.house import ENTRY, announcement_loaded, both_see_and_hear, phone, press_video_call, show_my_camera
from tests.peers.baresip import PCMU, baresip
from tests.peers.chromium import chromium, streams
from tests.peers.daemon import daemon

LONGEST_GAP_MS = """async (seconds) => {
    const pc = globalThis.__connections.at(-1);
    const receiver = pc.getReceivers().find((candidate) => candidate.track.kind === "audio");
    let packets = -1, since = performance.now(), longest = 0;
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
        for (const report of (await receiver.getStats()).values()) {
            if (report.type !== "inbound-rtp") continue;
            if (report.packetsReceived !== packets) { packets = report.packetsReceived; since = performance.now(); }
            longest = Math.max(longest, performance.now() - since);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return longest;
}"""


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_the_greeting_gives_way_to_a_phone_with_pcmu_and_h264_without_a_gap(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", "", audio=(PCMU,), video=("H264",), answer_after_s=6), tmp_path) as agent,
    ):
        await announcement_loaded(server)
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await asyncio.sleep(2)
        media = await tab.media_over(2)
        (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
        assert (audio.codec, video.codec) == ("opus", "VP8")
        assert audio.loudness > 0.005
        assert video.frames_per_s >= 10
        gap = asyncio.ensure_future(tab.page.evaluate(LONGEST_GAP_MS, 8))
        await agent.wait_established()
        await show_my_camera(tab)
        assert await gap <= 200
        media = await tab.media_over(2)
        (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
        assert (audio.codec, video.codec) == ("PCMU", "H264")
        await both_see_and_hear(tab, agent, seconds=4)
