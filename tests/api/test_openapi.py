"""The OpenAPI document says all that the API does: routes, scopes and errors; schemathesis holds the API to it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mediaserver.api.auth import SCOPES
from mediaserver.api.openapi import document
from tests.api.admin_house import ADMIN, AdminHouse

CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]

REFUSALS: list[int | str] = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""What may be answered to data that the document does not allow; schemathesis by itself forgets 413: too long."""


def held_to(found: dict[str, Any]) -> Any:
    """A document as schemathesis holds an API to it."""
    rejection = {"negative_data_rejection": {"expected-statuses": REFUSALS}}
    return schemathesis.openapi.from_dict(found, config=SchemathesisConfig.from_dict({"checks": rejection}))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[AdminHouse]:
    made = AdminHouse(tmp_path)
    await made.start()
    yield made
    await made.stop()


def plain(path: str) -> str:
    return re.sub(r"\{(\w+)(:[^{}]+)?\}", r"{\1}", path)


async def test_every_route_is_in_the_document(house: AdminHouse) -> None:
    status, found = await house.ask("GET", "/v1/openapi.json", token=None)
    assert status == 200
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    routed = {
        (route.method, plain(route.resource.canonical))
        for route in house.server.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert described == routed
    assert found["openapi"] == "3.1.0"


async def test_every_scope_is_used_and_described(house: AdminHouse) -> None:
    found = document(house.operations)
    used = {operation["x-scope"] for methods in found["paths"].values() for operation in methods.values()}
    assert used == {*SCOPES, "admin"}
    told = found["components"]["securitySchemes"]["token"]["description"]
    assert all(scope in told for scope in SCOPES)


async def test_no_operation_lets_anybody_in_without_its_scope(house: AdminHouse) -> None:
    for operation in house.operations:
        path = re.sub(r"\{[^{}]+\}", "x", plain(operation.path))
        others = [scope for scope in SCOPES if scope != operation.scope]
        assert (await house.ask(operation.method, path, token=None))[0] == 401, operation
        assert (await house.ask(operation.method, path, token=house.token(*others)))[0] == 403, operation
        if operation.scope in SCOPES:
            status, _ = await house.ask(operation.method, path, token=house.token(operation.scope))
            assert status not in (401, 403), operation


async def test_every_operation_lists_the_errors_that_all_have(house: AdminHouse) -> None:
    for methods in document(house.operations)["paths"].values():
        for operation in methods.values():
            problems = {"401", "403", "400", "429"} | (
                {"408", "413", "415", "422"} if "requestBody" in operation else set()
            )
            assert problems <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]


class Served:
    """The house in a loop and thread of its own, for a client that waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="house")
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.house = AdminHouse(self._folder)
        self._loop.run_until_complete(self.house.start())
        call, _ = self._loop.run_until_complete(self.house.calls.phone_call())
        self.call = call
        self.url = str(self.house.server.make_url("")).rstrip("/")
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self.house.stop())
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.stop()


@pytest.mark.timeout(240)
def test_the_api_does_what_the_document_says(served: Served) -> None:
    found = document(served.house.operations)
    schema = held_to(found)
    tried = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=8,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def hold(case: Any) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(base_url=served.url, headers={"Authorization": f"Bearer {ADMIN}"}, checks=CHECKS)

            hold()
    assert tried >= len(served.house.operations)
