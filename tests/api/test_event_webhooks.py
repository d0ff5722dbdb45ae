"""Events told to services of the house: signatures, order, repetition, giving up, and where no webhook may be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mediaserver.api.event_webhooks import LONGEST_PAUSE_S, EventWebhooks, checked_secrets, pause_s, signatures, wants
from mediaserver.api.webhook_address import AddressRefused, PublicResolver, require_public
from mediaserver.config.events import EventWebhook
from mediaserver.config.sections import SecretRef
from mediaserver.errors import ConfigError
from mediaserver.runtime.metrics import Metrics
from mediaserver.store.events import SqliteEvents, StoredEvent
from mediaserver.store.records import SqliteRecords

SECRETS = ("the new key", "whsec_" + base64.b64encode(b"the old key").decode())


class Clock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A service of the house: remembers what it was told and answers as `answer` says."""

    def __init__(self) -> None:
        self.told: list[tuple[web.Request, bytes]] = []
        self.answer: Callable[[dict[str, Any]], int] = lambda _: 204
        self.gate = asyncio.Event()
        self.gate.set()
        app = web.Application()
        app.router.add_post("/events", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.told.append((request, body))
        await self.gate.wait()
        return web.Response(status=self.answer(json.loads(body)))

    @property
    def numbers(self) -> list[int]:
        return [json.loads(body)["n"] for _, body in self.told]


class House:
    def __init__(self, service: Service, file: SqliteRecords) -> None:
        self.service, self.file, self.clock, self.metrics = service, file, Clock(), Metrics()
        self.number = 0
        self.webhooks: list[EventWebhooks] = []

    async def start(self, **more: Any) -> EventWebhooks:
        """A process: gives back what tells."""
        self.store = await SqliteEvents.open(self.file)
        settings = EventWebhook(
            **{
                "url": str(self.service.server.make_url("/events")),
                "secrets": (SecretRef(env="A"),),
                "allow_private": True,
                **more,
            }
        )
        self.metrics = Metrics()
        webhooks = EventWebhooks(
            {"crm": settings},
            store=self.store,
            secrets_of=lambda *_: SECRETS,
            metrics=self.metrics,
            wall_clock=self.clock,
            chance=lambda: 1.0,
        )
        await webhooks.start()
        self.webhooks.append(webhooks)
        return webhooks

    async def happen(self, *contacts: str) -> None:
        """One event for each."""
        events = []
        for contact in contacts:
            self.number += 1
            text = json.dumps({"n": self.number, "contact": contact})
            events.append(StoredEvent(self.number, self.clock.now, contact, "call.leg", text))
        await self.store.add(events, [("crm", event) for event in events])
        self.webhooks[-1].wake()

    def count(self, result: str) -> float:
        return self.metrics.value("event_webhooks_total", webhook="crm", result=result)

    async def until(self, happened: Callable[[], bool], what: str) -> None:
        """Waits generously; a machine under load is slow."""
        async with asyncio.timeout(20):
            while not happened():
                self.webhooks[-1].wake()
                await asyncio.sleep(0.005)
        assert happened(), what


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    service = Service()
    await service.server.start_server()
    file = await SqliteRecords.open(tmp_path / "records.sqlite")
    made = House(service, file)
    yield made
    service.gate.set()
    for webhooks in made.webhooks:
        await webhooks.stop(2.0)
    await file.close()
    await service.server.close()


async def test_an_event_is_signed_by_every_key(house: House) -> None:
    await house.start()
    await house.happen("a")
    await house.until(lambda: house.count("told") == 1, "told")
    ((request, body),) = house.service.told
    identifier, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert "." not in identifier
    assert int(stamp) == int(house.clock.now)
    expected = [
        "v1," + base64.b64encode(hmac.digest(key, f"{identifier}.{stamp}.".encode() + body, hashlib.sha256)).decode()
        for key in (b"the new key", b"the old key")
    ]
    assert request.headers["webhook-signature"].split() == expected
    assert request.headers["Content-Type"] == "application/json"


async def test_a_contact_is_told_in_order_and_does_not_wait_for_another_one(house: House) -> None:
    await house.start()
    house.service.answer = lambda body: 500 if body["contact"] == "a" else 204
    await house.happen("a", "b", "a", "b")
    await house.until(lambda: house.count("told") == 2, "b is told")
    assert [number for number in house.service.numbers if number % 2 == 0] == [2, 4]
    assert 3 not in house.service.numbers, "what comes second of a contact waits for the first"
    house.service.answer = lambda body: 204
    house.clock.now += 1000
    await house.until(lambda: house.count("told") == 4, "a is told")
    assert [number for number in house.service.numbers if number % 2][-2:] == [1, 3]


async def test_it_is_tried_again_after_longer_and_longer_and_given_up_at_last(house: House) -> None:
    await house.start(give_up_after="100s")
    house.service.answer = lambda body: 503 if body["n"] == 1 else 204
    await house.happen("a", "a")
    await house.until(lambda: house.count("failed") == 1, "the first attempt")
    house.clock.now += 0.5
    await asyncio.sleep(0.05)
    assert house.count("failed") == 1, "not before its time"
    house.clock.now += 0.6
    await house.until(lambda: house.count("failed") == 2, "the second attempt")
    house.clock.now += 200
    await house.until(lambda: house.count("dead") == 1, "given up")
    await house.until(lambda: house.count("told") == 1, "the next of the contact")
    assert house.service.numbers == [1, 1, 1, 2]


async def test_what_was_not_told_is_told_by_the_next_process(house: House) -> None:
    first = await house.start()
    house.service.gate.clear()
    await house.happen("a", "b")
    await house.until(lambda: len(house.service.told) == 2, "both are under way")
    await first.stop(2.0)
    house.service.gate.set()
    await house.start()
    await house.until(lambda: house.count("told") == 2, "told")
    assert sorted(house.service.numbers) == [1, 1, 2, 2]
    assert (await house.store.owed("crm", after=0, limit=10))[1] == 0


async def test_no_more_run_at_a_time_than_configured(house: House) -> None:
    await house.start(parallel=2)
    house.service.gate.clear()
    await house.happen("a", "b", "c")
    await house.until(lambda: len(house.service.told) == 2, "two are under way")
    await asyncio.sleep(0.05)
    assert len(house.service.told) == 2
    house.service.gate.set()
    await house.until(lambda: house.count("told") == 3, "all")


async def test_beyond_the_backlog_new_events_are_dead(house: House) -> None:
    webhooks = await house.start(backlog=2, types=("call.*",))
    assert [webhooks.owed("call.leg") for _ in range(3)] == [["crm"], ["crm"], []]
    assert house.count("dead") == 1
    assert webhooks.owed("contact.ended") == [], "it does not want these"
    assert house.count("dead") == 1


async def test_an_address_of_the_house_is_not_asked_unless_allowed(house: House) -> None:
    await house.start(allow_private=False)
    await house.happen("a")
    await house.until(lambda: house.count("failed") == 1, "refused")
    assert house.service.told == []


async def test_other_keys_sign_what_follows_and_only_the_changed_are_named(tmp_path: Path) -> None:
    settings = EventWebhook(url="https://x.example/", secrets=(SecretRef(env="A"),))
    nothing: Any = None
    webhooks = EventWebhooks({"crm": settings}, store=nothing, secrets_of=lambda *_: ["one"], metrics=Metrics())
    assert webhooks.adopt({"crm": ("one",)}) == []
    assert webhooks.adopt({}) == []
    assert webhooks.adopt({"crm": ("two", "one"), "gone": ("x",)}) == ["crm"]
    assert webhooks.adopt({"crm": ("two", "one")}) == []
    with pytest.raises(ConfigError, match=r"events\.webhooks\.crm"):
        checked_secrets("crm", ["whsec_x"])


async def test_a_broken_key_is_told_at_the_start(tmp_path: Path) -> None:
    settings = EventWebhook(url="https://x.example/", secrets=(SecretRef(env="A"),))
    nothing: Any = None
    with pytest.raises(ConfigError, match=r"events\.webhooks\.crm"):
        EventWebhooks({"crm": settings}, store=nothing, secrets_of=lambda *_: ["whsec_x"], metrics=Metrics())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
    ],
)
def test_private_addresses_are_refused_in_every_writing(host: str) -> None:
    with pytest.raises(AddressRefused):
        require_public(host)


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_not(host: str) -> None:
    require_public(host)


class Names:
    """A resolver with one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": address, "port": port} for address in self.addresses]

    async def close(self) -> None:
        return None


async def test_a_name_that_leads_home_is_refused_as_a_whole() -> None:
    inner: Any = Names("93.184.216.34", "10.0.0.1")
    with pytest.raises(AddressRefused):
        await PublicResolver(inner).resolve("crm.example", 443)


def test_pauses_double_up_to_a_bound_and_are_spread() -> None:
    assert [pause_s(attempts, 1.0) for attempts in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert pause_s(1, 0.0) == 0.5
    assert pause_s(1000, 1.0) == LONGEST_PAUSE_S


def test_types_are_named_whole_or_by_their_kind() -> None:
    assert wants(["call.*"], "call.leg")
    assert not wants(["call.*"], "callback.due")
    assert wants(["contact.ended"], "contact.ended")
    assert wants(["*"], "anything")


def test_signatures_keep_their_order() -> None:
    both = signatures(["a", "b"], "id", b"x", at=1.0)["webhook-signature"].split()
    assert [signatures([key], "id", b"x", at=1.0)["webhook-signature"] for key in "ab"] == both
