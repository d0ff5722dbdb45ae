"""The agent page in Chromium: signing in, being rung, answering, the other side's page and attributes as text."""

from __future__ import annotations

import pytest
from playwright.async_api import Page as BrowserPage
from playwright.async_api import expect

from mediaserver.webrtc.messages import CallerInfo, Ended, Incoming, MediaKinds, Page, State, Withdrawn
from tests.web.backend import until

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
@pytest.mark.timeout(90)
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
    await until(lambda: leg.frames["audio"] > 5 and leg.frames["video"] > 5, seconds=20)
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
@pytest.mark.timeout(90)
async def test_one_call_after_another_over_one_session(browser, backend):
    tab, agent = await signed_in(browser, backend)
    page = tab.page
    for number in (1, 2):
        await ring(agent, f"call-{number}")
        await control(page, "Answer").click()
        leg = backend.leg(agent)
        await until(lambda leg=leg: leg.frames["audio"] > 5, seconds=20)
        await agent.signaling.send(Ended(by="caller", reason="hangup"))
        await expect(page.get_by_text("The other side hung up.")).to_be_visible()
        await backend.legs.pop(agent).stop()
    offers = [message.id for message in agent.messages if message.type == "offer"]
    assert offers[0] < offers[1]
    assert backend.stack.sessions.count == 1
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(60)
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
@pytest.mark.timeout(60)
async def test_an_agent_calls_somebody(browser, backend):
    tab, agent = await signed_in(browser, backend)
    await tab.page.get_by_label("Call somebody").fill("sip:bob@example.org")
    await control(tab.page, "Call").click()
    await until(lambda: backend.leg(agent).frames["audio"] > 5, seconds=20)
    assert agent.messages[0].target == "sip:bob@example.org"
    await control(tab.page, "Hang up").click()
    await expect(tab.page.get_by_text("Ready for calls")).to_be_visible()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(60)
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
