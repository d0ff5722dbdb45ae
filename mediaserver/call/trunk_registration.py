"""A trunk's registrations with its registrar: one task for each flow, woken by time and by what becomes of the flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mediaserver.call.trunk import TrunkLine
from mediaserver.errors import MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sip.flow import Flow, Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.kept_flows import Keeping, News
from mediaserver.sip.standalone import OutsideRequest, Standalone
from mediaserver.sip.upstream_flows import UpstreamFlow, UpstreamFlows
from mediaserver.sip.uri import SipUri, escape_user, parse_sip_uri

_log = structlog.get_logger(__name__)
_LONGEST_SLEEP_S: Final = 60.0
_NO_PASSWORD_S: Final = 60.0


class Registering(Protocol):
    """What registering needs of the user agent."""

    async def request(self, request: OutsideRequest, *, targets: Sequence[Target] = ()) -> Standalone:
        """Send a request and return with its outcome."""

    async def locate(self, uri: SipUri) -> list[Target]:
        """Next hops of a URI."""

    def keep_flow(self, flow: Flow, keeping: Keeping, on_news: Callable[[News], None]) -> None:
        """Keep a flow until it is lost or released."""

    def release_flow(self, flow: Flow) -> None:
        """Nobody relies on a flow any more."""


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """One of the ways by which a trunk knows us."""

    reg_id: int
    """Its number (RFC 5626 §4.2)."""
    hop: str | None
    """Transport, address and port that it leads to; None while there is none."""
    state: str
    """`registered`, `unregistered`, `refused`."""
    code: int | None
    """Status of the last answer."""
    outbound: bool
    """Whether the trunk sends its calls over this flow."""


class TrunkRegistration:
    """`start` the tasks, `end` to sign off. What is known of the flows stays in the line between the two."""

    def __init__(self, line: TrunkLine, flows: UpstreamFlows, agent: Registering, *, now: Callable[[], float]) -> None:
        self._line = line
        self._flows = flows
        self._agent = agent
        self._now = now
        self._woken = {one: asyncio.Event() for one in flows.flows}

    def start(self, tasks: TaskGroupOwner) -> None:
        """Register and stay registered until the tasks are stopped."""
        for one in self._flows.flows:
            tasks.spawn(self._stay(one), name=f"register-{one.upstream.reg_id}")

    async def end(self, within_s: float) -> None:
        """Take back what was registered, if that goes within `within_s`."""
        live = [one for one in self._flows.flows if one.upstream.registered_until is not None]
        try:
            async with asyncio.timeout(within_s):
                for one in live:
                    one.upstream.expires_s = 0
                await asyncio.gather(*(self._ask(one) for one in live))
        except (TimeoutError, MediaServerError) as error:
            _log.info("trunk_not_unregistered", trunk=self._line.name, error=str(error))
        for one in self._flows.flows:
            self._leave(one)

    # -- one flow ------------------------------------------------------------------------------------------------

    async def _stay(self, one: UpstreamFlow) -> None:
        while True:
            wait_s = one.upstream.next_at - self._now()
            if wait_s <= 0 and self._flows.may_register(one):
                await self._register(one)
                continue
            await self._sleep(one, wait_s if wait_s > 0 else _LONGEST_SLEEP_S)
            if one.upstream.expired(self._now()):
                _log.warning("trunk_registration_over", trunk=self._line.name, code=one.upstream.last_code)
                self._wake()

    async def _sleep(self, one: UpstreamFlow, wait_s: float) -> None:
        woken = self._woken[one]
        try:
            async with asyncio.timeout(min(wait_s, _LONGEST_SLEEP_S)):
                await woken.wait()
        except TimeoutError:
            return
        woken.clear()

    def _wake(self) -> None:
        """Something changed that each flow's next step may depend on."""
        for woken in self._woken.values():
            woken.set()

    async def _register(self, one: UpstreamFlow) -> None:
        upstream, before = one.upstream, one.flow
        done: Standalone | None = None
        try:
            done = await self._ask(one)
        except MediaServerError as error:
            _log.info("trunk_not_reached", trunk=self._line.name, error=str(error))
        if done is None or done.response is None:
            if before is not None and one.flow is None:
                return  # it was lost meanwhile, and that has been said
            self._leave(one)
        code = done.code if done is not None else 503
        changed = upstream.answered(
            done.response if done is not None else None,
            code,
            self._now(),
            others_live=self._flows.others_live(one),
        )
        if done is not None and 200 <= code < 300:
            self._keep(one, done)
            await self._find_route(one)
        if changed or upstream.state == "refused":
            log = _log.info if upstream.state == "registered" else _log.warning
            log(
                "trunk_registration",
                trunk=self._line.name,
                state=upstream.state,
                code=upstream.last_code,
                flow=upstream.reg_id,
                outbound=upstream.outbound,
            )
        self._wake()

    async def _ask(self, one: UpstreamFlow) -> Standalone | None:
        """Send the REGISTER that is due and return with its outcome; None, and later again, without a password."""
        line, upstream = self._line, one.upstream
        settings, credentials = line.settings.registration, line.credentials
        if settings is None or credentials is None:
            upstream.next_at = self._now() + _NO_PASSWORD_S
            return None
        base = parse_sip_uri(settings.registrar) if settings.registrar is not None else line.places[0].uri
        registrar = SipUri(host=base.host, port=base.port, params=base.params, scheme=base.scheme)
        identity = NameAddr(SipUri(host=base.host, user=escape_user(settings.user or credentials.username)))
        hops = await self._hops(one)
        cseq, expires_s = upstream.begin()
        return await self._agent.request(
            OutsideRequest(
                "REGISTER",
                registrar,
                from_=identity,
                to=identity,
                headers=(*_route(one.proxy), ("Expires", str(expires_s)), *upstream.headers),
                credentials=credentials,
                call_id=upstream.call_id,
                cseq=cseq,
                contact_params=upstream.contact_params,
            ),
            targets=hops,
        )

    async def _hops(self, one: UpstreamFlow) -> tuple[Target, ...]:
        """A refresh goes the way of its flow (RFC 5626 §4.2); what is new by DNS, which is empty here.

        Where the proxy's name leads is looked up with each, for calls that its flow does not carry.
        """
        if one.proxy is not None:
            one.located = self._line.reached(await self._agent.locate(one.proxy)) or one.located
        return (one.hop,) if one.hop is not None else one.located

    # -- its flow ------------------------------------------------------------------------------------------------

    def _keep(self, one: UpstreamFlow, done: Standalone) -> None:
        hop, flow, upstream = done.destination, done.flow, one.upstream
        if not isinstance(hop, Target) or flow is None:
            return
        old = one.flow
        one.took(hop, flow)
        if old not in (None, flow):
            self._agent.release_flow(old)
        keeping = Keeping(self._line.name, hop, upstream.outbound, upstream.flow_timer_s, one.judged)
        self._agent.keep_flow(flow, keeping, lambda news: self._heard_of(one, flow, news))

    def _leave(self, one: UpstreamFlow) -> None:
        flow = one.leave()
        if flow is not None:
            self._agent.release_flow(flow)

    def _heard_of(self, one: UpstreamFlow, flow: Flow, news: News) -> None:
        if one.flow != flow:
            return
        if news == "alive":
            one.upstream.flow_proven()
            return
        one.leave()
        one.upstream.flow_failed(self._now(), others_live=self._flows.others_live(one))
        _log.warning("trunk_flow_lost", trunk=self._line.name, flow=one.upstream.reg_id, reason=news)
        self._wake()

    async def _find_route(self, one: UpstreamFlow) -> None:
        """Where the route begins that the registrar gives (RFC 3608); over a flow it begins at its other end."""
        routes = one.upstream.service_routes
        first = routes[0].uri if routes and not one.upstream.outbound else None
        hops = await self._agent.locate(first) if isinstance(first, SipUri) else []
        self._line.route_hops = self._line.reached(hops)


def flow_statuses(flows: UpstreamFlows | None) -> tuple[FlowStatus, ...]:
    """What an operator sees of a trunk's flows, in their order."""
    return tuple(
        FlowStatus(
            reg_id=one.upstream.reg_id,
            hop=str(one.hop) if one.hop is not None else None,
            state=one.upstream.state,
            code=one.upstream.last_code or None,
            outbound=one.upstream.outbound,
        )
        for one in (flows.flows if flows is not None else ())
    )


def _route(proxy: SipUri | None) -> tuple[tuple[str, str], ...]:
    # RFC 5626 §4.2.1: the outbound proxy is the whole of the route.
    return (("Route", str(NameAddr(proxy if proxy.loose else proxy.with_param("lr", None)))),) if proxy else ()
