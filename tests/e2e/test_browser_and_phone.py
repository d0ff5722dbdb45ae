"""The main job: somebody on a web page and somebody on a SIP phone talk by sound and picture."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.peers.baresip import OPUS, PCMU, Baresip, Phone, baresip
from tests.peers.chromium import Chromium, Tab, chromium, describe, streams
from tests.peers.daemon import AGENT_PASSWORD, Daemon, daemon

ENTRY: dict[str, Any] = {
    "entries": {"demo": {"to": {"user": "agent"}, "announcement": "greeting"}},
    "announcements": {"greeting": {}},
    "media": {"shards": 2},
}


def phone(server: Daemon, transport: str, encryption: str, **more: Any) -> Phone:
    return Phone(
        user="agent",
        domain=server.sip_server(transport),
        password=AGENT_PASSWORD,
        transport=transport,
        register=True,
        encryption=encryption,
        ca_file=server.certificates.ca,
        **{"audio": (PCMU,), "video": ("H264",), **more},
    )


async def press_video_call(server: Daemon, browser: Chromium) -> Tab:
    tab = await browser.new_tab(f"{server.http_url}/call/demo")
    await tab.page.get_by_role("button", name="Video call").click()
    return tab


async def both_see_and_hear(tab: Tab, agent: Baresip, *, seconds: float, frames_per_s: float = 10.0) -> None:
    """Both directions carry sound above silence and a moving picture for so long."""
    shown = asyncio.ensure_future(agent.shown_frames_per_s(seconds))
    media = await tab.media_over(seconds)
    (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
    assert video.frames_per_s >= frames_per_s, (video, describe(tab))
    assert audio.loudness > 0.01, (audio, describe(tab))
    assert await shown >= frames_per_s, await agent.call_text()
    assert agent.heard().level > 0.001


async def record_of(server: Daemon, ended_by: str, reason: str) -> None:
    for _ in range(50):
        metrics = await server.metrics()
        if metrics.get(f'mediaserver_contacts_ended_total{{by="{ended_by}",reason="{reason}"}}') == 1:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no contact was ended by {ended_by} for {reason}: {metrics}")


@pytest.mark.smoke
@pytest.mark.timeout(90)
async def test_a_visitor_calls_a_plain_phone(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes=ENTRY) as server, chromium(tmp_path) as browser:
        async with baresip(phone(server, "udp", ""), tmp_path) as agent:
            await agent.wait_registered()
            tab = await press_video_call(server, browser)
            await agent.wait_established()
            await tab.page.get_by_role("button", name="Show my camera").click()
            await asyncio.sleep(2)
            await both_see_and_hear(tab, agent, seconds=5)
            await agent.hangup()
            await record_of(server, "agent", "hangup")


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("ends", "by"), [("page", "caller"), ("phone", "agent")])
async def test_a_visitor_calls_a_phone_over_tls_with_srtp_for_20_s(tmp_path: Path, ends: str, by: str) -> None:
    async with daemon(tmp_path, changes=ENTRY) as server, chromium(tmp_path) as browser:
        options = phone(server, "tls", "srtp-mand", audio=(OPUS,))
        async with baresip(options, tmp_path) as agent:
            await agent.wait_registered()
            tab = await press_video_call(server, browser)
            await agent.wait_established()
            await tab.page.get_by_role("button", name="Show my camera").click()
            await asyncio.sleep(2)
            await both_see_and_hear(tab, agent, seconds=20)
            if ends == "page":
                await tab.page.get_by_role("button", name="Hang up").click()
                await agent.wait_closed()
            else:
                await agent.hangup()
            await record_of(server, by, "hangup")
