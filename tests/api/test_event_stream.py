"""`/v1/events`: a stream that begins where the last one ended, and says so when it cannot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mediaserver.api.event_stream import CURSOR_LOST, TOKEN_GONE
from tests.api.admin_house import ADMIN, AdminHouse


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[AdminHouse]:
    made = AdminHouse(tmp_path)
    await made.start()
    yield made
    await made.stop()


def happen(house: AdminHouse, *types: str) -> list[str]:
    """Cursors of new events."""
    cursors = []
    for type_ in types:
        house.journal.append(type_, "contact-1", "call-1", {"n": 1})
        cursors.append(str(house.journal.last))
    return cursors


async def listen(house: AdminHouse, query: str = "", *, token: str = ADMIN) -> aiohttp.ClientWebSocketResponse:
    return await house.http.ws_connect(f"/v1/events{query}", headers={"Authorization": f"Bearer {token}"})


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads((await socket.receive(timeout=20)).data)


async def test_a_stream_begins_now_and_tells_what_happens(house: AdminHouse) -> None:
    happen(house, "call.leg")
    socket = await listen(house)
    assert (await receive(socket))["type"] == "stream.began"
    (cursor,) = happen(house, "call.answered")
    event = await receive(socket)
    assert (event["cursor"], event["type"]) == (cursor, "call.answered")
    assert event["data"] == {"contact_id": "contact-1", "call_id": "call-1", "n": 1}
    assert event["timestamp"].endswith("+00:00")
    await socket.close()


async def test_what_was_missed_is_told_first(house: AdminHouse) -> None:
    cursors = happen(house, *["call.leg"] * 250)
    socket = await listen(house, f"?after={cursors[9]}")
    await receive(socket)
    told = [(await receive(socket))["cursor"] for _ in range(240)]
    assert told == cursors[10:]
    (following,) = happen(house, "call.leg")
    assert (await receive(socket))["cursor"] == following
    await socket.close()


async def test_the_same_is_there_as_a_list(house: AdminHouse) -> None:
    cursors = happen(house, *["call.leg"] * 5)
    page = (await house.ask("GET", "/v1/events?limit=3"))[1]
    assert ([item["cursor"] for item in page["items"]], page["next"]) == (cursors[:3], cursors[2])
    page = (await house.ask("GET", f"/v1/events?after={page['next']}"))[1]
    assert [item["cursor"] for item in page["items"]] == cursors[3:]
    assert (await house.ask("GET", f"/v1/events?after={page['next']}"))[1] == {"items": [], "next": cursors[-1]}


async def test_a_lost_cursor_is_told_before_the_upgrade_and_in_lists(house: AdminHouse) -> None:
    (first, _) = happen(house, "call.leg", "call.leg")
    house.journal._forgotten = int(first)
    status, problem = await house.ask("GET", f"/v1/events?after={int(first) - 1}")
    assert (status, problem["type"], problem["oldest"]) == (410, "urn:mediaserver:problem:cursor-lost", first)
    for cursor in (int(first) - 1, house.journal.last + 1):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await listen(house, f"?after={cursor}")
        assert refused.value.status == 410


async def test_a_stream_that_falls_behind_is_closed_with_a_code(house: AdminHouse) -> None:
    socket = await listen(house)
    await receive(socket)
    house.journal._forgotten = house.journal.last + 10**9
    happen(house, "call.leg")
    message = await socket.receive(timeout=20)
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, CURSOR_LOST)


async def test_a_stream_ends_with_its_token(house: AdminHouse) -> None:
    token = house.token("events")
    socket = await listen(house, token=token)
    await receive(socket)
    scope = house.tokens.verify_api(token)
    house.tokens.restore({scope.token_id: scope.expires_at})
    happen(house, "call.leg")
    message = await socket.receive(timeout=20)
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, TOKEN_GONE)


async def test_streams_are_bounded_by_source(house: AdminHouse) -> None:
    sockets = [await listen(house) for _ in range(20)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await listen(house)
    assert refused.value.status == 429
    for socket in sockets:
        await receive(socket)
        await socket.close()


async def test_a_token_without_the_scope_hears_nothing(house: AdminHouse) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await listen(house, token=house.token("calls:read"))
    assert refused.value.status == 403


async def test_whatever_a_listener_says_is_ignored_and_the_stop_of_the_server_ends_it(house: AdminHouse) -> None:
    socket = await listen(house)
    await receive(socket)
    await socket.send_str("hello")
    (cursor,) = happen(house, "call.leg")
    assert (await receive(socket))["cursor"] == cursor
    stopped = house.events.stop()
    await stopped
    assert (await socket.receive(timeout=20)).data == aiohttp.WSCloseCode.GOING_AWAY


async def test_what_happens_to_calls_is_an_event_with_both_ids(house: AdminHouse) -> None:
    house.calls.contacts._tell = house.journal.append
    call, _ = await house.calls.phone_call()
    found = (await house.ask("GET", "/v1/events"))[1]["items"]
    assert [event["type"] for event in found] == ["contact.started", "call.leg", "call.leg", "call.answered"]
    assert {(event["data"]["contact_id"], event["data"]["call_id"]) for event in found} == {("caller-contact", call)}
