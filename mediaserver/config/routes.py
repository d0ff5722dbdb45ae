"""The dial plan: what a route looks at, where calls go, groups of users, and webhooks that decide in our place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from mediaserver.config.base import Name, SecretRef, Section
from mediaserver.config.trunks import HeaderName
from mediaserver.config.values import Duration

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _clock(value: object) -> time:
    if isinstance(value, time):
        return value
    if value == "24:00":
        return time.max
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a time of day from 00:00 to 24:00, like 08:30")
    return time(int(found[1]), int(found[2]))


def _date(value: object) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("expected a date, like 2026-12-24") from None


def _zone(value: object) -> str:
    try:
        return ZoneInfo(value if isinstance(value, str) else "").key
    except (ValueError, OSError, KeyError):
        raise ValueError("expected a timezone of the IANA database, like Europe/Berlin or UTC") from None


Clock = Annotated[
    time,
    BeforeValidator(_clock),
    PlainSerializer(lambda value: "24:00" if value == time.max else value.strftime("%H:%M"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", "examples": ["08:30"]}),
]
Date = Annotated[
    date,
    BeforeValidator(_date),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-12-24"]}),
]
Timezone = Annotated[
    str, BeforeValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin", "UTC"]})
]


class Times(Section):
    """When a route holds; every key given must match."""

    days: tuple[Day, ...] = DAYS
    """Days of the week."""

    dates: tuple[Date, ...] = ()
    """Days of the year, like holidays; an empty list is any day."""

    start: Clock = time(0, 0)
    """First minute of the day."""

    end: Clock = time.max
    """First minute that no longer counts. Before `start` it is one of the next day: 22:00 to 06:00 is a night, which
    belongs to the day on which it begins."""

    timezone: Timezone = "UTC"
    """Whose clock it is, summer time included."""


class Match(Section):
    """What a route looks at; every key given must match. In text keys `*` stands for any run of characters."""

    called: str | None = None
    """Called number or user, as the rules of its trunk have written it (`numbers.incoming`)."""

    caller: str | None = None
    """Calling number or user; * is any that is not anonymous."""

    name: str | None = None
    """Display name of the caller."""

    domain: str | None = None
    """Domain or address that was called."""

    trunk: Name | None = None
    """Trunk that the call came from."""

    entry: Name | None = None
    """Entry that the browser came in by."""

    headers: Mapping[HeaderName, str] = {}
    """Header fields of the INVITE, by name."""

    attributes: Mapping[str, str] = {}
    """Attributes of the contact, by name; only trusted ones count, from a token of the house's site."""

    time: Times | None = None
    """When; null is always."""


class Target(Section):
    """Where a call goes; exactly one key."""

    user: Name | None = None
    """Phones and agent page of this user."""

    group: Name | None = None
    """Users of this group, all at once or one after the other."""

    trunk: Name | None = None
    """This trunk, with the called number. A call that came in by a trunk, or from a browser by an entry, goes out by a
    trunk only where `match` names that trunk or entry: nobody calls abroad at the house's cost by mistake."""

    entry: Name | None = None
    """This entry, as if a browser had come in by it."""

    room: Name | None = None
    """A room of this name: the phone hears everybody as one sound and sees who speaks, as far as the codecs meet; pages
    hear and see the phone like anybody. A room that is full refuses the call with 486."""

    conference: Literal["new"] | None = None
    """A conference of its own for every phone that calls (RFC 4579): others come in by its URI, or by REFER to it."""

    announcement: Name | None = None
    """The call is answered, hears and sees this announcement once, and ends."""

    webhook: Name | None = None
    """What this webhook answers."""

    refuse: Annotated[int, Field(ge=400, le=699)] | None = None
    """Nowhere: refused with this SIP status."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if len(self.model_fields_set) != 1 or all(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError(
                "give exactly one of user, group, trunk, entry, room, conference, announcement, webhook or refuse"
            )
        return self

    @property
    def text(self) -> str:
        """`user anna`, `refuse 404`."""
        name = next(iter(self.model_fields_set))
        return f"{name} {getattr(self, name)}"


class Route(Section):
    """One line of the routing table; the first that matches decides."""

    match: Match = Match()
    """What the line looks at; empty matches every call."""

    to: Target
    """Where a matching call goes."""


class Group(Section):
    """Users who are called together; the key of the map is the group's name."""

    members: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)]
    """Users, in the order in which `serial` calls them."""

    ring: Literal["parallel", "serial"] = "parallel"
    """`parallel` rings everybody at once, `serial` one after the other; with either, each on all devices."""

    each: Duration = 20.0
    """How long one member rings before the next (`serial`)."""

    timeout: Duration = 60.0
    """How long the group rings at all; `limits.ring_duration` bounds it, too."""

    otherwise: Target | None = None
    """Where a call goes that nobody of the group takes, but another group; null refuses it."""

    join: bool = False
    """Members may come into each other's calls as a third party, by an INVITE with Join (RFC 3911)."""

    pickup: bool = False
    """Members may take each other's calls, ringing or answered, by an INVITE with Replaces (RFC 3891)."""


class Webhook(Section):
    """A service of the house that is asked where a call goes; the key of the map is its name.

    It gets a POST with `{id, called, caller, name, domain, trunk, entry, headers, attributes, at}` as JSON and answers 200
    with `{"to": {...}}`, a target as routes have it, and `called` where the called number is to change.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Where it is asked."""

    secret: SecretRef | None = None
    """Key of the signature in `webhook-signature` (HMAC-SHA256 of Standard Webhooks); null signs nothing."""

    timeout: Duration = 2.0
    """How long a caller waits for its answer at most."""

    parallel: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Questions at a time; a call beyond it takes the fallback at once."""

    fallback: Target | None = None
    """Where a call goes when there is no answer in time, or none that makes sense; null is the next route that matches."""
