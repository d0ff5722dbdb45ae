"""Revoked tokens: kept over a restart, forgotten when they have expired."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.api.auth import DaemonTokens, TokenRefused
from mediaserver.store.records import SqliteRecords, StoreError
from mediaserver.store.revocations import SqliteRevocations

NOW = 1_800_000_000.0


async def test_what_was_revoked_is_refused_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"

    def tokens() -> DaemonTokens:
        return DaemonTokens(session_key=b"s" * 32, room_key=b"r" * 32, wall_clock=lambda: NOW)

    before = tokens()
    given_up, kept = (before.mint_agent("anna", lifetime_s=60) for _ in range(2))
    records = await SqliteRecords.open(path)
    scope = before.verify_agent(given_up)
    await (await SqliteRevocations.open(records)).add(scope.token_id, scope.expires_at)
    await records.close()

    records = await SqliteRecords.open(path)
    after = tokens()
    assert after.verify_agent(given_up).user == "anna"
    after.restore(await (await SqliteRevocations.open(records)).current(NOW))
    await records.close()
    with pytest.raises(TokenRefused, match="sign in again"):
        after.verify_agent(given_up)
    assert after.verify_agent(kept).user == "anna"


async def test_expired_ones_are_forgotten(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "records.sqlite")
    revocations = await SqliteRevocations.open(records)
    await revocations.add("old", NOW)
    await revocations.add("new", NOW + 1)
    await revocations.add("new", NOW + 1)
    assert await revocations.current(NOW) == {"new": NOW + 1}
    assert await revocations.current(NOW - 10) == {"new": NOW + 1}
    await records.close()


async def test_a_file_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "records.sqlite")
    revocations = await SqliteRevocations.open(records)
    await records.run("", lambda connection: connection.execute("DROP TABLE revoked_tokens"))
    with pytest.raises(StoreError):
        await revocations.add("token", NOW)
    with pytest.raises(StoreError):
        await revocations.current(NOW)
    await records.close()
