"""The greeting: heard and seen at once, and no hole in the sound when the phone with other codecs takes over."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.e2e.house import ENTRY, announcement_loaded, both_see_and_hear, phone, press_video_call, show_my_camera
from tests.peers.baresip import PCMU, baresip
from tests.peers.chromium import chromium, streams
from tests.peers.daemon import daemon

FIGURES = logging.getLogger(__name__)

LONGEST_GAP_MS = """async (seconds) => {
    const pc = globalThis.__connections.at(-1);
    const receiver = pc.getReceivers().find((candidate) => candidate.track.kind === "audio");
    let packets = -1, since = performance.now(), looked = since, away = 0, longest = 0;
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
        // What the page itself does not see, because it does not run, is no gap.
        away = Math.max(away, performance.now() - looked);
        looked = performance.now();
        for (const report of (await receiver.getStats()).values()) {
            if (report.type !== "inbound-rtp") continue;
            if (report.packetsReceived !== packets) { packets = report.packetsReceived; since = performance.now(); }
            longest = Math.max(longest, performance.now() - since);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return [longest, away];
}"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_the_greeting_gives_way_to_a_phone_with_pcmu_and_h264_without_a_gap(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", "", audio=(PCMU,), video=("H264",), answer_after_s=None), tmp_path) as agent,
    ):
        await announcement_loaded(server)
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        async with asyncio.timeout(30):
            while True:
                media = await tab.media_over(2)
                audio, video = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
                if len(audio) == len(video) == 1 and audio[0].loudness > 0.005 and video[0].frames_per_s >= 8:
                    break
        assert (audio[0].codec, video[0].codec) == ("opus", "VP8")
        measuring = asyncio.ensure_future(tab.page.evaluate(LONGEST_GAP_MS, 8))
        await agent.wait_incoming()
        await agent.accept()
        await agent.wait_established()
        await show_my_camera(tab)
        gap, away = await measuring
        FIGURES.info("longest gap %.0f ms, the page looked away for %.0f ms at most", gap, away)
        assert gap <= 500 + 2 * away, (gap, away)
        async with asyncio.timeout(30):
            while {item.codec for item in await tab.media() if item.direction == "inbound"} != {"PCMU", "H264"}:
                await asyncio.sleep(0.2)
        await both_see_and_hear(tab, agent, seconds=4)
