"""Whoever calls a number and says `from-change` is told by UPDATE who has answered (RFC 4916): SIPp is the caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import phone
from tests.peers.baresip import baresip
from tests.peers.daemon import daemon
from tests.peers.sipp import caller


@pytest.mark.e2e
@pytest.mark.timeout(120)
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
