"""INVITE with Replaces (RFC 3891): SIPp takes over the call of its own trunk, answered or not, and nobody else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes
from tests.e2e.members import until
from tests.e2e.test_conference_by_phone import calls, is_up, succeeded
from tests.peers.daemon import daemon
from tests.peers.namespace import Network
from tests.peers.sipp import callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WORLD = Network("127.0.0.2")
"""Another trunk's address."""


def house(customer: int) -> dict[str, Any]:
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "trunks": {
            "pbx": common | {"peers": ["127.0.0.1/32"], "target": f"sip:127.0.0.1:{customer}"},
            "world": common | {"peers": [f"{WORLD.address}/32"], "target": f"sip:{WORLD.address}"},
        },
        "routes": [{"match": {"called": "8*", "trunk": "pbx"}, "to": {"trunk": "pbx"}}],
    }


async def test_a_trunk_takes_its_own_call_over_and_another_trunk_does_not(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as customer,
        daemon(tmp_path, changes=house(customer.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_named", timeout_s=90) as first,
    ):
        address = server.host, server.ports.sip
        name = await first.wait_logged()
        await until(lambda: is_up(server), lambda: calls(server), 20)
        keys = {"kind": "Replaces", "option": "replaces", "name": name}
        async with caller(
            tmp_path, address, user="8001", scenario="uac_kept_out", keys=keys, network=WORLD
        ) as attacker:
            succeeded(await attacker.finish(30))
        (talk,) = await calls(server)
        assert [leg["state"] for leg in talk["legs"]] == ["up", "up"]
        async with caller(
            tmp_path, address, user="8001", scenario="uac_comes_in", keys=keys, hold_ms=1000
        ) as other_phone:
            succeeded(await first.finish(30))
            succeeded(await other_phone.finish(30))
        await metric_becomes(server, "mediaserver_contacts_open", 0, within_s=30)
        succeeded(await customer.stop())


async def test_a_trunk_picks_up_what_rings_at_it_and_another_trunk_does_not(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas_rings_named") as ringing,
        daemon(tmp_path, changes=house(ringing.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_waits_for_bye") as first,
    ):
        address = server.host, server.ports.sip
        name = await ringing.wait_logged()
        keys = {"kind": "Replaces", "option": "replaces", "name": f"{name};early-only"}
        async with caller(
            tmp_path, address, user="8001", scenario="uac_kept_out", keys=keys, network=WORLD
        ) as attacker:
            succeeded(await attacker.finish(30))
        async with caller(
            tmp_path, address, user="8001", scenario="uac_comes_in", keys=keys, hold_ms=1000
        ) as other_phone:
            succeeded(await other_phone.finish(30))
        succeeded(await first.finish(30), await ringing.stop())
        await metric_becomes(server, "mediaserver_contacts_open", 0, within_s=30)
