"""A page that was answered by sound alone, or not at all, comes to an agent's phone with a picture: by REFER and by 302."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.house import both_see_and_hear, contact_ended, phone, show_my_camera, start_call
from tests.e2e.test_acd import until_both_see
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.sipp import callee


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", ["uas_moved", "uas_refers"])
async def test_a_call_manager_sends_a_page_to_an_agent_with_a_picture(tmp_path: Path, scenario: str) -> None:
    async with callee(tmp_path, scenario=scenario, keys={"refer_to": "7001"}) as queue:
        pbx = {"peers": ["127.0.0.1/32"], "target": f"sip:queue@127.0.0.1:{queue.port}", "srtp": "never"}
        changes = {
            # SIPp answers by sound alone.
            "trunks": {"acd": pbx | {"keep_alive": {"interval": "0s"}, "video_codecs": []}},
            "entries": {"line": {"to": {"trunk": "acd"}}},
            "routes": [{"match": {"called": "7*", "trunk": "acd"}, "to": {"user": "agent"}}],
            "media": {"shards": 2},
        }
        async with (
            daemon(tmp_path, changes=changes) as server,
            chromium(tmp_path) as browser,
            baresip(phone(server, "udp", ""), tmp_path) as agent,
        ):
            await agent.wait_registered()
            tab = await start_call(browser, f"{server.http_url}/call/line")
            await agent.wait_established()
            await show_my_camera(tab)
            await until_both_see(tab, agent)
            await both_see_and_hear(tab, agent, seconds=2)
            result = await queue.stop()
            await agent.hangup()
            await contact_ended(server, by="agent", reason="hangup")
    assert (result.created, result.failed, result.errors) == (1, 0, "")
