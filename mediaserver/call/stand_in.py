"""A leg with nobody behind it: what a party meets that is called, or answered, before there is another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from mediaserver.call.events import EndCause
from mediaserver.call.leg import Codecs, Leg
from mediaserver.call.sip_policy import EVERYTHING
from mediaserver.engine.engine import Engine
from mediaserver.runtime.ids import new_id
from mediaserver.sdp.codecs import matches
from mediaserver.sdp.description import Codec


def beside(members: Sequence[Leg], *, contact_id: str, engine: Engine) -> StandIn:
    """What somebody meets who comes into a call: every sound, and the pictures that somebody in there has."""
    shown = [codec for leg in members for codec in leg.codecs.get("video", ())]
    pictures = [codec for codec in EVERYTHING["video"] if any(matches(codec, other) for other in shown)]
    return StandIn(contact_id=contact_id, engine=engine, video=bool(pictures), pictures=pictures)


class StandIn(Leg):
    """Speaks every codec, sends nothing, and is in no record."""

    kind: ClassVar[Literal["browser", "sip", "room", "announcement"]] = "announcement"

    def __init__(self, *, contact_id: str, engine: Engine, video: bool, pictures: Sequence[Codec] = ()) -> None:
        """Without `video` it has no picture; `pictures` are the only ones that it has then, where there are any."""
        super().__init__(leg_id=new_id(), contact_id=contact_id, name="", engine=engine)
        self._codecs: Codecs = EVERYTHING if video else {"audio": EVERYTHING["audio"]}
        if video and pictures:
            self._codecs = {"audio": EVERYTHING["audio"], "video": tuple(pictures)}

    @property
    def codecs(self) -> Codecs:
        """All that can be passed on later."""
        return self._codecs

    @property
    def transports(self) -> tuple[int, ...]:
        """None."""
        return ()

    async def progress(self, code: int) -> None:
        """Nobody is there to be told."""

    async def meet(self, other: Leg) -> None:
        """Takes what the other side speaks."""

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Ends it."""
        await self.end(cause)

    async def _release(self, cause: EndCause) -> None:
        """Nothing is held."""
