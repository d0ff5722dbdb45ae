"""An up track in another codec: an audio thread of the engine decodes it and encodes it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import CloseTranscoder, OpenTranscoder
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, CommandFailed
from mediaserver.sdp.description import Codec

TRANSCODABLE: Final = ("opus", "g722", "pcmu", "pcma")
"""What the audio threads decode and encode, by `Codec.key`."""


def transcodable(codecs: Sequence[Codec]) -> Codec | None:
    """The first of the codecs that the daemon decodes and encodes."""
    return next((codec for codec in codecs if codec.key in TRANSCODABLE), None)


class Transcoder:
    """`id` can be subscribed to like that of an up track. `on_refused` gets the reason when there can be none."""

    def __init__(
        self, *, engine: Engine, source: UpTrack, sent: Codec, wanted: Codec, on_refused: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._on_refused: Callable[[str], None] | None = on_refused
        self.id = engine.new_transcoder_id()
        self.source = source
        self.codecs = (sent, wanted)
        self._unsubscribe = engine.subscribe_events(self.id, self._on_event)
        engine.submit(OpenTranscoder(id=self.id, source=source.id, source_codec=sent.name, codec=wanted.name))

    def tell(self, on_refused: Callable[[str], None]) -> None:
        """Whom a refusal that is still to come is told, in place of who asked first."""
        if self._on_refused is not None:
            self._on_refused = on_refused

    def close(self) -> None:
        """Ends it. Calling it again does nothing."""
        refused, self._on_refused = self._on_refused is None, None
        self._unsubscribe()
        if not refused and self._engine.running:
            self._engine.submit(CloseTranscoder(id=self.id))

    def _on_event(self, event: AnyEvent) -> None:
        on_refused = self._on_refused
        if isinstance(event, CommandFailed) and event.command == "open_transcoder" and on_refused is not None:
            self._on_refused = None  # there is nothing to close
            on_refused(event.reason)
