"""Records of finished contacts: the values, the repository's face, and its forms in memory and in SQLite."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mediaserver.errors import MediaServerError

SCHEMA_VERSION = 1
"""Kept in SQLite's `user_version`; a file of a later version is refused, not guessed at."""


_MAGIC = b"SQLite format 3\0"


class StoreError(MediaServerError):
    """The store cannot be used; the text says why."""


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of media on one leg, both ways. `codec` is what came in, `codec_sent` what went out."""

    kind: str
    codec: str | None = None
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    jitter_ms: float = 0.0
    codec_sent: str | None = None
    packets_sent: int = 0
    bytes_sent: int = 0
    remote_lost: int = 0
    remote_jitter_ms: float = 0.0
    gated: Mapping[str, int] = {}
    """Packets that a closed gate dropped, by gate."""


class LegRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One leg; `kind` is `browser`, `sip` or `room`, `party` the user, trunk or address at its end."""

    kind: str
    party: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""
    round_trip_ms: float | None = None
    streams: tuple[StreamRecord, ...] = ()


class ConsentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller agreed to, when, and which version of the text was shown."""

    camera: bool
    at: datetime
    text_version: str


class ContactRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished contact. Times are aware; `ended_by` is `caller`, `agent`, `system` or the like."""

    contact_id: str
    started_at: datetime
    ended_at: datetime
    ended_by: str
    end_reason: str
    answered_at: datetime | None = None
    entry: str | None = None
    caller: str | None = None
    consent: ConsentRecord | None = None
    legs: tuple[LegRecord, ...] = ()
    attributes: Mapping[str, str] = {}


class ContactRecords(Protocol):
    """A repository of finished contacts."""

    async def add(self, *records: ContactRecord) -> None:
        """Keep `records`, all or none; one that is there already stays as it is. Raises `StoreError`."""

    async def get(self, contact_id: str) -> ContactRecord | None:
        """The record of one contact, or None. Raises `StoreError`."""

    async def list(
        self, *, since: datetime | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ContactRecord]:
        """At most `limit` contacts that ended at `since` or later, the latest first. Raises `StoreError`.

        `before` is the id of the last contact already seen, for the following page; an unknown one has none.
        """

    async def close(self) -> None:
        """Release what the repository holds."""


class MemoryRecords:
    """Keeps the latest `capacity` records in memory; for tests and for a daemon that shall keep none."""

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._records: dict[str, ContactRecord] = {}

    async def add(self, *records: ContactRecord) -> None:
        """See `ContactRecords`; the oldest give way beyond the capacity."""
        for record in records:
            self._records.setdefault(record.contact_id, record)
        while len(self._records) > self._capacity:
            del self._records[next(iter(self._records))]

    async def get(self, contact_id: str) -> ContactRecord | None:
        """See `ContactRecords`."""
        return self._records.get(contact_id)

    async def list(
        self, *, since: datetime | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ContactRecord]:
        """See `ContactRecords`."""
        found = [record for record in self._records.values() if since is None or record.ended_at >= since]
        found.sort(key=_order, reverse=True)
        if before is not None:
            seen = self._records.get(before)
            found = [] if seen is None else [record for record in found if _order(record) < _order(seen)]
        return found[:limit]

    async def close(self) -> None:
        """Nothing is held."""


_metadata = sa.MetaData()

