"""The messages of the WebSocket session between a page and the server, version 1, as strict and bounded models.

Every message is one JSON object with a `type`. What a page sends is parsed by `parse_client`, once, at the edge;
what the server sends is written by `dump`. Unknown keys, wrong types and oversize values are refused with a text
that names the key, so that the author of a page sees what to change.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from mediaserver.errors import RemoteProtocolError
from mediaserver.webrtc.message_types import (
    Attributes,
    ExchangeId,
    Identifier,
    MediaKindName,
    Message,
    Mid,
    Sdp,
    ShortText,
    Token,
)
from mediaserver.webrtc.room_messages import (
    Layers,
    Participants,
    Permit,
    Permitted,
    Publish,
    RoomInfo,
    Slots,
    Speakers,
    Subscribe,
    Subscribed,
)

MAX_MESSAGE_CHARS: Final = 131_072
"""Longest message accepted, in characters: a session description of 64 KiB with its JSON escapes."""

MOST_VOICES: Final = 7
"""Most sections that a page may have for voices beside the first one; so many are mixed at a time, too."""

_SHOWN_PROBLEMS: Final = 5

# Parts ---------------------------------------------------------------------------------------------------------------


class Page(Message):
    """The web page that the visitor looks at; said by the page itself, so never trusted."""

    url: Annotated[str, StringConstraints(max_length=2048)]
    title: ShortText = ""


class IceServer(Message):
    """One entry of `RTCConfiguration.iceServers`."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


class MediaKinds(Message):
    """Which kinds of media a call may have."""

    audio: bool = True
    video: bool = False


class Peer(Message):
    """Whom one talks to."""

    name: str


class VideoPermission(Message):
    """Whether the picture of this page's camera would be passed on now."""

    may_send: bool
    reason: Literal["", "bandwidth", "size"] = ""
    """Why not, where it is nobody's wish: `bandwidth` is a line without room for a picture, `size` a phone whose
    decoder takes none as large as the page's."""


class CallerInfo(Message):
    """What an agent is told about a caller; `attributes` come from a signed token, the others from the page itself."""

    name: str
    verified: bool
    attributes: dict[str, str] = Field(default_factory=dict)
    unverified_attributes: dict[str, str] = Field(default_factory=dict)


# Client to server ----------------------------------------------------------------------------------------------------


class Hello(Message):
    """The first message on a socket: starts a session, or takes one up again with `resume`."""

    type: Literal["hello"] = "hello"
    version: Literal[1]
    role: Literal["caller", "agent", "member"]
    entry: Identifier | None = None
    """Name of the entry in the configuration that the caller came through."""
    token: Token | None = None
    """Signed by the house's site (callers), received at sign-in (agents), or made for a room (members), which it names."""
    resume: Token | None = None
    """Resume token of a session whose socket was lost."""
    link: Token | None = None
    """Leads a caller into a call that is up, beside its phone and without sound (`POST /v1/calls/{call}/links`)."""
    voices: Annotated[int, Field(ge=0, le=MOST_VOICES)] = 0
    """How many voices beside the first one the page plays, each in a section of its own, which an offer of ours adds when
    three or more talk; a page that says nothing gets what it cannot play apart as one mix."""
    page: Page | None = None
    attributes: Attributes = Field(default_factory=dict)


class Offer(Message):
    """A session description of the sender, to be answered by `answer` with the same id. Both directions."""

    type: Literal["offer"] = "offer"
    id: ExchangeId
    sdp: Sdp
    kinds: Annotated[dict[Mid, MediaKindName], Field(max_length=8)] = Field(default_factory=dict)
    """From a member of a room: what a section shows that it sends on; without a word a second picture is a screen."""


class Answer(Message):
    """Answers the `offer` with this id. Both directions."""

    type: Literal["answer"] = "answer"
    id: ExchangeId
    sdp: Sdp


class Candidate(Message):
    """A trickled ICE candidate (RFC 8838); the empty text ends the candidates."""

    type: Literal["candidate"] = "candidate"
    candidate: Annotated[str, StringConstraints(max_length=1024)]
    mid: Annotated[str, StringConstraints(max_length=32)] | None = None


class Consent(Message):
    """The visitor pressed *Show my camera*, or took the consent back."""

    type: Literal["consent"] = "consent"
    camera: bool
    text_version: Annotated[str, StringConstraints(max_length=64)]
    """Version of the text that the visitor agreed to, as the page shows it."""


class Mute(Message):
    """What the user muted now; both values are the whole state."""

    type: Literal["mute"] = "mute"
    audio: bool
    video: bool


class Dtmf(Message):
    """Digits to be sent to the other side."""

    type: Literal["dtmf"] = "dtmf"
    digits: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9A-Da-d*#,]+$")]


class Accept(Message):
    """An agent takes an incoming call."""

    type: Literal["accept"] = "accept"
    call_id: Identifier


class Decline(Message):
    """An agent refuses an incoming call."""

    type: Literal["decline"] = "decline"
    call_id: Identifier


class Call(Message):
    """An agent calls a number, a SIP address or another user."""

    type: Literal["call"] = "call"
    target: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x20\x7f]+$")]


class Hangup(Message):
    """The user ends the call."""

    type: Literal["hangup"] = "hangup"


class Ping(Message):
    """Keeps the socket open; answered by `pong`."""

    type: Literal["ping"] = "ping"


