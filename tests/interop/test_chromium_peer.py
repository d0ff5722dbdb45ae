"""The Chromium harness on a page that calls itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers.chromium import chromium, describe, streams
from tests.peers.local_page import local_page
from tests.peers.namespace import LOOPBACK, namespace

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


@pytest.mark.parametrize("where", ["loopback", "namespace"])
async def test_a_page_that_calls_itself_is_measured(tmp_path: Path, where: str) -> None:
    async with namespace() as inside:
        network = inside if where == "namespace" else LOOPBACK
        async with local_page(network) as url, chromium(tmp_path, network=network) as browser:
            tab = await browser.new_tab(url)
            await tab.page.get_by_role("button", name="Video call").click()
            await tab.page.wait_for_function("document.querySelector('video').videoWidth > 0")
            deadline = asyncio.get_running_loop().time() + 40
            while True:
                media = await tab.media_over(2.0)
                (video,), (audio,) = streams(media, "inbound", "video"), streams(media, "inbound", "audio")
                if video.frames_per_s > 8 and audio.loudness > 0.001:
                    break
                assert asyncio.get_running_loop().time() < deadline, (media, describe(tab))
            assert video.width == 320
            assert audio.codec == "opus"
            assert len(streams(media, "outbound", "video")) == 1
            assert "log: called" in tab.console
            assert tab.errors == []


async def test_what_a_page_complains_about_is_kept(tmp_path: Path) -> None:
    async with local_page() as url, chromium(tmp_path) as browser:
        tab = await browser.new_tab(url)
        await tab.page.evaluate("setTimeout(() => { throw new Error('broken'); })")
        async with asyncio.timeout(30):
            while not any("broken" in error for error in tab.errors):
                await asyncio.sleep(0.05)
