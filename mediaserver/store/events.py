"""What happened, kept in the records' SQLite file: events by number, and for each webhook those not delivered yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from mediaserver.store.records import SqliteRecords

_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        contact_id TEXT NOT NULL,
        type TEXT NOT NULL,
        text TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS deliveries (
        target TEXT NOT NULL,
        number INTEGER NOT NULL,
        contact_id TEXT NOT NULL,
        text TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        first_tried_at REAL,
        PRIMARY KEY (target, number)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS events_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)
_INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_OWE: Final = "INSERT INTO deliveries (target, number, contact_id, text) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_AFTER: Final = "SELECT number, at, contact_id, type, text FROM events WHERE number > ? ORDER BY number LIMIT ?"
_BOUND: Final = "SELECT max(number) FROM events WHERE at < ?"
_SURPLUS: Final = "SELECT number FROM events ORDER BY number DESC LIMIT 1 OFFSET ?"
_PRUNE: Final = "DELETE FROM events WHERE number <= ?"
_REMEMBER: Final = (
    "INSERT INTO events_state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"
)
_STATE: Final = "SELECT value FROM events_state WHERE name = ?"
_OWED: Final = (
    "SELECT number, contact_id, text, attempts, first_tried_at FROM deliveries "
    "WHERE target = ? AND number > ? ORDER BY number LIMIT ?"
)
_COUNT: Final = "SELECT count(*) FROM deliveries WHERE target = ?"
_TRIED: Final = "UPDATE deliveries SET attempts = ?, first_tried_at = ? WHERE target = ? AND number = ?"
_DONE: Final = "DELETE FROM deliveries WHERE target = ? AND number = ?"
_OTHERS: Final = "SELECT DISTINCT target FROM deliveries"
_FORGET: Final = "DELETE FROM deliveries WHERE target = ?"


class StoredEvent(NamedTuple):
    """One event; `text` is the JSON object that is told, `at` POSIX seconds."""

    number: int
    at: float
    contact_id: str
    type: str
    text: str


class Delivery(NamedTuple):
    """One event that a webhook has not got yet; `first_tried_at` is None before the first attempt."""

    number: int
    contact_id: str
    text: str
    attempts: int
    first_tried_at: float | None


class EventStore(Protocol):
    """Where events are kept. Everything raises StoreError."""

    async def add(self, events: Sequence[StoredEvent], owed: Sequence[tuple[str, StoredEvent]]) -> None:
        """Keep events, and for whom they are (name of a webhook, event), in one transaction."""

    async def after(self, number: int, limit: int) -> Sequence[StoredEvent]:
        """Those with a greater number, in order."""

    async def prune(self, *, before: float, most: int) -> int:
        """Forget what is older than `before` and all but the newest `most`; the greatest number ever forgotten."""

    async def bounds(self) -> tuple[int, int]:
        """Greatest number ever forgotten, greatest number ever given; 0 where there is none."""


class SqliteEvents:
    """Implements `EventStore`, and keeps what is owed to webhooks; made by `open`."""

    def __init__(self, file: SqliteRecords) -> None:
        self._file = file

    @classmethod
    async def open(cls, file: SqliteRecords) -> SqliteEvents:
        """In the file of the records, which stays its owner's to close. Raises StoreError."""

        def prepare(connection: sqlite3.Connection) -> None:
            with connection:
                for statement in _SCHEMA:
                    connection.execute(statement)

        await file.run("events cannot be kept", prepare)
        return cls(file)

    async def add(self, events: Sequence[StoredEvent], owed: Sequence[tuple[str, StoredEvent]]) -> None:
        """See `EventStore`."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany(_INSERT, events)
                connection.executemany(
                    _OWE, [(target, event.number, event.contact_id, event.text) for target, event in owed]
                )
                connection.execute(_REMEMBER, ("last", max(event.number for event in events)))

        if events:
            await self._file.run("events cannot be written", write)

    async def after(self, number: int, limit: int) -> Sequence[StoredEvent]:
        """See `EventStore`."""

        def read(connection: sqlite3.Connection) -> Sequence[StoredEvent]:
            return [StoredEvent(*row) for row in connection.execute(_AFTER, (number, limit))]

        return await self._file.run("events cannot be read", read)

    async def prune(self, *, before: float, most: int) -> int:
        """See `EventStore`."""

        def forget(connection: sqlite3.Connection) -> int:
            with connection:
                old = connection.execute(_BOUND, (before,)).fetchone()[0] or 0
                surplus = connection.execute(_SURPLUS, (most,)).fetchone()
                bound = max(old, surplus[0] if surplus is not None else 0)
                connection.execute(_PRUNE, (bound,))
                connection.execute(_REMEMBER, ("forgotten", bound))
            return _state(connection, "forgotten")

        return await self._file.run("events cannot be forgotten", forget)

    async def bounds(self) -> tuple[int, int]:
        """See `EventStore`."""

        def read(connection: sqlite3.Connection) -> tuple[int, int]:
            return _state(connection, "forgotten"), _state(connection, "last")

        return await self._file.run("events cannot be read", read)

    # -- what is owed to webhooks --------------------------------------------------------------------------------

    async def owed(self, target: str, *, after: int, limit: int) -> tuple[Sequence[Delivery], int]:
        """What a webhook has not got yet beyond a number, in order, and how much it has not got at all."""

        def read(connection: sqlite3.Connection) -> tuple[Sequence[Delivery], int]:
            rows = [Delivery(*row) for row in connection.execute(_OWED, (target, after, limit))]
            return rows, int(connection.execute(_COUNT, (target,)).fetchone()[0])

        return await self._file.run("deliveries cannot be read", read)

    async def tried(self, target: str, number: int, *, attempts: int, first_tried_at: float) -> None:
        """Remember an attempt that failed."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_TRIED, (attempts, first_tried_at, target, number))

        await self._file.run("an attempt cannot be written", write)

    async def done(self, target: str, number: int) -> None:
        """It was delivered, or given up."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_DONE, (target, number))

        await self._file.run("a delivery cannot be written", write)

    async def forget_all_but(self, targets: Sequence[str]) -> Sequence[str]:
        """Webhooks that are gone from the configuration are owed nothing any more; their names."""

        def write(connection: sqlite3.Connection) -> Sequence[str]:
            with connection:
                gone = [row[0] for row in connection.execute(_OTHERS) if row[0] not in targets]
                connection.executemany(_FORGET, [(name,) for name in gone])
            return gone

        return await self._file.run("deliveries cannot be forgotten", write)


def _state(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute(_STATE, (name,)).fetchone()
    return int(row[0]) if row is not None else 0
