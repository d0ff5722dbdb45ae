"""The main job: somebody on a web page and somebody on a SIP phone talk by sound and picture."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.house import (
    ENTRY,
    both_see_and_hear,
    contact_ended,
    page_sees_and_hears,
    phone,
    phone_sees_and_hears,
    press_video_call,
    show_my_camera,
    sign_in_agent,
)
from tests.peers.baresip import OPUS, baresip
from tests.peers.chromium import chromium, streams
from tests.peers.daemon import daemon
from tests.peers.firefox import firefox
from tests.peers.namespace import namespace


@pytest.mark.smoke
@pytest.mark.timeout(240)
async def test_a_visitor_calls_a_plain_phone(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=5)
        # baresip names no packetization mode, which is 0 (RFC 6184 §8.1): the page sends and gets single NAL units.
        pictures = [item for way in ("inbound", "outbound") for item in streams(await tab.media(), way, "video")]
        assert {(item.codec, "packetization-mode=0" in item.format) for item in pictures if item.packets} == {
            ("H264", True)
        }
        await agent.hangup()
        await contact_ended(server, by="agent", reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("ends", "by"), [("page", "caller"), ("phone", "agent")])
async def test_a_visitor_calls_a_phone_over_tls_with_srtp_for_10_s(tmp_path: Path, ends: str, by: str) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "tls", "srtp-mand", audio=(OPUS,)), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await show_my_camera(tab)
        await both_see_and_hear(tab, agent, seconds=10)
        if ends == "page":
            await tab.page.get_by_role("button", name="Hang up").click()
            await agent.wait_closed()
        else:
            await agent.hangup()
        await contact_ended(server, by=by, reason="hangup")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_calls_an_agent_in_a_browser(tmp_path: Path) -> None:
    secret = tmp_path / "caller.secret"
    secret.touch(mode=0o600)
    secret.write_text("correct-horse-battery")
    changes = ENTRY | {"users": {"erika": {"secret": {"file": str(secret)}}}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path) as browser:
        tab = await sign_in_agent(server, browser)
        async with baresip(phone(server, "udp", "", user="erika"), tmp_path) as caller:
            await caller.wait_registered()
            await caller.dial(server.sip_uri("agent"))
            await expect(tab.page.get_by_role("alertdialog")).to_contain_text("erika")
            await tab.page.get_by_role("button", name="Answer").click()
            await caller.wait_established()
            await both_see_and_hear(tab, caller, seconds=8)
            await tab.page.get_by_role("button", name="Hang up").click()
            await caller.wait_closed()
            await contact_ended(server, by="agent", reason="hangup")
            await expect(tab.page.get_by_text("Ready for calls")).to_be_visible()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_calls_an_agent_in_a_browser(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes=ENTRY) as server, chromium(tmp_path) as browser:
        agent = await sign_in_agent(server, browser)
        visitor = await press_video_call(server, browser)
        await expect(agent.page.get_by_role("alertdialog")).to_contain_text(f"{server.http_url}/call/demo")
        await agent.page.get_by_role("button", name="Answer").click()
        await show_my_camera(visitor)
        await asyncio.gather(page_sees_and_hears(visitor, seconds=5), page_sees_and_hears(agent, seconds=5))
        await visitor.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        assert visitor.errors == agent.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_browser_that_vanishes_ends_its_call_with_a_reason(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        await tab.page.context.close()
        await agent.wait_closed(60)
        async with asyncio.timeout(30):
            while not (
                ended := [
                    name
                    for name, value in (await server.metrics()).items()
                    if "contacts_ended_total{" in name and value == 1
                ]
            ):
                await asyncio.sleep(0.1)
        assert len(ended) == 1
        assert 'reason="' in ended[0]


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_that_goes_silent_is_noticed(tmp_path: Path) -> None:
    changes = {**ENTRY, "media": {"shards": 1, "rtp_timeout": "3s"}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        await press_video_call(server, browser)
        await agent.wait_established()
        os.kill(agent.pid, signal.SIGKILL)  # no BYE
        await contact_ended(server, by="system", reason="media_timeout")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_with_firefox_calls_a_phone(tmp_path: Path) -> None:
    # Debian's Firefox has no H.264 of its own, so the phone speaks VP8; it needs a non-loopback address.
    async with (
        namespace() as inside,
        daemon(tmp_path, changes=ENTRY, network=inside) as server,
        firefox(tmp_path, inside) as browser,
        baresip(phone(server, "udp", "", audio=(OPUS,), video=("VP8",)), tmp_path, inside) as agent,
    ):
        await agent.wait_registered()
        await browser.goto(f"{server.http_url}/call/demo")
        await browser.click("button", "Video call")
        await agent.wait_established()
        await browser.click("button", "Show my camera")
        await phone_sees_and_hears(agent, seconds=5)
        async with asyncio.timeout(60):
            while True:
                media = await browser.media_over(10)
                (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
                if video.frames_per_s >= 8 and audio.packets > 250:
                    break
        await browser.click("button", "Hang up")
        await agent.wait_closed()
        await contact_ended(server, by="caller", reason="hangup")
