"""How a leg is doing: what its line lost, delayed and froze since the last look, and the score that sound gets for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.call.e_model import voice_mos
from mediaserver.engine.commands import Kind
from mediaserver.engine.events import DownTrackStats, TransportStats, UpTrackStats
from mediaserver.sdp.bandwidth import PTIME_MS

Level = Literal["good", "fair", "poor", "bad"]
LEVELS: Final[tuple[Level, ...]] = ("good", "fair", "poor", "bad")
"""From the best to the worst."""

_LEAST_PACKETS: Final = 20
"""Of fewer packets a share of loss says nothing."""

# ITU-T G.109 table 1 as scores by G.107 Annex B: R 80 (satisfied), 70 (some dissatisfied), 60 (many dissatisfied).
_MOS_STEPS: Final = (4.02, 3.60, 3.10)
_FROZEN_STEPS: Final = (0.01, 0.05, 0.20)
"""Share of the time in which a picture stood still."""
_LEAST_MISSED: Final = 0.01
"""Of a picture whose line lost less than this share the sender stood still, not the line."""


@dataclass(frozen=True, slots=True)
class SoundQuality:
    """One direction of sound. `mos` is by the E-model (ITU-T G.107), of this leg's line alone; None: too few packets."""

    loss: float
    """Share of packets lost, 0 to 1; what came by retransmission is not lost."""
    jitter_ms: float
    mos: float | None
    repaired: int = 0
    """Packets that were lost and taken from the redundancy of later ones (RFC 2198)."""


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """One direction of a picture. Freezes are those of W3C webrtc-stats, as the server received or sent the frames."""

    loss: float
    jitter_ms: float
    freezes: int
    frozen: float
    """Share of the time in which it stood still."""
    height: int | None
    """Of the layer that flows, in pixels."""
    switches: int
    """How often another layer began to flow; 0 for what the peer sends."""
    repaired: int = 0
    """Packets that were lost and sent again; they do not count in `loss`."""
    missed: float = 0.0
    """Share of packets that were lost at first, repaired or not."""

    @property
    def frozen_by_line(self) -> float:
        """`frozen` where this leg's line lost packets; else what stood still was a sender, or the line in front of it."""
        return self.frozen if self.missed >= _LEAST_MISSED else 0.0


@dataclass(frozen=True, slots=True)
class LegQuality:
    """A leg over one interval: `from_` the peer, and `to` it by its own reports; a direction without news is None.

    Where a leg has several tracks of a kind in one direction, in a room, the worst counts.
    """

    seconds: float
    round_trip_ms: float | None
    estimate_bps: int | None
    """What the line to the peer carries, where its feedback tells."""
    sound_from: SoundQuality | None
    sound_to: SoundQuality | None
    picture_from: PictureQuality | None
    picture_to: PictureQuality | None

    @property
    def level(self) -> Level:
        """The worst of all directions, by what this leg's own line did."""
        ranks = [_rank(-sound.mos, [-step for step in _MOS_STEPS]) for sound in self.sounds if sound.mos is not None]
        ranks += [_rank(picture.frozen_by_line, _FROZEN_STEPS) for picture in self.pictures]
        return LEVELS[max(ranks, default=0)]

    @property
    def sounds(self) -> tuple[SoundQuality, ...]:
        """Both directions of sound, as far as there are news of them."""
        return tuple(sound for sound in (self.sound_from, self.sound_to) if sound is not None)

    @property
    def pictures(self) -> tuple[PictureQuality, ...]:
        """Both directions of the picture, likewise."""
        return tuple(picture for picture in (self.picture_from, self.picture_to) if picture is not None)

    @property
    def mos(self) -> float | None:
        """The lower score of both directions."""
        return min((sound.mos for sound in self.sounds if sound.mos is not None), default=None)


def measure(
    before: Sequence[TransportStats], after: Sequence[TransportStats], kinds: Mapping[int, Kind], seconds: float
) -> LegQuality:
    """What happened on a leg's transports between two looks at their counters, `seconds` apart.

    `kinds` tells the tracks apart; `before` may be empty, and transports that it does not know count from zero.
    """
    known_up = {track.id: track for transport in before for track in transport.up}
    known_down = {track.id: track for transport in before for track in transport.down}
    ups = [(known_up.get(track.id), track) for transport in after for track in transport.up]
    downs = [(known_down.get(track.id), track) for transport in after for track in transport.down]
    round_trips = [transport.round_trip_ms for transport in after if transport.round_trip_ms is not None]
    round_trip = max(round_trips, default=None)
    sounds_up = [_sound_from(*pair, round_trip) for pair in ups if kinds.get(pair[1].id) == "audio"]
    sounds_down = [_sound_to(*pair, round_trip) for pair in downs if kinds.get(pair[1].id) == "audio"]
    pictures_up = [_picture_from(*pair, seconds) for pair in ups if kinds.get(pair[1].id) == "video"]
    pictures_down = [_picture_to(*pair, seconds) for pair in downs if kinds.get(pair[1].id) == "video"]
    return LegQuality(
        seconds=seconds,
        round_trip_ms=round_trip,
        estimate_bps=next((each.bandwidth.estimate_bps for each in after if each.bandwidth is not None), None),
        sound_from=_worst_sound(sounds_up),
        sound_to=_worst_sound(sounds_down),
        picture_from=_all_pictures(pictures_up),
        picture_to=_all_pictures(pictures_down),
    )


