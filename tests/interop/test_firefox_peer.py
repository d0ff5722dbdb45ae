"""The Firefox harness on a page that calls itself, inside a namespace of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers.chromium import streams
from tests.peers.firefox import ScriptError, firefox
from tests.peers.local_page import local_page
from tests.peers.namespace import namespace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


async def test_a_page_that_calls_itself_is_measured(tmp_path: Path) -> None:
    async with namespace() as inside, local_page(inside) as url, firefox(tmp_path, inside) as browser:
        await browser.goto(url)
        await browser.click("button", "Video call")
        await browser.wait_for("document.querySelector('video').videoWidth > 0")
        async with asyncio.timeout(40):
            while True:
                media = await browser.media_over(2.0)
                (video,), (audio,) = streams(media, "inbound", "video"), streams(media, "inbound", "audio")
                if video.frames_per_s > 8 and audio.loudness > 0.001:
                    break
        assert audio.codec == "opus"
        assert "info: called" in browser.console
        assert browser.errors == []
        with pytest.raises(ScriptError, match="broken"):
            await browser.evaluate("() => { throw new Error('broken'); }")
