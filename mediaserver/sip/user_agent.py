"""The asyncio face of the SIP stack: sockets and one timer around the sans-IO core, sessions and bindings for the rest.

A message's way: transport -> parser -> core (transactions, registrar, dialogs) -> session events; and back down.
Everything runs on one event loop; no method may be called from another thread.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.runtime.driver import Driver
from mediaserver.sip.capture import Capture
from mediaserver.sip.certificates.standing import CertificateStanding
from mediaserver.sip.conference_info import ConferenceState
from mediaserver.sip.config import Counters, NullCounters, SipConfig, TrunkRule
from mediaserver.sip.core import Core, NewInvite, NewText, Noticed, RequestDone, SessionHappened
from mediaserver.sip.credentials import Credentials, StoredCredential, UserDirectory
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.dns_client import DnsClient
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.event_packages import UserState
from mediaserver.sip.events import FINAL_EVENTS
from mediaserver.sip.flow import Destination, Flow, Source, Target, Transport
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.incoming import IncomingInvite, IncomingReferral, IncomingRemoval, IncomingText
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.kept_flows import FlowNews, Keeping, News
from mediaserver.sip.location import Binding
from mediaserver.sip.message import Request, Response
from mediaserver.sip.outside_referrals import OutsideReferral
from mediaserver.sip.removals import NewRemoval
from mediaserver.sip.resolver import Resolver
from mediaserver.sip.session import InviteSession
from mediaserver.sip.standalone import OutsideRequest, Standalone
from mediaserver.sip.transaction_layer import Transmit
from mediaserver.sip.transport.edge_way import EdgeWay, Ends
from mediaserver.sip.transport.manager import Transports
from mediaserver.sip.transport.websocket import WebSocketConnection
from mediaserver.sip.uri import SipUri

_WAKES_PER_S: Final = 50.0
"""Many deadlines share a wake-up: nothing in SIP is so punctual that a few milliseconds matter."""
_log = structlog.get_logger("sip")

__all__ = [
    "Credentials",
    "IncomingInvite",
    "IncomingReferral",
    "IncomingRemoval",
    "IncomingText",
    "StoredCredential",
    "UserAgent",
    "UserDirectory",
]


OnText = Callable[[IncomingText], int]
"""Takes a text and returns the status to answer with: 200 when it has reached somebody."""
OnRemoval = Callable[[IncomingRemoval], int]
"""Removes somebody from a conference and returns the status of that."""
OnReferral = Callable[[IncomingReferral], Awaitable[None]]
"""Makes the call that a user asks for, and tells how it goes."""
OnInvite = Callable[[IncomingInvite], Awaitable[None]]
OnBindings = Callable[[str], None]
OnFlow = Callable[[News], None]


class UserAgent:
    """One SIP endpoint: registrar, caller and callee on all of its binds.

    Build it, set `on_invite`, `await start()`. `tls_server` is needed for tls binds, `tls_client` for calling by TLS;
    both may be replaced by `set_tls` at any time, connections that exist keep the context they began with. `capture` gets
    a copy of every message.
    """

    def __init__(
        self,
        *,
        config: SipConfig,
        users: UserDirectory,
        counters: Counters | None = None,
        tls_server: ssl.SSLContext | None = None,
        tls_client: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.config = config
        self.on_invite: OnInvite | None = None
        """Called in a task of its own for every new INVITE that may come in; without it they get 480."""
        self.on_text: OnText | None = None
        """Called for every text outside of dialogs; without it they get 404."""
        self.on_removal: OnRemoval | None = None
        """Called for every REFER to a conference, outside of its calls, that wants somebody out; without it they get 404."""
        self.on_referral: OnReferral | None = None
        """Called in a task of its own for every REFER of a user outside of calls; without it they get 603."""
        self.on_bindings_changed: OnBindings | None = None
        """Called with the AOR (`user@domain`) whose bindings changed."""
        self._counters: Counters = counters or NullCounters()
        self._resolver = resolver or Resolver(
            dns=DnsClient(counters=self._counters), transports=frozenset(bind.transport for bind in config.binds)
        )
        self._transports = Transports(
            config=config,
            counters=self._counters,
            resolver=self._resolver,
            tls_server=tls_server,
            tls_client=tls_client,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_keep_alive=self._on_keep_alive,
            on_failure=self._on_failure,
            on_closed=self._on_closed,
            is_held=lambda flow: self._core.holds(flow),
            capture=capture,
        )
        self._core = Core(config=config, users=users, counters=self._counters, routes=self._transports)
        self._driver = Driver(self._core, send=self._send, deliver=self._handle_event, wakes_per_s=_WAKES_PER_S)
        self._sessions: dict[str, InviteSession] = {}
        self._requests: dict[Standalone, asyncio.Future[None]] = {}
        self._flows: dict[Flow, OnFlow] = {}
        """Who is told what becomes of a kept flow."""
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open every bind. Raises OSError when one cannot be opened (the others are closed again)."""
        self._driver.start()
        await self._transports.start()

    def drain(self) -> None:
        """Refuse new calls (503 with Retry-After, OPTIONS too); what is running goes on."""
        self._core.draining = True

    async def stop(self, deadline_s: float = 5.0) -> None:
        """Hang every session up, wait at most `deadline_s` for the BYEs to be answered, close the sockets."""
        self.drain()
        if self._driver.is_running:
            self._core.notifier.end_all(self._driver.now())
            self._driver.drain()
        for session in list(self._sessions.values()):
            session.hangup('SIP;cause=503;text="Shutting down"')
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while self._core.busy and loop.time() < end:  # noqa: ASYNC110 - milliseconds, or the deadline
            await asyncio.sleep(min(0.02, deadline_s))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        self._driver.close()
        await self._transports.stop()

    def set_tls(self, *, server: ssl.SSLContext | None, client: ssl.SSLContext | None) -> None:
        """Use these contexts for connections from now on (certificate reload)."""
        self._transports.set_tls(server=server, client=client)

    def use_edges(self, edges: EdgeWay) -> None:
        """Reach what is beyond the Edges by these."""
        self._transports.use_edges(edges)

    def use_certificates(self, standing: CertificateStanding) -> None:
        """Connections that show a certificate stay only as long as it holds."""
        self._transports.use_certificates(standing)
        standing.on_revoked = self._end_revoked

    def _end_revoked(self) -> None:
        """A certificate may hold no more: whoever showed it is hung up on, and sent away."""
        flows = set(self._transports.revoked_flows())
        for session in self.sessions:
            if session.flow in flows:
                session.hangup('SIP;cause=403;text="Certificate revoked"')
        for flow in flows:
            _log.warning("certificate_revoked", source=flow.remote_ip, transport=flow.transport)
            self._transports.end_revoked(flow)
            self._on_closed(flow, None)

    def certificate_of(self, flow: Flow) -> str | None:
        """Fingerprint (SHA-256) of the certificate that the peer of a connection has shown; None for none."""
        return self._transports.certificate_of(flow)

    def accept_stream(self, accepted: socket.socket, ends: Ends) -> None:
        """Take a connection for SIP over TLS that somebody else accepted, as one of ours; it is closed in any case."""
        self._transports.accept_stream(accepted, ends)

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        """What is open: transport, address, port (the real one where the config said 0)."""
        return self._transports.listening

    @property
    def draining(self) -> bool:
        """True after `drain()`."""
        return self._core.draining

    @property
    def subscriptions(self) -> int:
        """How many subscriptions to users' state there are."""
        return len(self._core.notifier)

    @property
    def sessions(self) -> tuple[InviteSession, ...]:
        """Sessions that are not over yet."""
        return tuple(self._sessions.values())

    # -- calls and registrations ------------------------------------------------------------------------------------

    async def invite(
        self,
        target: SipUri,
        *,
        from_: NameAddr,
        to: NameAddr | None = None,
        body: bytes | None,
        route_to: Target | Sequence[Target] | None = None,
        uris: Mapping[Destination, SipUri] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
        via_flow: Flow | None = None,
        max_forwards: int = 70,
        session_uuid: str | None = None,
        focus: str | None = None,
    ) -> InviteSession:
        """Call `target` and return at once; what becomes of it arrives in the session's events.

        `from_` without tag (one is made); `to` defaults to the target. `body` None asks the callee for an offer.
        `via_flow` (from a `Binding`) sends over that flow, `route_to` to that next hop or the first of several that
        answers, `uris` being their own Request-URIs; else the target is resolved (RFC 3263). `credentials` answer a
        401 or 407. `session_uuid` is whom we speak for (RFC 7989), else one is made; `focus` the user part of the conference
        URI that calls (RFC 4579). Raises LimitExceeded with too many
        sessions and LocalProtocolError when the target cannot be reached by any transport here.
        """
        destinations: list[Destination]
        aor: str | None = None
        if via_flow is not None:
            aor = self._core.aor_of(target, via_flow)
            destinations, headers, uris = self._core.way_to(target, via_flow, headers, self._driver.now())
        elif isinstance(route_to, Target):
            destinations = [route_to]
        elif route_to is not None:
            destinations = list(self._core.dead.ordered(route_to, self._driver.now()))
        else:
            destinations = list(await self.locate(target))
        if not destinations:
            raise LocalProtocolError(f"no address found for {target.host}")
        machine = self._core.invite(
            target,
            destinations=destinations,
            from_=from_,
            to=to or NameAddr(target),
            body=body,
            headers=tuple(headers),
            credentials=credentials,
            max_forwards=max_forwards,
            session_uuid=session_uuid,
            focus=focus,
            uris={destination: str(uri.without_headers()) for destination, uri in (uris or {}).items()},
            aor=aor,
            now=self._driver.now(),
        )
        session = self._wrap(machine)
        self._driver.drain()
        return session

    async def request(self, request: OutsideRequest, *, targets: Sequence[Target] = ()) -> Standalone:
        """Send a request outside every dialog and return with its outcome; `targets` default to where its URI leads.

        Raises LimitExceeded, and LocalProtocolError when no transport or no address leads there.
        """
        destinations: list[Destination] = [*(targets or await self.locate(request.uri))]
        if not destinations:
            raise LocalProtocolError(f"no address found for {request.uri.host}")
        standalone = self._core.request(request, destinations=destinations, now=self._driver.now())
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests[standalone] = done
        try:
            self._driver.drain()
            await done
        finally:
            self._requests.pop(standalone, None)
        return standalone

    async def locate(self, uri: SipUri) -> list[Target]:
        """Next hops of a URI (RFC 3263), those that answered lately before those that did not; empty without any."""
        return self._core.dead.ordered(await self._resolver.resolve(uri), self._driver.now())

    def adopt(
        self,
        *,
        trunks: Iterable[TrunkRule],
        domains: frozenset[str],
        certificate_users: Mapping[str, str] | None = None,
    ) -> None:
        """Know trunks by these rules, these domains as ours, and users by these names in certificates, from now on."""
        self._core.trunks.replace(trunks)
        known = self._core.config.certificate_users if certificate_users is None else certificate_users
        self._core.config = replace(self._core.config, domains=domains, certificate_users=known)

    def learn_trunk(self, name: str, addresses: Iterable[str]) -> None:
        """Requests from these addresses are of trunk `name`, too; replaces what was learnt of it before."""
        self._core.trunks.learn(name, addresses)

    def keep_flow(self, flow: Flow, keeping: Keeping, on_news: OnFlow) -> None:
        """Keep a flow of ours that a registrar knows, until it is lost or released; requests over it are its trunk's."""
        if not self._transports.is_open(flow):  # closed right behind the answer that it brought
            asyncio.get_running_loop().call_soon(on_news, "closed")
            return
        self._flows[flow] = on_news
        self._core.kept.keep(flow, keeping, self._driver.now())
        self._driver.arm()

    def release_flow(self, flow: Flow) -> None:
        """Nobody relies on this flow any more; it is closed when it is idle."""
        self._flows.pop(flow, None)
        self._core.kept.release(flow)

    def bindings(self, aor: SipUri | str) -> list[Binding]:
        """Live bindings of an address of record (`user@domain` as text or URI), highest q first, then newest.

        Every domain and address of ours names the same users. A device with several flows is there once.
        """
        return self._core.bindings(aor, self._driver.now())

    def registrations(self) -> list[Binding]:
        """Every live binding, by address of record."""
        return self._core.location.everything(self._driver.now())

    def unregister(self, aor: str) -> bool:
        """Forget the bindings of an address of record. False where there are none."""
        key = self._core.aor(aor)
        if not self._core.location.lookup(key, self._driver.now()):
            return False
        self._core.location.replace(key, [])
        self._core.tell(key)
        self._driver.drain()
        return True

    def show_user(self, aor: str, state: UserState) -> None:
        """Tell whoever watches this user of a presence and of calls that are not those of phones (a page's)."""
        self._core.watched.show_user(aor, state)
        self._driver.drain()

    def show_conference(self, address: str, state: ConferenceState | None) -> None:
        """Tell whoever watches a conference, by the user part of its URI, who is in it; None where it is over."""
        self._core.watched.show_conference(address, state, self._driver.now())
        self._driver.drain()

    def let_name(self, may: Callable[[str, str], bool]) -> None:
        """Those whom `may(user, owner)` allows are told how the owner's calls are named, for Replaces and Join."""
        self._core.watched.may_name = may

    def keep_subscriptions(self, known: Callable[[str], bool]) -> None:
        """End subscriptions to and of users who are not `known`, by name, any more."""
        self._core.notifier.keep_users(known, self._driver.now())
        self._driver.drain()

    def find_named(self, name: DialogName) -> InviteSession | None:
        """The session whose dialog is named so (RFC 3891, RFC 3911); None where there is none."""
        machine = self._core.find_named(name)
        return self._sessions.get(machine.id) if machine is not None else None

    def accept_websocket(
        self, *, secure: bool, local: tuple[str, int], remote: tuple[str, int]
    ) -> WebSocketConnection | None:
        """Speak SIP over a WebSocket that somebody else accepted (RFC 7118); None where there are too many connections.

        `local` and `remote` are address and port of its two ends, `remote` as the source is counted.
        """
        return self._transports.accept_websocket(secure=secure, local=local, remote=remote)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _send(self, transmit: Transmit) -> None:
        self._transports.send(transmit.data, transmit.destination, transmit.key)

    def _wrap(self, machine: InviteMachine) -> InviteSession:
        def drive() -> None:
            self._core.touch(machine)
            self._driver.drain()

        session = InviteSession(
            machine, drive=drive, now=self._driver.now, queue_limit=self.config.limits.session_queue
        )
        self._sessions[machine.id] = session
        return session

    def _on_message(self, message: Request | Response, flow: Flow) -> None:
        self._core.handle_message(message, flow, self._driver.now())
        self._driver.drain()

    def _on_malformed(self, error: SipParseError, partial: Request | None, flow: Flow) -> None:
        self._core.handle_malformed(error, partial, flow, self._driver.now())
        self._driver.drain()

    def _on_keep_alive(self, data: bytes, flow: Flow) -> None:
        self._core.handle_keep_alive(data, flow, self._driver.now())
        self._driver.drain()

    def _on_failure(self, key: object, destination: Destination) -> None:
        self._core.handle_transport_failure(key, destination, self._driver.now())
        self._driver.drain()

    def _on_closed(self, flow: Flow, target: Target | None) -> None:
        self._core.handle_flow_closed(flow, target, self._driver.now())
        self._driver.drain()

    def _handle_event(self, event: object) -> None:
        if isinstance(event, SessionHappened):
            session = self._sessions.get(event.machine.id)
            if session is not None:
                session.deliver(event.event)
                if isinstance(event.event, FINAL_EVENTS):
                    del self._sessions[event.machine.id]
        elif isinstance(event, NewInvite):
            self._new_invite(event)
        elif isinstance(event, NewText):
            text = IncomingText(event.text, event.authenticated_user, event.trunk)
            code = self.on_text(text) if self.on_text is not None else 404
            self._core.respond(event.transaction, code, now=self._driver.now())
        elif isinstance(event, NewRemoval):
            removed = self.on_removal(event.asked) if self.on_removal is not None else 404
            self._core.answer_removal(event, removed, self._driver.now())
        elif isinstance(event, OutsideReferral):
            self._new_referral(event)
        elif isinstance(event, RequestDone):
            done = self._requests.get(event.request)
            if done is not None and not done.done():
                done.set_result(None)
        elif isinstance(event, FlowNews):
            self._flow_news(event)
        elif isinstance(event, Noticed):
            _log.warning("sip_misuse", kind=event.kind, source=event.source, untold=event.untold)
        elif isinstance(event, str) and self.on_bindings_changed is not None:
            self.on_bindings_changed(event)

    def _flow_news(self, event: FlowNews) -> None:
        if event.what == "alive":
            on_news = self._flows.get(event.flow)
        else:
            on_news = self._flows.pop(event.flow, None)
            self._transports.close_flow(event.flow)
        if on_news is not None:
            on_news(event.what)

    def _new_invite(self, event: NewInvite) -> None:
        session = self._wrap(event.machine)
        if self.on_invite is None:
            session.reject(480)
            return
        flow = event.flow
        incoming = IncomingInvite(
            session=session,
            request=event.request,
            source=Source(flow.remote_ip, flow.remote_port, flow.transport),
            flow=flow,
            authenticated_user=event.authenticated_user,
            trunk=event.trunk,
        )
        self._run(self._decide(incoming), f"sip-invite-{session.id}")

    def _run(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_referral(self, event: OutsideReferral) -> None:
        def tell(code: int) -> None:
            self._core.referrals.answer(event, code, self._driver.now())
            self._driver.drain()

        self._run(self._refer(IncomingReferral(event.called, event.user, tell)), f"sip-refer-{event.user}")

    async def _refer(self, asked: IncomingReferral) -> None:
        if self.on_referral is None:
            asked.tell(603)
            return
        try:
            await self.on_referral(asked)
        except Exception:  # noqa: BLE001 - any mistake of the handler must still answer whoever asks
            _log.exception("referral handler failed", user=asked.authenticated_user)
            asked.tell(500)

    async def _decide(self, incoming: IncomingInvite) -> None:
        on_invite = self.on_invite
        if on_invite is None:
            return
        try:
            await on_invite(incoming)
        except LimitExceeded as error:
            _log.warning("call refused", session=incoming.session.id, limit=error.limit)
            self._refuse(incoming.session, 503)
        except Exception:  # noqa: BLE001 - any mistake of the handler must still answer the caller
            _log.exception("call handler failed", session=incoming.session.id)
            self._refuse(incoming.session, 500)

    def _refuse(self, session: InviteSession, code: int) -> None:
        try:
            session.reject(code)
        except LocalProtocolError:
            session.hangup()
