"""All trunks: OPTIONS to their targets, registrations at them, and what an operator sees of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from mediaserver.call.trunk import Place, TrunkLine
from mediaserver.call.trunk_registration import FlowStatus, Registering, TrunkRegistration, flow_statuses
from mediaserver.config.trunks import Trunk
from mediaserver.errors import MediaServerError
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sip.flow import Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.standalone import OutsideRequest
from mediaserver.sip.upstream_flows import UpstreamFlows
from mediaserver.sip.uri import SipUri, parse_sip_uri

_log = structlog.get_logger(__name__)
_PATIENCE_S: Final = 4.0
"""How long a target may be silent to one OPTIONS: three repetitions of RFC 3261 timer E."""
_LOOKUP_S: Final = 60.0
"""How often a target whose OPTIONS are off is looked up in DNS again."""
_STOP_S: Final = 1.0


class Requester(Registering, Protocol):
    """What trunks need of the user agent."""

    def learn_trunk(self, name: str, addresses: Iterable[str]) -> None:
        """Requests from these addresses are of this trunk, too."""


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One next hop of a trunk."""

    uri: str
    hop: str
    """Transport, address and port."""
    order: int
    weight: int
    state: str
    """`up`, `down`, or `unknown` before the first verdict and where no OPTIONS are sent."""
    last_code: int
    for_s: float | None
    """How long it has been so."""


@dataclass(frozen=True, slots=True)
class TrunkStatus:
    """What an operator sees of a trunk."""

    name: str
    state: str
    """`up`, `degraded` (some target is dead), `down`, or `unknown`."""
    incoming: int
    outgoing: int
    max_calls: int
    registration: str | None
    """`registered`, `unregistered`, `refused`; None where we do not register."""
    registered_for_s: float | None
    """Until the registration ends."""
    registration_code: int | None
    flows: tuple[FlowStatus, ...]
    """The ways that we are registered by; empty where we do not register."""
    targets: tuple[TargetStatus, ...]
    allow_plain: bool
    """Its media may go by an Edge without encryption: whoever holds the Edge can hear them."""


