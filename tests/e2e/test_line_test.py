"""The line test of both pages against the daemon, in Chromium and Firefox."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.peers.chromium import chromium
from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.firefox import firefox
from tests.peers.firewall import Openings
from tests.peers.namespace import namespace
from tests.peers.sandwich import sandwich

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


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
        await expect(card).to_contain_text("Everything is ready for a call with picture.")
        await expect(card).to_contain_text("Directly (UDP)works")
        await expect(card).to_contain_text("Directly (TCP)works")
        await expect(card).to_contain_text("at least 2.")
        await expect(card).to_contain_text("Lost0 %")
        await expect(card.get_by_text("heard", exact=True)).to_be_visible()
        await page.screenshot(path=str(tmp_path / "agent.png"))
        await expect(card.get_by_label("Your camera's picture")).to_be_visible()
        await expect(page.get_by_role("button", name="Test again")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Test my line")).to_be_focused()
        assert tab.errors == []
        metrics = await server.metrics()
        assert metrics['mediaserver_line_tests_total{result="begun"}'] == 1
        assert metrics["mediaserver_line_tests_open"] == 0
        assert metrics['mediaserver_engine_transports{shard="0"}'] == 0


async def test_a_caller_tests_the_line_in_firefox(tmp_path: Path) -> None:
    async with namespace() as inside, daemon(tmp_path, network=inside) as server, firefox(tmp_path, inside) as browser:
        await browser.goto(f"{server.http_url}/call/demo#line")
        await browser.click("button", "Start the test")
        await browser.wait_for("document.querySelector('.verdict .sentence')")
        text = await browser.evaluate("() => document.querySelector('.line-test').innerText")
        assert "Everything is ready" in text, text


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
            await card.get_by_role("button", name="Start the test").click()
            await expect(card).to_contain_text("Directly (UDP)works")
            # The port of media has no TCP here, the relay has.
            await expect(card).to_contain_text("Directly (TCP)blocked")
            await expect(card).to_contain_text("By relay (TCP)works")
            await expect(card).to_contain_text("Everything is ready for a call with picture.")
            await rig.admit_visitors(Openings(tcp=[443]))
            await card.get_by_role("button", name="Test again").click()
            await expect(card).to_contain_text("Directly (UDP)blocked")
