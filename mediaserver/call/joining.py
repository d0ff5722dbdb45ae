"""Calls that somebody comes into by himself: an INVITE whose Join names one makes it a conference (RFC 3911)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mediaserver.call.call import MAX_MEMBERS, Call
from mediaserver.call.events import EndCause, LegEnded, LegEvent
from mediaserver.call.leg import Leg
from mediaserver.call.linking import mixes
from mediaserver.call.named_dialogs import DialogRefused, NamedDialogs
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.stand_in import beside
from mediaserver.call.unanswered import Unanswered, Waiter
from mediaserver.engine.engine import Engine
from mediaserver.errors import MediaServerError
from mediaserver.sip.dialog_name import DialogName

_MOST_WAITING: Final = MAX_MEMBERS - 2


@dataclass(frozen=True, slots=True)
class Joined:
    """A call that may be joined, and the leg whose dialog was named; no call while nobody has answered."""

    call: Call | None
    leg: SipLeg


class Joining:
    """`dialogs` knows who may come in."""

    def __init__(self, *, dialogs: NamedDialogs, unanswered: Unanswered, engine: Engine) -> None:
        self._dialogs = dialogs
        self._unanswered = unanswered
        self._engine = engine

    def look(self, name: DialogName, *, user: str | None, trunk: str | None) -> Joined:
        """The call of a dialog, for somebody who has proven to be `user`, or comes by `trunk`.

        Raises DialogRefused: as `NamedDialogs.look`, and 486 where the call has no place left, 488 where its sound cannot
        be mixed.
        """
        named = self._dialogs.look(name, user=user, trunk=trunk, right="join")
        if named.call is not None:
            _check_place(named.call)
        return Joined(named.call, named.leg)

    async def join(self, leg: SipLeg, joined: Joined) -> None:
        """Answers the caller `leg` with what the call speaks, and brings it in. Raises MediaServerError.

        Into a call that still rings, which may be joined too (RFC 3911 §4), he comes when it is up, and hears ringing
        until then.
        """
        leg.admit()
        call = joined.call or await self._answered(leg, joined.leg)
        if call.focus:
            leg.show_focus(call.focus)  # RFC 4579 §4
        stand_in = beside(call.members, contact_id=leg.contact_id, engine=self._engine)
        await leg.meet(stand_in)
        leg.settle_with(stand_in)
        try:
            await call.add(leg)
        except MediaServerError as error:  # the last of the others has hung up meanwhile
            leg.listen(None)
            await leg.end(EndCause("system", "not_added", 488, str(error)))
            raise

    async def _answered(self, leg: SipLeg, named: SipLeg) -> Call:
        """The call of a leg once it is up. Raises DialogRefused."""
        waiter = self._unanswered.wait(named, most=_MOST_WAITING)
        if waiter is None:
            raise DialogRefused(486, "the call is not up yet")
        leg.listen(_gives_up(waiter))
        try:
            await leg.progress(180)
            call = await waiter
        finally:
            leg.listen(None)
            waiter.cancel()
        if call is None or named not in call.members:
            raise DialogRefused(603, "nobody has answered there")
        _check_place(call)
        return call


def _gives_up(waiter: Waiter) -> Callable[[Leg, LegEvent], None]:
    def on_event(_: Leg, event: LegEvent) -> None:
        if isinstance(event, LegEnded) and not waiter.done():
            waiter.set_result(None)

    return on_event


def _check_place(call: Call) -> None:
    if len(call.members) >= MAX_MEMBERS:
        raise DialogRefused(486, f"there are {MAX_MEMBERS} in this call already")
    if not all(mixes(each) for each in call.members):
        raise DialogRefused(488, "the sound of this call cannot be mixed")
