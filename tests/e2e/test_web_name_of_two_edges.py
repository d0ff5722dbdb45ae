"""One web name with the addresses of two Edges: the browser itself goes to the one that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, phone, show_my_camera, start_call
from tests.e2e.zone import NAME, PAGE, House, edge_name, house, kill, names
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.dns_server import dns_server
from tests.peers.sandwich import sandwich


async def killed(made: House) -> None:
    kill(made.edges[0])


async def unplugged(made: House) -> None:
    await made.rig.edges[0].down()


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lose", [killed, unplugged])
async def test_a_new_visitor_reaches_the_edge_that_is_there(
    tmp_path: Path, lose: Callable[[House], Awaitable[None]]
) -> None:
    known = names(2)
    addresses = [known[edge_name(0)], known[edge_name(1)]]
    del known[NAME]
    async with (
        sandwich(edges=2, names=known) as rig,
        dns_server({(NAME, "A"): addresses}, network=rig.internet, port=53) as server,
        house(rig, tmp_path) as made,
        chromium(tmp_path, network=rig.internet) as browser,
        baresip(phone(made.core, "udp", ""), tmp_path, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        await lose(made)
        began = asyncio.get_running_loop().time()
        tab = await start_call(browser, PAGE)
        took = asyncio.get_running_loop().time() - began
        print(f"{lose.__name__}: the page is there after {took:.1f} s")  # noqa: T201 - the figure is of interest
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=2)
        assert server.asked[(NAME, "A")] >= 1
        await agent.hangup()
        await contact_ended(made.core, by="agent", reason="hangup")
