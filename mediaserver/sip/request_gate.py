"""Whom a request is from and whether he may ask at all: rates, bans, challenges, and answers without state."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from mediaserver.sip.conference_info import trunk_watcher
from mediaserver.sip.config import TrunkRule
from mediaserver.sip.credentials import UserDirectory
from mediaserver.sip.digest import Checked, DigestServer, Verdict
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow
from mediaserver.sip.guard import SourceGuard, prefix_of
from mediaserver.sip.invite_session import Extra, InviteMachine
from mediaserver.sip.message import Request, make_response
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.transaction_layer import response_destination
from mediaserver.sip.uri import SipUri

if TYPE_CHECKING:
    from mediaserver.sip.core import Core


TAKE_TOKENS: Final = frozenset({"MESSAGE", "REFER"})
"""Outside of dialogs these are bounded for each source, whoever it is."""


class RequestGate:
    """The part of the server side that knows nothing of methods. Strangers are answered without state, at a bounded

    rate, or not at all.
    """

    def __init__(self, core: Core, users: UserDirectory) -> None:
        config = core.config
        self._core = core
        self._users = users
        self._digest = DigestServer(realm=config.realm, lifetime_s=config.nonce_lifetime_s)
        self._guard = SourceGuard(config.limits)
        self._tag_key = secrets.token_bytes(16)

    def _allowed(self, flow: Flow, now: float) -> bool:
        if self._guard.is_banned(flow.remote_ip, now):
            self._core.counters.inc("sip.dropped", reason="banned")
            return False
        if self._trunk(flow) is None and not self._guard.allow(flow.remote_ip, now):
            self._core.counters.inc("sip.dropped", reason="source_rate")
            self._core.notice("too_many_requests", flow.remote_ip, now)
            return False
        return True

    # -- answers without state ---------------------------------------------------------------------------------------

    def _tag(self, request: Request) -> str:
        # The same request gets the same tag, without keeping it (§8.2.7).
        text = f"{request.headers.get('Call-ID')}|{request.headers.get('Via')}"
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._tag_key, digest_size=8).hexdigest()

    def _refuse(
        self, request: Request, flow: Flow, code: int, *, reason: str | None = None, headers: Extra = ()
    ) -> None:
        try:
            tag = self._tag(request) if request.to.tag is None else None
        except SipParseError:
            tag = None
        response = make_response(request, code, reason, to_tag=tag, headers=headers)
        response.headers.add("Server", self._core.config.server_name)
        self._core.layer.respond_statelessly(response, response_destination(request, flow)[0])

    def _loops(self, request: Request, flow: Flow, code: int, now: float) -> None:
        """A request that comes round: by two ways at once, or for the seventieth time."""
        self._core.counters.inc("sip.dropped", reason="loop")
        self._core.notice("loop", flow.remote_ip, now)
        self._refuse(request, flow, code)

    def _busy(self) -> Extra:
        return (("Retry-After", str(self._core.config.retry_after_s)),)

    def _open(self, request: Request, flow: Flow) -> ServerTransaction | None:
        transaction = self._core.layer.open(request, flow)
        if transaction is None:
            self._refuse(request, flow, 503, headers=self._busy())
        return transaction

    # -- who is it ---------------------------------------------------------------------------------------------------

    def _trunk(self, flow: Flow) -> TrunkRule | None:
        core = self._core
        owner = core.kept.trunk_of(flow)
        if owner is not None:
            return core.trunks.named(owner)  # who we registered with, over the flow that we opened
        names = core.routes.certificate_names(flow) if flow.transport == "tls" else ()
        return core.trunks.of(flow, names)

    def _is_ours(self, host: str, port: int | None) -> bool:
        return host.lower() in self._core.config.domains or self._core.routes.is_local(host, port)

    def _open_proven(self, request: Request, flow: Flow, now: float) -> tuple[Checked, ServerTransaction] | None:
        """Whose request it is, and its transaction; None when it was challenged or refused."""
        checked = self._authenticate(request, flow, now)
        transaction = self._open(request, flow) if checked is not None else None
        return None if checked is None or transaction is None else (checked, transaction)

    def _open_watcher(
        self, request: Request, uri: SipUri, flow: Flow, trunk: TrunkRule | None, now: float
    ) -> tuple[str, bool, ServerTransaction] | None:
        """Who subscribes, whether that is a trunk, and the transaction; None when it was challenged or refused."""
        watcher = trunk_watcher(trunk.name) if trunk is not None else None
        conference = self._core.watched.conferences.get(self._core.aor(uri))
        if watcher is not None and conference is not None and watcher in conference.watchers:
            # A call manager asks by the way that its calls come by, and need prove no more than they do.
            transaction = self._open(request, flow)
            return (watcher, True, transaction) if transaction is not None else None
        opened = self._open_proven(request, flow, now)
        if opened is None:
            return None
        checked, transaction = opened
        name = checked.credential.trunk if checked.credential is not None else None
        return (trunk_watcher(name) if name is not None else checked.username or "", name is not None, transaction)

    def _authenticate(self, request: Request, flow: Flow, now: float) -> Checked | None:
        """Whose request it is; None when it was challenged."""
        proven = self._by_certificate(flow)
        if proven is not None:
            return proven
        values = request.headers.all("Authorization") + request.headers.all("Proxy-Authorization")
        source = prefix_of(flow.remote_ip)
        checked = self._digest.check(
            values, method=request.method, uri=request.uri_text, users=self._users, source=source, now=now
        )
        if checked.verdict is Verdict.OK:
            return checked
        self._core.counters.inc("sip.challenges", verdict=checked.verdict.name.lower())
        if checked.verdict is Verdict.WRONG and self._guard.failed(flow.remote_ip, now):
            self._core.counters.inc("sip.bans")
            self._core.notice("banned", flow.remote_ip, now)
            return None
        if checked.verdict is Verdict.REPLAYED:
            self._core.notice("nonce_replayed", flow.remote_ip, now)
        # Such a request and one without credentials have taken their token before.
        if values and request.method not in TAKE_TOKENS and not self._allowed(flow, now):
            return None
        stale = checked.verdict in (Verdict.STALE, Verdict.REPLAYED)
        config = self._core.config
        agent = request.headers.get("User-Agent") or ""
        # Of the SIP clients in browsers, JsSIP and SIP.js know MD5 alone, and the page may name them as it likes.
        simple = "MD5" in config.digest_algorithms and (flow.is_websocket or agent.startswith(config.md5_only_agents))
        algorithms = ("MD5",) if simple else config.digest_algorithms
        values = self._digest.challenges(now, source=source, stale=stale, algorithms=algorithms)
        challenges = tuple(("WWW-Authenticate", value) for value in values)
        self._refuse(request, flow, 401, headers=challenges)
        return None

    def _by_certificate(self, flow: Flow) -> Checked | None:
        """The user whom the verified certificate of the connection names (RFC 5922 §7.1, as for users).

        By what the configuration says of a name in it, else by a SIP URI of a user of ours.
        """
        if flow.transport != "tls":
            return None
        config = self._core.config
        for name in self._core.routes.certificate_names(flow):
            user, at, host = name.rpartition("@")
            if (mapped := config.certificate_users.get(name)) is not None:
                user = mapped
            elif not at or not self._is_ours(host, None):
                continue
            credential = self._users.lookup(user, config.realm)
            if credential is not None and credential.trunk is None:
                return Checked(Verdict.OK, user, credential)
        return None

    def _may_be(self, checked: Checked, user: str | None) -> bool:
        if checked.credential is None or user is None or checked.credential.trunk is not None:
            return False
        return user == checked.username or user in checked.credential.identities

    def _proves_party(self, machine: InviteMachine, request: Request, flow: Flow, now: float) -> bool:
        """Whether a request in the dialog of a user's phone, from where that was never heard, is of that user.

        Who has overheard the tags could send BYE or a re-INVITE (RFC 3261 §26.1.4); a phone that has moved knows the
        password. Challenged or refused here where it is not.
        """
        self._core.counters.inc("sip.dropped", reason="dialog_from_elsewhere")
        self._core.notice("dialog_from_elsewhere", flow.remote_ip, now)
        credentials = request.headers.get("Authorization") or request.headers.get("Proxy-Authorization")
        if not credentials and not self._allowed(flow, now):
            return False
        checked = self._authenticate(request, flow, now)
        if checked is None:
            return False
        user = (machine.aor or "").rpartition("@")[0]
        if self._may_be(checked, user):
            return True
        self._refuse(request, flow, 403)
        return False
