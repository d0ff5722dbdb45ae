"""The line test of both pages against the daemon, in Chromium and Firefox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.e2e.house import metric_becomes
from tests.peers.chromium import chromium
from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.firefox import firefox
from tests.peers.firewall import Openings
from tests.peers.namespace import namespace
from tests.peers.sandwich import sandwich

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

READY = "Everything is ready for a call with picture."
SETTLED_S = 120.0
"""After so long a line that is as good as this machine has been found so, or is not."""


async def found(read: Callable[[], Awaitable[str]], again: Callable[[], Awaitable[None]], *wanted: str) -> int:
    """Waits until a test has found all of this; how many it took. `read` waits for the end of one, `again` begins the next.

    A machine that stands still for a quarter of a second makes a bad line of a good one, and the page rightly says so.
    """
    deadline = asyncio.get_running_loop().time() + SETTLED_S
    tests = 1
    shown = await read()
    while not all(text in shown for text in wanted):
        assert asyncio.get_running_loop().time() < deadline, (wanted, shown)
        await again()
        tests += 1
        shown = await read()
    return tests


async def shown_at_the_end(card: Locator) -> str:
    """What the card says when its test is over."""
    await expect(card.locator(".verdict .sentence")).to_be_visible(timeout=60_000)
    return await card.text_content() or ""


async def test_an_agent_tests_the_line_by_keyboard_alone(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, chromium(tmp_path) as browser:
        tab = await browser.new_tab(f"{server.http_url}/agent")
        page = tab.page
        await page.get_by_label("User").fill("agent")
        await page.get_by_label("Password").fill(AGENT_PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Ready for calls")).to_be_visible()
        await page.get_by_role("button", name="Test my line").focus()
        await page.keyboard.press("Enter")
        start = page.get_by_role("button", name="Start the test")
        await expect(start).to_be_focused()
        await page.keyboard.press("Enter")
        card = page.locator(".line-test")
        again = page.get_by_role("button", name="Test again")

        async def once_more() -> None:
            await expect(again).to_be_focused()
            await page.keyboard.press("Enter")

        good = (READY, "Directly (UDP)works", "Directly (TCP)works", "at least 2.", "Lost0 %")
        tests = await found(lambda: shown_at_the_end(card), once_more, *good)
        await expect(card.get_by_text("heard", exact=True)).to_be_visible()
        await page.screenshot(path=str(tmp_path / "agent.png"))
        await expect(card.get_by_label("Your camera's picture")).to_be_visible()
        await expect(again).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Test my line")).to_be_focused()
        assert tab.errors == []
        assert (await server.metrics())['mediaserver_line_tests_total{result="begun"}'] == tests
        await metric_becomes(server, "mediaserver_line_tests_open", 0)
        await metric_becomes(server, 'mediaserver_engine_transports{shard="0"}', 0)


async def test_a_caller_tests_the_line_in_firefox(tmp_path: Path) -> None:
    async with namespace() as inside, daemon(tmp_path, network=inside) as server, firefox(tmp_path, inside) as browser:
        await browser.goto(f"{server.http_url}/call/demo#line")
        await browser.click("button", "Start the test")

        async def shown() -> str:
            await browser.wait_for("document.querySelector('.verdict .sentence')", 60)
            text: str = await browser.evaluate("() => document.querySelector('.line-test').innerText")
            return text

        await found(shown, lambda: browser.click("button", "Test again"), READY)


async def test_a_visitor_behind_firewalls_is_told_what_they_let_pass(tmp_path: Path) -> None:
    async with sandwich(static_nat=True, admitted=Openings(udp=["1024-65535"], tcp=[443, 3478])) as rig:
        edge = rig.edges[0]
        changes = {
            "networks": {"main": {"addresses": [{"bind": edge.address, "announced": edge.public}]}},
            "listeners": {"https": {"bind": [f"{edge.address}:443"]}, "turn": {"port": 3478}},
        }
        async with (
            daemon(tmp_path, network=edge, changes=changes),
            chromium(tmp_path, network=rig.internet) as browser,
        ):
            tab = await browser.new_tab(f"https://{edge.public}/call/demo#line")
            card = tab.page.locator(".line-test")
            again = card.get_by_role("button", name="Test again")
            await card.get_by_role("button", name="Start the test").click()
            # The port of media has no TCP here, the relay has.
            ways = ("Directly (UDP)works", "Directly (TCP)blocked", "By relay (TCP)works")
            await found(lambda: shown_at_the_end(card), again.click, *ways, READY)
            await rig.admit_visitors(Openings(tcp=[443]))
            await again.click()
            await expect(card).to_contain_text("Directly (UDP)blocked")
