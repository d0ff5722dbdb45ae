"""What changed between two configurations, key by key, and which of it a running daemon could take over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mediaserver.config.loader import key_text
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath, problems
from mediaserver.errors import ConfigError

# What a running daemon takes over; everything else was handed out when it started. `*` is any name.
_LIVE: tuple[KeyPath, ...] = (
    ("users",),
    ("trunks",),
    ("routes",),
    ("groups",),
    ("webhooks",),
    ("sites",),
    ("media", "bandwidth"),
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
        return not any(_begins(self.path, live) for live in _LIVE)

    def __str__(self) -> str:
        return f"{key_text(self.path)}: {self.before!r} -> {self.after!r}"


def diff(before: Config, after: Config) -> tuple[Change, ...]:
    """Every changed key, in the order of the file. Lists count as one value, named maps by item and key."""
    return tuple(_diff(before.model_dump(mode="json"), after.model_dump(mode="json"), ()))


def taken_over(before: Config, after: Config) -> Config:
    """`before` with everything of `after` that a running daemon takes over.

    Raises ConfigError where that contradicts what stays as it was: an entry that leads to a user who is gone, say.
    """
    live = {str(path[0]): getattr(after, str(path[0])) for path in _LIVE if len(path) == 1}
    media = before.media.model_copy(update={"bandwidth": after.media.bandwidth})
    merged = before.model_copy(update={**live, "media": media})
    found = [
        f"{key_text(path)}: {message} (it is in force until a restart)"
        for path, message in problems(merged.model_dump(mode="json"))
    ]
    if found:
        raise ConfigError("\n".join(found))
    return merged


def _begins(path: KeyPath, live: KeyPath) -> bool:
    return len(path) >= len(live) and all(want in ("*", part) for part, want in zip(path, live, strict=False))


def _diff(before: Any, after: Any, path: KeyPath) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _diff(before.get(key), after.get(key), (*path, key))
    elif before != after:
        yield Change(path, before, after)
