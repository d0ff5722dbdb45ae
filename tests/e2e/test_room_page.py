"""The page of a room: two people meet, write, share and leave; without a mouse; on small screens; and what goes wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, expect

from tests.e2e.members import token_of
from tests.peers.chromium import Chromium, Tab, chromium
from tests.peers.daemon import Daemon, daemon

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SMALL, LARGE = {"width": 360, "height": 640}, {"width": 1280, "height": 720}

SHARE = """() => { navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 360];
    const pen = canvas.getContext("2d");
    setInterval(() => { pen.fillStyle = "white"; pen.fillRect(0, 0, 640, 360); pen.fillStyle = "black";
        pen.fillText(String(performance.now()), 40, 40); }, 100);
    return canvas.captureStream(10);
} }"""
"""A screen to share: a browser without one has none."""

REFUSE = """() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
}"""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

UNNAMED = """() => [...document.querySelectorAll("button, input, video, a")]
    .filter((one) => one.offsetParent && !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
    .map((one) => one.outerHTML)"""
"""What can be used and has no name for those who do not see it."""


def control(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("button", name=name, exact=True)


def tile(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("list", name="Pictures").get_by_role("listitem").filter(has_text=name)


async def arrive(
    server: Daemon, browser: Chromium, name: str, *, size: dict[str, int] | None = None, **token: Any
) -> Tab:
    """In front of the room, with an invitation."""
    context: BrowserContext = await browser.browser.new_context(
        permissions=["microphone", "camera"], locale="en-US", viewport=size or LARGE, reduced_motion="reduce"
    )
    tab = await browser.new_tab(context=context)
    await context.add_init_script(f"({SHARE})()")
    await tab.page.goto(f"{server.http_url}/room#token={await token_of(server, name, **token)}")
    assert "token" not in tab.page.url, "it does not stay in the address bar"
    return tab


async def join(tab: Tab, *, camera: bool = True) -> None:
    if camera:
        await control(tab, "Camera").click()
        await expect(tab.page.get_by_label("Your own picture")).to_be_visible()
    await control(tab, "Join the room").click()
    await expect(tab.page.get_by_role("heading", name="Room stage")).to_be_visible()
    await expect(tab.page.get_by_text("in the room", exact=False).first).to_be_visible()


async def test_two_people_meet_write_share_a_screen_and_leave(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, chromium(tmp_path, fps=10) as browser:
        anna = await arrive(server, browser, "Anna")
        await join(anna)
        await anna.told("You are the first one here.")
        bert = await arrive(server, browser, "Bert", size=SMALL)
        await join(bert)
        await anna.told("Bert is here now.")
        for tab, other in ((anna, "Bert"), (bert, "Anna")):
            await expect(tab.page.get_by_label(f"Picture of {other}")).to_be_visible()
            assert await tab.page.evaluate(OVERFLOW) <= 0
            assert await tab.page.evaluate(UNNAMED) == []

        await control(anna, "Chat").click()
        await anna.page.get_by_label("Message to everybody").fill("Hello <b>Bert</b>")
        await anna.page.keyboard.press("Enter")
        await expect(control(bert, "Chat (1 new)")).to_be_visible()
        await control(bert, "Chat (1 new)").click()
        message = bert.page.get_by_role("log", name="Messages").get_by_role("listitem")
        await expect(message).to_contain_text("Anna")
        await expect(message).to_contain_text("Hello <b>Bert</b>")
        assert await bert.page.evaluate(OVERFLOW) <= 0
        await bert.page.keyboard.press("Escape")
        await expect(control(bert, "Chat")).to_be_focused()

        await control(bert, "Mute").click()
        await bert.told("You are muted.")
        await control(anna, "People (2)").click()
        people = anna.page.get_by_role("list", name="People in the room")
        await expect(people.get_by_role("listitem").filter(has_text="Bert")).to_have_text("Bertcamera")
        await control(bert, "Camera").click()
        await expect(people.get_by_role("listitem").filter(has_text="Bert")).to_have_text("Bertlistens")
        await expect(anna.page.get_by_label("Picture of Bert")).to_be_hidden()

        await control(bert, "Share screen").click()
        await expect(anna.page.get_by_label("Screen of Bert")).to_be_visible()
        await expect(tile(anna, "Bert: screen")).to_have_class("tile screen")
        await control(bert, "Share screen").click()
        await expect(anna.page.get_by_label("Screen of Bert")).to_be_hidden()

        await control(bert, "Leave").click()
        await expect(bert.page.get_by_text("You have left the room.")).to_be_visible()
        await anna.told("Bert has left.")
        await expect(control(bert, "Join again")).to_be_focused()
        for tab in (anna, bert):
            assert tab.errors == []


async def test_a_room_without_a_mouse(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, chromium(tmp_path, fps=10) as browser:
        anna = await arrive(server, browser, "Anna")
        keys = anna.page.keyboard
        await expect(control(anna, "Join the room")).to_be_focused()
        await keys.press("Shift+Tab")
        await expect(control(anna, "Camera")).to_be_focused()
        await keys.press("Space")
        await expect(control(anna, "Camera")).to_have_attribute("aria-pressed", "true")
        await keys.press("Enter")
        await expect(control(anna, "Camera")).to_have_attribute("aria-pressed", "false")
        await keys.press("Tab")
        await keys.press("Enter")
        await expect(control(anna, "Mute")).to_be_focused()
        await keys.press("Space")
        await expect(control(anna, "Mute")).to_have_attribute("aria-pressed", "true")
        for name in ("Camera", "Share screen", "People (1)", "Chat"):
            await keys.press("Tab")
            await expect(control(anna, name)).to_be_focused()
        await keys.press("Enter")
        await expect(anna.page.get_by_label("Message to everybody")).to_be_focused()
        await keys.type("Is anybody here?")
        await keys.press("Enter")
        await expect(anna.page.get_by_role("log")).to_contain_text("Is anybody here?")

        # Who comes a little later reads it, and is seen large at a key press.
        bert = await arrive(server, browser, "Bert")
        await join(bert)
        await expect(control(bert, "Chat (1 new)")).to_be_visible()
        await expect(anna.page.get_by_label("Picture of Bert")).to_be_visible()
        large = control(anna, "Show Bert large")
        await large.focus()
        await keys.press("Enter")
        await expect(large).to_have_attribute("aria-pressed", "true")
        await expect(large).to_be_focused()
        await control(anna, "Leave").focus()
        await keys.press("Enter")
        await expect(control(anna, "Join again")).to_be_focused()
        assert anna.errors == []


async def test_what_goes_wrong_is_said_in_plain_words(tmp_path: Path) -> None:
    changes = {"limits": {"participants_per_room": 1}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path, fps=10) as browser:
        stranger = await browser.new_tab(f"{server.http_url}/room")
        await stranger.page.get_by_label("Invitation (link or token)").fill("let me in")
        await stranger.page.keyboard.press("Enter")
        await expect(stranger.page.get_by_role("alert")).to_contain_text("no invitation")
        await stranger.page.get_by_label("Invitation (link or token)").fill(
            f"{server.http_url}/room#token=a.b.c-not-good"
        )
        await stranger.page.keyboard.press("Enter")
        await expect(stranger.page.get_by_role("status")).to_contain_text("not valid")

        # Nobody has to have a microphone; a screen may be forbidden by the token.
        anna = await arrive(server, browser, "Anna", publish=["audio", "video"])
        await anna.page.evaluate(REFUSE)
        await join(anna, camera=False)
        await expect(anna.page.get_by_role("status").first).to_contain_text("does not let this page use the microphone")
        await control(anna, "Share screen").click(force=True)
        await expect(anna.page.get_by_role("status").first).to_have_text("You may not share a screen in this room.")
        await control(anna, "Chat").click()
        await expect(anna.page.get_by_label("Message to everybody")).to_be_disabled()

        bert = await arrive(server, browser, "Bert")
        await control(bert, "Join the room").click()
        await expect(bert.page.get_by_role("status").first).to_contain_text("The room is full at the moment")
        for tab in (stranger, anna, bert):
            assert tab.errors == []


async def test_a_line_without_room_for_pictures_leaves_the_sound(tmp_path: Path) -> None:
    changes = {"sites": {"here": {"cidrs": ["127.0.0.0/8"], "budget": {"video": "100 kbit/s"}}}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path, fps=10) as browser:
        anna, bert = [await arrive(server, browser, name) for name in ("Anna", "Bert")]
        for tab in (anna, bert):
            await join(tab)
            await expect(tab.page.get_by_text("you take part by sound only")).to_be_visible()
            await expect(control(tab, "Camera")).to_have_attribute("aria-disabled", "true")
        async with asyncio.timeout(40):
            while not any(
                item.kind == "audio" and item.direction == "inbound" and item.packets for item in await bert.media()
            ):
                await asyncio.sleep(0.2)
