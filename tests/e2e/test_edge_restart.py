"""The only Edge, and the Core, killed and started again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.coming_back import answers, kill_and_wait, page_back, page_gets, phone_back
from tests.e2e.house import both_see_and_hear, contact_ended, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, house
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.sandwich import sandwich

AIM_S = 1.0
"""Media are back so soon after the Edge."""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_media_are_back_within_a_second_when_the_only_edge_was_killed_and_is_back(tmp_path: Path) -> None:
    async with (
        sandwich(names={NAME: "198.51.100.2"}) as rig,
        house(rig, tmp_path) as made,
        chromium(tmp_path, network=rig.internet) as browser,
        baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        tab = await start_call(browser, PAGE)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=2)
        await kill_and_wait(made.edge)
        # What was on its way has come, and nothing more does.
        await asyncio.sleep(1)
        page, shown = await page_gets(tab), (await agent.video_stats()).frames_shown
        await made.edge.process.start()
        back = await answers(made.edge)
        async with asyncio.timeout(20):
            at_page, at_phone = await asyncio.gather(page_back(tab, page), phone_back(agent, shown))
        sys.stdout.write(f"media after the Edge: page {at_page - back:.2f} s, phone {at_phone - back:.2f} s\n")
        assert max(at_page, at_phone) - back < AIM_S
        await made.edge.wait_ready()
        # The page's socket has found its way back by itself, too.
        await expect(tab.page.get_by_role("status")).to_contain_text("You are talking to")
        await both_see_and_hear(tab, agent, seconds=3)
        await tab.page.get_by_role("button", name="Hang up").click()
        await contact_ended(made.core, by="caller", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_is_told_while_the_core_is_away_and_calls_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with (
        sandwich(names={NAME: "198.51.100.2"}) as rig,
        house(rig, tmp_path) as made,
        chromium(tmp_path, network=rig.internet) as browser,
    ):
        tab = await browser.new_tab(PAGE)
        await kill_and_wait(made.core)
        await tab.page.get_by_role("button", name="Video call").click()
        # The Edge holds each of the browser's attempts for five seconds, and meanwhile the page says that it connects.
        await expect(tab.page.get_by_role("status")).to_contain_text("Connecting")
        await expect(tab.page.get_by_text("Our server cannot be reached")).to_be_visible(timeout=60_000)
        await made.core.process.start()
        await made.core.wait_ready()
        await made.edge.wait_ready()
        async with baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent:
            await agent.wait_registered()
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=3)
            await agent.hangup()
