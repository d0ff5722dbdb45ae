"""The border between the web-facing resources and the call layer: what each side may ask of the other.

The resources in `api` implement `Signaling` and call the rest; contacts, legs and rooms implement the rest and
hold a `Signaling`. Neither side needs to know how the other is made, so each is tested against a double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mediaserver.errors import LimitExceeded, MediaServerError

if TYPE_CHECKING:
    from mediaserver.core.permissions import Publishable
    from mediaserver.webrtc.messages import ClientMessage, Page, ServerMessage
    from mediaserver.webrtc.room_messages import RoomInfo


class UnknownEntry(MediaServerError):
    """The entry a caller asked for is not in the configuration (or is switched off)."""


class UnknownLink(MediaServerError):
    """A link into a call that was used before, is too old, or leads into a call that is over."""


class AttributesRefused(LimitExceeded):
    """What a page or token says of a caller is more than a contact keeps; the fault of whoever said it."""


class UnknownRoom(MediaServerError):
    """There is no such room, and the caller's scope does not make one."""


class RoomBusy(MediaServerError):
    """The room takes no further session of this kind (it has its publisher, or its limit is reached)."""


class StaleEtag(MediaServerError):
    """An ICE session named by an entity tag is no longer the current one (RFC 9725 §4.3.1)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token signed by the house says about a person; `verified` is only ever true for these values."""

    reference: str
    """Customer reference (JWT `sub`)."""
    name: str = ""
    """Display name, may be empty."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Trusted attributes; kept apart from what the page itself says."""
    issuer: str = ""
    """Name of the key in the configuration that signed the token."""


class Signaling(Protocol):
    """The way back to one browser; held by its leg, implemented by `api.session`."""

    source: str
    """IP address of the browser."""
    voices: int
    """How many voices beside the first one the page plays, each in a section of its own."""

    async def send(self, message: ServerMessage) -> None:
        """Deliver in order, exactly once.

        Never raises because the socket is away: messages wait in a bounded buffer until the browser resumes. When the
        window (30 s) or the buffer runs out, the session's `gone()` is called and further messages are dropped.
        """


class CallerSession(Protocol):
    """One anonymous or recognised caller's browser leg."""

    contact_id: str

    async def handle(self, message: ClientMessage) -> None:
        """Take offer, answer, candidate, consent, mute, dtmf or hangup; calls are made one at a time, in order.

        Raises `RemoteProtocolError` or `NegotiationError` for what the browser did wrong: it is answered with `error`.
        """

    async def gone(self, reason: str) -> None:
        """The browser will not come back. Called once, unless `ended` was sent to it before."""


class AgentSession(Protocol):
    """A signed-in browser agent; outlives its calls."""

    async def handle(self, message: ClientMessage) -> None:
        """Take accept, decline, offer, answer, candidate, mute, dtmf, call or hangup; one at a time, in order.

        Raises `RemoteProtocolError` or `NegotiationError` for what the browser did wrong: it is answered with `error`.
        """

    async def gone(self, reason: str) -> None:
        """The agent's browser signed out or will not come back. Called once."""


class Contacts(Protocol):
    """Where browser sessions begin; `contact.contacts.Contacts` implements it."""

    async def start_caller(
        self,
        *,
        entry: str,
        signaling: Signaling,
        source: str,
        page: Page | None,
        attributes: Mapping[str, str],
        identity: Identity | None,
    ) -> CallerSession:
        """Begin a contact. `attributes` are the page's own words (unverified), `source` an IP address.

        Messages sent through `signaling` before this returns are delivered after `welcome`.
        Raises `UnknownEntry`, `AttributesRefused` and `LimitExceeded`.
        """

    async def follow_link(self, *, link: str, entry: str, signaling: Signaling) -> CallerSession:
        """A party of a call comes in with a browser, too, once. Raises `UnknownLink` and `LimitExceeded`."""

    async def sign_in_agent(self, user: str, signaling: Signaling) -> AgentSession:
        """Begin an agent's presence; a second sign-in of a user takes the place of the first.

        Raises `LimitExceeded`.
        """


class RoomMembers(Protocol):
    """Where members of rooms come in; `call.room_member.RoomMembers` implements it."""

    async def enter(
        self,
        *,
        room: str,
        name: str,
        may_publish: frozenset[Publishable] | None,
        moderate: bool,
        signaling: Signaling,
    ) -> RoomMemberSession:
        """Bring somebody in, who is there with the first offer.

        `may_publish` None is what rooms allow by configuration. Raises `LimitExceeded`.
        """


class RoomMemberSession(Protocol):
    """One member of a room: sends and receives over one peer connection."""

    info: RoomInfo

    async def handle(self, message: ClientMessage) -> None:
        """Take offer, candidate, publish, subscribe, permit or hangup; one at a time, in order.

        Raises `RemoteProtocolError`, `NegotiationError` or `LimitExceeded`: it is answered with `error`.
        """

    async def gone(self, reason: str) -> None:
        """The browser will not come back. Called once, unless `ended` was sent to it before."""


class RoomSession(Protocol):
    """One WHIP or WHEP session in a room."""

    id: str
    """Unguessable, URL-safe: it is the session's resource name."""
    answer_sdp: str
    etag: str
    """Opaque tag (without quotes) of the current ICE session; changes with an ICE restart."""

    @property
    def closed(self) -> bool:
        """True once it has ended, by whomever; its resource is then gone."""
        ...

    async def trickle(self, fragment: str, etag: str | None) -> str | None:
        """Take an `application/trickle-ice-sdpfrag` body (RFC 8840 §9). `etag` None is the header `If-Match: *`.

        Returns the fragment to answer with after an ICE restart (`etag` has then changed), None for plain candidates.
        Raises `StaleEtag` when `etag` is not the current one, `RemoteProtocolError` for a broken fragment.
        """

    async def close(self, reason: str) -> None:
        """End it. Calling it again does nothing."""


class Rooms(Protocol):
    """Rooms as WHIP and WHEP see them; `core.rooms.Rooms` or an adapter of it implements this."""

    async def publish(
        self, room: str, offer_sdp: str, *, subject: str, source: str, may_publish: frozenset[Publishable] | None = None
    ) -> RoomSession:
        """Send media into `room`; `source` is the IP address of whoever asks.

        `may_publish` None is what rooms allow by configuration; nothing is taken of a section with more.

        Raises `SdpError`/`RemoteProtocolError` (offer broken), `NegotiationError` (nothing in common), `RoomBusy`,
        `LimitExceeded`.
        """

    async def view(self, room: str, offer_sdp: str, *, subject: str, source: str) -> RoomSession:
        """Receive what is published in `room`. Raises as `publish`, and `UnknownRoom`."""
