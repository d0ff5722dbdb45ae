"""Tokens that were given up before they expired, kept over a restart in the records' SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final, Protocol

from mediaserver.store.records import SqliteRecords

MAX_KEPT: Final = 100_000
"""Tokens that are read back at most, those first that expire last."""

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS revoked_tokens (token_id TEXT PRIMARY KEY, expires_at REAL NOT NULL)"
_INSERT: Final = "INSERT INTO revoked_tokens VALUES (?, ?) ON CONFLICT DO NOTHING"
_FORGET: Final = "DELETE FROM revoked_tokens WHERE expires_at <= ?"
_LIST: Final = "SELECT token_id, expires_at FROM revoked_tokens ORDER BY expires_at DESC LIMIT ?"


class Revocations(Protocol):
    """What must be remembered of tokens that are good by their signature and yet refused."""

    async def add(self, token_id: str, expires_at: float) -> None:
        """Keep this token's id until `expires_at` (POSIX seconds). Raises `StoreError`."""


class SqliteRevocations:
    """Implements `Revocations`; made by `open`."""

    def __init__(self, file: SqliteRecords) -> None:
        self._file = file

    @classmethod
    async def open(cls, file: SqliteRecords) -> SqliteRevocations:
        """In the file of the records, which stays its owner's to close. Raises `StoreError`."""

        def prepare(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_SCHEMA)

        await file.run("revoked tokens cannot be kept", prepare)
        return cls(file)

    async def add(self, token_id: str, expires_at: float) -> None:
        """See `Revocations`."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_INSERT, (token_id, expires_at))

        await self._file.run("a revoked token cannot be kept", write)

    async def current(self, now: float) -> Mapping[str, float]:
        """Ids and ends of those that have not expired at `now`; the others are forgotten. Raises `StoreError`."""

        def read(connection: sqlite3.Connection) -> Mapping[str, float]:
            with connection:
                connection.execute(_FORGET, (now,))
            return {str(row[0]): float(row[1]) for row in connection.execute(_LIST, (MAX_KEPT,))}

        return await self._file.run("revoked tokens cannot be read", read)
