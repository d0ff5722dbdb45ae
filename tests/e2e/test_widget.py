"""`widget.js` on somebody else's page: it calls from where the configuration allows it, and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from tests.e2e.house import ENTRY, both_see_and_hear, contact_ended, phone, records
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium, describe
from tests.peers.daemon import Daemon, daemon
from tests.peers.local_page import site

PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Sick pay</title><h1>Child sick pay</h1>
<script src="{server}/widget.js" data-entry="demo" async></script>"""

KNOCK = """(url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
})"""


def house(*origins: str) -> dict[str, object]:
    """An entry for pages of these origins alone."""
    return {**ENTRY, "entries": {"demo": {"to": {"user": "agent"}, "allowed_origins": list(origins)}}}


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_of_an_allowed_origin_calls_with_picture(tmp_path: Path) -> None:
    async with (
        site() as shop,
        daemon(tmp_path, changes=house(shop.origin)) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        shop.page = PAGE.format(server=server.http_url)
        tab = await browser.new_tab(f"{shop.origin}/")
        await tab.page.get_by_role("button", name="Video call", exact=True).click()
        await agent.wait_established()
        await tab.page.get_by_role("button", name="Show my camera").click()
        await expect(tab.page.get_by_role("button", name="Camera", exact=True)).to_be_visible()
        await both_see_and_hear(tab, agent, seconds=4)
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()
        await contact_ended(server, by="caller", reason="hangup")
        (record,) = await records(server)
        assert (record["entry"], record["consent"]["camera"]) == ("demo", True)
        assert tab.errors == [], describe(tab)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_of_another_origin_is_told_so_and_begins_nothing(tmp_path: Path) -> None:
    async with (
        site() as shop,
        daemon(tmp_path, changes=house("https://www.example.org")) as server,
        chromium(tmp_path) as browser,
    ):
        shop.page = PAGE.format(server=server.http_url)
        tab = await browser.new_tab(f"{shop.origin}/")
        refused = "Calls cannot be made from this page. Please tell its owner."
        await expect(tab.page.get_by_text(refused)).to_be_visible()
        assert await tab.page.get_by_role("button").count() == 0
        # A page that leaves the widget aside and knocks by itself fares no better.
        socket = f"ws://localhost:{server.ports.http}/v1/session"
        assert await tab.page.evaluate(KNOCK, socket) == "refused"
        metrics = await server.metrics()
        assert metrics['mediaserver_web_sessions_refused_total{reason="origin"}'] == 1
        assert metrics["mediaserver_contacts_open"] == 0
        assert not [
            name for name in metrics if name.startswith(("mediaserver_contacts_total{", "mediaserver_web_sessions{"))
        ]


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_other_origins_may_read_what_the_widget_needs_and_an_entry_only_where_allowed(tmp_path: Path) -> None:
    async with site() as shop, daemon(tmp_path, changes=house(shop.origin)) as server, aiohttp.ClientSession() as http:
        for path in ("/widget.js", "/web/panel.js", "/web/call.css"):
            status, headers = await _ask(http, server, "GET", path, shop.origin)
            assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*"), path
            assert headers["Cross-Origin-Resource-Policy"] == "cross-origin", path
        for method, wanted in (("GET", 200), ("OPTIONS", 204)):
            status, headers = await _ask(http, server, method, "/v1/entries/demo", shop.origin)
            assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (wanted, shop.origin, "Origin")
            assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            assert "Access-Control-Allow-Credentials" not in headers
            for origin in (
                "https://www.example.org",
                "null",
                shop.origin.replace("http:", "https:"),
                "http://127.0.0.1",
            ):
                status, headers = await _ask(http, server, method, "/v1/entries/demo", origin)
                assert (status, headers.get("Access-Control-Allow-Origin")) == (403, None), (method, origin)
                assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        # An agent signs in on our own pages: `allowed_origins` of an entry is no leave for that.
        status, headers = await _ask(http, server, "POST", "/v1/agents/sign-in", shop.origin)
        assert (status, headers.get("Access-Control-Allow-Origin")) == (403, None)


async def _ask(
    http: aiohttp.ClientSession, server: Daemon, method: str, path: str, origin: str
) -> tuple[int, Mapping[str, str]]:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with http.request(method, f"http://localhost:{server.ports.http}{path}", headers=headers) as response:
        return response.status, response.headers
