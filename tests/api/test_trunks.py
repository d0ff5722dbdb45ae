"""`/v1/trunks` and `/v1/registrations` for whoever holds the admin token, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from mediaserver.api.app import make_app
from mediaserver.api.auth import AdminAuth
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.registrations import RegistrationsResource
from mediaserver.api.source import SourceResolver
from mediaserver.api.trunks import TrunksResource
from mediaserver.call.trunks import Trunks
from mediaserver.config.loader import load_text
from mediaserver.runtime.metrics import Metrics
from mediaserver.sip.flow import Flow
from mediaserver.sip.location import Binding
from mediaserver.sip.uri import parse_sip_uri

TOKEN = "x" * 40


class House:
    def __init__(self) -> None:
        metrics = Metrics()
        self.trunks = Trunks(
            load_text("trunks: {pbx: {target: 'sip:192.0.2.1'}, sbc: {target: 'sip:[2001:db8::1]'}}\n").config.trunks,
            realm="example.org",
            password_of=lambda name, trunk: None,
            metrics=metrics,
            now=lambda: 0.0,
        )
        flow = Flow("udp", "192.0.2.9", 5060, "2001:db8::7", 5062)
        contact = parse_sip_uri("sip:alice@10.0.0.7")
        self.bindings = [
            Binding(f"{user}@example.org", contact, flow, 130.0, 1.0, "c", 1, "phone 1") for user in ("alice", "bob")
        ]
        admin = AdminAuth(TOKEN)
        resources = [
            TrunksResource(status=self.trunks.status, admin=admin),
            RegistrationsResource(bindings=lambda: self.bindings, remove=self.remove, now=lambda: 100.0, admin=admin),
        ]
        api = ApiMetrics(metrics)
        self.server = TestServer(make_app(resources, name="admin", metrics=api, source_of=SourceResolver()))

    def remove(self, aor: str) -> bool:
        before = len(self.bindings)
        self.bindings = [binding for binding in self.bindings if binding.aor != aor]
        return len(self.bindings) != before

    async def ask(self, method: str, path: str, *, token: str = TOKEN) -> tuple[int, Any]:
        async with (
            ClientSession() as session,
            session.request(
                method, self.server.make_url(path), headers={"Authorization": f"Bearer {token}"}
            ) as response,
        ):
            return response.status, await response.json(content_type=None) if response.status != 204 else None


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.server.start_server()
    yield made
    await made.server.close()


async def test_trunks_are_shown_with_their_targets(house: House) -> None:
    house.trunks["pbx"].admit("incoming", 0.0)
    status, body = await house.ask("GET", "/v1/trunks")
    assert (status, [item["name"] for item in body["items"]]) == (200, ["pbx", "sbc"])
    assert (body["items"][0]["incoming"], body["items"][0]["registration"]) == (1, None)
    assert [target["hop"] for item in body["items"] for target in item["targets"]] == [
        "udp:192.0.2.1:5060",
        "udp:[2001:db8::1]:5060",
    ]
    assert (await house.ask("GET", "/v1/trunks/sbc"))[1] == body["items"][1]
    assert (await house.ask("GET", "/v1/trunks/none"))[0] == 404


async def test_registrations_are_shown_found_and_taken_away(house: House) -> None:
    _, body = await house.ask("GET", "/v1/registrations")
    assert body["total"] == 2
    assert body["items"][0] == {
        "aor": "alice@example.org",
        "contact": "sip:alice@10.0.0.7",
        "source": "[2001:db8::7]:5062",
        "transport": "udp",
        "expires_in_s": 30,
        "q": 1.0,
        "instance": None,
        "path": [],
        "user_agent": "phone 1",
        "certificate": None,
    }
    for name in ("bob", "bob@example.org"):
        assert [item["aor"] for item in (await house.ask("GET", f"/v1/registrations?user={name}"))[1]["items"]] == [
            "bob@example.org"
        ]
    assert (await house.ask("DELETE", "/v1/registrations/bob@example.org"))[0] == 204
    assert (await house.ask("DELETE", "/v1/registrations/bob@example.org"))[0] == 404


@pytest.mark.parametrize("path", ["/v1/trunks", "/v1/trunks/pbx", "/v1/registrations"])
async def test_nobody_else_sees_them(house: House, path: str) -> None:
    assert (await house.ask("GET", path, token="wrong"))[0] == 401
