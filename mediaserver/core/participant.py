"""One party of a room: what it publishes, the slots in which it sees and hears others, and what it may do."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mediaserver.config.bandwidth import MEDIA_KINDS, MediaKind
from mediaserver.core.data import DataChannels
from mediaserver.core.ears import Ears
from mediaserver.core.permissions import Permissions
from mediaserver.core.renditions import Renditions
from mediaserver.core.slot import Publication, Slot
from mediaserver.core.subscription import Subscription
from mediaserver.core.up_track import UpTrack


def new_participant_id() -> str:
    """A name by which others in the room know somebody; it opens nothing."""
    return secrets.token_hex(6)


class Observer(Protocol):
    """Is told what somebody in the room sees of it. Called on the loop, synchronously: note it, do not act in it."""

    def saw(self, other: Participant) -> None:
        """Somebody else came, or publishes something else."""

    def missed(self, participant_id: str) -> None:
        """Somebody else left."""

    def seated(self, slots: Iterable[Slot]) -> None:
        """These slots of ours show somebody else."""

    def heard(self, active: str | None, speaking: tuple[str, ...]) -> None:
        """Who speaks; at most a few times a second."""

    def permitted(self, permissions: Permissions) -> None:
        """What we may do has changed."""


@dataclass(slots=True)
class Participant:
    """`up` by kind and `slots` by mid; a publisher has no slots, a viewer no `up`, a phone `ears` in place of slots."""

    id: str
    name: str = ""
    up: dict[MediaKind, UpTrack] = field(default_factory=dict)
    live: set[MediaKind] = field(default_factory=lambda: set(MEDIA_KINDS))
    """Of what it could publish, what it does publish now."""
    slots: dict[str, Slot] = field(default_factory=dict)
    permissions: Permissions = field(default_factory=Permissions)
    subscription: Subscription = field(default_factory=Subscription)
    data: DataChannels | None = None
    observer: Observer | None = None
    afford: Callable[[MediaKind, int], int] | None = None
    """Charges the lines on the way for so many tracks of a kind that are received, and says for how many there is room."""
    ears: Ears | None = None
    renditions: Renditions | None = None
    """Its sound in the codecs of others."""
    texts: Callable[[str, str], None] | None = None
    """Gets what others write in the chat, and the name of who did: for who has no data channels."""
    member: bool = False
    """Whether it takes part, other than a mere publisher or viewer, of whom there are limits of their own."""

    def published(self, kind: MediaKind) -> Publication | None:
        """What of a kind others may have of it now."""
        if kind not in self.live or kind not in self.permissions.publish:
            return None
        track = self.up.get(kind)
        if track is None:
            return None
        return Publication(self.id, kind, track, self.renditions if kind == "audio" else None)

    @property
    def publishes(self) -> tuple[MediaKind, ...]:
        """The kinds that others may have of it now."""
        return tuple(kind for kind in MEDIA_KINDS if self.published(kind) is not None)

    def affordable(
        self, wanted: Iterable[Publication], *, places: int, kinds: Iterable[MediaKind]
    ) -> list[Publication]:
        """As many of `wanted` as there are places, and as the lines on the way have room for: the first of each kind.

        What it had of `kinds` before and has no more is given back.
        """
        chosen: dict[Publication, None] = {}
        for one in wanted:
            # `wanted` may be everybody in a large room: no further than needed.
            if len(chosen) == places:
                break
            chosen[one] = None
        if self.afford is None:
            return list(chosen)
        counts = Counter(one.kind for one in chosen)
        room = {kind: self.afford(kind, counts[kind]) for kind in kinds}
        kept = []
        for one in chosen:
            if room[one.kind] > 0:
                room[one.kind] -= 1
                kept.append(one)
        return kept

    def set_gates(self) -> None:
        """Lets nothing through, even if it is sent, that is not published or not permitted."""
        for kind, track in self.up.items():
            track.set_gate("mute", is_open=kind in self.live)
            track.set_gate("permission", is_open=kind in self.permissions.publish)
