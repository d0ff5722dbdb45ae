"""A call that the API makes, or a user by REFER: one party is rung first, and when it has answered, the other one."""

from __future__ import annotations

from collections.abc import Sequence

from mediaserver.call.agents import Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.calls import Calls
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination
from mediaserver.contact.connected_call import ConnectedCall
from mediaserver.contact.contact import Contact
from mediaserver.contact.ending import Ending, OnOver, OnProgress, why_not
from mediaserver.errors import MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner


class OriginatedCall:
    """`first` is rung and, once it has answered, connected with `second` as if it had called there itself."""

    def __init__(
        self,
        *,
        contact: Contact,
        stand_in: Leg,
        first: Destination,
        second: Destination,
        shown_first: Presentation,
        shown_second: Presentation,
        waiting: int | None,
        calls: Calls,
        server_name: str,
        on_over: OnOver,
        headers: Sequence[tuple[str, str]] = (),
        on_progress: OnProgress | None = None,
    ) -> None:
        """`shown_first` is what the first one sees of the call. `waiting`: a clip of the engine that the first one
        hears while the second is rung. `on_progress` hears that the second is rung, and that it has answered."""
        self._on_progress = on_progress
        self._contact = contact
        self._stand_in = stand_in
        self._first = first
        self._second = second
        self._shown_first = shown_first
        self._shown_second = shown_second
        self._waiting = waiting
        self._calls = calls
        self._server_name = server_name
        self._on_over = on_over
        self._headers = headers
        self._tasks = TaskGroupOwner(f"originated-{contact.id}")
        self._ending = Ending(contact, on_over=on_over, tasks=self._tasks)
        self._connected: ConnectedCall | None = None

    @property
    def call(self) -> Call | None:
        """The call, once both have answered."""
        return self._connected.call if self._connected is not None else None

    def begin(self) -> None:
        """Rings the first one; what comes of it is seen in the contact."""
        self._tasks.spawn(self._ring(), name="ring")

    async def end(self, cause: EndCause) -> None:
        """Ends the call from our side."""
        if self._connected is not None:
            await self._connected.end(cause)
        else:
            self._ending.begin(cause)

    async def _ring(self) -> None:
        request = CallRequest(
            self._contact.id,
            self._stand_in,
            self._first,
            self._shown_first,
            headers=self._headers,
            note=self._contact.note,
            call_id=self._contact.call_id,
        )
        try:
            leg = await self._calls.ring(request)
        except MediaServerError as error:
            self._ending.begin(why_not(error))
            return
        self._connect(leg)

    def _connect(self, leg: Leg) -> None:
        self._contact.add_leg(leg)
        self._contact.happened("call.first_answered", leg=leg.id, name=leg.name)
        if self._waiting is not None:
            leg.play(self._waiting, loop=True)
        self._connected = ConnectedCall(
            contact=self._contact,
            leg=leg,
            destination=self._second,
            presentation=self._shown_second,
            calls=self._calls,
            server_name=self._server_name,
            on_over=self._on_over,
            headers=self._headers,
            on_progress=self._on_progress,
        )
        if self._on_progress is not None:
            self._on_progress(180)
        self._connected.begin()
