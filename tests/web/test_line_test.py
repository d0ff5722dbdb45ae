"""The line test in Chromium: ways that work and that do not, devices that are missing, small screens, plain words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Page as BrowserPage
from playwright.async_api import expect

from mediaserver.webrtc.messages import IceServer
from tests.peers.chromium import Chromium
from tests.web.backend import Backend

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]

NOWHERE = IceServer(urls=("turn:127.0.0.1:9?transport=tcp",), username="u", credential="p")


class Echo:
    """Has the face of the daemon's tests; sends back every message but each tenth where it shall lose some."""

    def __init__(self) -> None:
        self.id = "the-test"
        self.open = False
        self.silent = False
        """Nothing that is offered leads anywhere."""
        self.loses = False
        self.connection: RTCPeerConnection | None = None
        self._ended: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return int(self.open)

    def begin(self, on_closed: Callable[[], None] = lambda: None) -> Echo:
        self.open, self._ended = True, on_closed
        return self

    def find(self, test_id: str) -> Echo | None:
        return self if self.open and test_id == self.id else None

    def close(self) -> None:
        self.open = False
        self._ended()

    def close_all(self) -> None:
        if self.open:
            self.close()

    async def connect(self, sdp: str) -> str:
        await self.hang_up()
        self.connection = connection = RTCPeerConnection()
        channels: dict[str, Any] = {}
        count = 0

        def came(message: bytes) -> None:
            nonlocal count
            count += 1
            if not (self.loses and count % 10 == 0):
                channels["down"].send(message)

        @connection.on("datachannel")
        def opened(channel: Any) -> None:
            channels[channel.label] = channel
            if channel.label == "up":
                channel.on("message", came)

        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription.sdp
        if self.silent:
            answer = "".join(line for line in answer.splitlines(keepends=True) if not line.startswith("a=candidate"))
            await self.hang_up()
        return answer

    async def hang_up(self) -> None:
        if self.connection is not None:
            await self.connection.close()
            self.connection = None


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest_asyncio.fixture(loop_scope="module")
async def backend(echo: Echo) -> AsyncIterator[Backend]:
    backend = Backend(line_tests=echo, turn=[NOWHERE])
    await backend.start()
    yield backend
    await echo.hang_up()
    await backend.stop()


async def opened(browser: Chromium, backend: Backend) -> BrowserPage:
    tab = await browser.new_tab(backend.stack.origin + "/call/demo")
    await tab.page.get_by_role("link", name="Test your line before you call").click()
    await expect(tab.page.get_by_role("button", name="Start the test")).to_be_focused()
    return tab.page


async def test_one_way_works_the_other_is_blocked_and_the_words_say_so(browser, backend, echo) -> None:
    page = await opened(browser, backend)
    await page.keyboard.press("Enter")
    card = page.locator(".line-test")
    await expect(card).to_contain_text("Everything is ready for a call with picture.", timeout=60_000)
    await expect(card).to_contain_text("Directly (UDP)works")
    await expect(card).to_contain_text("By relay (TCP)blocked")
    await expect(card).to_contain_text("Lost0 %")
    await expect(card.get_by_text("ms", exact=False).first).to_be_visible()
    assert not echo.open, "the page ends its test"
    await page.get_by_role("button", name="Close").click()
    await expect(card).to_have_count(0)
    await expect(page.get_by_role("link", name="Test your line before you call")).to_be_focused()
    # Camera and microphone are given back.
    assert await page.evaluate("document.querySelectorAll('video.preview').length") == 0


async def test_a_network_that_lets_nothing_pass(browser, backend, echo) -> None:
    echo.silent = True
    page = await opened(browser, backend)
    await page.keyboard.press("Enter")
    card = page.locator(".line-test")
    await expect(card).to_contain_text("A call would not work well from here.", timeout=60_000)
    await expect(card).to_contain_text("Sound and picture find no way through this network.")
    await expect(card).to_contain_text("Directly (UDP)blocked")
    assert await card.locator(".verdict").get_attribute("data-level") == "bad"


async def test_lost_messages_and_a_missing_microphone_are_told(browser, backend, echo) -> None:
    echo.loses = True
    tab = await browser.new_tab()
    await tab.page.add_init_script(
        """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (wanted) =>
          wanted.audio ? Promise.reject(new DOMException("", "NotFoundError")) : ask(wanted);"""
    )
    await tab.page.goto(backend.stack.origin + "/call/demo#line")
    await tab.page.get_by_role("button", name="Start the test").click()
    card = tab.page.locator(".line-test")
    await expect(card).to_contain_text("10 % of what is sent gets lost", timeout=60_000)
    await expect(card).to_contain_text("Nobody would hear you: there is no microphone.")
    await expect(card).to_contain_text("No microphone was found.")


