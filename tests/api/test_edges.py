"""`/v1/edges`: which are there, and leaving one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.admin_house import AdminHouse


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[AdminHouse]:
    made = AdminHouse(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_edges_are_shown_with_why_one_is_away(house: AdminHouse) -> None:
    status, body = await house.ask("GET", "/v1/edges")
    assert (status, [(item["name"], item["state"]) for item in body["items"]]) == (
        200,
        [("dmz", "ready"), ("other", "away")],
    )
    assert body["items"][1]["reason"] == "nothing listens there"


async def test_an_edge_is_left_with_a_deadline_and_used_again(house: AdminHouse) -> None:
    status, body = await house.ask("POST", "/v1/edges/dmz/drain", {"deadline_s": 30})
    assert (status, body["state"], body["sessions"], body["remaining_s"]) == (202, "draining", 3, 30.0)
    assert (await house.ask("GET", "/v1/edges/dmz"))[1] == body
    status, body = await house.ask("DELETE", "/v1/edges/dmz/drain")
    assert (status, body["state"]) == (200, "ready")


@pytest.mark.parametrize("deadline_s", [-1, 1e9, "soon"])
async def test_a_deadline_that_cannot_be_is_refused(house: AdminHouse, deadline_s: object) -> None:
    assert (await house.ask("POST", "/v1/edges/dmz/drain", {"deadline_s": deadline_s}))[0] == 422
    assert house.edges.deadline_s is None


async def test_an_edge_that_nobody_knows_is_not_found(house: AdminHouse) -> None:
    assert (await house.ask("GET", "/v1/edges/none"))[0] == 404
    assert (await house.ask("POST", "/v1/edges/none/drain", {}))[0] == 404
