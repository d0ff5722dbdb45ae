"""The sans-IO heart of a user agent: transactions below, registrar and sessions above, one decision per message.

Verbs: `handle_*`, `handle_timeout`, `poll_transmit`, `poll_event`, `poll_timeout`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mediaserver.errors import LimitExceeded
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.client_transaction import make_cancel
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.credentials import Credentials, UserDirectory
from mediaserver.sip.digest import answer_challenge, choose_challenge
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import SessionEvent
from mediaserver.sip.flow import Destination, Flow, Target, Transport, bracketed
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.invite_session import SDP, Extra, InviteMachine
from mediaserver.sip.location import Binding, Location
from mediaserver.sip.message import (
    Request,
    Response,
    make_response,
    new_branch,
    new_call_id,
    new_tag,
)
from mediaserver.sip.request_handler import ALLOW, NewInvite, RequestHandler
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.timers import TimerHeap
from mediaserver.sip.transaction_layer import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
    TransactionLayer,
    Transmit,
)
from mediaserver.sip.uri import SipUri

__all__ = ["Announced", "Core", "NewInvite", "Routes", "SessionHappened"]

_MAX_CHALLENGES: Final = 2


@dataclass(frozen=True, slots=True)
class Announced:
    """Where peers reach us on the way that a destination takes: what Via and Contact say."""

    transport: Transport
    host: str
    port: int


class Routes(Protocol):
    """Knows our sockets."""

    def announced(self, destination: Destination) -> Announced:
        """Our address towards this destination. Raises LocalProtocolError when no transport leads there."""

    def is_local(self, host: str, port: int | None) -> bool:
        """True when the address is one of ours."""


@dataclass(frozen=True, slots=True)
class SessionHappened:
    """Something happened in a session."""

    machine: InviteMachine
    event: SessionEvent


CoreEvent = SessionHappened | NewInvite | str
"""A string is the AOR whose bindings changed."""


class Core:
    """All state of one user agent, apart from sockets and tasks."""

    def __init__(self, *, config: SipConfig, users: UserDirectory, counters: Counters, routes: Routes) -> None:
        self.config = config
        self.draining = False
        self.counters = counters
        self.routes = routes
        self.layer = TransactionLayer(timers=config.timers, limit=config.limits.transactions, counters=counters)
        self.location = Location(bindings_per_aor=config.limits.bindings_per_aor, aors=config.limits.aors)
        self._machines: dict[tuple[str, str], InviteMachine] = {}
        self._heap: TimerHeap[InviteMachine] = TimerHeap()
        self._events: deque[CoreEvent] = deque()
        self._touched: set[InviteMachine] = set()
        self._requests = RequestHandler(self, users)
        self._location_check_at: float | None = None

    @property
    def busy(self) -> bool:
        """True while a session is not over."""
        return bool(self._machines)

    @property
    def sessions(self) -> int:
        """Number of sessions that are not over."""
        return len(self._machines)

    # -- input ------------------------------------------------------------------------------------------------------

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
        self.layer.handle_transport_failure(key, now)
        self._run(now)

    def handle_flow_closed(self, flow: Flow, target: Target | None, now: float) -> None:
        """A connection is gone; bindings that lived on it go with it, dialogs find another way or end.

        `target` is what it had been opened for, if by us.
        """
        self.layer.handle_flow_closed((flow,) if target is None else (flow, target), now)
        for aor in self.location.drop_flow(flow):
            self._events.append(aor)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        self.layer.handle_timeout(now)
        for machine in self._heap.due(now):
            machine.handle_timeout(now)
            self._touched.add(machine)
        if self._location_check_at is not None and now >= self._location_check_at:
            self._events.extend(self.location.expire(now))
            self._location_check_at = now + 5.0 if len(self.location) else None
        self._run(now)

    # -- output -----------------------------------------------------------------------------------------------------

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
        times = (self.layer.poll_timeout(), self._heap.poll_timeout(), self._location_check_at)
        return min((at for at in times if at is not None), default=None)

    def holds(self, flow: Flow) -> bool:
        """True while a binding or a session lives on this flow."""
        return self.location.uses(flow) or any(machine.flow == flow for machine in self._machines.values())

    def bindings(self, aor: SipUri | str, now: float) -> list[Binding]:
        """Live bindings of an address of record, best first."""
        return self.location.lookup(self.aor(aor), now)

    # -- sessions ---------------------------------------------------------------------------------------------------

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
        now: float,
    ) -> InviteMachine:
        """Begin an outgoing session. Raises LimitExceeded and LocalProtocolError."""
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
        if body is not None:
            table.add("Content-Type", SDP)
        request = Request("INVITE", target.without_headers(), table, body or b"")
        machine = InviteMachine(self, direction="outgoing", call_id=call_id, local=local, remote=to)
        attempt = Attempt(machine, request, destinations, credentials=credentials, cseq=None)
        self.add_machine(machine)
        try:
            machine.start(attempt, body, now)
        except BaseException:
            self._machines.pop((call_id, machine.local_tag), None)
            raise
        self.touch(machine)
        return machine

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

    def touch(self, machine: InviteMachine) -> None:
        """Something was done to this session: its events and timers are looked at before the next output."""
        self._touched.add(machine)

    def tell(self, event: CoreEvent) -> None:
        """Hand an event up."""
        self._events.append(event)

    def watch_location(self, now: float) -> None:
        """Bindings exist: look for expired ones every few seconds."""
        if self._location_check_at is None:
            self._location_check_at = now + 5.0

    # -- Port of the sessions ---------------------------------------------------------------------------------------

    def send(self, attempt: Attempt, now: float) -> None:
        """Send a request of a session by the next of its hops. Raises LimitExceeded."""
        self._transmit(attempt, attempt.remaining.pop(0), now)
        self.touch(attempt.machine)

    def _transmit(self, attempt: Attempt, destination: Destination, now: float) -> None:
        request = attempt.request
        self._stamp(request, destination)
        attempt.udp_fallback = None
        # RFC 3261 §18.1.1: what does not surely fit a datagram goes by TCP, and comes back to UDP if that fails.
        # A peer known by its UDP flow stays there: behind its NAT nothing listens for TCP.
        if (
            isinstance(destination, Target)
            and destination.transport == "udp"
            and len(request.encode()) > self.config.udp_max_bytes
        ):
            attempt.udp_fallback = destination
            destination = replace(destination, transport="tcp")
            self._stamp(request, destination)
        attempt.destination = destination
        attempt.provisional = False
        attempt.transaction = self.layer.request(request, destination, owner=attempt, now=now)

    def _stamp(self, request: Request, destination: Destination) -> None:
        """Write the fields that depend on the way the request takes: Via, Contact, and who we are."""
        announced = self.routes.announced(destination)
        host = bracketed(announced.host)
        request.set_via(f"SIP/2.0/{destination.transport.upper()} {host}:{announced.port};branch={new_branch()};rport")
        if request.method == "INVITE":
            request.headers.replace("Contact", self._contact(announced, request.from_))
            request.headers.replace("Allow", ALLOW)
        if request.method != "ACK":
            request.headers.replace("User-Agent", self.config.server_name)

    def _contact(self, announced: Announced, party: NameAddr) -> str:
        user = party.uri.user if isinstance(party.uri, SipUri) else None
        at = f"{user}@" if user else ""
        transport = "" if announced.transport == "udp" else f";transport={announced.transport}"
        return f"<sip:{at}{bracketed(announced.host)}:{announced.port}{transport}>"

    def cancel(self, attempt: Attempt, headers: Extra, now: float) -> None:
        """Send a CANCEL after the INVITE, on its very way (§9.1)."""
        transaction = attempt.transaction
        if transaction is None:
            return
        request = make_cancel(transaction.request)
        for name, value in headers:
            request.headers.add(name, value)
        try:
            self.layer.request(request, transaction.destination, owner=None, now=now)
        except LimitExceeded:
            self.counters.inc("sip.dropped", reason="transactions_full")

    def send_ack(self, request: Request, destination: Destination) -> None:
        """Send an ACK to a 2xx; a repetition goes out unchanged."""
        if "Via" not in request.headers:
            self._stamp(request, destination)
        self.layer.send_ack(request, destination)

    def respond(
        self,
        transaction: ServerTransaction,
        code: int,
        *,
        reason: str | None = None,
        headers: Extra = (),
        body: bytes | None = None,
        now: float,
    ) -> Response:
        """Send a response in a transaction, with Contact, Allow and Server where they belong."""
        request = transaction.request
        response = make_response(request, code, reason, to_tag=transaction.to_tag)
        table = response.headers
        if request.method == "INVITE" and 100 < code < 300:
            announced = self.routes.announced(transaction.flow)
            table.add("Contact", self._contact(announced, request.to))
            table.add("Allow", ALLOW)
        for name, value in headers:
            table.add(name, value)
        if code > 100:
            table.add("Server", self.config.server_name)
        if body is not None:
            table.add("Content-Type", SDP)
            response.body = body
        self.layer.respond(transaction, response, now)
        return response

    def repeat(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a 2xx to an INVITE again; after its transaction ended nothing is sent any more."""
        if not transaction.terminated:
            self.layer.respond(transaction, response, now)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _run(self, now: float) -> None:
        """Give every event of the transaction layer to whom it belongs."""
        while (event := self.layer.poll_event()) is not None:
            if isinstance(event, RequestReceived):
                self._requests.handle(event.request, event.flow, now)
            elif isinstance(event, ResponseReceived):
                self._on_response(event, now)
            elif isinstance(event, AckReceived):
                self._on_ack(event, now)
            elif isinstance(event, CancelReceived):
                owner = event.transaction.owner
                if isinstance(owner, InviteMachine):
                    owner.handle_cancel(event.transaction, event.request, now)
                    self.touch(owner)
            else:
                self._on_failure(event, now)
        self._settle()

    def _settle(self) -> None:
        touched, self._touched = self._touched, set()
        for machine in touched:
            while (event := machine.poll_event()) is not None:
                self._events.append(SessionHappened(machine, event))
            if machine.over:
                self._machines.pop((machine.call_id, machine.local_tag), None)
            else:
                self._heap.schedule(machine)

    def _on_ack(self, event: AckReceived, now: float) -> None:
        machine = self.find_machine(event.request)
        if machine is None:
            self.counters.inc("sip.dropped", reason="ack_unmatched")
            return
        machine.handle_ack(event.request, event.flow, now)
        self.touch(machine)

    def _on_response(self, event: ResponseReceived, now: float) -> None:
        attempt = event.transaction.owner
        if not isinstance(attempt, Attempt):
            return
        response, machine = event.response, attempt.machine
        self.touch(machine)
        if response.code in (401, 407) and self._authenticate(attempt, response, now):
            return
        if response.code == 503 and attempt.remaining and not attempt.provisional and self._next_hop(attempt, now):
            return  # RFC 3263 §4.3: a 503 is a failure of the hop
        machine.handle_response(attempt, response, event.flow, now)

    def _authenticate(self, attempt: Attempt, response: Response, now: float) -> bool:
        """Repeat a request with credentials; False when we have none that could help."""
        credentials, request = attempt.credentials, attempt.request
        proxy = response.code == 407
        if credentials is None or attempt.challenges >= _MAX_CHALLENGES or attempt.machine.gave_up(attempt):
            return False
        challenge = choose_challenge(response.headers.all("Proxy-Authenticate" if proxy else "WWW-Authenticate"))
        name = "Proxy-Authorization" if proxy else "Authorization"
        if challenge is None or (name in request.headers and challenge.get("stale", "").lower() != "true"):
            return False  # the password was wrong
        attempt.challenges += 1
        value = answer_challenge(challenge, credentials, method=request.method, uri=request.uri_text)
        again = Request(request.method, request.uri_text, request.headers.copy(), request.body)
        again.headers.replace(name, value)
        if attempt.cseq is not None:
            attempt.cseq.local_cseq += 1
            number = attempt.cseq.local_cseq
        else:
            number = request.cseq[0] + 1
        again.headers.replace("CSeq", f"{number} {request.method}")
        destination = attempt.destination
        if destination is None:
            return False
        attempt.request = again
        try:
            self._transmit(attempt, destination, now)
        except LimitExceeded:
            return False
        return True

    def _next_hop(self, attempt: Attempt, now: float) -> bool:
        """Send an attempt by another way; False when there is none."""
        fallback = attempt.udp_fallback
        request = attempt.request
        attempt.request = Request(request.method, request.uri_text, request.headers.copy(), request.body)
        try:
            if fallback is not None:
                attempt.udp_fallback = None
                self._stamp(attempt.request, fallback)
                attempt.destination = fallback
                attempt.transaction = self.layer.request(attempt.request, fallback, owner=attempt, now=now)
            elif attempt.remaining:
                self._transmit(attempt, attempt.remaining.pop(0), now)
            else:
                return False
        except LimitExceeded:
            return False
        return True

    def _on_failure(self, event: TransactionFailed, now: float) -> None:
        attempt = event.transaction.owner
        if not isinstance(attempt, Attempt):
            return
        machine = attempt.machine
        self.touch(machine)
        if not attempt.provisional and not machine.gave_up(attempt) and self._next_hop(attempt, now):
            return
        machine.handle_failure(attempt, event.reason, now)