# Times as ISO 8601 in UTC with microseconds: they sort as text, and `sqlite3` shows them as people write them.
_contacts = sa.Table(
    "contacts",
    _metadata,
    sa.Column("contact_id", sa.Text, primary_key=True),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("answered_at", sa.Text),
    sa.Column("ended_at", sa.Text, nullable=False, index=True),
    sa.Column("ended_by", sa.Text, nullable=False),
    sa.Column("end_reason", sa.Text, nullable=False),
    sa.Column("entry", sa.Text),
    sa.Column("caller", sa.Text),
    sa.Column("consent", sa.Text),
    sa.Column("legs", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
)


class SqliteRecords:
    """Keeps records in one SQLite file; made by `open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @property
    def database(self) -> AsyncEngine:
        """The open file, for what else is kept in it."""
        return self._engine

    @classmethod
    async def open(cls, path: Path) -> SqliteRecords:
        """Open or make the file (mode 0600). Raises `StoreError` where it cannot be used."""
        try:
            # SQLite gives its journal files the mode of the database.
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as file:
                head = file.read(len(_MAGIC))
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from None
        if head and head != _MAGIC:
            raise StoreError(f"{path} is no SQLite file")
        engine = create_async_engine(sa.URL.create("sqlite+aiosqlite", database=str(path)))
        store = cls(engine)
        try:
            await store._prepare(path)
        except DatabaseError as error:
            await engine.dispose()
            raise StoreError(f"{path} cannot be used: {error.orig}") from None
        except StoreError:
            await engine.dispose()
            raise
        return store

    async def add(self, *records: ContactRecord) -> None:
        """See `ContactRecords`."""
        if not records:
            return
        try:
            async with self._engine.begin() as connection:
                await connection.execute(
                    insert(_contacts).on_conflict_do_nothing(), [_to_row(record) for record in records]
                )
        except DatabaseError as error:
            raise StoreError(f"records cannot be written: {error.orig}") from None

    async def get(self, contact_id: str) -> ContactRecord | None:
        """See `ContactRecords`."""
        found = await self._select(sa.select(_contacts).where(_contacts.c.contact_id == contact_id))
        return found[0] if found else None

    async def list(
        self, *, since: datetime | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ContactRecord]:
        """See `ContactRecords`."""
        order = sa.tuple_(_contacts.c.ended_at, _contacts.c.contact_id)
        query = sa.select(_contacts).order_by(_contacts.c.ended_at.desc(), _contacts.c.contact_id.desc()).limit(limit)
        if since is not None:
            query = query.where(_contacts.c.ended_at >= _time(since))
        if before is not None:
            seen = sa.select(_contacts.c.ended_at, _contacts.c.contact_id).where(_contacts.c.contact_id == before)
            query = query.where(order < seen.scalar_subquery())
        return await self._select(query)

    async def close(self) -> None:
        """Close the file."""
        await self._engine.dispose()

    async def _prepare(self, path: Path) -> None:
        async with self._engine.begin() as connection:
            version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
            if version > SCHEMA_VERSION:
                raise StoreError(f"{path} was written by a later version (schema {version}, known {SCHEMA_VERSION})")
            await connection.run_sync(_metadata.create_all)
            await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        async with self._engine.connect() as connection:
            # Write-ahead: readers (an operator's sqlite3) never block the daemon. It stays set in the file.
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    async def _select(self, query: sa.Select[Any]) -> Sequence[ContactRecord]:
        try:
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).mappings().all()
        except DatabaseError as error:
            raise StoreError(f"records cannot be read: {error.orig}") from None
        return [_from_row(row) for row in rows]


def _to_row(record: ContactRecord) -> dict[str, str | None]:
    return {
        "contact_id": record.contact_id,
        "started_at": _time(record.started_at),
        "answered_at": None if record.answered_at is None else _time(record.answered_at),
        "ended_at": _time(record.ended_at),
        "ended_by": record.ended_by,
        "end_reason": record.end_reason,
        "entry": record.entry,
        "caller": record.caller,
        "consent": None if record.consent is None else msgspec.json.encode(record.consent).decode(),
        "legs": msgspec.json.encode(record.legs).decode(),
        "attributes": msgspec.json.encode(record.attributes).decode(),
    }


def _from_row(row: Mapping[Any, Any]) -> ContactRecord:
    # SQLAlchemy's keys are a subclass of str, which msgspec does not take for one.
    values = {str(name): value for name, value in row.items()}
    for name in ("consent", "legs", "attributes"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return msgspec.convert(values, ContactRecord)


def _order(record: ContactRecord) -> tuple[datetime, str]:
    return record.ended_at, record.contact_id


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