ClientMessage = Annotated[
    Hello
    | Offer
    | Answer
    | Candidate
    | Consent
    | Mute
    | Dtmf
    | Accept
    | Decline
    | Call
    | Hangup
    | Publish
    | Subscribe
    | Permit
    | Ping,
    Field(discriminator="type"),
]
"""Every message that a page may send."""

# Server to client ----------------------------------------------------------------------------------------------------


class Welcome(Message):
    """Answers `hello`: the session exists, or goes on."""

    type: Literal["welcome"] = "welcome"
    session: str
    resume: str
    """Token that takes the session up again within 30 s of losing the socket; each one works once."""
    contact_id: str | None = None
    ice_servers: tuple[IceServer, ...] = ()
    title: str = ""
    """Title of the entry, to be shown as text."""
    media: MediaKinds = MediaKinds()
    room: RoomInfo | None = None
    """For a member."""
    servers: tuple[str, ...] = ()
    """Base URLs that lead to this session beside the one in use, as in `servers`."""


class Servers(Message):
    """From now on the session is reached by these base URLs, too: a page that loses its socket tries all of them."""

    type: Literal["servers"] = "servers"
    servers: tuple[str, ...]


class RestartIce(Message):
    """The way that media takes is going, or gone: the page restarts ICE (RFC 8445 §2.4) by an offer of its own."""

    type: Literal["restart_ice"] = "restart_ice"


class State(Message):
    """What is happening to the caller's or the agent's call."""

    type: Literal["state"] = "state"
    state: Literal["queued", "ringing", "announcement", "connected", "held", "ended"]
    detail: str = ""
    peer: Peer | None = None
    video: VideoPermission | None = None


class Picture(Message):
    """The most of a picture that the other side can show: the page sends no more. `null` is no bound."""

    type: Literal["picture"] = "picture"
    max_width: int | None = None
    max_height: int | None = None
    max_macroblocks: int | None = None
    """Of 16 x 16 pixels, begun ones counted whole."""
    max_macroblocks_per_s: int | None = None
    max_frames_per_s: float | None = None
    max_bps: int | None = None


class Text(Message):
    """Whether the other side has real-time text now; the page's is on its data channel of the protocol `t140`."""

    type: Literal["text"] = "text"
    on: bool


class Quality(Message):
    """The line of this page is doing better or worse than before."""

    type: Literal["quality"] = "quality"
    level: Literal["good", "fair", "poor", "bad"]
    mos: float | None = None
    """Score of the sound by the E-model (ITU-T G.107), the lower one of both directions."""
    round_trip_ms: int | None = None
    freezes: int = 0
    """Of pictures, in the interval that was looked at."""


class Supervised(Message):
    """Somebody of the house listens to this page's call, or speaks in it; sent only where the house shows it."""

    type: Literal["supervised"] = "supervised"
    by: str
    mode: Literal["", "listen", "whisper", "barge"]
    """`whisper` is heard by this page alone; empty when it is over."""


class Incoming(Message):
    """An agent is asked to take a call."""

    type: Literal["incoming"] = "incoming"
    call_id: str
    caller: CallerInfo
    page: Page | None = None
    media: MediaKinds


class Withdrawn(Message):
    """An incoming call is no longer there to take."""

    type: Literal["withdrawn"] = "withdrawn"
    call_id: str
    reason: str


class Ended(Message):
    """The call ended; `by` says who ended it."""

    type: Literal["ended"] = "ended"
    by: str
    reason: str
    code: int | None = None
    """SIP status or Q.850 cause, where there was one."""


class Error(Message):
    """A message was refused; `ref` is what it was about (an offer id, a call id), if anything."""

    type: Literal["error"] = "error"
    code: str
    message: str
    ref: str | None = None


class Pong(Message):
    """Answers `ping`."""

    type: Literal["pong"] = "pong"


ServerMessage = Annotated[
    Welcome
    | Servers
    | RestartIce
    | Answer
    | Offer
    | State
    | Picture
    | Text
    | Quality
    | Supervised
    | Incoming
    | Withdrawn
    | Layers
    | Participants
    | Slots
    | Speakers
    | Subscribed
    | Permitted
    | Ended
    | Error
    | Pong,
    Field(discriminator="type"),
]
"""Every message that the server may send."""

_CLIENT: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)


def parse_client(text: str) -> ClientMessage:
    """Read one message of a page.

    Raises RemoteProtocolError (status 400) whose text names each key that is wrong; values are never repeated in it,
    because they may be tokens.
    """
    if len(text) > MAX_MESSAGE_CHARS:
        raise RemoteProtocolError(f"The message is longer than {MAX_MESSAGE_CHARS} characters.", status=413)
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        raise RemoteProtocolError(_describe(error), status=400) from None


def dump(message: ServerMessage | ClientMessage) -> str:
    """Write a message as JSON text on one line; absent values are `null`."""
    return message.model_dump_json()


def _describe(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    sentences = []
    for problem in problems[:_SHOWN_PROBLEMS]:
        location = ".".join(str(part)[:64] for part in problem["loc"])
        sentences.append(f"{location}: {problem['msg']}" if location else problem["msg"])
    if len(problems) > _SHOWN_PROBLEMS:
        sentences.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "The message is not understood: " + "; ".join(sentences) + "."
