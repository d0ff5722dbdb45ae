"""What somebody has of a room over a line with one stream of each kind: all voices as one sound, and one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from mediaserver.core.down_track import DownTrack
from mediaserver.core.slot import Publication
from mediaserver.engine.engine import Engine
from mediaserver.sdp.codecs import is_media, matches

Withheld = Literal["", "codec"]
"""Why there is no picture although somebody shows one: none comes in a codec that the peer takes."""


class Ears:
    """The tracks of one phone in a room. `on_refused` gets the reason when its sound cannot be mixed;

    `on_withheld` why it sees nothing, and "" when it sees again.
    """

    def __init__(
        self, *, engine: Engine, on_refused: Callable[[str], None], on_withheld: Callable[[Withheld], None]
    ) -> None:
        self.engine = engine
        self.on_refused = on_refused
        self._on_withheld = on_withheld
        self.sound: DownTrack | None = None
        """What hears the mix; None while it is to hear nothing."""
        self._picture: DownTrack | None = None
        self.withheld: Withheld = ""

    def take(self, sound: DownTrack | None, picture: DownTrack | None) -> None:
        """The tracks as they are now; the room then says what is on them."""
        if self._picture is not None and self._picture is not picture:
            self._picture.unsubscribe()
        self.sound, self._picture = sound, picture

    def see(self, pictures: Iterable[Publication]) -> None:
        """Shows the first of the pictures that the peer can show, as it comes: nothing is transcoded."""
        down = self._picture
        if down is None:
            return
        before, withheld = down.source, self.withheld
        found, self.withheld = None, ""
        for one in pictures:
            if _shows(down, one):
                found, self.withheld = one.track, ""
                break
            self.withheld = "codec"
        if found is None:
            down.unsubscribe()
        elif found is not before:
            down.subscribe(found)
        if self.withheld != withheld:
            self._on_withheld(self.withheld)


def _shows(down: DownTrack, shown: Publication) -> bool:
    """Whether what is sent now, the first of its codecs, is something that the receiver can show."""
    first = next((codec for codec in shown.track.codecs if is_media(codec)), None)
    return first is not None and any(matches(first, codec) for codec in down.codecs)
