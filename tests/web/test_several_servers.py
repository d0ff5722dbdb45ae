"""A page that knows several servers: one of them dies, or does not answer at first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from mediaserver.api.page_servers import PageServers
from tests.peers.chromium import Chromium
from tests.peers.tcp_proxy import TcpProxy
from tests.web.backend import Backend, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Backend, TcpProxy, TcpProxy]]:
    """One backend behind two addresses, by the first of which pages are opened."""
    first, second = TcpProxy(0), TcpProxy(0)
    servers = PageServers((second.url,), own=first.url)
    backend = Backend(servers=servers)
    await backend.start()
    servers.set(servers.known)
    for proxy in (first, second):
        proxy.target = int(backend.stack.origin.rpartition(":")[2])
        await proxy.mend()
    try:
        yield backend, first, second
    finally:
        for proxy in (first, second):
            await proxy.cut()
        await backend.stop()


async def test_a_session_goes_on_over_another_server_when_its_own_dies(browser: Chromium) -> None:
    async with two_servers() as (backend, first, _):
        tab = await browser.new_tab(first.url)
        await tab.page.get_by_role("button", name="Video call").click()
        await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
        await backend.connect(backend.caller)
        await first.cut()
        await tab.told("The connection was interrupted. Reconnecting …")
        await expect(tab.page.get_by_role("status")).to_have_text("You are talking to Anna Agent.")
        await tab.page.get_by_role("button", name="Mute", exact=True).click()
        await until(lambda: backend.caller.messages[-1].type == "mute")
        assert backend.caller.gone_reasons == []


async def test_who_hangs_up_while_the_socket_is_away_is_heard_over_another_one(browser: Chromium) -> None:
    async with two_servers() as (backend, first, second):
        tab = await browser.new_tab(first.url)
        await tab.page.get_by_role("button", name="Video call").click()
        await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
        await backend.connect(backend.caller)
        await second.cut()
        await first.cut()
        await tab.told("The connection was interrupted. Reconnecting …")
        await tab.page.get_by_role("button", name="Hang up").click()
        await tab.told("You hung up.")
        await second.mend()
        await until(lambda: backend.caller.messages[-1].type == "hangup")


async def test_a_call_begins_over_the_server_that_answers(browser: Chromium) -> None:
    async with two_servers() as (backend, first, _):
        tab = await browser.new_tab(first.url)
        await first.cut()
        await tab.page.get_by_role("button", name="Video call").click()
        await until(lambda: backend.stack.contacts.callers)


async def test_while_no_server_answers_the_page_says_so_and_tries_on(browser: Chromium) -> None:
    async with two_servers() as (backend, first, second):
        tab = await browser.new_tab(first.url)
        await first.cut()
        await second.cut()
        await tab.page.get_by_role("button", name="Video call").click()
        await tab.told("Our server cannot be reached at the moment. Trying again …")
        await second.mend()
        await until(lambda: backend.stack.contacts.callers)
