"""The Chromium harness on a page that calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.chromium import chromium, describe, streams
from tests.peers.local_page import local_page
from tests.peers.namespace import LOOPBACK, namespace

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(90)]


@pytest.mark.parametrize("where", ["loopback", "namespace"])
async def test_a_page_that_calls_itself_is_measured(tmp_path: Path, where: str) -> None:
    async with namespace() as inside:
        network = inside if where == "namespace" else LOOPBACK
        async with local_page(network) as url, chromium(tmp_path, network=network) as browser:
            tab = await browser.new_tab(url)
            await tab.page.get_by_role("button", name="Video call").click()
            await tab.page.wait_for_function("document.querySelector('video').videoWidth > 0")
            media = await tab.media_over(2.0)
            (video,) = streams(media, "inbound", "video")
            (audio,) = streams(media, "inbound", "audio")
            assert video.frames_per_s > 10, describe(tab)
            assert (video.width, video.packets_lost) == (320, 0)
            assert audio.codec == "opus"
            assert audio.loudness > 0.001
            assert len(streams(media, "outbound", "video")) == 1
            assert "log: called" in tab.console
            assert tab.errors == []


async def test_what_a_page_complains_about_is_kept(tmp_path: Path) -> None:
    async with local_page() as url, chromium(tmp_path) as browser:
        tab = await browser.new_tab(url)
        await tab.page.evaluate("setTimeout(() => { throw new Error('broken'); })")
        await tab.page.wait_for_timeout(100)
        assert any("broken" in error for error in tab.errors)
