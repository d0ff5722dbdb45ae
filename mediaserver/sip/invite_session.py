"""One INVITE session, ours or theirs, from the first message to the end of its dialog; sans-IO.

The tables stand in `session_states`; sending goes through the `Port` that the core offers.
"""

from __future__ import annotations

from mediaserver.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import Dialog
from mediaserver.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    EndedBy,
    Info,
    Rejected,
    ReofferNotSent,
    Returned,
    TextReceived,
)
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.message import Request, Response, reason_of
from mediaserver.sip.referrals import Referrals
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_base import IN_DIALOG, SDP, Extra, Port
from mediaserver.sip.session_states import (
    OfferInput,
    OfferState,
    SessionInput,
    SessionState,
)
from mediaserver.sip.text_message import text_attempt, text_of

__all__ = ["IN_DIALOG", "SDP", "Extra", "InviteMachine", "OfferState", "Port", "SessionState"]

_S, _I, _O, _J = SessionState, SessionInput, OfferState, OfferInput


class InviteMachine(Referrals):
    """One call. `handle_*`, `poll_event` and `poll_timeout` are for the core, the other methods for the owner."""

    def start(self, attempt: Attempt, body: bytes | None, now: float) -> None:
        """Send the INVITE. Raises LimitExceeded."""
        self._invite = attempt
        self._late_offer = body is None
        self._ring_until = now + self._port.config.limits.ringing_s
        self._send(attempt, now)

    def acknowledge(self, body: bytes, *, now: float) -> None:
        """Send the ACK with our answer after the peer's 2xx brought its offer."""
        if self._acknowledge_reoffer(body):
            return
        if self.direction != "outgoing":
            raise LocalProtocolError("there is nothing to acknowledge")
        self._step(_I.SEND_ACK)
        if self._invite is not None:
            self._send_ack(self._invite, self._established(), body)

    def accept(self, transaction: ServerTransaction, dialog: Dialog, offer: bytes | None, now: float) -> None:
        """Begin with their INVITE."""
        self._invite_transaction = transaction
        self.session_id.learn(transaction.request)
        self._learn(transaction.request)
        self.dialog = dialog
        self.first_offer = offer
        self._ring_until = now + self._port.config.limits.ringing_s

    def reject(self, code: int, reason: str | None, headers: Extra, *, now: float) -> None:
        """Send a final response of 300 or more."""
        if not 300 <= code < 700:
            raise LocalProtocolError("a refusal has a code from 300 to 699")
        transaction = self._pending_invite()
        self._step(_I.SEND_FAILURE)
        self._finish_offers(now)
        self._port.respond(transaction, code, reason=reason, headers=headers, body=None, now=now)
        self._tell_last(Ended("local", code=code, reason=reason or reason_of(code)))

    def hangup(self, cause: str | None, *, now: float) -> None:
        """End it in whatever state."""
        extra: Extra = (("Reason", cause),) if cause else ()
        state = self.state
        if state in (_S.INCOMING, _S.RINGING):
            self.reject(480, None, extra, now=now)
        elif state in (_S.CALLING, _S.EARLY):
            self._finish_offers(now)
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

    def send_info(self, content_type: str, body: bytes, *, now: float) -> None:
        """Send an INFO."""
        if self.state is not _S.CONFIRMED:
            raise LocalProtocolError(f"an INFO is not possible in state {self.state.name}")
        dialog = self._established()
        request = dialog.make_request("INFO")
        request.headers.add("Content-Type", content_type)
        request.body = body
        self._send(self._attempt(request, dialog), now)

    def identify(self, headers: Extra, party: NameAddr | None = None, *, now: float) -> bool:
        """Say from now on by these fields who is at our end, and by `party` in From where the peer knows such a change

        (RFC 4916); a standing call is told at once by UPDATE (RFC 3311). False where the peer knows no UPDATE: a re-INVITE
        of the owner's would tell it.
        """
        self._party = party or self._party
        same, self.identity = headers == self.identity, headers
        if self.state is not _S.CONFIRMED or not (self._rename() or (headers and not same)):
            return True
        if self._peer_updates:
            self._send_update(now)
        return self._peer_updates

    def _rename(self) -> bool:
        """Make who is at our end our From of the standing call; whether that is news for the peer."""
        dialog, party = self._established(), self._party
        before = NameAddr(dialog.local.uri, dialog.local.display_name)
        if party is None or not self._peer_knows_change or party == before:
            return False
        dialog.local = party.with_tag(dialog.local_tag)
        return True

    def send_text(self, text: str, *, now: float) -> None:
        """Send a text. Raises LimitExceeded beyond what may be sent."""
        if self.state is not _S.CONFIRMED:
            raise LocalProtocolError(f"a text is not possible in state {self.state.name}")
        if not self._texts_out.take(now):
            self._port.counters.inc("sip.dropped", reason="text_rate")
            raise LimitExceeded("too many texts in one call", limit="texts_per_s")
        credentials = self._invite.credentials if self._invite is not None else None
        self._port.send(text_attempt(self._established(), text, credentials), now)

    def handle_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        """A response to a request of ours. Provisional ones and repeated 2xx come too."""
        if response.code >= 200:
            self._pending.discard(attempt)
        self.session_id.learn(response)
        if attempt is self._invite:
            self._handle_invite_response(attempt, response, flow, now)
        elif attempt.method == "INVITE":
            self._handle_reinvite_response(attempt, response, flow, now)
        elif attempt.method == "UPDATE":
            self._handle_update_response(attempt, response, now)
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
            self._finish_offers(now)
            self._step(_I.RECEIVE_FAILURE)
            self._cancel_give_up_at = None
            if not cancelled:
                self._tell_last(_rejected(response))

    def _handle_success(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        tag = response.to.tag or ""
        known = self._acks.get((tag, response.cseq[0]))
        if known is not None:
            self._port.send_ack(*known)  # the 2xx was repeated: our ACK was lost
            return
        if self.state is _S.ANSWERED and self.dialog is not None and self.dialog.remote_tag == tag:
            return  # repeated while the owner makes its answer
        dialog = self._new_dialog(attempt, response, flow)
        early = self._early.get(tag)
        if early is not None:  # its numbers go on, its route set is that of the 2xx (§13.2.2.4)
            dialog.local_cseq, dialog.remote_cseq = early.local_cseq, early.remote_cseq
        if not self._can(_I.RECEIVE_SUCCESS) or self.state is _S.CANCELLING:
            # Another branch answered too, or the 2xx crossed our CANCEL: acknowledge and hang up (§9.1, §13.2.2.4).
            if self.state is _S.CANCELLING:
                self._step(_I.RECEIVE_SUCCESS)
                self._cancel_give_up_at = None
            self._send_ack(attempt, dialog, None)
            self._send_bye(dialog, self._cancel_cause, now)
            return
        asked = self._reinvite_transaction
        if asked is not None and asked.request.from_.tag != tag:
            self._finish_offers(now)  # another branch has the call
        self._step(_I.RECEIVE_SUCCESS)
        self.dialog = dialog
        self.remote_party = response.to
        self._early.clear()
        self._learn(response)
        self._session_timer.on_success(response, now)
        if not self._late_offer:
            self._step(_I.SEND_ACK)
            self._send_ack(attempt, dialog, None)
        self._hear_identity(response)
        self._tell(Answered(response.body or None, branch=tag))

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
                self._finish_offers(now)
                self._step(_I.RECEIVE_FAILURE)
                self._cancel_give_up_at = None
                if not cancelled:
                    self._tell_last(Rejected(code, reason_of(code)))
        elif reason != "timeout" and self.is_stranded:
            self._not_sent(attempt, now)
        elif attempt.method in ("INVITE", "INFO", "UPDATE"):
            self._lost(by, code, now)

    def return_by(self, flow: Flow) -> None:
        """The peer's device is back on another connection."""
        if self.dialog is not None:
            self.dialog.flow, self.is_stranded = flow, False
            self._tell(Returned())

    def _not_sent(self, attempt: Attempt, now: float) -> None:
        """§12.2.1.2 ends a dialog for 408 and 481 alone: whose phone has lost its connection may come back."""
        if attempt is self._reinvite and self.offer_state is _O.SENT:
            self._offer_step(_J.RECEIVE_FAILURE)
            self._reinvite = None
            self._tell(ReofferNotSent())
        elif attempt.method == "UPDATE":
            self._session_timer.put_off(now)

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
            self._finish_offers(now)
            self._step(_I.RECEIVE_CANCEL)
            self._port.respond(transaction, 487, reason=None, headers=(), body=None, now=now)
            self._tell_last(Cancelled(cause))

    def handle_ack(self, request: Request, flow: Flow, now: float) -> None:
        """An ACK in our dialog."""
        reply = self._reply
        if reply is None or request.cseq[0] != reply.cseq:
            return  # repeated, or of another transaction
        self._reply = None
        if self.dialog is not None and not self.is_elsewhere(flow):
            self.dialog.flow = flow  # an ACK cannot be challenged: it moves nobody
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
                # RFC 4916 §4.3: somebody else than was called has answered.
                if self._rename() and self._peer_updates:
                    self._send_update(now)

    def handle_request(self, transaction: ServerTransaction, flow: Flow, body: bytes | None, now: float) -> None:
        """A request in our dialog; it gets its response here (an INVITE later, by the owner). `body` is its SDP."""
        request = transaction.request
        dialog = self.dialog or (self._early.get(request.from_.tag or "") if request.method == "UPDATE" else None)
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
            self._port.counters.inc("sip.dropped", reason="cseq_backwards")
            self._port.notice("cseq_backwards", flow.remote_ip, now)
            self._respond(transaction, error.status or 500, now)
            return
        dialog.flow = flow
        self.session_id.learn(request)  # another UUID than before: somebody else has taken the place (RFC 7989 §6)
        if request.method in ("INVITE", "UPDATE"):
            self._hear_identity(request)
        if request.method == "BYE":
            self._handle_bye(transaction, now)
        elif request.method == "INVITE":
            self._handle_reinvite(transaction, dialog, flow, body, now)
        elif request.method == "UPDATE":
            self._handle_update(transaction, dialog, flow, body, now)
        elif request.method == "REFER":
            self._handle_refer(transaction, now)
        elif request.method == "PRACK":
            self._handle_prack(transaction, body, now)
        elif request.method == "MESSAGE":
            self._handle_text(transaction, now)
        elif request.method == "INFO":
            if "Info-Package" in request.headers:
                # RFC 6086 §4.2.2: we have said Recv-Info for none.
                self._respond(transaction, 469, now, reason="Bad Info Package", headers=(("Recv-Info", ""),))
                return
            self._respond(transaction, 200, now)
            self._tell(Info(request.content_type or "", request.body))
        else:
            self._respond(transaction, 200, now)

    def _handle_text(self, transaction: ServerTransaction, now: float) -> None:
        text = text_of(transaction.request)
        if not self._texts_in.take(now):
            self._port.counters.inc("sip.dropped", reason="text_rate")
            self._respond(transaction, 503, now, headers=(("Retry-After", "1"),))
            return
        self._respond(transaction, 200, now)
        if text:
            self._tell(TextReceived(text))

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

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        candidates = [at for at in (self._ring_until, self._cancel_give_up_at, self._glare_at) if at is not None]
        parts = (self._session_timer.poll_timeout(), self._reliable_sent.poll_timeout())
        candidates += [at for at in parts if at is not None]
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
        self._session_timeout(now)
        self._reliable_timeout(now)
        if self._glare_at is not None and now >= self._glare_at:
            self._retry_reinvite(now)
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
            self._finish_offers(now)
            self._tell_last(Rejected(408, "not answered in time"))
            self._step(_I.HANG_UP)
            if before is _S.EARLY or (self._invite is not None and self._invite.provisional):
                self._cancel(now)
        elif self.direction == "incoming" and self.state in (_S.INCOMING, _S.RINGING):
            self._finish_offers(now)
            self._step(_I.SEND_FAILURE)
            self._respond(self._pending_invite(), 480, now)
            self._tell_last(Ended("timeout", code=480, reason="not answered in time"))


def _rejected(response: Response) -> Rejected:
    headers = tuple((name, value) for name, value in response.headers if name not in ("Via", "Authorization"))
    return Rejected(response.code, response.reason, headers, response.headers.get("Warning"))
