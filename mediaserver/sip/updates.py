"""UPDATE (RFC 3311) and the refreshes of the session timer (RFC 4028); sans-IO."""

from __future__ import annotations

import secrets

from mediaserver.errors import LimitExceeded
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import Dialog, shows_nat
from mediaserver.sip.events import Ended, RefreshDue, Reoffered
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Response
from mediaserver.sip.reinvites import Reinvites
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_base import IN_DIALOG, Extra
from mediaserver.sip.session_states import OfferInput, OfferState, SessionInput, SessionState

_S, _I, _O, _J = SessionState, SessionInput, OfferState, OfferInput


class Updates(Reinvites):
    """What a session does so that both sides know it is alive, and offers that need no ACK."""

    @property
    def timer_headers(self) -> Extra:
        """Fields of the INVITE that begins the call."""
        return self._session_timer.request_headers()

    def longer_interval(self, response: Response) -> Extra | None:
        """The same after a 422; None where another try would not help."""
        return self._session_timer.request_headers() if self._session_timer.on_too_small(response) else None

    def _handle_update(
        self, transaction: ServerTransaction, dialog: Dialog, flow: Flow, body: bytes | None, now: float
    ) -> None:
        """Their UPDATE in a dialog that stands or begins."""
        request = transaction.request
        if self._session_timer.too_small(request):
            self._respond(transaction, 422, now, headers=(("Min-SE", str(self._session_timer.least_s)),))
            return
        standing = self.state is _S.CONFIRMED and dialog is self.dialog
        if body is not None:
            agreed = standing or dialog.remote_tag in self._agreed_early
            # RFC 3311 §5.2: 491 while an offer of ours has no answer, 500 while one of theirs has none.
            if self.offer_state in (_O.SENT, _O.UNACKNOWLEDGED) or (not agreed and self._offered_first):
                self._respond(transaction, 491, now)
                return
            if not agreed or self.offer_state not in (_O.IDLE, _O.GLARE):
                retry = str(secrets.randbelow(11))
                self._respond(transaction, 500, now, headers=(("Retry-After", retry),))
                return
        dialog.refresh_target(request)
        dialog.behind_nat = shows_nat(request, flow)
        if body is None:
            headers = self._session_timer.accept(request, now) if standing else ()
            self._respond(transaction, 200, now, headers=headers)
            return
        self._take_offer(transaction)
        self._tell(Reoffered(body, branch=dialog.remote_tag if self.direction == "outgoing" else ""))

    @property
    def _offered_first(self) -> bool:
        """Whether the offer of the first exchange was ours: in our INVITE, or in an answer to theirs without one."""
        return not self._late_offer if self.direction == "outgoing" else self.first_offer is None

    def _refresh(self, now: float) -> None:
        """Half of the interval is over (§7.2): an UPDATE without a body, or a re-INVITE by the owner."""
        timer = self._session_timer
        if self.state is not _S.CONFIRMED:
            timer.put_off(now)
            return
        timer.put_off(now)  # until a response says more
        if not self._peer_updates:
            if self.may_reoffer:
                self._tell(RefreshDue())
            return
        self._send_update(now)

    def _send_update(self, now: float) -> None:
        """An UPDATE without a description: it refreshes the session, and says who is at our end."""
        dialog, timer = self._established(), self._session_timer
        request = dialog.make_request("UPDATE")
        for name, value in (*timer.request_headers(), *self.identity):
            request.headers.add(name, value)
        request.headers.add("Supported", IN_DIALOG)
        timer.refresh_at = None
        try:
            self._send(self._attempt(request, dialog), now)
        except LimitExceeded:
            timer.put_off(now)

    def _handle_update_response(self, attempt: Attempt, response: Response, now: float) -> None:
        code, timer = response.code, self._session_timer
        if code < 200 or self.state is not _S.CONFIRMED:
            return
        if code < 300:
            self._established().refresh_target(response)
            timer.on_success(response, now)
        elif code in (408, 481):
            self._lost("remote", code, now)
        elif code in (405, 501):
            self._peer_updates = False
            timer.refresh_at = now
        elif code == 422 and timer.on_too_small(response):
            timer.refresh_at = now
        else:
            timer.put_off(now)

    def _session_timeout(self, now: float) -> None:
        timer = self._session_timer
        if timer.expires_at is not None and now >= timer.expires_at:
            timer.stop()
            if self.state is _S.CONFIRMED:
                dialog = self._established()
                self._finish_offers(now)
                self._step(_I.LOST)
                self._send_bye(dialog, (("Reason", 'SIP;cause=408;text="Session expired"'),), now)
                self._tell_last(Ended("timeout", code=408, reason="session expired"))
        elif timer.refresh_at is not None and now >= timer.refresh_at:
            self._refresh(now)