def _worst_sound(sounds: Sequence[SoundQuality | None]) -> SoundQuality | None:
    """Of several voices that share a line, in a room, the one that is heard worst."""
    present = [sound for sound in sounds if sound is not None]
    return max(present, key=lambda sound: (-(sound.mos or math.inf), sound.loss), default=None)


def _all_pictures(pictures: Sequence[PictureQuality | None]) -> PictureQuality | None:
    """Of several pictures that share a line: the worst of each figure, the largest height, and all freezes."""
    present = [picture for picture in pictures if picture is not None]
    if not present:
        return None
    return PictureQuality(
        loss=max(picture.loss for picture in present),
        jitter_ms=max(picture.jitter_ms for picture in present),
        freezes=sum(picture.freezes for picture in present),
        frozen=max(picture.frozen for picture in present),
        height=max((picture.height for picture in present if picture.height is not None), default=None),
        switches=sum(picture.switches for picture in present),
        repaired=sum(picture.repaired for picture in present),
        missed=max(picture.missed for picture in present),
    )


def _sound_from(before: UpTrackStats | None, now: UpTrackStats, round_trip_ms: float | None) -> SoundQuality | None:
    packets = now.packets - (before.packets if before else 0)
    lost = _lost(now) - (_lost(before) if before else 0)
    return _sound(now.codec, packets, packets + lost, lost, now.jitter_ms, round_trip_ms)


def _sound_to(before: DownTrackStats | None, now: DownTrackStats, round_trip_ms: float | None) -> SoundQuality | None:
    sent = now.packets - (before.packets if before else 0)
    lost = now.remote_lost - (before.remote_lost if before else 0)
    if not now.remote_jitter_ms and not now.remote_lost:
        return None  # the peer has reported nothing yet
    found = _sound(now.codec, sent, sent, lost, now.remote_jitter_ms, round_trip_ms)
    return found and replace(found, repaired=now.recovered - (before.recovered if before else 0))


def _sound(
    codec: str | None, packets: int, expected: int, lost: int, jitter_ms: float, round_trip_ms: float | None
) -> SoundQuality | None:
    if packets <= 0 and lost <= 0:
        return None
    loss = _share(lost, expected)
    # From mouth to ear on this line: half the round trip, one packet to fill, and a buffer that rides out the jitter
    # (RFC 3611 §4.7.7 speaks of twice the jitter for adaptive ones).
    delay = (round_trip_ms or 0.0) / 2 + PTIME_MS + 2 * jitter_ms
    score = voice_mos(codec or "", delay_ms=delay, loss=loss) if expected >= _LEAST_PACKETS else None
    return SoundQuality(loss, jitter_ms, score)


def _picture_from(before: UpTrackStats | None, now: UpTrackStats, seconds: float) -> PictureQuality | None:
    packets = now.packets - (before.packets if before else 0)
    if packets <= 0:
        return None
    lost = _lost(now) - (_lost(before) if before else 0)
    missed = now.lost - (before.lost if before else 0)
    alive = [layer.height for layer in now.layers if layer.alive and layer.height]
    return PictureQuality(
        loss=_share(lost, packets + lost),
        jitter_ms=now.jitter_ms,
        freezes=now.freezes - (before.freezes if before else 0),
        frozen=_frozen(now.frozen_ms - (before.frozen_ms if before else 0.0), seconds),
        height=max(alive, default=None),
        switches=0,
        repaired=now.recovered - (before.recovered if before else 0),
        missed=_share(missed, packets + lost),
    )


def _picture_to(before: DownTrackStats | None, now: DownTrackStats, seconds: float) -> PictureQuality | None:
    packets = now.packets - (before.packets if before else 0)
    if packets <= 0:
        return None
    return PictureQuality(
        loss=_share(_lost_there(now) - (_lost_there(before) if before else 0), packets),
        jitter_ms=now.remote_jitter_ms,
        freezes=now.freezes - (before.freezes if before else 0),
        frozen=_frozen(now.frozen_ms - (before.frozen_ms if before else 0.0), seconds),
        height=now.layer.height if now.layer is not None else None,
        switches=now.layer_switches - (before.layer_switches if before else 0),
        repaired=now.recovered - (before.recovered if before else 0),
        missed=_share(now.remote_lost - (before.remote_lost if before else 0), packets),
    )


def _lost(track: UpTrackStats) -> int:
    return max(0, track.lost - track.recovered)


def _lost_there(track: DownTrackStats) -> int:
    # RFC 4588 §8.1: what is sent again has statistics of its own, so the peer's reports count it as lost.
    return max(0, track.remote_lost - track.recovered)


def _share(lost: int, expected: int) -> float:
    return min(1.0, max(0, lost) / expected) if expected > 0 else 0.0


def _frozen(ms: float, seconds: float) -> float:
    return min(1.0, max(0.0, ms) / 1000 / seconds) if seconds > 0 else 0.0


def _rank(value: float, steps: Sequence[float]) -> int:
    return sum(value > step for step in steps)
