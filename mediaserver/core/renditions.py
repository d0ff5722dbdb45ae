"""One sound in the codecs that its listeners take: each is made once for all of them, by an audio thread of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaserver.core.transcoder import Transcoder, transcodable
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.engine import Engine
from mediaserver.sdp.codecs import matches
from mediaserver.sdp.description import Codec


class Renditions:
    """What a phone says, for browsers. `on_refused` gets the reason when one more cannot be made.

    Whoever hears now one and now another keeps one codec and so one clock (RFC 7160 §3): the listener's first choice is
    what it gets, even where it would take what is sent.
    """

    def __init__(self, *, engine: Engine, source: UpTrack, on_refused: Callable[[str], None]) -> None:
        self._engine = engine
        self._on_refused = on_refused
        self._made: dict[str, Transcoder] = {}
        self.source = source

    def into(self, taken: Sequence[Codec]) -> int | None:
        """Id of the track for somebody who takes these codecs; None is the source itself."""
        sent, wanted = transcodable(self.source.codecs), transcodable(taken)
        if sent is None or wanted is None or matches(sent, wanted):
            return None
        made = self._made.get(wanted.key)
        if made is None:
            made = self._made[wanted.key] = Transcoder(
                engine=self._engine, source=self.source, sent=sent, wanted=wanted, on_refused=self._on_refused
            )
        return made.id

    def close(self) -> None:
        """Ends them all; nobody may be subscribed to one any more."""
        for transcoder in self._made.values():
            transcoder.close()
        self._made.clear()
