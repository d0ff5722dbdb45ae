"""A call that a phone or trunk makes: its contact, from the INVITE to the last BYE."""

from __future__ import annotations

from collections.abc import Sequence

from mediaserver.call.agents import Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.calls import Calls
from mediaserver.call.dial_failed import DialFailed, warning_value
from mediaserver.call.events import EndCause, LegEnded, LegEvent, Party
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination
from mediaserver.contact.contact import Contact
from mediaserver.contact.ending import Ending, OnOver, OnProgress
from mediaserver.errors import InsufficientBandwidth, LimitExceeded, MediaServerError, NegotiationError
from mediaserver.runtime.tasks import TaskGroupOwner


class ConnectedCall:
    """Connects a leg that wants to go somewhere (a phone's INVITE, an agent's own call) and follows it to its end."""

    def __init__(
        self,
        *,
        contact: Contact,
        leg: Leg,
        destination: Destination,
        presentation: Presentation,
        calls: Calls,
        server_name: str,
        on_over: OnOver,
        headers: Sequence[tuple[str, str]] = (),
        on_progress: OnProgress | None = None,
    ) -> None:
        self._contact = contact
        self._on_progress = on_progress
        self._leg = leg
        self._destination = destination
        self._presentation = presentation
        self._calls = calls
        self._server_name = server_name
        self._headers = headers
        self._call: Call | None = None
        self._tasks = TaskGroupOwner(f"call-{contact.id}")
        self._ending = Ending(contact, on_over=on_over, tasks=self._tasks)

    @property
    def call(self) -> Call | None:
        """The call, once it is up."""
        return self._call

    def begin(self) -> None:
        """Starts ringing; what comes of it is seen in the contact."""
        self._leg.listen(self._before_call)
        self._tasks.spawn(self._connect(), name="connect")

    async def end(self, cause: EndCause) -> None:
        """Ends the call from our side."""
        if self._call is not None:
            await self._call.end(cause)  # the leg that began it may have been replaced
        await self._leg.refuse(cause)

    async def _connect(self) -> None:
        request = CallRequest(
            self._contact.id,
            self._leg,
            self._destination,
            self._presentation,
            headers=self._headers,
            on_leg=self._contact.add_leg,
            note=self._contact.note,
            call_id=self._contact.call_id,
            on_digit=self._contact.digit,
        )
        try:
            call = await self._calls.connect(request, on_ended=self._ending.on_call_ended)
        except MediaServerError as error:
            self._leg.listen(self._before_call)
            cause, warning = self._refusal(error)
            await self._leg.refuse(cause, warning=warning)
            return
        self._call = call
        self._contact.add_leg(call.callee)
        self._contact.answered(call.callee)
        if self._on_progress is not None:
            self._on_progress(200)

    def _refusal(self, error: MediaServerError) -> tuple[EndCause, str | None]:
        if isinstance(error, DialFailed):
            own = error.warning_code and warning_value(error.warning_code, self._server_name, error.reason)
            by: Party = "system" if own else "agent"
            reason = "insufficient_bandwidth" if error.lacks_bandwidth else "not_answered"
            return EndCause(by, reason, error.code, error.reason), own or error.warning
        if isinstance(error, InsufficientBandwidth):
            # RFC 3261 §20.43: 370 is insufficient bandwidth. Which line is full stays inside the house.
            warning = warning_value(370, self._server_name, str(error))
            return EndCause("system", "insufficient_bandwidth", 488, str(error)), warning
        if isinstance(error, NegotiationError):
            warning = warning_value(error.warning_code, self._server_name, str(error))
            return EndCause("system", "no_common_media", 488, str(error)), warning
        code = 503 if isinstance(error, LimitExceeded) else 500
        return EndCause("system", "not_connected", code, str(error)), None

    def _before_call(self, _: Leg, event: LegEvent) -> None:
        if isinstance(event, LegEnded):
            self._ending.begin(event.cause)
