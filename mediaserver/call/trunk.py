"""One trunk at run time: where calls to it may go, how many it has, and how its numbers and header fields are written."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.call.numbers import NumberPlan
from mediaserver.call.sip_policy import srtp_towards
from mediaserver.config.trunks import OWN_HEADERS, Trunk, TrunkTarget
from mediaserver.errors import LimitExceeded
from mediaserver.runtime.token_bucket import TokenBucket
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.dialog import target_of
from mediaserver.sip.flow import Flow, Target, is_ip_literal
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.service_records import Chance, weighted
from mediaserver.sip.target_health import TargetHealth
from mediaserver.sip.upstream_flows import UpstreamFlows
from mediaserver.sip.uri import SipUri, escape_user, parse_sip_uri

Direction = Literal["incoming", "outgoing"]
_MAX_COPIED: Final = 16
_EVERY_HOP: Final = 16


@dataclass(slots=True)
class Place:
    """One configured target and the next hops that it was last found to have."""

    settings: TrunkTarget
    uri: SipUri
    hops: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """How one call over a trunk goes."""

    uris: Mapping[Flow | Target, SipUri]
    """Request-URI at each next hop, the first to be tried first."""
    encrypted: bool
    """Whether SRTP keys are offered."""

    @property
    def hops(self) -> list[Target]:
        """Next hops, the first to be tried first."""
        return [hop for hop in self.uris if isinstance(hop, Target)]


class TrunkLine:
    """State of one trunk. Pure: time is an argument, `Trunks` does the asking."""

    def __init__(
        self, name: str, settings: Trunk, *, password: str | None = None, chance: Chance | None = None
    ) -> None:
        self.name = name
        self.calls: Counter[Direction] = Counter()
        self.health: dict[Target, TargetHealth] = {}
        self.upstream: UpstreamFlows | None = None
        self.route_hops: tuple[Target, ...] = ()
        """Next hops of the first route that the registrar wants our calls to take (RFC 3608); empty without one."""
        self._chance: Chance = chance or random.SystemRandom()
        self.places: tuple[Place, ...] = ()
        self.adopt(settings, password=password)

    def adopt(self, settings: Trunk, *, password: str | None) -> None:
        """Take these settings from now on; calls and what is known of the targets stay."""
        self.settings = settings
        self.numbers = NumberPlan(settings.numbers)
        known = {str(place.uri): place.hops for place in self.places}
        self.places = tuple(self._place(target, known) for target in settings.all_targets)
        self.credentials = (
            Credentials(settings.credentials.user, password)
            if settings.credentials is not None and password is not None
            else None
        )
        rate = settings.calls_per_second
        self._rate = TokenBucket(per_second=rate, burst=max(1.0, rate)) if rate is not None else None
        for health in self.health.values():
            health.failures, health.successes = settings.keep_alive.failures, settings.keep_alive.successes
        self._forget_strangers()

    def _place(self, target: TrunkTarget, known: dict[str, tuple[Target, ...]]) -> Place:
        uri = parse_sip_uri(target.uri)
        transport = "tls" if self.settings.edge else self.settings.transport
        if transport is not None and uri.transport is None and uri.scheme == "sip":
            uri = uri.with_param("transport", transport)
        base = target_of(uri)
        return Place(target, uri, self.reached([base]) if is_ip_literal(base.host) else known.get(str(uri), ()))

    def reached(self, hops: Sequence[Target]) -> tuple[Target, ...]:
        """Next hops as this trunk's are reached: over an Edge by TLS alone, where it lies beyond."""
        if not self.settings.edge:
            return tuple(hops)
        return tuple(replace(hop, at_edge=True) for hop in hops if hop.transport == "tls")

    # -- where calls go ------------------------------------------------------------------------------------------

    def found(self, place: Place, hops: Sequence[Target]) -> None:
        """DNS has said where a target is; nothing said leaves what was known."""
        if hops:
            place.hops = self.reached(hops[:_EVERY_HOP])
            self._forget_strangers()

    def _forget_strangers(self) -> None:
        keep_alive = self.settings.keep_alive
        hops = [hop for place in self.places for hop in place.hops]
        self.health = {
            hop: self.health.get(hop) or TargetHealth(keep_alive.failures, keep_alive.successes) for hop in hops
        }

    @property
    def watched(self) -> bool:
        """Whether OPTIONS decide who lives."""
        return self.settings.keep_alive.interval > 0

    def hops(self) -> list[tuple[Place, Target]]:
        """Next hops for one call: by order, within it at random by weight, without those that OPTIONS found dead.

        A trunk that never answered any OPTIONS is called all the same: some peers answer none.
        """
        by_order: dict[int, list[Place]] = {}
        for place in self.places:
            by_order.setdefault(place.settings.order, []).append(place)
        out: list[tuple[Place, Target]] = []
        for order in sorted(by_order):
            places = by_order[order]
            for place in weighted(places, [place.settings.weight for place in places], self._chance):
                out += [(place, hop) for hop in place.hops]
        mute = all(health.last_answer_at is None for health in self.health.values())
        return [pair for pair in out if mute or not self._dead(pair[1])][:_EVERY_HOP]

    @property
    def service_routes(self) -> tuple[NameAddr, ...]:
        """The route of calls while we are registered."""
        return self.upstream.service_routes if self.upstream is not None else ()

    def _routed(self) -> list[tuple[Place, Target]]:
        """RFC 3608 §5: a route that is laid beforehand leads past the targets; they stay what is asked for.

        Over the flow that the registrar knows where there is one (RFC 5626 §4.3). Without a route the outbound proxies
        are the next hops, as a policy of ours that takes no Route (RFC 3261 §8.1.2).
        """
        flows = self.upstream
        if flows is None:
            return []
        hops = (flows.outbound_hops or self.route_hops) if self.service_routes else flows.proxy_hops
        return [(self.places[0], hop) for hop in hops]

    def _flows_first(self) -> list[tuple[Place, Target]]:
        """Targets that live, those before others that a flow leads to already."""
        flows = self.upstream.outbound_hops if self.upstream is not None else ()
        return sorted(self.hops(), key=lambda pair: pair[1] not in flows) if flows else self.hops()

    def _dead(self, hop: Target) -> bool:
        health = self.health.get(hop)
        return self.watched and health is not None and health.state == "down"

    def way(self, number: str | None) -> Way | None:
        """How a call to `number` goes, or to the targets' own users without one; None where no target lives."""
        called = self.numbers.called(number) if number else None
        hops = self._routed() or self._flows_first()
        if not hops:
            return None
        keys = self.settings.srtp_keys
        encrypted = srtp_towards(self.settings.srtp, keys, hops[0][1].transport)
        if encrypted and keys == "sdes" and self.settings.srtp != "require":
            # RFC 4568 §7: keys that were meant for TLS do not go on in the clear when that hop fails.
            hops = [(place, hop) for place, hop in hops if hop.transport == "tls"]
        return Way({hop: _request_uri(place, called) for place, hop in hops}, encrypted)

    # -- how many ------------------------------------------------------------------------------------------------

    def admit(self, direction: Direction, now: float) -> None:
        """Count a call that begins. Raises LimitExceeded; `release` is then not to be called."""
        if self.calls.total() >= self.settings.max_calls:
            raise LimitExceeded(
                f"trunk {self.name} has {self.settings.max_calls} calls", limit=f"trunks.{self.name}.max_calls"
            )
        if self._rate is not None and not self._rate.take(now):
            raise LimitExceeded(
                f"trunk {self.name} begins too many calls", limit=f"trunks.{self.name}.calls_per_second"
            )
        self.calls[direction] += 1

    def release(self, direction: Direction) -> None:
        """A call is over."""
        self.calls[direction] -= 1

    # -- what calls carry ----------------------------------------------------------------------------------------

    def headers(self, callers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields of a call to the trunk; `callers` are those of the INVITE that it continues."""
        rules = self.settings.headers
        fixed = {name.lower() for name in rules.fixed}
        wanted = {name.lower() for name in rules.copied} - fixed - OWN_HEADERS
        copied = [(name, value) for name, value in callers if name.lower() in wanted]
        routes = [("Route", str(route)) for route in self.service_routes]
        return [*routes, *rules.fixed.items(), *copied[:_MAX_COPIED]]


def _request_uri(place: Place, called: str | None) -> SipUri:
    """What a call through `place` asks for: its URI, with the called number where there is one."""
    uri = place.uri
    user = escape_user(called) if called else uri.user
    return SipUri(host=uri.host, user=user, port=uri.port, params=uri.params, scheme=uri.scheme)
