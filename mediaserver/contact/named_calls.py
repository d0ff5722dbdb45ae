"""INVITEs that name a call that is known here: with Replaces they take a place in it, with Join they come beside.

So they do with the URI of a conference that a phone has made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from mediaserver.call.calls import Calls
from mediaserver.call.dial_failed import warning_value
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.events import EndCause
from mediaserver.call.incoming import question_of
from mediaserver.call.leg import Leg
from mediaserver.call.named_dialogs import DialogRefused
from mediaserver.call.sip_leg import SipLeg
from mediaserver.contact.open_contacts import OpenContacts
from mediaserver.errors import MediaServerError, NegotiationError
from mediaserver.sdp.description import SdpError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.join import join_of
from mediaserver.sip.replaces import replaces_in
from mediaserver.sip.user_agent import IncomingInvite

_log = structlog.get_logger(__name__)


class NamedCalls:
    """`take` is asked first of every INVITE."""

    def __init__(self, *, calls: Calls, opened: OpenContacts, dial_plan: DialPlan, server_name: str) -> None:
        self._calls = calls
        self._open = opened
        self._dial_plan = dial_plan
        self._server_name = server_name

    async def take(self, incoming: IncomingInvite) -> bool:
        """Deals with an INVITE that names a call, whatever comes of it; False leaves it to be routed."""
        headers = incoming.request.headers
        if "Join" in headers:
            return await self._join(incoming)
        if "Replaces" in headers:
            await self._take_over(incoming)
            return True
        conference = self._calls.conferences.called_by(incoming)
        if conference is not None:
            # RFC 4579 §5.3: the conference's URI is called.
            enter = partial(self._calls.conferences.enter, conference)
            await self._come_in(incoming, conference.caller, enter, otherwise="not_added", noted="added")
        return conference is not None

    async def _join(self, incoming: IncomingInvite) -> bool:
        try:
            name = join_of(incoming.request.headers)
            if name is None:
                return False
            user, trunk = incoming.authenticated_user, incoming.trunk
            joined = self._calls.joining.look(name, user=user, trunk=trunk)
        except SipParseError as error:
            self._refuse_malformed(incoming, error)
        except DialogRefused as refused:
            # RFC 3911 §4: to a conference's own address, a Join that names nothing is as if it were not there.
            if refused.code == 481 and await self._leads_to_room(incoming):
                return False
            self._refuse_named(incoming, refused, "join_refused")
        else:
            join = partial(self._calls.joining.join, joined=joined)
            await self._come_in(incoming, joined.leg, join, otherwise="not_joined", noted="added")
        return True

    async def _take_over(self, incoming: IncomingInvite) -> None:
        """A call that takes the place of one that is known here (RFC 3891): picked up, or handed over by a phone."""
        try:
            replaces = replaces_in(incoming.request.headers)
            user, trunk = incoming.authenticated_user, incoming.trunk
            place = self._calls.taking_over.look(replaces, user=user, trunk=trunk)
        except SipParseError as error:
            self._refuse_malformed(incoming, error)
        except DialogRefused as refused:
            self._refuse_named(incoming, refused, "take_over_refused")
        else:
            take = partial(self._calls.taking_over.take, place=place)
            await self._come_in(incoming, place.leg, take, otherwise="not_replaced", noted="taken_over")

    def _refuse_named(self, incoming: IncomingInvite, refused: DialogRefused, what: str) -> None:
        session = incoming.session
        _log.info(what, call_id=session.call_id, user=incoming.authenticated_user, code=refused.code, why=str(refused))
        session.reject(refused.code)

    async def _come_in(
        self,
        incoming: IncomingInvite,
        beside: Leg,
        bring: Callable[[SipLeg], Awaitable[None]],
        *,
        otherwise: str,
        noted: str,
    ) -> None:
        """The caller comes into the contact of a leg as `bring` has it, or is refused for `otherwise`."""
        leg: SipLeg | None = None
        opened = self._open.get(beside.contact_id)
        note = opened.contact.note if opened is not None else None
        try:
            leg = self._calls.incoming_leg(incoming, beside.contact_id, note=note)
            await bring(leg)
        except (SdpError, SipParseError) as error:
            self._refuse_malformed(incoming, error)
        except MediaServerError as error:
            await self._refuse(incoming, leg, otherwise, error)
        else:
            _log.info("call_joined_by", contact_id=leg.contact_id, by=leg.name, beside=beside.name)
            if note is not None:
                note(noted, leg.name)

    async def _leads_to_room(self, incoming: IncomingInvite) -> bool:
        destination = await self._dial_plan.decide(question_of(incoming, self._calls.trunks))
        return destination is not None and destination.target.room is not None

    def _refuse_malformed(self, incoming: IncomingInvite, error: MediaServerError) -> None:
        incoming.session.reject(400, headers=[("Warning", warning_value(399, self._server_name, str(error)))])

    async def _refuse(self, incoming: IncomingInvite, leg: SipLeg | None, reason: str, error: MediaServerError) -> None:
        code = 488 if isinstance(error, NegotiationError) else 503
        code = error.code if isinstance(error, DialogRefused) else code
        if leg is None:
            incoming.session.reject(code)
        else:
            await leg.refuse(EndCause("system", reason, code, str(error)))
