"""The life of the daemon: its parts are built from the inside out, drained, and released in the other direction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from mediaserver.api.agents import PlainAgentDirectory
from mediaserver.api.auth import DaemonTokens
from mediaserver.api.context import Admission
from mediaserver.api.event_webhooks import EventWebhooks
from mediaserver.api.other_cores import OtherCores
from mediaserver.api.page_servers import PageServers
from mediaserver.call.admission import Admission as BandwidthAdmission
from mediaserver.call.agents import Agents
from mediaserver.call.calls import Calls
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.events import EndCause
from mediaserver.call.line_test import LineTests
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.page_presence import PagePresence
from mediaserver.call.quality_watch import QualityWatch
from mediaserver.call.room_leg import RoomSessions
from mediaserver.call.room_member import RoomMembers
from mediaserver.call.room_party import Parts
from mediaserver.call.room_seat import RoomSeats
from mediaserver.call.trunks import Trunks
from mediaserver.call.webhook import Webhooks
from mediaserver.config.events import EventWebhook
from mediaserver.config.model import Config
from mediaserver.config.routes import Webhook
from mediaserver.config.secrets import SecretStore
from mediaserver.config.trunks import Trunk
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.call_control import CallControl
from mediaserver.contact.contacts import Contacts
from mediaserver.contact.referred_calls import ReferredCalls
from mediaserver.daemon.certificates import StatusFetcher, certificate_standing
from mediaserver.daemon.edge_way import Visitors
from mediaserver.daemon.edges import Edges
from mediaserver.daemon.key_rotation import KeyRotation
from mediaserver.daemon.live_config import LiveConfig
from mediaserver.daemon.media_probes import MediaProbes
from mediaserver.daemon.reloading import Prepared, RunningParts, page_agents, prepare, trunk_secrets
from mediaserver.daemon.settings import (
    SERVER_NAME,
    announced,
    announcement_files,
    capture,
    engine_config,
    resolver,
    rooms_of,
    sip_config,
    token_key,
)
from mediaserver.daemon.tls import client_tls, server_tls
from mediaserver.daemon.turn import TurnSecrets, turn_secrets
from mediaserver.daemon.web_side import WebSide
from mediaserver.engine import certificate as dtls_certificate
from mediaserver.engine.engine import Engine, EngineError
from mediaserver.engine.metrics import engine_metrics
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.token_keys import TokenKeys
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sdp.description import Fingerprint
from mediaserver.sip.capture import Capture
from mediaserver.sip.counters import PrometheusCounters
from mediaserver.sip.passwords import PasswordDirectory
from mediaserver.sip.user_agent import UserAgent
from mediaserver.store.events import SqliteEvents
from mediaserver.store.instance import instance_urn
from mediaserver.store.journal import Journal
from mediaserver.store.outcomes import SqliteOutcomes
from mediaserver.store.records import SqliteRecords
from mediaserver.store.revocations import SqliteRevocations
from mediaserver.store.revoked_certificates import SqliteRevokedCertificates
from mediaserver.store.writer import RecordWriter

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
        self._last_pulse = float("-inf")
        self._engine: Engine | None = None
        self._announcements: Announcements | None = None
        self._records: SqliteRecords | None = None
        self._writer: RecordWriter | None = None
        self._journal: Journal | None = None
        self._event_webhooks: EventWebhooks | None = None
        self._user_agent: UserAgent | None = None
        self._capture: Capture | None = None
        self._trunks: Trunks | None = None
        self._webhooks: Webhooks | None = None
        self._dial_plan: DialPlan | None = None
        self._contacts: Contacts | None = None
        self._live: LiveConfig[Prepared] | None = None
        self._room_sessions: RoomSessions | None = None
        self._room_members: RoomMembers | None = None
        self._web: WebSide | None = None
        self._edges: Edges | None = None
        self._certificates: StatusFetcher | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Builds the parts from the inside out and opens the doors last. Raises ConfigError, EngineError, OSError."""
        config = self._config
        certificate = dtls_certificate.load_or_create(config.path(Path("dtls.pem")))
        fingerprint = Fingerprint("sha-256", certificate.fingerprint_sha256)
        self._engine = engine = Engine(engine_config(config, secrets=self._secrets, certificate=certificate))
        await engine.start()
        _tell_small_buffer(engine)
        self._last_pulse = asyncio.get_running_loop().time()
        self._tasks.spawn(self._feel_pulse(), name="pulse")
        self._metrics.add_source(lambda: engine_metrics(engine.counters(), engine.connected))
        self._records = await SqliteRecords.open(config.path(config.records.file))
        revocations = await SqliteRevocations.open(self._records)
        outcomes = await SqliteOutcomes.open(self._records)
        tokens = DaemonTokens(
            session_key=self._secrets.key(config.secrets.session_key, purpose="agent-tokens"),
            room_key=self._secrets.key(config.secrets.room_key, purpose="room-tokens"),
            api_key=self._secrets.key(config.secrets.session_key, purpose="api-tokens"),
        )
        tokens.restore(await revocations.current(time.time()))
        self._writer = RecordWriter(self._records, capacity=config.limits.records_waiting, metrics=self._metrics)
        self._writer.start()
        journal = await self._open_journal(self._records)
        self._announcements = Announcements(
            announcement_files(config),
            engine=engine,
            cache_dir=config.path(Path("clips")),
            metrics=self._metrics,
        )
        self._announcements.start()
        counters = PrometheusCounters(self._metrics)
        realm = config.listeners.sip.realm
        secrets = {name: self._secrets.text(user.secret) for name, user in config.users.items()}
        users = PasswordDirectory(secrets, realm=realm, trunks=trunk_secrets(config, self._secrets))
        page = PlainAgentDirectory(page_agents(config, secrets), realm=realm)
        self._capture = capture(config, secrets=self._secrets, counters=counters)
        self._user_agent = user_agent = UserAgent(
            config=sip_config(config),
            users=users,
            counters=counters,
            resolver=resolver(config, counters=counters),
            capture=self._capture,
            tls_server=server_tls(
                config, config.listeners.sip.certificate, client_ca=config.listeners.sip.client_ca_file
            ),
            tls_client=client_tls(config),
        )
        self._certificates = StatusFetcher()
        kept_certificates = await SqliteRevokedCertificates.open(self._records)
        standing = certificate_standing(
            config, revoked=await kept_certificates.current(), fetcher=self._certificates, counters=counters
        )
        user_agent.use_certificates(standing)
        self._tasks.spawn(standing.run(), name="certificates")
        self._trunks = trunks = Trunks(
            config.trunks,
            realm=config.listeners.sip.realm,
            password_of=self._trunk_password,
            metrics=self._metrics,
            now=asyncio.get_running_loop().time,
            instance=instance_urn(config.path(Path("sip-instance"))),
        )
        attribute_limits = AttributeLimits(config.limits.attributes, config.limits.attribute_size)
        agents = Agents(PagePresence(user_agent, realm=realm))
        bandwidth = BandwidthAdmission(config, metrics=self._metrics, call_later=asyncio.get_running_loop().call_later)
        quality = QualityWatch(engine=engine, metrics=self._metrics, interval_s=config.media.quality_interval)
        self._tasks.spawn(quality.run(), name="quality")
        self._webhooks = Webhooks(config, secret_of=self._webhook_secret, metrics=self._metrics)
        self._dial_plan = dial_plan = DialPlan(config, webhooks=self._webhooks)
        room_parts = Parts(
            rooms=rooms_of(config, call_later=asyncio.get_running_loop().call_later),
            engine=engine,
            fingerprint=fingerprint,
            admission=bandwidth,
            defaults=config.rooms,
            audio_codecs=config.media.audio_codecs,
            video_codecs=config.media.video_codecs,
            data_channels=config.media.data_channels,
            quality=quality,
            keep_record=self._writer.submit,
        )
        calls = Calls(
            announcements=self._announcements,
            admission=bandwidth,
            quality=quality,
            config=config,
            engine=engine,
            user_agent=user_agent,
            agents=agents,
            fingerprint=fingerprint,
            addresses=MediaAddresses(announced(config, config.listeners.sip.networks)),
            trunks=trunks,
            rooms=RoomSeats(room_parts, metrics=self._metrics),
        )
        calls.transfers.decide = dial_plan.decide
        self._contacts = Contacts(
            config=config,
            engine=engine,
            fingerprint=fingerprint,
            calls=calls,
            agents=agents,
            dial_plan=dial_plan,
            announcements=self._announcements,
            records=self._writer,
            metrics=self._metrics,
            server_name=SERVER_NAME,
            attribute_limits=attribute_limits,
            admission=bandwidth,
            tell=journal.append,
        )
        user_agent.on_invite = self._contacts.on_invite
        control = CallControl(
            contacts=self._contacts,
            calls=calls,
            dial_plan=dial_plan,
            announcements=self._announcements,
            engine=engine,
            records=self._records,
            attribute_limits=attribute_limits,
            server_name=SERVER_NAME,
        )
        user_agent.on_text = calls.take_text
        user_agent.on_removal = calls.conferences.removal
        user_agent.on_referral = ReferredCalls(
            contacts=self._contacts, calls=calls, dial_plan=dial_plan, engine=engine, server_name=SERVER_NAME
        ).take
        user_agent.let_name(calls.dialogs.may_name)
        self._room_sessions = RoomSessions(room_parts, metrics=self._metrics)
        self._room_members = RoomMembers(room_parts, metrics=self._metrics)
        await user_agent.start()
        trunks.start(user_agent)
        origins = [edge.origin for edge in config.link.edges.values() if edge.origin is not None]
        page_servers = PageServers(origins, own=config.web.origin, prefix=config.web.path_prefix or "")
        edges = EdgeRegistry()
        token_keys = TokenKeys(token_key(config, self._secrets))
        relay_keys = TurnSecrets(turn_secrets(config, self._secrets))
        if config.role == "core":
            self._edges = Edges(
                config,
                engine=engine,
                token_keys=token_keys,
                turn_secrets=relay_keys.of_edges,
                registry=edges,
                software=SERVER_NAME,
                page_servers=page_servers,
                metrics=self._metrics,
            )
        others = OtherCores(config.link.core_id, edges=self._edges)
        self._admission.send_away = others.send_away
        self._web = WebSide(
            config=config,
            edges=edges,
            secrets=self._secrets,
            turn_secrets=relay_keys,
            contacts=self._contacts,
            rooms=self._room_sessions,
            members=self._room_members,
            records=self._records,
            revocations=revocations,
            outcomes=outcomes,
            known_outcomes=await outcomes.current(time.time()),
            tokens=tokens,
            attribute_limits=attribute_limits,
            admission=self._admission,
            metrics=self._metrics,
            healthy=self.healthy,
            agents=page,
            trunks=trunks,
            user_agent=user_agent,
            control=control,
            journal=journal,
            certificates=standing,
            kept_certificates=kept_certificates,
            line_tests=LineTests(engine=engine, fingerprint=fingerprint, most=config.limits.line_tests),
            page_servers=page_servers,
            other_cores=others,
            edge_control=self._edges,
            media_probes=None if self._edges is None else MediaProbes(engine=engine, ports=self._edges.ports),
        )
        await self._web.start()
        visitors = Visitors(
            pages=self._web.take,
            sip=user_agent.accept_stream,
            sip_names=frozenset(name.lower() for name in config.listeners.sip.shared_tls_names),
        )
        engine.on_stream = visitors.take
        if self._edges is not None:
            bandwidth.through_edge = self._edges.brings
            user_agent.use_edges(self._edges.dialler)
            calls.use_edges(self._edges.ports)
            await self._edges.start(visitors.take)
        parts = RunningParts(
            users=users,
            agents=page,
            user_agent=user_agent,
            trunks=trunks,
            dial_plan=dial_plan,
            calls=calls,
            contacts=self._contacts,
            bandwidth=bandwidth,
            https=self._web.https_tls,
            event_webhooks=self._event_webhooks,
            keys=KeyRotation(token_keys, relay_keys, engine=engine, edges=self._edges),
        )
        self._live = LiveConfig(
            config, metrics=self._metrics, prepare=lambda fresh: prepare(fresh, SecretStore), apply=parts.apply
        )

    async def reload(self, read: Callable[[], Config]) -> None:
        """Takes over what of a changed file can change while calls go on; `read` reads it, in a thread."""
        if self._live is not None:
            await self._live.reload(read)

    async def drain(self, deadline_s: float) -> None:
        """Takes nothing new; returns when every contact is over, or ends those left after `deadline_s`."""
        self._admission.drain()
        if self._edges is not None:
            self._edges.drain(deadline_s)
        turn = self._config.listeners.turn
        # A closed relay is a part of the calls that go on: a page whose network changes needs it anew.
        if self._engine is not None and turn.port is not None and turn.relay == "open":
            await self._engine.drain_turn((each.host, each.port) for each in turn.alternates)
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
        if self._room_members is not None:
            await self._room_members.close_all("shutdown")
        if self._edges is not None:
            await self._edges.stop(_STOP_DEADLINE_S)
        if self._web is not None:
            await self._web.stop()
        if self._trunks is not None:
            await self._trunks.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        if self._user_agent is not None:
            await self._user_agent.stop(_STOP_DEADLINE_S)
        if self._capture is not None:
            self._capture.close()
        await self._tasks.stop(_STOP_DEADLINE_S)
        if self._certificates is not None:
            await self._certificates.stop()
        if self._announcements is not None:
            await self._announcements.stop()
        if self._engine is not None:
            await self._engine.stop(_STOP_DEADLINE_S)
        if self._writer is not None:
            await self._writer.stop(_STOP_DEADLINE_S)
        if self._journal is not None:
            await self._journal.stop(_STOP_DEADLINE_S)
        if self._event_webhooks is not None:
            await self._event_webhooks.stop(_STOP_DEADLINE_S)
        if self._records is not None:
            await self._records.close()

    async def _open_journal(self, file: SqliteRecords) -> Journal:
        store = await SqliteEvents.open(file)
        settings = self._config.events
        webhooks = self._event_webhooks = EventWebhooks(
            settings.webhooks, store=store, secrets_of=self._event_secrets, metrics=self._metrics
        )
        journal = self._journal = Journal(
            store,
            keep_s=settings.keep,
            most=settings.most,
            metrics=self._metrics,
            owed=webhooks.owed,
            on_stored=webhooks.wake,
        )
        await journal.start()
        await webhooks.start()
        return journal

    def _event_secrets(self, name: str, webhook: EventWebhook) -> tuple[str, ...]:
        return tuple(self._secrets.text(secret) for secret in webhook.secrets)

    def _trunk_password(self, name: str, trunk: Trunk) -> str | None:
        return self._secrets.text(trunk.credentials.secret) if trunk.credentials is not None else None

    def _webhook_secret(self, name: str, webhook: Webhook) -> str | None:
        return self._secrets.text(webhook.secret) if webhook.secret is not None else None

    def healthy(self) -> bool:
        """Whether every thread of the engine has answered lately; that this runs at all says the same of the event loop."""
        return asyncio.get_running_loop().time() - self._last_pulse < _PULSE_TIMEOUT_S

    async def answers(self) -> bool:
        """Whether every thread of the engine has answered a command of now; one that slept is woken by it."""
        engine = self._engine
        if engine is None:
            return False
        try:
            await engine.ping()
        except EngineError as error:
            _log.error("engine_does_not_answer", error=str(error))
            return False
        self._last_pulse = asyncio.get_running_loop().time()
        return True

    async def _feel_pulse(self) -> None:
        while True:
            await self.answers()
            await asyncio.sleep(_PULSE_S)


def _tell_small_buffer(engine: Engine) -> None:
    granted, asked = engine.counters().get("receive_buffer_bytes", 0), engine.config.receive_buffer_bytes
    if granted < asked:
        _log.warning(
            "receive_buffer_small",
            granted_bytes=granted,
            asked_bytes=asked,
            hint="packets may be lost while a thread is busy: raise net.core.rmem_max, as systemd/sysctl.conf does",
        )
