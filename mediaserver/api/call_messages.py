"""Bodies and queries of `/v1/calls` and `/v1/contacts`, and the lists that they answer with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints

from mediaserver.contact.call_view import CallView, ContactView

Number = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+*#-]{1,64}$")]
"""What somebody would dial: a user, or a number."""
LegId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
AttributeText = Annotated[str, StringConstraints(max_length=16_384)]
AnnouncementName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Originate(_Body):
    """A call that is to be made: `from` is rung first, and `to` when it has answered."""

    from_: Annotated[Number, Field(alias="from")]
    """A user or a number, by the routing table."""
    to: Number
    """The same."""
    name: Annotated[str, StringConstraints(max_length=128)] = ""
    """What both are shown in place of the other one's number."""
    attributes: Annotated[dict[AttributeName, AttributeText], Field(max_length=1000)] = {}
    """What routes and agents are told of the contact; `limits.attributes` bounds it."""
    contact_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    """The house's own id of the matter; it must be new here."""
    video: bool = True
    """Whether a picture is offered."""
    announcement: AnnouncementName | None = None
    """What the first one hears while the other is rung."""


class Answer(_Body):
    """Answers a phone that rings."""

    announcement: AnnouncementName | None = None
    """What it hears until somebody takes the call, again and again."""


class Hold(_Body):
    """Parts a leg from the other one."""

    leg: LegId
    on: bool = True
    """False joins them again."""
    announcement: AnnouncementName | None = None
    """What the leg hears meanwhile, again and again."""


class Mute(_Body):
    """Keeps what a leg sends from the other one."""

    leg: LegId
    on: bool = True
    """False lets it through again."""
    media: Annotated[list[Literal["audio", "video"]], Field(min_length=1, max_length=2)] = ["audio"]


class Transfer(_Body):
    """Somebody else takes the place of `leg`: who answers at `to`, or `to_leg`, a leg of another call."""

    leg: LegId
    to: Number | None = None
    to_leg: LegId | None = None


class Add(_Body):
    """A third party."""

    to: Number


class Link(_Body):
    """A way into a call for the browser of a party that talks by phone."""

    entry: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Whose page is opened, with its consent text; one that has pictures."""
    leg: LegId | None = None
    """Whose browser comes; without it, that of whoever called."""
    lifetime_s: Annotated[int, Field(ge=10, le=86_400)] = 900
    """How long the link waits. It ends with the call, too."""


class LinkMade(_Body):
    """A link that works once; looking at it uses nothing up."""

    token: str
    path: str
    """Of the page on the public listener, with the token behind `#`, where no server sees it."""
    leg: str
    expires_at: datetime


class Supervise(_Body):
    """Somebody who listens to a call, or speaks in it."""

    by: Number
    """Who is rung for it; one who supervises already goes over to `mode`."""
    mode: Literal["listen", "whisper", "barge"]
    """Heard by nobody, by `leg` alone, by everybody."""
    leg: LegId | None = None
    """Who is supervised; without it, whoever was called."""


class Digits(_Body):
    """Keys that are pressed towards a leg (RFC 4733)."""

    leg: LegId
    digits: Annotated[str, StringConstraints(pattern=r"^[0-9A-D*#]{1,64}$")]
    duration_ms: Annotated[int, Field(ge=40, le=2_000)] = 100


class AttributeChanges(RootModel[dict[AttributeName, AttributeText | None]]):
    """A merge patch (RFC 7396): a text sets an attribute, null takes it away."""


class Attributes(_Body):
    """The trusted attributes of a contact."""

    attributes: dict[str, str]


class PageQuery(_Query):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    """Items at most."""
    after: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """`next` of the part before."""


class CallPage(_Body):
    """Calls that are there, in the order in which they began."""

    items: list[CallView]
    next: str | None
    """Goes into `after` for the following part; null at the end."""


class ContactPage(_Body):
    """Contacts that are open, in the order in which they began."""

    items: list[ContactView]
    next: str | None
    """Goes into `after` for the following part; null at the end."""
