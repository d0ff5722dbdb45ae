"""The only Edge, killed and started again under visitors who came by TCP or TURN: what carried them went with it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear
from tests.e2e.test_closed_networks import RELAY_ONLY, ends, scene, talk, ways
from tests.e2e.test_edge_restart import answers, kill_and_wait, page_back, page_gets, phone_back
from tests.peers.firewall import Openings
from tests.peers.sandwich import USUAL

AIM_S = 4.0
"""Media are back so soon after the Edge: the page finds its way to the server again, and asks for another one for media."""
TLS_AIM_S = 15.0
"""Where nothing but port 443 is open Chromium takes longer to come by its relay again."""


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("admitted", "script", "way", "aim_s"),
    [
        (Openings(tcp=(443, 3478)), "", "direct tcp", AIM_S),
        (USUAL, RELAY_ONLY, "relay udp", AIM_S),
        (Openings(tcp=(443,)), "", "relay tls", TLS_AIM_S),
    ],
    ids=["tcp", "turn-udp", "turn-tls"],
)
async def test_media_come_by_the_same_way_soon_after_the_edge_is_back(
    tmp_path: Path, admitted: Openings, script: str, way: str, aim_s: float
) -> None:
    async with scene(tmp_path, admitted=admitted) as there:
        tab = await talk(there, script=script)
        assert await ways(tab) == {way}
        await kill_and_wait(there.made.edge)
        # What was on its way has come, and nothing more does.
        await asyncio.sleep(1)
        page, shown = await page_gets(tab), (await there.agent.video_stats()).frames_shown
        await there.made.edge.process.start()
        back = await answers(there.made.edge)
        async with asyncio.timeout(60):
            at_page, at_phone = await asyncio.gather(page_back(tab, page), phone_back(there.agent, shown))
        times = f"page {at_page - back:.2f} s, phone {at_phone - back:.2f} s"
        sys.stdout.write(f"media after the Edge ({way}): {times}\n")
        assert max(at_page, at_phone) - back < aim_s
        await both_see_and_hear(tab, there.agent, seconds=3)
        assert way in await ways(tab)
        await ends(there)
        await tab.page.close()
