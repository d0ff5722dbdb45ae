"""What changed between two configurations, key by key, and which of it a running daemon could take over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mediaserver.config.loader import key_text
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath

# Sockets, threads and files are made once at start; everything else is looked up when it is used.
_NEEDS_RESTART: tuple[KeyPath, ...] = (
    ("state_dir",),
    ("role",),
    ("networks",),
    ("listeners",),
    ("media", "sip_ports"),
    ("media", "shards"),
    ("media", "gso"),
    ("secrets", "session_key"),
    ("secrets", "ufrag_key"),
    ("secrets", "room_key"),
    ("records",),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs; `before` or `after` is None where the key is new or gone (or was null)."""

    path: KeyPath
    before: Any
    after: Any

    @property
    def needs_restart(self) -> bool:
        """Whether the running daemon cannot take it over."""
        return any(self.path[: len(prefix)] == prefix for prefix in _NEEDS_RESTART)

    def __str__(self) -> str:
        return f"{key_text(self.path)}: {self.before!r} -> {self.after!r}"


def diff(before: Config, after: Config) -> tuple[Change, ...]:
    """Every changed key, in the order of the file. Lists count as one value, named maps by item and key."""
    return tuple(_diff(before.model_dump(mode="json"), after.model_dump(mode="json"), ()))


def _diff(before: Any, after: Any, path: KeyPath) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _diff(before.get(key), after.get(key), (*path, key))
    elif before != after:
        yield Change(path, before, after)
