"""Who is in a conference, told to a phone in it (RFC 4575): linphone subscribes by itself to a focus that it calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.linphone import linphone


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_linphone_is_told_who_is_in_the_conference_that_it_made(tmp_path: Path) -> None:
    routes = [{"match": {"called": "conference"}, "to": {"conference": "new"}}]
    async with (
        daemon(tmp_path, changes={"routes": routes}) as server,
        linphone("agent", server.sip_server(), AGENT_PASSWORD, tmp_path) as phone,
    ):
        phone.order(f"call sip:conference@{server.sip_server()}")
        await phone.wait_for("Call 1 .*connected")
        await phone.wait_for("(?s)application/conference-info.xml.*<user-count>1</user-count>")
        metrics = await server.metrics()
        assert metrics['mediaserver_sip_subscriptions_total{package="conference"}'] == 1
