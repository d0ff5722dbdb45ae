"""What the public listener says of itself by OpenAPI, and that it does so: entries, sign-in, session, WHIP and WHEP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from mediaserver.api.openapi import document
from mediaserver.api.room_sessions import SDP, RoomLimits
from mediaserver.webrtc import sdpfrag
from tests.api.fakes import Stack
from tests.api.test_openapi import CHECKS, held_to, plain

schemathesis.serializer.alias([SDP, sdpfrag.MEDIA_TYPE], "text/plain")

_ROOM = "lobby"


async def test_every_public_route_of_the_api_is_in_the_document(stack: Stack) -> None:
    async with stack.http.get("/v1/openapi.json") as response:
        assert response.status == 200
        found = await response.json()
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    routed = {
        (route.method, plain(str(route.resource.canonical)))
        for route in stack.public_app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
    }
    assert described == {(method, path) for method, path in routed if path.startswith("/v1/")}
    assert set(found["components"]["securitySchemes"]) == {"agent", "room"}
    assert found["paths"]["/v1/rooms/{room}/whip"]["post"]["security"] == [{"room": []}]
    (room,) = found["paths"]["/v1/rooms/{room}/whip"]["post"]["parameters"]
    assert room["schema"]["pattern"] == "^[A-Za-z0-9._-]{1,64}$"


class Served:
    """The public side in a loop and thread of its own, for a client that waits."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="public")
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        every = 100_000.0
        self.stack = Stack(
            rooms=RoomLimits(posts_per_second_per_source=every, post_burst_per_source=every),
            requests_per_second_per_source=every,
            request_burst_per_source=every,
        )
        self._loop.run_until_complete(self.stack.start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self.stack.stop())
        self._loop.close()

    def bearer(self, path: str) -> str:
        """A token that the operation takes."""
        tokens = self.stack.tokens
        if "/rooms/" not in path:
            return tokens.mint_agent("anna", lifetime_s=600)
        return tokens.mint_room(room=_ROOM, directions=("publish", "view"), subject="tests", lifetime_s=600)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.stop()


@pytest.mark.timeout(240)
def test_the_public_api_does_what_its_document_says(served: Served) -> None:
    schema = held_to(document(served.stack.operations, public=True))
    statuses: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation: Any = result.ok()
        modes = [GenerationMode.POSITIVE]
        if "sign-in" in operation.path:
            modes.append(GenerationMode.NEGATIVE)  # elsewhere nothing but names and texts can be wrong
        for mode in modes:

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
                if "room" in case.path_parameters:
                    case.path_parameters["room"] = _ROOM
                headers = {"Authorization": f"Bearer {served.bearer(case.path)}"}
                answer = case.call_and_validate(base_url=served.stack.origin, headers=headers, checks=CHECKS)
                statuses.setdefault(case.operation.label, set()).add(answer.status_code)

            hold()
    assert len(statuses) == len(served.stack.operations)
    assert 201 in statuses["POST /v1/rooms/{room}/whip"]
    assert 201 in statuses["POST /v1/rooms/{room}/whep"]


@pytest.mark.timeout(240)
def test_a_session_is_changed_and_ended_as_the_document_says(served: Served) -> None:
    schema = held_to(document(served.stack.operations, public=True))
    headers = {"Authorization": f"Bearer {served.bearer('/v1/rooms/')}"}
    for kind in ("whip", "whep"):
        endpoint: Any = schema[f"/v1/rooms/{{room}}/{kind}"]
        resource: Any = schema[f"/v1/rooms/{{room}}/{kind}/{{session}}"]

        def ask(operation: Any, status: int, **values: Any) -> Any:
            case = operation.Case(**{"path_parameters": {"room": _ROOM}} | values)
            answer = case.call_and_validate(base_url=served.stack.origin, headers=headers | values.get("headers", {}))
            assert answer.status_code == status
            return answer

        made = ask(endpoint["POST"], 201, body="v=0\r\n", media_type=SDP)
        where = {"room": _ROOM, "session": made.headers["location"][0].rpartition("/")[2]}
        change = {"path_parameters": where, "body": "a=end-of-candidates\r\n", "media_type": sdpfrag.MEDIA_TYPE}
        ask(resource["PATCH"], 204, headers={"If-Match": made.headers["etag"][0]}, **change)
        ask(resource["PATCH"], 200, headers={"If-Match": "*"}, **change)
        ask(resource["PATCH"], 412, headers={"If-Match": made.headers["etag"][0]}, **change)
        ask(resource["PATCH"], 428, **change)
        ask(resource["DELETE"], 200, path_parameters=where)
        ask(resource["DELETE"], 404, path_parameters=where)
