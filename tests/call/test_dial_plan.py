"""The dial plan: explanations, webhooks with their budget and fallbacks, and fraud that finds no way out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.explanation import explain
from mediaserver.call.routing import Question, Router
from mediaserver.call.webhook import Webhooks
from mediaserver.config.loader import InvalidConfig, load_text
from mediaserver.config.model import Config
from mediaserver.runtime.metrics import Metrics

WORLD = """
users: {ann: {secret: {env: A}}, bob: {secret: {env: B}}}
trunks:
  pbx: {peers: [192.0.2.1], target: 'sip:192.0.2.1', numbers: {region: DE, incoming: e164}}
  world: {target: 'sip:198.51.100.1', numbers: {region: DE, called: e164, countries: [DE]}}
groups: {team: {members: [ann, bob]}}
announcements: {closed: {}}
entries: {demo: {}}
"""


def config(text: str) -> Config:
    return load_text(WORLD + text).config


def leads(text: str, **question: Any) -> str | None:
    found = Router(config(text)).route(Question(**question))
    return found.target.text if found is not None else None


def test_a_trunk_in_does_not_lead_to_a_trunk_out_by_a_general_route() -> None:
    general = "routes: [{match: {called: '*'}, to: {trunk: world}}]\n"
    assert leads(general, called="+4930555", trunk="pbx") is None
    assert leads(general, called="+4930555", caller="ann") == "trunk world"
    assert (
        leads("routes: [{match: {trunk: pbx}, to: {trunk: world}}]\n", called="+4930555", trunk="pbx") == "trunk world"
    )


def test_visitors_of_a_page_do_not_call_out_by_a_general_route() -> None:
    router = Router(config("routes: [{to: {trunk: world}}]\n"))
    assert router.route_entry("demo") is None


def test_no_route_is_no_call() -> None:
    for called in ("+88213300655", "0900123", "00442079460000", "999999"):
        assert leads("", called=called, trunk="pbx") is None


def test_the_explanation_names_every_line_and_what_the_trunk_is_sent() -> None:
    text = """
routes:
  - {match: {trunk: world}, to: {user: ann}}
  - {match: {trunk: pbx, called: '+49*', time: {start: '08:00', end: '18:00'}}, to: {trunk: world}}
  - {match: {called: '+49*'}, to: {group: team}}
  - {to: {refuse: 404}}
  - {to: {user: bob}}
