"""A daemon that a proxy shows beneath a path: one caller, by sound and picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import ENTRY, phone
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.path_proxy import PathProxy


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_caller_beneath_a_path_reaches_a_phone(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes={**ENTRY, "web": {"path_prefix": "/kunden/video/"}}) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        proxy = PathProxy(server.http_url, "/kunden/video", strips=True)
        await proxy.start()
        try:
            tab = await browser.new_tab(f"{proxy.url}/call/demo")
            await tab.page.get_by_role("button", name="Video call").click()
            await agent.wait_established()
            await tab.page.get_by_role("button", name="Hang up", exact=True).click()
            await agent.wait_closed()
        finally:
            await proxy.stop()
        assert (proxy.elsewhere, tab.errors) == ([], [])
