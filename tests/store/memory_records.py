"""Records of contacts that nothing is left of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mediaserver.store.records import ContactRecord


class MemoryRecords:
    """Keeps the latest `capacity` records in memory."""

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


def _order(record: ContactRecord) -> tuple[datetime, str]:
    return record.ended_at, record.contact_id
