"""A visitor of the internet and a phone inside, with a zone between two firewalls: the inner one lets nothing in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, metric_becomes, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, house
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.sandwich import VISITOR, sandwich


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_calls_an_agent_inside_through_the_edge(tmp_path: Path) -> None:
    async with sandwich(names={NAME: "198.51.100.2"}) as rig:
        assert rig.edges[0].public == "198.51.100.2"
        async with (
            house(rig, tmp_path) as made,
            chromium(tmp_path, network=rig.internet) as browser,
            baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent,
        ):
            await agent.wait_registered()
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=5)
            # The browser tries all ways, and gives up those that it does not take.
            await metric_becomes(made.edge, 'mediaserver_engine_edge_paths{shard="edge0"}', 1)
            # The Core knows visitors by their own addresses, not by the Edge's.
            assert f'"source": "{VISITOR}"' in made.core.log()
            await agent.hangup()
            await contact_ended(made.core, by="agent", reason="hangup")
            await metric_becomes(made.edge, 'mediaserver_engine_edge_paths{shard="edge0"}', 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_lives_while_the_inner_link_is_cut_for_ten_seconds(tmp_path: Path) -> None:
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
        await rig.cut()
        await asyncio.sleep(10)
        await rig.restore()
        await both_see_and_hear(tab, agent, seconds=3)
        await agent.hangup()
        await contact_ended(made.core, by="agent", reason="hangup")
