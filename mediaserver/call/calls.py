"""Making calls: a destination becomes devices, the devices ring, and the one that answers is joined with the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents
from mediaserver.call.announcement_leg import announcement_leg
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest, Note
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.early_media import EarlyMedia
from mediaserver.call.edge_ports import PortsBeyond
from mediaserver.call.events import EndCause
from mediaserver.call.focus import Conferences
from mediaserver.call.joining import Joining
from mediaserver.call.leg import Leg
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.named_dialogs import NamedDialogs
from mediaserver.call.quality_watch import QualityWatch
from mediaserver.call.redirects import Redirects
from mediaserver.call.ringing import Attempt, ring_all, ring_group
from mediaserver.call.room_seat import RoomSeats
from mediaserver.call.sip_devices import SipDevices
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.sip_legs import SipLegs
from mediaserver.call.taking_over import TakingOver
from mediaserver.call.transfers import Transfers
from mediaserver.call.trunks import Trunks
from mediaserver.call.unanswered import Unanswered
from mediaserver.config.model import Config
from mediaserver.engine.engine import Engine
from mediaserver.errors import LimitExceeded, NegotiationError
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.ids import new_id
from mediaserver.sdp.description import Fingerprint
from mediaserver.sip.user_agent import IncomingInvite, IncomingText, UserAgent

_log = structlog.get_logger(__name__)


class Calls:
    """All calls. Legs come from the contact layer; what they ring and how they are joined is decided here."""

    def __init__(
        self,
        *,
        config: Config,
        engine: Engine,
        user_agent: UserAgent,
        agents: Agents,
        addresses: MediaAddresses,
        trunks: Trunks,
        admission: Admission,
        fingerprint: Fingerprint,
        announcements: Announcements | None = None,
        quality: QualityWatch | None = None,
        rooms: RoomSeats | None = None,
    ) -> None:
        """Without `quality` nobody looks at how legs are doing; what there are no `announcements` or `rooms` of cannot be

        called."""
        self._announcements = announcements
        self._rooms = rooms
        self._quality = quality
        self._config = config
        self._engine = engine
        self._user_agent = user_agent
        self._agents = agents
        self.trunks = trunks
        self._admission = admission
        self._calls: dict[str, Call] = {}
        self.conferences = Conferences(
            ring=self.ring,
            engine=engine,
            show=user_agent.show_conference,
            domain=config.listeners.sip.realm,
        )
        self._unanswered = Unanswered()
        self._devices = SipDevices(
            config=config,
            user_agent=user_agent,
            legs=SipLegs(engine=engine, addresses=addresses, fingerprint=fingerprint, media=config.media),
            trunks=trunks,
            admission=admission,
            unanswered=self._unanswered,
        )
        self.dialogs = dialogs = NamedDialogs(
            find=user_agent.find_named,
            calls=self._calls.values,
            unanswered=self._unanswered,
            groups=lambda: self._config.groups.values(),
        )
        self.transfers = Transfers(ring=self.ring, dialogs=dialogs, conferences=self.conferences)
        self.joining = Joining(dialogs=dialogs, unanswered=self._unanswered, engine=engine)
        self.taking_over = TakingOver(dialogs=dialogs, unanswered=self._unanswered)

    def __len__(self) -> int:
        return len(self._calls)

    def use_edges(self, ports: PortsBeyond) -> None:
        """Media of phones and trunks beyond an Edge go by these ports."""
        self._devices.use_edges(ports)

    def adopt(self, config: Config) -> None:
        """Make calls by this configuration from now on; those that are up go on."""
        self._config = config
        self._devices.adopt(config)

    def incoming_leg(self, incoming: IncomingInvite, contact_id: str, *, note: Note | None = None) -> SipLeg:
        """The leg of an INVITE that came in. `note` gets what admission control decides. Raises SdpError, LimitExceeded."""
        self._check_room()
        return self._devices.incoming_leg(incoming, contact_id, note)

    def take_text(self, incoming: IncomingText) -> int:
        """A text that a phone sent outside of its call: it goes to whom its user talks to. Gives the status."""
        user = incoming.authenticated_user
        for call in reversed(list(self._calls.values())) if user is not None else ():
            for leg in call.members:
                booking = leg.booking if leg.kind == "sip" else None
                if booking is not None and booking.party.user == user and call.say(leg, incoming.text):
                    return 200
        return 480

    async def connect(self, request: CallRequest, *, on_ended: Callable[[Call, EndCause], None]) -> Call:
        """Rings the destination and joins whoever answers.

        A destination whose lines have no room gives way to the next that the routing table has for the call.
        Raises DialFailed when nobody answers, NegotiationError when the two cannot meet, InsufficientBandwidth when
        the caller's own lines are full. Cancelling it stops the ringing.
        """
        self._check_room()
        request.caller.admit()
        with self._unanswered.calling(request.caller):
            return await self._connect(request, on_ended)

    async def _connect(self, request: CallRequest, on_ended: Callable[[Call, EndCause], None]) -> Call:
        callee = await self._ring_heard(request)
        call = Call(
            call_id=request.call_id or new_id(),
            caller=request.caller,
            callee=callee,
            longest_s=self._config.limits.call_duration,
            on_ended=self._over(on_ended),
            on_withheld=self._withheld(request),
            on_quality=request.noted_quality(),
            on_transfer=partial(self.transfers.asked, request),
            on_replaced=partial(self._came_in, request),
            on_digit=request.on_digit,
            engine=self._engine,
            shows_supervision=self._config.supervision.visible,
        )
        self._calls[call.id] = call
        self.conferences.began(call)
        try:
            await call.join()
            callee.settle_with(request.caller)
            request.caller.settle_with(callee)
            if self._quality is not None:
                self._quality.watch(request.caller, callee)
        except NegotiationError:
            self._forget(call)
            callee.listen(None)
            await callee.end(EndCause("system", "no_common_media", 488))
            raise
        self._unanswered.up(call)
        _log.info("call_joined", call=call.id, contact_id=request.contact_id, callee=callee.name)
        return call

    async def _ring_heard(self, request: CallRequest) -> Leg:
        """Whoever answers; before that, the caller hears what a device sends."""
        early = EarlyMedia(request.caller)
        callee: Leg | None = None
        try:
            callee = await self.ring(replace(request, early=early))
        finally:
            early.end(callee)
        return callee

    async def ring(self, request: CallRequest) -> Leg:
        """Whoever answers in the end, after redirections; joined with nobody yet. Raises as `connect`."""
        return await Redirects(ring=self._ring, decide=self.transfers.decide).ring(request)

    async def _ring(self, request: CallRequest) -> Leg:
        """Whoever answers of the first destination that has room on its lines."""
        ways = (request.destination, *request.destination.others)
        for number, destination in enumerate(ways, 1):
            try:
                same = destination is request.destination
                return await self._ring_one(request if same else replace(request, destination=destination))
            except DialFailed as failure:
                if not (failure.lacks_bandwidth or failure.elsewhere) or number == len(ways):
                    raise
                why = "has no bandwidth" if failure.lacks_bandwidth else f"does not take it ({failure.code})"
                if failure.lacks_bandwidth:
                    self._admission.rerouted()
            _log.info("call_rerouted", contact_id=request.contact_id, from_rule=destination.rule, why=why)
            if request.note is not None:
                request.note("rerouted", f"{destination.rule} {why}, next is {ways[number].rule}")
        raise DialFailed(480, "Nobody is signed in there")

    async def _ring_one(self, request: CallRequest) -> Leg:
        """Whoever answers of one destination."""
        longest_s, name = self._config.limits.ring_duration, request.destination.target.group
        if name is None:
            return await ring_all(self._attempts(request), timeout_s=longest_s)
        group = self._config.groups.get(name)
        if group is None:
            raise DialFailed(480, f"group {name} is gone")
        try:
            return await ring_group(group, partial(self._user_attempts, request=request), timeout_s=longest_s)
        except DialFailed as failure:
            if group.otherwise is None or failure.lacks_bandwidth:
                raise
        destination = replace(request.destination, target=group.otherwise)
        if request.note is not None:
            request.note("group_over", f"nobody of group {name} took it, next is {group.otherwise.text}")
        return await ring_all(self._attempts(replace(request, destination=destination)), timeout_s=longest_s)

    # -- devices -------------------------------------------------------------------------------------------------

    def _attempts(self, request: CallRequest) -> list[Attempt]:
        target = request.destination.target
        if target.user is not None:
            return self._user_attempts(target.user, request)
        if target.trunk is not None:
            trunk_name = target.trunk
            return [Attempt(f"trunk {trunk_name}", lambda: self._devices.ring_trunk(trunk_name, request))]
        if target.announcement is not None:
            name = target.announcement
            return [Attempt(f"announcement {name}", lambda: self._announce(name, request))]
        if target.room is not None and (rooms := self._rooms) is not None:
            return [Attempt(f"room {target.room}", lambda: rooms.enter(request))]
        if target.conference is not None:
            return [Attempt("conference", lambda: self.conferences.open(request))]
        if target.refuse is not None:
            raise DialFailed(target.refuse, "Refused by the routing table")
        raise DialFailed(501, "This destination takes no calls")

    def _user_attempts(self, user: str, request: CallRequest) -> list[Attempt]:
        if user not in self._config.users:
            return []  # gone since the call was routed
        aor = f"{user}@{self._config.domain_of(user)}"
        attempts = [
            Attempt(f"phone {binding.contact}", partial(self._devices.ring_phone, user, binding, request))
            for binding in self._user_agent.bindings(aor)
        ]
        browser = self._agents.browser_of(user)
        if browser is not None:
            attempts.append(Attempt("browser", lambda: self._ring_browser(user, request)))
        return attempts

    async def _announce(self, name: str, request: CallRequest) -> Leg:
        return announcement_leg(name, request.contact_id, announcements=self._announcements, engine=self._engine)

    async def _ring_browser(self, user: str, request: CallRequest) -> Leg:
        browser = self._agents.browser_of(user)
        if browser is None:
            raise DialFailed(480, "The browser signed out")
        await request.caller.progress(180)
        return await browser.ring(
            call_id=new_id(),
            contact_id=request.contact_id,
            presentation=request.presentation,
            wanted=request.caller.codecs,
        )

    # -- parts ---------------------------------------------------------------------------------------------------

    def _check_room(self) -> None:
        if len(self._calls) >= self._config.limits.calls:
            raise LimitExceeded(f"{len(self._calls)} calls are up", limit="limits.calls")

    def _withheld(self, request: CallRequest) -> Callable[[Leg, str], None]:
        def withheld(leg: Leg, reason: str) -> None:
            leg.log.info("picture_withheld" if reason else "picture_shown", reason=reason)
            if reason:
                self._admission.picture_withheld(reason)
            if request.note is not None:
                request.note("picture_withheld" if reason else "picture_shown", f"{leg.name} {reason}".rstrip())

        return withheld

    def _over(self, on_ended: Callable[[Call, EndCause], None]) -> Callable[[Call, EndCause], None]:
        def ended(call: Call, cause: EndCause) -> None:
            self._forget(call)
            on_ended(call, cause)

        return ended

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.id, None)
        self.conferences.over(call)

    def _came_in(self, request: CallRequest, leg: Leg) -> None:
        """A leg has come into a call that is up, by a transfer or beside the others."""
        if self._quality is not None:
            self._quality.watch(leg)
        if request.on_leg is not None:
            request.on_leg(leg)
