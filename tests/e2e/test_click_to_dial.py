"""A program dials for a user by REFER outside of every call (RFC 3515): SIPp clicks, baresip is the user's phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.baresip import Phone, baresip
from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.sipp import callee, caller


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_the_users_phone_rings_and_is_connected_with_the_number_that_was_clicked(tmp_path: Path) -> None:
    async with callee(tmp_path, scenario="uas", pause_ms=200) as number:
        changes = {
            "trunks": {
                "pbx": {"target": f"sip:127.0.0.1:{number.port}", "srtp": "never", "keep_alive": {"interval": "0s"}}
            },
            "routes": [{"match": {"called": "5001", "caller": "agent"}, "to": {"trunk": "pbx"}}],
        }
        async with (
            daemon(tmp_path, changes=changes) as server,
            baresip(
                Phone(user="agent", domain=server.sip_server(), password=AGENT_PASSWORD, register=True), tmp_path
            ) as phone,
        ):
            await phone.wait_registered()
            async with caller(
                tmp_path,
                (server.host, server.ports.sip),
                scenario="uac_clicks",
                user="5001",
                keys={"user": "agent", "agent": "sipsak 0.9"},
                credentials=("agent", AGENT_PASSWORD),
            ) as program:
                clicked = await program.finish()
            assert (clicked.successful, clicked.failed) == (1, 0), clicked.errors
            await phone.wait_established()
            await phone.hangup()
            called = await number.stop()
            metrics = await server.metrics()
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert metrics['mediaserver_contacts_total{origin="sip"}'] == 1
