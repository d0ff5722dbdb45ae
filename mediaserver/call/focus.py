"""Conferences that phones make (RFC 4579): a number makes one, its URI takes others in, and a REFER to it invites them.

A conference is a call like any other one whose phones are told that they talk to a focus. Whoever made it is alone with
a leg that has nobody behind it; the call in which the first other one was comes to the conference as a whole, so the
contact of whoever called the house goes on. Who is invited, and by whom, is the dial plan's business.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Literal

import structlog

from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.conference_members import conference_state, legs_named
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.stand_in import StandIn, beside
from mediaserver.engine.engine import Engine
from mediaserver.errors import MediaServerError
from mediaserver.sip.conference_info import ConferenceState
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, IncomingRemoval

_MOVED: Final = EndCause("system", "transferred")
_REMOVED: Final = EndCause("system", "removed")
_PREFIX: Final = "conf-"
_NAME_BYTES: Final = 12
"""Of chance in the name of a conference: whoever knows it may come in."""
_log = structlog.get_logger(__name__)


class Focus(StandIn):
    """The other side of a phone that has made a conference and is alone in it."""

    kind: ClassVar[Literal["browser", "sip", "room", "announcement"]] = "room"

    def __init__(self, *, contact_id: str, engine: Engine) -> None:
        super().__init__(contact_id=contact_id, engine=engine, video=True)
        self.name = self.shown_name = "conference"
        self.address = _PREFIX + secrets.token_hex(_NAME_BYTES)
        """User part of the conference URI."""


class Conferences:
    """Those that are up, by the user part of their URI. `ring` calls a destination for a leg; `show` gets who is in one,

    None where it is over.
    """

    def __init__(
        self,
        *,
        ring: Callable[[CallRequest], Awaitable[Leg]],
        engine: Engine,
        show: Callable[[str, ConferenceState | None], None],
        domain: str,
    ) -> None:
        self._ring = ring
        self._show = show
        self._domain = domain
        self._engine = engine
        self._up: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._up)

    def of(self, address: str | None) -> Call | None:
        """The call of a conference URI; None where it is none of ours."""
        return self._up.get(address) if address is not None else None

    def called_by(self, incoming: IncomingInvite) -> Call | None:
        """The conference whose URI a phone calls."""
        called = incoming.request.uri
        return self.of(called.user_text) if isinstance(called, SipUri) else None

    async def open(self, request: CallRequest) -> Focus:
        """The other side of somebody who makes a conference."""
        focus = Focus(contact_id=request.contact_id, engine=self._engine)
        request.caller.show_focus(focus.address)
        return focus

    def began(self, call: Call) -> None:
        """A call is up; it may be a conference."""
        if isinstance(call.callee, Focus):
            self._is(call, call.callee.address)

    def over(self, call: Call) -> None:
        """A call is over."""
        if self._up.get(call.focus) is call:
            del self._up[call.focus]
            call.on_changed = None
            self._show(call.focus, None)

    def removal(self, asked: IncomingRemoval) -> int:
        """A REFER outside of its calls wants somebody out of a conference; the status of that."""
        call = self.of(asked.conference)
        gone = self.named(call, asked.target) if call is not None else []
        if call is None or not gone:
            return 404
        _log.info("conference_removed", conference=call.focus, user=asked.authenticated_user, who=gone[0].name)
        call.run(self.remove(gone), name="removal")
        return 200

    def named(self, call: Call, target: SipUri) -> list[Leg]:
        """Who is in a conference by this URI, as those in it are told."""
        return legs_named(call, target, self._domain)

    async def remove(self, legs: Sequence[Leg]) -> None:
        """Hangs them up; the others go on."""
        for leg in legs:
            await leg.end(_REMOVED)

    async def enter(self, call: Call, leg: SipLeg) -> None:
        """Somebody who has called the conference's URI comes in, and is answered. Raises LimitExceeded, NegotiationError."""
        leg.admit()
        call.check_room([leg])
        leg.show_focus(call.focus)
        await leg.meet(self._stand_in(call))
        await call.add(leg)

    async def invite(self, call: Call, request: CallRequest) -> Leg:
        """Rings somebody, who comes in when he has answered. `request` has the destination; raises as `ring`."""
        stand_in = self._stand_in(call)
        call.check_room([stand_in])
        leg = await self._ring(replace(request, caller=stand_in, focus=call.focus, early=None))
        try:
            leg.settle_with(stand_in)
            await call.add(leg)
        except MediaServerError as error:
            leg.listen(None)
            await leg.end(EndCause("system", "not_added", 488, str(error)))
            raise
        return leg

    async def bring(
        self, call: Call, second: Call, theirs: Leg, *, keep: bool = False, moves: bool = True
    ) -> tuple[Call, str]:
        """Takes whoever is in `second` but `theirs` into a conference; `theirs` is hung up, unless it is kept for now.

        Gives the call that the conference is by now, and the contact that came into it (empty where none did): while
        whoever made it is alone, the conference moves to the other call. Raises LimitExceeded where there is no room,
        LocalProtocolError for sound that cannot be mixed.
        """
        focus = call.callee
        if moves and isinstance(focus, Focus) and not call.guests and not call.caller.ended:
            await self._move(call, focus, second, theirs, keep=keep)
            return second, ""
        call.check_room([party for party in second.parties if party is not theirs])
        came = ""
        for leg in await second.surrender(theirs, _MOVED, keep=keep):
            came = leg.contact_id if leg.contact_id != call.caller.contact_id else came
            leg.move_to(call.caller.contact_id)
            await call.add(leg)
            leg.show_focus(call.focus)
        return call, came

    async def _move(self, call: Call, focus: Focus, second: Call, theirs: Leg, *, keep: bool) -> None:
        with second.letting_go(theirs):
            (maker,) = await call.surrender(focus, _MOVED)
            maker.move_to(theirs.contact_id)
            try:
                await second.replace(theirs, maker)
            except MediaServerError as error:
                await maker.end(EndCause("system", "not_added", 488, str(error)))
                raise
            self._is(second, focus.address)
            if not keep:
                await theirs.end(_MOVED)

    def _is(self, call: Call, address: str) -> None:
        call.focus = address
        self._up[address] = call
        for leg in call.members:
            leg.show_focus(address)
        _log.info("conference_up", conference=address, call=call.id)
        call.on_changed = self._changed
        self._changed(call)

    def _changed(self, call: Call) -> None:
        """Somebody may have come or gone (RFC 4575)."""
        self._show(call.focus, conference_state(call, self._domain))

    def _stand_in(self, call: Call) -> StandIn:
        return beside(call.members, contact_id=call.caller.contact_id, engine=self._engine)
