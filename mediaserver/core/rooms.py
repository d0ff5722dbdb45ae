"""The rooms that exist: made by the first who comes, gone with the last."""

from __future__ import annotations

from mediaserver.core.participant import Participant
from mediaserver.core.room import Room
from mediaserver.errors import LimitExceeded


class Rooms:
    """Bounded by `rooms` in number, `publishers` and `viewers` in each."""

    def __init__(self, *, rooms: int, publishers: int, viewers: int) -> None:
        self._limits = (rooms, publishers, viewers)
        self._rooms: dict[str, Room] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        """The room, if anybody is in it."""
        return self._rooms.get(name)

    def check(self, name: str, *, publishes: bool) -> None:
        """Raises LimitExceeded when nobody more of this sort may come into the room."""
        rooms, publishers, viewers = self._limits
        room = self._rooms.get(name)
        if room is None:
            if len(self._rooms) >= rooms:
                raise LimitExceeded(f"{rooms} rooms are open", limit="limits.rooms")
        elif publishes and room.publishers >= publishers:
            raise LimitExceeded(f"room {name} has {publishers} publishers", limit="limits.publishers_per_room")
        elif not publishes and room.viewers >= viewers:
            raise LimitExceeded(f"room {name} has {viewers} viewers", limit="limits.viewers_per_room")

    def join(self, name: str, participant: Participant) -> Room:
        """Brings a participant into a room, which is made where there was none."""
        room = self._rooms.setdefault(name, Room(name))
        room.join(participant)
        return room

    def leave(self, name: str, participant_id: str) -> None:
        """Lets a participant go, and the room with the last one."""
        room = self._rooms.get(name)
        if room is None:
            return
        room.leave(participant_id)
        if not len(room):
            del self._rooms[name]
