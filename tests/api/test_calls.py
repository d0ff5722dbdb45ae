"""`/v1/calls` and `/v1/contacts` over HTTP: who may, what is answered, and what is refused with which problem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import TypeAdapter

from mediaserver.api.idempotency import KEPT_S, MAX_KEYS, Idempotency
from mediaserver.api.problem import Problem
from mediaserver.contact.call_control import Wish
from mediaserver.contact.call_view import CallView
from mediaserver.store.outcomes import Outcome, SqliteOutcomes
from mediaserver.store.records import SqliteRecords
from tests.api.admin_house import AdminHouse, Clock
from tests.contact.call_house import settled

WISH = {"from": "anna", "to": "5001"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[AdminHouse]:
    made = AdminHouse(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_a_call_is_made_seen_and_ended(house: AdminHouse) -> None:
    status, call = await house.ask("POST", "/v1/calls", {**WISH, "attributes": {"ticket": "7"}, "name": "Desk"})
    assert (status, call["state"], call["caller"], call["called"]) == (201, "ringing", "anna", "5001")
    path = house.last.headers["Location"]
    assert path == f"/v1/calls/{call['id']}"
    await settled()
    assert (await house.ask("GET", path))[1]["state"] == "up"
    contact = (await house.ask("GET", f"/v1/contacts/{call['contact_id']}"))[1]
    assert (contact["attributes"], contact["call_id"]) == ({"ticket": "7"}, call["id"])
    assert (await house.ask("POST", f"{path}/hangup"))[0] == 200
    await settled()
    assert (await house.ask("GET", path))[1]["end_reason"] == "api"
    assert (await house.ask("GET", f"/v1/contacts/{call['contact_id']}"))[0] == 404
    assert (await house.ask("POST", f"{path}/hangup"))[0] == 409


async def test_actions_reach_the_leg_that_they_name(house: AdminHouse) -> None:
    call, caller = await house.calls.phone_call()
    path = f"/v1/calls/{call}"
    status, shown = await house.ask("POST", f"{path}/hold", {"leg": caller.id, "announcement": "greeting"})
    assert (status, [leg["held"] for leg in shown["legs"]]) == (200, [True, False])
    assert (await house.ask("POST", f"{path}/hold", {"leg": caller.id, "on": False}))[1]["legs"][0]["held"] is False
    assert (await house.ask("POST", f"{path}/mute", {"leg": caller.id}))[1]["legs"][0]["muted"] == ["audio"]
    assert (await house.ask("POST", f"{path}/dtmf", {"leg": caller.id, "digits": "1#"}))[0] == 200
    agent = house.calls.calls.legs["anna"]
    assert (await house.ask("POST", f"{path}/transfer", {"leg": agent.id, "to": "expert"}))[0] == 202
    await settled()
    assert agent.ended
    status, problem = await house.ask("POST", f"{path}/transfer", {"leg": agent.id})
    assert (status, problem["type"]) == (422, "urn:mediaserver:problem:invalid-body")


@pytest.mark.parametrize(
    ("action", "body", "supervises"),
    [("add", {"to": "expert"}, None), ("supervise", {"by": "expert", "mode": "whisper"}, "whisper")],
)
async def test_others_come_into_a_call(
    house: AdminHouse, action: str, body: dict[str, str], supervises: str | None
) -> None:
    call, _ = await house.calls.phone_call()
    path = f"/v1/calls/{call}"
    assert (await house.ask("POST", f"{path}/{action}", body))[0] == 202
    await settled()
    status, shown = await house.ask("GET", path)
    assert (status, [leg["supervises"] for leg in shown["legs"]]) == (200, [None, None, supervises])
    wrong = {**body, "leg": "none", next(iter(body)): "666"}
    status, problem = await house.ask("POST", f"{path}/{action}", wrong if action == "supervise" else {"to": "666"})
    assert (status, problem["status"]) == ((404, 404) if action == "supervise" else (422, 422))


async def test_a_link_is_made_for_the_phone_of_a_call(house: AdminHouse) -> None:
    call, caller = await house.calls.phone_call()
    path = f"/v1/calls/{call}/links"
    status, made = await house.ask("POST", path, {"entry": "demo"})
    assert (status, made["leg"], made["path"]) == (201, caller.id, f"/call/demo#link={made['token']}")
    assert house.last.headers["Cache-Control"] == "no-store"
    found = house.calls.contacts.links.find(made["token"])
    assert found is not None
    assert (found.call_id, found.leg_id, found.entry) == (call, caller.id, "demo")
    agent = house.calls.calls.legs["anna"].id
    assert (await house.ask("POST", path, {"entry": "demo", "leg": agent}))[1]["leg"] == agent
    for body, code in (({"entry": "plain"}, 422), ({"entry": "none"}, 422), ({"entry": "demo", "leg": "none"}, 404)):
        assert (await house.ask("POST", path, body))[0] == code
    await house.ask("POST", f"/v1/calls/{call}/hangup")
    await settled()
    assert house.calls.contacts.links.find(made["token"]) is None
    assert (await house.ask("POST", path, {"entry": "demo"}))[0] == 409


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json"])
async def test_attributes_are_merged(house: AdminHouse, media_type: str) -> None:
    call, _ = await house.calls.phone_call()
    path = f"/v1/calls/{call}/attributes"
    sent = {"Content-Type": media_type}
    assert await house.ask("PATCH", path, {"a": "1", "b": "2"}, headers=sent) == (
        200,
        {"attributes": {"a": "1", "b": "2"}},
    )
    assert (await house.ask("PATCH", path, {"a": None}, headers=sent))[1] == {"attributes": {"b": "2"}}
    status, problem = await house.ask("PATCH", path, {"c": "x" * 100}, headers=sent)
    assert (status, problem["limit"]) == (422, "limits.attribute_size")
    assert (await house.ask("PATCH", path, {"a": "1"}, headers={"Content-Type": "text/plain"}))[0] == 415


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"from": "anna"}, 422, "invalid-body"),
        ({**WISH, "more": 1}, 422, "invalid-body"),
        ({"from": "anna", "to": "sip:x@y"}, 422, "invalid-body"),
        ({"from": "anna", "to": "nobody"}, 422, "undeliverable"),
        ({"from": "anna", "to": "666"}, 422, "undeliverable"),
        ({**WISH, "announcement": "unknown"}, 404, "not-found"),
        ({**WISH, "attributes": {"a": "x" * 100}}, 422, "attributes-refused"),
        ([], 422, "invalid-body"),
    ],
)
async def test_what_cannot_be_called_is_said(house: AdminHouse, body: Any, status: int, code: str) -> None:
    found, problem = await house.ask("POST", "/v1/calls", body)
    assert (found, problem["type"]) == (status, f"urn:mediaserver:problem:{code}")
    assert len(house.calls.contacts) == 0


async def test_a_body_that_is_too_large_is_refused_unread(house: AdminHouse) -> None:
    sent = {"Content-Type": "application/json"}
    assert (await house.ask("POST", "/v1/calls", data=b"{" + b" " * 20_000, headers=sent))[0] == 413
    assert (await house.ask("POST", "/v1/calls", data=b"{", headers=sent))[0] == 422
    assert (await house.ask("POST", "/v1/calls", data=b"\xff\xff", headers=sent))[0] == 400


async def test_no_call_is_made_while_the_server_is_about_to_stop(house: AdminHouse) -> None:
    house.admission.drain()
    assert (await house.ask("POST", "/v1/calls", WISH))[0] == 503


async def test_more_contacts_than_the_limit_are_refused(house: AdminHouse) -> None:
    for _ in range(20):
        assert (await house.ask("POST", "/v1/calls", WISH))[0] == 201
    status, problem = await house.ask("POST", "/v1/calls", WISH)
    assert (status, problem["type"]) == (429, "urn:mediaserver:problem:limit-reached")
    assert "Retry-After" in house.last.headers


# -- idempotency -------------------------------------------------------------------------------------------------------


async def test_a_key_makes_one_call_however_often_it_is_sent(house: AdminHouse) -> None:
    sent = {"Idempotency-Key": '"8e03978e"'}
    first = await house.ask("POST", "/v1/calls", WISH, headers=sent)
    again = await house.ask("POST", "/v1/calls", WISH, headers=sent)
    assert first == again
    assert len(house.calls.contacts) == 1
    assert (await house.ask("POST", "/v1/calls", {**WISH, "to": "ben"}, headers=sent))[0] == 422
    other = house.token("calls:write", subject="another")
    assert (await house.ask("POST", "/v1/calls", WISH, headers=sent, token=other))[1]["id"] != first[1]["id"]


async def test_a_key_is_forgotten_after_its_time_and_keys_are_bounded(house: AdminHouse) -> None:
    sent = {"Idempotency-Key": "k"}
    first = (await house.ask("POST", "/v1/calls", WISH, headers=sent))[1]["id"]
    house.clock.now += KEPT_S - 1
    assert (await house.ask("POST", "/v1/calls", WISH, headers=sent))[1]["id"] == first
    house.clock.now += 2
    assert (await house.ask("POST", "/v1/calls", WISH, headers=sent))[1]["id"] != first
    keys = house.described[0]._idempotency  # type: ignore[attr-defined]
    keys._known = {("x", str(number)): keys._known[("admin", "k")] for number in range(MAX_KEYS)}
    assert (await house.ask("POST", "/v1/calls", WISH, headers={"Idempotency-Key": "new"}))[0] == 429
    assert (await house.ask("POST", "/v1/calls", WISH))[0] == 201, "without a key"


async def test_a_key_outlives_the_process(house: AdminHouse, tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "records.sqlite")
    kept = await SqliteOutcomes.open(records)
    wall = Clock()
    wall.now = 1_800_000_000.0
    view = TypeAdapter(CallView)
    made = house.calls.control

    def idempotency(known: Sequence[Outcome] = ()) -> Idempotency[CallView]:
        found = Idempotency(view, clock=house.clock, store=kept, wall_clock=wall)
        found.restore(known)
        return found

    async def call() -> CallView:
        return await made.originate(Wish(from_="anna", to="5001"))

    async def never() -> CallView:
        raise AssertionError("a second call")

    request = make_mocked_request("POST", "/v1/calls", headers={"Idempotency-Key": "k"})
    first = await idempotency().once(request, "admin", b"{}", call)
    await kept.add(Outcome("admin", "old", b"", wall.now + 5, "not what is written today"))
    after = idempotency(await kept.current(wall.now))
    assert len(after) == 1
    assert await after.once(request, "admin", b"{}", never) == first
    with pytest.raises(Problem):
        await after.once(request, "admin", b"other", never)
    house.clock.now += KEPT_S + 1
    assert (await after.once(request, "admin", b"{}", call)).id != first.id
    await records.close()


async def test_what_failed_can_be_tried_again_under_its_key(house: AdminHouse) -> None:
    sent = {"Idempotency-Key": "k"}
    house.admission.draining = False
    wish = {**WISH, "contact_id": "c1"}
    assert (await house.ask("POST", "/v1/calls", wish, headers=sent))[0] == 409, "it has a record already"
    assert (await house.ask("POST", "/v1/calls", WISH, headers=sent))[0] == 201
    assert (await house.ask("POST", "/v1/calls", WISH, headers={"Idempotency-Key": "a b"}))[0] == 400


# -- lists -------------------------------------------------------------------------------------------------------------


async def test_lists_come_in_parts(house: AdminHouse) -> None:
    ids = [(await house.calls.phone_call(f"c{number}"))[0] for number in range(3)]
    page = (await house.ask("GET", "/v1/calls?limit=2"))[1]
    assert ([item["id"] for item in page["items"]], page["next"]) == (ids[:2], ids[1])
    page = (await house.ask("GET", f"/v1/calls?limit=2&after={ids[1]}"))[1]
    assert ([item["id"] for item in page["items"]], page["next"]) == (ids[2:], None)
    assert len((await house.ask("GET", "/v1/contacts"))[1]["items"]) == 3
    for query in ("limit=0", "limit=501", "limit=x", "limit=1&limit=2", "sort=up", "after=nothing"):
        status, problem = await house.ask("GET", f"/v1/calls?{query}")
        assert (status, problem["type"]) == (400, "urn:mediaserver:problem:invalid-query"), query


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_a_token_is_made_used_and_taken_back(house: AdminHouse) -> None:
    status, made = await house.ask("POST", "/v1/api-tokens", {"subject": "crm", "scopes": ["calls:read"]})
    assert (status, made["scopes"]) == (201, ["calls:read"])
    assert (await house.ask("GET", "/v1/calls", token=made["token"]))[0] == 200
    assert (await house.ask("POST", "/v1/calls", WISH, token=made["token"]))[0] == 403
    assert "insufficient_scope" in house.last.headers["WWW-Authenticate"]
    assert (await house.ask("DELETE", f"/v1/api-tokens/{made['token_id']}"))[0] == 204
    assert (await house.ask("GET", "/v1/calls", token=made["token"]))[0] == 401
    assert list(house.revocations.kept) == [made["token_id"]]
    assert (await house.ask("DELETE", "/v1/api-tokens/x"))[0] == 404


async def test_tokens_of_other_purposes_open_nothing(house: AdminHouse) -> None:
    agent = house.tokens.mint_agent("anna", lifetime_s=60)
    room = house.tokens.mint_room(room="r", directions=["view"], subject="x", lifetime_s=60)
    for token in (agent, room, "x", "é"):
        assert (await house.ask("GET", "/v1/calls", token=token.encode().decode("latin-1")))[0] == 401
