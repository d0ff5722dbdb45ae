"""The other side of a call that hears an announcement: it sends one clip, once, and hangs up."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final, Literal

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Codecs, Leg
from mediaserver.call.sip_policy import EVERYTHING
from mediaserver.engine.commands import Play, StopPlaying
from mediaserver.engine.engine import Engine
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.ids import new_id
from mediaserver.runtime.tasks import TaskGroupOwner

SETTLE_S: Final = 0.4
"""Between the answer and the first word: DTLS of a browser, and the first packet of a phone behind a NAT, take this."""
_TAIL_S: Final = 0.3
_STOP_DEADLINE_S: Final = 1.0


class AnnouncementLeg(Leg):
    """No peer stands behind it; `clip` is the engine's, `duration_s` its length."""

    kind: ClassVar[Literal["browser", "sip", "room", "announcement"]] = "announcement"

    def __init__(
        self, *, leg_id: str, contact_id: str, name: str, engine: Engine, clip: int, duration_s: float
    ) -> None:
        super().__init__(leg_id=leg_id, contact_id=contact_id, name=name, engine=engine)
        self._clip = clip
        self._duration_s = duration_s
        self._playing: tuple[int, ...] = ()
        self._tasks = TaskGroupOwner(f"announcement-{leg_id}")

    @property
    def codecs(self) -> Codecs:
        """Every codec that a clip is encoded in."""
        return EVERYTHING

    @property
    def transports(self) -> tuple[int, ...]:
        """None: what is played is counted on the caller's."""
        return ()

    async def progress(self, code: int) -> None:
        """Nobody is there to be told."""

    async def meet(self, other: Leg) -> None:
        """Takes what the other side speaks."""

    async def joined(self, other: Leg) -> None:
        """The caller is there: play."""
        self._tasks.spawn(self._play(other), name="play")

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Ends it."""
        await self.end(cause)

    async def _play(self, other: Leg) -> None:
        await asyncio.sleep(SETTLE_S)
        downs = tuple(media.down.id for media in other.media.values() if media.down is not None)
        if downs:
            self._playing = downs
            self._engine.submit(Play(id=self._clip, ids=downs, clip=self._clip))
            await asyncio.sleep(self._duration_s + _TAIL_S)
        await self.end(EndCause("system", "announcement_over", 200))

    async def _release(self, cause: EndCause) -> None:
        if self._playing:
            self._engine.submit(StopPlaying(id=self._playing[0], ids=self._playing))
        await self._tasks.stop(_STOP_DEADLINE_S)


def announcement_leg(
    name: str, contact_id: str, *, announcements: Announcements | None, engine: Engine
) -> AnnouncementLeg:
    """Plays the announcement of this name. Raises DialFailed while there is none."""
    clip = announcements.clip(name) if announcements is not None else None
    if clip is None or announcements is None:
        raise DialFailed(480, f"announcement {name} is not there (yet)", elsewhere=True)
    return AnnouncementLeg(
        leg_id=new_id(),
        contact_id=contact_id,
        name=name,
        engine=engine,
        clip=clip,
        duration_s=announcements.duration_s(name),
    )
