"""Re-INVITEs in both directions: glare, late offers, refusals, lost dialogs (RFC 3261 §14); sans-IO."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Final

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import Dialog, shows_nat
from mediaserver.sip.events import (
    Ended,
    EndedBy,
    ReofferAnswered,
    Reoffered,
    ReofferRejected,
)
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Response, reason_of
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_base import IN_DIALOG, SDP, Extra, Reply, SessionBase
from mediaserver.sip.session_states import (
    OfferInput,
    OfferState,
    SessionInput,
    SessionState,
)

_MAX_GLARES: Final = 5
_S, _I, _O, _J = SessionState, SessionInput, OfferState, OfferInput


class Reinvites(SessionBase, ABC):
    """The part of a session that begins when the call stands."""

    @property
    def may_reoffer(self) -> bool:
        """The call stands and no re-INVITE is under way."""
        return self.state is _S.CONFIRMED and self.offer_state is _O.IDLE

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
        for name, value in (("Supported", IN_DIALOG), *self._session_timer.request_headers(), *self.identity):
            request.headers.add(name, value)
        if body is not None:
            request.headers.add("Content-Type", SDP)
            request.body = body
        self._reinvite = self._attempt(request, dialog)
        try:
            self._send(self._reinvite, now)
        except LimitExceeded:
            self._offer_step(_J.RECEIVE_FAILURE)
            raise

    def _acknowledge_reoffer(self, body: bytes) -> bool:
        """Send the ACK that carries our answer to the offer in their 2xx; False when none is owed."""
        if self.offer_state is not _O.UNACKNOWLEDGED or self._reinvite is None:
            return False
        self._offer_step(_J.SEND_ACK)
        self._send_ack(self._reinvite, self._established(), body)
        self._reinvite = None
        return True

    def answer_reoffer(self, body: bytes | None, *, now: float) -> None:
        """Send 200 to their re-INVITE."""
        transaction = self._reinvite_transaction
        update = transaction is not None and transaction.request.method != "INVITE"
        self._offer_step(_J.ACCEPT_UPDATE if update else _J.ACCEPT)
        if transaction is not None:
            standing = self.state is _S.CONFIRMED and transaction.request.method != "PRACK"
            headers = self._session_timer.accept(transaction.request, now) if standing else ()
            response = self._port.respond(transaction, 200, reason=None, headers=headers, body=body, now=now)
            if not update:
                self._reply = Reply(transaction, response, self._port, now)
        if self.state is not _S.CONFIRMED:
            self._changed_early = True
            self._answer_now(now)

    def reject_reoffer(self, code: int, headers: Extra, *, now: float) -> None:
        """Refuse their re-INVITE."""
        if not 300 <= code < 700:
            raise LocalProtocolError("a refusal has a code from 300 to 699")
        transaction = self._reinvite_transaction
        self._offer_step(_J.REFUSE)
        if transaction is not None:
            self._port.respond(transaction, code, reason=None, headers=headers, body=None, now=now)
        self._answer_now(now)

    @abstractmethod
    def _answer_now(self, now: float) -> None:
        """Send the 200 that waited for what is done now."""

    def _finish_offers(self, now: float) -> None:
        if self.offer_state is _O.ASKED and self._reinvite_transaction is not None:
            # RFC 3261 §15.1.2 for an INVITE; what an UPDATE or PRACK asked for has no dialog any more.
            code = 487 if self._reinvite_transaction.request.method == "INVITE" else 481
            self._port.respond(self._reinvite_transaction, code, reason=None, headers=(), body=None, now=now)
        if self.offer_state is _O.UNACKNOWLEDGED and self._reinvite is not None:
            self._send_ack(self._reinvite, self._established(), None)
        self.offer_state = _O.IDLE
        self._glare_at = None
        self._reply = None

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
            self._session_timer.on_success(response, now)
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
        if code == 422 and self._session_timer.on_too_small(response):
            self._offer_step(_J.SEND)
            self._send_reinvite(attempt.request.body or None, now)
            return
        if code in (408, 481):
            self._lost("remote", code, now)  # §12.2.1.2
        else:
            self._tell(ReofferRejected(code))

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
        if self._session_timer.too_small(transaction.request):
            self._respond(transaction, 422, now, headers=(("Min-SE", str(self._session_timer.least_s)),))
            return
        dialog.refresh_target(transaction.request)
        dialog.behind_nat = shows_nat(transaction.request, flow)
        self._take_offer(transaction)
        self._tell(Reoffered(body))

    def _take_offer(self, transaction: ServerTransaction) -> None:
        if self.offer_state is _O.GLARE:
            # Theirs came first: what we wanted to offer is stale now, the owner offers again if it still wants to.
            self._glare_at = None
            self._reinvite = None
            self._tell(ReofferRejected(491))
        self._offer_step(_J.RECEIVE)
        self._reinvite_transaction = transaction

    def _retry_reinvite(self, now: float) -> None:
        """The wait after a 491 is over."""
        self._glare_at = None
        old = self._reinvite
        self._offer_step(_J.RETRY)
        try:
            self._send_reinvite(old.request.body or None if old is not None else None, now)
        except LimitExceeded:
            self._tell(ReofferRejected(503))

    def _lost(self, by: EndedBy, code: int, now: float) -> None:
        if not self._can(_I.LOST):
            return
        dialog = self._established()
        self._finish_offers(now)
        self._step(_I.LOST)
        if code != 481:
            self._send_bye(dialog, (), now)
        self._tell_last(Ended(by, code=code, reason=reason_of(code)))
