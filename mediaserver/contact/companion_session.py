"""The browser of somebody who talks by another leg already: it comes into that call with its picture, and without sound."""

from __future__ import annotations

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, LegEnded, LegEvent
from mediaserver.call.leg import Leg
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry
from mediaserver.contact.consent import show_camera
from mediaserver.contact.contact import Contact
from mediaserver.errors import MediaServerError, RemoteProtocolError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.webrtc import messages

_STOP_DEADLINE_S = 1.0


class CompanionSession:
    """Implements `call.signaling.CallerSession`. The page's first offer brings `leg` into the call beside `of`."""

    def __init__(self, *, contact: Contact, call: Call, of: Leg, leg: WebRtcLeg, entry: Entry) -> None:
        self.contact_id = contact.id
        self._contact = contact
        self._call = call
        self._of = of
        self._leg = leg
        self._entry = entry
        self._begun = False
        self._tasks = TaskGroupOwner(f"companion-{leg.id}")
        leg.listen(self._before_call)

    async def handle(self, message: messages.ClientMessage) -> None:
        """Takes what the page says. Raises RemoteProtocolError, SdpError, NegotiationError."""
        if self._leg.ended:
            raise RemoteProtocolError("the call is over", status=410)
        match message:
            case messages.Hangup():
                await self._leg.end(EndCause("caller", "hangup"))
            case messages.Consent():
                show_camera(self._contact, self._leg, self._entry, message)
            case _:
                await self._leg.handle(message)
                if isinstance(message, messages.Offer) and not self._begun and not self._leg.ended:
                    self._begun = True
                    self._tasks.spawn(self._come_in(), name="come-in")

    async def gone(self, reason: str) -> None:
        """The page did not come back within its time."""
        await self._leg.end(EndCause("caller", reason))
        await self._tasks.stop(_STOP_DEADLINE_S)

    async def _come_in(self) -> None:
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
