"""A publisher of one layer whose only viewer has a slow line is asked to send less, and sends less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.rooms import join
from tests.e2e.test_rooms import LEAVE
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

SLOW_BPS = 260_000
SLOW = Impairment(rate_bps=SLOW_BPS, delay_ms=20)
FREE_BPS = 500_000
"""What a camera of 1280 × 720 takes at least, also on a busy machine."""


async def _sends(publisher: Tab, fits: Callable[[float], bool], within_s: float = 60.0) -> None:
    """Until the rate of the publisher's picture fits."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not fits(rate := float(await publisher.page.evaluate(OUTGOING))):
        assert asyncio.get_running_loop().time() < deadline, (rate, describe(publisher))


@pytest.mark.e2e
@pytest.mark.timeout(600)  # the first use compiles the relay
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
        await _sends(publisher, lambda rate: rate >= FREE_BPS)
        await line.set(down=SLOW)
        await _sends(publisher, lambda rate: rate < SLOW_BPS)
        deadline = asyncio.get_running_loop().time() + 40
        while (frames := [item.frames_per_s for item in await viewer.media_over(4) if item.kind == "video"])[0] <= 8:
            assert asyncio.get_running_loop().time() < deadline, (frames, describe(viewer))
        await line.set(down=Impairment())
        await _sends(publisher, lambda rate: rate >= FREE_BPS)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_cap_of_a_track_holds_for_what_chromium_sends(tmp_path: Path) -> None:
    capped = {"media": {"bandwidth": {"track": {"video": "400 kbit/s"}}}}
    async with daemon(tmp_path, changes=capped) as server, chromium(tmp_path) as browser:
        publisher = await join(
            server, browser, "whip", await server.room_token("stage", "publish"), layers=("l", "m", "h")
        )
        await join(server, browser, "whep", await server.room_token("stage", "view"))
        deadline = asyncio.get_running_loop().time() + 40
        while True:
            # It begins with more than it may, until it has been told.
            pictures = [item for item in await publisher.media_over(5) if item.kind == "video" and item.seconds]
            sent = sum(item.bytes * 8 / item.seconds for item in pictures)
            if 50_000 < sent < 420_000:
                break
            assert asyncio.get_running_loop().time() < deadline, (sent, describe(publisher))


FRAMES = """async () => {
    const encoded = async () => Object.fromEntries([...(await pc.getStats()).values()]
        .filter((item) => item.type === "outbound-rtp" && item.kind === "video")
        .map((item) => [item.rid, item.framesEncoded ?? 0]));
    const before = await encoded();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    return Object.fromEntries(Object.entries(await encoded()).map(([rid, frames]) => [rid, frames - (before[rid] ?? 0)]));
}"""
"""Frames that each layer was given in two seconds."""


async def _encodes(publisher: Tab, *wanted: str, within_s: float = 60.0) -> None:
    """Until the publisher encodes these layers and no others."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        frames: dict[str, int] = await publisher.page.evaluate(FRAMES)
        if {rid for rid, count in frames.items() if count > 0} == set(wanted):
            return
        assert asyncio.get_running_loop().time() < deadline, (frames, describe(publisher))


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_a_whip_publisher_gives_up_the_layers_that_nobody_looks_at(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, chromium(tmp_path) as browser:
        bearer = await server.room_token("stage", "publish")
        publisher = await join(server, browser, "whip", bearer, layers=("l", "m", "h"))
        view = await server.room_token("stage", "view")
        # Chromium begins with the small ones, and somebody has to look at the large ones for as long as it needs.
        first = await join(server, browser, "whep", view)
        await _encodes(publisher, "l", "m", "h")
        assert await first.page.evaluate(LEAVE, view) == 200
        await _encodes(publisher, "l")
        viewer = await join(server, browser, "whep", view)
        await _encodes(publisher, "l", "m", "h")
        assert any(item.kind == "video" and item.frames_per_s > 0 for item in await viewer.media_over(3))
