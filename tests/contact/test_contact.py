"""A contact's record: who ended it and why, consent, bounded attributes and timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mediaserver.call.events import EndCause
from mediaserver.call.signaling import AttributesRefused
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.contact import Contact
from mediaserver.contact.timeline import MAX_ENTRIES
from mediaserver.engine.events import DownTrackStats, TransportStats, UpTrackStats
from tests.call.fakes import FakeLeg


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_the_record_says_when_who_and_why() -> None:
    clock = Clock()
    contact = Contact(id="c", source="192.0.2.1", entry="demo", clock=clock)
    clock.now += timedelta(seconds=5)
    contact.answered(FakeLeg("agent"))
    contact.consent(given=True, text_version="2")
    clock.now += timedelta(seconds=60)
    contact.finish(EndCause("agent", "hangup"))
    contact.finish(EndCause("system", "later"))
    record = contact.record()
    assert (record.ended_by, record.end_reason) == ("agent", "hangup")
    assert (record.ended_at - record.started_at, record.answered_at) == (
        timedelta(seconds=65),
        record.started_at + timedelta(seconds=5),
    )
    assert record.consent is not None
    assert (record.consent.camera, record.consent.text_version) == (True, "2")
    noted = [(entry.what, entry.detail) for entry in contact.timeline.entries]
    assert ("camera_consent", "given, text 2") in noted


def test_streams_are_counted_per_leg_and_kind() -> None:
    contact, leg = Contact(id="c", source=""), FakeLeg("phone")
    leg.track_kinds = {1: "audio", 2: "audio", 3: "video"}
    up = UpTrackStats(id=3, packets=9, bytes=900, lost=1, jitter_ms=2.5, keyframes=1, gated={"consent": 4}, codec="VP8")
    audio = UpTrackStats(id=1, packets=50, bytes=5000, lost=0, jitter_ms=1.0, keyframes=0, gated={}, codec="opus")
    down = DownTrackStats(id=2, packets=40, bytes=4000, remote_lost=3, remote_jitter_ms=7.0, codec="PCMU")
    leg.last_stats = [
        TransportStats(
            id=8,
            packets_received=59,
            bytes_received=1,
            packets_sent=40,
            bytes_sent=1,
            round_trip_ms=20.0,
            up=(audio, up),
            down=(down,),
        )
    ]
    contact.add_leg(leg)
    contact.finish(EndCause("caller", "hangup"))
    (kept,) = contact.record().legs
    streams = {stream.kind: stream for stream in kept.streams}
    assert kept.round_trip_ms == 20.0
    assert (streams["audio"].codec, streams["audio"].codec_sent, streams["audio"].remote_lost) == ("opus", "PCMU", 3)
    assert (streams["video"].packets, streams["video"].lost, dict(streams["video"].gated)) == (9, 1, {"consent": 4})


def test_the_timeline_is_bounded_and_counts_what_it_left_out() -> None:
    contact = Contact(id="c", source="")
    for number in range(MAX_ENTRIES + 9):
        contact.note("digit", str(number))
    assert len(contact.timeline.entries) == MAX_ENTRIES
    assert contact.timeline.left_out == 10


@pytest.mark.parametrize(
    ("attributes", "limit"),
    [
        ({"a": "", "b": "", "c": ""}, "limits.attributes"),
        ({"name": "1234567"}, "limits.attribute_size"),
        ({"name": "äää1"}, "limits.attribute_size"),
        ({"name": "\ud800\ud8001"}, "limits.attribute_size"),
    ],
    ids=["many", "long", "long in UTF-8", "broken text"],
)
def test_attributes_beyond_a_limit_are_refused_by_its_name(attributes: dict[str, str], limit: str) -> None:
    with pytest.raises(AttributesRefused) as refused:
        AttributeLimits(count=2, size_bytes=10).bounded(attributes)
    assert refused.value.limit == limit


def test_attributes_within_the_limits_are_kept_as_they_are() -> None:
    said = {"name": "äää", "b": "123456789"}
    assert AttributeLimits(count=2, size_bytes=10).bounded(said) == said
