"""The one mix of a room: all who are heard, as one sound for each phone in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mediaserver.core.down_track import DownTrack
from mediaserver.core.ears import Ears
from mediaserver.core.mix import Hearing, Mix
from mediaserver.core.participant import Participant
from mediaserver.core.slot import Publication
from mediaserver.core.transcoder import transcodable
from mediaserver.core.up_track import UpTrack
from mediaserver.sdp.description import Codec


class RoomMix:
    """There is one in the engine while somebody hears it.

    Of the browsers those go into it who are heard (`Speakers`), as their own packets say; of phones all, because that they
    are decoded is how we know who of them speaks.
    """

    def __init__(self) -> None:
        self._mix: Mix | None = None
        self._listening: list[Ears] = []

    def connect(self, people: Iterable[Participant], heard: Sequence[Publication]) -> None:
        """Puts it into force, again whenever somebody comes, goes or speaks; a call without change costs little."""
        phones = [one for one in people if one.ears is not None]
        voices: dict[UpTrack, Codec] = {}
        for said in (*heard, *(one.published("audio") for one in phones)):
            codec = transcodable(said.track.codecs) if said is not None else None
            if said is not None and codec is not None:
                voices[said.track] = codec
        listeners: dict[DownTrack, Hearing] = {}
        self._listening = []
        for one in phones:
            down = one.ears.sound if one.ears is not None else None
            codec = transcodable(down.codecs) if down is not None else None
            if one.ears is None or down is None or codec is None:
                continue
            own = one.up.get("audio")
            # Who is no voice hears what all hear, from an encoder that may be shared.
            listeners[down] = Hearing(codec, frozenset({own.id}) if own is not None and own in voices else frozenset())
            self._listening.append(one.ears)
        if not listeners:
            self.close()
            return
        if self._mix is None:
            self._mix = Mix(engine=self._listening[0].engine, on_refused=self._on_refused)
        phone_ids = {one.id for one in phones}
        self._mix.set(
            voices,
            listeners,
            unjudged={said.track.id for said in heard if said.participant not in phone_ids},
        )

    def close(self) -> None:
        """Ends it. Calling it again does nothing."""
        if self._mix is not None:
            self._mix.close()
            self._mix = None

    def _on_refused(self, reason: str) -> None:
        """Who came last goes: there is no room for it, and those who were there hear what they heard."""
        if self._listening:
            self._listening[-1].on_refused(reason)
