"""Several sounds as one for each listener: an audio thread of the engine decodes, sums and encodes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import CloseMix, MixListener, MixVoice, SetMix
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, CommandFailed
from mediaserver.sdp.description import Codec


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a down track gets of a mix."""

    codec: Codec
    without: frozenset[int]
    """Ids of the up tracks that it does not hear: its peer's own, and those that are not meant for it."""


class Mix:
    """`on_refused` gets the reason when a change cannot be; everybody then hears what there was before."""

    def __init__(self, *, engine: Engine, on_refused: Callable[[str], None]) -> None:
        self._engine = engine
        self._on_refused = on_refused
        self.id = engine.new_transcoder_id()
        self._ids: dict[int, tuple[str, int]] = {}
        self._last: SetMix | None = None
        self._unsubscribe = engine.subscribe_events(self.id, self._on_event)

    def set(
        self,
        voices: Mapping[UpTrack, Codec],
        listeners: Mapping[DownTrack, Hearing],
        *,
        unjudged: AbstractSet[int] = frozenset(),
    ) -> None:
        """Says who is heard, in the codec that each sends, and who hears; a call without change costs nothing.

        Of the up tracks `unjudged`, by id, their own packets say how loudly somebody speaks, and the mix does not.
        """
        told = SetMix(
            id=self.id,
            voices=tuple(
                MixVoice(source=up.id, codec=codec.name, judged=up.id not in unjudged) for up, codec in voices.items()
            ),
            listeners=tuple(
                MixListener(
                    id=self._listener(down, hearing.codec),
                    codec=hearing.codec.name,
                    without=tuple(sorted(hearing.without)),
                )
                for down, hearing in listeners.items()
            ),
        )
        present = {down.id for down in listeners}
        self._ids = {down: known for down, known in self._ids.items() if down in present}
        if told != self._last:
            self._last = told
            self._engine.submit(told)
        for down, hearing in listeners.items():
            down.hear_mix(self._listener(down, hearing.codec))

    def close(self) -> None:
        """Ends it. Calling it again does nothing."""
        self._unsubscribe()
        last, self._last = self._last, None
        if last is not None and self._engine.running:
            self._engine.submit(CloseMix(id=self.id))

    def _listener(self, down: DownTrack, codec: Codec) -> int:
        """Another codec is another track, because its clock is another one."""
        known = self._ids.get(down.id)
        if known is None or known[0] != codec.key:
            known = self._ids[down.id] = (codec.key, self._engine.new_listener_id(self.id))
        return known[1]

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, CommandFailed) and event.command == "set_mix":
            self._last = None if self._last is None else SetMix(id=self.id, voices=(), listeners=())
            self._on_refused(event.reason)
