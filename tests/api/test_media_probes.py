"""`/v1/edges/{name}/media-probe`: a pair of media ports at an Edge for a check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.admin_house import AdminHouse

PATH = "/v1/edges/dmz/media-probe"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[AdminHouse]:
    made = AdminHouse(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_a_pair_is_opened_and_says_at_its_end_what_it_has_heard(house: AdminHouse) -> None:
    status, body = await house.ask("POST", PATH)
    assert (status, body["state"], body["ip"], body["port"]) == (200, "open", "203.0.113.5", 30000)
    status, body = await house.ask("DELETE", PATH)
    assert (status, body["state"], body["packets"], body["heard_from"]) == (200, "closed", 3, "192.0.2.9:4000")
    assert (await house.ask("DELETE", PATH))[0] == 404


async def test_an_edge_that_opens_none_says_why(house: AdminHouse) -> None:
    status, body = await house.ask("POST", "/v1/edges/other/media-probe")
    assert (status, body["state"], body["reason"]) == (200, "refused", "edge.sip_media_ports opens none there")


async def test_an_edge_that_nobody_named_is_not_found(house: AdminHouse) -> None:
    for method in ("POST", "DELETE"):
        assert (await house.ask(method, "/v1/edges/none/media-probe"))[0] == 404
    assert not house.probes.is_open


async def test_who_may_only_read_opens_none(house: AdminHouse) -> None:
    for method in ("POST", "DELETE"):
        assert (await house.ask(method, PATH, token=house.token("edges:read")))[0] == 403
    assert not house.probes.is_open
    assert (await house.ask("POST", PATH, token=house.token("edges:write")))[0] == 200
