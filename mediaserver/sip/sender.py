"""Sends what sessions want to send: Via and Contact by the way it takes, next hops, passwords; sans-IO."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mediaserver.errors import LimitExceeded
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.capabilities import ALLOW, SUPPORTED_LINE
from mediaserver.sip.client_transaction import make_cancel
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.dead_targets import DeadTargets
from mediaserver.sip.digest import answer_challenge, choose_challenge
from mediaserver.sip.flow import WEBSOCKET, Destination, Flow, Target, Transport, bracketed
from mediaserver.sip.headers import Headers, NameAddr, Via
from mediaserver.sip.invite_session import SDP, Extra, InviteMachine
from mediaserver.sip.kept_flows import KeptFlows
from mediaserver.sip.message import (
    Request,
    Response,
    make_response,
    new_branch,
)
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.standalone import Standalone
from mediaserver.sip.transaction_layer import (
    ResponseReceived,
    TransactionFailed,
    TransactionLayer,
)
from mediaserver.sip.uri import Params, SipUri

_MAX_CHALLENGES: Final = 2
_SHOWS_CONTACT: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "REFER"})
"""Whose answers say where we are reached in the dialog (RFC 3261 §12.1.1, RFC 3515 §2.2)."""


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

    def certificate_names(self, flow: Flow) -> tuple[str, ...]:
        """Names in the verified certificate of whoever is at the other end of a TLS connection; empty without one."""
        ...

    def alias(self, flow: Flow, port: int) -> None:
        """The peer of this connection wants to be reached by it in place of one to its `port` (RFC 5923)."""


class Sender(ABC):
    """The `Port` of sessions, over the transaction layer."""

    def __init__(self, *, config: SipConfig, counters: Counters, routes: Routes) -> None:
        self.config = config
        self.counters = counters
        self.routes = routes
        self.layer = TransactionLayer(timers=config.timers, limit=config.limits.transactions, counters=counters)
        self.dead = DeadTargets()
        """Next hops that did not answer lately."""
        self.kept = KeptFlows(random.random)
        """Flows of ours that registrars know."""
        self._touched: set[InviteMachine | Standalone] = set()

    def send(self, attempt: Attempt, now: float) -> None:
        """Send a request of a session by the next of its hops. Raises LimitExceeded."""
        self._transmit(attempt, attempt.remaining.pop(0), now)
        self.touch(attempt.machine)

    def cancel(self, attempt: Attempt, headers: Extra, now: float) -> None:
        """Send a CANCEL after the INVITE, on its very way (§9.1)."""
        transaction = attempt.transaction
        if transaction is None:
            return
        request = make_cancel(transaction.request)
        self._name_session(request.headers, attempt.machine)
        for name, value in headers:
            request.headers.add(name, value)
        try:
            self.layer.request(request, transaction.destination, owner=None, now=now)
        except LimitExceeded:
            self.counters.inc("sip.dropped", reason="transactions_full")

    @abstractmethod
    def notice(self, kind: str, ip: str, now: float) -> None:
        """Somebody at this address does what nobody should."""

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
        if request.method in _SHOWS_CONTACT and 100 < code < 300:
            announced = self.routes.announced(transaction.flow)
            table.add("Contact", self._contact(announced, request.to, focus=_focus(transaction.owner)))
            table.add("Allow", ALLOW)
            if request.method == "INVITE" and code >= 200:
                table.add("Supported", SUPPORTED_LINE)  # RFC 4916 §4.3 wants from-change there
        for name, value in headers:
            table.add(name, value)
        owner = transaction.owner
        if isinstance(owner, InviteMachine) and request.method in ("INVITE", "UPDATE") and 100 < code < 300:
            for name, value in owner.identity:
                table.add(name, value)
        if code > 100:
            table.add("Server", self.config.server_name)
        self._name_session(table, transaction.owner)
        if body is not None:
            table.add("Content-Type", SDP)
            response.body = body
        self.layer.respond(transaction, response, now)
        return response

    def repeat(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a 2xx to an INVITE again; after its transaction ended nothing is sent any more."""
        if not transaction.terminated:
            self.layer.respond(transaction, response, now)

    def touch(self, machine: InviteMachine | Standalone) -> None:
        """Something was done to this session: its events and timers are looked at before the next output."""
        self._touched.add(machine)

    def on_response(self, event: ResponseReceived, now: float) -> None:
        """A response came to a request of a session."""
        attempt = event.transaction.owner
        if not isinstance(attempt, Attempt):
            return
        response, machine = event.response, attempt.machine
        self.touch(machine)
        self._heard(event.transaction.destination, response, now)
        if response.code in (401, 407) and self._authenticate(attempt, response, now):
            return
        if response.code == 422 and self._lengthen(attempt, response, now):
            return
        if response.code == 503 and attempt.remaining and not attempt.provisional and self._next_hop(attempt, now):
            return  # RFC 3263 §4.3: a 503 is a failure of the hop
        if response.code >= 200:
            attempt.transaction = None  # nothing is left to cancel, and it holds the attempt
        machine.handle_response(attempt, response, event.flow, now)

    def on_failure(self, event: TransactionFailed, now: float) -> None:
        """A request of a session got no final response."""
        attempt = event.transaction.owner
        if not isinstance(attempt, Attempt):
            return
        machine = attempt.machine
        self.touch(machine)
        destination = event.transaction.destination
        if isinstance(destination, Target) and not attempt.provisional:
            self._died(destination, event.reason, now)
        if not attempt.provisional and not machine.gave_up(attempt) and self._next_hop(attempt, now):
            return
        machine.handle_failure(attempt, event.reason, now)

    def _heard(self, destination: Destination, response: Response, now: float) -> None:
        """A next hop that answers lives; with 503 and Retry-After it asks to be left alone (RFC 3261 §21.5.4)."""
        if not isinstance(destination, Target):
            return
        rest_s = retry_after(response) if response.code == 503 else None
        if rest_s is not None:
            self._died(destination, "503", now, retry_after_s=rest_s)
        else:
            self.dead.answered(destination)

    def _died(self, target: Target, reason: str, now: float, *, retry_after_s: float | None = None) -> None:
        if self.dead.failed(target, reason, now, retry_after_s=retry_after_s):
            self.counters.inc("sip.targets_died", reason=reason)

    def _transmit(self, attempt: Attempt, destination: Destination, now: float) -> None:
        request = attempt.request
        self._name_session(request.headers, attempt.machine)
        uri = attempt.uris.get(destination)
        if uri is not None and uri != request.uri_text:
            request = attempt.request = Request(request.method, uri, request.headers, request.body)
        self._stamp(request, destination, attempt.contact_params, _focus(attempt.machine))
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
            self._stamp(request, destination, attempt.contact_params, _focus(attempt.machine))
        attempt.destination = destination
        attempt.provisional = False
        elsewhere = bool(attempt.remaining or attempt.udp_fallback)
        patience_s = self.config.limits.failover_s if elsewhere else attempt.patience_s
        attempt.transaction = self.layer.request(request, destination, owner=attempt, now=now, patience_s=patience_s)

    def _stamp(
        self, request: Request, destination: Destination, contact_params: str = "", focus: str | None = None
    ) -> None:
        """Write the fields that depend on the way the request takes: Via, Contact, and who we are."""
        announced = self.routes.announced(destination)
        params: Params = (("branch", new_branch()), ("rport", None))
        if announced.transport == "tls":
            params += (("alias", None),)  # RFC 5923 §4: what comes back may come by this connection
        request.set_via(Via(destination.transport, announced.host, announced.port, params))
        if request.method in ("INVITE", "UPDATE", "REGISTER", "NOTIFY"):
            party = request.to if request.method == "REGISTER" else request.from_
            # RFC 5626 §4.3: `ob` keeps the requests of the dialog on the flow that its first one takes.
            ob = request.method == "INVITE" and self.kept.is_outbound(destination)
            contact = self._contact(announced, party, ob=ob, focus=focus)
            request.headers.replace("Contact", contact + contact_params)
            request.headers.replace("Allow", ALLOW)
        if request.method != "ACK":
            request.headers.replace("User-Agent", self.config.server_name)

    def _name_session(self, headers: Headers, owner: object) -> None:
        """Session-ID belongs into every message of a call (RFC 7989 §6)."""
        if isinstance(owner, InviteMachine) and owner.session_id.known:
            headers.replace("Session-ID", str(owner.session_id))

    def _contact(self, announced: Announced, party: NameAddr, *, ob: bool = False, focus: str | None = None) -> str:
        user = focus or (party.uri.user if isinstance(party.uri, SipUri) else None)
        at = f"{user}@" if user else ""
        # RFC 7118 §5.2: the parameter is ws, encrypted or not.
        kind = "ws" if announced.transport in WEBSOCKET else announced.transport
        transport = "" if kind == "udp" else f";transport={kind}"
        return f"<sip:{at}{bracketed(announced.host)}:{announced.port}{transport}{';ob' if ob else ''}>" + (
            ";isfocus" if focus is not None else ""  # RFC 3840 §10, RFC 4579 §4
        )

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
        return self._again(attempt, ((name, value),), now)

    def _lengthen(self, attempt: Attempt, response: Response, now: float) -> bool:
        """Repeat the first INVITE with a longer session interval (RFC 4028 §7.4); False when that is not what it takes."""
        machine = attempt.machine
        if not isinstance(machine, InviteMachine) or attempt.cseq is not None or machine.gave_up(attempt):
            return False
        attempt.challenges += 1
        headers = machine.longer_interval(response) if attempt.challenges <= _MAX_CHALLENGES else None
        return headers is not None and self._again(attempt, headers, now)

    def _again(self, attempt: Attempt, headers: Extra, now: float) -> bool:
        """Send the request once more with other fields, as a new transaction."""
        request = attempt.request
        again = Request(request.method, request.uri_text, request.headers.copy(), request.body)
        for name, value in headers:
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
                self._stamp(attempt.request, fallback, attempt.contact_params, _focus(attempt.machine))
                attempt.destination = fallback
                attempt.transaction = self.layer.request(attempt.request, fallback, owner=attempt, now=now)
            elif attempt.remaining:
                self.counters.inc("sip.failovers")
                self._transmit(attempt, attempt.remaining.pop(0), now)
            else:
                return False
        except LimitExceeded:
            return False
        return True


def retry_after(response: Response) -> float | None:
    """Seconds of a Retry-After header (RFC 3261 §20.33); None without one, or with one that is broken."""
    text = (response.headers.get("Retry-After") or "").strip()
    digits = text.partition("(")[0].partition(";")[0].strip()
    return float(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else None


def _focus(owner: object) -> str | None:
    """User part of the conference URI, where the owner of a message is a focus to its peer."""
    return owner.focus if isinstance(owner, InviteMachine) else None
