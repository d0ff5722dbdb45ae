"""Looks at every leg from time to time: metrics for operators, and an event where a leg gets better or worse."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol
from weakref import WeakSet

import structlog

from mediaserver.call.events import QualityChanged
from mediaserver.call.quality import LEVELS, LegQuality, PictureQuality, SoundQuality
from mediaserver.call.quality_meter import QualityMeter
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import TransportStats
from mediaserver.errors import MediaServerError
from mediaserver.runtime.metrics import Metrics

_LEGS_AT_ONCE: Final = 100
_KINDS: Final = ("browser", "sip", "room")
_DIRECTIONS: Final = ("received", "sent")
_log = structlog.get_logger(__name__)


class Watched(Protocol):
    """A leg of a call, or somebody in a room."""

    meter: QualityMeter
    track_kinds: dict[int, Kind]
    log: structlog.stdlib.BoundLogger

    @property
    def kind(self) -> str:
        """`browser`, `sip` or `room`: a label of the metrics."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""

    @property
    def transports(self) -> tuple[int, ...]:
        """Engine transports."""

    def emit(self, event: QualityChanged, /) -> None:
        """It is doing better or worse than before."""


class QualityWatch:
    """`run` is the task that looks every `interval_s`. Legs are held weakly: one that is over is forgotten by itself."""

    def __init__(
        self, *, engine: Engine, metrics: Metrics, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._clock = clock
        self._legs: WeakSet[Watched] = WeakSet()
        labels = ("leg", "direction")
        self._mos = metrics.histogram(
            "leg_mos",
            "Score of a leg's sound by the E-model (ITU-T G.107), an interval each",
            labels,
            buckets=(1.5, 2.0, 2.58, 3.1, 3.6, 4.02, 4.34, 4.5),
        )
        self._loss = metrics.histogram(
            "leg_loss_ratio",
            "Share of a leg's packets lost, an interval each",
            (*labels, "kind"),
            buckets=(0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        )
        self._jitter = metrics.histogram(
            "leg_jitter_seconds",
            "Interarrival jitter of a leg's packets",
            (*labels, "kind"),
            buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
        )
        self._round_trip = metrics.histogram(
            "leg_round_trip_seconds",
            "Round trip to the peer of a leg",
            ("leg",),
            buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
        )
        self._freezes = metrics.counter("leg_freezes_total", "Freezes of pictures (W3C webrtc-stats)", labels)
        self._frozen = metrics.counter("leg_frozen_seconds_total", "Time in which pictures stood still", labels)
        self._switches = metrics.counter("leg_layer_switches_total", "Changes of the layer that flows", ("leg",))
        self._repaired = metrics.counter(
            "leg_repaired_packets_total",
            "Packets that were lost and had after all: sent again, or from the redundancy of later ones",
            (*labels, "kind"),
        )
        self._levels = metrics.gauge(
            "legs_by_quality", "Legs of calls, and parties of rooms, by how they are doing", ("leg", "level")
        )

    def watch(self, *legs: Watched) -> None:
        """Looks at these legs from now on."""
        for leg in legs:
            leg.meter.begin(self._clock())
            self._legs.add(leg)

    async def run(self) -> None:
        """Looks at all legs, again and again."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look()
            except MediaServerError as error:
                _log.warning("quality_not_read", error=str(error))

    async def look(self) -> None:
        """Looks at all legs once. Raises EngineError."""
        legs = [leg for leg in self._legs if not leg.ended]
        while legs:
            some, legs = legs[:_LEGS_AT_ONCE], legs[_LEGS_AT_ONCE:]
            stats = await self._engine.stats(itertools.chain.from_iterable(leg.transports for leg in some))
            by_id = {transport.id: transport for transport in stats}
            for leg in some:
                self._look_at(leg, [by_id[number] for number in leg.transports if number in by_id])
        levels: Counter[tuple[str, str | None]] = Counter(
            (leg.kind, leg.meter.summary.level) for leg in self._legs if not leg.ended
        )
        for kind, level in itertools.product(_KINDS, LEVELS):
            self._levels.labels(kind, level).set(levels[(kind, level)])

    def _look_at(self, leg: Watched, stats: list[TransportStats]) -> None:
        quality = leg.meter.look(stats, leg.track_kinds, self._clock()) if stats and not leg.ended else None
        if quality is None:
            return
        self._count(leg.kind, quality)
        if leg.meter.changed:
            leg.log.info("quality_changed", level=quality.level, mos=quality.mos, round_trip_ms=quality.round_trip_ms)
            leg.emit(QualityChanged(quality))

    def _count(self, kind: str, quality: LegQuality) -> None:
        if quality.round_trip_ms is not None:
            self._round_trip.labels(kind).observe(quality.round_trip_ms / 1000)
        sounds = zip(_DIRECTIONS, (quality.sound_from, quality.sound_to), strict=True)
        pictures = zip(_DIRECTIONS, (quality.picture_from, quality.picture_to), strict=True)
        self._count_sounds(kind, sounds)
        self._count_pictures(kind, pictures, quality.seconds)

    def _count_sounds(self, kind: str, sounds: Iterable[tuple[str, SoundQuality | None]]) -> None:
        for direction, sound in sounds:
            if sound is None:
                continue
            self._loss.labels(kind, direction, "audio").observe(sound.loss)
            self._jitter.labels(kind, direction, "audio").observe(sound.jitter_ms / 1000)
            self._repaired.labels(kind, direction, "audio").inc(max(0, sound.repaired))
            if sound.mos is not None:
                self._mos.labels(kind, direction).observe(sound.mos)

    def _count_pictures(self, kind: str, pictures: Iterable[tuple[str, PictureQuality | None]], seconds: float) -> None:
        for direction, picture in pictures:
            if picture is None:
                continue
            self._loss.labels(kind, direction, "video").observe(picture.loss)
            self._jitter.labels(kind, direction, "video").observe(picture.jitter_ms / 1000)
            self._freezes.labels(kind, direction).inc(max(0, picture.freezes))
            self._frozen.labels(kind, direction).inc(picture.frozen * seconds)
            self._switches.labels(kind).inc(max(0, picture.switches))
            self._repaired.labels(kind, direction, "video").inc(max(0, picture.repaired))
