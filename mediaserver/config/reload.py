"""What changed between two configurations, key by key, and which of it a running daemon could take over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mediaserver.config.base import Section
from mediaserver.config.loader import key_text
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath, problems
from mediaserver.errors import ConfigError

_Section = TypeVar("_Section", bound=Section)

# What a running daemon takes over; everything else was handed out when it started.
_LIVE: tuple[KeyPath, ...] = (
    ("users",),
    ("trunks",),
    ("routes",),
    ("groups",),
    ("webhooks",),
    ("sites",),
    ("media", "bandwidth"),
    ("listeners", "turn", "users"),
)

# The same of an Edge.
_LIVE_EDGE: tuple[KeyPath, ...] = (
    ("listeners", "shared_tls", "names"),
    ("listeners", "shared_tls", "certificate"),
    ("edge", "certificate"),
    ("edge", "trusted_proxies"),
    ("drain", "retry_after"),
    ("limits", "turn_allocations"),
    ("limits", "turn_allocations_per_session"),
    ("limits", "turn_answers_per_source"),
    ("limits", "edge_paths"),
    ("limits", "edge_paths_per_source"),
    ("limits", "stream_connections"),
    ("limits", "stream_connections_per_source"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs; `before` or `after` is None where the key is new or gone (or was null)."""

    path: KeyPath
    before: Any
    after: Any
    needs_restart: bool
    """Whether the running daemon cannot take it over."""

    def __str__(self) -> str:
        return f"{key_text(self.path)}: {self.before!r} -> {self.after!r}"


def diff(before: Config, after: Config) -> tuple[Change, ...]:
    """Every changed key, in the order of the file. Lists count as one value, named maps by item and key."""
    live = _live(before)
    return tuple(
        Change(path, old, new, needs_restart=not any(path[: len(each)] == each for each in live))
        for path, old, new in _diff(before.model_dump(mode="json"), after.model_dump(mode="json"), ())
    )


def taken_over(before: Config, after: Config) -> Config:
    """`before` with everything of `after` that a running daemon takes over.

    Raises ConfigError where that contradicts what stays as it was: an entry that leads to a user who is gone, say.
    """
    merged = before
    for path in _live(before):
        merged = _with(merged, after, path)
    found = [
        f"{key_text(path)}: {message} (it is in force until a restart)"
        for path, message in problems(merged.model_dump(mode="json"))
    ]
    if found:
        raise ConfigError("\n".join(found))
    return merged


def _live(config: Config) -> tuple[KeyPath, ...]:
    return _LIVE_EDGE if config.role == "edge" else _LIVE


def _with(before: _Section, after: _Section, path: KeyPath) -> _Section:
    """`before` with what `after` has at `path`."""
    key = str(path[0])
    mine, other = getattr(before, key), getattr(after, key)
    return before.model_copy(update={key: other if len(path) == 1 else _with(mine, other, path[1:])})


def _diff(before: Any, after: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _diff(before.get(key), after.get(key), (*path, key))
    elif before != after:
        yield path, before, after
