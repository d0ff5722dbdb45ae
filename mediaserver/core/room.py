"""A room: who publishes into it and who receives; it exists only here, transports know nothing of it."""

from __future__ import annotations

from mediaserver.core.data import Topics
from mediaserver.core.participant import Participant
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind
from mediaserver.sdp.description import Codec

_KINDS: tuple[Kind, ...] = ("audio", "video")


class Room:
    """Every participant receives, per kind, the publisher that has been there longest and is not itself.

    When a publisher comes or goes, everybody's subscriptions are set anew; a subscription that stays costs nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._participants: dict[str, Participant] = {}
        self._topics: Topics | None = None

    def __len__(self) -> int:
        return len(self._participants)

    @property
    def publishers(self) -> int:
        """How many participants publish something."""
        return sum(1 for participant in self._participants.values() if participant.up)

    @property
    def viewers(self) -> int:
        """How many participants only receive."""
        return sum(1 for participant in self._participants.values() if not participant.up)

    def codecs(self, kind: Kind) -> tuple[Codec, ...]:
        """What the present publisher of `kind` can send; empty without one."""
        source = self._source(kind, but="")
        return source.codecs if source else ()

    def join(self, participant: Participant) -> None:
        """Takes a participant in, or its tracks anew after a renegotiation."""
        self._participants[participant.id] = participant
        self._subscribe_all()
        if participant.data is not None:
            if self._topics is None:
                self._topics = participant.data.new_topics()
            participant.data.use(self._topics, may_send=participant.may_send_data)

    def leave(self, participant_id: str) -> None:
        """Lets a participant go; its tracks end with its transport."""
        if self._participants.pop(participant_id, None) is not None:
            self._subscribe_all()

    def _source(self, kind: Kind, *, but: str) -> UpTrack | None:
        for participant in self._participants.values():
            if participant.id != but and kind in participant.up:
                return participant.up[kind]
        return None

    def _subscribe_all(self) -> None:
        for participant in self._participants.values():
            for kind in _KINDS:
                down = participant.down.get(kind)
                if down is None:
                    continue
                source = self._source(kind, but=participant.id)
                if source is None:
                    down.unsubscribe()
                else:
                    down.subscribe(source)
