"""Decides what becomes of a request: refused, challenged, registered, handed to a session, or a new call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediaserver.errors import ProtocolError, RemoteProtocolError
from mediaserver.sip.body import accepts_sdp, session_description
from mediaserver.sip.capabilities import ACCEPT, accepted, capabilities, label_of, refusal_of
from mediaserver.sip.config import TrunkRule
from mediaserver.sip.credentials import UserDirectory
from mediaserver.sip.dialog import dialog_of_request
from mediaserver.sip.digest import Checked
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.event_packages import Package
from mediaserver.sip.flow import DEFAULT_PORTS, Flow
from mediaserver.sip.invite_session import Extra, InviteMachine
from mediaserver.sip.message import Request, make_response
from mediaserver.sip.notifier import ALLOW_EVENTS, package_of
from mediaserver.sip.outside_referrals import called_by
from mediaserver.sip.registrar import Registrar
from mediaserver.sip.removals import removal
from mediaserver.sip.request_gate import TAKE_TOKENS, RequestGate
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_timer import SessionTimer
from mediaserver.sip.text_message import text_of
from mediaserver.sip.transaction_layer import stamp_via
from mediaserver.sip.uri import SipUri

if TYPE_CHECKING:
    from mediaserver.sip.core import Core


@dataclass(frozen=True, slots=True)
class NewInvite:
    """A new call that passed every check; 100 has been sent."""

    machine: InviteMachine
    request: Request
    flow: Flow
    authenticated_user: str | None
    trunk: str | None


@dataclass(frozen=True, slots=True)
class NewText:
    """A text outside of dialogs that passed every check; `transaction` waits for its answer."""

    transaction: ServerTransaction
    text: str
    authenticated_user: str | None
    trunk: str | None


class RequestHandler(RequestGate):
    """The server side of the user agent."""

    def __init__(self, core: Core, users: UserDirectory) -> None:
        super().__init__(core, users)
        self._registrar = Registrar(config=core.config, location=core.location)

    # -- before the transaction layer --------------------------------------------------------------------------------

    def admit(self, request: Request, flow: Flow, now: float) -> None:
        """Check a request and give it to the transaction layer."""
        if self._guard.is_banned(flow.remote_ip, now) and self._trunk(flow) is None:
            self._core.counters.inc("sip.dropped", reason="banned")
            return
        try:
            request.check()
            if request.method in ("INVITE", "REGISTER"):
                request.contacts  # noqa: B018
        except SipParseError as error:
            self.refuse_malformed(error, request, flow, now)
            return
        if flow.transport == "tls" and request.via.param("alias") is not None:
            self._core.routes.alias(flow, request.via.port or DEFAULT_PORTS["tls"])
        self._core.counters.inc("sip.requests_received", method=label_of(request.method))
        self._core.layer.handle_message(request, flow, now)

    def refuse_malformed(self, error: SipParseError, request: Request | None, flow: Flow, now: float) -> None:
        """Answer a broken request where that is possible (RFC 3261 §8.2, §16.3), and count it."""
        self._core.counters.inc("sip.malformed", kind="request" if request is not None else "message")
        self._core.notice("malformed", flow.remote_ip, now)
        if request is None or request.method == "ACK" or not self._answerable(request):
            return
        if not self._allowed(flow, now):
            return
        try:
            stamp_via(request, flow)
        except SipParseError:
            # Nothing can be read from the Via, but the sender still knows it: back to where it came from.
            response = make_response(request, error.status or 400)
            self._core.layer.respond_statelessly(response, flow)
            return
        self._refuse(request, flow, error.status or 400, reason=None)

    def _answerable(self, request: Request) -> bool:
        return all(request.headers.get(name) is not None for name in ("Via", "From", "To", "Call-ID", "CSeq"))

    # -- requests without a transaction ------------------------------------------------------------------------------

    def handle(self, request: Request, flow: Flow, now: float) -> None:
        """A request that is new to the transaction layer."""
        try:
            if request.to.tag is not None:
                self._in_dialog(request, flow, now)
            else:
                self._outside(request, flow, now)
        except ProtocolError as error:
            self._refuse(request, flow, error.status or 400)

    def _in_dialog(self, request: Request, flow: Flow, now: float) -> None:
        if request.method == "SUBSCRIBE":
            self._resubscribe(request, flow, now)
            return
        machine = self._core.find_machine(request)
        if machine is None:
            if self._allowed(flow, now):
                self._refuse(request, flow, 481)
            return
        if machine.is_elsewhere(flow) and not self._proves_party(machine, request, flow, now):
            return
        body: bytes | None = None
        refusal = refusal_of(request)
        try:
            if refusal is None and request.method in ("INVITE", "PRACK", "UPDATE"):
                body = session_description(request)
            elif refusal is None and request.method == "MESSAGE":
                text_of(request)
        except SipParseError as error:
            refusal = error.status or 415, accepted(request.method) if error.status == 415 else ()
        transaction = self._open(request, flow)
        if transaction is None:
            return
        transaction.owner = machine
        if refusal is not None:
            self._core.respond(transaction, refusal[0], headers=refusal[1], now=now)
        elif request.method == "OPTIONS":
            self._core.respond(transaction, 200, headers=capabilities(), now=now)
        elif request.method == "REGISTER":
            self._core.respond(transaction, 403, now=now)
        else:
            if request.method == "INVITE":
                self._core.respond(transaction, 100, now=now)
            try:
                machine.handle_request(transaction, flow, body, now)
            except ProtocolError as error:
                self._core.respond(transaction, error.status or 400, now=now)
        self._core.touch(machine)

    def _outside(self, request: Request, flow: Flow, now: float) -> None:
        trunk = self._trunk(flow)
        credentials = bool(request.headers.get("Authorization") or request.headers.get("Proxy-Authorization"))
        # Requests that carry a password are bounded by the ban, trunks by the limits on transactions and sessions; a text
        # and a REFER cost others more than us, with a password or without.
        bounded = not credentials or request.method in TAKE_TOKENS
        if trunk is None and bounded and not self._allowed(flow, now):
            return
        if self._core.layer.is_merged(request):
            self._loops(request, flow, 482, now)
            return
        refusal = refusal_of(request)
        if refusal is not None:
            self._refuse(request, flow, refusal[0], headers=refusal[1])
            return
        uri = request.sip_uri  # 416 for another scheme
        if request.method == "OPTIONS":
            self._options(request, flow)
        elif request.method == "REGISTER":
            self._register(request, uri, flow, now)
        elif request.method == "INVITE":
            self._invite(request, uri, flow, trunk, now)
        elif request.method == "MESSAGE":
            self._message(request, uri, flow, trunk, now)
        elif request.method == "SUBSCRIBE":
            self._subscribe(request, uri, flow, trunk, now)
        elif request.method == "REFER" and self._core.aor(uri) in self._core.watched.conferences:
            self._refer_to_conference(request, uri, flow, now)
        elif request.method == "REFER":
            self._refer(request, uri, flow, trunk, now)
        else:
            self._refuse(request, flow, 481)  # BYE, INFO without a dialog

    # -- methods -----------------------------------------------------------------------------------------------------

    def _options(self, request: Request, flow: Flow) -> None:
        # §11.2: the status is what an INVITE would get, as far as it can be told without asking who it is.
        if self._core.draining:
            self._refuse(request, flow, 503, headers=self._busy())
        else:
            self._refuse(request, flow, 200, headers=capabilities())

    def _register(self, request: Request, uri: SipUri, flow: Flow, now: float) -> None:
        opened = self._open_proven(request, flow, now)
        if opened is None:
            return
        checked, transaction = opened
        core = self._core
        try:
            to = request.to.sip_uri
            if not self._is_ours(uri.host, uri.port) or not self._is_ours(to.host, to.port):
                raise RemoteProtocolError("not our domain", status=404)
            if not self._may_be(checked, to.user_text):
                raise RemoteProtocolError("not this user's address of record", status=403)
            done = self._registrar.register(request, core.aor(to), flow, now)
        except ProtocolError as error:
            code = error.status or 400
            headers: Extra = ()
            if code == 423:
                headers = (("Min-Expires", str(core.config.min_expires_s)),)
            core.respond(transaction, code, headers=headers, now=now)
            return
        core.respond(transaction, 200, headers=done.headers, now=now)
        core.counters.inc("sip.registrations")
        core.watch_location(now)
        core.follow(done.aor, flow)
        if done.changed:
            core.tell(done.aor)

    def _invite(self, request: Request, uri: SipUri, flow: Flow, trunk: TrunkRule | None, now: float) -> None:
        core = self._core
        if core.draining:
            self._refuse(request, flow, 503, headers=self._busy())
            return
        checked: Checked | None = None
        if trunk is None:
            checked = self._authenticate(request, flow, now)
            if checked is None:
                return
            proven = checked.credential.trunk if checked.credential is not None else None
            trunk = core.trunks.named(proven) if proven is not None else None
        if trunk is None and checked is not None:
            caller = request.from_.uri
            if not isinstance(caller, SipUri) or not self._may_be(checked, caller.user_text):
                self._refuse(request, flow, 403)
                return
            if not self._is_ours(uri.host, uri.port):
                self._refuse(request, flow, 404)
                return
        if request.max_forwards == 0:
            # RFC 7332 §4: a back-to-back user agent passes calls on, so the count ends here too.
            self._loops(request, flow, 483, now)
            return
        if core.sessions >= core.config.limits.sessions:
            core.counters.inc("sip.dropped", reason="sessions_full")
            self._refuse(request, flow, 503, headers=self._busy())
            return
        if not accepts_sdp(request):
            self._refuse(request, flow, 406)
            return
        try:
            offer = session_description(request)
        except SipParseError as error:
            self._refuse(request, flow, error.status or 415, headers=ACCEPT)
            return
        timer = SessionTimer(wanted_s=core.config.session_expires_s, least_s=core.config.min_se_s)
        if timer.too_small(request):
            self._refuse(request, flow, 422, headers=(("Min-SE", str(timer.least_s)),))
            return
        transaction = core.layer.open(request, flow)
        if transaction is None:
            self._refuse(request, flow, 503, headers=self._busy())
            return
        try:
            dialog = dialog_of_request(request, flow, to_tag=transaction.to_tag)
        except ProtocolError as error:
            core.respond(transaction, error.status or 400, now=now)
            return
        machine = InviteMachine(
            core, direction="incoming", call_id=request.call_id, local=dialog.local, remote=dialog.remote
        )
        machine.accept(transaction, dialog, offer, now)
        transaction.owner = machine
        core.respond(transaction, 100, now=now)
        core.add_machine(machine)
        core.touch(machine)
        username = checked.username if checked is not None and trunk is None else None
        if username is not None:
            machine.aor = core.aor(f"{username}@{core.config.realm}")
        core.tell(NewInvite(machine, request, flow, username, trunk.name if trunk is not None else None))

    def _message(self, request: Request, uri: SipUri, flow: Flow, trunk: TrunkRule | None, now: float) -> None:
        checked = self._authenticate(request, flow, now) if trunk is None else None
        if trunk is None and checked is None:
            return
        caller = request.from_.uri
        if checked is not None and not (isinstance(caller, SipUri) and self._may_be(checked, caller.user_text)):
            self._refuse(request, flow, 403)
            return
        if not self._is_ours(uri.host, uri.port):
            self._refuse(request, flow, 404)
            return
        try:
            text = text_of(request)
        except SipParseError as error:
            headers = accepted(request.method) if error.status == 415 else ()
            self._refuse(request, flow, error.status or 400, headers=headers)
            return
        transaction = self._open(request, flow)
        if transaction is not None:
            user = checked.username if checked is not None else None
            self._core.tell(NewText(transaction, text, user, trunk.name if trunk is not None else None))

    def _subscribe(self, request: Request, uri: SipUri, flow: Flow, trunk: TrunkRule | None, now: float) -> None:
        opened = self._open_watcher(request, uri, flow, trunk, now)
        if opened is None:
            return
        subscriber, of_trunk, transaction = opened
        core = self._core
        try:
            watched = uri.user_text
            package = package_of(request)
            if of_trunk and package != "conference":
                # Trunks have no users whose business it is.
                raise RemoteProtocolError("trunks watch nobody", status=403)
            if not self._is_ours(uri.host, uri.port) or watched is None:
                raise RemoteProtocolError("not our domain", status=404)
            self._check_watched(package, watched, core.aor(uri), subscriber)
            core.notifier.subscribe(transaction, aor=core.aor(uri), subscriber=subscriber, flow=flow, now=now)
        except ProtocolError as error:
            self._refuse_subscription(transaction, error, now)

    def _refer_to_conference(self, request: Request, uri: SipUri, flow: Flow, now: float) -> None:
        """By one of its users, who wants somebody out."""
        opened = self._open_proven(request, flow, now)
        if opened is None:
            return
        checked, transaction = opened
        try:
            self._check_watched("conference", uri.user_text or "", self._core.aor(uri), checked.username or "")
            event = removal(transaction, flow, uri.user_text or "", checked.username or "")
        except ProtocolError as error:
            self._core.respond(transaction, error.status or 400, now=now)
        else:
            self._core.tell(event)

    def _refer(self, request: Request, uri: SipUri, flow: Flow, trunk: TrunkRule | None, now: float) -> None:
        """By a user, who wants to be called and connected; calls are referred inside of them."""
        core = self._core
        if trunk is not None or core.draining:
            # An address proves a trunk, and may be forged: nobody's phones ring for that, and no number is called.
            self._refuse(request, flow, 403 if trunk is not None else 503, headers=() if trunk else self._busy())
            return
        opened = self._open_proven(request, flow, now)
        if opened is None:
            return
        checked, transaction = opened
        try:
            caller = request.from_.uri
            if not isinstance(caller, SipUri) or not self._may_be(checked, caller.user_text):
                raise RemoteProtocolError("for users of the house", status=403)
            called, target = called_by(request)
            if not all(self._is_ours(each.host, each.port) for each in (uri, target or uri)):
                raise RemoteProtocolError("not our domain", status=404)
            if uri.user is not None and not self._may_be(checked, uri.user_text):
                raise RemoteProtocolError("the phones of somebody else", status=403)
            core.referrals.begin(transaction, flow, checked.username or "", called, now)
        except ProtocolError as error:
            core.respond(transaction, error.status or 400, now=now)

    def _check_watched(self, package: Package, watched: str, aor: str, subscriber: str) -> None:
        """Raises RemoteProtocolError where there is nothing of this name, or it is not for this user."""
        if package == "conference":
            conference = self._core.watched.conferences.get(aor)
            if conference is None:
                raise RemoteProtocolError("no such conference", status=404)
            if subscriber not in conference.watchers:
                # RFC 4575 §7: who is in a conference is for those who are.
                raise RemoteProtocolError("for those who are in it", status=403)
            return
        known = self._users.lookup(watched, self._core.config.realm)
        if known is None or known.trunk is not None:
            raise RemoteProtocolError("no such user", status=404)

    def _resubscribe(self, request: Request, flow: Flow, now: float) -> None:
        subscription = self._core.notifier.find(request)
        referral = self._core.referrals.find(request) if subscription is None else None
        if subscription is None and referral is None:
            if self._allowed(flow, now):
                self._refuse(request, flow, 481)
            return
        if (transaction := self._open(request, flow)) is None:
            return
        try:
            if subscription is not None:
                self._core.notifier.refresh(transaction, subscription, flow, now)
            elif referral is not None:
                self._core.referrals.refresh(transaction, referral, flow, now)
        except ProtocolError as error:
            self._refuse_subscription(transaction, error, now)

    def _refuse_subscription(self, transaction: ServerTransaction, error: ProtocolError, now: float) -> None:
        core, code = self._core, error.status or 400
        headers: Extra = {
            423: (("Min-Expires", str(core.config.min_expires_s)),),
            489: (("Allow-Events", ALLOW_EVENTS),),
            503: self._busy(),
        }.get(code, ())
        core.respond(transaction, code, headers=headers, now=now)
