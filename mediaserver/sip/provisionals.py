"""What happens to an INVITE before its final response: ringing, early dialogs, and their acknowledgement; sans-IO."""

from __future__ import annotations

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import EarlyAnswered, Ended, Progress, Reoffered
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Message, Response
from mediaserver.sip.reliable import acknowledges, sequence_of, wants_reliable
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_base import Extra, Reply
from mediaserver.sip.session_states import OfferState, SessionInput, SessionState
from mediaserver.sip.updates import Updates

_S, _I, _O = SessionState, SessionInput, OfferState


class Provisionals(Updates):
    """The part of a session before the call stands."""

    def _learn(self, message: Message) -> None:
        """What the peer can do, by its INVITE or 2xx."""
        allowed = message.tokens("Allow")
        self._peer_updates = "UPDATE" in allowed
        self.peer_takes_info = "INFO" in allowed
        self._peer_knows_change = "from-change" in {token.lower() for token in message.tokens("Supported")}

    def _pending_invite(self) -> ServerTransaction:
        if self._invite_transaction is None:
            raise LocalProtocolError("there is no INVITE to respond to")
        return self._invite_transaction

    @property
    def may_offer_early(self) -> bool:
        """Whether a provisional response to their INVITE may hold our offer: the PRACK can answer it (RFC 3262 §5)."""
        invite = self._invite_transaction
        return self.first_offer is None and invite is not None and wants_reliable(invite.request, body=True)

    # -- ours ------------------------------------------------------------------------------------------------------

    def ring(self, code: int, body: bytes | None, headers: Extra, *, now: float) -> None:
        """Send a provisional response, acknowledged where the caller wants that (RFC 3262 §3)."""
        if not 100 < code < 200:
            raise LocalProtocolError("a provisional response has a code from 101 to 199")
        transaction = self._pending_invite()
        self._step(_I.SEND_PROVISIONAL)
        if not wants_reliable(transaction.request, body=body is not None):
            self._port.respond(transaction, code, reason=None, headers=headers, body=body, now=now)
        elif self._reliable_sent.response is not None:
            self._reliable_sent.waiting.append((code, body, headers))
        else:
            self._ring_reliably(code, body, headers, now)

    def _ring_reliably(self, code: int, body: bytes | None, headers: Extra, now: float) -> None:
        sent, timers = self._reliable_sent, self._port.config.timers
        sent.rseq += 1
        extra = (*headers, ("Require", "100rel"), ("RSeq", str(sent.rseq)))
        response = self._port.respond(self._pending_invite(), code, reason=None, headers=extra, body=body, now=now)
        sent.sent(response, t1=timers.t1, t64=timers.t64, now=now)

    def _handle_prack(self, transaction: ServerTransaction, body: bytes | None, now: float) -> None:
        request, sent = transaction.request, self._reliable_sent
        try:
            rack = acknowledges(request)
        except SipParseError:
            self._respond(transaction, 400, now)
            return
        invite, told = self._invite_transaction, sent.response
        if invite is None or not sent.acknowledged(rack, invite.request.cseq[0]):
            self._respond(transaction, 481, now)  # §3
            return
        if told is not None and told.body and self.first_offer is not None:
            self._agreed_early.add(request.from_.tag or "")
        if body is None:
            self._respond(transaction, 200, now)
        elif told is not None and told.body and self.first_offer is None and not self._agreed_early:
            self._agreed_early.add(request.from_.tag or "")
            self._changed_early = True  # our 200 has no offer any more
            self._respond(transaction, 200, now)
            self._tell(EarlyAnswered(body))
        elif self._agreed_early and self.offer_state is _O.IDLE and self.state is _S.RINGING:
            # RFC 3262 §5: a further offer, answered in the 200 to this PRACK.
            self._take_offer(transaction)
            self._tell(Reoffered(body))
        else:
            self._respond(transaction, 488, now)  # nothing was offered or answered that this could follow
        if self._answer_waits is not None:
            self._answer_now(now)
        elif sent.waiting and self.state is _S.RINGING:
            self._ring_reliably(*sent.waiting.popleft(), now)

    def _answer_now(self, now: float) -> None:
        """Send the 200 that waited for a PRACK, or for our answer to an offer in one."""
        if self._answer_waits is None or self.offer_state is _O.ASKED or self._reliable_sent.response is not None:
            return
        (answer, headers), self._answer_waits = self._answer_waits, None
        self._reliable_sent.waiting.clear()
        self.answer(answer, headers, now=now)

    def answer(self, body: bytes | None, headers: Extra, *, now: float) -> None:
        """Send 200; after the PRACK, where one is owed for a response with a body (RFC 3262 §3)."""
        transaction, pending = self._pending_invite(), self._reliable_sent.response
        if not self._can(_I.SEND_SUCCESS) or self._answer_waits is not None:
            raise LocalProtocolError(f"an answer is not possible in state {self.state.name}")
        if (pending is not None and pending.body) or self.offer_state is _O.ASKED:
            self._answer_waits = (body, headers)
            return
        if self._changed_early:
            body = None  # RFC 6337 §2.2: the first offer was answered in a 183, and others since
        self._step(_I.SEND_SUCCESS)
        self._reliable_sent.response = None
        timer = self._session_timer.accept(transaction.request, now)
        response = self._port.respond(transaction, 200, reason=None, headers=(*timer, *headers), body=body, now=now)
        self._reply = Reply(transaction, response, self._port, now)

    def _reliable_timeout(self, now: float) -> None:
        sent = self._reliable_sent
        if sent.response is None:
            return
        if self.state is not _S.RINGING:
            sent.response = None
        elif now >= sent.give_up_at:
            sent.response = None
            self._finish_offers(now)
            self._step(_I.SEND_FAILURE)
            self._respond(self._pending_invite(), 504, now)  # §3: 64*T1 without a PRACK
            self._tell_last(Ended("timeout", code=504, reason="no PRACK"))
        elif now >= sent.next_at:
            self._port.repeat(self._pending_invite(), sent.response, now)
            sent.repeated(now)

    # -- theirs ----------------------------------------------------------------------------------------------------

    def _handle_provisional(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        if not self._can(_I.RECEIVE_PROVISIONAL):
            return
        attempt.provisional = True
        if self.state is _S.CANCELLING:
            self._cancel(now)
            return
        if response.code == 100:
            return
        self._provisionals += 1
        if self._provisionals > self._port.config.limits.provisionals:
            self._port.counters.inc("sip.dropped", reason="provisionals_full")
            self._notice("endless_provisionals", flow, now)
            return
        tag = response.to.tag or ""
        if tag and tag not in self._early:
            if len(self._early) >= self._port.config.limits.early_dialogs:
                self._port.counters.inc("sip.dropped", reason="early_dialogs_full")
                self._notice("fork_storm", flow, now)
                return
            self._early[tag] = self._new_dialog(attempt, response, flow)
        try:
            rseq = sequence_of(response)
        except SipParseError:
            self._port.counters.inc("sip.malformed", kind="response")
            return
        if rseq is not None and not self._acknowledge_provisional(attempt, tag, rseq, now):
            return
        if rseq is not None and response.body and attempt.request.body:
            self._agreed_early.add(tag)
        self._step(_I.RECEIVE_PROVISIONAL)
        self.remote_party = response.to
        self._tell(
            Progress(response.code, response.reason, response.body or None, reliable=rseq is not None, branch=tag)
        )

    def _notice(self, kind: str, flow: Flow | None, now: float) -> None:
        if flow is not None:
            self._port.notice(kind, flow.remote_ip, now)

    def _acknowledge_provisional(self, attempt: Attempt, tag: str, rseq: int, now: float) -> bool:
        """Send PRACK (§4); False for a response that was seen already or comes before its turn."""
        dialog = self._early.get(tag)
        if dialog is None or not self._reliable_received.take(tag, rseq):
            return False
        number, method = attempt.request.cseq
        prack = dialog.make_request("PRACK")
        prack.headers.add("RAck", f"{rseq} {number} {method}")
        try:
            self._send(self._attempt(prack, dialog), now)
        except LimitExceeded:
            return True  # the peer repeats what it sent until it gives up
        return True

    def _cancel(self, now: float) -> None:
        if self._cancel_sent or self._invite is None:
            return
        self._cancel_sent = True
        self._cancel_give_up_at = now + self._port.config.timers.t64
        self._port.cancel(self._invite, self._cancel_cause, now)
