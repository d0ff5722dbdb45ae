"""The agent page in Chromium: signing in, being rung, answering, the other side's page and attributes as text."""

from __future__ import annotations

import pytest
from playwright.async_api import Page as BrowserPage
from playwright.async_api import expect

from mediaserver.webrtc.messages import CallerInfo, Ended, Incoming, MediaKinds, Page, Peer, State, Withdrawn
from tests.web.backend import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLER = CallerInfo(
    name="Erika <b>Muster</b>",
    verified=False,
    unverified_attributes={"topic": "<img src=x onerror=alert(1)>"},
)
PAGE = Page(url="https://www.example.org/sick-pay?child=1", title="Sick pay")


def control(page: BrowserPage, name: str):
    return page.get_by_role("button", name=name, exact=True)


async def signed_in(browser, backend):
    tab = await browser.new_tab(backend.stack.origin + "/agent")
    page = tab.page
    await page.get_by_label("User").fill("anna")
    await page.get_by_label("Password").fill("correct horse")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Ready for calls")).to_be_visible()
    return tab, backend.stack.contacts.agents["anna"]


async def ring(agent, call_id="call-1", **change):
    values = {"caller": CALLER, "page": PAGE, "media": MediaKinds(audio=True, video=True), **change}
    await agent.signaling.send(Incoming(call_id=call_id, **values))


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_an_agent_answers_and_talks(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    await ring(agent)
    await expect(control(page, "Answer")).to_be_focused()
    ringing = page.get_by_role("alertdialog")
    await expect(ringing).to_contain_text("Erika <b>Muster</b>")
    await expect(ringing).to_contain_text("https://www.example.org/sick-pay?child=1")
    await expect(ringing).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(ringing).to_contain_text("Not verified")
    assert await page.locator("a").count() == 0
    await page.keyboard.press("Enter")
    leg = backend.leg(agent)
    await until(lambda: leg.frames["audio"] > 5 and leg.frames["video"] > 5)
    assert [message.type for message in agent.messages][:2] == ["accept", "offer"]
    await agent.signaling.send(State(state="connected"))
    await expect(page.get_by_text("Talking to Erika <b>Muster</b>")).to_be_visible()
    await until(lambda: page.evaluate("document.querySelector('.stage').classList.contains('picture')"))
    await control(page, "Mute").click()
    await until(lambda: agent.messages[-1].type == "mute" and agent.messages[-1].audio)
    await control(page, "Camera").click()
    await until(lambda: agent.messages[-1].type == "mute" and agent.messages[-1].video)
    await control(page, "Hang up").click()
    await until(lambda: agent.messages[-1].type == "hangup")
    await expect(page.get_by_text("Ready for calls")).to_be_visible()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_somebody_else_at_the_other_end_is_shown_and_not_taken_for_the_verified_customer(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    await ring(agent, caller=CallerInfo(name="Erika", verified=True, attributes={"tariff": "gold"}))
    await control(page, "Answer").click()
    await until(lambda: backend.leg(agent).offers)
    # The first word of a call about who is there changes nothing of what is known about the caller.
    await backend.connect(agent, "Erika Muster")
    side = page.get_by_role("complementary", name="About the caller")
    await expect(page.get_by_text("Talking to Erika Muster")).to_be_visible()
    await expect(side).to_contain_text("Verified customer")
    await agent.signaling.send(State(state="connected", peer=Peer(name="Boss <i>")))
    await expect(page.get_by_text("Talking to Boss <i>")).to_be_visible()
    await expect(side).to_contain_text("Called by Erika")
    await expect(side).not_to_contain_text("Verified customer")
    await expect(side).to_contain_text("gold")
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_one_call_after_another_over_one_session(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    for number in (1, 2):
        await ring(agent, f"call-{number}")
        await control(page, "Answer").click()
        leg = backend.leg(agent)
        await until(lambda leg=leg: leg.frames["audio"] > 5)
        await agent.signaling.send(Ended(by="caller", reason="hangup"))
        await expect(page.get_by_text("The other side hung up.")).to_be_visible()
        await backend.legs.pop(agent).stop()
    offers = [message.id for message in agent.messages if message.type == "offer"]
    assert offers[0] < offers[1]
    assert backend.stack.sessions.count == 1
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_withdrawn_call_stops_ringing_and_a_declined_one_too(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    await ring(agent)
    await expect(control(page, "Answer")).to_be_visible()
    await agent.signaling.send(Withdrawn(call_id="call-1", reason="cancelled"))
    await expect(control(page, "Answer")).to_be_hidden()
    await ring(agent, "call-2")
    await control(page, "Decline").click()
    await until(lambda: agent.messages[-1].type == "decline")
    assert agent.messages[-1].call_id == "call-2"
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_an_agent_calls_somebody(browser, backend):
    tab, agent = await signed_in(browser, backend)
    await tab.page.get_by_label("Call somebody").fill("sip:bob@example.org")
    await control(tab.page, "Call").click()
    await until(lambda: backend.leg(agent).frames["audio"] > 5)
    assert agent.messages[0].target == "sip:bob@example.org"
    await control(tab.page, "Hang up").click()
    await expect(tab.page.get_by_text("Ready for calls")).to_be_visible()
    assert tab.errors == []


def digits(agent) -> str:
    """What the page has sent as keys."""
    return "".join(message.digits for message in agent.messages if message.type == "dtmf")


async def in_a_call(browser, backend):
    """An agent that has called a number and is connected."""
    tab, agent = await signed_in(browser, backend)
    await tab.page.get_by_label("Call somebody").fill("08001234")
    await tab.page.keyboard.press("Enter")
    await until(lambda: backend.leg(agent).offers)
    await agent.signaling.send(State(state="connected"))
    await expect(tab.page.get_by_text("Talking to 08001234")).to_be_visible()
    return tab, agent


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_the_keypad_presses_keys_for_a_phone_menu(browser, backend):
    tab, agent = await in_a_call(browser, backend)
    page = tab.page
    keypad = control(page, "Keypad")
    keys = page.get_by_role("group", name="Keys", exact=True)
    await expect(keys).to_be_hidden()
    await keypad.click()
    await expect(keypad).to_have_attribute("aria-expanded", "true")
    for name in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "Star", "0", "Hash"):
        await keys.get_by_role("button", name=name, exact=True).click()
    await until(lambda: digits(agent) == "123456789*0#")
    await expect(page.get_by_label("Keys pressed")).to_have_text("123456789*0#")
    await control(page, "Hang up").click()
    await expect(keys).to_be_hidden()
    await expect(keypad).to_be_hidden()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_keys_are_typed_while_the_keypad_is_open_and_only_then(browser, backend):
    tab, agent = await in_a_call(browser, backend)
    page = tab.page
    await page.keyboard.type("99")
    await control(page, "Keypad").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.type("4a2#")
    # Without a pointer: from the button on to the first key.
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(control(page, "1")).to_be_focused()
    await page.keyboard.press("Space")
    await page.keyboard.press("Escape")
    await expect(control(page, "Keypad")).to_be_focused()
    await expect(control(page, "1")).to_be_hidden()
    await page.keyboard.type("7")
    await control(page, "Hang up").click()
    await until(lambda: agent.messages[-1].type == "hangup")
    assert digits(agent) == "42#1"
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_on_hold_takes_no_keys_and_the_next_call_begins_with_none(browser, backend):
    tab, agent = await in_a_call(browser, backend)
    page = tab.page
    await control(page, "Keypad").click()
    await control(page, "5").click()
    await agent.signaling.send(State(state="held"))
    await expect(control(page, "5")).to_have_attribute("aria-disabled", "true")
    await control(page, "5").click(force=True)
    await agent.signaling.send(State(state="connected"))
    await expect(control(page, "5")).to_have_attribute("aria-disabled", "false")
    await control(page, "6").click()
    await until(lambda: digits(agent) == "56")
    await agent.signaling.send(Ended(by="caller", reason="hangup"))
    await expect(page.get_by_text("The other side hung up.")).to_be_visible()
    await backend.legs.pop(agent).stop()
    await control(page, "Call").click()
    await until(lambda: backend.leg(agent).offers)
    await agent.signaling.send(State(state="connected"))
    await control(page, "Keypad").click()
    await expect(page.get_by_label("Keys pressed")).to_have_text("")
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_wrong_password_is_said_and_signing_out_ends_the_session(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    await control(page, "Sign out").click()
    await until(lambda: agent.gone_reasons)
    await page.get_by_label("User").fill("anna")
    await page.get_by_label("Password").fill("wrong")
    await control(page, "Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("User or password is not right.")
    await page.reload()
    await expect(page.get_by_label("Password")).to_be_visible()
