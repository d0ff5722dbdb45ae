"""Phones and trunks: the leg of an INVITE that came in, and of one that is sent to ring somebody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Presentation
from mediaserver.call.booking import Party
from mediaserver.call.call_request import CallRequest, Note
from mediaserver.call.caller_identity import from_field, identity_of, told_fields
from mediaserver.call.connected_identity import ConnectedIdentity, IdentityRules
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.edge_ports import PortsBeyond
from mediaserver.call.events import EndCause, LegEvent, MediaChanged, Ringing
from mediaserver.call.identity_rules import phone_rules, trunk_rules
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg import SessionMaker, SipLeg
from mediaserver.call.sip_legs import SipLegs
from mediaserver.call.sip_policy import srtp_towards
from mediaserver.call.trunk import Direction, TrunkLine
from mediaserver.call.trunks import Trunks
from mediaserver.call.unanswered import Unanswered
from mediaserver.config.model import Config
from mediaserver.errors import LimitExceeded
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.location import Binding
from mediaserver.sip.session import InviteSession
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent

_NO_WAY_THERE: Final = frozenset({408, 500, 502, 503, 504})
"""What a trunk says, or what its silence counts as, when it could not ask anybody."""

_ELSEWHERE: Final = EndCause("system", "answered_elsewhere", 200)


class SipDevices:
    """What calls by SIP, and what can be rung by SIP: one phone, one trunk."""

    def __init__(
        self,
        *,
        config: Config,
        user_agent: UserAgent,
        legs: SipLegs,
        trunks: Trunks,
        admission: Admission,
        unanswered: Unanswered,
    ) -> None:
        self._config = config
        self._user_agent = user_agent
        self._legs = legs
        self._trunks = trunks
        self._admission = admission
        self._unanswered = unanswered

    def use_edges(self, ports: PortsBeyond) -> None:
        """Media of phones and trunks beyond an Edge go by these ports."""
        self._legs.beyond = ports

    def adopt(self, config: Config) -> None:
        """Make legs by this configuration from now on."""
        self._config = config
        self._legs.media = config.media

    def incoming_leg(self, incoming: IncomingInvite, contact_id: str, note: Note | None) -> SipLeg:
        """The leg of an INVITE that came in. `note` gets what admission control decides. Raises SdpError, LimitExceeded."""
        line = self._trunks.get(incoming.trunk)
        if line is not None:
            self._admit(line, "incoming")
        try:
            leg = self._make_incoming(incoming, contact_id, note)
        except BaseException:
            if line is not None:
                line.release("incoming")
            raise
        if line is not None:
            leg.on_released = partial(line.release, "incoming")
        return leg

    async def ring_phone(self, user: str, binding: Binding, request: CallRequest) -> Leg:
        """The leg of a user's phone that answers. Raises DialFailed."""
        settings = self._config.users[user]
        name, peer = settings.display_name or user, self._legs.phone(user, settings, binding)
        leg = self._legs.make(request.contact_id, name, "agent", peer)
        self._book(leg, peer.party, request)
        leg.identity, leg.identity_rules = ConnectedIdentity(name, user), self._identity_rules(None)
        shown = request.presentation
        caller = replace(request.caller.identity, name=shown.name, number=shown.number, withheld=shown.withheld)

        async def invite(body: bytes) -> InviteSession:
            return await self._user_agent.invite(
                binding.contact,
                from_=self._from(request.presentation),
                to=NameAddr(SipUri(host=self._config.domain_of(user), user=user)),
                body=body,
                via_flow=binding.flow,
                headers=[
                    *request.own_headers,
                    *leg.identity_rules.tell(caller),
                ],
                session_uuid=request.caller.session_uuid,
                max_forwards=request.max_forwards,
                focus=request.focus,
            )

        srtp = srtp_towards(peer.policy.srtp, settings.srtp_keys, binding.flow.transport)
        return await self._dial(leg, invite, request, srtp=srtp)

    async def ring_trunk(self, name: str, request: CallRequest) -> Leg:
        """The leg of whoever answers beyond a trunk. Raises DialFailed, and LimitExceeded where its lines are taken."""
        line = self._trunks.get(name)
        if line is None:
            raise DialFailed(503, f"trunk {name} is gone", elsewhere=True)
        await self._trunks.locate(line)
        number = request.destination.number
        denied = line.numbers.denied(number) if number else None
        if denied is not None:
            self._trunks.refused(f"trunks.{name}.numbers.{denied.reason}")
            raise DialFailed(403, f"trunk {name} may not call this number: {denied.detail}")
        way = line.way(number)
        if way is None:
            raise DialFailed(503, f"no target of trunk {name} lives", elsewhere=True)
        self._admit(line, "outgoing")
        try:
            peer = self._legs.trunk(name, line.settings, way.hops[0].host)
            leg = self._legs.make(request.contact_id, number or name, "agent", peer)
            self._book(leg, peer.party, request)
            leg.identity, leg.identity_rules = ConnectedIdentity(number or name, number), self._identity_rules(line)
        except BaseException:
            line.release("outgoing")
            raise
        leg.on_released = partial(line.release, "outgoing")

        async def invite(body: bytes) -> InviteSession:
            return await self._user_agent.invite(
                way.uris[way.hops[0]],
                from_=self._from(request.presentation, line.numbers.caller(request.presentation.number)),
                body=body,
                route_to=way.hops,
                uris=way.uris,
                headers=[
                    *line.headers(request.headers),
                    *request.own_headers,
                    *told_fields(request.presentation, line, domain=self._config.listeners.sip.realm),
                ],
                credentials=line.credentials,
                session_uuid=request.caller.session_uuid,
                max_forwards=request.max_forwards,
                focus=request.focus,
            )

        try:
            return await self._dial(leg, invite, request, srtp=way.encrypted)
        except DialFailed as failure:
            failure.elsewhere = failure.elsewhere or failure.code in _NO_WAY_THERE
            raise

    async def _dial(self, leg: SipLeg, invite: SessionMaker, request: CallRequest, *, srtp: bool) -> Leg:
        early = request.early

        def on_event(_: Leg, event: LegEvent) -> None:
            if isinstance(event, Ringing):
                request.caller.represent(leg)
                leg.run(_alerted(request, leg, event), name="progress")
            elif isinstance(event, MediaChanged) and early is not None:
                early.changed(leg)

        leg.listen(on_event)
        try:
            booking = request.caller.booking
            others = booking.wishes() if booking is not None else {}
            leg.allow_text(request.caller)
            with self._unanswered.ringing(leg, request.caller):
                await leg.dial(invite, request.caller.codecs, srtp=srtp, others=others)
            if leg.taker is not None:  # RFC 3891 §3: picked up, what rang here is cancelled
                if early is not None:
                    early.gone(leg)
                await leg.end(_ELSEWHERE)
        except BaseException as error:
            leg.listen(None)
            if early is not None:
                early.gone(leg)
            reason = "answered_elsewhere" if not isinstance(error, Exception) else "not_answered"
            await leg.end(EndCause("system", reason, getattr(error, "code", None)))
            if leg.taker is not None:
                await leg.taker.end(_ELSEWHERE)
            raise
        leg.listen(None)
        return leg.taker or leg

    def _book(self, leg: Leg, party: Party, request: CallRequest) -> None:
        leg.booking = self._admission.book(
            leg.id, party, contact_id=request.contact_id, peer=request.caller.booking, note=request.note
        )

    # -- parts ---------------------------------------------------------------------------------------------------

    def _make_incoming(self, incoming: IncomingInvite, contact_id: str, note: Note | None) -> SipLeg:
        user = self._config.users.get(incoming.authenticated_user or "")
        line = self._trunks.get(incoming.trunk)
        caller = identity_of(incoming, line)
        name = caller.name
        peer = self._legs.caller(incoming, user=user, trunk=self._config.trunks.get(incoming.trunk or ""))
        leg = self._legs.make(contact_id, name, "caller", peer)
        leg.booking = self._admission.book(leg.id, peer.party, contact_id=contact_id, note=note)
        leg.identity = ConnectedIdentity(
            caller.display_name or caller.number or name,
            caller.number,
            caller.withheld,
            verified=caller.trusted or user is not None,
        )
        leg.identity_rules = self._identity_rules(line)
        leg.take(incoming.session, incoming.body)
        return leg

    def _admit(self, line: TrunkLine, direction: Direction) -> None:
        try:
            line.admit(direction, asyncio.get_running_loop().time())
        except LimitExceeded as error:
            self._trunks.refused(error.limit)
            raise

    def _identity_rules(self, line: TrunkLine | None) -> IdentityRules:
        """Of a trunk, or of a user's phone."""
        domain = self._config.listeners.sip.realm
        return trunk_rules(line, domain) if line is not None else phone_rules(domain)

    def _from(self, presentation: Presentation, number: str | None = None) -> NameAddr:
        return from_field(presentation, number, domain=self._config.listeners.sip.realm)


async def _alerted(request: CallRequest, leg: Leg, event: Ringing) -> None:
    """Passes on that a device rings, or what it sends; who hears somebody already is not told of others that ring."""
    early = request.early
    if early is not None and event.early:
        before = early.heard
        if await early.begin(leg):
            if before is None and request.note is not None:
                request.note("early_media", leg.name)
            return
    if early is None or early.heard is None:
        await request.caller.progress(event.code)
