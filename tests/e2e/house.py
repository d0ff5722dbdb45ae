"""What the end-to-end tests share: a house with an entry and an agent, and what people in it do and notice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from playwright.async_api import expect

from tests.peers.baresip import PCMU, Baresip, Phone
from tests.peers.chromium import Chromium, Tab, describe, streams
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, Daemon
from tests.peers.webrtc_stats import Media

ENTRY: dict[str, Any] = {
    "entries": {"demo": {"to": {"user": "agent"}, "announcement": "greeting"}},
    "announcements": {"greeting": {}},
    "media": {"shards": 2},
}
"""An entry that rings the one agent; two shards, so that legs of one call often sit on different ones."""


class Page(Protocol):
    """What is looked at in a page of any browser."""

    console: list[str]
    errors: list[str]

    async def media(self) -> list[Media]: ...

    async def media_over(self, seconds: float) -> list[Media]: ...


_SETTLED_S = 30.0
"""After so long without the picture and sound that are wanted, there are none."""


def phone(server: Daemon, transport: str, encryption: str, **more: Any) -> Phone:
    """The agent's SIP phone, registered over `transport`."""
    return Phone(
        user=more.pop("user", "agent"),
        domain=server.sip_server(transport),
        password=AGENT_PASSWORD,
        transport=transport,
        register=True,
        encryption=encryption,
        ca_file=server.certificates.ca,
        **{"audio": (PCMU,), "video": ("H264",), **more},
    )


async def press_video_call(server: Daemon, browser: Chromium) -> Tab:
    """A visitor opens the page and presses the button."""
    return await start_call(browser, f"{server.http_url}/call/demo")


async def start_call(browser: Chromium, url: str) -> Tab:
    """The same on the page at ``url``."""
    tab = await browser.new_tab(url)
    await tab.page.get_by_role("button", name="Video call").click()
    return tab


async def show_my_camera(tab: Tab) -> None:
    """The visitor agrees to be seen."""
    await tab.page.get_by_role("button", name="Show my camera").click()


async def sign_in_agent(server: Daemon, browser: Chromium) -> Tab:
    """The agent signs in on the page."""
    tab = await browser.new_tab(f"{server.http_url}/agent")
    await tab.page.get_by_label("User").fill("agent")
    await tab.page.get_by_label("Password").fill(AGENT_PASSWORD)
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_text("Ready for calls")).to_be_visible()
    return tab


async def page_sees_and_hears(tab: Page, *, seconds: float, frames_per_s: float = 8.0) -> None:
    """The page gets sound above silence and a moving picture for so long, soon after the first of both.

    How soon is left to the machine: a busy one stands still for moments, and then the next so many seconds count.
    """
    await _begun(lambda: _page_has_media(tab), "the page hears or sees nothing")
    deadline = asyncio.get_running_loop().time() + _SETTLED_S
    while True:
        media = await tab.media_over(seconds)
        audio, video = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
        assert len(audio) == len(video) == 1, (media, _said(tab))
        if video[0].frames_per_s >= frames_per_s and audio[0].loudness > 0.01:
            return
        assert asyncio.get_running_loop().time() < deadline, (audio, video, _said(tab))


async def phone_sees_and_hears(agent: Baresip, *, seconds: float, frames_per_s: float = 8.0) -> None:
    """The same for the phone."""
    await _begun(lambda: _phone_has_picture(agent), "the phone shows nothing")
    deadline = asyncio.get_running_loop().time() + _SETTLED_S
    while (shown := await agent.shown_frames_per_s(seconds)) < frames_per_s or agent.heard().level <= 0.001:
        seen = (shown, agent.heard().level, await agent.video_stats(), await agent.call_text())
        assert asyncio.get_running_loop().time() < deadline, seen


def _said(page: Page) -> dict[str, Any]:
    return describe(page) if isinstance(page, Tab) else {"console": page.console[-20:], "errors": page.errors}


async def _page_has_media(tab: Page) -> bool:
    begun = {
        item.kind
        for item in await tab.media()
        if item.direction == "inbound" and item.packets and item.samples + item.frames
    }
    return begun == {"audio", "video"}


async def _phone_has_picture(agent: Baresip) -> bool:
    return "Video stream" in await agent.command("video_debug") and (await agent.video_stats()).frames_shown > 0


async def _begun(happens: Callable[[], Awaitable[bool]], complaint: str, within_s: float = 40.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not await happens():
        assert asyncio.get_running_loop().time() < deadline, f"{complaint} within {within_s} s"
        await asyncio.sleep(0.1)


async def both_see_and_hear(tab: Page, agent: Baresip, *, seconds: float) -> None:
    """Both directions at the same time."""
    await asyncio.gather(page_sees_and_hears(tab, seconds=seconds), phone_sees_and_hears(agent, seconds=seconds))


async def contact_ended(server: Daemon, *, by: str, reason: str, within_s: float = 30.0) -> None:
    """Exactly one contact has ended, and both metric and record (written a moment later) say by whom and why."""
    wanted = f'mediaserver_contacts_ended_total{{by="{by}",reason="{reason}"}}'
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        metrics = await server.metrics()
        ends = [(record["ended_by"], record["end_reason"]) for record in await records(server)]
        if metrics.get(wanted) == 1 and ends:
            break
        if asyncio.get_running_loop().time() > deadline:
            ended = {name: value for name, value in metrics.items() if "contacts_ended_total" in name}
            raise AssertionError(f"no contact ended by {by} for {reason} within {within_s} s: {ended}, {ends}")
        await asyncio.sleep(0.1)
    assert ends == [(by, reason)]


async def metric_becomes(server: Daemon, name: str, value: float, within_s: float = 30.0) -> None:
    """What happens behind a socket is counted a moment after the test did it."""
    deadline = asyncio.get_running_loop().time() + within_s
    while (found := (await server.metrics()).get(name)) != value:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{name} is {found}, not {value}, after {within_s} s")
        await asyncio.sleep(0.05)


async def records(server: Daemon) -> list[dict[str, Any]]:
    """Every finished contact, the latest first."""
    _, text = await server.request("GET", f"{server.admin_url}/v1/records", token=ADMIN_TOKEN)
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items


async def only_record(server: Daemon, within_s: float = 30.0) -> dict[str, Any]:
    """The record of the only contact there was; it is written a moment after the end of that."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not (found := await records(server)):
        assert asyncio.get_running_loop().time() < deadline, f"no record within {within_s} s"
        await asyncio.sleep(0.05)
    (record,) = found
    return record


async def announcement_loaded(server: Daemon, within_s: float = 60.0) -> None:
    """The greeting can be played."""
    await server.process.wait_for_log(r'"event": "announcement_loaded"', within_s)
