"""Records of finished contacts: the values, the repository's face, and its forms in memory and in SQLite."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from mediaserver.errors import MediaServerError

SCHEMA_VERSION = 1
"""Kept in SQLite's `user_version`; a file of a later version is refused, not guessed at."""

_MAGIC: Final = b"SQLite format 3\0"
_BUSY_TIMEOUT_S: Final = 5.0
_T = TypeVar("_T")


class StoreError(MediaServerError):
    """The store cannot be used; the text says why."""


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of media on one leg, both ways. `codec` is what came in, `codec_sent` what went out."""

    kind: str
    codec: str | None = None
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    recovered: int = 0
    """Of these, packets that came when they were asked for again."""
    jitter_ms: float = 0.0
    codec_sent: str | None = None
    packets_sent: int = 0
    bytes_sent: int = 0
    remote_lost: int = 0
    recovered_sent: int = 0
    """Packets that the party had after all: sent again, or from the redundancy of later ones."""
    remote_jitter_ms: float = 0.0
    gated: Mapping[str, int] = {}
    """Packets that a closed gate dropped, by gate."""


class DirectionQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a leg. Means are weighted by time; None was never known. Shares are from 0 to 1."""

    mos: float | None = None
    """Score of the sound by the E-model (ITU-T G.107), of this leg's line alone."""
    mos_min: float | None = None
    """Of the worst interval."""
    loss: float | None = None
    loss_max: float | None = None
    jitter_ms: float | None = None
    picture_loss: float | None = None
    freezes: int = 0
    """By the definition of W3C webrtc-stats, at the server: of what came, or of what left."""
    frozen_s: float = 0.0
    layer_switches: int = 0
    repaired: int = 0
    """Packets that were lost and had after all: sent again, or from the redundancy of later ones."""


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a leg did; `received` is from the party, `sent` to it by its own reports."""

    seconds: Mapping[str, float]
    """How long it was `good`, `fair`, `poor` and `bad`."""
    round_trip_ms: float | None = None
    round_trip_max_ms: float | None = None
    estimate_bps: int | None = None
    """Mean of what the line to the party carried, where its feedback told."""
    received: DirectionQuality = DirectionQuality()
    sent: DirectionQuality = DirectionQuality()


class LegRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One leg; `kind` is `browser`, `sip`, `room` or `announcement`, `party` the user, trunk or address at its end."""

    kind: str
    party: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""
    round_trip_ms: float | None = None
    picture_withheld: str = ""
    """Why the party got no picture at some time although there was one: `too_large` for its decoder."""
    session_id: str = ""
    """Session-ID of a SIP leg (RFC 7989): the peer's end, then the other one; the same in the logs of call managers."""
    streams: tuple[StreamRecord, ...] = ()
    quality: QualityRecord | None = None


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


# Times as ISO 8601 in UTC with microseconds: they sort as text, and `sqlite3` shows them as people write them.
_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS contacts (
        contact_id TEXT NOT NULL PRIMARY KEY,
        started_at TEXT NOT NULL,
        answered_at TEXT,
        ended_at TEXT NOT NULL,
        ended_by TEXT NOT NULL,
        end_reason TEXT NOT NULL,
        entry TEXT,
        caller TEXT,
        consent TEXT,
        legs TEXT NOT NULL,
        attributes TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_contacts_ended_at ON contacts (ended_at)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_INSERT: Final = """
    INSERT INTO contacts (contact_id, started_at, answered_at, ended_at, ended_by, end_reason, entry, caller, consent,
                          legs, attributes)
    VALUES (:contact_id, :started_at, :answered_at, :ended_at, :ended_by, :end_reason, :entry, :caller, :consent,
            :legs, :attributes)
    ON CONFLICT DO NOTHING
"""
_GET: Final = "SELECT * FROM contacts WHERE contact_id = :contact_id"
_LIST: Final = """
    SELECT * FROM contacts
    WHERE ended_at >= :since AND (ended_at, contact_id) < (:until, :before)
    ORDER BY ended_at DESC, contact_id DESC LIMIT :limit
"""
_BEFORE_ALL: Final = ""
_AFTER_ALL: Final = "~"


class SqliteRecords:
    """Keeps records in one SQLite file; made by `open`.

    One thread owns the connection and does one piece of work at a time: the loop hands over a whole batch and never
    waits for a disk.
    """

    def __init__(self, thread: ThreadPoolExecutor, connection: sqlite3.Connection) -> None:
        self._thread = thread
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> SqliteRecords:
        """Open or make the file (mode 0600). Raises `StoreError` where it cannot be used."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="records")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _open, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(thread, connection)

    async def add(self, *records: ContactRecord) -> None:
        """See `ContactRecords`."""

        def write() -> None:
            with self._connection:
                self._connection.executemany(_INSERT, [_to_row(record) for record in records])

        if records:
            await self._run("records cannot be written", write)

    async def get(self, contact_id: str) -> ContactRecord | None:
        """See `ContactRecords`."""
        found = await self._select(_GET, {"contact_id": contact_id})
        return found[0] if found else None

    async def list(
        self, *, since: datetime | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ContactRecord]:
        """See `ContactRecords`."""
        until = _AFTER_ALL
        if before is not None:
            seen = await self.get(before)
            if seen is None:
                return []
            until = _time(seen.ended_at)
        values = {
            "since": _BEFORE_ALL if since is None else _time(since),
            "until": until,
            "before": before,
            "limit": limit,
        }
        return await self._select(_LIST, values)

    async def run(self, failure: str, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Does `work` in the thread that owns the file, for what else is kept in it. Raises `StoreError`: `failure`."""
        return await self._run(failure, lambda: work(self._connection))

    async def close(self) -> None:
        """Close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    async def _select(self, query: str, values: Mapping[str, str | int | None]) -> Sequence[ContactRecord]:
        def read() -> Sequence[ContactRecord]:
            return [_from_row(row) for row in self._connection.execute(query, values)]

        return await self._run("records cannot be read", read)

    async def _run(self, failure: str, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"{failure}: {error}") from None


def _open(path: Path) -> sqlite3.Connection:
    try:
        # SQLite gives its journal files the mode of the database.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from None
    if head and head != _MAGIC:
        raise StoreError(f"{path} is no SQLite file")
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} cannot be used: {error}") from None
    except StoreError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path} was written by a later version (schema {version}, known {SCHEMA_VERSION})")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
    # Write-ahead: readers (an operator's sqlite3) never block the daemon. It stays set in the file.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.row_factory = sqlite3.Row


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


def _from_row(row: sqlite3.Row) -> ContactRecord:
    values = dict(row)
    for name in ("consent", "legs", "attributes"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return msgspec.convert(values, ContactRecord)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