async def test_a_server_that_refuses_is_told_in_its_words(browser, backend) -> None:
    backend.stack.admission.drain()
    page = await opened(browser, backend)
    await page.keyboard.press("Enter")
    card = page.locator(".line-test")
    await expect(card).to_contain_text("Your line could not be tested.")
    await expect(card).to_contain_text("takes no new sessions")


async def test_a_call_ends_the_test(browser, backend, echo) -> None:
    page = await opened(browser, backend)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The test runs")).to_be_visible()
    await page.get_by_role("button", name="Video call").click()
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    await expect(page.locator(".line-test")).to_have_count(0)
    async with asyncio.timeout(20):
        while echo.open:
            await asyncio.sleep(0.05)
    await expect(page.get_by_role("link", name="Test your line before you call")).to_be_hidden()


async def test_on_a_telephone_everything_fits(browser, backend, tmp_path) -> None:
    page = await opened(browser, backend)
    await page.set_viewport_size({"width": 360, "height": 640})
    await page.keyboard.press("Enter")
    card = page.locator(".line-test")
    await expect(card).to_contain_text("Everything is ready", timeout=60_000)
    await page.screenshot(path=str(tmp_path / "phone.png"), full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ("Test again", "Close"):
        box = await page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
    await page.emulate_media(color_scheme="dark")
    await page.screenshot(path=str(tmp_path / "dark.png"), full_page=True)


GOOD = {"rttMs": 30, "jitterMs": 5, "loss": 0}
FAST = {"bps": 2_400_000, "enough": True}


@pytest.mark.parametrize(
    ("change", "devices", "level", "words"),
    [
        ({}, {}, "good", ""),
        ({"quality": {**GOOD, "loss": 0.05}}, {}, "fair", "5 % of what is sent gets lost"),
        ({"quality": {**GOOD, "loss": 0.2}}, {}, "bad", "words would be missing"),
        ({"quality": {**GOOD, "rttMs": 400}}, {}, "fair", "arrives late"),
        ({"quality": {**GOOD, "rttMs": 900}}, {}, "bad", "so late"),
        ({"quality": {**GOOD, "jitterMs": 200}}, {}, "fair", "Wi-Fi"),
        ({"speed": {"bps": 50_000, "enough": False}}, {}, "bad", "too slow for sound"),
        ({"speed": {"bps": 200_000, "enough": False}}, {}, "fair", "not for a picture"),
        ({"speed": {"bps": 900_000, "enough": False}}, {}, "fair", "small picture"),
        ({}, {"camera": False}, "fair", "no camera"),
        ({}, {"microphone": False}, "bad", "no microphone"),
        ({"ways": ["fails", "works"]}, {}, "fair", "longer one"),
        ({"ways": ["fails", "fails"], "quality": None, "speed": None}, {}, "bad", "no way through"),
    ],
)
async def test_the_verdict(browser, backend, change, devices, level, words) -> None:
    tab = await browser.new_tab(backend.stack.origin + "/call/demo")
    states = change.pop("ways", ["works", "works"])
    ways = [{"name": name, "state": state} for name, state in zip(("udp", "turn-tcp"), states, strict=True)]
    test = {"problem": "", "ways": ways, "quality": GOOD, "speed": FAST, **change}
    found = await tab.page.evaluate(
        "async ([test, devices]) => (await import('/web/line_verdict.js')).verdict(test, devices)",
        [test, {"microphone": True, "camera": True, **devices}],
    )
    assert found["level"] == level
    assert words in " ".join(found["reasons"])
    assert bool(found["reasons"]) is (level != "good")


async def test_only_candidates_of_the_way_under_test_are_used(browser, backend) -> None:
    tab = await browser.new_tab(backend.stack.origin + "/call/demo")
    lines = [
        "v=0",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
        "a=candidate:2 1 TCP 1 192.0.2.1 9 typ host tcptype passive",
    ]
    for way, kept in (("udp", 1), ("tcp", 2)):
        found = await tab.page.evaluate(
            "async ([way, sdp]) => (await import('/web/line_test.js')).onlyBy(way, sdp)", [way, "\r\n".join(lines)]
        )
        assert found.split("\r\n") == ["v=0", lines[kept]]
