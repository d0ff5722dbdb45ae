"""The caller page in Chromium: from the click to sound and picture, consent, keyboard, lost sockets, human words."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from mediaserver.webrtc.messages import Ended, Peer, State
from tests.peers.chromium import streams
from tests.web.backend import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATCH_CAPTURE = """
  window.captured = [];
  const media = navigator.mediaDevices;
  const original = media.getUserMedia.bind(media);
  media.getUserMedia = (constraints) => {
    window.captured.push(Object.keys(constraints));
    return original(constraints);
  };
"""


def control(page: Page, name: str):
    return page.get_by_role("button", name=name, exact=True)


async def call_page(browser, backend, path="/"):
    tab = await browser.new_tab()
    await tab.page.add_init_script(WATCH_CAPTURE)
    await tab.page.goto(backend.stack.origin + path)
    return tab


async def types(backend):
    return [message.type for message in backend.caller.messages if message.type != "candidate"]


@pytest.mark.smoke
@pytest.mark.timeout(240)
async def test_a_call_from_click_to_hang_up(browser, backend):
    tab = await call_page(browser, backend, "/call/demo?tariff=gold")
    page = tab.page
    start = control(page, "Video call")
    await expect(start).to_be_visible()
    assert await page.evaluate("window.captured") == []
    assert backend.stack.sessions.count == 0

    await start.click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).offers)
    begun = backend.stack.contacts.started[0]
    assert begun["entry"] == "demo"
    assert begun["attributes"] == {"tariff": "gold"}
    assert begun["page"].url.endswith("/call/demo?tariff=gold")
    leg = backend.leg(backend.caller)
    await backend.caller.signaling.send(State(state="ringing"))
    await expect(page.get_by_role("status")).to_have_text("We are calling somebody for you …")
    # The announcement's picture shows at once, the caller's camera does not.
    await until(lambda: page.evaluate("document.querySelector('.stage').classList.contains('picture')"))
    await expect(control(page, "Show my camera")).to_be_hidden()
    assert await page.evaluate("window.captured") == [["audio"]]
    await until(lambda: leg.frames["audio"] > 10)

    await backend.connect(backend.caller)
    await expect(page.get_by_role("status")).to_have_text("You are talking to Anna Agent.")
    assert leg.frames["video"] == 0
    await expect(page.get_by_text("We see you <only> if you agree.")).to_be_visible()
    await control(page, "Show my camera").click()
    await until(lambda: leg.frames["video"] > 5)
    sent = await types(backend)
    assert sent.index("consent") < len(sent) - 1 - sent[::-1].index("offer")
    assert [message.text_version for message in backend.caller.messages if message.type == "consent"] == ["2026-11"]
    assert await page.evaluate("window.captured") == [["audio"], ["video"]]

    await control(page, "Mute").click()
    await expect(control(page, "Mute")).to_have_attribute("aria-pressed", "true")
    await until(lambda: backend.caller.messages[-1].type == "mute" and backend.caller.messages[-1].audio)
    await control(page, "Camera").click()
    await expect(control(page, "Camera")).to_have_attribute("aria-pressed", "false")
    await until(lambda: backend.caller.messages[-1].type == "mute" and backend.caller.messages[-1].video)
    offers = leg.offers
    await control(page, "Camera").click()
    await expect(control(page, "Camera")).to_have_attribute("aria-pressed", "true")
    assert leg.offers == offers

    inbound = streams(await tab.media(), "inbound", "video")
    assert inbound
    await control(page, "Hang up").click()
    await expect(start).to_be_visible()
    await until(lambda: backend.stack.sessions.count == 0)
    assert (await types(backend))[-1] == "hangup"
    await expect(page.get_by_role("status")).to_have_text("You hung up.")
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_somebody_else_at_the_other_end_is_said_and_the_camera_may_still_be_shown(browser, backend):
    tab = await call_page(browser, backend)
    await control(tab.page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).offers)
    await backend.connect(backend.caller)
    status = tab.page.get_by_role("status")
    await expect(status).to_have_text("You are talking to Anna Agent.")
    await backend.caller.signaling.send(State(state="connected", peer=Peer(name="Bert <i>")))
    await expect(status).to_have_text("You are talking to Bert <i>.")
    await expect(control(tab.page, "Show my camera")).to_be_visible()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_the_keyboard_is_enough(browser, backend):
    tab = await call_page(browser, backend)
    page = tab.page
    await page.keyboard.press("Tab")
    await expect(control(page, "Video call")).to_be_focused()
    await page.keyboard.press("Enter")
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).offers)
    # The button that was pressed is gone; focus is where the caller can stop it.
    await expect(control(page, "Hang up")).to_be_focused()
    await backend.connect(backend.caller)
    await expect(control(page, "Show my camera")).to_be_visible()
    await page.keyboard.press("Shift+Tab")
    await expect(control(page, "Chat")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(control(page, "Show my camera")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(control(page, "Camera")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(control(page, "Mute")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(control(page, "Mute")).to_have_attribute("aria-pressed", "true")
    for name in ("Camera", "Chat", "Hang up"):
        await page.keyboard.press("Tab")
        await expect(control(page, name)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(control(page, "Video call")).to_be_focused()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_an_offer_of_the_server_wins_and_the_camera_comes_after_it(browser, backend):
    tab = await call_page(browser, backend)
    await control(tab.page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
    leg = backend.leg(backend.caller)
    await leg.offer(backend.caller)
    await until(lambda: any(message.type == "answer" for message in backend.caller.messages))
    await backend.connect(backend.caller)
    leg.collide = True
    await control(tab.page, "Show my camera").click()
    await until(lambda: leg.frames["video"] > 5)
    answers = [message for message in backend.caller.messages if message.type == "answer"]
    assert len(answers) == 2
    assert leg.offers == 3
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_lost_socket_is_shown_and_resumed_and_the_call_goes_on(browser, backend):
    tab = await call_page(browser, backend)
    page = tab.page
    await control(page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
    await backend.connect(backend.caller)
    channel = next(iter(backend.stack.sessions._channels))
    channel._socket._req.transport.abort()
    await tab.told("The connection was interrupted. Reconnecting …")
    await expect(page.get_by_role("status")).to_have_text("You are talking to Anna Agent.")
    before = backend.leg(backend.caller).frames["audio"]
    await control(page, "Mute").click()
    await until(lambda: backend.caller.messages[-1].type == "mute")
    await until(lambda: backend.leg(backend.caller).frames["audio"] > before + 5)
    assert backend.caller.gone_reasons == []
    await backend.caller.signaling.send(Ended(by="agent", reason="hangup"))
    await expect(page.get_by_role("status")).to_have_text("The other side hung up.")


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_closed_page_ends_the_call_at_once(browser, backend):
    tab = await call_page(browser, backend)
    await control(tab.page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).offers)
    await tab.page.goto("about:blank")
    await until(lambda: backend.caller.gone_reasons)


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda stack: stack.admission.drain(), "We cannot take calls for a moment. Please try again shortly."),
        (
            lambda stack: setattr(stack.contacts, "full", True),
            "All lines are busy at the moment. Please try again in a few minutes.",
        ),
    ],
)
async def test_a_refusal_is_said_in_human_words(browser, backend, prepare, text):
    tab = await call_page(browser, backend)
    prepare(backend.stack)
    await control(tab.page, "Video call").click()
    await expect(tab.page.get_by_role("status")).to_have_text(text)
    await expect(control(tab.page, "Video call")).to_be_visible()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_without_a_microphone_the_call_ends_with_advice(browser, backend):
    tab = await call_page(browser, backend)
    await tab.page.evaluate(
        """() => {
          navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
        }"""
    )
    await control(tab.page, "Video call").click()
    await expect(tab.page.get_by_role("status")).to_contain_text("does not let this page use the microphone")
    await until(lambda: not backend.stack.sessions.count)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_hanging_up_while_the_microphone_is_asked_for_leaves_nothing_behind(browser, backend):
    tab = await call_page(browser, backend)
    page = tab.page
    await page.evaluate("""() => {
      const media = navigator.mediaDevices;
      const original = media.getUserMedia.bind(media);
      navigator.permissions.query = async () => ({ state: "prompt" });
      media.getUserMedia = async (constraints) => {
        window.late = await original(constraints);
        await new Promise((resolve) => { window.allow = resolve; });
        return window.late;
      };
    }""")
    await control(page, "Video call").click()
    await until(lambda: backend.stack.contacts.callers)
    await until(lambda: page.evaluate("Boolean(window.allow)"))
    await control(page, "Hang up").click()
    await until(lambda: not backend.stack.sessions.count)
    await page.evaluate("window.allow()")
    await until(lambda: page.evaluate("window.late.getTracks().every((track) => track.readyState === 'ended')"))
    assert [message.type for message in backend.caller.messages] == ["hangup"]
    await expect(control(page, "Video call")).to_be_visible()
    assert tab.errors == []
