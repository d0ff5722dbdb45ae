"""Records: what is kept comes back as it was, from memory and from SQLite alike."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mediaserver.store.records import (
    ConsentRecord,
    ContactRecord,
    ContactRecords,
    LegRecord,
    SqliteRecords,
    StoreError,
    StreamRecord,
)
from tests.store.memory_records import MemoryRecords

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def record(name: str, *, minutes: float = 0) -> ContactRecord:
    begin = START + timedelta(minutes=minutes)
    return ContactRecord(
        contact_id=name,
        started_at=begin,
        answered_at=begin + timedelta(seconds=3, microseconds=5),
        ended_at=begin + timedelta(seconds=60),
        ended_by="caller",
        end_reason="hangup",
        entry="demo",
        caller="customer-7",
        consent=ConsentRecord(camera=True, at=begin + timedelta(seconds=10), text_version="2026-11"),
        legs=(
            LegRecord(
                kind="sip",
                party="agent",
                started_at=begin,
                round_trip_ms=12.5,
                streams=(
                    StreamRecord(kind="video", codec="H264", packets=900, lost=2, jitter_ms=1.5, gated={"consent": 40}),
                ),
            ),
        ),
        attributes={"page": "https://www.example.org/kindergeld?x=ä"},
    )


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.fixture(params=["memory", "sqlite"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContactRecords]:
    kept: ContactRecords = (
        MemoryRecords() if request.param == "memory" else await SqliteRecords.open(tmp_path / "r.sqlite")
    )
    yield kept
    await kept.close()


async def test_a_record_comes_back_as_it_was(records: ContactRecords) -> None:
    await records.add(record("c1"))
    assert await records.get("c1") == record("c1")


async def test_an_unknown_contact_has_no_record(records: ContactRecords) -> None:
    assert await records.get("none") is None


async def test_a_contact_that_was_never_answered_is_kept_too(records: ContactRecords) -> None:
    lost = ContactRecord(contact_id="c", started_at=START, ended_at=START, ended_by="system", end_reason="no_answer")
    await records.add(lost)
    assert await records.get("c") == lost


async def test_the_latest_contacts_are_listed_first(records: ContactRecords) -> None:
    await records.add(record("b", minutes=2), record("a", minutes=1), record("c", minutes=3))
    assert [found.contact_id for found in await records.list()] == ["c", "b", "a"]
    assert [found.contact_id for found in await records.list(limit=2)] == ["c", "b"]


async def test_since_is_a_moment_in_any_zone(records: ContactRecords) -> None:
    await records.add(record("a", minutes=1), record("b", minutes=2))
    since = record("b", minutes=2).ended_at.astimezone(timezone(timedelta(hours=5)))
    assert [found.contact_id for found in await records.list(since=since)] == ["b"]


async def test_a_page_follows_the_contact_seen_last(records: ContactRecords) -> None:
    # b and c ended in the same moment: the id decides, so that no page repeats or leaves out one of them.
    await records.add(record("a", minutes=1), record("b", minutes=2), record("c", minutes=2), record("d", minutes=3))
    pages = []
    before = None
    while page := await records.list(before=before, limit=2):
        pages.append([found.contact_id for found in page])
        before = page[-1].contact_id
    assert pages == [["d", "c"], ["b", "a"]]
    assert list(await records.list(before="unknown")) == []


async def test_adding_again_changes_nothing(records: ContactRecords) -> None:
    await records.add(record("a", minutes=1))
    await records.add(record("a", minutes=9), record("b"))
    assert await records.get("a") == record("a", minutes=1)
    assert await records.get("b") == record("b")


async def test_memory_keeps_the_latest_only() -> None:
    records = MemoryRecords(capacity=2)
    await records.add(record("a"), record("b"), record("c"))
    assert await records.get("a") is None
    assert await records.get("c") is not None


async def test_the_file_is_private_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    records = await SqliteRecords.open(path)
    await records.add(record("a"))
    modes = {file.name: mode_of(file) for file in files_in(tmp_path)}
    await records.close()
    assert set(modes.values()) == {0o600}, modes
    again = await SqliteRecords.open(path)
    assert await again.get("a") == record("a")
    await again.close()


async def test_an_operator_can_read_it_with_sqlite_alone(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "r.sqlite")
    await records.add(record("a"))
    await records.close()
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    row = connection.execute(
        "SELECT ended_at, ended_by, json_extract(legs, '$[0].streams[0].lost') FROM contacts"
    ).fetchone()
    connection.close()
    assert row == ("2026-11-21T09:01:00.000000+00:00", "caller", 2)


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="later version"):
        await SqliteRecords.open(tmp_path / "r.sqlite")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(StoreError, match="is no SQLite file"):
        await SqliteRecords.open(tmp_path / "r.sqlite")
    with pytest.raises(StoreError, match="cannot be opened"):
        await SqliteRecords.open(tmp_path / "no" / "r.sqlite")
