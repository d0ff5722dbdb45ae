"""The daemon in the DMZ: an engine that carries visitors' packets and streams to Cores, and knows none of their keys."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import structlog

from mediaserver.api.app import Bind, Listeners, Resource, make_app
from mediaserver.api.context import Admission
from mediaserver.api.health import HealthResource
from mediaserver.api.metrics import ApiMetrics, MetricsResource
from mediaserver.api.source import SourceResolver
from mediaserver.config.model import Config
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress
from mediaserver.daemon.core_choice import CoreChoice, KnownCore
from mediaserver.daemon.edge_addresses import edge_addresses
from mediaserver.daemon.edge_dialling import EdgeDialling
from mediaserver.daemon.edge_limits import connection_limits, limit_commands
from mediaserver.daemon.edge_ports import EdgePortsSide
from mediaserver.daemon.edge_tls import PreparedEdge, prepare_edge, refuse_in_clear
from mediaserver.daemon.link_identity import Accepted, accepted, credentials
from mediaserver.daemon.link_wire import EngineWire, connect
from mediaserver.daemon.live_config import LiveConfig
from mediaserver.daemon.settings import SERVER_NAME, http_limits
from mediaserver.daemon.turn import relay_secrets, turn_config
from mediaserver.engine import commands, events
from mediaserver.engine.config import DscpMarks, EdgeConfig, EngineConfig
from mediaserver.engine.engine import Engine, EngineError
from mediaserver.engine.metrics import engine_metrics
from mediaserver.errors import ConfigError
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.messages import AimPorts, BringElsewhere, Dial, OpenPorts, Revocation, SetKeys, media_key
from mediaserver.runtime.metrics import Metrics

_STOP_DEADLINE_S: Final = 2.0
_START_DEADLINE_S: Final = 5.0
_HOLD_S: Final = 5.0
"""How long a visitor waits for a Core."""
_MOST_HELD: Final = 256
_LOOK_S: Final = 0.2
"""How often a draining Edge looks whether paths are left."""
_log = structlog.get_logger(__name__)


class EdgeDaemon:
    """An Edge. `start` returns when Cores can come; `drain`, then `stop`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._metrics = Metrics()
        self._admission = Admission(retry_after_s=config.drain.retry_after)
        self._engine: Engine | None = None
        self._admin: Listeners | None = None
        self._ends: dict[int, EdgeEnd] = {}
        """By the id of the link."""
        self._choice = CoreChoice(
            (
                KnownCore(core.name, core.weight, frozenset(name.lower() for name in core.server_names))
                for core in config.link.cores.values()
            ),
            clock=time.monotonic,
        )
        self._held: dict[int, tuple[events.StreamOpened, asyncio.TimerHandle]] = {}
        self._token_keys: dict[int, frozenset[int]] = {}
        self._told = {str(bind): str(told) for bind, told in bind_addresses(config, config.edge.networks)}
        """The address that peers see, by the one that is bound."""
        self._dialling = EdgeDialling(allowed=config.edge.dial_trunks, carry=self._carry_dialled, metrics=self._metrics)
        self._ports = EdgePortsSide(
            allowed=config.edge.sip_media_ports is not None, workers=config.link.workers, told=self._told
        )
        self._live: LiveConfig[PreparedEdge] | None = None
        self._terminated = frozenset[str]()
        """Names of pages whose TLS ends here."""
        self._turn_secrets: dict[int, tuple[bytes, ...]] = {}
        """By the id of the Core."""
        self._refused = self._metrics.counter(
            "edge_visitors_refused_total", "Connections closed because no Core was there"
        )

    async def start(self) -> None:
        """Opens the doors; nobody is let in before a Core has come. Raises ConfigError, EngineError, OSError."""
        config = self._config
        prepared = prepare_edge(config)
        pins = {
            name: accepted(config, core.certificate_file, key=f"link.cores.{name}.certificate_file")
            for name, core in config.link.cores.items()
        }
        engine = self._engine = Engine(_engine_config(config, prepared))
        opened = _Opened(engine, config.link.workers)
        self._terminated = prepared.terminated
        engine.on_stream = self._take_visitor
        await engine.start()
        ports = await asyncio.wait_for(opened.link_ports, _START_DEADLINE_S)
        self._ports.start(engine)
        await self._listen(engine, pins, ports)
        self._metrics.add_source(lambda: engine_metrics(engine.counters(), engine.connected))
        checks = {"core": self._problem}
        metrics = ApiMetrics(self._metrics)
        resources: list[Resource] = [
            HealthResource(admission=self._admission, checks=checks, detailed=True),
            MetricsResource(self._metrics),
        ]
        limits = http_limits(config)
        app = make_app(resources, name="admin", metrics=metrics, source_of=SourceResolver(), limits=limits)
        binds = [Bind(bind.host, bind.port) for bind in config.listeners.admin.bind]
        self._admin = Listeners(app, binds, metrics=metrics, limits=limits)
        await self._admin.start()
        self._live = LiveConfig(config, metrics=self._metrics, prepare=self._prepare, apply=self._apply)

    async def reload(self, read: Callable[[], Config]) -> None:
        """Takes over what of a changed file can change while visitors are served; `read` reads it, in a thread."""
        if self._live is not None:
            await self._live.reload(read)

    async def drain(self, deadline_s: float) -> None:
        """Tells the Cores to take no new sessions over this Edge; returns when the last path is gone, or in time."""
        self._admission.drain()
        for end in self._ends.values():
            end.drain(deadline_s)
        engine = self._engine
        if engine is None:
            return
        try:
            await asyncio.wait_for(self._all_gone(engine), deadline_s)
        except TimeoutError:
            _log.warning("drain_deadline", paths=_paths(engine))

    async def stop(self) -> None:
        """Closes everything, also after a start that failed halfway."""
        if self._admin is not None:
            await self._admin.stop()
        for event, timer in self._held.values():
            timer.cancel()
            os.close(event.fd)
        self._held.clear()
        await self._dialling.stop(_STOP_DEADLINE_S)
        await self._ports.stop(_STOP_DEADLINE_S)
        if self._engine is not None:
            await self._engine.stop(_STOP_DEADLINE_S)

    async def answers(self) -> bool:
        """Whether every thread of the engine answers."""
        if self._engine is None:
            return False
        try:
            await self._engine.ping()
        except EngineError as error:
            _log.error("engine_does_not_answer", error=str(error))
            return False
        return True

    # -- what Cores say ------------------------------------------------------------------------------------------

    def handle_keys(self, core_id: int, shards: int, keys: SetKeys) -> None:
        """These keys are good from now on, and no others of this Core."""
        fresh = frozenset(key.id for key in keys.tokens)
        gone = self._token_keys.get(core_id, frozenset()) - fresh
        self._token_keys[core_id] = fresh
        for worker in range(self._config.link.workers):
            to = self._running.edge_id(worker)
            self._running.submit(
                *(commands.RemoveCoreKey(id=to, core=core_id, key_id=key) for key in gone),
                *(commands.SetCoreKey(id=to, core=core_id, key_id=key.id, key=key.secret) for key in keys.tokens),
                *(
                    commands.SetMediaLink(
                        id=to, core=core_id, shard=shard, key=media_key(keys.media, worker=worker, shard=shard)
                    )
                    for shard in range(shards)
                ),
            )

        if self._turn_secrets.get(core_id) != keys.turn and self._config.listeners.turn.port is not None:
            self._turn_secrets[core_id] = keys.turn
            self._running.submit(commands.SetTurnSecrets(id=0, secrets=relay_secrets(self._turn_secrets.values())))

    def handle_revocations(self, core_id: int, sessions: Sequence[Revocation]) -> None:
        """These sessions have ended."""
        ended = tuple(revocation.session for revocation in sessions)
        for worker in range(self._config.link.workers):
            to = self._running.edge_id(worker)
            self._running.submit(commands.RevokeSessions(id=to, core=core_id, sessions=ended))

    # -- visitors ------------------------------------------------------------------------------------------------

    def _take_visitor(self, event: events.StreamOpened) -> None:
        if (link := self._choose(event)) is not None:
            self._carry(event, link)
        elif len(self._held) >= _MOST_HELD:
            self._refuse(event)
        else:
            timer = asyncio.get_running_loop().call_later(_HOLD_S, self._give_up, event.fd)
            self._held[event.fd] = (event, timer)

    def _choose(self, event: events.StreamOpened) -> int | None:
        present = {end.core_name: link for link, end in self._ends.items() if end.core_id is not None}
        draining = {end.core_name for end in self._ends.values() if end.is_draining}
        core = self._choice.choose(event.source[0], event.server_name or "", present, draining)
        return None if core is None else present[core]

    def _carry(self, event: events.StreamOpened, link: int) -> None:
        ip, port = event.local
        self._running.submit(
            commands.CarryStream(
                id=link,
                fd=event.fd,
                source=event.source,
                local=(self._told.get(ip, ip), port),
                server_name=event.server_name,
                service=event.service,
            )
        )

    def handle_open_ports(self, core: EdgeEnd, message: OpenPorts) -> None:
        """A Core wants ports for media of a phone or trunk."""
        self._ports.handle_open(core, message)

    def handle_aim_ports(self, core_id: int, message: AimPorts) -> None:
        """Whom to let in there."""
        self._ports.handle_aim(core_id, message)

    def handle_elsewhere(self, core: EdgeEnd, message: BringElsewhere) -> None:
        """A visitor whom a Core could not serve will come again."""
        names = {other.id: other.name for other in self._config.link.cores.values()}
        if message.core_id is None:
            self._choice.forget(message.source, core.core_name)
        elif (name := names.get(message.core_id)) is not None:
            self._choice.point(message.source, name)

    def handle_dial(self, core: EdgeEnd, dial: Dial) -> None:
        """A Core wants a connection to a trunk."""
        self._dialling.handle_dial(core, dial)

    def _carry_dialled(self, core: EdgeEnd, number: int, connection: socket.socket) -> None:
        link = next((link for link, end in self._ends.items() if end is core and end.core_id is not None), None)
        if link is None:
            connection.close()
            return
        source, local = connection.getpeername()[:2], connection.getsockname()[:2]
        self._running.submit(
            commands.CarryStream(
                id=link,
                fd=connection.detach(),
                source=source,
                local=local,
                server_name="",
                service="dialled",
                number=number,
            )
        )

    def _give_up(self, fd: int) -> None:
        event, _ = self._held.pop(fd)
        self._refuse(event)

    def _refuse(self, event: events.StreamOpened) -> None:
        self._refused.inc()
        if event.server_name in self._terminated:
            refuse_in_clear(event.fd, retry_after_s=self._config.drain.retry_after)
        else:
            os.close(event.fd)

    def _core_changed(self, _end: EdgeEnd) -> None:
        for fd, (event, timer) in tuple(self._held.items()):
            if (link := self._choose(event)) is not None:
                del self._held[fd]
                timer.cancel()
                self._carry(event, link)

    # -- the configuration ---------------------------------------------------------------------------------------

    def _prepare(self, config: Config) -> PreparedEdge:
        prepared = prepare_edge(config)
        if prepared.terminated != self._terminated:
            raise ConfigError(
                "edge.certificate, listeners.shared_tls.names: the names whose TLS ends here change only at a restart: "
                "Cores are told them once"
            )
        return prepared

    async def _apply(self, config: Config, prepared: PreparedEdge) -> None:
        self._config = config
        for command in limit_commands(config, self._running):
            await self._running.request(command)
        if prepared.shared_tls is not None:
            await self._running.set_shared_tls(prepared.shared_tls)

    # -- parts ---------------------------------------------------------------------------------------------------

    async def _all_gone(self, engine: Engine) -> None:
        while True:
            if not _paths(engine):
                return
            await asyncio.sleep(_LOOK_S)

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise EngineError("the packet engine is not running")
        return self._engine

    def _problem(self) -> str | None:
        if any(end.core_id is not None for end in self._ends.values()):
            return None
        return "; ".join(f"{end.core_name}: {end.reason}" for end in self._ends.values()) or "not listening yet"

    async def _listen(self, engine: Engine, pins: dict[str, Accepted], ports: Sequence[int]) -> None:
        config = self._config
        instance = uuid.uuid4().hex
        allowed = {(core.name, core.id) for core in config.link.cores.values()}
        cores = []
        for name, core in config.link.cores.items():
            link = engine.new_link_id()
            cores.append(commands.LinkPin(link=link, name=core.name, fingerprint=pins[name].fingerprint))
            end = self._ends[link] = EdgeEnd(
                core_name=core.name,
                edge_name=config.link.name,
                software=SERVER_NAME,
                instance=instance,
                addresses=edge_addresses(config),
                media_ports=ports,
                terminated=sorted(self._terminated),
                wire=EngineWire(engine, link),
                sink=self,
                may_have_id=lambda name, core_id: (name, core_id) in allowed,
                changed=self._core_changed,
            )
            connect(engine, link, end)
        bind = config.link.listen
        await engine.request(
            commands.ListenLink(
                id=engine.new_link_id(),
                bind=(bind.host, bind.port),
                credentials=credentials(config, tuple(pins.values())),
                cores=tuple(cores),
            )
        )


