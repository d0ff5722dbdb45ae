"""The only place that builds anything: from one configuration to parts that know each other, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from mediaserver.api.agents import SIGN_IN_FAILURES_AT_ONCE, AgentsResource, PlainAgentDirectory
from mediaserver.api.app import Bind, HttpLimits, Listeners, Resource, make_app
from mediaserver.api.auth import AdminAuth, DaemonTokens, SiteKey, SiteTokens
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.entries import EntriesAdminResource, EntriesResource
from mediaserver.api.health import HealthResource
from mediaserver.api.metrics import ApiMetrics, MetricsResource
from mediaserver.api.origins import Origins
from mediaserver.api.pages import PagesResource
from mediaserver.api.records import RecordsResource
from mediaserver.api.room_sessions import RoomLimits
from mediaserver.api.session import SessionLimits, SessionResource
from mediaserver.api.source import SourceResolver
from mediaserver.api.tokens import TokensResource
from mediaserver.api.whep import whep_resource
from mediaserver.api.whip import whip_resource
from mediaserver.call.admission import Admission as BandwidthAdmission
from mediaserver.call.agents import Agents
from mediaserver.call.calls import Calls
from mediaserver.call.events import EndCause
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.room_leg import RoomSessions
from mediaserver.call.routing import Router
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.sections import Certificate
from mediaserver.config.state import bind_addresses, tls_files
from mediaserver.config.values import SocketAddress
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.contacts import Contacts
from mediaserver.core.rooms import Rooms
from mediaserver.engine import certificate as dtls_certificate
from mediaserver.engine.commands import EngineConfig, EngineLimits
from mediaserver.engine.engine import Engine, EngineError
from mediaserver.engine.metrics import engine_metrics
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sdp.description import Fingerprint
from mediaserver.sip import config as sip_config
from mediaserver.sip.counters import PrometheusCounters
from mediaserver.sip.flow import Transport
from mediaserver.sip.passwords import PasswordDirectory
from mediaserver.sip.user_agent import UserAgent
from mediaserver.store.records import SqliteRecords
from mediaserver.store.writer import RecordWriter

SERVER_NAME: Final = "mediaserver"
_STOP_DEADLINE_S: Final = 2.0
_PULSE_S: Final = 2.0
_PULSE_TIMEOUT_S: Final = 10.0
_log = structlog.get_logger(__name__)


class Daemon:
    """A whole media server. `start` returns when it serves; `drain`, then `stop`, in that order."""

    def __init__(self, config: Config, *, secrets: SecretStore) -> None:
        self._config = config
        self._secrets = secrets
        self._metrics = Metrics()
        self._admission = Admission(retry_after_s=config.drain.retry_after)
        self._tasks = TaskGroupOwner("daemon")
        self._attribute_limits = AttributeLimits(config.limits.attributes, config.limits.attribute_size)
        self._last_pulse = float("-inf")
        self._engine: Engine | None = None
        self._announcements: Announcements | None = None
        self._records: SqliteRecords | None = None
        self._writer: RecordWriter | None = None
        self._user_agent: UserAgent | None = None
        self._contacts: Contacts | None = None
        self._bandwidth: BandwidthAdmission | None = None
        self._room_sessions: RoomSessions | None = None
        self._sessions: SessionResource | None = None
        self._listeners: list[Listeners] = []

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Builds the parts from the inside out and opens the doors last. Raises ConfigError, EngineError, OSError."""
        config = self._config
        certificate = dtls_certificate.load_or_create(config.path(Path("dtls.pem")))
        fingerprint = Fingerprint("sha-256", certificate.fingerprint_sha256)
        self._engine = engine = Engine(self._engine_config(certificate))
        await engine.start()
        self._last_pulse = asyncio.get_running_loop().time()
        self._tasks.spawn(self._feel_pulse(engine), name="pulse")
        self._metrics.add_source(lambda: engine_metrics(engine.counters(), engine.connected))
        self._records = await SqliteRecords.open(config.path(config.records.file))
        self._writer = RecordWriter(self._records, capacity=config.limits.records_waiting, metrics=self._metrics)
        self._writer.start()
        self._announcements = Announcements(
            self._announcement_files(),
            engine=engine,
            cache_dir=config.path(Path("clips")),
            metrics=self._metrics,
        )
        self._announcements.start()
        self._user_agent = user_agent = UserAgent(
            config=self._sip_config(),
            users=PasswordDirectory(
                {name: self._secrets.text(user.secret) for name, user in config.users.items()},
                realm=config.listeners.sip.realm,
            ),
            counters=PrometheusCounters(self._metrics),
            tls_server=self._server_tls(config.listeners.sip.certificate),
            tls_client=_client_tls(),
        )
        agents = Agents()
        self._bandwidth = bandwidth = BandwidthAdmission(
            config, metrics=self._metrics, call_later=asyncio.get_running_loop().call_later
        )
        calls = Calls(
            admission=bandwidth,
            config=config,
            engine=engine,
            user_agent=user_agent,
            agents=agents,
            addresses=MediaAddresses(self._announced(config.listeners.sip.networks)),
            trunk_passwords={
                name: self._secrets.text(trunk.credentials.secret)
                for name, trunk in config.trunks.items()
                if trunk.credentials is not None
            },
        )
        self._contacts = Contacts(
            config=config,
            engine=engine,
            fingerprint=fingerprint,
            calls=calls,
            agents=agents,
            router=Router(config),
            announcements=self._announcements,
            records=self._writer,
            metrics=self._metrics,
            server_name=SERVER_NAME,
            attribute_limits=self._attribute_limits,
            admission=bandwidth,
        )
        user_agent.on_invite = self._contacts.on_invite
        self._room_sessions = RoomSessions(
            rooms=Rooms(
                rooms=config.limits.rooms,
                publishers=config.limits.publishers_per_room,
                viewers=config.limits.viewers_per_room,
            ),
            engine=engine,
            fingerprint=fingerprint,
            audio_codecs=config.media.audio_codecs,
            video_codecs=config.media.video_codecs,
            metrics=self._metrics,
            admission=bandwidth,
        )
        await user_agent.start()
        await self._open_web(self._contacts, self._room_sessions)

    async def drain(self, deadline_s: float) -> None:
        """Takes nothing new; returns when every contact is over, or ends those left after `deadline_s`."""
        self._admission.drain()
        if self._user_agent is not None:
            self._user_agent.drain()
        contacts = self._contacts
        if contacts is None:
            return
        contacts.drain()
        try:
            async with asyncio.timeout(deadline_s):
                await contacts.all_over()
        except TimeoutError:
            _log.warning("drain_deadline", contacts=len(contacts))
        await contacts.end_all(EndCause("system", "shutdown", 503))

    async def stop(self) -> None:
        """Ends everything and releases it, also after a start that failed halfway."""
        if self._contacts is not None:
            await self._contacts.end_all(EndCause("system", "shutdown", 503))
        if self._room_sessions is not None:
            await self._room_sessions.close_all("shutdown")
        if self._sessions is not None:
            await self._sessions.stop()
        for listeners in self._listeners:
            await listeners.stop()
        if self._user_agent is not None:
            await self._user_agent.stop(_STOP_DEADLINE_S)
        await self._tasks.stop(_STOP_DEADLINE_S)
        if self._announcements is not None:
            await self._announcements.stop()
        if self._engine is not None:
            await self._engine.stop(_STOP_DEADLINE_S)
        if self._writer is not None:
            await self._writer.stop(_STOP_DEADLINE_S)
        if self._records is not None:
            await self._records.close()

    def healthy(self) -> bool:
        """Whether every shard has answered lately; that this runs at all says the same of the event loop."""
        return asyncio.get_running_loop().time() - self._last_pulse < _PULSE_TIMEOUT_S

    async def _feel_pulse(self, engine: Engine) -> None:
        while True:
            try:
                await engine.ping()
                self._last_pulse = asyncio.get_running_loop().time()
            except EngineError as error:
                _log.error("engine_does_not_answer", error=str(error))
            await asyncio.sleep(_PULSE_S)

    # -- engine --------------------------------------------------------------------------------------------------

    def _engine_config(self, certificate: dtls_certificate.DtlsCertificate) -> EngineConfig:
        config, limits = self._config, self._config.limits
        webrtc = self._announced(config.listeners.webrtc.networks)
        sip = self._announced(config.listeners.sip.networks)
        port = config.listeners.webrtc.port
        return EngineConfig(
            shards=config.media.shards or _cpus(),
            pin=config.media.shards is None,
            webrtc_binds=tuple(str(SocketAddress(ip, port)) for ip in webrtc),
            announced={bind: announced for bind, announced in {**sip, **webrtc}.items() if bind != announced},
            sip_binds=tuple(sip),
            sip_ports=(config.media.sip_ports.low, config.media.sip_ports.high),
            certificate_der=certificate.certificate_der,
            private_key_der=certificate.private_key_der,
            ufrag_key=self._secrets.key(config.secrets.ufrag_key, purpose="ice-ufrag"),
            limits=EngineLimits(
                transports=limits.transports,
                tracks_per_transport=limits.tracks_per_transport,
                unknown_ssrcs=limits.unknown_ssrcs,
            ),
            gso=config.media.gso,
        )

    def _announced(self, networks: Iterable[str]) -> dict[str, str]:
        return {str(bind): str(announced) for bind, announced in bind_addresses(self._config, networks)}

    def _announcement_files(self) -> dict[str, Path]:
        return {
            name: _GREETING if announcement.file is None else self._config.path(announcement.file)
            for name, announcement in self._config.announcements.items()
        }

    # -- SIP -----------------------------------------------------------------------------------------------------

    def _sip_config(self) -> sip_config.SipConfig:
        config, sip, limits = self._config, self._config.listeners.sip, self._config.limits
        ports: dict[Transport, int | None] = {"udp": sip.udp, "tcp": sip.tcp, "tls": sip.tls}
        return sip_config.SipConfig(
            binds=tuple(
                sip_config.Bind(transport, bind, port, announced_ip=announced)
                for bind, announced in self._announced(sip.networks).items()
                for transport, port in ports.items()
                if port is not None
            ),
            domains=frozenset({sip.realm.lower(), *(config.domain_of(user).lower() for user in config.users)}),
            realm=sip.realm,
            server_name=SERVER_NAME,
            trunks=tuple(sip_config.TrunkRule(name, tuple(trunk.peers)) for name, trunk in config.trunks.items()),
            limits=sip_config.SipLimits(
                transactions=limits.sip_transactions,
                sessions=2 * limits.calls,
                connections=limits.sip_connections,
                connections_per_source=limits.sip_connections_per_source,
                connection_idle_s=limits.sip_connection_idle,
                message_timeout_s=limits.handshake,
                bindings_per_aor=limits.sip_bindings_per_user,
                auth_failures=SIGN_IN_FAILURES_AT_ONCE,
                auth_failure_window_s=SIGN_IN_FAILURES_AT_ONCE / limits.sign_in_failures_per_source,
                message=sip_config.MessageLimits(message_bytes=limits.sip_message),
            ),
            retry_after_s=int(config.drain.retry_after),
        )

    def _server_tls(self, certificate: Certificate) -> ssl.SSLContext:
        files = tls_files(self._config, certificate)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.chain, files.key)
        return context

    # -- web -----------------------------------------------------------------------------------------------------

    async def _open_web(self, contacts: Contacts, rooms: RoomSessions) -> None:
        config, limits, listeners = self._config, self._config.limits, self._config.listeners
        metrics = ApiMetrics(self._metrics)
        source_of = SourceResolver(http=listeners.http.trusted_proxies, https=listeners.https.trusted_proxies)
        entries = {name: _entry_access(config, name) for name in config.entries}
        admission = self._admission
        agents = PlainAgentDirectory(
            {
                name: (self._secrets.text(user.secret), user.display_name or name)
                for name, user in config.users.items()
                if "agent" in user.roles
            }
        )
        tokens = DaemonTokens(
            session_key=self._secrets.key(config.secrets.session_key, purpose="agent-tokens"),
            room_key=self._secrets.key(config.secrets.room_key, purpose="room-tokens"),
        )
        self._sessions = SessionResource(
            contacts=contacts,
            entries=entries,
            site_tokens=SiteTokens(
                [
                    SiteKey(name, "HS256", self._secrets.text(ref).encode(), audience=config.tokens.site_audience)
                    for name, ref in config.secrets.site_keys.items()
                ],
                max_lifetime_s=config.tokens.site_max_age,
                clock_skew_s=config.tokens.clock_skew,
                attribute_limits=self._attribute_limits,
            ),
            daemon_tokens=tokens,
            agents=agents,
            admission=admission,
            source_of=source_of,
            metrics=metrics,
            limits=SessionLimits(
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
            ),
        )
        room_limits = RoomLimits(
            sessions=limits.transports,
            posts_per_second_per_source=limits.room_sessions_per_source,
            post_burst_per_source=10 * limits.room_sessions_per_source,
        )
        http_limits = HttpLimits(
            connections=3 * limits.sessions,
            requests_per_second_per_source=limits.http_requests_per_source,
            request_burst_per_source=2 * limits.http_requests_per_source,
            max_body_bytes=limits.http_body,
            handshake_s=limits.handshake,
        )
        checks = {"engine": lambda: None if self.healthy() else "the packet engine does not run"}
        public: list[Resource] = [
            HealthResource(admission=admission, checks=checks, detailed=False),
            self._sessions,
            EntriesResource(entries=entries, admission=admission),
            AgentsResource(
                agents=agents,
                tokens=tokens,
                admission=admission,
                source_of=source_of,
                metrics=metrics,
                lifetime_s=config.tokens.agent_lifetime,
                failures_per_second=limits.sign_in_failures_per_source,
            ),
            *(
                make(
                    rooms,
                    tokens=tokens,
                    admission=admission,
                    source_of=source_of,
                    metrics=metrics,
                    limits=room_limits,
                )
                for make in (whip_resource, whep_resource)
            ),
        ]
        if config.web.pages:
            public.append(PagesResource(entries=entries.values()))
        admin_auth = AdminAuth(self._secrets.text(config.secrets.admin_token))
        admin: list[Resource] = [
            HealthResource(admission=admission, checks=checks, detailed=True),
            MetricsResource(self._metrics),
            TokensResource(tokens=tokens, admin=admin_auth, lifetime_s=config.tokens.room_lifetime),
            EntriesAdminResource(entries=entries, admin=admin_auth),
        ]
        if self._records is not None:
            admin.append(RecordsResource(store=self._records, admin=admin_auth))
        tls = self._server_tls(listeners.https.certificate) if listeners.https.bind else None
        binds = [
            *(Bind(bind.host, bind.port) for bind in listeners.http.bind),
            *(Bind(bind.host, bind.port, tls) for bind in listeners.https.bind),
        ]
        # No proxy speaks for others on the administration's listener.
        for name, resources, where, resolver in (
            ("admin", admin, [Bind(bind.host, bind.port) for bind in listeners.admin.bind], SourceResolver()),
            ("public", public, binds, source_of),
        ):
            app = make_app(resources, name=name, metrics=metrics, source_of=resolver, limits=http_limits)
            opened = Listeners(app, where, metrics=metrics, limits=http_limits)
            self._listeners.append(opened)
            await opened.start()


_GREETING: Final = Path(__file__).parent / "media" / "greeting.webm"


def _entry_access(config: Config, name: str) -> EntryAccess:
    entry = config.entries[name]
    origins = Origins.of(entry.allowed_origins)
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


def _client_tls() -> ssl.SSLContext:
    """For calling phones and trunks over TLS; certificates are verified against the system's authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
