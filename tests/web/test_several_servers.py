"""A page that knows several servers: one of them dies, or does not answer at first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import expect

from mediaserver.api.other_cores import OtherCores
from mediaserver.api.page_servers import PageServers
from tests.api.fakes import FakeParticipant
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


class Shared(OtherCores):
    """One of two Cores behind one address, where whoever it sends elsewhere comes to the other one."""

    def __init__(self, core_id: int, edge: TcpProxy) -> None:
        super().__init__(core_id)
        self._edge = edge
        self.other = 0
        """Its port."""
        self.sent = 0

    def send_away(self, _request: web.BaseRequest) -> None:
        self._send()

    def send_back(self, _request: web.BaseRequest, _token: str) -> bool:
        self._send()
        return True

    def _send(self) -> None:
        self._edge.target = self.other
        self.sent += 1


@asynccontextmanager
async def two_cores() -> AsyncIterator[tuple[list[Backend], list[Shared], TcpProxy]]:
    """Two backends behind one address, which leads to the first."""
    edge = TcpProxy(0)
    shared = [Shared(number, edge) for number in range(2)]
    backends = [Backend(others=one, servers=PageServers((), own=edge.url)) for one in shared]
    for backend in backends:
        await backend.start()
    ports = [int(backend.stack.origin.rpartition(":")[2]) for backend in backends]
    shared[0].other, shared[1].other = ports[1], ports[0]
    edge.target = ports[0]
    await edge.mend()
    try:
        yield backends, shared, edge
    finally:
        await edge.cut()
        for backend in backends:
            await backend.stop()


async def test_a_visitor_whom_a_draining_server_refuses_calls_by_the_other_one_and_sees_no_failure(
    browser: Chromium,
) -> None:
    async with two_cores() as (backends, _, edge):
        tab = await browser.new_tab(edge.url)
        backends[0].stack.admission.drain()
        await tab.page.get_by_role("button", name="Video call").click()
        await until(lambda: backends[1].stack.contacts.callers)
        assert backends[0].stack.contacts.callers == []
        await backends[1].connect(backends[1].caller)
        await tab.told("You are talking to Anna Agent.")
        said = await tab.page.evaluate("told")
        assert not [line for line in said if "cannot" in line or "interrupted" in line], said


async def test_a_visitor_whom_every_server_refuses_is_told(browser: Chromium) -> None:
    async with two_cores() as (backends, shared, edge):
        tab = await browser.new_tab(edge.url)
        for backend in backends:
            backend.stack.admission.drain()
        await tab.page.get_by_role("button", name="Video call").click()
        await tab.told("We cannot take calls for a moment. Please try again shortly.")
        assert shared[0].sent > 1 < shared[1].sent


async def test_who_resumes_at_the_wrong_server_comes_back_to_the_right_one(browser: Chromium) -> None:
    async with two_cores() as (backends, shared, edge):
        tab = await browser.new_tab(edge.url)
        await tab.page.get_by_role("button", name="Video call").click()
        caller = await _caller(backends[0])
        edge.target = shared[0].other
        await edge.cut()
        await edge.mend()
        await tab.told("The connection was interrupted. Reconnecting …")
        await expect(tab.page.get_by_role("status")).to_have_text("You are talking to Anna Agent.")
        assert shared[1].sent == 1
        await tab.page.get_by_role("button", name="Mute", exact=True).click()
        await until(lambda: caller.messages[-1].type == "mute")
        assert caller.gone_reasons == []


async def test_who_finds_no_way_back_to_the_right_server_is_told(browser: Chromium) -> None:
    async with two_cores() as (backends, shared, edge):
        tab = await browser.new_tab(edge.url)
        await tab.page.get_by_role("button", name="Video call").click()
        await _caller(backends[0])
        edge.target = shared[1].other = shared[0].other
        await edge.cut()
        await edge.mend()
        await tab.told("The connection was lost for too long. Please call again.")
        assert shared[1].sent == 5


async def _caller(backend: Backend) -> FakeParticipant:
    """The caller who is connected to an agent there."""
    await until(lambda: backend.stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
    await backend.connect(backend.caller)
    return backend.caller


COUNT_ATTEMPTS = """
window.attempts = [];
window.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url);
    attempts.push(performance.now());
  }
};
"""
LOOK_RELAYED = """
const { getStats } = RTCPeerConnection.prototype;
const relayed = (item) => (item.type === "local-candidate" ? { ...item, candidateType: "relay" } : item);
RTCPeerConnection.prototype.getStats = async function () {
  return new Map([...await getStats.call(this)].map(([id, item]) => [id, relayed(item)]));
};
"""


@pytest.mark.parametrize(
    ("script", "shortest_ms", "longest_ms"),
    [pytest.param(LOOK_RELAYED, 100, 1000, id="relayed"), pytest.param("", 1400, 6000, id="direct")],
)
async def test_a_page_whose_media_waits_for_its_session_tries_more_often_than_others(
    browser: Chromium, script: str, shortest_ms: float, longest_ms: float
) -> None:
    async with two_cores() as (backends, _, edge):
        context = await browser.new_context()
        await context.add_init_script(COUNT_ATTEMPTS + script)
        tab = await browser.new_tab(edge.url, context=context)
        await tab.page.get_by_role("button", name="Video call").click()
        await _caller(backends[0])
        await tab.told("You are talking to Anna Agent.")
        await edge.cut()
        # The first is that of the session; the waits between the next ones grow up to the longest there is.
        await tab.page.wait_for_function("() => attempts.length > 6")
        last, this = (await tab.page.evaluate("attempts"))[5:7]
        assert shortest_ms < this - last < longest_ms
