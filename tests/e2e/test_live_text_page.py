"""Real-time text between a page and linphone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.house import ENTRY, press_video_call
from tests.e2e.test_live_text import said
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.linphone import typist


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_and_a_phone_type_to_each_other(tmp_path: Path) -> None:
    house = ENTRY | {"media": {"shards": 2, "offer_text": True}, "announcements": {}}
    # Where a picture is offered and declined before the text, this linphone ends by a signal of its own.
    house["entries"] = {"demo": {"to": {"user": "agent"}, "video": "none"}}
    async with (
        daemon(tmp_path, changes=house) as server,
        typist("agent", server, tmp_path) as phone,
        chromium(tmp_path) as browser,
    ):
        tab = await press_video_call(server, browser)
        await phone.wait_for("talking")
        await tab.page.get_by_role("button", name="Live text").click(timeout=30_000)
        own = tab.page.get_by_label("You write, and they see each letter")
        await own.press_sequentially("Hek")
        await own.press("Backspace")
        await own.press_sequentially("j ☺")
        async with asyncio.timeout(40):
            while "Hek\bj ☺" not in said(phone):
                await asyncio.sleep(0.1)
        phone.order("type grüß dich")
        await expect(tab.page.locator(".texts .live").first).to_have_text("grüß dich", timeout=30_000)
        assert not tab.errors
