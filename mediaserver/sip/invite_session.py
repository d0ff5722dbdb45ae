"""One INVITE session, ours or theirs, from the first message to the end of its dialog; sans-IO.

The tables stand in `session_states`; sending goes through the `Port` that the core offers.
"""

from __future__ import annotations

import secrets
import uuid
from collections import deque
from typing import Final, Literal, Protocol

from mediaserver.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.config import SipConfig
from mediaserver.sip.dialog import Dialog, dialog_of_response
from mediaserver.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    EndedBy,
    Info,
    Progress,
    Rejected,
    ReofferAnswered,
    Reoffered,
    ReofferRejected,
    SessionEvent,
)
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.message import Request, Response, reason_of
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_states import (
    OFFER_TRANSITIONS,
    SESSION_TRANSITIONS,
    OfferInput,
    OfferState,
    SessionInput,
    SessionState,
)
from mediaserver.sip.uri import SipUri

__all__ = ["InviteMachine", "OfferState", "Port", "SessionState"]

Extra = tuple[tuple[str, str], ...]
SDP: Final = "application/sdp"
_MAX_GLARES: Final = 5
_S, _I, _O, _J = SessionState, SessionInput, OfferState, OfferInput


class Port(Protocol):
    """What a session needs from the core."""

    config: SipConfig

    def send(self, attempt: Attempt, now: float) -> None:
        """Send a request of ours; responses come to `handle_response`. Raises LimitExceeded."""

    def cancel(self, attempt: Attempt, headers: Extra, now: float) -> None:
        """Send a CANCEL for an INVITE of ours that is under way."""

    def send_ack(self, request: Request, destination: Destination) -> None:
        """Send an ACK to a 2xx; the first call gives it its Via."""

    def respond(
        self,
        transaction: ServerTransaction,
        code: int,
        *,
        reason: str | None,
        headers: Extra,
        body: bytes | None,
        now: float,
    ) -> Response:
        """Send a response with our Contact where it belongs."""

    def repeat(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a 2xx again."""


class _Reply:
    """A 2xx of ours that is repeated until its ACK comes (§13.3.1.4)."""

    __slots__ = ("cseq", "give_up_at", "interval", "next_at", "response", "transaction")

    def __init__(self, transaction: ServerTransaction, response: Response, port: Port, now: float) -> None:
        timers = port.config.timers
        self.transaction = transaction
        self.response = response
        self.cseq = response.cseq[0]
        self.interval = timers.t1
        self.next_at = now + timers.t1
        self.give_up_at = now + timers.t64


class InviteMachine:
    """One call. `handle_*`, `poll_event` and `poll_timeout` are for the core, the other methods for the owner."""

    def __init__(
        self, port: Port, *, direction: Literal["incoming", "outgoing"], call_id: str, local: NameAddr, remote: NameAddr
    ) -> None:
        self.id = uuid.uuid4().hex
        self.direction: Literal["incoming", "outgoing"] = direction
        self.call_id = call_id
        self.local_party = local
        self.remote_party = remote
        self.first_offer: bytes | None = None
        self.state = _S.CALLING if direction == "outgoing" else _S.INCOMING
        self.offer_state = _O.IDLE
        self.dialog: Dialog | None = None
        self.armed_at: float | None = None
        self._port = port
        self._events: deque[SessionEvent] = deque()
        self._told = False  # a final event was emitted
        self._ring_until: float | None = None
        # outgoing
        self._invite: Attempt | None = None
        self._early: dict[str, Dialog] = {}
        self._acks: dict[tuple[str, int], tuple[Request, Destination]] = {}
        self._cancel_sent = False
        self._cancel_cause: Extra = ()
        self._cancel_give_up_at: float | None = None
        self._late_offer = False
        # incoming
        self._invite_transaction: ServerTransaction | None = None
        self._reply: _Reply | None = None
        # re-INVITEs
        self._reinvite: Attempt | None = None
        self._reinvite_transaction: ServerTransaction | None = None
        self._glare_at: float | None = None
        self._glares = 0
        self._pending: set[Attempt] = set()
        self._bye_after_ack: Extra | None = None

    # -- what the owner sees ----------------------------------------------------------------------------------------

    @property
    def flow(self) -> Flow | None:
        """The flow on which the peer was last heard."""
        return self.dialog.flow if self.dialog is not None else None

    @property
    def remote_target(self) -> SipUri | None:
        """The peer's Contact."""
        return self.dialog.remote_target if self.dialog is not None else None

    @property
    def local_tag(self) -> str:
        """Our tag: how requests in the dialog find this session."""
        return self.local_party.tag or ""

    @property
    def over(self) -> bool:
        """True when nothing more is to be sent or expected."""
        return self.state is _S.ENDED and not self._pending and self._reply is None

    # -- tables -----------------------------------------------------------------------------------------------------

    def _step(self, what: SessionInput) -> None:
        state = SESSION_TRANSITIONS.get((self.state, what))
        if state is None:
            raise LocalProtocolError(f"{what.name} is not possible in state {self.state.name}")
        self.state = state
        if state not in (_S.CALLING, _S.EARLY, _S.INCOMING, _S.RINGING):
            self._ring_until = None

    def _can(self, what: SessionInput) -> bool:
        return (self.state, what) in SESSION_TRANSITIONS

    def _offer_step(self, what: OfferInput) -> None:
        state = OFFER_TRANSITIONS.get((self.offer_state, what))
        if state is None:
            raise LocalProtocolError(f"{what.name} is not possible in offer state {self.offer_state.name}")
        self.offer_state = state

    def _tell(self, event: SessionEvent) -> None:
        if not self._told:
            self._events.append(event)

    def _tell_last(self, event: Rejected | Cancelled | Ended) -> None:
        if not self._told:
            self._events.append(event)
            self._told = True

    # -- outgoing: owner's calls ------------------------------------------------------------------------------------

    def start(self, attempt: Attempt, body: bytes | None, now: float) -> None:
        """Send the INVITE. Raises LimitExceeded."""
        self._invite = attempt
        self._late_offer = body is None
        self._ring_until = now + self._port.config.limits.ringing_s
        self._send(attempt, now)

    def acknowledge(self, body: bytes, *, now: float) -> None:
        """Send the ACK with our answer after the peer's 2xx brought its offer."""
        if self.offer_state is _O.UNACKNOWLEDGED and self._reinvite is not None:
            self._offer_step(_J.SEND_ACK)
            self._send_ack(self._reinvite, self._established(), body)
            self._reinvite = None
        else:
            if self.direction != "outgoing":
                raise LocalProtocolError("there is nothing to acknowledge")
            self._step(_I.SEND_ACK)
            if self._invite is not None:
                self._send_ack(self._invite, self._established(), body)

    def _established(self) -> Dialog:
        if self.dialog is None:
            raise LocalProtocolError("there is no dialog yet")
        return self.dialog

    def _send(self, attempt: Attempt, now: float) -> None:
        self._pending.add(attempt)
        try:
            self._port.send(attempt, now)
        except LimitExceeded:
            self._pending.discard(attempt)
            raise

    def _send_ack(self, attempt: Attempt, dialog: Dialog, body: bytes | None) -> None:
        cseq = attempt.request.cseq[0]
        ack = dialog.make_request("ACK", cseq=cseq)
        for name in ("Authorization", "Proxy-Authorization"):
            value = attempt.request.headers.get(name)
            if value is not None:
                ack.headers.add(name, value)  # §13.2.2.4
        if body is not None:
            ack.headers.add("Content-Type", SDP)
            ack.body = body
        destination = dialog.destinations()[0]
        self._acks[(dialog.remote_tag, cseq)] = (ack, destination)
        while len(self._acks) > 8:
            del self._acks[next(iter(self._acks))]
        self._port.send_ack(ack, destination)

    # -- incoming: owner's calls ------------------------------------------------------------------------------------

    def accept(self, transaction: ServerTransaction, dialog: Dialog, offer: bytes | None, now: float) -> None:
        """Begin with their INVITE."""
        self._invite_transaction = transaction
        self.dialog = dialog
        self.first_offer = offer
        self._ring_until = now + self._port.config.limits.ringing_s

    def _pending_invite(self) -> ServerTransaction:
        if self._invite_transaction is None:
            raise LocalProtocolError("there is no INVITE to respond to")
        return self._invite_transaction

    def ring(self, code: int, body: bytes | None, headers: Extra, *, now: float) -> None:
        """Send a provisional response."""
        if not 100 < code < 200:
            raise LocalProtocolError("a provisional response has a code from 101 to 199")
        transaction = self._pending_invite()
        self._step(_I.SEND_PROVISIONAL)
        self._port.respond(transaction, code, reason=None, headers=headers, body=body, now=now)

    def answer(self, body: bytes | None, headers: Extra, *, now: float) -> None:
        """Send 200."""
        transaction = self._pending_invite()
        self._step(_I.SEND_SUCCESS)
        response = self._port.respond(transaction, 200, reason=None, headers=headers, body=body, now=now)
        self._reply = _Reply(transaction, response, self._port, now)

    def reject(self, code: int, reason: str | None, headers: Extra, *, now: float) -> None:
        """Send a final response of 300 or more."""
        if not 300 <= code < 700:
            raise LocalProtocolError("a refusal has a code from 300 to 699")
        transaction = self._pending_invite()
        self._step(_I.SEND_FAILURE)
        self._port.respond(transaction, code, reason=reason, headers=headers, body=None, now=now)
        self._tell_last(Ended("local", code=code, reason=reason or reason_of(code)))

    # -- both: owner's calls ----------------------------------------------------------------------------------------

    def hangup(self, cause: str | None, *, now: float) -> None:
        """End it in whatever state."""
        extra: Extra = (("Reason", cause),) if cause else ()
        state = self.state
        if state in (_S.INCOMING, _S.RINGING):
            self.reject(480, None, extra, now=now)
        elif state in (_S.CALLING, _S.EARLY):
            self._step(_I.HANG_UP)
            self._cancel_cause = extra
            # §9.1: a CANCEL must wait for the first provisional response.
            if state is _S.EARLY or (self._invite is not None and self._invite.provisional):
                self._cancel(now)
            self._tell_last(Ended("local", code=487, reason="cancelled", cause=cause))
        elif state is _S.ANSWERED and self.direction == "incoming":
            self._step(_I.HANG_UP)
            self._bye_after_ack = extra
            self._tell_last(Ended("local", cause=cause))
        elif state in (_S.ANSWERED, _S.CONFIRMED):
            if state is _S.ANSWERED and self._invite is not None:
                # The 2xx is acknowledged first; without an answer of ours there is no media, the BYE follows at once.
                self._step(_I.SEND_ACK)
                self._send_ack(self._invite, self._established(), None)
            self._finish_offers(now)
            self._step(_I.HANG_UP)
            self._send_bye(self._established(), extra, now)
            self._tell_last(Ended("local", cause=cause))

    def _cancel(self, now: float) -> None:
        if self._cancel_sent or self._invite is None:
            return
        self._cancel_sent = True
        self._cancel_give_up_at = now + self._port.config.timers.t64
        self._port.cancel(self._invite, self._cancel_cause, now)

    def _finish_offers(self, now: float) -> None:
        if self.offer_state is _O.ASKED and self._reinvite_transaction is not None:
            self._port.respond(self._reinvite_transaction, 487, reason=None, headers=(), body=None, now=now)
        if self.offer_state is _O.UNACKNOWLEDGED and self._reinvite is not None:
            self._send_ack(self._reinvite, self._established(), None)
        self.offer_state = _O.IDLE
        self._glare_at = None
        self._reply = None

    def _send_bye(self, dialog: Dialog, headers: Extra, now: float) -> None:
        request = dialog.make_request("BYE")
        for name, value in headers:
            request.headers.add(name, value)
        credentials = self._invite.credentials if self._invite is not None else None
        attempt = Attempt(self, request, dialog.destinations(), credentials=credentials, cseq=dialog)
        try:
            self._send(attempt, now)
        except LimitExceeded:
            return  # counted by the layer; the peer learns it from its own timers

    def reoffer(self, body: bytes | None, *, now: float) -> None:
        """Send a re-INVITE."""
        if self.state is not _S.CONFIRMED:
            raise LocalProtocolError(f"a re-INVITE is not possible in state {self.state.name}")
        self._offer_step(_J.SEND)
        self._glares = 0
        self._send_reinvite(body, now)

    def _send_reinvite(self, body: bytes | None, now: float) -> None:
        dialog = self._established()
        request = dialog.make_request("INVITE")
        if body is not None:
            request.headers.add("Content-Type", SDP)
            request.body = body
        credentials = self._invite.credentials if self._invite is not None else None
        self._reinvite = Attempt(self, request, dialog.destinations(), credentials=credentials, cseq=dialog)
        try:
            self._send(self._reinvite, now)
        except LimitExceeded:
            self._offer_step(_J.RECEIVE_FAILURE)
            raise

    def answer_reoffer(self, body: bytes | None, *, now: float) -> None:
        """Send 200 to their re-INVITE."""
        transaction = self._reinvite_transaction
        self._offer_step(_J.ACCEPT)
        if transaction is not None:
            response = self._port.respond(transaction, 200, reason=None, headers=(), body=body, now=now)
            self._reply = _Reply(transaction, response, self._port, now)

    def reject_reoffer(self, code: int, headers: Extra, *, now: float) -> None:
        """Refuse their re-INVITE."""
        if not 300 <= code < 700:
            raise LocalProtocolError("a refusal has a code from 300 to 699")
        transaction = self._reinvite_transaction
        self._offer_step(_J.REFUSE)
        if transaction is not None:
            self._port.respond(transaction, code, reason=None, headers=headers, body=None, now=now)

    def send_info(self, content_type: str, body: bytes, *, now: float) -> None:
        """Send an INFO."""
        if self.state is not _S.CONFIRMED:
            raise LocalProtocolError(f"an INFO is not possible in state {self.state.name}")
        dialog = self._established()
        request = dialog.make_request("INFO")
        request.headers.add("Content-Type", content_type)
        request.body = body
        credentials = self._invite.credentials if self._invite is not None else None
        self._send(Attempt(self, request, dialog.destinations(), credentials=credentials, cseq=dialog), now)

    # -- responses --------------------------------------------------------------------------------------------------

    def handle_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        """A response to a request of ours. Provisional ones and repeated 2xx come too."""
        if response.code >= 200:
            self._pending.discard(attempt)
        if attempt is self._invite:
            self._handle_invite_response(attempt, response, flow, now)
        elif attempt.method == "INVITE":
            self._handle_reinvite_response(attempt, response, flow, now)
        elif attempt.method == "INFO" and response.code in (408, 481):
            self._lost("remote", response.code, now)

    def _handle_invite_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        code = response.code
        if code < 200:
            self._handle_provisional(attempt, response, flow, now)
        elif code < 300:
            self._handle_success(attempt, response, flow, now)
        else:
            cancelled = self.state is _S.CANCELLING
            if not self._can(_I.RECEIVE_FAILURE):
                return
            self._step(_I.RECEIVE_FAILURE)
            self._cancel_give_up_at = None
            if not cancelled:
                self._tell_last(_rejected(response))

    def _handle_provisional(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        if not self._can(_I.RECEIVE_PROVISIONAL):
            return
        attempt.provisional = True
        if self.state is _S.CANCELLING:
            self._cancel(now)
            return
        if response.code == 100:
            return
        tag = response.to.tag or ""
        if tag and tag not in self._early and len(self._early) < self._port.config.limits.early_dialogs:
            self._early[tag] = self._new_dialog(attempt, response, flow)
        self._step(_I.RECEIVE_PROVISIONAL)
        self.remote_party = response.to
        self._tell(Progress(response.code, response.reason, response.body or None, branch=tag))

    def _new_dialog(self, attempt: Attempt, response: Response, flow: Flow | None) -> Dialog:
        via_flow = isinstance(attempt.destination, Flow)
        return dialog_of_response(attempt.request, response, flow, via_flow=via_flow)

    def _handle_success(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        tag = response.to.tag or ""
        known = self._acks.get((tag, response.cseq[0]))
        if known is not None:
            self._port.send_ack(*known)  # the 2xx was repeated: our ACK was lost
            return
        if self.state is _S.ANSWERED and self.dialog is not None and self.dialog.remote_tag == tag:
            return  # repeated while the owner makes its answer
        dialog = self._new_dialog(attempt, response, flow)
        if not self._can(_I.RECEIVE_SUCCESS) or self.state is _S.CANCELLING:
            # Another branch answered too, or the 2xx crossed our CANCEL: acknowledge and hang up (§9.1, §13.2.2.4).
            if self.state is _S.CANCELLING:
                self._step(_I.RECEIVE_SUCCESS)
                self._cancel_give_up_at = None
            self._send_ack(attempt, dialog, None)
            self._send_bye(dialog, self._cancel_cause, now)
            return
        self._step(_I.RECEIVE_SUCCESS)
        self.dialog = dialog
        self.remote_party = response.to
        self._early.clear()
        if not self._late_offer:
            self._step(_I.SEND_ACK)
            self._send_ack(attempt, dialog, None)
        self._tell(Answered(response.body or None))

    def _handle_reinvite_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        code, dialog = response.code, self._established()
        if code < 200:
            return
        if code < 300:
            known = self._acks.get((response.to.tag or "", response.cseq[0]))
            if known is not None:
                self._port.send_ack(*known)
                return
            if attempt is not self._reinvite or self.offer_state is not _O.SENT:
                if self.offer_state is not _O.UNACKNOWLEDGED:
                    self._send_ack(attempt, dialog, None)  # the session is over, the 2xx must still be acknowledged
                return
            dialog.refresh_target(response)
            if flow is not None:
                dialog.flow = flow
            if attempt.request.body:
                self._offer_step(_J.RECEIVE_SUCCESS)
                self._send_ack(attempt, dialog, None)
                self._reinvite = None
            else:
                self._offer_step(_J.RECEIVE_LATE_OFFER)
            self._tell(ReofferAnswered(response.body or None))
            return
        if attempt is not self._reinvite or self.offer_state is not _O.SENT:
            return
        if code == 491 and self._glares < _MAX_GLARES:
            self._glares += 1
            self._offer_step(_J.RECEIVE_GLARE)
            # §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s, in units of 10 ms.
            low, high = (210, 400) if self.direction == "outgoing" else (0, 200)
            self._glare_at = now + secrets.choice(range(low, high + 1)) / 100
            return
        self._offer_step(_J.RECEIVE_FAILURE)
        self._reinvite = None
        if code in (408, 481):
            self._lost("remote", code, now)  # §12.2.1.2
        else:
            self._tell(ReofferRejected(code))

    def gave_up(self, attempt: Attempt) -> bool:
        """True when this request is not worth another try: its call was cancelled or is over."""
        if attempt.method == "BYE":
            return False
        return self.state in (_S.CANCELLING, _S.ENDED)

    def handle_failure(self, attempt: Attempt, reason: str, now: float) -> None:
        """A request of ours got no final response (`timeout` or `transport`)."""
        self._pending.discard(attempt)
        by: EndedBy = "timeout" if reason == "timeout" else "error"
        # §8.1.3.1: a timeout counts as 408, a transport error as 503.
        code = 408 if reason == "timeout" else 503
        if attempt is self._invite:
            cancelled = self.state is _S.CANCELLING
            if self._can(_I.RECEIVE_FAILURE):
                self._step(_I.RECEIVE_FAILURE)
                self._cancel_give_up_at = None
                if not cancelled:
                    self._tell_last(Rejected(code, reason_of(code)))
        elif attempt.method in ("INVITE", "INFO"):
            self._lost(by, code, now)

    def _lost(self, by: EndedBy, code: int, now: float) -> None:
        if not self._can(_I.LOST):
            return
        dialog = self._established()
        self._finish_offers(now)
        self._step(_I.LOST)
        if code != 481:
            self._send_bye(dialog, (), now)
        self._tell_last(Ended(by, code=code, reason=reason_of(code)))

    # -- requests ---------------------------------------------------------------------------------------------------

    def owns(self, request: Request) -> bool:
        """True when the request's From tag is that of our dialog (or of an early branch of our call)."""
        tag = request.from_.tag or ""
        return (self.dialog is not None and self.dialog.remote_tag == tag) or tag in self._early

    def handle_cancel(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Their CANCEL for an INVITE that is ours to answer (§9.2)."""
        cause = request.headers.get("Reason")
        if transaction is self._reinvite_transaction and self.offer_state is _O.ASKED:
            self._offer_step(_J.REFUSE)
            self._port.respond(transaction, 487, reason=None, headers=(), body=None, now=now)
        elif transaction is self._invite_transaction and self._can(_I.RECEIVE_CANCEL):
            self._step(_I.RECEIVE_CANCEL)
            self._port.respond(transaction, 487, reason=None, headers=(), body=None, now=now)
            self._tell_last(Cancelled(cause))

    def handle_ack(self, request: Request, flow: Flow, now: float) -> None:
        """An ACK in our dialog."""
        reply = self._reply
        if reply is None or request.cseq[0] != reply.cseq:
            return  # repeated, or of another transaction
        self._reply = None
        if self.dialog is not None:
            self.dialog.flow = flow
        if self.offer_state is _O.REPLIED:
            self._offer_step(_J.RECEIVE_ACK)
            self._reinvite_transaction = None
            self._tell(Confirmed(request.body or None))
        elif self._can(_I.RECEIVE_ACK):
            self._step(_I.RECEIVE_ACK)
            if self.state is _S.ENDED:
                self._send_bye(self._established(), self._bye_after_ack or (), now)
            else:
                self._tell(Confirmed(request.body or None))

    def handle_request(self, transaction: ServerTransaction, flow: Flow, body: bytes | None, now: float) -> None:
        """A request in our dialog; it gets its response here (an INVITE later, by the owner). `body` is its SDP."""
        request = transaction.request
        dialog = self.dialog
        if dialog is None and request.method == "BYE" and self.direction == "outgoing":
            # §15: only the callee may not; a BYE on an early branch ends that branch, the INVITE's own final follows.
            self._early.pop(request.from_.tag or "", None)
            self._respond(transaction, 200, now)
            return
        if dialog is None or self.state is _S.ENDED:
            self._respond(transaction, 481, now)
            return
        try:
            dialog.check_order(request)
        except RemoteProtocolError as error:
            self._respond(transaction, error.status or 500, now)
            return
        if request.method == "BYE":
            self._handle_bye(transaction, now)
        elif request.method == "INVITE":
            self._handle_reinvite(transaction, dialog, flow, body, now)
        elif request.method == "INFO":
            if "Info-Package" in request.headers:
                # RFC 6086 §4.2.2: we have said Recv-Info for none.
                self._respond(transaction, 469, now, reason="Bad Info Package", headers=(("Recv-Info", ""),))
                return
            self._respond(transaction, 200, now)
            self._tell(Info(request.content_type or "", request.body))
        else:
            self._respond(transaction, 200, now)

    def _respond(
        self,
        transaction: ServerTransaction,
        code: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Extra = (),
    ) -> None:
        self._port.respond(transaction, code, reason=reason, headers=headers, body=None, now=now)

    def _handle_bye(self, transaction: ServerTransaction, now: float) -> None:
        self._respond(transaction, 200, now)
        if not self._can(_I.RECEIVE_BYE):
            return
        before = self.state
        if before in (_S.INCOMING, _S.RINGING):
            self._respond(self._pending_invite(), 487, now)  # §15.1.2
        self._finish_offers(now)
        self._step(_I.RECEIVE_BYE)
        cause = transaction.request.headers.get("Reason")
        self._tell_last(Ended("remote", reason="BYE", cause=cause))

    def _handle_reinvite(
        self, transaction: ServerTransaction, dialog: Dialog, flow: Flow, body: bytes | None, now: float
    ) -> None:
        if self.state in (_S.INCOMING, _S.RINGING) or self.offer_state is _O.ASKED:
            # §14.2: a second INVITE before the first has its final response.
            retry = str(secrets.randbelow(11))
            self._respond(transaction, 500, now, headers=(("Retry-After", retry),))
            return
        if self.state is not _S.CONFIRMED or self.offer_state not in (_O.IDLE, _O.GLARE):
            self._respond(transaction, 491, now)
            return
        if self.offer_state is _O.GLARE:
            # Theirs came first: what we wanted to offer is stale now, the owner offers again if it still wants to.
            self._glare_at = None
            self._reinvite = None
            self._tell(ReofferRejected(491))
        dialog.refresh_target(transaction.request)
        dialog.flow = flow
        dialog.behind_nat = transaction.request.via.host != flow.remote_ip
        self._offer_step(_J.RECEIVE)
        self._reinvite_transaction = transaction
        self._tell(Reoffered(body))

    # -- time -------------------------------------------------------------------------------------------------------

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        candidates = [at for at in (self._ring_until, self._cancel_give_up_at, self._glare_at) if at is not None]
        if self._reply is not None:
            candidates.append(min(self._reply.next_at, self._reply.give_up_at))
        return min(candidates, default=None)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        reply = self._reply
        if reply is not None and now >= reply.give_up_at:
            self._no_ack(now)
        elif reply is not None and now >= reply.next_at:
            self._port.repeat(reply.transaction, reply.response, now)
            reply.interval = min(reply.interval * 2, self._port.config.timers.t2)
            reply.next_at = now + reply.interval
        if self._glare_at is not None and now >= self._glare_at:
            self._glare_at = None
            old = self._reinvite
            self._offer_step(_J.RETRY)
            try:
                self._send_reinvite(old.request.body or None if old is not None else None, now)
            except LimitExceeded:
                self._tell(ReofferRejected(503))
        if self._cancel_give_up_at is not None and now >= self._cancel_give_up_at:
            # §9.1: no final response 64*T1 after the CANCEL: take it as cancelled.
            self._cancel_give_up_at = None
            self._pending.clear()
            if self._can(_I.RECEIVE_FAILURE):
                self._step(_I.RECEIVE_FAILURE)
        if self._ring_until is not None and now >= self._ring_until:
            self._ring_until = None
            self._not_answered(now)

    def _no_ack(self, now: float) -> None:
        dialog = self._established()
        self._reply = None
        if self.offer_state is _O.REPLIED:
            self._offer_step(_J.RECEIVE_ACK)
        if self._can(_I.NO_ACK):
            self._step(_I.NO_ACK)
            self._send_bye(dialog, (), now)  # §13.3.1.4, §14.2
            self._tell_last(Ended("timeout", code=408, reason="no ACK"))

    def _not_answered(self, now: float) -> None:
        if self.direction == "outgoing" and self.state in (_S.CALLING, _S.EARLY):
            before = self.state
            self._tell_last(Rejected(408, "not answered in time"))
            self._step(_I.HANG_UP)
            if before is _S.EARLY or (self._invite is not None and self._invite.provisional):
                self._cancel(now)
        elif self.direction == "incoming" and self.state in (_S.INCOMING, _S.RINGING):
            self._step(_I.SEND_FAILURE)
            self._respond(self._pending_invite(), 480, now)
            self._tell_last(Ended("timeout", code=480, reason="not answered in time"))

    def poll_event(self) -> SessionEvent | None:
        """The next thing that the owner must know."""
        return self._events.popleft() if self._events else None


def _rejected(response: Response) -> Rejected:
    headers = tuple((name, value) for name, value in response.headers if name not in ("Via", "Authorization"))
    return Rejected(response.code, response.reason, headers, response.headers.get("Warning"))
