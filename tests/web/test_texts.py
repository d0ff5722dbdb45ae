"""The chat and the live text of caller and agent pages in Chromium: by keyboard, on a narrow screen, told to readers."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page, expect

from mediaserver.webrtc.messages import Ended, Text
from tests.web.backend import MediaLeg, until
from tests.web.test_agent_page import ring, signed_in
from tests.web.test_caller_page import control

pytestmark = pytest.mark.asyncio(loop_scope="module")

NARROW = {"width": 360, "height": 740}


def keys_of(leg: MediaLeg) -> str:
    """The live text as it came, key by key."""
    return "".join(text for label, text in leg.said if label == "t140")


async def channels(leg: MediaLeg) -> None:
    await until(lambda: set(leg.channels) == {"chat", "t140"}, what="both channels")


async def in_call(browser, backend) -> tuple[Page, MediaLeg]:
    """A caller's page on a narrow screen, in a call."""
    tab = await browser.new_tab()
    await tab.page.set_viewport_size(NARROW)
    await tab.page.goto(backend.stack.origin + "/call/demo")
    await control(tab.page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).offers)
    leg = backend.leg(backend.caller)
    await backend.connect(backend.caller)
    await channels(leg)
    return tab.page, leg


async def fits(page: Page) -> bool:
    """Nothing is wider than the screen."""
    fits: bool = await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return fits


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_caller_writes_and_reads_by_keyboard_on_a_narrow_screen(browser, backend):
    page, leg = await in_call(browser, backend)
    button = control(page, "Chat")
    await expect(button).to_have_attribute("aria-expanded", "false")
    await button.press("Enter")
    await expect(page.get_by_label("Message")).to_be_focused()
    await page.keyboard.type("grüß dich <b>")
    await page.keyboard.press("Enter")
    await until(
        lambda: leg.said == [("chat", json.dumps({"text": "grüß dich <b>"}, ensure_ascii=False, separators=(",", ":")))]
    )
    log = page.get_by_role("log", name="Chat")
    await expect(log).to_have_attribute("aria-live", "polite")
    await expect(log.get_by_role("listitem")).to_contain_text(["grüß dich <b>"])
    leg.channels["chat"].send(json.dumps({"from": "Desk", "text": "x" * 300 + "<img src=x onerror=alert(1)>"}))
    await expect(log.get_by_role("listitem")).to_have_count(2)
    await expect(log.get_by_role("listitem").nth(1)).to_contain_text("Desk")
    assert await log.locator("img").count() == 0
    assert await fits(page)
    # Somebody who has closed the list is told how many are new, and is not disturbed.
    await button.press("Enter")
    leg.channels["chat"].send("plain")
    await expect(control(page, "Chat (1 new)")).to_be_visible()
    await expect(log).to_be_hidden()
    await backend.caller.signaling.send(Ended(by="agent", reason="hangup"))
    await expect(control(page, "Video call")).to_be_visible()
    await expect(page.get_by_role("button", name="Chat")).to_be_hidden()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_live_text_is_there_with_a_phone_that_has_it_and_carries_every_key(browser, backend):
    page, leg = await in_call(browser, backend)
    live = page.get_by_role("button", name="Live text")
    await expect(live).to_be_hidden()
    await backend.caller.signaling.send(Text(on=True))
    await expect(live).to_be_visible()
    await live.press("Enter")
    own = page.get_by_label("You write, and they see each letter")
    await expect(own).to_be_focused()
    await page.keyboard.type("Hallp")
    await page.keyboard.press("Backspace")
    await page.keyboard.type("o ☺")
    await page.keyboard.press("Enter")
    await until(lambda: keys_of(leg) == "Hallp\bo ☺\u2028", what=keys_of(leg))
    log = page.get_by_role("log", name="Live text")
    await expect(log.get_by_role("listitem")).to_contain_text(["Hallo ☺"])
    typing = page.locator(".live")
    for key in "\ufeffJo\ba":
        leg.channels["t140"].send(key)
    await expect(typing).to_have_text("Ja")
    leg.channels["t140"].send("\b\b\b\bNein\ufffd\u2028und")
    await expect(log.get_by_role("listitem").nth(1)).to_contain_text("Nein\ufffd")
    await expect(typing).to_have_text("und")
    assert await fits(page)
    await backend.caller.signaling.send(Text(on=False))
    await expect(live).to_be_hidden()
    await expect(own).to_be_hidden()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_an_agent_has_both_and_each_call_begins_anew(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    await ring(agent)
    await control(page, "Answer").click()
    leg = backend.leg(agent)
    await channels(leg)
    await backend.connect(agent, "Erika")
    await agent.signaling.send(Text(on=True))
    await expect(page.get_by_role("button", name="Live text")).to_be_visible()
    leg.channels["chat"].send("hello")
    log = page.get_by_role("log", name="Chat")
    await expect(log.get_by_role("listitem")).to_contain_text(["Erika"])
    # Keys that are typed into a field are no digits for the other side's menu.
    await control(page, "Keypad").click()
    await page.get_by_label("Message").fill("")
    await page.get_by_label("Message").press_sequentially("12")
    assert not [message for message in agent.messages if message.type == "dtmf"]
    await agent.signaling.send(Ended(by="caller", reason="hangup"))
    await expect(page.get_by_text("Ready for calls")).to_be_visible()
    await backend.legs.pop(agent).stop()
    await ring(agent, "call-2")
    await control(page, "Answer").click()
    await channels(backend.leg(agent))
    await backend.connect(agent, "Max")
    await control(page, "Chat").click()
    await expect(page.get_by_role("listitem")).to_have_count(0)
