"""The browser of somebody who talks by another leg already: it comes into that call with its picture, and without sound."""

from __future__ import annotations

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, LegEnded, LegEvent
from mediaserver.call.leg import Leg
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry
from mediaserver.contact.contact import Contact
from mediaserver.contact.visitor_session import VisitorSession
from mediaserver.errors import MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner

_STOP_DEADLINE_S = 1.0


class CompanionSession(VisitorSession):
    """Implements `call.signaling.CallerSession`. The page's first offer brings `leg` into the call beside `of`."""

    def __init__(self, *, contact: Contact, call: Call, of: Leg, leg: WebRtcLeg, entry: Entry) -> None:
        super().__init__(contact=contact, leg=leg, entry=entry, tasks=TaskGroupOwner(f"companion-{leg.id}"))
        self._call = call
        self._of = of
        leg.listen(self._before_call)

    async def gone(self, reason: str) -> None:
        """The page did not come back within its time."""
        await super().gone(reason)
        await self._tasks.stop(_STOP_DEADLINE_S)

    async def _connect(self) -> None:
        try:
            await self._call.accompany(self._of, self._leg)
        except MediaServerError as error:
            self._leg.listen(None)
            await self._leg.end(EndCause("system", "not_added", 488, str(error)))
            self._contact.note("add_failed", str(error))
            return
        self._contact.note("added", f"{self._leg.name} by a browser")

    def _before_call(self, leg: Leg, event: LegEvent) -> None:
        if isinstance(event, LegEnded):
            leg.log.info("companion_left_early", reason=event.cause.reason)
