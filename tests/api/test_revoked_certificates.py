"""`/v1/revoked-certificates`: in force at once, kept over a restart, taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from mediaserver.api.app import make_app
from mediaserver.api.auth import AdminAuth
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.revoked_certificates import RevokedCertificatesResource
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.metrics import Metrics
from mediaserver.store.records import SqliteRecords
from mediaserver.store.revoked_certificates import SqliteRevokedCertificates

TOKEN = "x" * 40
PATH = "/v1/revoked-certificates"
ONE = "ab" * 32


class Certificates:
    def __init__(self) -> None:
        self.names: set[str] = set()

    @property
    def revoked(self) -> tuple[str, ...]:
        return tuple(sorted(self.names))

    def revoke(self, name: str) -> None:
        self.names.add(name)

    def reinstate(self, name: str) -> bool:
        self.names.discard(name)
        return True


class House:
    def __init__(self, kept: SqliteRevokedCertificates) -> None:
        self.kept, self.certificates = kept, Certificates()
        resource = RevokedCertificatesResource(
            certificates=self.certificates, kept=kept, admin=AdminAuth(TOKEN), wall_clock=lambda: 1_000.0
        )
        metrics = ApiMetrics(Metrics())
        self.server = TestServer(make_app([resource], name="admin", metrics=metrics, source_of=SourceResolver()))

    async def ask(self, method: str, path: str = PATH, *, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            ClientSession() as session,
            session.request(method, self.server.make_url(path), headers=headers, json=body) as response,
        ):
            return response.status, await response.json(content_type=None) if response.status != 204 else None


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    file = await SqliteRecords.open(tmp_path / "records.sqlite")
    made = House(await SqliteRevokedCertificates.open(file))
    await made.server.start_server()
    yield made
    await made.server.close()
    await file.close()


async def test_what_is_revoked_is_so_at_once_and_after_a_restart(house: House) -> None:
    shown = ":".join(["AB"] * 32)
    for _ in range(2):
        assert await house.ask("POST", body={"fingerprint": shown}) == (201, {"fingerprint": ONE})
    assert house.certificates.revoked == await house.kept.current() == (ONE,)
    assert await house.ask("GET") == (200, {"items": [{"fingerprint": ONE}]})


async def test_it_can_be_taken_back_once(house: House) -> None:
    await house.ask("POST", body={"fingerprint": ONE})
    assert (await house.ask("DELETE", f"{PATH}/{ONE}"))[0] == 204
    assert house.certificates.revoked == await house.kept.current() == ()
    status, problem = await house.ask("DELETE", f"{PATH}/{ONE}")
    assert (status, problem["status"]) == (404, 404)


@pytest.mark.parametrize("fingerprint", ["", "xy" * 32, "ab" * 31, "ab" * 33, 7])
async def test_what_is_no_fingerprint_is_refused(house: House, fingerprint: object) -> None:
    status, problem = await house.ask("POST", body={"fingerprint": fingerprint})
    assert (status, problem["status"]) == (422, 422)
    assert house.certificates.revoked == ()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_token_nobody_sees_or_revokes(house: House, method: str) -> None:
    body = {"fingerprint": ONE} if method == "POST" else None
    assert (await house.ask(method, body=body, token="wrong"))[0] == 401
    assert house.certificates.revoked == ()
