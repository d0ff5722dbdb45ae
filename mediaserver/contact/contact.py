"""A contact: one customer's matter now, from the first click on, and what is kept of it when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.contact.attributes import Attributes
from mediaserver.contact.consent import CameraConsent
from mediaserver.contact.timeline import Timeline
from mediaserver.engine.events import TransportStats
from mediaserver.store.records import ConsentRecord, ContactRecord, LegRecord, StreamRecord
from mediaserver.webrtc.messages import Page


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Contact:
    """Owns its legs from their creation. Times are aware; `clock` gives them."""

    id: str
    source: str
    entry: str | None = None
    caller: str = "anonymous"
    reference: str | None = None
    page: Page | None = None
    attributes: Attributes = field(default_factory=Attributes)
    clock: Callable[[], datetime] = _now
    legs: list[Leg] = field(default_factory=list)
    consents: list[CameraConsent] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    started_at: datetime = field(init=False)
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    cause: EndCause | None = None

    def __post_init__(self) -> None:
        self.started_at = self.clock()
        self.note("started", self.entry or "")

    def note(self, what: str, detail: str = "") -> None:
        """Adds to the timeline."""
        self.timeline.add(what, detail, at=self.clock())

    def add_leg(self, leg: Leg) -> None:
        """Takes a leg in; it stays in the record when it has ended."""
        self.legs.append(leg)
        self.note("leg", f"{leg.kind} {leg.name}")

    def answered(self, by: Leg) -> None:
        """Somebody took the call."""
        if self.answered_at is None:
            self.answered_at = self.clock()
        self.note("answered", by.name)

    def consent(self, *, given: bool, text_version: str) -> None:
        """The customer showed the camera, or took that back."""
        self.consents.append(CameraConsent(given, text_version, self.clock()))
        self.note("camera_consent", f"{'given' if given else 'withdrawn'}, text {text_version}")

    def finish(self, cause: EndCause) -> None:
        """Ends the contact; the first cause stays."""
        if self.cause is None:
            self.cause = cause
            self.ended_at = self.clock()
            self.note("ended", f"{cause.by} {cause.reason}")

    def record(self) -> ContactRecord:
        """The row that is kept. Call it after `finish`."""
        cause = self.cause or EndCause("system", "unknown")
        consent = self.consents[-1] if self.consents else None
        return ContactRecord(
            contact_id=self.id,
            started_at=self.started_at,
            answered_at=self.answered_at,
            ended_at=self.ended_at or self.clock(),
            ended_by=cause.by,
            end_reason=cause.reason,
            entry=self.entry,
            caller=self.reference or self.caller,
            consent=_consent_record(consent) if consent else None,
            legs=tuple(_leg_record(leg, leg.last_stats, leg.track_kinds) for leg in self.legs),
            attributes=dict(self.attributes.verified),
        )


def _consent_record(consent: CameraConsent) -> ConsentRecord:
    return ConsentRecord(camera=consent.given, at=consent.at, text_version=consent.text_version)


def _leg_record(leg: Leg, transports: Sequence[TransportStats], kinds: Mapping[int, str]) -> LegRecord:
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
