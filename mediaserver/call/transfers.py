"""Transfers that a phone asks for by REFER, blind and attended.

A transfer goes where the one who asks for it could call: by the same routing table, the same numbers that a trunk allows,
the same limits. Whoever is transferred stays in the contact, and its connection stays what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.call.call import Call
from mediaserver.call.caller_identity import NAMELESS
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause, LegEnded, LegEvent, TransferAsked
from mediaserver.call.focus import Conferences
from mediaserver.call.leg import Leg
from mediaserver.call.named_dialogs import NamedDialogs
from mediaserver.call.routing import Destination, Question
from mediaserver.call.sip_leg import SipLeg
from mediaserver.errors import LimitExceeded, MediaServerError, NegotiationError
from mediaserver.runtime.notices import Notices
from mediaserver.sip.replaces import Replaces

if TYPE_CHECKING:
    from mediaserver.call.call_request import CallRequest

_HANGS_UP_ITSELF_S: Final = 2.0
"""Whoever has transferred a call ends its part by itself when it hears that all is well; else we do."""
_TRANSFERRED: Final = EndCause("system", "transferred")
_log = structlog.get_logger(__name__)


class Transfers:
    """`ring` calls a destination for a leg, `dialogs` are those that a Replaces can name."""

    def __init__(
        self,
        *,
        ring: Callable[[CallRequest], Awaitable[Leg]],
        dialogs: NamedDialogs,
        conferences: Conferences,
    ) -> None:
        self.decide: Callable[[Question], Awaitable[Destination | None]] | None = None
        """The dial plan, which says where a transfer leads; without one they are refused."""
        self._ring = ring
        self._dialogs = dialogs
        self._conferences = conferences
        self._notices = Notices()

    def asked(self, request: CallRequest, call: Call, leg: Leg, event: TransferAsked) -> None:
        """A leg of a call asks to be replaced; what becomes of it is told to that leg."""
        if isinstance(leg, SipLeg):
            call.run(self._transfer(request, call, leg, event), name="transfer")

    async def _transfer(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        try:
            conference = self._conferences.of(event.target.user_text)
            if event.removes:
                await self._remove(request, call, leg, event)
            elif call.focus and (conference is not call or event.replaces is not None):
                await self._to_conference(request, call, leg, event)
            elif conference is not None and conference is not call and event.replaces is None:
                await self._move(request, call, leg, conference)
            elif event.replaces is None or self._is_elsewhere(leg, event.replaces):
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

    async def _to_conference(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        """A REFER to a focus invites (RFC 4579 §5.5); with Replaces it brings whom another call of the phone is with."""
        if event.replaces is not None and not self._is_elsewhere(leg, event.replaces):
            second, theirs = self._own(leg, call, event.replaces)
            leg.answer_transfer(202)
            conference, joined = await self._conferences.bring(call, second, theirs)
            if conference is call:  # else the contact of this request is over
                self._came(request, leg, theirs, joined)
        else:
            destination = await self._destination(leg, event)
            leg.answer_transfer(202)
            leg.answer_transfer(180)
            asked = replace(request, destination=destination, own_headers=_sent_on(leg, event))
            self._came(request, leg, await self._conferences.invite(call, asked), "")
        leg.answer_transfer(200)

    async def _remove(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        """A REFER with method=BYE to a focus lets somebody go (RFC 4579 §5.11), for users of the house."""
        party = leg.booking.party if leg.booking is not None else None
        if party is None or party.user is None:
            raise DialFailed(403, "for users of the house")
        gone = self._conferences.named(call, event.target)
        if not gone:
            raise DialFailed(404, "nobody of this name is in the conference")
        leg.answer_transfer(202)
        if request.note is not None:
            request.note("removed", f"{gone[0].name} by {leg.name}")
        leg.answer_transfer(200)
        await self._conferences.remove(gone)

    async def _move(self, request: CallRequest, call: Call, leg: SipLeg, conference: Call) -> None:
        """A REFER to a conference's URI takes whom the phone talks to there (RFC 4579 §5.6)."""
        conference.check_room([party for party in call.parties if party is not leg])
        leg.answer_transfer(202)
        moves = _same_party(leg, conference.caller)
        conference, joined = await self._conferences.bring(conference, call, leg, keep=True, moves=moves)
        self._came(request, leg, conference.caller, joined)
        await self._done(request, leg, conference.caller)

    def _came(self, request: CallRequest, by: Leg, who: Leg, joined: str) -> None:
        _log.info("conference_joined", contact_id=by.contact_id, by=by.name, with_=who.name)
        if request.note is not None:
            request.note("added", f"{who.name} by {by.name}")
            if joined:
                request.note("contact_joined", joined)

    async def _destination(self, leg: SipLeg, event: TransferAsked) -> Destination:
        """Where a transfer leads, as if whoever asks for it had called there. Raises DialFailed."""
        party = leg.booking.party if leg.booking is not None else None
        user, trunk = (party.user, party.trunk) if party is not None else (None, None)
        question = Question(called=event.target.user_text, caller=user, trunk=trunk)
        destination = await self.decide(question) if self.decide is not None else None
        if destination is None:
            raise DialFailed(404, "the routing table knows no such destination")
        if destination.target.refuse is not None:
            raise DialFailed(destination.target.refuse, "refused by the routing table")
        return destination

    async def _blind(self, request: CallRequest, call: Call, leg: SipLeg, event: TransferAsked) -> None:
        destination = await self._destination(leg, event)
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
        second, theirs = self._own(leg, call, replaces)
        if second.focus:
            leg.answer_transfer(202)
            conference, joined = await self._conferences.bring(second, call, leg, keep=True, moves=False)
            self._came(request, leg, theirs, joined)
            await theirs.end(_TRANSFERRED)
            await self._done(request, leg, conference.caller)
            return
        leg.answer_transfer(202)
        new, joined = await call.merge(leg, second, theirs, _TRANSFERRED)
        if request.note is not None and joined != request.contact_id:
            request.note("contact_joined", joined)
        await self._done(request, leg, new)

    def _own(self, leg: SipLeg, call: Call, replaces: Replaces) -> tuple[Call, SipLeg]:
        """Another call of whoever asks, and its leg there. Raises DialFailed."""
        found = self._dialogs.own(replaces)
        if found is None:
            raise DialFailed(481, "the other call is not here")
        second, theirs = found
        if second is call or not _same_party(leg, theirs):
            raise DialFailed(403, "the other call belongs to somebody else")
        if replaces.early_only:
            raise DialFailed(486, "the other call was answered")  # RFC 3891 §3
        return second, theirs

    def _is_elsewhere(self, leg: SipLeg, replaces: Replaces) -> bool:
        """Whether the other call of a call manager runs there, past us: whoever is in it gets the Replaces (RFC 3891)."""
        party = leg.booking.party if leg.booking is not None else None
        return party is not None and party.trunk is not None and not self._dialogs.knows(replaces)

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
    return names[0] == names[1] and names[0] not in (None, (None, None))  # two who are nobody are not the same
