"""Answers to requests with a key: kept over a restart, in the order in which they are forgotten."""

from __future__ import annotations

from pathlib import Path

from mediaserver.store.outcomes import Outcome, SqliteOutcomes
from mediaserver.store.records import SqliteRecords

NOW = 1_800_000_000.0


async def test_answers_outlive_the_process_until_their_time(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    records = await SqliteRecords.open(path)
    kept = await SqliteOutcomes.open(records)
    late, early = (
        Outcome("admin", key, b"\x00\xff", NOW + after, "{}") for key, after in (("late", 20), ("early", 10))
    )
    for outcome in (late, early, early, Outcome("other", "early", b"", NOW, "{}")):
        await kept.add(outcome)
    await records.close()

    records = await SqliteRecords.open(path)
    kept = await SqliteOutcomes.open(records)
    assert await kept.current(NOW) == [early, late]
    assert await kept.current(NOW + 10) == [late]
    assert await kept.current(NOW) == [late]
    await records.close()
