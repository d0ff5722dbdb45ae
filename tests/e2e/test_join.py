"""A phone that comes into a call by an INVITE with Join (RFC 3911, RFC 5359 §2.11): SIPp writes it, no phone here does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes, records
from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

MIXED_LEGS = 'mediaserver_engine_mixed_legs{shard="audio0"}'


def house(agents: int) -> dict[str, Any]:
    """A call manager that calls is put through to an agent of its own."""
    trunk = {"srtp": "never", "keep_alive": {"interval": "0s"}, "peers": ["127.0.0.1/32"]}
    return {
        "trunks": {"pbx": trunk | {"target": f"sip:127.0.0.1:{agents}"}},
        "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}],
    }


async def test_a_party_joins_its_own_call_and_all_three_are_mixed(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as agent,
        daemon(tmp_path, changes=house(agent.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_joins", hold_ms=8000) as visitor,
    ):
        await metric_becomes(server, MIXED_LEGS, 3)
        called = await visitor.finish(30)
        answered = await agent.stop()
        await metric_becomes(server, MIXED_LEGS, 0)
        (record,) = await records(server)
    for result in (called, answered):
        assert (result.successful, result.failed) == (1, 0), result.errors
    assert len(record["legs"]) == 3


async def test_joins_that_name_nothing_or_contradict_themselves_are_refused_and_the_call_goes_on(
    tmp_path: Path,
) -> None:
    async with (
        callee(tmp_path) as agent,
        daemon(tmp_path, changes=house(agent.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_joins_in_vain", hold_ms=200) as visitor,
    ):
        called = await visitor.finish(30)
        answered = await agent.stop()
    for result in (called, answered):
        assert (result.successful, result.failed) == (1, 0), result.errors
