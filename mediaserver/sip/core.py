"""The sans-IO heart of a user agent: transactions below, registrar and sessions above, one decision per message.

Verbs: `handle_*`, `handle_timeout`, `poll_transmit`, `poll_event`, `poll_timeout`.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from mediaserver.errors import LimitExceeded
from mediaserver.runtime.notices import Notices
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.credentials import Credentials, UserDirectory
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import SessionEvent
from mediaserver.sip.flow import Destination, Flow, Target
from mediaserver.sip.guard import prefix_of
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.identity import identity_of_message
from mediaserver.sip.invite_session import IN_DIALOG, SDP, Extra, InviteMachine
from mediaserver.sip.kept_flows import FlowNews
from mediaserver.sip.location import Binding, Location
from mediaserver.sip.message import (
    Request,
    Response,
    new_call_id,
    new_tag,
)
from mediaserver.sip.notifier import Notification, Notifier
from mediaserver.sip.outside_referrals import OutsideReferral, OutsideReferrals, ReferralNotice
from mediaserver.sip.parser import PING, PONG
from mediaserver.sip.removals import NewRemoval, answer
from mediaserver.sip.request_handler import NewInvite, NewText, RequestHandler
from mediaserver.sip.sender import Announced, Routes, Sender
from mediaserver.sip.standalone import OutsideRequest, Standalone
from mediaserver.sip.stranded import StrandedSessions
from mediaserver.sip.timers import TimerHeap
from mediaserver.sip.transaction_layer import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    Transmit,
)
from mediaserver.sip.trunk_rules import TrunkRules
from mediaserver.sip.uri import SipUri
from mediaserver.sip.watched import Watched

LOCATION_CHECK_S: Final = 5.0

__all__ = ["Announced", "Core", "NewInvite", "NewText", "Noticed", "RequestDone", "Routes", "SessionHappened"]


@dataclass(frozen=True, slots=True)
class SessionHappened:
    """Something happened in a session."""

    machine: InviteMachine
    event: SessionEvent


@dataclass(frozen=True, slots=True)
class RequestDone:
    """A request outside dialogs has its outcome."""

    request: Standalone


@dataclass(frozen=True, slots=True)
class Noticed:
    """Somebody does what nobody should: worth a line in the log, once."""

    kind: str
    source: str
    """Its address, or its /64."""
    untold: int
    """Others of which no line was written since the last, because there were too many."""


CoreEvent = (
    SessionHappened | NewInvite | NewText | NewRemoval | OutsideReferral | RequestDone | Noticed | FlowNews | str
)
"""A string is the AOR whose bindings changed."""


class Core(Sender):
    """All state of one user agent, apart from sockets and tasks."""

    def __init__(self, *, config: SipConfig, users: UserDirectory, counters: Counters, routes: Routes) -> None:
        super().__init__(config=config, counters=counters, routes=routes)
        self.draining = False
        self.trunks = TrunkRules(config.trunks)
        self.location = Location(bindings_per_aor=config.limits.bindings_per_aor, aors=config.limits.aors)
        self._machines: dict[tuple[str, str], InviteMachine] = {}
        self._heap: TimerHeap[InviteMachine] = TimerHeap()
        self._events: deque[CoreEvent] = deque()
        self._requests = RequestHandler(self, users)
        self.notifier = Notifier(self)
        self.referrals = OutsideReferrals(self)
        self.watched = Watched(self)
        self.stranded = StrandedSessions()
        """Calls whose phone has lost its connection."""
        self._notices = Notices()
        self._location_check_at: float | None = None

    @property
    def busy(self) -> bool:
        """True while a session is not over."""
        return bool(self._machines)

    @property
    def sessions(self) -> int:
        """Number of sessions that are not over."""
        return len(self._machines)

    def handle_message(self, message: Request | Response, flow: Flow, now: float) -> None:
        """A parsed message arrived."""
        if isinstance(message, Response):
            try:
                message.check()
            except SipParseError:
                self.counters.inc("sip.malformed", kind="response")
                return
            self.layer.handle_message(message, flow, now)
        else:
            self._requests.admit(message, flow, now)
        self._run(now)

    def handle_malformed(self, error: SipParseError, partial: Request | None, flow: Flow, now: float) -> None:
        """What arrived is no message; `partial` is what could be read of a request."""
        self._requests.refuse_malformed(error, partial, flow, now)
        self._run(now)

    def handle_transport_failure(self, key: object, destination: Destination, now: float) -> None:
        """What `poll_transmit` gave out with `key` could not be delivered."""
        self.counters.inc("sip.transport_failures", transport=destination.transport)
        if isinstance(destination, Flow) and destination.id:
            self.kept.handle_closed(destination)
        self.layer.handle_transport_failure(key, now)
        self._run(now)

    def handle_flow_closed(self, flow: Flow, target: Target | None, now: float) -> None:
        """A connection is gone; bindings that lived on it go with it, dialogs find another way or end.

        `target` is what it had been opened for, if by us.
        """
        self.layer.handle_flow_closed((flow,) if target is None else (flow, target), now)
        self.kept.handle_closed(flow)
        self.stranded.add(flow, self._machines.values(), self.location.on(flow))
        for aor in self.location.drop_flow(flow):
            self.tell(aor)
        self._run(now)

    def handle_keep_alive(self, data: bytes, flow: Flow, now: float) -> None:
        """A pong came (`data` is `PONG`), or a STUN response."""
        if data == PONG:
            self.kept.handle_pong(flow, now)
        else:
            self.kept.handle_stun(data, flow, now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        self.layer.handle_timeout(now)
        for data, flow in self.kept.handle_timeout(now):
            self.layer.send_raw(data, flow)
        for machine in self._heap.due(now):
            machine.handle_timeout(now)
            self._touched.add(machine)
        self.notifier.handle_timeout(now)
        if self._location_check_at is not None and now >= self._location_check_at:
            for aor in self.location.expire(now):
                self.tell(aor)
            self._keep_nats_open(now)
            self._location_check_at = now + LOCATION_CHECK_S if len(self.location) else None
        self._run(now)

    def poll_transmit(self) -> Transmit | None:
        """The next bytes to send."""
        return self.layer.poll_transmit()

    def poll_event(self) -> CoreEvent | None:
        """The next thing that the owner must know."""
        if self._touched:
            self._settle()
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        if self._touched:
            self._settle()
        earliest = self._location_check_at
        for own in (self.layer, self._heap, self.notifier, self.kept):
            at = own.poll_timeout()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def holds(self, flow: Flow) -> bool:
        """True while a binding, a registration of ours or a session lives on this flow."""
        return (
            flow in self.kept
            or self.location.uses(flow)
            or any(machine.flow == flow for machine in self._machines.values())
        )

    def bindings(self, aor: SipUri | str, now: float) -> list[Binding]:
        """Live bindings of an address of record, best first, one for each device."""
        return self.location.devices(self.aor(aor), now)

    def aor_of(self, contact: SipUri, flow: Flow) -> str | None:
        """Whose binding a contact on a flow is."""
        binding = self.location.over(contact, flow)
        return binding.aor if binding is not None else None

    def way_to(
        self, contact: SipUri, flow: Flow, headers: Sequence[tuple[str, str]], now: float
    ) -> tuple[list[Destination], Sequence[tuple[str, str]], dict[Destination, SipUri]]:
        """Next hops, header fields and Request-URIs of a call to a registered contact.

        The flow it registered on comes first, then the device's other flows (RFC 5626 §5.3); Path becomes the route.
        """
        binding = self.location.over(contact, flow)
        if binding is None:
            return [flow], headers, {}
        if binding.path:
            return [flow], [*(("Route", str(route)) for route in binding.path), *headers], {}
        others = [other for other in self.location.other_flows(binding, now) if not other.path]
        return [flow, *(each.flow for each in others)], headers, {each.flow: each.contact for each in others}

    def invite(
        self,
        target: SipUri,
        *,
        destinations: list[Destination],
        from_: NameAddr,
        to: NameAddr,
        body: bytes | None,
        headers: Extra,
        credentials: Credentials | None,
        max_forwards: int,
        session_uuid: str | None = None,
        uris: Mapping[Destination, str] | None = None,
        aor: str | None = None,
        focus: str | None = None,
        now: float,
    ) -> InviteMachine:
        """Begin an outgoing session; `aor` is the user who is called, `focus` the conference that calls.

        Raises LimitExceeded, LocalProtocolError.
        """
        if len(self._machines) >= self.config.limits.sessions:
            raise LimitExceeded("too many SIP sessions", limit="sessions")
        local, call_id = from_.with_tag(new_tag()), new_call_id()
        table = Headers()
        table.add("Max-Forwards", str(max_forwards))
        table.add("From", str(local))
        table.add("To", str(to))
        table.add("Call-ID", call_id)
        table.add("CSeq", "1 INVITE")
        for name, value in headers:
            table.add(name, value)
        # Without an offer of ours the peer's would have to be answered in the PRACK.
        table.add("Supported", IN_DIALOG if body is None else f"100rel, {IN_DIALOG}")
        if body is not None:
            table.add("Content-Type", SDP)
        request = Request("INVITE", target.without_headers(), table, body or b"")
        machine = InviteMachine(self, direction="outgoing", call_id=call_id, local=local, remote=to)
        machine.aor, machine.focus = aor, focus
        machine.identity = identity_of_message(headers)
        for name, value in machine.timer_headers:
            table.add(name, value)
        machine.session_id.local = session_uuid or uuid4().hex
        attempt = Attempt(machine, request, destinations, credentials=credentials, cseq=None)
        attempt.uris = uris or {}
        self.add_machine(machine)
        try:
            machine.start(attempt, body, now)
        except BaseException:
            self._machines.pop((call_id, machine.local_tag), None)
            raise
        self.touch(machine)
        return machine

    def request(self, request: OutsideRequest, *, destinations: list[Destination], now: float) -> Standalone:
        """Send a request outside every dialog; `RequestDone` tells of its outcome.

        Raises LimitExceeded, LocalProtocolError.
        """
        message = request.message()
        standalone = Standalone(message.call_id)
        attempt = Attempt(
            standalone,
            message,
            destinations,
            credentials=request.credentials,
            cseq=None,
            patience_s=request.patience_s,
            contact_params=request.contact_params,
        )
        self.send(attempt, now)
        return standalone

    def aor(self, uri: SipUri | str) -> str:
        """Table key of an address of record: every domain and address of ours means the same users (`user@realm`)."""
        text = uri if isinstance(uri, str) else uri.aor
        user, at, host = text.rpartition("@")
        if at and (host.lower() in self.config.domains or self.routes.is_local(host, None)):
            return f"{user}@{self.config.realm}"
        return text

    def add_machine(self, machine: InviteMachine) -> None:
        """Keep a session until it is over."""
        self._machines[(machine.call_id, machine.local_tag)] = machine

    def find_machine(self, request: Request) -> InviteMachine | None:
        """The session whose dialog this request names; None where there is none."""
        machine = self._machines.get((request.call_id, request.to.tag or ""))
        return machine if machine is not None and machine.owns(request) else None

    def find_named(self, name: DialogName) -> InviteMachine | None:
        """The session whose dialog a Replaces or Join names (RFC 3891 §3, RFC 3911 §4); None where there is none."""
        machine = self._machines.get((name.call_id, name.to_tag))
        return machine if machine is not None and machine.has_peer(name.from_tag) else None

    def answer_removal(self, event: NewRemoval, code: int, now: float) -> None:
        """What the removal that was asked for has come to."""
        answer(self, event, code, now)

    def tell(self, event: CoreEvent) -> None:
        """Hand an event up; whoever watches a user whose bindings changed is told, too."""
        self._events.append(event)
        if isinstance(event, str):
            self.notifier.changed(event)

    def notice(self, kind: str, ip: str, now: float) -> None:
        """Somebody at this address does what nobody should. Counting it is the caller's; it is logged once."""
        source = prefix_of(ip)
        untold = self._notices.take(kind, source, now)
        if untold is not None:
            self._events.append(Noticed(kind, source, untold))

    def follow(self, aor: str, flow: Flow) -> None:
        """A user has registered over a flow: calls of the device whose connection has ended go on there."""
        for machine in self.stranded.bring(aor, flow, self.location.on(flow)):
            self.counters.inc("sip.dialogs_moved")
            self.touch(machine)

    def watch_location(self, now: float) -> None:
        """Bindings exist: look for expired ones every few seconds."""
        if self._location_check_at is None:
            self._location_check_at = now + LOCATION_CHECK_S

    def _keep_nats_open(self, now: float) -> None:
        """Send what keeps the way through a NAT to its phone open; each flow's turn comes once in the interval.

        RFC 5626 §4.4.1's double CRLF says nothing and asks for nothing: a NAT takes it as traffic from inside's peer.
        """
        interval_s = self.config.nat_keep_alive_s
        if interval_s <= 0:
            return
        turns = max(1, round(interval_s / LOCATION_CHECK_S))
        turn = int(now / LOCATION_CHECK_S) % turns
        for flow in self.location.behind_nat():
            if zlib.crc32(f"{flow.remote_ip}:{flow.remote_port}".encode()) % turns == turn:
                self.layer.send_raw(PING, flow)

    def _run(self, now: float) -> None:
        """Give every event of the transaction layer to whom it belongs."""
        while (event := self.layer.poll_event()) is not None:
            if isinstance(event, RequestReceived):
                self._requests.handle(event.request, event.flow, now)
            elif isinstance(event, ResponseReceived):
                self.on_response(event, now)
            elif isinstance(event, AckReceived):
                self._on_ack(event, now)
            elif isinstance(event, CancelReceived):
                owner = event.transaction.owner
                if isinstance(owner, InviteMachine):
                    owner.handle_cancel(event.transaction, event.request, now)
                    self.touch(owner)
            else:
                self.on_failure(event, now)
        while (news := self.kept.poll_event()) is not None:
            if news.what == "alive":
                self.counters.inc("sip.flows_formed")
            else:
                self.counters.inc("sip.flows_lost", reason=news.what)
            self._events.append(news)
        self._settle()

    def _settle(self) -> None:
        if not self._touched:
            return
        touched, self._touched = self._touched, set()
        for machine in touched:
            if isinstance(machine, Standalone):
                if machine.take_outcome():
                    if isinstance(machine, Notification):
                        self.notifier.outcome(machine)
                    elif isinstance(machine, ReferralNotice):
                        self.referrals.outcome(machine)
                    self._events.append(RequestDone(machine))
                continue
            self.watched.dialogs.look(machine)
            while (event := machine.poll_event()) is not None:
                self._events.append(SessionHappened(machine, event))
            if machine.over:
                self._machines.pop((machine.call_id, machine.local_tag), None)
                self.stranded.remove(machine)
                self._heap.forget(machine)
            else:
                self._heap.schedule(machine)

    def _on_ack(self, event: AckReceived, now: float) -> None:
        machine = self.find_machine(event.request)
        if machine is None:
            self.counters.inc("sip.dropped", reason="ack_unmatched")
            return
        machine.handle_ack(event.request, event.flow, now)
        self.touch(machine)
