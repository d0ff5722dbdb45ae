"""Tokens that were given up before they expired, kept over a restart in the records' SQLite file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine

from mediaserver.store.records import StoreError

MAX_KEPT: Final = 100_000
"""Tokens that are read back at most, those first that expire last."""

_metadata = sa.MetaData()
_revoked = sa.Table(
    "revoked_tokens",
    _metadata,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("expires_at", sa.Float, nullable=False, index=True),
)


class Revocations(Protocol):
    """What must be remembered of tokens that are good by their signature and yet refused."""

    async def add(self, token_id: str, expires_at: float) -> None:
        """Keep this token's id until `expires_at` (POSIX seconds). Raises `StoreError`."""


class SqliteRevocations:
    """Implements `Revocations`; made by `open`."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    @classmethod
    async def open(cls, database: AsyncEngine) -> SqliteRevocations:
        """In a database that is open already; makes the table. Raises `StoreError`."""
        try:
            async with database.begin() as connection:
                await connection.run_sync(_metadata.create_all)
        except DatabaseError as error:
            raise StoreError(f"revoked tokens cannot be kept: {error.orig}") from None
        return cls(database)

    async def add(self, token_id: str, expires_at: float) -> None:
        """See `Revocations`."""
        row = {"token_id": token_id, "expires_at": expires_at}
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(_revoked).values(row).on_conflict_do_nothing())
        except DatabaseError as error:
            raise StoreError(f"a revoked token cannot be kept: {error.orig}") from None

    async def current(self, now: float) -> Mapping[str, float]:
        """Ids and ends of those that have not expired at `now`; the others are forgotten. Raises `StoreError`."""
        wanted = (
            sa.select(_revoked.c.token_id, _revoked.c.expires_at).order_by(_revoked.c.expires_at.desc()).limit(MAX_KEPT)
        )
        try:
            async with self._database.begin() as connection:
                await connection.execute(sa.delete(_revoked).where(_revoked.c.expires_at <= now))
                rows = (await connection.execute(wanted)).all()
        except DatabaseError as error:
            raise StoreError(f"revoked tokens cannot be read: {error.orig}") from None
        return {str(token_id): float(expires_at) for token_id, expires_at in rows}
