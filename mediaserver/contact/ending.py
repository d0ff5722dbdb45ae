"""The end of a contact: it comes from several sides, and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mediaserver.call.call import Call
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.contact.contact import Contact
from mediaserver.errors import InsufficientBandwidth, MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner

_STOP_DEADLINE_S: Final = 2.0
OnOver = Callable[[Contact], None]
"""Called once, when a contact is over."""
OnProgress = Callable[[int], None]
"""Gets how the second call of two is doing, by its SIP status."""


class Ending:
    """Finishes `contact` with the first cause, tells `on_over`, and stops `tasks`, what runs for the contact."""

    def __init__(self, contact: Contact, *, on_over: OnOver, tasks: TaskGroupOwner) -> None:
        self._contact = contact
        self._on_over = on_over
        self._tasks = tasks
        self._begun = False

    def begin(self, cause: EndCause) -> None:
        """Ends the contact, in a task of its own; whoever calls may be one of those that are stopped.

        The leg and the call both tell of one end; only the first is heard, the other may come when all has stopped.
        """
        if not self._begun:
            self._begun = True
            self._tasks.spawn(self._over(cause), name="over")

    def on_call_ended(self, _: Call, cause: EndCause) -> None:
        """`begin`, as a call tells its end."""
        self.begin(cause)

    async def _over(self, cause: EndCause) -> None:
        self._contact.finish(cause)
        self._on_over(self._contact)
        await self._tasks.stop(_STOP_DEADLINE_S)


def why_not(error: MediaServerError) -> EndCause:
    """The cause of a call that somebody was rung for and that did not come about, as its record has it."""
    if isinstance(error, InsufficientBandwidth) or (isinstance(error, DialFailed) and error.lacks_bandwidth):
        return EndCause("system", "insufficient_bandwidth", 488, str(error))
    if isinstance(error, DialFailed):
        reason = {486: "busy", 600: "busy", 603: "declined"}.get(error.code, "no_answer")
        return EndCause("system" if reason == "no_answer" else "agent", reason, error.code, error.reason)
    return EndCause("system", "not_connected", 488, str(error))
