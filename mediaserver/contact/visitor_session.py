"""What the session of a web page does that leads somebody into a call: it begins with the first offer, and can be let go."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mediaserver.call.events import EndCause, LegEvent
from mediaserver.call.leg import Leg
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry
from mediaserver.contact.consent import show_camera
from mediaserver.contact.contact import Contact
from mediaserver.errors import RemoteProtocolError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.webrtc import messages


class VisitorSession(ABC):
    """Whoever inherits listens to `leg` until a call does, and leads it into one."""

    def __init__(self, *, contact: Contact, leg: WebRtcLeg, entry: Entry, tasks: TaskGroupOwner) -> None:
        self.contact_id = contact.id
        self._contact = contact
        self._leg = leg
        self._entry = entry
        self._tasks = tasks
        self._begun = False

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
                    self._tasks.spawn(self._connect(), name="connect")

    async def gone(self, reason: str) -> None:
        """The page did not come back within its time."""
        await self._leg.end(EndCause("caller", reason))

    @abstractmethod
    async def _connect(self) -> None:
        """The page has made its first offer: its leg goes into a call."""

    @abstractmethod
    def _before_call(self, leg: Leg, event: LegEvent) -> None:
        """What happens to the leg before a call listens to it."""
