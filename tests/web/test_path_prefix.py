"""Pages, sockets, API and the script tag beneath a path of the house's proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from mediaserver.api.context import EntryAccess
from mediaserver.api.origins import Origins
from mediaserver.api.page_servers import PageServers
from tests.peers.chromium import Chromium
from tests.peers.path_proxy import PathProxy
from tests.web.backend import Backend, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]

both = pytest.mark.parametrize("strips", [True, False], ids=["path-taken-away", "path-left"])


@asynccontextmanager
async def beneath(*, strips: bool) -> AsyncIterator[tuple[Backend, PathProxy]]:
    backend = Backend(servers=PageServers(prefix="/kunden/video"))
    await backend.start()
    proxy = PathProxy(backend.stack.origin, "/kunden/video", strips=strips)
    await proxy.start()
    try:
        yield backend, proxy
    finally:
        await proxy.stop()
        await backend.stop()


@both
async def test_a_caller_talks(browser: Chromium, strips: bool) -> None:
    async with beneath(strips=strips) as (backend, proxy):
        tab = await browser.new_tab(f"{proxy.url}/call/demo")
        await tab.page.get_by_role("button", name="Video call").click()
        await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
        await backend.connect(backend.caller)
        await expect(tab.page.get_by_role("status")).to_have_text("You are talking to Anna Agent.")
        assert (proxy.elsewhere, tab.errors) == ([], [])


async def test_a_call_without_an_entry_in_its_path_is_one_too(browser: Chromium) -> None:
    async with beneath(strips=True) as (_, proxy):
        tab = await browser.new_tab(f"{proxy.url}/")
        await expect(tab.page.get_by_role("button", name="Video call")).to_be_visible()
        assert (proxy.elsewhere, tab.errors) == ([], [])


@both
async def test_an_agent_signs_in_and_is_there(browser: Chromium, strips: bool) -> None:
    async with beneath(strips=strips) as (backend, proxy):
        tab = await browser.new_tab(f"{proxy.url}/agent")
        await tab.page.get_by_label("User").fill("anna")
        await tab.page.get_by_label("Password").fill("correct horse")
        await tab.page.get_by_role("button", name="Sign in").click()
        await until(lambda: backend.stack.contacts.agents)
        assert (proxy.elsewhere, tab.errors) == ([], [])


@both
async def test_the_script_tag_of_another_page_finds_its_way_back(browser: Chromium, strips: bool) -> None:
    async with beneath(strips=strips) as (backend, proxy):
        page = f'<!doctype html><script src="{proxy.url}/widget.js?v=2" data-entry="site" async></script>'
        url = await backend.foreign_page(page)
        origin = "/".join(url.split("/")[:3])
        backend.stack.entries["site"] = EntryAccess("site", "Ask us", Origins.of([origin]))
        tab = await browser.new_tab(url)
        await tab.page.get_by_role("button", name="Video call", exact=True).click()
        await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
        assert (proxy.elsewhere, tab.errors) == ([], [])


async def test_a_server_named_by_the_tag_may_be_beneath_a_path(browser: Chromium) -> None:
    async with beneath(strips=True) as (backend, proxy):
        page = (
            f'<!doctype html><script src="{backend.stack.origin}/widget.js" data-server="{proxy.url}/" '
            'data-entry="site" async></script>'
        )
        url = await backend.foreign_page(page)
        backend.stack.entries["site"] = EntryAccess("site", "Ask us", Origins.of(["/".join(url.split("/")[:3])]))
        tab = await browser.new_tab(url)
        await tab.page.get_by_role("button", name="Video call", exact=True).click()
        await until(lambda: backend.stack.contacts.callers)
        assert (proxy.elsewhere, tab.errors) == ([], [])


async def test_the_page_of_rooms_loads_everything_from_beneath(browser: Chromium) -> None:
    async with beneath(strips=True) as (_, proxy):
        tab = await browser.new_tab(f"{proxy.url}/room")
        await expect(tab.page.get_by_role("heading").first).to_be_visible()
        assert (proxy.elsewhere, tab.errors) == ([], [])
