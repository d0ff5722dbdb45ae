"""The quality of a whole leg, gathered interval by interval: what its record keeps."""

from __future__ import annotations

from mediaserver.call.quality import LEVELS, LegQuality, Level, PictureQuality, SoundQuality
from mediaserver.store.records import DirectionQuality, QualityRecord


class QualitySummary:
    """Means weighted by time, extremes and sums of everything that was measured."""

    def __init__(self) -> None:
        self.level: Level | None = None
        """Of the last interval."""
        self._seconds = dict.fromkeys(LEVELS, 0.0)
        self._round_trip = _Range()
        self._estimate = _Range()
        self._from, self._to = _Direction(), _Direction()

    def add(self, quality: LegQuality) -> bool:
        """Takes one interval; whether the level is another one than before."""
        changed = quality.level != self.level
        self.level = quality.level
        self._seconds[quality.level] += quality.seconds
        self._round_trip.add(quality.round_trip_ms, quality.seconds)
        self._estimate.add(quality.estimate_bps, quality.seconds)
        self._from.add(quality.sound_from, quality.picture_from, quality.seconds)
        self._to.add(quality.sound_to, quality.picture_to, quality.seconds)
        return changed

    def record(self) -> QualityRecord | None:
        """What is kept; None where nothing was measured."""
        if self.level is None:
            return None
        return QualityRecord(
            seconds={level: round(seconds, 1) for level, seconds in self._seconds.items() if seconds > 0},
            round_trip_ms=_rounded(self._round_trip.mean, 1),
            round_trip_max_ms=_rounded(self._round_trip.most, 1),
            estimate_bps=None if self._estimate.mean is None else round(self._estimate.mean),
            received=self._from.record(),
            sent=self._to.record(),
        )


class _Range:
    """Least, most and mean of a value that is sometimes not known."""

    def __init__(self) -> None:
        self.least: float | None = None
        self.most: float | None = None
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float | None, weight: float) -> None:
        if value is None:
            return
        self.least = value if self.least is None else min(self.least, value)
        self.most = value if self.most is None else max(self.most, value)
        self._sum += value * weight
        self._weight += weight

    @property
    def mean(self) -> float | None:
        return self._sum / self._weight if self._weight else None


class _Direction:
    def __init__(self) -> None:
        self._mos, self._loss, self._jitter, self._picture_loss = _Range(), _Range(), _Range(), _Range()
        self._freezes = self._switches = self._repaired = 0
        self._frozen_s = 0.0

    def add(self, sound: SoundQuality | None, picture: PictureQuality | None, seconds: float) -> None:
        if sound is not None:
            self._mos.add(sound.mos, seconds)
            self._loss.add(sound.loss, seconds)
            self._jitter.add(sound.jitter_ms, seconds)
            self._repaired += sound.repaired
        if picture is not None:
            self._picture_loss.add(picture.loss, seconds)
            self._freezes += picture.freezes
            self._switches += picture.switches
            self._repaired += picture.repaired
            self._frozen_s += picture.frozen * seconds

    def record(self) -> DirectionQuality:
        return DirectionQuality(
            mos=_rounded(self._mos.mean, 2),
            mos_min=_rounded(self._mos.least, 2),
            loss=_rounded(self._loss.mean, 4),
            loss_max=_rounded(self._loss.most, 4),
            jitter_ms=_rounded(self._jitter.mean, 1),
            picture_loss=_rounded(self._picture_loss.mean, 4),
            freezes=self._freezes,
            frozen_s=round(self._frozen_s, 1),
            layer_switches=self._switches,
            repaired=self._repaired,
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
