"""What is shown of calls and contacts while they are there, and of calls for a while after; made when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mediaserver.call.call import Call
from mediaserver.call.conference import SupervisionMode
from mediaserver.call.leg import Leg
from mediaserver.contact.contact import Contact

CallState = Literal["ringing", "up", "ended"]


@dataclass(frozen=True, slots=True)
class LegView:
    """One party of a call. Times are aware."""

    id: str
    kind: str
    """`browser`, `sip`, `announcement` or `room`."""
    name: str
    state: Literal["ringing", "up", "ended"]
    held: bool
    muted: tuple[str, ...]
    """What of it the other side does not get."""
    supervises: SupervisionMode | None
    """How, where it is no party: it hears all, and `whisper` is heard by one, `barge` by all."""
    accompanies: str | None
    """The leg whose picture it brings, where it is a further one of somebody."""
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    code: int | None


@dataclass(frozen=True, slots=True)
class CallView:
    """One call, from the first ring. Times are aware."""

    id: str
    contact_id: str
    state: CallState
    origin: str
    """`browser` (an entry), `sip`, `agent` (an agent's page) or `api`."""
    caller: str
    called: str | None
    """A number, a user or an entry."""
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None
    code: int | None
    legs: tuple[LegView, ...]


@dataclass(frozen=True, slots=True)
class ContactView:
    """One contact that is open."""

    id: str
    call_id: str
    entry: str | None
    caller: str
    reference: str | None
    page: Mapping[str, str] | None
    attributes: Mapping[str, str]
    """From a token of the house's site, or by the API."""
    unverified_attributes: Mapping[str, str]
    """The page's own words."""
    started_at: datetime
    answered_at: datetime | None
    timeline: tuple[tuple[datetime, str, str], ...]
    """When, what, and more about it."""


def call_view(contact: Contact, call: Call | None, *, origin: str, called: str | None) -> CallView:
    """The call of a contact, as it is now."""
    state: CallState = "ended" if contact.cause is not None else "ringing" if call is None else "up"
    cause = contact.cause
    return CallView(
        id=contact.call_id,
        contact_id=contact.id,
        state=state,
        origin=origin,
        caller=contact.caller,
        called=called,
        started_at=contact.started_at,
        answered_at=contact.answered_at,
        ended_at=contact.ended_at,
        ended_by=cause.by if cause is not None else None,
        end_reason=cause.reason if cause is not None else None,
        code=cause.code if cause is not None else None,
        legs=tuple(_leg_view(leg, call) for leg in contact.legs),
    )


def contact_view(contact: Contact) -> ContactView:
    """A contact, as it is now."""
    page = contact.page
    return ContactView(
        id=contact.id,
        call_id=contact.call_id,
        entry=contact.entry,
        caller=contact.caller,
        reference=contact.reference,
        page=None if page is None else {"url": page.url, "title": page.title},
        attributes=dict(contact.attributes.verified),
        unverified_attributes=dict(contact.attributes.unverified),
        started_at=contact.started_at,
        answered_at=contact.answered_at,
        timeline=tuple((entry.at, entry.what, entry.detail) for entry in contact.timeline.entries),
    )


def _leg_view(leg: Leg, call: Call | None) -> LegView:
    passing = call.passing if call is not None else None
    up = leg.answered_at is not None or (call is not None and leg in call.members)
    supervision = call.supervisions.get(leg.id) if call is not None else None
    return LegView(
        id=leg.id,
        kind=leg.kind,
        name=leg.name,
        state="ended" if leg.ended else "up" if up else "ringing",
        held=passing is not None and passing.is_held(leg),
        muted=tuple(passing.muted(leg)) if passing is not None else (),
        supervises=supervision.mode if supervision is not None else None,
        accompanies=call.companions.of.get(leg.id) if call is not None else None,
        started_at=leg.started_at,
        answered_at=leg.answered_at,
        ended_at=leg.ended_at,
        end_reason=leg.end_cause.reason if leg.end_cause is not None else None,
        code=leg.end_cause.code if leg.end_cause is not None else None,
    )
