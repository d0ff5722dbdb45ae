"""Certificates that the house has revoked, kept over a restart in the records' SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Final

from mediaserver.store.records import SqliteRecords

MAX_KEPT: Final = 100_000
"""Certificates that are read back at most, those that were revoked last."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS revoked_certificates (fingerprint TEXT PRIMARY KEY, revoked_at REAL NOT NULL)"
)
_INSERT: Final = "INSERT INTO revoked_certificates VALUES (?, ?) ON CONFLICT DO NOTHING"
_DELETE: Final = "DELETE FROM revoked_certificates WHERE fingerprint = ?"
_LIST: Final = "SELECT fingerprint FROM revoked_certificates ORDER BY revoked_at DESC LIMIT ?"


class SqliteRevokedCertificates:
    """By fingerprint (SHA-256, lower-case hex); made by `open`."""

    def __init__(self, file: SqliteRecords) -> None:
        self._file = file

    @classmethod
    async def open(cls, file: SqliteRecords) -> SqliteRevokedCertificates:
        """In the file of the records, which stays its owner's to close. Raises `StoreError`."""

        def prepare(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_SCHEMA)

        await file.run("revoked certificates cannot be kept", prepare)
        return cls(file)

    async def add(self, fingerprint: str, now: float) -> None:
        """Keep this one; `now` is POSIX seconds. Raises `StoreError`."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_INSERT, (fingerprint, now))

        await self._file.run("a revoked certificate cannot be kept", write)

    async def remove(self, fingerprint: str) -> None:
        """Forget this one. Raises `StoreError`."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_DELETE, (fingerprint,))

        await self._file.run("a revoked certificate cannot be forgotten", write)

    async def current(self) -> tuple[str, ...]:
        """All of them. Raises `StoreError`."""

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            return tuple(str(row[0]) for row in connection.execute(_LIST, (MAX_KEPT,)))

        return await self._file.run("revoked certificates cannot be read", read)
