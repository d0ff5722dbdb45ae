"""How a leg is doing, from its counters: per interval, over its life, in metrics, events and on the page."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from mediaserver.call.events import EndCause, LegEvent, QualityChanged
from mediaserver.call.quality import LegQuality, PictureQuality, SoundQuality, measure
from mediaserver.call.quality_meter import QualityMeter
from mediaserver.call.quality_watch import QualityWatch
from mediaserver.engine.commands import Kind
from mediaserver.engine.events import DownTrackStats, Layer, TransportStats, UpTrackStats
from mediaserver.runtime.metrics import Metrics
from mediaserver.store.records import QualityRecord
from tests.call.fakes import FakeEngine, FakeLeg

KINDS: dict[int, Kind] = {1: "audio", 2: "audio", 3: "video", 4: "video"}
UP = UpTrackStats(id=1, packets=0, bytes=0, lost=0, jitter_ms=4.0, keyframes=0, gated={}, codec="PCMU")
DOWN = DownTrackStats(id=2, packets=0, bytes=0, remote_lost=0, remote_jitter_ms=6.0, codec="PCMU")
PICTURE = UpTrackStats(id=3, packets=0, bytes=0, lost=0, jitter_ms=2.0, keyframes=0, gated={}, codec="VP8")
SHOWN = DownTrackStats(id=4, packets=0, bytes=0, remote_lost=0, remote_jitter_ms=3.0, codec="VP8")
EMPTY = LegQuality(10, None, None, None, None, None, None)


def transport(
    *tracks: UpTrackStats | DownTrackStats, number: int = 9, round_trip_ms: float | None = 40.0
) -> TransportStats:
    return TransportStats(
        id=number,
        packets_received=0,
        bytes_received=0,
        packets_sent=0,
        bytes_sent=0,
        round_trip_ms=round_trip_ms,
        up=tuple(track for track in tracks if isinstance(track, UpTrackStats)),
        down=tuple(track for track in tracks if isinstance(track, DownTrackStats)),
    )


def changed(track: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(track, **changes)


def of(after: TransportStats, before: TransportStats | None = None, seconds: float = 10) -> LegQuality:
    return measure([before] if before else [], [after], KINDS, seconds)


def test_loss_is_that_of_the_interval_and_not_of_the_call() -> None:
    before = transport(changed(UP, packets=10_000, lost=5_000))
    found = of(transport(changed(UP, packets=10_475, lost=5_025)), before).sound_from
    assert found is not None
    assert found.loss == pytest.approx(25 / 500)


def test_what_came_by_retransmission_is_not_lost() -> None:
    found = of(transport(changed(PICTURE, packets=950, lost=50, recovered=40))).picture_from
    assert found is not None
    assert found.loss == pytest.approx(10 / 960)


def test_the_score_falls_with_loss_delay_and_jitter() -> None:
    def mos(round_trip_ms: float = 40.0, **changes: Any) -> float:
        sound = of(transport(changed(UP, packets=500, **changes), round_trip_ms=round_trip_ms)).sound_from
        assert sound is not None
        assert sound.mos is not None
        return sound.mos

    assert mos() > 4.3
    assert mos(lost=50) < mos(lost=5) < mos()
    assert mos(round_trip_ms=800) < mos(round_trip_ms=400) < mos()
    assert mos(jitter_ms=150) < mos()


def test_a_peer_that_reports_nothing_has_no_score_in_its_direction() -> None:
    silent = of(transport(changed(DOWN, packets=500, remote_jitter_ms=0.0)))
    assert silent.sound_to is None
    heard = of(transport(changed(DOWN, packets=500, remote_lost=50))).sound_to
    assert heard is not None
    assert heard.loss == pytest.approx(0.1)


def test_silence_and_a_handful_of_packets_are_not_judged() -> None:
    assert of(transport(UP, DOWN, PICTURE, SHOWN)) == replace(EMPTY, round_trip_ms=40.0)
    few = of(transport(changed(UP, packets=10, lost=9))).sound_from
    assert few is not None
    assert few.mos is None


def test_lies_of_a_peer_stay_within_bounds() -> None:
    found = of(transport(changed(DOWN, packets=100, remote_lost=100_000), changed(SHOWN, packets=1, frozen_ms=1e9)))
    assert found.sound_to is not None
    assert found.picture_to is not None
    assert (found.sound_to.loss, found.picture_to.frozen) == (1.0, 1.0)
    assert found.sound_to.mos == pytest.approx(1.0, abs=0.5)
    fewer = of(transport(changed(DOWN, packets=200, remote_lost=0)), transport(changed(DOWN, remote_lost=500)))
    assert fewer.sound_to is not None
    assert fewer.sound_to.loss == 0.0


def test_a_picture_tells_its_freezes_its_layer_and_its_switches() -> None:
    before = transport(changed(SHOWN, packets=100, freezes=2, frozen_ms=900.0, layer_switches=3))
    layer = Layer(rid="m", width=640, height=360, alive=True)
    now = changed(SHOWN, packets=900, freezes=4, frozen_ms=1900.0, layer_switches=4, layer=layer)
    found = of(transport(now), before).picture_to
    assert found == PictureQuality(0.0, 3.0, freezes=2, frozen=pytest.approx(0.1), height=360, switches=1)


def test_a_sender_that_stands_still_is_not_blamed_on_the_line_of_whoever_looks_nor_on_its_own() -> None:
    still = {"packets": 300, "freezes": 5, "frozen_ms": 4000.0}
    sound = (changed(UP, packets=500), changed(DOWN, packets=500))
    clear = of(transport(*sound, changed(PICTURE, **still), changed(SHOWN, **still), round_trip_ms=0.4))
    assert [picture.frozen for picture in clear.pictures] == [0.4, 0.4], "it is told all the same"
    assert clear.level == "good"
    repaired = changed(PICTURE, **still, lost=30, recovered=30)
    assert of(transport(*sound, repaired)).level == "bad", "it came late, because its line had lost it"
    assert of(transport(*sound, changed(SHOWN, **still, remote_lost=30))).level == "bad"


def test_what_a_viewer_was_sent_again_is_not_lost_and_is_told_and_kept() -> None:
    before = transport(changed(SHOWN, packets=100, remote_lost=4, recovered=3), changed(PICTURE, recovered=1))
    now = transport(
        changed(SHOWN, packets=1100, remote_lost=54, recovered=43), changed(PICTURE, packets=500, recovered=9)
    )
    found = of(now, before)
    assert found.picture_to is not None
    assert found.picture_from is not None
    assert (found.picture_to.repaired, found.picture_from.repaired) == (40, 8)
    assert found.picture_to.loss == pytest.approx(10 / 1000)
    sound = of(transport(changed(DOWN, packets=500, recovered=7))).sound_to
    assert sound is not None
    assert sound.repaired == 7
    meter = QualityMeter()
    meter.begin(0.0)
    meter.look([before], KINDS, 10.0)
    meter.look([now], KINDS, 20.0)
    record = meter.summary.record()
    assert record is not None
    assert (record.sent.repaired, record.received.repaired) == (43, 8)


SOUND = SoundQuality(0.0, 1.0, 4.4)
SIGHT = PictureQuality(0.0, 1.0, 0, 0.0, 720, 0)


@pytest.mark.parametrize(
    ("quality", "level"),
    [
        (EMPTY, "good"),
        (replace(EMPTY, sound_from=SOUND, picture_to=SIGHT), "good"),
        (replace(EMPTY, sound_from=SOUND, sound_to=replace(SOUND, mos=3.9)), "fair"),
        (replace(EMPTY, sound_from=replace(SOUND, mos=3.3), picture_to=SIGHT), "poor"),
        (replace(EMPTY, sound_from=SOUND, picture_to=replace(SIGHT, frozen=0.3, missed=0.05)), "bad"),
        (replace(EMPTY, sound_from=SOUND, picture_to=replace(SIGHT, frozen=0.3, missed=0.005)), "good"),
        (replace(EMPTY, sound_from=replace(SOUND, mos=2.0)), "bad"),
    ],
)
def test_the_worst_direction_tells_how_a_leg_is_doing(quality: LegQuality, level: str) -> None:
    assert quality.level == level


def test_a_meter_adds_intervals_up_and_tells_changes() -> None:
    meter = QualityMeter()
    assert meter.look([transport()], KINDS, 1.0) is None, "nobody began"
    meter.begin(100.0)
    assert meter.look([transport()], KINDS, 100.5) is None, "too early"
    assert meter.summary.record() is None
    good = transport(changed(UP, packets=500), changed(DOWN, packets=500))
    meter.look([good], KINDS, 110.0)
    assert not meter.changed
    bad = transport(changed(UP, packets=1000), changed(DOWN, packets=1000, remote_lost=250), round_trip_ms=80.0)
    meter.look([bad], KINDS, 140.0)
    assert meter.changed
    meter.look([bad], KINDS, 150.0)
    assert meter.changed, "and back"
    record = meter.summary.record()
    assert record is not None
    assert record.seconds == {"good": 20.0, "bad": 30.0}
    assert (record.round_trip_max_ms, record.round_trip_ms) == (80.0, 72.0)
    assert record.sent.loss == pytest.approx(0.375)  # 10 s without, 30 s with a half, none in the silent last 10 s
    assert record.sent.loss_max == 0.5
    assert record.sent.mos_min is not None
    assert record.received.mos is not None
    assert record.sent.mos_min < 2.6 < 4.3 < record.received.mos
    assert msgspec.json.decode(msgspec.json.encode(record), type=QualityRecord) == record


class Watched(FakeLeg):
    """A leg with one transport."""

    @property
    def transports(self) -> tuple[int, ...]:
        return (9,)


class Engine(FakeEngine):
    """Tells what the test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.told = transport()

    async def stats(self, ids: Any) -> list[TransportStats]:
        assert list(ids) == [9]
        return [self.told]


