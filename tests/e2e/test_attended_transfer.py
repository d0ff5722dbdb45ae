"""An attended transfer with a phone that nobody here wrote: linphone talks to both, and brings them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.linphone import linphone
from tests.peers.namespace import Network
from tests.peers.sipp import callee, caller

WORLD = Network("127.0.0.2")
"""The visitor's address, which is not the phone's."""


def house(expert: int) -> dict[str, Any]:
    """Who calls from the world reaches the agent; the agent reaches an expert by a number that begins with 7."""
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "trunks": {
            "world": common | {"peers": [f"{WORLD.address}/32"], "target": f"sip:{WORLD.address}"},
            "experts": common | {"target": f"sip:127.0.0.1:{expert}"},
        },
        "routes": [
            {"match": {"trunk": "world"}, "to": {"user": "agent"}},
            {"match": {"called": "7*"}, "to": {"trunk": "experts"}},
        ],
    }


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_linphone_asks_an_expert_and_brings_the_visitor_to_him(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas") as expert,
        daemon(tmp_path, changes=house(expert.port)) as server,
        linphone("agent", server.sip_server(), AGENT_PASSWORD, tmp_path) as agent,
        caller(tmp_path, (server.host, server.ports.sip), network=WORLD, hold_ms=10_000) as visitor,
    ):
        await agent.wait_for("Call 1 .*connected")
        agent.order("pause 1")
        await agent.wait_for("Call 1 .*paused")
        agent.order(f"call sip:7001@{server.sip_server()}")
        await agent.wait_for("Call 2 .*connected")
        agent.order("transfer 1 --to-call 2")
        await server.process.wait_for_log("call_transferred")
        called, answered = await visitor.finish(), await expert.stop()
    for result in (called, answered):
        assert (result.successful, result.failed) == (1, 0), result.errors