def _paths(engine: Engine) -> int:
    return engine.counters().get("edge_paths", 0)


class _Opened:
    """Waits until every worker has said which port Cores find it at."""

    def __init__(self, engine: Engine, workers: int) -> None:
        self.link_ports: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._ports: dict[int, int] = {}
        self._workers = workers
        for worker in range(workers):
            engine.subscribe_events(engine.edge_id(worker), partial(self._take, worker))

    def _take(self, worker: int, event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgeOpened):
            self._ports[worker] = event.link[1]
            if len(self._ports) == self._workers and not self.link_ports.done():
                self.link_ports.set_result(tuple(self._ports[worker] for worker in range(self._workers)))


def _engine_config(config: Config, prepared: PreparedEdge) -> EngineConfig:
    webrtc = config.listeners.webrtc
    addresses = bind_addresses(config, webrtc.networks)
    phones = bind_addresses(config, config.edge.networks)
    marks = config.media.dscp
    return EngineConfig(
        shards=0,
        audio_threads=0,
        edge=EdgeConfig(
            workers=config.link.workers,
            public_binds=_binds(addresses, webrtc.port),
            link_bind=str(config.link.listen),
            sip_tls_binds=() if config.edge.sip_tls is None else _binds(phones, config.edge.sip_tls),
            media_binds=tuple(str(bind) for bind, _ in phones),
            media_ports=config.edge.sip_media_ports or (20_000, 29_999),
            paths=config.limits.edge_paths,
            unproven_per_prefix=config.limits.edge_paths_per_source,
        ),
        webrtc_tcp_binds=() if webrtc.tcp_port is None else _binds(addresses, webrtc.tcp_port),
        announced={str(bind): str(told) for bind, told in addresses if bind != told},
        turn=turn_config(config, secrets=None),
        connections=connection_limits(config.limits),
        shared_tls=prepared.shared_tls,
        gso=config.media.gso,
        dscp=DscpMarks(audio=marks.audio, video=marks.video, screen=marks.screen),
    )


def _binds(addresses: Iterable[tuple[object, object]], port: int) -> tuple[str, ...]:
    return tuple(str(SocketAddress(str(bind), port)) for bind, _ in addresses)
