"""A page loses its WebSocket in the middle of a call: sound and picture go on, and it takes its session up again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.house import (
    ENTRY,
    both_see_and_hear,
    contact_ended,
    metric_becomes,
    phone,
    show_my_camera,
    start_call,
)
from tests.e2e.page_socket import page_sockets
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.tcp_proxy import tcp_proxy

RESUMED = "mediaserver_web_sessions_resumed_total"


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_the_call_goes_on_while_the_socket_is_away_and_is_hung_up_over_the_next_one(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        tcp_proxy(server.ports.http) as line,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await start_call(browser, f"{line.url}/call/demo")
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=2)
        status = tab.page.get_by_role("status")
        await line.cut()
        await expect(status).to_contain_text("Reconnecting")
        await both_see_and_hear(tab, agent, seconds=3)
        await expect(status).to_contain_text("Reconnecting")
        assert (await server.metrics())[RESUMED] == 0
        await line.mend()
        await expect(status).to_contain_text("You are talking to")
        assert (await server.metrics())[RESUMED] == 1
        await both_see_and_hear(tab, agent, seconds=2)
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()
        await contact_ended(server, by="caller", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_that_does_not_come_back_in_time_has_lost_its_call(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes={**ENTRY, "limits": {"session_resume": "2s"}}) as server,
        tcp_proxy(server.ports.http) as line,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await start_call(browser, f"{line.url}/call/demo")
        await agent.wait_established()
        await expect(tab.page.get_by_role("status")).to_contain_text("You are talking to")
        await line.cut()
        await agent.wait_closed()
        await contact_ended(server, by="caller", reason="browser_lost")
        await line.mend()
        told = "The connection was lost for too long. Please call again."
        await expect(tab.page.get_by_role("status")).to_have_text(told)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_resume_token_works_once_and_for_its_own_session_only(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes=ENTRY) as server, page_sockets(server) as sockets:
        first, other = await sockets.open(), await sockets.open()
        await first.hello()
        welcome = await first.receive("welcome")
        await other.hello()
        others = await other.receive("welcome")
        first.vanish()
        second = await sockets.open(query="?resume")
        await second.hello(resume=welcome["resume"], ack=0)
        again = await second.receive("welcome")
        assert (again["session"], again["contact_id"]) == (welcome["session"], welcome["contact_id"])
        assert again["resume"] != welcome["resume"]
        # From its first word on, the page has proven that the new token arrived: the old one is spent.
        await second.send("ping", ack=0)
        await second.receive("pong")
        await other.close()
        await metric_becomes(server, "mediaserver_contacts_open", 1)
        spent = {"used twice": welcome["resume"], "of a session that is over": others["resume"], "made up": "x" * 32}
        for what, token in spent.items():
            thief = await sockets.open(query="?resume")
            await thief.hello(resume=token, ack=0)
            assert (await thief.refusal(), thief.close_code) == ("resume", 1008), what
        metrics = await server.metrics()
        assert (metrics[RESUMED], metrics['mediaserver_web_sessions_refused_total{reason="resume"}']) == (1, 3)
        # None of it touched the session.
        await second.send("ping", ack=0)
        await second.receive("pong")
        assert metrics['mediaserver_contacts_total{origin="browser"}'] == 2
        assert metrics["mediaserver_contacts_open"] == 1
