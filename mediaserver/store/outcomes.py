"""What requests with an `Idempotency-Key` were answered, kept over a restart in the records' SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple, Protocol

from mediaserver.store.records import SqliteRecords

MAX_KEPT: Final = 10_000
"""Outcomes that are read back at most, those that are known longest."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS idempotent_outcomes (subject TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL, "
    "until REAL NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (subject, key))"
)
_INSERT: Final = "INSERT OR REPLACE INTO idempotent_outcomes VALUES (?, ?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM idempotent_outcomes WHERE until <= ?"
_LIST: Final = "SELECT subject, key, fingerprint, until, answer FROM idempotent_outcomes ORDER BY until DESC LIMIT ?"


class Outcome(NamedTuple):
    """Who asked under which key, a hash of what was asked, until when that is known (POSIX seconds), and the answer."""

    subject: str
    key: str
    fingerprint: bytes
    until: float
    answer: str


class Outcomes(Protocol):
    """Where they are kept."""

    async def add(self, outcome: Outcome) -> None:
        """Keeps it until its time. Raises `StoreError`."""


class SqliteOutcomes:
    """Implements `Outcomes`; made by `open`."""

    def __init__(self, file: SqliteRecords) -> None:
        self._file = file

    @classmethod
    async def open(cls, file: SqliteRecords) -> SqliteOutcomes:
        """In the file of the records, which stays its owner's to close. Raises `StoreError`."""

        def prepare(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_SCHEMA)

        await file.run("idempotent answers cannot be kept", prepare)
        return cls(file)

    async def add(self, outcome: Outcome) -> None:
        """See `Outcomes`."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_INSERT, outcome)

        await self._file.run("an idempotent answer cannot be kept", write)

    async def current(self, now: float) -> list[Outcome]:
        """Those that are still known at `now`, the first to be forgotten first; the others are gone. Raises `StoreError`."""

        def read(connection: sqlite3.Connection) -> list[Outcome]:
            with connection:
                connection.execute(_FORGET, (now,))
            return [Outcome(*row) for row in connection.execute(_LIST, (MAX_KEPT,))][::-1]

        return await self._file.run("idempotent answers cannot be read", read)
