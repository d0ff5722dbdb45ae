"""The chat of a room for those who have no data channels: phones get what pages write as texts, and write to all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Final

from mediaserver.core.participant import Participant

CHAT: Final = "chat"
"""Label of the data channels."""
MOST_CHARACTERS: Final = 1_000
"""Of one text; what is longer is cut."""


class RoomChat:
    """Belongs to one room. Pages are listened to only while somebody is there who has to be told."""

    def __init__(self) -> None:
        self._readers: dict[str, Participant] = {}

    @property
    def readers(self) -> int:
        """How many get texts."""
        return len(self._readers)

    def join(self, participant: Participant) -> bool:
        """Somebody is there; True where pages are to be listened to from now on."""
        if participant.texts is None or participant.id in self._readers:
            return False
        self._readers[participant.id] = participant
        return len(self._readers) == 1

    def leave(self, participant_id: str) -> bool:
        """Somebody has left; True where nobody has to be told any more."""
        return self._readers.pop(participant_id, None) is not None and not self._readers

    def attend(self, participant: Participant) -> None:
        """Listens to a page, or no longer; in force when its channels join their topics."""
        if participant.data is not None:
            participant.data.listen(CHAT, partial(self._tell, participant) if self._readers else None)

    def say(self, writer: Participant, text: str, people: Iterable[Participant]) -> bool:
        """A text of somebody without data channels goes to everybody else; False where there is nobody, or it may not."""
        if "data" not in writer.permissions.publish:
            return False
        said = json.dumps({"text": text[:MOST_CHARACTERS]}, ensure_ascii=False)
        for one in people:
            if one.data is not None and one is not writer:
                one.data.say(CHAT, said, sender=writer.id)
        self._tell(writer, said)
        return True

    def _tell(self, writer: Participant, said: str) -> None:
        if "data" not in writer.permissions.publish:
            return
        for reader in self._readers.values():
            if reader is not writer and reader.texts is not None:
                reader.texts(writer.name, said)
