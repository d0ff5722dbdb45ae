"""Calls that somebody takes the place of another one in: an INVITE whose Replaces names that one's dialog (RFC 3891)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.named_dialogs import DialogRefused, NamedDialogs
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.unanswered import Unanswered
from mediaserver.sip.replaces import Replaces

_TRANSFERRED: Final = EndCause("system", "transferred")


@dataclass(frozen=True, slots=True)
class Place:
    """The leg that somebody may take the place of, in a call that is up, or for whom it rings."""

    leg: SipLeg
    call: Call | None
    caller: Leg | None


class TakingOver:
    """Picking up what rings elsewhere, and taking over what was answered elsewhere."""

    def __init__(self, *, dialogs: NamedDialogs, unanswered: Unanswered) -> None:
        self._dialogs = dialogs
        self._unanswered = unanswered

    def look(self, replaces: Replaces, *, user: str | None, trunk: str | None) -> Place:
        """The place that a Replaces names. Raises DialogRefused: as `NamedDialogs.look`, and by RFC 3891 §3 486 for a call

        that was answered where only one that rings is to be replaced, 481 for one that rings at somebody else's request.
        """
        named = self._dialogs.look(replaces, user=user, trunk=trunk, right="pickup")
        if named.call is not None:
            if replaces.early_only:
                raise DialogRefused(486, "the call was answered")
            return Place(named.leg, named.call, None)
        caller = self._unanswered.caller_of(named.leg)
        if caller is None:
            raise DialogRefused(481, "the call does not ring by our INVITE")
        if named.leg.answered_at is not None:
            raise DialogRefused(486, "the call was answered a moment ago")
        return Place(named.leg, None, caller)

    async def take(self, leg: SipLeg, place: Place) -> None:
        """The caller `leg`, not answered yet, takes the place. Raises NegotiationError, and nothing has changed then."""
        leg.admit()
        if place.call is not None:
            await place.call.replace(place.leg, leg)
            await place.leg.end(_TRANSFERRED)
        elif place.caller is not None:
            await leg.meet(place.caller)
            if not place.leg.give_way(leg):  # it was answered, or the caller has hung up meanwhile
                await leg.end(EndCause("system", "answered_elsewhere"))
