"""Transfers that a phone asks for, with SIPp as the phone that asks, as the one that is called, and as the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller

pytestmark = pytest.mark.smoke


def trunks(first: int, second: int) -> dict[str, Any]:
    """Numbers that begin with 7 go to the second one, all others to the first; neither allows premium numbers."""
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "trunks": {
            "agents": common | {"peers": ["127.0.0.1/32"], "target": f"sip:127.0.0.1:{first}"},
            "experts": common | {"target": f"sip:127.0.0.1:{second}", "numbers": {"region": "DE"}},
        },
        "routes": [
            {"match": {"called": "7*", "trunk": "agents"}, "to": {"trunk": "experts"}},
            {"match": {"called": "+49900*", "trunk": "agents"}, "to": {"trunk": "experts"}},
            {"match": {"trunk": "agents"}, "to": {"trunk": "agents"}},
        ],
    }


async def test_a_phone_transfers_its_caller_who_hears_nothing_of_it(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas_refers", keys={"refer_to": "7001"}) as agent,
        callee(tmp_path, scenario="uas") as expert,
        daemon(tmp_path, changes=trunks(agent.port, expert.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac", calls=1, hold_ms=2500) as visitor,
    ):
        called = await visitor.finish(20)
        asked, answered = await agent.stop(), await expert.stop()
    for result in (called, asked, answered):
        assert (result.successful, result.failed) == (1, 0), result.errors


async def test_a_transfer_to_a_premium_number_is_refused_and_the_call_ends_with_the_phone(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas_refers_in_vain", keys={"refer_to": "+499001234567"}) as agent,
        callee(tmp_path, scenario="uas") as expert,
        daemon(tmp_path, changes=trunks(agent.port, expert.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_waits_for_bye", calls=1) as visitor,
    ):
        called = await visitor.finish(20)
        asked, answered = await agent.stop(), await expert.stop()
    for result in (called, asked):
        assert (result.successful, result.failed) == (1, 0), result.errors
    assert answered.created == 0


async def test_a_call_is_followed_to_where_a_trunk_says_its_agent_has_moved(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas_moved", keys={"refer_to": "7001"}) as agent,
        callee(tmp_path, scenario="uas") as expert,
        daemon(tmp_path, changes=trunks(agent.port, expert.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac", calls=1, hold_ms=500) as visitor,
    ):
        called = await visitor.finish(20)
        moved, answered = await agent.stop(), await expert.stop()
    for result in (called, moved, answered):
        assert (result.successful, result.failed) == (1, 0), result.errors