async def test_the_watch_counts_by_kind_of_leg_and_tells_the_leg_of_changes() -> None:
    engine, metrics, now = Engine(), Metrics(), [0.0]
    watch = QualityWatch(engine=engine, metrics=metrics, interval_s=10, clock=lambda: now[0])  # type: ignore[arg-type]
    leg = Watched("phone")
    leg.track_kinds = KINDS
    seen: list[LegEvent] = []
    leg.listen(lambda _, event: seen.append(event))
    watch.watch(leg)
    rounds = [
        transport(changed(UP, packets=500), changed(SHOWN, packets=300)),
        transport(changed(UP, packets=1000, lost=200), changed(SHOWN, packets=600, freezes=2, frozen_ms=1000)),
        transport(changed(UP, packets=1500, lost=400), changed(SHOWN, packets=900, freezes=2, frozen_ms=1000)),
    ]
    for told in rounds:
        now[0] += 10
        engine.told = told
        await watch.look()
    assert [event.quality.level for event in seen if isinstance(event, QualityChanged)] == ["bad"]
    assert metrics.value("legs_by_quality", leg="room", level="bad") == 1
    assert metrics.value("legs_by_quality", leg="room", level="good") == 0
    assert metrics.value("leg_mos_count", leg="room", direction="received") == 3
    assert metrics.value("leg_loss_ratio_bucket", leg="room", direction="received", kind="audio", le="0.2") == 1
    assert metrics.value("leg_freezes_total", leg="room", direction="sent") == 2
    assert metrics.value("leg_frozen_seconds_total", leg="room", direction="sent") == pytest.approx(1.0)
    assert metrics.value("leg_round_trip_seconds_count", leg="room") == 3
    await leg.end(EndCause("system", "test"))
    await watch.look()
    assert metrics.value("legs_by_quality", leg="room", level="bad") == 0


async def test_the_watch_does_not_keep_a_leg_alive() -> None:
    watch = QualityWatch(engine=Engine(), metrics=Metrics(), interval_s=10)  # type: ignore[arg-type]
    watch.watch(Watched("phone"))
    gc.collect()
    assert len(watch._legs) == 0
    await watch.look()
