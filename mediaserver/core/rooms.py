"""The rooms that exist: made by the first who comes, gone with the last; and the clock by which they go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

from mediaserver.core.participant import Participant
from mediaserver.core.permissions import Permissions
from mediaserver.core.room import Room
from mediaserver.core.subscription import Subscription
from mediaserver.errors import LimitExceeded

Sort = Literal["publisher", "viewer", "member", "phone"]

TELL_EVERY_S: Final = 0.25
"""How long changes of who speaks are gathered before everybody in a room is told."""

_LIMITS: Final = {
    "publisher": "limits.publishers_per_room",
    "viewer": "limits.viewers_per_room",
    "member": "limits.participants_per_room",
    "phone": "limits.phones_per_room",
}


class Rooms:
    """Bounded by `rooms` in number, and by `publishers`, `viewers`, `members` and, among these, `phones` in each.

    `call_later(seconds, callback)` is the loop's; without it no time passes. `audio_places` is the most slots for sound
    that anybody has.
    """

    def __init__(
        self,
        *,
        rooms: int,
        publishers: int,
        viewers: int,
        members: int = 100,
        phones: int = 20,
        audio_places: int = 1,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_rooms = rooms
        self._most: dict[Sort, int] = {
            "publisher": publishers,
            "viewer": viewers,
            "member": members,
            "phone": phones,
        }
        self._audio_places = audio_places
        self._call_later = call_later
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        self._timers: dict[str, float] = {}
        self._telling: set[str] = set()

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def members(self) -> int:
        """How many take part in all rooms together."""
        return sum(room.members for room in self._rooms.values())

    def get(self, name: str) -> Room | None:
        """The room, if anybody is in it."""
        return self._rooms.get(name)

    def check(self, name: str, sort: Sort) -> None:
        """Raises LimitExceeded when nobody more of this sort may come into the room."""
        room = self._rooms.get(name)
        if room is None:
            if len(self._rooms) >= self._most_rooms:
                raise LimitExceeded(f"{self._most_rooms} rooms are open", limit="limits.rooms")
            return
        present = {
            "publisher": room.publishers,
            "viewer": room.viewers,
            "member": room.members,
            "phone": room.phones,
        }[sort]
        if present >= self._most[sort]:
            raise LimitExceeded(f"room {name} has {present} {sort}s", limit=_LIMITS[sort])

    def join(self, name: str, participant: Participant) -> Room:
        """Brings a participant into a room, which is made where there was none, or its tracks anew."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, audio_places=self._audio_places)
        room.join(participant, self._clock())
        self._watch(room)
        return room

    def leave(self, name: str, participant_id: str) -> None:
        """Lets a participant go, and the room with the last one."""
        room = self._rooms.get(name)
        if room is None:
            return
        room.leave(participant_id, self._clock())
        self._watch(room)
        if not len(room):
            del self._rooms[name]

    def changed(self, name: str, participant: Participant) -> None:
        """A participant publishes something else."""
        if (room := self._present(name, participant.id)) is not None:
            room.changed(participant, self._clock())
            self._watch(room)

    def permit(self, name: str, participant_id: str, permissions: Permissions) -> bool:
        """Changes what somebody may do; False when nobody there has this id."""
        room = self._present(name, participant_id)
        participant = room.get(participant_id) if room is not None else None
        if room is None or participant is None:
            return False
        room.permit(participant, permissions, self._clock())
        self._watch(room)
        return True

    def subscribe(self, name: str, participant: Participant, subscription: Subscription) -> tuple[str, ...]:
        """Takes what a participant wants; the ids in it that nobody there has."""
        room = self._present(name, participant.id)
        return room.subscribe(participant, subscription) if room is not None else ()

    def hear(self, name: str, participant_id: str, loudness: int) -> None:
        """Somebody speaks louder or quieter: `SpeechChanged`."""
        if (room := self._present(name, participant_id)) is not None:
            room.hear(participant_id, loudness, self._clock())
            self._watch(room)

    def say(self, name: str, participant_id: str, text: str) -> bool:
        """A text of somebody without data channels, for the chat of its room; False where nobody gets it."""
        room = self._present(name, participant_id)
        return room is not None and room.say(participant_id, text)

    # -- time --------------------------------------------------------------------------------------------------------

    def _present(self, name: str, participant_id: str) -> Room | None:
        room = self._rooms.get(name)
        return room if room is not None and room.get(participant_id) is not None else None

    def _watch(self, room: Room) -> None:
        if self._call_later is None:
            return
        due = room.speakers.poll_timeout()
        if due is not None and due < self._timers.get(room.name, float("inf")):
            self._timers[room.name] = due
            self._call_later(max(0.0, due - self._clock()), lambda: self._time_passed(room.name, due))
        if room.has_news and room.name not in self._telling:
            self._telling.add(room.name)
            self._call_later(TELL_EVERY_S, lambda: self._tell(room.name))

    def _time_passed(self, name: str, due: float) -> None:
        # A room of the same name may have taken the place of the one that asked.
        if self._timers.get(name) == due:
            del self._timers[name]
        if (room := self._rooms.get(name)) is not None:
            room.handle_timeout(self._clock())
            self._watch(room)

    def _tell(self, name: str) -> None:
        self._telling.discard(name)
        if (room := self._rooms.get(name)) is not None:
            room.tell_speakers()
