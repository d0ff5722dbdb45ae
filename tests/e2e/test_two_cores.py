"""Two Cores behind one Edge: a visitor comes to one of them, and to the other when that one is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import ssl
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, metric_becomes, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, House, house, kill, names
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.namespace import ip
from tests.peers.sandwich import VISITOR, sandwich

NEIGHBOUR, LATER = "203.0.113.77", "203.0.113.78"
"""Others of the visitor's network."""
RESUMED = "mediaserver_web_sessions_resumed_total"
REFUSED = "mediaserver_edge_visitors_refused_total"


async def title(made: House, source: str = VISITOR) -> str:
    """The title of the page that a visitor gets, which says whose it is; empty where the connection is closed."""
    _, plain = await made.rig.internet.connect(made.rig.edges[0].public, 443, source=source)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    text = b""
    with contextlib.suppress(OSError):
        await plain.start_tls(context, server_hostname=NAME)
        plain.write(f"GET /call/demo HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        reader = plain.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
        text = await reader.read()
    plain.close()
    found = re.search(r"<title>(.*)</title>", text.decode())
    return found[1] if found else ""


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_a_new_visitor_reaches_the_other_core_when_one_is_killed(tmp_path: Path) -> None:
    async with sandwich(names=names(1)) as rig, house(rig, tmp_path, cores=2) as made:
        first = await title(made)
        assert first in ("Core 0", "Core 1")
        assert [await title(made) for _ in range(5)] == [first] * 5
        chosen = int(first[-1])
        kill(made.cores[chosen])
        other = made.cores[1 - chosen]
        async with (
            chromium(tmp_path, network=rig.internet) as browser,
            baresip(phone(other, "udp", ""), tmp_path, network=rig.inside) as agent,
        ):
            await agent.wait_registered()
            assert await title(made) == f"Core {1 - chosen}"
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=2)
            await agent.hangup()
            await contact_ended(other, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_a_core_that_drains_gets_no_new_visitor_and_keeps_its_call(tmp_path: Path) -> None:
    changes = {"drain": {"deadline": "90s"}}
    async with sandwich(names=names(1)) as rig, house(rig, tmp_path, changes=changes, cores=2) as made:
        # Of the same network, so without the drain both would come to one Core.
        for address in (NEIGHBOUR, LATER):
            await ip("-n", rig.internet.name, "addr", "add", f"{address}/24", "dev", "wan")
        first = await title(made)
        chosen = int(first[-1])
        core, other = made.cores[chosen], made.cores[1 - chosen]
        async with (
            chromium(tmp_path, network=rig.internet) as browser,
            baresip(phone(core, "udp", ""), tmp_path, network=rig.inside) as agent,
            baresip(phone(other, "udp", ""), tmp_path / "colleague", network=rig.inside) as colleague,
        ):
            await agent.wait_registered()
            await colleague.wait_registered()
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=2)
            guest = await browser.new_tab(PAGE)
            assert await title(made, NEIGHBOUR) == first
            os.kill(core.pid, signal.SIGTERM)
            async with asyncio.timeout(5):
                while await title(made, LATER) == first:
                    await asyncio.sleep(0.05)
            # Behind the address of the call, with a page of the Core that drains: it refuses, and nobody sees it.
            await guest.page.get_by_role("button", name="Video call").click()
            await colleague.wait_established()
            await show_my_camera(guest)
            await both_see_and_hear(guest, colleague, seconds=2)
            assert not [said for said in await guest.page.evaluate("told") if "cannot" in said]
            assert await title(made) != first
            # The network of the call has changed, and its page comes back to the Core that it is at.
            await tab.page.evaluate("dispatchEvent(new Event('online'))")
            await tab.told("Reconnecting")
            await metric_becomes(core, RESUMED, 1)
            await both_see_and_hear(tab, agent, seconds=3)
            # Who opens the page has nothing there yet: the next connection is another Core's.
            assert [await title(made) for _ in range(2)] == [first, f"Core {1 - chosen}"]
            await tab.page.get_by_role("button", name="Hang up").click()
            await agent.wait_closed()
            assert await core.process.wait(30) == 0
            await both_see_and_hear(guest, colleague, seconds=2)
            await guest.page.get_by_role("button", name="Hang up").click()
            await colleague.wait_closed()


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_without_any_core_a_visitor_waits_five_seconds_and_is_counted(tmp_path: Path) -> None:
    async with sandwich(names=names(1)) as rig, house(rig, tmp_path, cores=2) as made:
        for core in made.cores:
            kill(core)
        async with asyncio.timeout(10):
            while (await made.edge.get(f"{made.edge.admin_url}/readyz"))[0] != 503:
                await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        assert await title(made) == ""
        assert 4.5 < asyncio.get_running_loop().time() - began < 15
        await metric_becomes(made.edge, REFUSED, 1)
