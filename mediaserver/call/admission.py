"""Admission control: what a leg may send and receive, by the sites its media pass, and what it has reserved of them.

The order of outcomes is: a lower rate, sound alone, another route (which the caller of this tries), refused. Nothing
here does I/O; `call_later` only spreads what may grow again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal
from weakref import WeakSet

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from mediaserver.call.booking import ELSEWHERE, Booking, Party
from mediaserver.call.decision import Decision
from mediaserver.config.bandwidth import MEDIA_KINDS, MediaKind, Rates
from mediaserver.config.model import Config
from mediaserver.core.ledger import Change, Grant, Ledger, Shortage
from mediaserver.core.sites import Hop, SiteMap
from mediaserver.runtime.metrics import Metrics

GROWTH_DELAY_S: Final = 10.0
"""How long free room waits before it is lent again, so that a busy line does not make pictures swing."""

EDGES: Final = Hop("edges", "all")
"""The line between a Core and its Edges."""
LINK_FRAME_BYTES: Final = 8
"""Before each packet on it."""

_log = structlog.get_logger(__name__)


class Admission:
    """All reservations of this daemon. `call_later(seconds, callback)` is the loop's; without it loans never return."""

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._config = config
        self._sites = SiteMap(config.sites)
        self._ledger = Ledger(self.budget)
        self._bookings: dict[str, Booking] = {}
        self._booked: WeakSet[Booking] = WeakSet()
        self._call_later = call_later
        self._growth_planned = False
        link = config.link
        self._bounds_edges = link.budget != Rates() or link.per_call != Rates()
        self.through_edge: Callable[[str], bool] = lambda _address: False
        """Whether who has this address comes by an Edge, and its media with it."""
        self._decisions = metrics.counter(
            "admission_decisions_total", "Decisions of admission control", ("site", "kind", "outcome")
        )
        self._rerouted = metrics.counter(
            "admission_rerouted_total", "Calls that took another route because lines were full"
        )
        self._withheld = metrics.counter(
            "pictures_withheld_total", "Legs that got no picture because none fitted their decoder", ("reason",)
        )
        metrics.add_source(self._collect)

    # -- what the call layer asks --------------------------------------------------------------------------------

    def book(
        self,
        leg_id: str,
        party: Party,
        *,
        contact_id: str = "",
        peer: Booking | None = None,
        note: Callable[[str, str], None] | None = None,
    ) -> Booking:
        """The account of one leg; nothing is reserved before it asks. `peer` is that of the leg that called.

        `note(what, detail)` gets every decision, for the contact's timeline. Release the booking when the leg ends.
        """
        site = self._sites.site_of(address=party.address, trunk=party.trunk, user=party.user)
        way = list(self._sites.way(site, peer.site if peer is not None else None))
        if self._bounds_edges and party.address and self.through_edge(party.address):
            party = replace(party, packets=replace(party.packets, frame=LINK_FRAME_BYTES))
            way.append(EDGES)
        if party.trunk is not None:
            way.append(Hop("trunk", party.trunk))
        if party.room is not None:
            way.append(Hop("room", party.room))
        if party.participant is not None:
            way.append(Hop("participant", party.participant))
        booking = Booking(self, leg_id=leg_id, party=party, site=site, way=tuple(way), contact_id=contact_id, note=note)
        self._booked.add(booking)
        return booking

    def rerouted(self) -> None:
        """Counts a call that goes another way because the first had no room."""
        self._rerouted.inc()

    def picture_withheld(self, reason: str) -> None:
        """Counts a leg that goes on as sound because no picture fits it."""
        self._withheld.labels(reason).inc()

    def reload(self, config: Config) -> None:
        """Takes the budgets, caps and sites of `config`; legs that live keep their way and their floors."""
        before = [(booking, booking.caps()) for booking in self._booked]
        self._config = config
        self._sites = SiteMap(config.sites)
        self._tell(self._ledger.shrink_to_budget())
        for booking, caps in before:
            booking.reloaded(caps)
        self._plan_growth()

    def budget(self, hop: Hop, kind: MediaKind) -> int | None:
        """Bits per second that all legs share on a hop; None without a bound."""
        match hop.sort:
            case "trunk":
                trunk = self._config.trunks.get(hop.name)
                return trunk.bandwidth.of(kind) if trunk is not None else None
            case "edges":
                return self._config.link.budget.of(kind)
            case "room":
                return self._config.media.bandwidth.room.of(kind)
            case "participant":
                return self._config.media.bandwidth.participant.of(kind)
            case _:
                return self._sites.budget(hop, kind)

    @property
    def sites(self) -> SiteMap:
        """The sites in force."""
        return self._sites

    def used(self, hop: Hop, kind: MediaKind) -> int:
        """Bits per second reserved on a hop now."""
        return self._ledger.used(hop, kind)

    # -- what a booking asks -------------------------------------------------------------------------------------

    def cap(self, way: Sequence[Hop], kind: MediaKind) -> tuple[int, str] | None:
        """The least cap of one leg on its way, and its key in the configuration; None without one."""
        caps: list[tuple[int, str]] = []
        track = self._config.media.bandwidth.track.of(kind)
        if track is not None:
            caps.append((track, f"media.bandwidth.track.{kind}"))
        for hop in way:
            if hop.sort == "trunk":
                trunk = self._config.trunks.get(hop.name)
                one = trunk.per_call.of(kind) if trunk is not None else None
            elif hop == EDGES:
                one = self._config.link.per_call.of(kind)
            else:
                one = self._sites.per_call(hop, kind)
            if one is not None:
                caps.append((one, self.limit_key(hop, "per_call", kind)))
        return min(caps, default=None)

    def limit_key(self, hop: Hop, what: Literal["budget", "per_call"], kind: MediaKind) -> str:
        """The key of the configuration that bounds a hop."""
        match hop.sort:
            case "trunk":
                return f"trunks.{hop.name}.{'bandwidth' if what == 'budget' else what}.{kind}"
            case "edges":
                return f"link.{what}.{kind}"
            case "room" | "participant":
                return f"media.bandwidth.{hop.sort}.{kind}"
            case _:
                return f"{self._sites.key(hop)}.{what}.{kind}"

    def lowest(self, kind: MediaKind) -> int:
        """The floor of a picture."""
        lowest = self._config.media.bandwidth.lowest
        return lowest.screen if kind == "screen" else lowest.video

    def reserve(self, booking: Booking, kind: MediaKind, *, floor: int, wanted: int) -> Grant | Shortage:
        """Reserves on the booking's way and tells those whose loans were taken back."""
        outcome = self._ledger.reserve(booking.leg_id, kind, booking.way, floor=floor, wanted=wanted)
        if isinstance(outcome, Grant):
            self._bookings[booking.leg_id] = booking
            self._tell(outcome.changes)
        return outcome

    def granted(self, booking: Booking, kind: MediaKind) -> int | None:
        """What a leg has reserved of a kind."""
        return self._ledger.granted(booking.leg_id, kind)

    def release(self, booking: Booking, kind: MediaKind | None = None) -> None:
        """Gives back one kind of a leg's reservation, or all."""
        if kind is None:
            self._bookings.pop(booking.leg_id, None)
        if self._ledger.release(booking.leg_id, kind):
            self._plan_growth()

    def decided(self, booking: Booking, decision: Decision) -> None:
        """Counts and logs a decision."""
        site = booking.site or ELSEWHERE
        for kind, verdict in decision.verdicts.items():
            self._decisions.labels(site, kind, verdict.outcome).inc()
        self._decisions.labels(site, "leg", decision.outcome).inc()
        _log.info(
            "bandwidth_decided",
            contact_id=booking.contact_id,
            leg=booking.leg_id,
            site=site,
            way=[str(hop) for hop in booking.way],
            outcome=decision.outcome,
            **{
                kind: {"outcome": verdict.outcome, "bps": verdict.bps, "limit": verdict.limit}
                for kind, verdict in decision.verdicts.items()
            },
        )

    # -- loans ---------------------------------------------------------------------------------------------------

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            booking = self._bookings.get(change.id)
            if booking is not None:
                booking.changed(change)

    def _plan_growth(self) -> None:
        if self._call_later is not None and not self._growth_planned and len(self._ledger):
            self._growth_planned = True
            self._call_later(GROWTH_DELAY_S, self.grow)

    def grow(self) -> None:
        """Lends free room again."""
        self._growth_planned = False
        self._tell(self._ledger.grow())

    def _collect(self) -> Iterable[Metric]:
        used = GaugeMetricFamily(
            "mediaserver_admission_reserved_bits_per_second", "Bandwidth reserved", labels=["hop", "kind"]
        )
        budgets = GaugeMetricFamily(
            "mediaserver_admission_budget_bits_per_second", "Bandwidth there is", labels=["hop", "kind"]
        )
        # Rooms and participants are as many as people make; sites, links and trunks are those of the configuration.
        hops = (*self._sites.hops, EDGES, *(Hop("trunk", name) for name in self._config.trunks))
        for hop in hops:
            for kind in MEDIA_KINDS:
                budget = self.budget(hop, kind)
                if budget is not None:
                    budgets.add_metric([str(hop), kind], budget)
                    used.add_metric([str(hop), kind], self._ledger.used(hop, kind))
        return (used, budgets)
