"""Transfers that a phone asks for: blind and attended by REFER, and calls taken over by INVITE with Replaces.

A transfer goes where the one who asks for it could call: by the same routing table, the same numbers that a trunk allows,
the same limits. Whoever is transferred stays in the contact, and its connection stays what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.call.call import Call
from mediaserver.call.caller_identity import NAMELESS
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause, LegEnded, LegEvent, TransferAsked
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination, Question
from mediaserver.call.sip_leg import SipLeg
from mediaserver.errors import LimitExceeded, MediaServerError, NegotiationError
from mediaserver.runtime.notices import Notices
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.session import InviteSession

if TYPE_CHECKING:
    from mediaserver.call.call_request import CallRequest

_HANGS_UP_ITSELF_S: Final = 2.0
"""Whoever has transferred a call ends its part by itself when it hears that all is well; else we do."""
_TRANSFERRED: Final = EndCause("system", "transferred")
_log = structlog.get_logger(__name__)


class Transfers:
    """`ring` calls a destination for a leg, `calls` are those that stand, `find` knows the session of a dialog."""

    def __init__(
        self,
        *,
        ring: Callable[[CallRequest], Awaitable[Leg]],
        calls: Callable[[], Iterable[Call]],
        find: Callable[[Replaces], InviteSession | None],
    ) -> None:
        self.decide: Callable[[Question], Awaitable[Destination | None]] | None = None
        """The dial plan, which says where a transfer leads; without one they are refused."""
        self._ring = ring
        self._calls = calls
        self._find = find
        self._notices = Notices()

    def asked(self, request: CallRequest, call: Call, leg: Leg, event: TransferAsked) -> None:
        """A leg of a call asks to be replaced; what becomes of it is told to that leg."""
        if isinstance(leg, SipLeg):
            call.run(self._transfer(request, call, leg, event), name="transfer")

    async def _transfer(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        try:
            if event.replaces is None or self._is_elsewhere(leg, event.replaces):
                await self._blind(request, call, leg, event)
            else:
                await self._attended(request, call, leg, event.replaces)
        except DialFailed as failure:
            self._failed(request, call, leg, failure.code, failure.reason)
        except LimitExceeded as error:
            self._failed(request, call, leg, 503, str(error))
        except NegotiationError as error:
            self._failed(request, call, leg, 488, str(error))
        except MediaServerError as error:
            self._failed(request, call, leg, 500, str(error))

    async def _blind(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        party = leg.booking.party if leg.booking is not None else None
        user, trunk = (party.user, party.trunk) if party is not None else (None, None)
        question = Question(called=event.target.user_text, caller=user, trunk=trunk)
        destination = await self.decide(question) if self.decide is not None else None
        if destination is None:
            raise DialFailed(404, "the routing table knows no such destination")
        if destination.target.refuse is not None:
            raise DialFailed(destination.target.refuse, "refused by the routing table")
        leg.answer_transfer(202)
        other = call.other(leg)
        shown = request.presentation
        if other is not request.caller:
            # What is known of the contact goes with whoever stays in it.
            who = other.identity
            name = NAMELESS if who.withheld else other.name
            shown = replace(shown, name=name, verified=True, number=who.number, withheld=who.withheld)
        asked = replace(
            request,
            caller=other,
            destination=destination,
            presentation=shown,
            own_headers=_sent_on(leg, event),
            early=None,
        )
        leg.answer_transfer(180)
        new = await call.exchange(leg, lambda: self._ring(asked))
        await self._done(request, leg, new)

    async def _attended(self, request: CallRequest, call: Call, leg: SipLeg, replaces: Replaces) -> None:
        found = self._of(replaces)
        if found is None:
            raise DialFailed(481, "the other call is not here")
        second, theirs = found
        if second is call or not _same_party(leg, theirs):
            raise DialFailed(403, "the other call belongs to somebody else")
        leg.answer_transfer(202)
        new, joined = await call.merge(leg, second, theirs, _TRANSFERRED)
        if request.note is not None and joined != request.contact_id:
            request.note("contact_joined", joined)
        await self._done(request, leg, new)

    async def take_over(self, leg: SipLeg, replaces: Replaces) -> bool:
        """The caller `leg`, not answered yet, takes the place of a leg whose dialog it names (RFC 3891 §3).

        False where there is none. Raises NegotiationError.
        """
        found = self._of(replaces)
        if found is None:
            return False
        call, old = found
        leg.admit()
        await call.replace(old, leg)
        await old.end(_TRANSFERRED)
        return True

    def contact_of(self, replaces: Replaces) -> str:
        """The contact of the leg that a Replaces names; empty where there is none."""
        found = self._of(replaces)
        return found[1].contact_id if found is not None else ""

    def _is_elsewhere(self, leg: SipLeg, replaces: Replaces) -> bool:
        """Whether the other call of a call manager runs there, past us: whoever is in it gets the Replaces (RFC 3891)."""
        party = leg.booking.party if leg.booking is not None else None
        return party is not None and party.trunk is not None and self._find(replaces) is None

    def _of(self, replaces: Replaces) -> tuple[Call, SipLeg] | None:
        session = self._find(replaces)
        return leg_of(session, self._calls()) if session is not None else None

    async def _done(self, request: CallRequest, leg: SipLeg, new: Leg) -> None:
        _log.info("call_transferred", contact_id=request.contact_id, by=leg.name, to=new.name)
        if request.note is not None:
            request.note("transferred", f"by {leg.name} to {new.name}")
        gone = asyncio.Event()

        def on_event(_: Leg, event: LegEvent) -> None:
            if isinstance(event, LegEnded):
                gone.set()

        leg.listen(on_event)
        leg.answer_transfer(200)
        try:
            async with asyncio.timeout(0 if leg.ended else _HANGS_UP_ITSELF_S):
                await gone.wait()
        except TimeoutError:
            await leg.end(_TRANSFERRED)

    def _failed(self, request: CallRequest, call: Call, leg: SipLeg, code: int, why: str) -> None:
        untold = self._notices.take(f"transfer {code}", leg.id, asyncio.get_running_loop().time())
        if untold is not None:  # a phone that asks again and again is one line, and one answer each
            _log.info("transfer_failed", contact_id=request.contact_id, by=leg.name, code=code, why=why, untold=untold)
        if request.note is not None:
            request.note("transfer_failed", f"{code} {why}")
        leg.answer_transfer(code)


def leg_of(session: InviteSession, calls: Iterable[Call]) -> tuple[Call, SipLeg] | None:
    """The leg of a session in a call that stands, and that call."""
    for call in calls:
        for leg in call.members:
            if isinstance(leg, SipLeg) and leg.holds(session):
                return call, leg
    return None


def _sent_on(leg: SipLeg, event: TransferAsked) -> tuple[tuple[str, str], ...]:
    """What whoever is called by a transfer is told of it.

    A user of the house is named by us, who know it; of somebody behind a trunk only the trunk knows (RFC 3892 §2.1).
    """
    party = leg.booking.party if leg.booking is not None else None
    of_house = party is not None and party.user is not None
    by = leg.peer_identity if of_house or event.referred_by is None else event.referred_by
    fields = [("Referred-By", str(by))] if by is not None else []
    if event.replaces is not None:
        fields += [("Replaces", str(event.replaces)), ("Require", "replaces")]
    return tuple(fields)


def _same_party(one: Leg, other: Leg) -> bool:
    parties = [leg.booking.party if leg.booking is not None else None for leg in (one, other)]
    names = [(party.user, party.trunk) if party is not None else None for party in parties]
    return names[0] == names[1]
