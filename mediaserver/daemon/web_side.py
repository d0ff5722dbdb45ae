"""Builds everything that speaks HTTP: the public resources, the administration, and the listeners of both."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, Literal

import structlog

from mediaserver.api.agents import AgentsResource, PlainAgentDirectory
from mediaserver.api.api_tokens import ApiTokensResource
from mediaserver.api.app import Bind, Listeners, Resource, make_app
from mediaserver.api.auth import AdminAuth, DaemonTokens, SiteKey, SiteTokens
from mediaserver.api.calls import CallsResource
from mediaserver.api.contacts import ContactsResource
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.edges import EdgeControl, EdgesResource
from mediaserver.api.entries import EntriesAdminResource, EntriesResource
from mediaserver.api.event_stream import EventsResource
from mediaserver.api.health import Check, HealthResource
from mediaserver.api.line_tests import LineTestsResource
from mediaserver.api.media_probes import MediaProbesResource, ProbesMedia
from mediaserver.api.member_door import MemberDoor
from mediaserver.api.metrics import ApiMetrics, MetricsResource
from mediaserver.api.openapi import Described, OpenApiResource
from mediaserver.api.origins import Origins
from mediaserver.api.other_cores import OtherCores
from mediaserver.api.page_servers import PageServers
from mediaserver.api.pages import PagesResource
from mediaserver.api.records import RecordsResource
from mediaserver.api.registrations import RegistrationsResource
from mediaserver.api.revoked_certificates import RevokedCertificatesResource
from mediaserver.api.room_sessions import RoomLimits, RoomSessionsResource
from mediaserver.api.session import SessionLimits, SessionResource
from mediaserver.api.sip_socket import SipSocketResource
from mediaserver.api.source import SourceResolver
from mediaserver.api.tokens import TokensResource
from mediaserver.api.trunks import TrunksResource
from mediaserver.call.line_test import LineTests
from mediaserver.call.signaling import Contacts, RoomMembers, Rooms
from mediaserver.call.trunks import Trunks
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.sections import Entry
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.call_control import CallControl
from mediaserver.daemon.settings import http_limits
from mediaserver.daemon.tls import server_tls
from mediaserver.daemon.turn import TurnSecrets, ice_servers
from mediaserver.engine.events import StreamOpened
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.runtime.metrics import Metrics
from mediaserver.sip.certificates.standing import CertificateStanding
from mediaserver.sip.user_agent import UserAgent
from mediaserver.store.journal import Journal
from mediaserver.store.outcomes import Outcome, Outcomes
from mediaserver.store.records import ContactRecords
from mediaserver.store.revocations import Revocations
from mediaserver.store.revoked_certificates import SqliteRevokedCertificates

_ROOM_KINDS: Final[tuple[Literal["whip", "whep"], ...]] = ("whip", "whep")
_log = structlog.get_logger(__name__)


class WebSide:
    """Public and administration listeners. `start` opens the administration last: its `/readyz` says that all is open."""

    def __init__(
        self,
        *,
        config: Config,
        edges: EdgeRegistry,
        secrets: SecretStore,
        turn_secrets: TurnSecrets,
        contacts: Contacts,
        rooms: Rooms,
        members: RoomMembers,
        records: ContactRecords,
        revocations: Revocations,
        outcomes: Outcomes,
        known_outcomes: Sequence[Outcome],
        tokens: DaemonTokens,
        attribute_limits: AttributeLimits,
        admission: Admission,
        metrics: Metrics,
        healthy: Callable[[], bool],
        agents: PlainAgentDirectory,
        trunks: Trunks,
        user_agent: UserAgent,
        control: CallControl,
        journal: Journal,
        line_tests: LineTests,
        certificates: CertificateStanding,
        kept_certificates: SqliteRevokedCertificates,
        page_servers: PageServers,
        other_cores: OtherCores,
        edge_control: EdgeControl | None,
        media_probes: ProbesMedia | None,
    ) -> None:
        self._config = config
        self._control = control
        self._certificates = certificates
        self._kept_certificates = kept_certificates
        self._page_servers = page_servers
        self._edge_control = edge_control
        self._media_probes = media_probes
        self._journal = journal
        self._events: EventsResource | None = None
        self._trunks = trunks
        self.https_tls: ssl.SSLContext | None = None
        """What HTTPS shows, once started."""
        self._user_agent = user_agent
        self._secrets = secrets
        self._rooms = rooms
        self._records = records
        self._revocations = revocations
        self._outcomes = outcomes
        self._known_outcomes = known_outcomes
        self._tokens = tokens
        self._admission = admission
        self._registry = metrics
        self._metrics = ApiMetrics(metrics)
        self._listeners: list[Listeners] = []
        listeners = config.listeners
        self._source_of = SourceResolver(http=listeners.http.trusted_proxies, https=listeners.https.trusted_proxies)
        self._ice_servers = ice_servers(config, secrets=turn_secrets, edges=edges)
        self._entries = {
            name: _entry_access(name, entry, page_servers.origins) for name, entry in config.entries.items()
        }
        self._agents = agents
        site_tokens = self._site_tokens(attribute_limits)
        self._line_tests = LineTestsResource(
            tests=line_tests,
            entries=self._entries,
            site_tokens=site_tokens,
            daemon_tokens=tokens,
            agents=self._agents,
            admission=admission,
            source_of=self._source_of,
            metrics=self._metrics,
            most=config.limits.line_tests,
            ice_servers=self._ice_servers,
            direct=("udp",) if config.listeners.webrtc.tcp_port is None else ("udp", "tcp"),
        )
        self._sessions = SessionResource(
            contacts=contacts,
            entries=self._entries,
            site_tokens=site_tokens,
            daemon_tokens=tokens,
            agents=self._agents,
            admission=admission,
            source_of=self._source_of,
            metrics=self._metrics,
            members=MemberDoor(members=members, tokens=tokens, ice_servers=self._ice_servers),
            ice_servers=self._ice_servers,
            limits=_session_limits(config),
            servers=page_servers,
            others=other_cores,
        )
        self._sip_sockets = self._sip_socket()
        self._checks: dict[str, Check] = {"engine": lambda: None if healthy() else "the packet engine does not run"}

    async def start(self) -> None:
        """Opens the listeners. Raises OSError for an address that cannot be had."""
        listeners, limits = self._config.listeners, http_limits(self._config)
        needs_tls = bool(listeners.https.bind or listeners.shared_tls.bind or self._config.link.edges)
        tls = self.https_tls = server_tls(self._config, listeners.https.certificate) if needs_tls else None
        public = [
            *(Bind(bind.host, bind.port) for bind in listeners.http.bind),
            *(Bind(bind.host, bind.port, tls) for bind in listeners.https.bind),
        ]
        admin = [Bind(bind.host, bind.port) for bind in listeners.admin.bind]
        for name, resources, binds, source_of in (
            ("public", self._public_resources(), public, self._source_of),
            # No proxy speaks for others on the administration's listener.
            ("admin", self._admin_resources(), admin, SourceResolver()),
        ):
            prefix = self._page_servers.prefix if name == "public" else ""
            app = make_app(
                resources, name=name, metrics=self._metrics, source_of=source_of, limits=limits, prefix=prefix
            )
            opened = Listeners(app, binds, metrics=self._metrics, limits=limits)
            self._listeners.append(opened)
            await opened.start()

    def take(self, event: StreamOpened, *, in_clear: bool = False) -> None:
        """Serves a page's visitor who came in by the shared TLS port, or over an Edge; `in_clear` where that has ended the
        visitor's TLS."""
        connection = socket.socket(fileno=event.fd)
        if self.https_tls is None or not self._listeners:
            # It came before the doors are open, or after they closed.
            connection.close()
            return
        self._listeners[0].take(connection, self.https_tls, source=event.source, link=event.id, in_clear=in_clear)

    async def stop(self) -> None:
        """Ends every session, then closes the listeners."""
        await self._sessions.stop()
        await self._line_tests.stop()
        if self._events is not None:
            await self._events.stop()
        if self._sip_sockets is not None:
            await self._sip_sockets.stop()
        for listeners in self._listeners:
            await listeners.stop()

    def _public_resources(self) -> list[Resource]:
        config, limits = self._config, self._config.limits
        rooms = [
            RoomSessionsResource(
                kind=kind,
                rooms=self._rooms,
                tokens=self._tokens,
                admission=self._admission,
                source_of=self._source_of,
                metrics=self._metrics,
                limits=RoomLimits(
                    sessions=limits.transports,
                    posts_per_second_per_source=limits.room_sessions_per_source,
                    post_burst_per_source=10 * limits.room_sessions_per_source,
                ),
                ice_servers=self._ice_servers,
                prefix=self._page_servers.prefix,
            )
            for kind in _ROOM_KINDS
        ]
        agents = AgentsResource(
            agents=self._agents,
            tokens=self._tokens,
            admission=self._admission,
            source_of=self._source_of,
            metrics=self._metrics,
            revocations=self._revocations,
            lifetime_s=config.tokens.agent_lifetime,
            failures_per_second=limits.sign_in_failures_per_source,
        )
        entries = EntriesResource(
            entries=self._entries, admission=self._admission, servers=self._page_servers.known_bases
        )
        described: list[Described] = [entries, agents, self._sessions, *rooms, self._line_tests]
        operations = [operation for resource in described for operation in resource.operations()]
        return [
            HealthResource(admission=self._admission, checks=self._checks, detailed=False),
            *described,
            OpenApiResource(operations, public=True, prefix=self._page_servers.prefix),
            *([self._sip_sockets] if self._sip_sockets is not None else []),
            *([self._pages()] if config.web.pages else []),
        ]

    def _pages(self) -> PagesResource:
        return PagesResource(
            entries=self._entries.values(),
            admission=self._admission,
            servers=self._page_servers.known,
            prefix=self._page_servers.prefix,
        )

    def _sip_socket(self) -> SipSocketResource | None:
        settings = self._config.listeners.sip.websocket
        if settings.path is None:
            return None
        return SipSocketResource(
            path=settings.path,
            origins=Origins.of(settings.allowed_origins),
            acceptor=self._user_agent,
            source_of=self._source_of,
            metrics=self._metrics,
            max_message_bytes=self._config.limits.sip_message,
        )

    def _admin_resources(self) -> list[Resource]:
        admin = AdminAuth(self._secrets.text(self._config.secrets.admin_token), self._tokens)
        # No proxy speaks for others on the administration's listener.
        self._events = EventsResource(journal=self._journal, admin=admin, source_of=SourceResolver())
        described: list[Described] = [
            CallsResource(
                control=self._control,
                admin=admin,
                admission=self._admission,
                outcomes=self._outcomes,
                known=self._known_outcomes,
                entries=self._entries,
                prefix=self._page_servers.prefix,
            ),
            ContactsResource(control=self._control, admin=admin),
            self._events,
            TokensResource(tokens=self._tokens, admin=admin, lifetime_s=self._config.tokens.room_lifetime),
            ApiTokensResource(tokens=self._tokens, admin=admin, revocations=self._revocations),
            EntriesAdminResource(entries=self._entries, admin=admin),
            RecordsResource(store=self._records, admin=admin),
            EdgesResource(edges=self._edge_control, admin=admin),
            MediaProbesResource(probes=self._media_probes, edges=self._edge_control, admin=admin),
            TrunksResource(status=self._trunks.status, admin=admin),
            RegistrationsResource(
                bindings=self._user_agent.registrations,
                remove=self._user_agent.unregister,
                now=asyncio.get_running_loop().time,
                admin=admin,
                certificate_of=self._user_agent.certificate_of,
            ),
            RevokedCertificatesResource(certificates=self._certificates, kept=self._kept_certificates, admin=admin),
        ]
        operations = [operation for resource in described for operation in resource.operations()]
        return [
            HealthResource(admission=self._admission, checks=self._checks, detailed=True),
            MetricsResource(self._registry),
            *described,
            OpenApiResource(operations),
        ]

    def _site_tokens(self, attribute_limits: AttributeLimits) -> SiteTokens:
        tokens = self._config.tokens
        return SiteTokens(
            [
                SiteKey(name, "HS256", self._secrets.text(ref).encode(), audience=tokens.site_audience)
                for name, ref in self._config.secrets.site_keys.items()
            ],
            max_lifetime_s=tokens.site_max_age,
            clock_skew_s=tokens.clock_skew,
            attribute_limits=attribute_limits,
        )


def _session_limits(config: Config) -> SessionLimits:
    limits = config.limits
    return SessionLimits(
        # A session that is taken up again has two sockets for a moment.
        sockets=2 * limits.sessions,
        sockets_per_source=2 * limits.sessions_per_source,
        sessions=limits.sessions,
        sessions_per_source=limits.sessions_per_source,
        session_burst_per_source=limits.sessions_per_source,
        resume_window_s=limits.session_resume,
        max_message_bytes=limits.session_message,
        messages_per_second=limits.session_messages,
        message_burst=2 * limits.session_messages,
    )


def _entry_access(name: str, entry: Entry, own: Sequence[str]) -> EntryAccess:
    # Pages that are served from here come by any of our names.
    origins = Origins.of([*entry.allowed_origins, *(own if "self" in entry.allowed_origins else ())])
    if origins.anybody:
        _log.warning("entry_open_to_every_page", entry=name)
    return EntryAccess(
        name=name,
        title=entry.title,
        origins=origins,
        video=entry.video,
        identity_required=entry.identity == "required",
        consent=entry.consent,
    )
