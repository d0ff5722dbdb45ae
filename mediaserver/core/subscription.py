"""What one participant of a room wants to receive: of whom, how large, and what goes first when bandwidth is short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.config.bandwidth import MediaKind

SCREEN_PRIORITY: Final = 200
ACTIVE_PRIORITY: Final = 150
PINNED_PRIORITY: Final = 120
REST_PRIORITY: Final = 100
"""Who gets bandwidth first: a shared screen, the active speaker, who was asked for by name, the rest."""


@dataclass(frozen=True, slots=True)
class Want:
    """One publication that is asked for by name. Sizes in pixels, None for any; `priority` None is the usual one."""

    participant: str
    kind: MediaKind
    width: int | None = None
    height: int | None = None
    priority: int | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """`wants`, the most wanted first; with `fill` the places left over go to screens and to those who spoke last.

    Places for sound are always filled: who speaks is heard. The default is what somebody gets who has not chosen.
    """

    wants: tuple[Want, ...] = ()
    fill: bool = True

    def of(self, *kinds: MediaKind) -> list[Want]:
        """Wants of these kinds in the order in which they get places: paused ones last."""
        found = [want for want in self.wants if want.kind in kinds]
        return sorted(found, key=lambda want: (want.paused, -self.rank(want)))

    @staticmethod
    def rank(want: Want) -> int:
        """The priority of a want, when nobody speaks."""
        if want.priority is not None:
            return want.priority
        return SCREEN_PRIORITY if want.kind == "screen" else PINNED_PRIORITY
