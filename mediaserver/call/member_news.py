"""What a member of a room is told, gathered for a moment: a hundred people who come at once are one message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from mediaserver.call.signaling import Signaling
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import Permissions
from mediaserver.core.slot import Slot
from mediaserver.webrtc.messages import Ended, Quality, ServerMessage
from mediaserver.webrtc.room_messages import Layers, Participants, Permitted, Person, Slots, SlotState, Speakers

GATHER_S: Final = 0.05
"""How long changes are gathered; nobody sees a name later than that."""


class MemberNews:
    """Implements `core.participant.Observer`. `deliver` runs until what `close` gave it was sent.

    Only the last word about each person, slot and section is kept, so that a slow page costs no memory.
    """

    def __init__(self, signaling: Signaling) -> None:
        self._signaling = signaling
        self._wake = asyncio.Event()
        self._people: dict[str, Participant | None] = {}
        self._slots: dict[str, Slot] = {}
        self._speakers: Speakers | None = None
        self._told: Speakers | None = None
        self._permitted: Permitted | None = None
        self._layers: dict[str, tuple[str, ...]] = {}
        self._quality: Quality | None = None
        self._last: Ended | None = None

    # -- core.participant.Observer -----------------------------------------------------------------------------------

    def saw(self, other: Participant) -> None:
        """See `Observer`."""
        self._people[other.id] = other
        self._wake.set()

    def missed(self, participant_id: str) -> None:
        """See `Observer`."""
        self._people[participant_id] = None
        self._wake.set()

    def seated(self, slots: Iterable[Slot]) -> None:
        """See `Observer`."""
        self._slots.update({slot.mid: slot for slot in slots})
        self._wake.set()

    def heard(self, active: str | None, speaking: tuple[str, ...]) -> None:
        """See `Observer`."""
        self._speakers = Speakers(active=active, speaking=speaking)
        self._wake.set()

    def permitted(self, permissions: Permissions) -> None:
        """See `Observer`."""
        self._permitted = Permitted(publish=permissions.named())
        self._wake.set()

    # -- what the member itself has to tell ----------------------------------------------------------------------------

    def refused(self, permissions: Permissions, refused: Mapping[str, str]) -> None:
        """What of an offer was not taken, by mid."""
        self._permitted = Permitted.model_validate({"publish": permissions.named(), "refused": dict(refused)})
        self._wake.set()

    def layers(self, mid: str, rids: tuple[str, ...]) -> None:
        """Which layers of a section anybody may be given."""
        self._layers[mid] = rids
        self._wake.set()

    def quality(self, quality: Quality) -> None:
        """The member's line does better or worse."""
        self._quality = quality
        self._wake.set()

    def close(self, last: Ended) -> None:
        """Nothing follows but this."""
        self._last = last
        self._wake.set()

    async def deliver(self) -> None:
        """Sends what there is, a moment after it came."""
        while self._last is None:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            for message in self._take():
                await self._signaling.send(message)
        await self._signaling.send(self._last)

    def _take(self) -> list[ServerMessage]:
        taken: list[ServerMessage] = []
        if self._permitted is not None:
            taken.append(self._permitted)
        if self._people:
            present = tuple(_person(one) for one in self._people.values() if one is not None)
            taken.append(
                Participants(present=present, left=tuple(name for name, one in self._people.items() if one is None))
            )
        if self._slots:
            taken.append(Slots(slots=tuple(_state(slot) for slot in self._slots.values())))
        if self._speakers is not None and self._speakers != self._told:
            taken.append(self._speakers)
            self._told = self._speakers
        taken += [Layers(mid=mid, rids=rids) for mid, rids in self._layers.items()]
        if self._quality is not None:
            taken.append(self._quality)
        self._permitted = self._speakers = self._quality = None
        self._people, self._slots, self._layers = {}, {}, {}
        return taken


def _person(participant: Participant) -> Person:
    return Person(id=participant.id, name=participant.name, publishes=participant.publishes, member=participant.member)


def _state(slot: Slot) -> SlotState:
    shown = slot.shows
    return SlotState(mid=slot.mid, participant=shown.participant if shown else None, kind=shown.kind if shown else None)
