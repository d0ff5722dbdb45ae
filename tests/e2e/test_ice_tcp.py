"""A visitor's network lets no UDP through: sound and picture go by TCP, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import (
    ENTRY,
    both_see_and_hear,
    contact_ended,
    metric_becomes,
    phone,
    press_video_call,
    show_my_camera,
)
from tests.e2e.visitors import Visitor
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.namespace import namespace

OPEN = 'mediaserver_engine_streams_open{shard="streams"}'


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_goes_by_tcp_where_udp_is_closed(tmp_path: Path) -> None:
    async with (
        namespace() as inside,
        daemon(tmp_path, changes=ENTRY, network=inside) as server,
        chromium(tmp_path, network=inside) as browser,
        baresip(phone(server, "udp", ""), tmp_path, network=inside) as agent,
    ):
        await inside.close_udp(server.ports.media)
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=8)
        assert await Visitor(tab).ways() == {"direct tcp"}
        metrics = await server.metrics()
        assert metrics['mediaserver_engine_drops_total{reason="stream_late",shard="streams"}'] == 0
        await agent.hangup()
        await contact_ended(server, by="agent", reason="hangup")
        await metric_becomes(server, OPEN, 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_where_udp_is_open_nobody_stays_on_tcp(tmp_path: Path) -> None:
    async with (
        namespace() as inside,
        daemon(tmp_path, changes=ENTRY, network=inside) as server,
        chromium(tmp_path, network=inside) as browser,
        baresip(phone(server, "udp", ""), tmp_path, network=inside) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=4)
        await Visitor(tab).goes_by("direct udp")
        await agent.hangup()
        await contact_ended(server, by="agent", reason="hangup")
        await metric_becomes(server, OPEN, 0)
