"""A viewer who was never asked for a camera: the browser hides its addresses behind mDNS names that nobody resolves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import page_sees_and_hears
from tests.e2e.rooms import join
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.namespace import namespace


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_viewer_that_offers_local_candidates_only_is_found_by_its_checks(tmp_path: Path) -> None:
    # A loopback address is never hidden but left out, so both sides have one of a veth pair.
    async with (
        namespace() as inside,
        daemon(tmp_path, network=inside) as server,
        chromium(tmp_path, network=inside, fake_permission=False, hide_addresses=True) as browser,
    ):
        publisher = await browser.browser.new_context(permissions=["camera", "microphone"])
        await join(server, browser, "whip", await server.room_token("stage", "publish"), context=publisher)
        viewer = await join(server, browser, "whep", await server.room_token("stage", "view"), gather=True)
        candidates = await viewer.page.evaluate("offered")
        assert candidates
        assert all(candidate.split()[4].endswith(".local") for candidate in candidates), candidates
        await page_sees_and_hears(viewer, seconds=4)
