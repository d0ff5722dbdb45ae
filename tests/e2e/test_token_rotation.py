"""The key of visitors' tokens is replaced while a visitor of an Edge talks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, house
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.sandwich import sandwich


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_goes_on_and_the_next_visitor_comes_in_after_the_key_was_replaced(tmp_path: Path) -> None:
    secret = tmp_path / "ufrag.secret"
    secret.touch(mode=0o600)
    secret.write_text("the first key of tokens, long enough for anybody")
    async with (
        sandwich(names={NAME: "198.51.100.2"}) as rig,
        house(rig, tmp_path, changes={"secrets": {"ufrag_key": {"file": str(secret)}}}) as made,
        chromium(tmp_path, network=rig.internet) as browser,
        baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        tab = await start_call(browser, PAGE)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=2)
        secret.write_text("another key of tokens, which is as long as that")
        os.kill(made.core.pid, signal.SIGHUP)
        await made.core.process.wait_for_log('"token_key":')
        await both_see_and_hear(tab, agent, seconds=3)
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()
        tab = await start_call(browser, PAGE)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=2)
        edge = await made.edge.metrics()
        refused = {
            name: value
            for name, value in edge.items()
            if value and any(word in name for word in ("edge_forged_token", "edge_unknown_key"))
        }
        assert refused == {}
