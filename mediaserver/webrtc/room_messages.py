"""The messages of a member of a room: who is there, who sits in which slot, who speaks, and what one wants to receive."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from mediaserver.webrtc.message_types import ExchangeId, Identifier, MediaKindName, Message, Mid

MAX_WANTS: Final = 64
"""Most publications that somebody asks for by name."""

PublishableName = Literal["audio", "video", "screen", "data"]
Pixels = Annotated[int, Field(ge=1, le=16384)]


# Parts ---------------------------------------------------------------------------------------------------------------


class RoomInfo(Message):
    """The room of a member, as `welcome` tells it."""

    name: str
    participant: str
    """The member's own id, by which the others know it."""
    audio_slots: int
    video_slots: int
    """Receiving sections that are taken of an offer; who is shown there changes by `slots`, never by another offer."""
    publish: tuple[PublishableName, ...]
    """What the member may publish."""
    moderate: bool
    """Whether it may send `permit`."""
    audio_codecs: tuple[str, ...]
    video_codecs: tuple[str, ...]
    """Names of the codecs that are taken, best first: an offer with these alone is small."""


class Person(Message):
    """Somebody in the room."""

    id: str
    name: str
    publishes: tuple[MediaKindName, ...]
    """What is published now."""
    member: bool
    """False for one who came by WHIP."""


class SlotState(Message):
    """Who is shown in a receiving section; both None when nobody is."""

    mid: str
    participant: str | None
    kind: MediaKindName | None


class Want(Message):
    """One publication that is asked for by name."""

    participant: Identifier
    kind: MediaKindName
    width: Pixels | None = None
    height: Pixels | None = None
    """The largest picture that is of use, in pixels; the next smaller layer is sent, or the smallest there is."""
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    """Who goes first when bandwidth is short, 255 before all; usual are 200 for a screen, 150 for the active speaker, 120
    for who is asked for and 100 for the rest."""
    paused: bool = False
    """Keep the slot and send nothing for now."""


# Client to server ----------------------------------------------------------------------------------------------------


class Publish(Message):
    """What a member shows and lets hear from now on; all values are the whole state."""

    type: Literal["publish"] = "publish"
    audio: bool
    video: bool
    screen: bool


class Subscribe(Message):
    """What a member wants to receive, in place of what it wanted before; answered by `subscribed`."""

    type: Literal["subscribe"] = "subscribe"
    id: ExchangeId
    wants: Annotated[tuple[Want, ...], Field(max_length=MAX_WANTS)] = ()
    fill: bool = True
    """Whether slots for pictures that are left over go to screens and to those who spoke last, as they do for a member
    that says nothing. Sound is always that of those who speak, beside those who are asked for."""


class Permit(Message):
    """A moderator says what somebody may publish from now on."""

    type: Literal["permit"] = "permit"
    participant: Identifier
    publish: Annotated[tuple[PublishableName, ...], Field(max_length=4)]


# Server to client ----------------------------------------------------------------------------------------------------


class Participants(Message):
    """Who came, who publishes something else, and who left; at first everybody who is there."""

    type: Literal["participants"] = "participants"
    present: tuple[Person, ...] = ()
    left: tuple[str, ...] = ()


class Slots(Message):
    """Slots that show somebody else."""

    type: Literal["slots"] = "slots"
    slots: tuple[SlotState, ...]


class Speakers(Message):
    """The active speaker, which stays through pauses, and everybody who speaks now."""

    type: Literal["speakers"] = "speakers"
    active: str | None
    speaking: tuple[str, ...]


class Subscribed(Message):
    """A `subscribe` was taken."""

    type: Literal["subscribed"] = "subscribed"
    id: int
    unknown: tuple[str, ...]
    """Participants asked for who are not in the room."""


class Permitted(Message):
    """What a member may publish, and what of its sections is not taken, with the reason by mid.

    `bandwidth` is a screen for which a line on the way has no room now: the page may try again later. Where there is no
    room for any picture, it is every section of pictures, those to receive on included."""

    type: Literal["permitted"] = "permitted"
    publish: tuple[PublishableName, ...]
    refused: dict[str, Literal["not_permitted", "one_of_a_kind", "bandwidth"]] = Field(default_factory=dict)


class Layers(Message):
    """Which layers anybody may be given of a section that the page sends with simulcast: the others can be off."""

    type: Literal["layers"] = "layers"
    mid: Mid
    rids: tuple[str, ...]
