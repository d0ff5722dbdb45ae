"""SIP over WebSocket (RFC 7118) with the clients that web pages use: JsSIP and SIP.js in Chromium, a phone beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import page_sees_and_hears, phone, phone_sees_and_hears
from tests.peers.baresip import Baresip, baresip
from tests.peers.chromium import Chromium, chromium, describe, streams
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, Daemon, daemon
from tests.peers.web_phone import LIBRARIES, Library, WebPhone, WebPhones, web_phones

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


def house(directory: Path, origin: str) -> dict[str, Any]:
    """A user who is on a page, beside the one with a phone; each calls the other by name."""
    secret = directory / "web.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    return {
        "users": {"web": {"secret": {"file": str(secret)}}},
        "routes": [{"match": {"called": name}, "to": {"user": name}} for name in ("web", "agent")],
        "listeners": {"sip": {"websocket": {"allowed_origins": [origin]}}},
    }


async def registered(
    site: WebPhones, browser: Chromium, library: Library, server: Daemon, *, tls: bool = False, video: bool = False
) -> WebPhone:
    client = await site.open(
        browser,
        library,
        server=f"wss://127.0.0.1:{server.ports.https}/sip" if tls else f"ws://127.0.0.1:{server.ports.http}/sip",
        domain="mediaserver",
        user="web",
        password=AGENT_PASSWORD,
        video=video,
    )
    await client.said("registered")
    return client


async def becomes(true: Callable[[], Awaitable[bool]], what: str, within_s: float = 40.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not await true():
        assert asyncio.get_running_loop().time() < deadline, f"{what} within {within_s} s"
        await asyncio.sleep(0.1)


async def hear_each_other(client: WebPhone, desk: Baresip) -> None:
    """Sound above silence both ways."""

    async def page_hears() -> bool:
        heard = streams(await client.tab.media(), "inbound", "audio")
        return any(item.audio_seconds > 0.5 and item.loudness > 0.01 for item in heard)

    async def phone_hears() -> bool:
        return (await desk.audio_stats()).packets_received > 50 and desk.heard().level > 0.001

    await becomes(page_hears, f"the page hears nothing: {describe(client.tab)}")
    await becomes(phone_hears, "the phone hears nothing")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_sip_client_of_a_page_registers_calls_a_phone_and_is_called(tmp_path: Path, library: Library) -> None:
    async with (
        web_phones() as site,
        daemon(tmp_path, changes=house(tmp_path, site.origin)) as server,
        baresip(replace(phone(server, "udp", ""), video=(), answer_after_s=0.2), tmp_path) as desk,
        chromium(tmp_path) as browser,
    ):
        await desk.wait_registered()
        client = await registered(site, browser, library, server)
        _, text = await server.request("GET", f"{server.admin_url}/v1/registrations", token=ADMIN_TOKEN)
        (item,) = [each for each in json.loads(text)["items"] if each["aor"].startswith("web@")]
        assert item["transport"] == "ws"

        await client.do("call", "sip:agent@mediaserver")
        await client.said("confirmed")
        await hear_each_other(client, desk)
        await client.do("hangup")
        await desk.wait_closed()

        await desk.command("dial", f"sip:web@{server.sip_server()}")
        await client.said("confirmed", times=2)
        await hear_each_other(client, desk)
        await desk.command("hangup")
        await client.said("ended", times=2)

        await client.do("stop")
        await client.said("unregistered")
        metrics = await server.metrics()
    assert metrics['mediaserver_sip_requests_received_total{method="REGISTER"}'] >= 4


async def page_hears_on(client: WebPhone, *, on: bool) -> bool:
    """Whether sound comes to the page for half a second, or does not."""
    heard = streams(await client.tab.media_over(0.5), "inbound", "audio")
    return any(item.packets > 0 for item in heard) is on


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_sip_client_over_tls_has_a_picture_and_holds_and_resumes(tmp_path: Path, library: Library) -> None:
    async with (
        web_phones() as site,
        daemon(tmp_path, changes=house(tmp_path, site.origin)) as server,
        baresip(replace(phone(server, "udp", ""), answer_after_s=0.2), tmp_path) as desk,
        chromium(tmp_path) as browser,
    ):
        await desk.wait_registered()
        client = await registered(site, browser, library, server, tls=True, video=True)
        _, text = await server.request("GET", f"{server.admin_url}/v1/registrations", token=ADMIN_TOKEN)
        (item,) = [each for each in json.loads(text)["items"] if each["aor"].startswith("web@")]
        assert item["transport"] == "wss"

        await client.do("call", "sip:agent@mediaserver")
        await client.said("confirmed")
        await page_sees_and_hears(client.tab, seconds=1.0, frames_per_s=3.0)
        await phone_sees_and_hears(desk, seconds=1.0, frames_per_s=3.0)

        await client.do("hold")
        await client.said("hold local")
        await becomes(lambda: page_hears_on(client, on=False), f"silence on hold: {describe(client.tab)}")
        await client.do("unhold")
        await client.said("unhold local")
        await becomes(lambda: page_hears_on(client, on=True), f"sound after the hold: {describe(client.tab)}")

        await client.do("hangup")
        await desk.wait_closed()
