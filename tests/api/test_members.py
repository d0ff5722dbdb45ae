"""Members of rooms at the door: who gets in, with what, and from where."""

from __future__ import annotations

import pytest

from tests.api.fakes import ADMIN_TOKEN, closing, receive

ELSEWHERE = "https://anywhere.example"


def room_token(stack, *directions, room="lobby", **more):
    directions = directions or ("publish", "view")
    return stack.tokens.mint_room(room=room, directions=directions, subject="anna", lifetime_s=60, **more)


async def hello(stack, token, *, origin=ELSEWHERE, query="?room"):
    socket = await stack.connect(origin=origin, query=query)
    await socket.send_json({"type": "hello", "version": 1, "role": "member", "token": token})
    return socket


async def test_a_member_is_welcomed_from_any_page_with_what_the_token_says(stack):
    socket = await hello(stack, room_token(stack, publish=["audio", "data"], name="Anna", moderate=True))
    welcome = await receive(socket)
    assert (welcome["type"], welcome["room"]["name"], welcome["room"]["audio_slots"]) == ("welcome", "lobby", 4)
    assert stack.members.entered == [("lobby", "Anna", frozenset({"audio", "data"}), True)]
    assert stack.metrics.value("web_sessions", role="member") == 1
    await socket.send_json({"type": "subscribe", "id": 1, "wants": [{"participant": "p1", "kind": "video"}]})
    await socket.send_json({"type": "subscribe", "id": 2, "wants": [{"participant": "p1", "kind": "smell"}]})
    assert (await receive(socket))["code"] == "bad_message"
    assert [message.id for message in stack.members.members[0].messages] == [1]


async def test_a_token_that_names_nothing_gets_what_the_configuration_says_and_one_to_view_nothing(stack):
    await receive(await hello(stack, room_token(stack)))
    await receive(await hello(stack, room_token(stack, "view", publish=["audio"])))
    assert [entered[2] for entered in stack.members.entered] == [None, frozenset()]


@pytest.mark.parametrize("kind", ["none", "nonsense", "agent", "publisher", "old"])
async def test_without_a_good_token_nobody_gets_in(stack, kind):
    token = {
        "none": None,
        "nonsense": "x.y.z",
        "agent": stack.tokens.mint_agent("anna", lifetime_s=60),
        "publisher": room_token(stack, "publish"),
        "old": room_token(stack),
    }[kind]
    stack.clock.wall += 61 if kind == "old" else 0
    last, code = await closing(await hello(stack, token))
    assert (last["code"], code) == ("token", 1008)
    assert stack.members.entered == []


async def test_a_full_room_is_told_by_name(stack):
    stack.members.full = True
    last, code = await closing(await hello(stack, room_token(stack)))
    assert (last["code"], code) == ("limit", 1013)


async def test_the_way_in_for_members_is_none_for_callers_of_pages_elsewhere(stack):
    socket = await stack.connect(origin=ELSEWHERE, query="?room")
    await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo"})
    last, _ = await closing(socket)
    assert last["code"] == "origin"


@pytest.mark.parametrize(
    "wants",
    [
        [{"participant": "p", "kind": "video"}] * 65,
        [{"participant": "p", "kind": "video", "width": 0}],
        [{"participant": "p", "kind": "video", "priority": 256}],
        [{"participant": "p" * 129, "kind": "video"}],
        [{"participant": "p", "kind": "video", "more": 1}],
        "all",
    ],
    ids=["many", "no width", "priority", "long name", "unknown key", "no list"],
)
async def test_wishes_are_bounded(stack, wants):
    socket = await hello(stack, room_token(stack))
    await receive(socket)
    await socket.send_json({"type": "subscribe", "id": 1, "wants": wants})
    assert (await receive(socket))["code"] == "bad_message"
    assert stack.members.members[0].messages == []


async def test_the_admin_says_what_a_token_allows(stack):
    wanted = {
        "room": "lobby",
        "directions": ["publish", "view"],
        "subject": "anna",
        "name": "Anna",
        "publish": ["audio"],
        "moderate": True,
    }
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with stack.admin_http.post("/v1/tokens", json=wanted, headers=admin) as response:
        minted = await response.json()
    scope = stack.tokens.verify_room(minted["token"])
    assert (scope.publish, scope.name, scope.moderate) == (frozenset({"audio"}), "Anna", True)
    async with stack.admin_http.post("/v1/tokens", json={**wanted, "publish": ["smell"]}, headers=admin) as response:
        assert response.status == 422


async def test_whip_is_told_what_its_token_allows(stack):
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {room_token(stack, publish=['audio'])}"}
    async with stack.http.post("/v1/rooms/lobby/whip", data="v=0\r\n", headers=headers) as response:
        assert response.status == 201
    assert stack.rooms.may_publish == [frozenset({"audio"})]
