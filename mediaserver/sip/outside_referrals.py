"""REFER outside of a call (RFC 3515): a user asks for a call to whom he names, and is told how it goes; sans-IO."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import dialog_of_request
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import parse_number
from mediaserver.sip.message import Request
from mediaserver.sip.referrals import is_silent, method_of, refer_to, sipfrag
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.standalone import Standalone
from mediaserver.sip.uri import OtherUri, SipUri

if TYPE_CHECKING:
    from mediaserver.sip.core import Core

_LONGEST_S: Final = 300
"""Of the subscription that a REFER makes; who wants more subscribes again."""
_SEPARATORS: Final = str.maketrans("", "", "-.()")
"""Of a telephone number, for the eye alone (RFC 3966 §5.1.1)."""


class OutsideReferral:
    """One that waits for its answer, or is under way."""

    __slots__ = ("called", "code", "dialog", "over", "silent", "transaction", "user")

    def __init__(self, transaction: ServerTransaction, flow: Flow, user: str, called: str) -> None:
        self.transaction = transaction
        self.dialog = dialog_of_request(transaction.request, flow, to_tag=transaction.to_tag)
        self.user = user
        """Who has proven to be the one who asks."""
        self.called = called
        """What he would dial."""
        self.silent = is_silent(transaction.request)
        self.code = 0
        """What he was told last; 0 before the answer."""
        self.over = False

    @property
    def key(self) -> tuple[str, str]:
        """Call-ID and our tag: how requests in the dialog find it."""
        return self.dialog.call_id, self.dialog.local_tag


class ReferralNotice(Standalone):
    """A NOTIFY under way."""

    def __init__(self, referral: OutsideReferral) -> None:
        super().__init__(referral.dialog.call_id)
        self.referral = referral


class OutsideReferrals:
    """All that are under way: one for each user, because each makes phones ring. Authentication stands before it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._by_user: dict[str, OutsideReferral] = {}
        self._by_dialog: dict[tuple[str, str], OutsideReferral] = {}
        """By Call-ID and our tag."""

    def __len__(self) -> int:
        return len(self._by_user)

    def begin(self, transaction: ServerTransaction, flow: Flow, user: str, called: str, now: float) -> None:
        """A user asks; the owner is told, or he is told to come again later (RFC 3261 §21.5.1)."""
        if user in self._by_user:
            self._core.counters.inc("sip.dropped", reason="referral_under_way")
            retry = str(1 + secrets.randbelow(10))
            self._core.respond(transaction, 500, headers=(("Retry-After", retry),), now=now)
            return
        referral = self._by_user[user] = OutsideReferral(transaction, flow, user, called)
        self._by_dialog[referral.key] = referral
        self._core.tell(referral)

    def answer(self, referral: OutsideReferral, code: int, now: float) -> None:
        """How it goes: a failure refuses what was not taken yet, anything else takes it; from 200 on it is over."""
        if referral.over:
            return
        first, referral.code = referral.code == 0, code
        if code >= 200:
            referral.over = True
            del self._by_user[referral.user], self._by_dialog[referral.key]
        if first and code >= 300:
            self._core.respond(referral.transaction, code, now=now)
            return
        if first:
            headers = (("Refer-Sub", "false"),) if referral.silent else ()
            self._core.respond(referral.transaction, 202, headers=headers, now=now)
        self._notify(referral, now, "noresource" if referral.over else None)

    def find(self, request: Request) -> OutsideReferral | None:
        """The one whose dialog a SUBSCRIBE names; None where there is none."""
        found = self._by_dialog.get((request.call_id, request.to.tag or ""))
        if found is None or found.silent or found.dialog.remote_tag != (request.from_.tag or ""):
            return None
        return found

    def refresh(self, transaction: ServerTransaction, referral: OutsideReferral, flow: Flow, now: float) -> None:
        """A SUBSCRIBE in its dialog: for longer, or no more (RFC 3515 §2.4.4). Raises ProtocolError."""
        request = transaction.request
        referral.dialog.check_order(request)
        if (request.headers.get("Event") or "").partition(";")[0].strip().lower() != "refer":
            raise RemoteProtocolError("another package in this dialog", status=489)
        wanted_s = parse_number(request.headers.get("Expires") or str(_LONGEST_S), "Expires", 2**32 - 1)
        given_s = min(wanted_s, _LONGEST_S)
        referral.dialog.refresh_target(request)
        referral.dialog.flow = flow
        self._core.respond(transaction, 200, headers=(("Expires", str(given_s)),), now=now)
        self._notify(referral, now, None if given_s else "timeout")
        referral.silent = referral.silent or not given_s

    def outcome(self, notice: ReferralNotice) -> None:
        """A NOTIFY has its answer, or none came: who does not want it gets no more (RFC 6665 §4.2.2)."""
        if not 200 <= notice.code < 300:
            notice.referral.silent = True

    def _notify(self, referral: OutsideReferral, now: float, end: str | None) -> None:
        if referral.silent:
            return
        dialog = referral.dialog
        notify = dialog.make_request("NOTIFY")
        notify.headers.add("Event", "refer")
        notify.headers.add("Subscription-State", f"terminated;reason={end}" if end else f"active;expires={_LONGEST_S}")
        sipfrag(notify, referral.code or 100)
        attempt = Attempt(ReferralNotice(referral), notify, dialog.destinations(), credentials=None, cseq=dialog)
        try:
            self._core.send(attempt, now)
        except LimitExceeded:
            referral.silent = True  # counted by the layer; the call goes on


def called_by(request: Request) -> tuple[str, SipUri | None]:
    """What a REFER outside of a call wants to be called, as somebody would dial it, and its address where it has one.

    Raises SipParseError, and RemoteProtocolError (603) for one that wants anything but a call of its own.
    """
    uri = refer_to(request).uri
    if "Target-Dialog" in request.headers:
        raise RemoteProtocolError("a call is referred inside of it", status=603)  # RFC 4538
    if isinstance(uri, OtherUri):
        number = uri.text.partition(":")[2].partition(";")[0].translate(_SEPARATORS)
        if uri.scheme.lower() != "tel" or not number:
            raise RemoteProtocolError("a SIP address or a number", status=416)
        return number, None
    takes_over = any(name.lower() in ("replaces", "join") for name, _ in uri.headers)
    if method_of(uri) != "INVITE" or takes_over or not uri.user_text:
        raise RemoteProtocolError("a call, and nothing else", status=603)
    return uri.user_text, uri