"""
    from datetime import UTC, datetime

    noon = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    found = explain(config(text), Question(called="0301234567", caller="0309", trunk="pbx", at=noon))
    assert (found.called, found.goes_to, found.rule, found.written) == (
        "+49301234567",
        "trunk world",
        "route 2",
        "+49301234567",
    )
    assert [(step.rule, step.decides, step.reasons) for step in found.steps] == [
        ("route 1", False, ("trunk is pbx, not world",)),
        ("route 2", True, ()),
        ("route 3", False, ()),
        ("route 4", False, ()),
    ]
    assert found.then == ("group team",)
    midnight = noon.replace(hour=0)
    assert explain(config(text), Question(called="0301234567", trunk="pbx", at=midnight)).goes_to == "group team"
    abroad = explain(config("routes: [{to: {trunk: world}}]\n"), Question(called="+12125551234", caller="ann"))
    assert abroad.refused == "country: US is not in numbers.countries"
    assert explain(config(""), Question(called="nobody")).goes_to is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("routes: [{to: {group: taem}}]\n", "did you mean 'team'"),
        ("routes: [{to: {webhook: crm}}]\n", "webhooks is empty"),
        ("routes: [{to: {announcement: open}}]\n", "there is no 'open' in announcements"),
        ("webhooks: {crm: {url: 'http://h', fallback: {user: eve}}}\n", "there is no 'eve' in users"),
        ("webhooks: {crm: {url: 'http://h', fallback: {webhook: crm}}}\n", "cannot fall back to a webhook"),
    ],
)
def test_names_must_exist(text: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        config(text)


class Crm:
    """A webhook that answers what it is told to, when its gate is open."""

    def __init__(self) -> None:
        self.body: bytes = b'{"to": {"user": "bob"}}'
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[dict[str, Any], dict[str, str], bytes]] = []
        app = web.Application()
        app.router.add_post("/route", self.answer)
        self.server = TestServer(app)

    async def answer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.asked.append((json.loads(raw), dict(request.headers), raw))
        await self.gate.wait()
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    made = Crm()
    await made.server.start_server()
    yield made
    await made.server.close()


class House:
    def __init__(
        self, crm: Crm, *, hook: str = "timeout: 10s", routes: str = "[{to: {webhook: crm}}, {to: {group: team}}]"
    ) -> None:
        url = crm.server.make_url("/route")
        text = f"webhooks: {{crm: {{url: '{url}', secret: {{env: K}}, {hook}}}}}\nroutes: {routes}\n"
        settings = config(text)
        self.metrics = Metrics()
        self.webhooks = Webhooks(settings, secret_of=lambda name, webhook: "key", metrics=self.metrics)
        self.plan = DialPlan(settings, webhooks=self.webhooks)

    async def leads(self, **question: Any) -> tuple[str, str | None, str] | None:
        try:
            found = await self.plan.decide(Question(called="+4930555", **question))
        finally:
            await self.webhooks.stop()
        return (found.target.text, found.number, found.rule) if found is not None else None

    def counted(self, result: str) -> float:
        return self.metrics.value("routing_webhooks_total", webhook="crm", result=result)


async def test_a_webhook_is_asked_with_what_is_known_and_signed(crm: Crm) -> None:
    house = House(crm)
    headers = (("X-Ticket", "7"), ("Authorization", "Digest secret"))
    assert await house.leads(caller="+43", trunk="pbx", headers=headers, attributes={"tier": "gold"}) == (
        "user bob",
        "+4930555",
        "route 1, webhook crm",
    )
    body, sent, raw = crm.asked[0]
    assert (body["called"], body["caller"], body["trunk"], body["attributes"]) == (
        "+4930555",
        "+43",
        "pbx",
        {"tier": "gold"},
    )
    assert body["headers"] == [["X-Ticket", "7"]]
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + raw
    expected = base64.b64encode(hmac.digest(b"key", signed, hashlib.sha256)).decode()
    assert sent["webhook-signature"] == f"v1,{expected}"
    assert house.counted("answered") == 1


async def test_a_webhook_may_change_the_number(crm: Crm) -> None:
    crm.body = b'{"to": {"trunk": "world"}, "called": "+4930777"}'
    assert await House(crm).leads(trunk="pbx") == ("trunk world", "+4930777", "route 1, webhook crm")


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b'{"to": {"user": "eve"}}', 200, "unknown_target"),
        (b'{"to": {"webhook": "crm"}}', 200, "unknown_target"),
        (b'{"to": {"announcement": "open"}}', 200, "unknown_target"),
        (b'{"to": {"user": "ann", "group": "team"}}', 200, "malformed"),
        (b'{"to": {"user": "ann"}, "x": 1}', 200, "malformed"),
        (b"[" * 20000, 200, "malformed"),
        (b"[" * 10000, 200, "malformed"),
        (b"", 200, "malformed"),
        (b"{}", 500, "status"),
        (b"{}", 302, "status"),
    ],
)
async def test_an_answer_that_makes_no_sense_takes_the_next_route(crm: Crm, body: bytes, status: int, why: str) -> None:
    crm.body, crm.status = body, status
    house = House(crm)
    assert await house.leads() == ("group team", "+4930555", "route 2")
    assert house.counted(why) == 1


async def test_a_slow_webhook_takes_its_fallback_in_time(crm: Crm) -> None:
    crm.gate.clear()
    house = House(crm, hook="timeout: 300ms, fallback: {announcement: closed}")
    assert await house.leads() == ("announcement closed", "+4930555", "route 1, webhook crm fell back (timeout)")
    crm.gate.set()


async def test_questions_at_a_time_are_bounded(crm: Crm) -> None:
    crm.gate.clear()
    house = House(crm, hook="timeout: 10s, parallel: 2")
    questions = [asyncio.create_task(house.plan.decide(Question(called="1"))) for _ in range(5)]
    while house.counted("busy") < 3:
        await asyncio.sleep(0)
    crm.gate.set()
    found = await asyncio.gather(*questions)
    await house.webhooks.stop()
    assert sorted(each.target.text for each in found if each) == ["group team"] * 3 + ["user bob"] * 2


async def test_nobody_at_the_other_end_is_a_failure_and_no_route_is_no_call(crm: Crm) -> None:
    house = House(crm, routes="[{to: {webhook: crm}}]")
    await crm.server.close()
    assert await house.leads() is None
    assert house.counted("unreachable") == 1
