"""Bounds of the public side, with the whole daemon: one too many is refused by name, and counted by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.house import ENTRY, metric_becomes
from tests.e2e.page_socket import PageSocket, PageSockets, page_sockets
from tests.peers.daemon import Daemon, daemon

NEIGHBOUR = "127.0.0.2"
"""Another source than 127.0.0.1."""

NEXT_SESSION_S = 1.1
"""One session a second may be begun by a source that has used up its burst; that bound is not what is tried here."""


async def begin(sockets: PageSockets) -> PageSocket:
    """One more contact."""
    socket = await sockets.open()
    await socket.hello()
    await socket.receive("welcome")
    return socket


async def refused(sockets: PageSockets) -> tuple[str, int | None]:
    """What one too many is told: the error's code, and that of the close (1013: try again later, RFC 6455 §7.4.2)."""
    socket = await sockets.open()
    await socket.hello()
    return await socket.refusal(), socket.close_code


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("limits", "counted"),
    [
        (
            {"contacts_per_source": 2, "contacts": 3},
            {
                'contacts_refused_total{limit="limits.contacts_per_source"}': 1,
                'contacts_refused_total{limit="limits.contacts"}': 2,
                'web_sessions_refused_total{reason="limits.contacts_per_source"}': 1,
                'web_sessions_refused_total{reason="limits.contacts"}': 2,
            },
        ),
        (
            {"sessions_per_source": 2, "sessions": 3},
            {
                'web_sessions_refused_total{reason="limits.sessions_per_source"}': 1,
                'web_sessions_refused_total{reason="limits.sessions"}': 2,
            },
        ),
    ],
    ids=["contacts", "sessions"],
)
async def test_one_too_many_is_refused_per_source_and_in_total(
    tmp_path: Path, limits: dict[str, int], counted: dict[str, int]
) -> None:
    async with (
        daemon(tmp_path, changes={**ENTRY, "limits": limits}) as server,
        page_sockets(server) as house,
        page_sockets(server, source=NEIGHBOUR) as neighbour,
    ):
        first, _ = [await begin(house) for _ in range(2)]
        await asyncio.sleep(NEXT_SESSION_S)
        assert await refused(house) == ("limit", 1013)
        await begin(neighbour)
        assert await refused(neighbour) == ("limit", 1013)
        # Whoever leaves makes room, for the source and for all.
        await first.close()
        await metric_becomes(server, 'mediaserver_web_sessions{role="caller"}', 2)
        await asyncio.sleep(NEXT_SESSION_S)
        await begin(house)
        await asyncio.sleep(NEXT_SESSION_S)
        assert await refused(house) == ("limit", 1013)
        metrics = await server.metrics()
        assert {name: metrics.get(f"mediaserver_{name}") for name in counted} == counted
        assert metrics["mediaserver_contacts_open"] == 3


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_an_entry_takes_no_more_calls_than_it_may(tmp_path: Path) -> None:
    entry = {"to": {"user": "agent"}, "max_calls": 1}
    async with daemon(tmp_path, changes={"entries": {"demo": entry}}) as server, page_sockets(server) as house:
        await begin(house)
        assert await refused(house) == ("limit", 1013)
        await metric_becomes(server, 'mediaserver_contacts_refused_total{limit="entries.demo.max_calls"}', 1)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_sockets_that_never_say_hello_are_bounded_per_source(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes={**ENTRY, "limits": {"sessions_per_source": 3}}) as server,
        page_sockets(server) as house,
        page_sockets(server, source=NEIGHBOUR) as neighbour,
    ):
        # Two for each session: one that is taken up again has two for a moment.
        silent = [await house.open() for _ in range(6)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await house.open()
        assert error.value.status == 429
        assert error.value.headers is not None
        assert int(error.value.headers["Retry-After"]) > 0
        await metric_becomes(server, 'mediaserver_web_sessions_refused_total{reason="sockets"}', 1)
        await begin(neighbour)
        assert await silent[0].refusal() == "hello_timeout"


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_requests_and_room_sessions_of_one_source_have_a_rate(tmp_path: Path) -> None:
    limits = {"http_requests_per_source": "5/s", "room_sessions_per_source": "6/min"}
    async with daemon(tmp_path, changes={**ENTRY, "limits": limits}) as server:
        token = await server.room_token("stage", "view")
        # One session at once, and the next one ten seconds later; that the offer is bad does not make it free.
        url, bearer = server.room_url("stage", "whep"), {"Authorization": f"Bearer {token}"}
        async with _browser(NEIGHBOUR) as http:
            assert await _status(http, "POST", url, bearer) == (415, None)
            status, after = await _status(http, "POST", url, bearer)
            assert status == 429
            assert after is not None
            assert 1 <= int(after) <= 10
        async with _browser("127.0.0.3") as http:
            # A burst of ten, and what flows in meanwhile.
            url = f"http://127.0.0.1:{server.ports.http}/widget.js"
            assert {await _status(http, "GET", url) for _ in range(10)} == {(200, None)}
            for _ in range(60):
                answer = await _status(http, "GET", url)
                if answer != (200, None):
                    break
            assert answer == (429, "1")
        await metric_becomes(server, 'mediaserver_room_sessions_refused_total{kind="whep"}', 2)
        assert await _requests(server, "POST", 429) == 1
        assert await _requests(server, "GET", 429) == 1


@contextlib.asynccontextmanager
async def _browser(source: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0))) as http:
        yield http


async def _status(
    http: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str] | None = None
) -> tuple[int, str | None]:
    async with http.request(method, url, headers=headers) as response:
        return response.status, response.headers.get("Retry-After")


async def _requests(server: Daemon, method: str, status: int) -> float | None:
    return (await server.metrics()).get(f'mediaserver_http_requests_total{{method="{method}",status="{status}"}}')
