"""A caller on a web page: greeted, connected, asked for the camera, and let go."""

from __future__ import annotations

from mediaserver.call.agents import Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.calls import Calls
from mediaserver.call.events import Connected, Dtmf, EndCause, LegEnded, LegEvent
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination
from mediaserver.call.signaling import Signaling
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry
from mediaserver.contact.contact import Contact
from mediaserver.contact.ending import Ending, OnOver, why_not
from mediaserver.contact.visitor_session import VisitorSession
from mediaserver.engine.commands import Play, StopPlaying
from mediaserver.engine.engine import Engine
from mediaserver.errors import MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.webrtc import messages


class CallerSession(VisitorSession):
    """Implements `call.signaling.CallerSession`. `announcement` is a clip of the engine, None plays nothing.

    The destination begins to ring with the page's first offer. `on_over` is called once, when the contact is over.
    """

    def __init__(
        self,
        *,
        contact: Contact,
        leg: WebRtcLeg,
        entry: Entry,
        destination: Destination,
        announcement: tuple[int, bool] | None,
        calls: Calls,
        engine: Engine,
        signaling: Signaling,
        on_over: OnOver,
    ) -> None:
        super().__init__(contact=contact, leg=leg, entry=entry, tasks=TaskGroupOwner(f"caller-{contact.id}"))
        self._destination = destination
        self._announcement = announcement
        self._calls = calls
        self._engine = engine
        self._signaling = signaling
        self._ending = Ending(contact, on_over=on_over, tasks=self._tasks)
        self._call: Call | None = None
        self._playing: tuple[int, ...] = ()
        leg.listen(self._before_call)

    @property
    def call(self) -> Call | None:
        """The call, once it is up."""
        return self._call

    async def end(self, cause: EndCause) -> None:
        """Ends the contact from our side."""
        if self._call is not None:
            await self._call.end(cause)
        await self._leg.end(cause)

    async def _connect(self) -> None:
        request = CallRequest(
            contact_id=self._contact.id,
            caller=self._leg,
            destination=self._destination,
            presentation=Presentation(
                name=self._contact.caller,
                verified=self._contact.reference is not None,
                attributes=self._contact.attributes.verified,
                unverified=self._contact.attributes.unverified,
                page=self._contact.page,
            ),
            on_leg=self._contact.add_leg,
            note=self._contact.note,
            call_id=self._contact.call_id,
            on_digit=self._contact.digit,
        )
        try:
            call = await self._calls.connect(request, on_ended=self._ending.on_call_ended)
        except MediaServerError as error:
            self._leg.listen(self._before_call)
            await self._leg.end(why_not(error))
            return
        self._call = call
        self._on_joined(call.callee)

    def _on_joined(self, callee: Leg) -> None:
        self._stop_announcement()
        self._contact.add_leg(callee)
        self._contact.answered(callee)
        # Mission row 10: no picture of the customer goes anywhere before somebody is there to see it.
        self._leg.open_gate("video", "queued")

    def _before_call(self, _: Leg, event: LegEvent) -> None:
        match event:
            case Connected():
                self._start_announcement()
            case LegEnded(cause=cause):
                self._ending.begin(cause)
            case Dtmf(digit=digit):
                self._contact.note("digit", digit)
            case _:
                pass

    def _start_announcement(self) -> None:
        downs = tuple(media.down.id for media in self._leg.media.values() if media.down is not None)
        if self._announcement is None or self._call is not None or self._leg.hears_early or not downs:
            return
        clip, loop = self._announcement
        self._playing = downs
        self._engine.submit(Play(id=clip, ids=downs, clip=clip, loop=loop))
        self._contact.note("announcement")
        self._tasks.spawn(self._signaling.send(messages.State(state="announcement")), name="announcement")

    def _stop_announcement(self) -> None:
        if self._playing:
            self._engine.submit(StopPlaying(id=self._playing[0], ids=self._playing))
            self._playing = ()
