"""What is kept of a leg when it is over: times, why it ended, its streams and how its line did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from mediaserver.call.events import EndCause
from mediaserver.call.quality_meter import QualityMeter
from mediaserver.engine.commands import Kind
from mediaserver.engine.events import TransportStats
from mediaserver.store.records import LegRecord, StreamRecord


class Recorded(Protocol):
    """A leg, or the like, as far as its record tells of it. Times are aware."""

    name: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    end_cause: EndCause | None
    last_stats: list[TransportStats]
    track_kinds: dict[int, Kind]
    picture_withheld: str
    session_id: str
    meter: QualityMeter

    @property
    def kind(self) -> str:
        """`browser`, `sip` or `room`."""


def leg_record(leg: Recorded) -> LegRecord:
    """What the record of a contact, or of a stay in a room, keeps of a leg that is over."""
    transports, kinds = leg.last_stats, leg.track_kinds
    streams = {kind: _stream(kind, transports, kinds) for kind in dict.fromkeys(kinds.values())}
    round_trips = [item.round_trip_ms for item in transports if item.round_trip_ms is not None]
    return LegRecord(
        kind=leg.kind,
        party=leg.name,
        started_at=leg.started_at,
        answered_at=leg.answered_at,
        ended_at=leg.ended_at,
        end_reason=leg.end_cause.reason if leg.end_cause else "",
        round_trip_ms=max(round_trips, default=None),
        picture_withheld=leg.picture_withheld,
        session_id=leg.session_id,
        streams=tuple(streams.values()),
        quality=leg.meter.summary.record(),
    )


def _stream(kind: str, transports: Sequence[TransportStats], kinds: Mapping[int, str]) -> StreamRecord:
    up = [track for stats in transports for track in stats.up if kinds.get(track.id) == kind]
    down = [track for stats in transports for track in stats.down if kinds.get(track.id) == kind]
    gated: Counter[str] = Counter()
    for track in up:
        gated.update(track.gated)
    return StreamRecord(
        kind=kind,
        codec=next((track.codec for track in up if track.codec), None),
        packets=sum(track.packets for track in up),
        bytes=sum(track.bytes for track in up),
        lost=sum(track.lost for track in up),
        recovered=sum(track.recovered for track in up),
        jitter_ms=max((track.jitter_ms for track in up), default=0.0),
        codec_sent=next((track.codec for track in down if track.codec), None),
        packets_sent=sum(track.packets for track in down),
        bytes_sent=sum(track.bytes for track in down),
        remote_lost=sum(track.remote_lost for track in down),
        recovered_sent=sum(track.recovered for track in down),
        remote_jitter_ms=max((track.remote_jitter_ms for track in down), default=0.0),
        gated=gated,
    )
