"""Line tests over HTTP: who may begin one, which ways they are told to try, how many there may be, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from mediaserver.call.line_test import DURATION_S, MOST_ATTEMPTS, LineTests
from mediaserver.engine.commands import AcceptData
from mediaserver.sdp.description import Fingerprint
from mediaserver.webrtc.messages import IceServer
from tests.api.fakes import ALLOWED, MOST_LINE_TESTS, SITE_SECRET
from tests.api.test_session import site_token
from tests.call.fakes import FakeEngine
from tests.passing import passed
from tests.webrtc.test_data_sections import AUDIO, DATA, offer

OFFER = offer(DATA % "0", mids="0")
PAGE = {"Origin": ALLOWED}


async def begin(stack, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    async with stack.http.post("/v1/line-tests", json=body, headers=headers) as response:
        return response.status, await response.json()


async def connect(stack, test: str, sdp: str = OFFER) -> tuple[int, dict[str, Any]]:
    async with stack.http.post(f"/v1/line-tests/{test}", json={"sdp": sdp}) as response:
        return response.status, await response.json()


def bearer(stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.tokens.mint_agent('anna', lifetime_s=60)}"}


async def test_a_page_begins_a_test_connects_and_ends_it(stack):
    status, begun = await begin(stack, {"entry": "demo"}, **PAGE)
    assert status == 201
    assert begun["ways"] == [{"name": "udp", "ice_servers": []}]
    assert begun["seconds"] == DURATION_S
    status, answer = await connect(stack, begun["id"])
    assert status == 200
    assert "m=application" in answer["sdp"]
    (accepted,) = stack.engine.of(AcceptData)
    # The page is told what comes back, and the engine holds it to that.
    assert accepted.messages_per_second == begun["messages_per_second"]
    assert accepted.bytes_per_second == begun["messages_per_second"] * begun["message_bytes"]
    async with stack.http.delete(f"/v1/line-tests/{begun['id']}") as response:
        assert response.status == 204
    assert stack.engine.closed == [accepted.id]
    assert (await connect(stack, begun["id"]))[0] == 404
    async with stack.admin_http.get("/metrics") as response:
        text = await response.text()
    assert 'mediaserver_line_tests_total{result="begun"} 1.0' in text
    assert "mediaserver_line_tests_open 0.0" in text


async def test_the_relays_are_ways_of_their_own(stacks):
    secret = {"username": "u", "credential": "p"}
    tcp = ("turn:t:3478?transport=tcp", "turn:[2001:db8::1]:3478?transport=tcp")
    urls = ("stun:s", "turn:t:3478", *tcp, "turns:t:443?transport=tcp")
    stack = await stacks(turn=[IceServer(urls=urls, **secret)])
    _, begun = await begin(stack, {"entry": "demo"}, **PAGE)
    assert [way["name"] for way in begun["ways"]] == ["udp", "turn-udp", "turn-tcp", "turn-tls"]
    # All addresses of a protocol are one way: any of them will do.
    expected = [["turn:t:3478"], list(tcp), ["turns:t:443?transport=tcp"]]
    assert [way["ice_servers"] for way in begun["ways"][1:]] == [[{"urls": same, **secret}] for same in expected]


async def test_an_agent_is_known_by_the_token_of_sign_in(stack):
    assert (await begin(stack, {}, **bearer(stack)))[0] == 201
    assert (await begin(stack, {}, Origin=stack.origin, **bearer(stack)))[0] == 201
    assert (await begin(stack, {}, Origin=ALLOWED, **bearer(stack)))[0] == 403
    assert (await begin(stack, {}))[0] == 401
    assert (await begin(stack, {}, Authorization="Bearer nonsense"))[0] == 401
    nobody = stack.tokens.mint_agent("gone", lifetime_s=60)
    assert (await begin(stack, {}, Authorization=f"Bearer {nobody}"))[0] == 401
    assert (await begin(stack, {}, Authorization=f"Bearer {stack.tokens.mint_api('crm', [], lifetime_s=60)}"))[0] == 401
    assert len(stack.line_tests) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"entry": "nowhere"}, PAGE, 404),
        ({"entry": "demo"}, {"Origin": "https://evil.example"}, 403),
        ({"entry": "demo"}, {}, 403),
        ({"entry": "app"}, {}, 403),
        ({"entry": "demo", "token": "forged"}, PAGE, 403),
        ({"entry": "demo", "more": 1}, PAGE, 422),
    ],
)
async def test_who_may_not_call_may_not_test(stack, body, headers, status):
    assert (await begin(stack, body, **headers))[0] == status
    assert len(stack.line_tests) == 0


async def test_a_token_that_works_once_still_works_for_the_call(stack):
    token = site_token(stack.clock, secret=SITE_SECRET[::-1], kid="once", jti="one")
    for _ in range(2):
        assert (await begin(stack, {"entry": "app", "token": token}))[0] == 201
    _, welcome = await stack.call(entry="demo", token=token)
    assert welcome["type"] == "welcome"
    # Used up by the call, it is refused here as well.
    assert (await begin(stack, {"entry": "app", "token": token}))[0] == 403


async def test_one_address_has_four_tests_at_a_time_and_begins_them_slowly(stack):
    statuses = [(await begin(stack, {"entry": "demo"}, **PAGE))[0] for _ in range(7)]
    assert statuses == [201] * 4 + [429] * 3
    assert len(stack.line_tests) == 4
    stack.line_tests.close_all()
    # Room again, but the next one is still too soon.
    assert (await begin(stack, {"entry": "demo"}, **PAGE))[0] == 429
    stack.clock.wall += 5
    assert (await begin(stack, {"entry": "demo"}, **PAGE))[0] == 201


async def test_all_addresses_together_have_a_bound(stacks):
    stack = await stacks(trusted_proxies=["127.0.0.1/32"])
    froms = [f"198.51.100.{number}" for number in range(MOST_LINE_TESTS + 1)]
    begun = [await begin(stack, {"entry": "demo"}, **{"X-Forwarded-For": source, **PAGE}) for source in froms]
    assert [status for status, _ in begun] == [201] * MOST_LINE_TESTS + [429]
    assert begun[-1][1]["type"].endswith("limit-reached")


async def test_a_draining_server_begins_none(stack):
    stack.admission.drain()
    assert (await begin(stack, {"entry": "demo"}, **PAGE))[0] == 503


async def test_what_is_no_offer_of_data_channels_leaves_no_transport(stack):
    _, begun = await begin(stack, {"entry": "demo"}, **PAGE)
    assert (await connect(stack, begun["id"], "nonsense"))[0] == 400
    assert (await connect(stack, begun["id"], offer(AUDIO, mids="0")))[0] == 422
    assert len(stack.engine.closed) == 2


async def test_each_offer_takes_the_place_of_the_one_before_and_there_are_not_many(stack):
    _, begun = await begin(stack, {"entry": "demo"}, **PAGE)
    statuses = [(await connect(stack, begun["id"]))[0] for _ in range(MOST_ATTEMPTS + 1)]
    assert statuses == [200] * MOST_ATTEMPTS + [429]
    assert len(stack.engine.closed) == MOST_ATTEMPTS - 1


async def test_a_test_that_nobody_ends_ends_by_itself(stacks):
    engine = FakeEngine()
    tests = LineTests(engine=engine, fingerprint=Fingerprint("sha-256", bytes(32)), most=4, duration_s=0.05)
    stack = await stacks(line_tests=tests)
    _, begun = await begin(stack, {"entry": "demo"}, **PAGE)
    assert (await connect(stack, begun["id"]))[0] == 200
    await passed(0.1)
    assert len(engine.closed) == 1
    assert (await connect(stack, begun["id"]))[0] == 404