class Trunks:
    """Give it the user agent with `start`; `password_of` reads the secret of a trunk's credentials.

    `instance` is the URN under which registrars know this daemon's flows (RFC 5626); None asks for no flows.
    """

    def __init__(
        self,
        settings: Mapping[str, Trunk],
        *,
        realm: str,
        password_of: Callable[[str, Trunk], str | None],
        metrics: Metrics,
        now: Callable[[], float],
        instance: str | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._realm = realm
        self._password_of = password_of
        self._now = now
        self._spread = spread
        self._instance = instance
        self._agent: Requester | None = None
        self._registrations: dict[str, TrunkRegistration] = {}
        self._lines: dict[str, TrunkLine] = {}
        self._tasks: dict[str, TaskGroupOwner] = {}
        self._changes = metrics.counter(
            "trunk_target_changes_total", "Targets of trunks found alive or dead", ["trunk", "state"]
        )
        self._refused = metrics.counter("trunk_calls_refused_total", "Calls beyond a bound of their trunk", ["limit"])
        metrics.add_source(self._metrics)
        for name, trunk in settings.items():
            self._lines[name] = TrunkLine(name, trunk, password=password_of(name, trunk))

    def __getitem__(self, name: str) -> TrunkLine:
        return self._lines[name]

    def get(self, name: str | None) -> TrunkLine | None:
        """The line of a trunk, or None."""
        return self._lines.get(name) if name is not None else None

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, agent: Requester) -> None:
        """Begin to watch and register."""
        self._agent = agent
        for line in self._lines.values():
            self._begin(line)

    async def stop(self) -> None:
        """End every task; take back what was registered, if that goes within a moment."""
        lines, self._lines = list(self._lines.values()), {}
        await asyncio.gather(*(self._end(line) for line in lines))

    async def reload(self, settings: Mapping[str, Trunk]) -> None:
        """Take these trunks from now on: calls go on, new trunks begin, those that are gone are left."""
        gone = [self._lines.pop(name) for name in list(self._lines) if name not in settings]
        for name, trunk in settings.items():
            line, password = self._lines.get(name), self._password_of(name, trunk)
            if line is None:
                line = self._lines[name] = TrunkLine(name, trunk, password=password)
            elif line.settings == trunk and (line.credentials is None or line.credentials.password == password):
                continue
            else:
                again = (
                    line.settings.registration != trunk.registration or line.settings.credentials != trunk.credentials
                )
                await self._end(line, unregister=again)
                line.adopt(trunk, password=password)
            self._begin(line)
        for line in gone:
            await self._end(line)

    def _begin(self, line: TrunkLine) -> None:
        if self._agent is None:
            return
        tasks = self._tasks[line.name] = TaskGroupOwner(f"trunk-{line.name}")
        tasks.spawn(self._watch(line, self._agent), name="watch")
        settings = line.settings.registration
        if settings is None:
            return
        registration = self._registrations.get(line.name)
        if registration is None or line.upstream is None:
            line.upstream = UpstreamFlows(
                round(settings.expires),
                self._spread,
                instance=self._instance if settings.outbound else None,
                proxies=[parse_sip_uri(proxy) for proxy in settings.proxies],
            )
            registration = TrunkRegistration(line, line.upstream, self._agent, now=self._now)
            self._registrations[line.name] = registration
        registration.start(tasks)

    async def _end(self, line: TrunkLine, *, unregister: bool = True) -> None:
        tasks = self._tasks.pop(line.name, None)
        if tasks is not None:
            await tasks.stop(_STOP_S)
        registration = self._registrations.pop(line.name, None) if unregister else None
        if registration is not None:
            await registration.end(_STOP_S)
            line.upstream, line.route_hops = None, ()

    # -- who lives -----------------------------------------------------------------------------------------------

    async def _watch(self, line: TrunkLine, agent: Requester) -> None:
        interval = line.settings.keep_alive.interval or _LOOKUP_S
        while True:
            await self.look(line, agent)
            # Spread, so that many trunks and many machines do not ask in step.
            await asyncio.sleep(interval * (0.9 + 0.1 * self._spread()))

    async def look(self, line: TrunkLine, agent: Requester) -> None:
        """Find every target in DNS, and ask each next hop whether it lives."""
        for place in line.places:
            line.found(place, await agent.locate(place.uri))
        if line.settings.registration is not None:
            agent.learn_trunk(line.name, {hop.host for place in line.places for hop in place.hops})
        if line.watched:
            hops = [(place, hop) for place in line.places for hop in place.hops]
            await asyncio.gather(*(self._ask(line, place, hop, agent) for place, hop in hops))

    async def _ask(self, line: TrunkLine, place: Place, hop: Target, agent: Requester) -> None:
        uri = SipUri(host=place.uri.host, port=place.uri.port, params=place.uri.params, scheme=place.uri.scheme)
        try:
            request = OutsideRequest(
                "OPTIONS",
                uri,
                from_=self._us(),
                headers=(("Accept", "application/sdp"),),
                credentials=line.credentials,
                patience_s=_PATIENCE_S,
            )
            code = (await agent.request(request, targets=[hop])).code
        except MediaServerError as error:
            _log.warning("trunk_not_asked", trunk=line.name, hop=str(hop), error=str(error))
            return
        health = line.health.get(hop)
        if health is not None and health.heard(code, self._now()):
            self._changes.labels(line.name, health.state).inc()
            log = _log.info if health.state == "up" else _log.warning
            log("trunk_target_changed", trunk=line.name, hop=str(hop), state=health.state, code=code)

    def _us(self) -> NameAddr:
        return NameAddr(SipUri(host=self._realm, user="mediaserver"))

    # -- what calls ask ------------------------------------------------------------------------------------------

    async def locate(self, line: TrunkLine) -> None:
        """Make sure that a trunk that was not looked at yet has next hops."""
        agent = self._agent
        if agent is not None:
            for place in line.places:
                if not place.hops:
                    line.found(place, await agent.locate(place.uri))

    def refused(self, limit: str) -> None:
        """Count a call that a bound of its trunk refused."""
        self._refused.labels(limit).inc()

    def status(self) -> list[TrunkStatus]:
        """Every trunk, in the order of the file."""
        return [self._status(line) for line in self._lines.values()]

    def _status(self, line: TrunkLine) -> TrunkStatus:
        now = self._now()
        upstream = line.upstream
        flows = flow_statuses(upstream)
        until = upstream.registered_until if upstream is not None else None
        targets = tuple(self._target(line, place, hop, now) for place in line.places for hop in place.hops)
        return TrunkStatus(
            name=line.name,
            state=_summary([target.state for target in targets]),
            incoming=line.calls["incoming"],
            outgoing=line.calls["outgoing"],
            max_calls=line.settings.max_calls,
            registration=upstream.state if upstream is not None else None,
            registered_for_s=round(until - now, 1) if until is not None else None,
            registration_code=upstream.last_code or None if upstream is not None else None,
            flows=flows,
            targets=targets,
            allow_plain=line.settings.allow_plain,
        )

    def _target(self, line: TrunkLine, place: Place, hop: Target, now: float) -> TargetStatus:
        health = line.health[hop]
        return TargetStatus(
            uri=str(place.uri),
            hop=str(hop),
            order=place.settings.order,
            weight=place.settings.weight,
            state=health.state if line.watched else "unknown",
            last_code=health.last_code,
            for_s=round(now - health.since, 1) if health.since is not None else None,
        )

    def _metrics(self) -> list[Metric]:
        calls = GaugeMetricFamily("mediaserver_trunk_calls", "Calls over a trunk now", labels=["trunk", "direction"])
        up = GaugeMetricFamily("mediaserver_trunk_targets", "Next hops of a trunk, by state", labels=["trunk", "state"])
        registered = GaugeMetricFamily(
            "mediaserver_trunk_registered", "1 while we are registered there", labels=["trunk"]
        )
        for status in self.status():
            calls.add_metric([status.name, "incoming"], status.incoming)
            calls.add_metric([status.name, "outgoing"], status.outgoing)
            states = [target.state for target in status.targets]
            for state in ("up", "down", "unknown"):
                up.add_metric([status.name, state], states.count(state))
            if status.registration is not None:
                registered.add_metric([status.name], float(status.registration == "registered"))
        return [calls, up, registered]


def _summary(states: list[str]) -> str:
    if not states or all(state == "unknown" for state in states):
        return "unknown"
    if all(state == "down" for state in states):
        return "down"
    return "degraded" if "down" in states else "up"
