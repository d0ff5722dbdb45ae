"""A contact: one customer's matter now, from the first click on, and what is kept of it when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mediaserver.call.agents import Presentation
from mediaserver.call.caller_identity import CallerIdentity
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.leg_record import leg_record
from mediaserver.call.signaling import AttributesRefused
from mediaserver.contact.attributes import AttributeLimits, Attributes
from mediaserver.contact.consent import CameraConsent
from mediaserver.contact.timeline import Timeline
from mediaserver.runtime.ids import new_id
from mediaserver.store.records import ConsentRecord, ContactRecord
from mediaserver.webrtc.messages import Page

Tell = Callable[[str, str, str, Mapping[str, Any]], None]
"""(type of the event, id of the contact, id of its call, what there is to say)."""

_TOLD: Final = frozenset(
    {
        "routed",
        "rerouted",
        "group_over",
        "transferred",
        "transfer_failed",
        "taken_over",
        "quality",
        "picture_withheld",
        "picture_shown",
        "announcement",
        "room_entered",
        "held",
        "resumed",
        "muted",
        "unmuted",
        "added",
        "add_failed",
        "supervised",
        "supervision_failed",
    }
)
"""Notes of the timeline that are events, too."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Contact:
    """Owns its legs from their creation. Times are aware; `clock` gives them."""

    id: str
    source: str
    entry: str | None = None
    caller: str = "anonymous"
    number: str | None = None
    """The caller's telephone number or user name, as routes see it."""
    reference: str | None = None
    page: Page | None = None
    attributes: Attributes = field(default_factory=Attributes)
    clock: Callable[[], datetime] = _now
    call_id: str = field(default_factory=new_id)
    """Of the one call that a contact has."""
    tell: Tell | None = None
    """Gets what happens, for whoever listens to events."""
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
        if what in _TOLD:
            self.happened(f"call.{what}", detail=detail)

    def happened(self, type_: str, **data: Any) -> None:
        """Tells whoever listens to events."""
        if self.tell is not None:
            self.tell(type_, self.id, self.call_id, data)

    def add_leg(self, leg: Leg) -> None:
        """Takes a leg in; it stays in the record when it has ended."""
        self.legs.append(leg)
        self.note("leg", f"{leg.kind} {leg.name}")
        self.told_leg(leg)

    def told_leg(self, leg: Leg) -> None:
        """Tells of a leg."""
        self.happened("call.leg", leg=leg.id, kind=leg.kind, name=leg.name)

    def answered(self, by: Leg) -> None:
        """Somebody took the call."""
        if self.answered_at is None:
            self.answered_at = self.clock()
        self.note("answered", by.name)
        self.happened("call.answered", leg=by.id, name=by.name)

    def consent(self, *, given: bool, text_version: str) -> None:
        """The customer showed the camera, or took that back."""
        self.consents.append(CameraConsent(given, text_version, self.clock()))
        self.note("camera_consent", f"{'given' if given else 'withdrawn'}, text {text_version}")
        self.happened("contact.consent", camera=given, text_version=text_version)

    def digit(self, leg: Leg, digit: str) -> None:
        """A key was pressed. No record keeps it: it may be a digit of somebody's PIN."""
        self.happened("call.dtmf", leg=leg.id, digit=digit)

    def finish(self, cause: EndCause) -> None:
        """Ends the contact; the first cause stays."""
        if self.cause is None:
            self.cause = cause
            self.ended_at = self.clock()
            self.note("ended", f"{cause.by} {cause.reason}")

    def introduce(self, identity: CallerIdentity, limits: AttributeLimits) -> Presentation:
        """Takes what is known of a caller by SIP; returns what agents are shown of it."""
        for step in identity.way:
            self.note("diverted", f"by {step.by}: {step.reason}")
        try:
            known = limits.bounded(identity.attributes)
        except AttributesRefused as error:
            known = {}
            self.note("attributes_left_out", str(error))
        self.attributes = Attributes(known, {}) if identity.trusted else Attributes({}, known)
        return Presentation(
            name=identity.name,
            verified=not identity.withheld,
            attributes=self.attributes.verified,
            unverified=self.attributes.unverified,
            number=identity.number,
            withheld=identity.withheld,
        )

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
            legs=tuple(leg_record(leg) for leg in self.legs),
            attributes=dict(self.attributes.verified),
        )


def _consent_record(consent: CameraConsent) -> ConsentRecord:
    return ConsentRecord(camera=consent.given, at=consent.at, text_version=consent.text_version)
