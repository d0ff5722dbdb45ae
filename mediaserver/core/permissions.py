"""What somebody may do in a room: publish sound, camera, screen and data, each for itself, and decide for others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeGuard

Publishable = Literal["audio", "video", "screen", "data"]
"""What can be published: the kinds of media, and messages on data channels."""

PUBLISHABLE: Final[tuple[Publishable, ...]] = ("audio", "video", "screen", "data")
ALL: Final[frozenset[Publishable]] = frozenset(PUBLISHABLE)
NOTHING: Final[frozenset[Publishable]] = frozenset()


@dataclass(frozen=True, slots=True)
class Permissions:
    """`publish` may be changed while somebody is in the room; `moderate` is who may change it."""

    publish: frozenset[Publishable] = ALL
    moderate: bool = False

    def named(self) -> tuple[Publishable, ...]:
        """What may be published, in a fixed order."""
        return tuple(kind for kind in PUBLISHABLE if kind in self.publish)


def is_publishable(name: object) -> TypeGuard[Publishable]:
    """Whether this is the name of something that can be published."""
    return name in PUBLISHABLE


def publishables(names: Iterable[object]) -> frozenset[Publishable]:
    """Those of the names that can be published."""
    return frozenset(name for name in names if is_publishable(name))
