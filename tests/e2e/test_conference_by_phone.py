"""Conferences that a phone makes (RFC 4579): SIPp calls the focus and has it bring others, new ones and its own call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.house import metric_becomes, only_record
from tests.e2e.members import until
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.sipp import SippResult, callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def house(first: int, second: int) -> dict[str, Any]:
    """Numbers that begin with 7 go to the experts, with 8 to customers; `conference` makes one."""
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "trunks": {
            "pbx": common | {"peers": ["127.0.0.1/32"], "target": f"sip:127.0.0.1:{first}"},
            "experts": common | {"target": f"sip:127.0.0.1:{second}"},
        },
        "routes": [
            {"match": {"called": "conference", "trunk": "pbx"}, "to": {"conference": "new"}},
            {"match": {"called": "7*", "trunk": "pbx"}, "to": {"trunk": "experts"}},
            {"match": {"called": "8*", "trunk": "pbx"}, "to": {"trunk": "pbx"}},
        ],
    }


def succeeded(*results: SippResult) -> None:
    for result in results:
        assert (result.successful, result.failed) == (1, 0), result.errors


async def calls(server: Daemon) -> list[dict[str, Any]]:
    """Those that are there."""
    status, text = await server.request("GET", f"{server.admin_url}/v1/calls", token=ADMIN_TOKEN)
    assert status == 200, text
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items


async def is_up(server: Daemon) -> bool:
    """There is one call, and it was answered."""
    return [call["state"] for call in await calls(server)] == ["up"]


async def test_a_phone_has_the_focus_call_somebody_who_stays_when_it_leaves(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as customer,
        callee(tmp_path, scenario="uas_invited", pause_ms=3000) as expert,
        daemon(tmp_path, changes=house(customer.port, expert.port)) as server,
        caller(
            tmp_path,
            (server.host, server.ports.sip),
            user="conference",
            scenario="uac_focus",
            keys={"refer_to": f"7001@{server.host}"},
        ) as maker,
    ):
        succeeded(await maker.finish(40))
        await metric_becomes(server, "mediaserver_contacts_open", 0, within_s=30)
        succeeded(await expert.stop())
        record = await only_record(server)
        assert [leg["kind"] for leg in record["legs"]] == ["sip", "room", "sip"]


async def test_a_phone_brings_its_own_call_which_keeps_its_contact(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as customer,
        callee(tmp_path) as expert,
        daemon(tmp_path, changes=house(customer.port, expert.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_named") as first,
    ):
        replaces = quote(await first.wait_logged(), safe="")
        await until(lambda: is_up(server), lambda: calls(server), 20)
        (talk,) = await calls(server)
        target = {"refer_to": f"8001@{server.host}?Replaces={replaces}"}
        async with caller(
            tmp_path,
            (server.host, server.ports.sip),
            user="conference",
            scenario="uac_focus",
            hold_ms=5000,
            keys=target,
        ) as maker:
            succeeded(await first.finish(30))

            async def moved() -> bool:
                there = await calls(server)
                states = [[leg["state"] for leg in call["legs"]] for call in there]
                return states == [["ended", "up", "up"]] and there[0]["contact_id"] == talk["contact_id"]

            await until(moved, lambda: calls(server), 5)
            succeeded(await maker.finish(30))
        await metric_becomes(server, "mediaserver_contacts_open", 0, within_s=30)
        succeeded(await customer.stop())
