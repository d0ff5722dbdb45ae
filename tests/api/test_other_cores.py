"""Visitors for whom another Core is right: what the Edge is told, and what the visitor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mediaserver.api.other_cores import OtherCores
from tests.api.fakes import Stack, closing, receive

SOURCE = "203.0.113.7"


class FakeEdges:
    """What Edges were told: link, source, Core."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, int | None]] = []

    def bring_elsewhere(self, link: int, source: str, core_id: int | None) -> None:
        self.told.append((link, source, core_id))


class FakeTransport:
    def __init__(self, link: int) -> None:
        self.extra = {"link": link, "peername": (SOURCE, 50_000)}

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.extra.get(name, default)


def request(link: int = 12) -> web.Request:
    """Of a visitor who came over the Edge of this link; 0: of one who did not."""
    headers = {"X-Forwarded-For": "192.0.2.1"}
    return make_mocked_request("GET", "/v1/session", headers=headers, transport=FakeTransport(link)).clone(
        remote=SOURCE
    )


def test_a_new_visitor_is_sent_to_anybody_by_the_address_that_the_edge_sees() -> None:
    edges = FakeEdges()
    OtherCores(3, edges=edges).send_away(request())
    assert edges.told == [(12, SOURCE, None)]


def test_a_resume_token_says_whose_it_is() -> None:
    edges = FakeEdges()
    ours, others = OtherCores(3, edges=edges), OtherCores(65_535)
    assert not ours.send_back(request(), ours.new_token())
    assert ours.new_token() != ours.new_token()
    assert edges.told == []
    assert ours.send_back(request(), others.new_token())
    assert edges.told == [(12, SOURCE, 65_535)]


@pytest.mark.parametrize("token", ["", "4", ".4", "65536.x", "99999999999999.x", "-1.x", " 4.x", "x4.x", "٤.x"])
def test_a_token_of_no_core_sends_nobody_anywhere(token: str) -> None:
    edges = FakeEdges()
    assert not OtherCores(3, edges=edges).send_back(request(), token)
    assert edges.told == []


def test_who_came_without_an_edge_is_not_sent_anywhere() -> None:
    edges = FakeEdges()
    assert not OtherCores(3, edges=edges).send_back(request(0), OtherCores(4).new_token())
    assert not OtherCores(3).send_back(request(), OtherCores(4).new_token())
    OtherCores(3, edges=edges).send_away(request(0))
    assert edges.told == []


class Heard(OtherCores):
    """Another Core's sessions are those whose token begins with 4; every request is one that came over an Edge."""

    def __init__(self) -> None:
        super().__init__(3)
        self.away = 0

    def send_away(self, _request: web.BaseRequest) -> None:
        self.away += 1

    def send_back(self, _request: web.BaseRequest, token: str) -> bool:
        return token.startswith("4.")


@pytest.fixture
def others() -> Heard:
    return Heard()


@pytest.fixture
async def stack(stacks: Callable[..., Awaitable[Stack]], others: Heard) -> Stack:
    return await stacks(others=others)


async def test_who_resumes_at_the_wrong_core_is_asked_to_come_again_at_once(stack: Stack) -> None:
    for token, expected in (("4.nobody-knows", ("elsewhere", 4002)), ("3.nobody-knows", ("resume", 1008))):
        socket = await stack.connect(query="?resume")
        await socket.send_json({"type": "hello", "version": 1, "role": "caller", "resume": token, "ack": 0})
        error, code = await closing(socket)
        assert (error["code"], code) == expected


async def test_while_draining_everybody_new_is_sent_away_and_nobody_else(stack: Stack, others: Heard) -> None:
    first, welcome = await stack.call()
    await _get(stack, "/call/demo")
    assert welcome["resume"].startswith("3.")
    assert others.away == 0
    stack.admission.drain()
    for number, path in enumerate(("/call/demo", "/v1/entries/demo"), start=1):
        assert await _get(stack, path) == 200
        assert others.away == number
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await stack.connect()
    assert refused.value.headers["Connection"] == "close"
    assert others.away == 3
    first._response.close()
    again = await stack.connect(query="?resume")
    await again.send_json({"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0})
    assert (await receive(again))["type"] == "welcome"
    assert await _get(stack, "/web/session.js") == 200
    assert others.away == 3


async def _get(stack: Stack, path: str) -> int:
    async with stack.http.get(path) as response:
        return response.status
