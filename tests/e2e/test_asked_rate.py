"""A publisher of one layer whose only viewer has a slow line is asked to send less, and sends less."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.rooms import join
from tests.peers.chromium import Tab, chromium, describe
from tests.peers.daemon import daemon
from tests.peers.impaired_line import Impairment, impaired_lines

OUTGOING = """async () => {
    const sent = async () => [...(await pc.getStats()).values()]
        .filter((item) => item.type === "outbound-rtp" && item.kind === "video").map((item) => item.bytesSent)[0];
    const before = await sent();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return (await sent() - before) * 8 / 3;
}"""
"""Bits per second of the picture over three seconds."""

SLOW = Impairment(rate_bps=260_000, delay_ms=20)
FREE_BPS = 500_000
"""What a camera of 1280 × 720 takes at least, also on a busy machine."""


async def _outgoing(publisher: Tab) -> float:
    return float(await publisher.page.evaluate(OUTGOING))


@pytest.mark.e2e
@pytest.mark.timeout(150)  # the first use compiles the relay
async def test_a_publisher_sends_what_its_only_viewers_line_carries_and_more_when_that_recovers(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, impaired_lines() as relay, chromium(tmp_path) as browser:
        line = await relay.line((server.host, server.ports.media))
        publisher = await join(server, browser, "whip", await server.room_token("stage", "publish"), scalability="L1T1")
        answer = await publisher.page.evaluate("pc.remoteDescription.sdp")
        assert "goog-remb" in answer
        assert "transport-cc" in answer
        context = await browser.browser.new_context(ignore_https_errors=True)
        await context.add_init_script(line.redirect())
        viewer = await join(server, browser, "whep", await server.room_token("stage", "view"), context=context)
        deadline = asyncio.get_running_loop().time() + 30
        while (free := await _outgoing(publisher)) < FREE_BPS:
            assert asyncio.get_running_loop().time() < deadline, (free, describe(publisher))
        await line.set(down=SLOW)
        await asyncio.sleep(6)
        slow = await _outgoing(publisher)
        await viewer.media_over(1)
        frames = [item.frames_per_s for item in await viewer.media_over(5) if item.kind == "video"]
        await line.set(down=Impairment())
        deadline = asyncio.get_running_loop().time() + 40
        while (back := await _outgoing(publisher)) < 0.8 * free:
            assert asyncio.get_running_loop().time() < deadline, (free, slow, back)
        assert slow < 260_000, (free, slow, back)
        assert frames[0] > 10, (frames, describe(viewer))


@pytest.mark.e2e
@pytest.mark.timeout(90)
async def test_a_cap_of_a_track_holds_for_what_chromium_sends(tmp_path: Path) -> None:
    capped = {"media": {"bandwidth": {"track": {"video": "400 kbit/s"}}}}
    async with daemon(tmp_path, changes=capped) as server, chromium(tmp_path) as browser:
        publisher = await join(
            server, browser, "whip", await server.room_token("stage", "publish"), layers=("l", "m", "h")
        )
        await join(server, browser, "whep", await server.room_token("stage", "view"))
        await asyncio.sleep(6)
        sent = sum(item.bytes for item in await publisher.media_over(5) if item.kind == "video") * 8 / 5
        assert 50_000 < sent < 420_000, (sent, describe(publisher))
