"""What happened in a contact and when, bounded, for the record and for whoever asks why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

MAX_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened; `at` is aware."""

    at: datetime
    what: str
    detail: str = ""


@dataclass(slots=True)
class Timeline:
    """Entries in order; beyond MAX_ENTRIES the newest are left out and counted."""

    entries: list[TimelineEntry] = field(default_factory=list)
    left_out: int = 0

    def add(self, what: str, detail: str = "", *, at: datetime) -> None:
        """Appends one entry."""
        if len(self.entries) >= MAX_ENTRIES:
            self.left_out += 1
            return
        self.entries.append(TimelineEntry(at, what, detail))
