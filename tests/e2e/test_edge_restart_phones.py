"""The only Edge, killed and started again under calls of phones and trunks: they have their ports again, the call lives."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.beyond_edge import EDGE, OPEN, PUBLIC, SIP_TLS, between, registrations, trunk
from tests.e2e.coming_back import answers, kill_and_wait, page_back, page_gets, page_hears, phone_back
from tests.e2e.house import (
    both_see_and_hear,
    contact_ended,
    metric_becomes,
    phone,
    phone_sees_and_hears,
    show_my_camera,
    start_call,
)
from tests.e2e.test_edge_restart import AIM_S
from tests.e2e.zone import NAME, PAGE, house
from tests.peers.baresip import baresip
from tests.peers.certificates import write_certificates
from tests.peers.chromium import chromium
from tests.peers.sandwich import sandwich

KEYFRAME_S = 6.0
"""So soon comes one that nobody has asked for."""
PAIRS = 'mediaserver_engine_edge_port_pairs{shard="edge0"}'
SAME = 'mediaserver_edge_ports_reopened_total{result="same"}'
MOVED = "mediaserver_sip_dialogs_moved_total"


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_trunks_media_are_back_on_the_same_ports_within_a_second(tmp_path: Path) -> None:
    async with (
        sandwich(admitted=OPEN) as rig,
        between(rig, tmp_path) as (made, agent, files),
        baresip(trunk(files), tmp_path, network=rig.internet) as carrier,
    ):
        await carrier.dial(f"sip:agent@{PUBLIC}:{SIP_TLS};transport=tls")
        await carrier.wait_established()
        await agent.wait_established()
        await phone_sees_and_hears(agent, seconds=3)
        await phone_sees_and_hears(carrier, seconds=3)
        await kill_and_wait(made.edge)
        # What was on its way has come, and nothing more does.
        await asyncio.sleep(1)
        shown = [(await each.video_stats()).frames_shown for each in (agent, carrier)]
        await made.edge.process.start()
        back = await answers(made.edge)
        async with asyncio.timeout(20):
            inside, outside = await asyncio.gather(phone_back(agent, shown[0]), phone_back(carrier, shown[1]))
        sys.stdout.write(f"media after the Edge: phone inside {inside - back:.2f} s, trunk {outside - back:.2f} s\n")
        assert max(inside, outside) - back < AIM_S
        await phone_sees_and_hears(agent, seconds=3)
        await phone_sees_and_hears(carrier, seconds=3)
        await metric_becomes(made.core, SAME, 2)
        await metric_becomes(made.edge, PAIRS, 2)
        await agent.hangup()
        # The trunk's connection went with the Edge, so nobody can tell it; what it has at the Edge ends with the call.
        await metric_becomes(made.edge, PAIRS, 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phones_call_goes_on_and_is_ended_over_the_connection_on_which_it_is_back(tmp_path: Path) -> None:
    ours = write_certificates(tmp_path / "sip", PUBLIC)
    sip = {"certificate": {"chain_file": str(ours.chain), "key_file": str(ours.key)}, "registration_min": "10s"}
    async with (
        sandwich(names={NAME: PUBLIC}, admitted=OPEN) as rig,
        house(rig, tmp_path, sip=sip, edge_section=EDGE) as made,
        chromium(tmp_path, network=rig.internet) as browser,
    ):
        beyond = replace(
            phone(made.core, "tls", "srtp-mand"), domain=f"{PUBLIC}:{SIP_TLS}", ca_file=ours.ca, register_s=20
        )
        async with baresip(beyond, tmp_path, network=rig.internet) as agent:
            await agent.wait_registered()
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=2)
            await kill_and_wait(made.edge)
            await asyncio.sleep(1)
            page, shown = await page_gets(tab), (await agent.video_stats()).frames_shown
            # Its binding went with its connection.
            async with asyncio.timeout(20):
                while await registrations(made.core):
                    await asyncio.sleep(0.05)
            await made.edge.process.start()
            back = await answers(made.edge)
            async with asyncio.timeout(20):
                sound, at_phone, picture = await asyncio.gather(
                    page_hears(tab, page[0]), phone_back(agent, shown), page_back(tab, page)
                )
            times = ", ".join(f"{at - back:.2f} s" for at in (sound, at_phone, picture))
            sys.stdout.write(f"after the Edge: the page's sound, the phone's picture, the page's picture: {times}\n")
            assert max(sound, at_phone) - back < AIM_S
            # It wants a keyframe, which this phone can be asked for by its connection alone.
            assert picture - back < KEYFRAME_S
            await metric_becomes(made.core, SAME, 2)
            # The phone notices when it registers the next time; if that was while the Edge was away, it waits for up to a
            # minute before it tries again.
            await metric_becomes(made.core, MOVED, 1, within_s=100)
            await both_see_and_hear(tab, agent, seconds=3)
            await tab.page.get_by_role("button", name="Hang up").click()
            await agent.wait_closed()
            await contact_ended(made.core, by="caller", reason="hangup")
            await metric_becomes(made.edge, PAIRS, 0)
