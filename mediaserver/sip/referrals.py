"""REFER inside a call (RFC 3515): taken or refused by the owner, and its progress told by NOTIFY; sans-IO."""

from __future__ import annotations

import secrets
from typing import Final

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import Referred
from mediaserver.sip.headers import NameAddr, parse_name_addr
from mediaserver.sip.message import Request, reason_of
from mediaserver.sip.provisionals import Provisionals
from mediaserver.sip.replaces import replaces_of
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_states import SessionState
from mediaserver.sip.uri import SipUri

_S: Final = SessionState
_LONGEST_S: Final = 180


class Referral:
    """One transfer that the peer asked for."""

    __slots__ = ("accepted", "event", "silent", "transaction")

    def __init__(self, transaction: ServerTransaction, *, first: bool) -> None:
        request = transaction.request
        self.transaction = transaction
        self.accepted = False
        # §2.4.6: an id tells several apart; the first may go without, and some phones know it only so.
        self.event = "refer" if first else f"refer;id={request.cseq[0]}"
        self.silent = is_silent(request)


class Referrals(Provisionals):
    """The part of a session that moves it elsewhere. One transfer at a time; more are told to come again."""

    _referral: Referral | None = None
    _referred_before = False

    def _handle_refer(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        if self.state is not _S.CONFIRMED or self._referral is not None:
            self._port.counters.inc("sip.dropped", reason="referral_under_way")
            retry = str(1 + secrets.randbelow(10))
            self._respond(transaction, 500, now, headers=(("Retry-After", retry),))
            return
        try:
            target = refer_to(request)
            uri, replaces = target.sip_uri, replaces_of(target.sip_uri)
            by = request.headers.get("Referred-By")
            referred_by = parse_name_addr(by) if by is not None else None
        except SipParseError as error:
            self._respond(transaction, error.status or 400, now)
            return
        method = method_of(uri)
        # RFC 4579 §5.11: a focus is asked so to let somebody go.
        if method != "INVITE" and (method != "BYE" or self.focus is None or replaces is not None):
            self._respond(transaction, 603, now)
            return
        self._referral = Referral(transaction, first=not self._referred_before)
        self._referred_before = True
        self._tell(Referred(uri.without_headers(), replaces, referred_by, removes=method == "BYE"))

    def accept_referral(self, *, now: float) -> None:
        """Answer 202; what becomes of it is told by `notify_referral`."""
        referral = self._owed_referral(accepted=False)
        referral.accepted = True
        headers = (("Refer-Sub", "false"),) if referral.silent else ()
        self._respond(referral.transaction, 202, now, headers=headers)
        self.notify_referral(100, now=now)

    def reject_referral(self, code: int, *, now: float) -> None:
        """Refuse it; the call goes on."""
        referral, self._referral = self._owed_referral(accepted=False), None
        self._respond(referral.transaction, code, now)

    def notify_referral(self, code: int, *, now: float) -> None:
        """Tell how the new call is doing, by its status; from 200 on the transfer is over (§2.4.4)."""
        referral = self._owed_referral(accepted=True)
        if code >= 200:
            self._referral = None
        if referral.silent or self.state is not _S.CONFIRMED:
            return
        dialog = self._established()
        notify = dialog.make_request("NOTIFY")
        state = f"active;expires={_LONGEST_S}" if code < 200 else "terminated;reason=noresource"
        for name, value in (
            ("Event", referral.event),
            ("Subscription-State", state),
        ):
            notify.headers.add(name, value)
        sipfrag(notify, code)
        try:
            self._send(self._attempt(notify, dialog), now)
        except LimitExceeded:
            return  # counted by the layer; the peer sees the end of the call in its place

    def _owed_referral(self, *, accepted: bool) -> Referral:
        if self._referral is None or self._referral.accepted is not accepted:
            raise LocalProtocolError("there is no such transfer under way")
        return self._referral


def is_silent(request: Request) -> bool:
    """Whether whoever refers wants no NOTIFY (RFC 4488)."""
    return (request.headers.get("Refer-Sub") or "").strip().lower() == "false"


def method_of(target: SipUri) -> str:
    """What a referral asks to send."""
    return (target.param("method") or "INVITE").upper()


def sipfrag(notify: Request, code: int) -> None:
    """Say in a NOTIFY what a referral has come to (RFC 3515 §2.4.5)."""
    notify.headers.add("Content-Type", "message/sipfrag;version=2.0")
    notify.body = f"SIP/2.0 {code} {reason_of(code)}\r\n".encode()


def refer_to(request: Request) -> NameAddr:
    """The one target of a REFER. Raises SipParseError."""
    values = request.headers.all("Refer-To")
    if len(values) != 1:
        raise SipParseError("a REFER has exactly one Refer-To")
    return parse_name_addr(values[0])
