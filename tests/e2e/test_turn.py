"""A visitor's network lets nothing through but TURN: sound and picture go by the relay, into the daemon itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.house import ENTRY, both_see_and_hear, contact_ended, phone, press_video_call, show_my_camera
from tests.e2e.visitors import Visitor
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.namespace import namespace

TURN_PORT = 3478
RELAYED = 'mediaserver_engine_turn_packets_to_peers_total{shard="relay"}'


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_goes_by_the_closed_relay_where_nothing_else_gets_through(tmp_path: Path) -> None:
    changes = {**ENTRY, "listeners": {"turn": {"port": TURN_PORT}, "webrtc": {"tcp": None}}}
    async with (
        namespace() as inside,
        daemon(tmp_path, changes=changes, network=inside) as server,
        chromium(tmp_path, network=inside) as browser,
        baresip(phone(server, "udp", ""), tmp_path, network=inside) as agent,
    ):
        await inside.close_udp(server.ports.media)
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=8)
        assert await Visitor(tab).ways() == {"relay udp"}
        metrics = await server.metrics()
        assert metrics[RELAYED] > 100
        assert metrics['mediaserver_engine_drops_total{reason="turn.unrouted",shard="relay"}'] < 20
        await agent.hangup()
        await contact_ended(server, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_where_the_media_port_is_open_nobody_goes_by_the_relay(tmp_path: Path) -> None:
    changes = {**ENTRY, "listeners": {"turn": {"port": TURN_PORT}}}
    async with (
        namespace() as inside,
        daemon(tmp_path, changes=changes, network=inside) as server,
        chromium(tmp_path, network=inside) as browser,
        baresip(phone(server, "udp", ""), tmp_path, network=inside) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=4)
        # A browser begins with the first way that works.
        async with asyncio.timeout(15):
            while any(way.startswith("relay") for way in await Visitor(tab).ways()):
                await asyncio.sleep(0.1)
        await agent.hangup()
        await contact_ended(server, by="agent", reason="hangup")
