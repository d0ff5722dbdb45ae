"""A place on which a participant receives: whom it shows changes by subscription, the m-line behind it never does."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.down_track import DownTrack
from mediaserver.core.renditions import Renditions
from mediaserver.core.subscription import Want
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind


@dataclass(frozen=True, slots=True)
class Publication:
    """What one participant publishes of one kind."""

    participant: str
    kind: MediaKind
    track: UpTrack
    renditions: Renditions | None = field(default=None, compare=False)
    """The same in other codecs, for those who are not to get it as it comes."""


class Slot:
    """One down track of a participant, named by the `mid` of its m-line."""

    def __init__(self, mid: str, down: DownTrack) -> None:
        self.mid = mid
        self._down = down
        self.shows: Publication | None = None
        self._target: tuple[Want | None, int, bool] | None = None

    @property
    def kind(self) -> Kind:
        """Sound, or pictures of cameras and screens."""
        return self._down.kind

    @property
    def down(self) -> DownTrack:
        """The track that fills it."""
        return self._down

    def show(self, publication: Publication | None) -> bool:
        """Shows a publication in place of the one before, or nothing; True when that is another one."""
        if publication == self.shows:
            return False
        self.shows = publication
        if publication is None:
            self._down.unsubscribe()
            return True
        renditions = publication.renditions
        made = renditions.into(self._down.codecs) if renditions is not None else None
        if made is not None:
            self._down.hear_mix(made)
        else:
            self._down.subscribe(publication.track)
        return True

    def aim(self, want: Want | None, priority: int) -> None:
        """Bounds what is shown by what was asked for; repeating it costs next to nothing."""
        is_screen = self.shows is not None and self.shows.kind == "screen"
        if (want, priority, is_screen) == self._target:
            return
        self._target = (want, priority, is_screen)
        self._down.set_target(
            max_width=want.width if want else None,
            max_height=want.height if want else None,
            priority=priority,
            is_screen=is_screen,
            paused=want is not None and want.paused,
        )
