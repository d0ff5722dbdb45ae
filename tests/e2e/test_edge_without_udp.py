"""UDP that is blocked between inside and the zone: media go over the link's TLS connection, and back when UDP passes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, metric_becomes, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, House, house
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import ADMIN_TOKEN
from tests.peers.sandwich import sandwich

OVER_TLS = 'mediaserver_engine_links_over_tls{shard="edge0"}'
SHARDS = 2


async def _media_go_by(made: House, way: str) -> None:
    """Until the Core tells its operators that media go this way; the Edge knows it by itself."""
    async with asyncio.timeout(30):
        while True:
            _, text = await made.core.request("GET", f"{made.core.admin_url}/v1/edges", token=ADMIN_TOKEN)
            [edge] = json.loads(text)["items"]
            assert (edge["name"], edge["state"]) == ("dmz", "ready")
            if edge["media"] == way:
                return
            await asyncio.sleep(0.05)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_calls_an_agent_inside_while_udp_is_blocked_between_inside_and_the_zone(
    tmp_path: Path,
) -> None:
    async with sandwich(names={NAME: "198.51.100.2"}) as rig:
        await rig.block_inner_udp()
        async with (
            house(rig, tmp_path) as made,
            chromium(tmp_path, network=rig.internet) as browser,
            baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent,
        ):
            await metric_becomes(made.edge, OVER_TLS, SHARDS)
            await agent.wait_registered()
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=5)
            await _media_go_by(made, "tls")
            assert "over TLS: UDP does not pass between here and the Edge" in made.core.log()
            await agent.hangup()
            await contact_ended(made.core, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_lives_when_udp_is_blocked_in_its_middle_and_goes_back_when_it_passes(tmp_path: Path) -> None:
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
        await _media_go_by(made, "udp")
        await rig.block_inner_udp()
        # A link without a path looks every five seconds only.
        await metric_becomes(made.edge, OVER_TLS, SHARDS)
        await both_see_and_hear(tab, agent, seconds=4)
        await _media_go_by(made, "tls")
        await rig.block_inner_udp(False)
        await metric_becomes(made.edge, OVER_TLS, 0)
        await both_see_and_hear(tab, agent, seconds=4)
        await _media_go_by(made, "udp")
        await agent.hangup()
        await contact_ended(made.core, by="agent", reason="hangup")
