"""Whoever says `from-change` is told by UPDATE who is there, and tells it himself (RFC 4916): SIPp calls and is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import phone
from tests.e2e.test_conference_by_phone import succeeded
from tests.peers.baresip import baresip
from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def test_sipp_is_told_by_update_that_the_agent_answers_for_the_number(tmp_path: Path) -> None:
    changes = {
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": "sip:127.0.0.1:9",
                "transport": "udp",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
            }
        },
        "routes": [{"match": {"called": "5001"}, "to": {"user": "agent"}}],
    }
    async with (
        daemon(tmp_path, changes=changes) as server,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        async with caller(
            tmp_path, (server.host, server.ports.sip), scenario="uac_from_change", user="5001", hold_ms=200
        ) as visitor:
            called = await visitor.finish()
    assert (called.successful, called.failed) == (1, 0), called.errors


async def test_a_caller_who_becomes_somebody_else_is_told_on_and_so_is_who_takes_his_place(tmp_path: Path) -> None:
    async with callee(tmp_path, scenario="uas_from_change") as customer:
        common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
        changes = {
            "trunks": {
                "pbx": common | {"peers": ["127.0.0.1/32"], "target": "sip:127.0.0.1:9"},
                "world": common | {"target": f"sip:127.0.0.1:{customer.port}"},
            },
            "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "world"}}],
        }
        async with (
            daemon(tmp_path, changes=changes) as server,
            caller(tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_renames") as first,
        ):
            assert await customer.wait_logged() == "4030"
            keys = {"kind": "Replaces", "option": "replaces", "name": await first.wait_logged()}
            async with caller(
                tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_comes_in", hold_ms=500, keys=keys
            ) as second:
                succeeded(await first.finish(30), await second.finish(30), await customer.stop())
            assert customer.logged == ["4030", "sipp"]
