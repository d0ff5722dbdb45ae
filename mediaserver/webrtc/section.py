"""The values of a browser negotiation: what we bring, what the browser brings, and what both agreed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mediaserver.errors import ProtocolError
from mediaserver.sdp.data import DataParameters
from mediaserver.sdp.description import Bandwidth, Codec, Direction, Extension, Fingerprint


class GlareError(ProtocolError):
    """The browser's offer arrived while ours is unanswered; ours stands, the browser rolls back (we are impolite)."""


@dataclass(frozen=True, slots=True)
class LocalIceParams:
    """The engine's end of the transport: ICE credentials, addresses in order of preference, our certificate."""

    ufrag: str
    pwd: str = field(repr=False)
    addresses: tuple[tuple[str, int], ...]
    fingerprint: Fingerprint
    tcp_addresses: tuple[tuple[str, int], ...] = ()
    """Where the browser may connect by TCP, when UDP does not get through."""


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What one entry, agent or room allows, codecs by name and in order of preference; an empty kind is refused.

    `directions` limits what we do per kind, seen from us: RECVONLY for a publisher (WHIP), SENDONLY for a viewer
    (WHEP). `sections` bounds how many sections of a kind are taken; further ones are refused.
    """

    audio: tuple[str, ...] = ("opus", "G722", "PCMU", "PCMA")
    video: tuple[str, ...] = ("H264", "VP8")
    directions: Mapping[str, Direction] = field(default_factory=dict)
    sections: Mapping[str, int] = field(default_factory=lambda: {"audio": 1, "video": 1})
    telephone_events: bool = True
    repair: bool = True
    """Whether lost video packets are sent again on a stream of their own (rtx, RFC 4588)."""
    redundancy: bool = True
    """Whether sound may carry earlier packets once more (red, RFC 2198); the engine takes it off for receivers without."""
    simulcast: int = 4
    """Most layers of one picture that are taken (RFC 8853); 0 or 1 takes one stream."""
    only: Mapping[str, tuple[Codec, ...]] = field(default_factory=dict)
    """Where a kind is a key: take only codecs that match one of these (what a room's publisher sends)."""
    bandwidth: Mapping[str, tuple[Bandwidth, ...]] = field(default_factory=dict)
    """`b=` lines by kind: the most that we want to receive."""

    data: bool = False
    """Whether data channels are taken (RFC 8841)."""

    def codecs(self, kind: str) -> tuple[str, ...]:
        """Names allowed for a kind."""
        return {"audio": self.audio, "video": self.video}.get(kind, ())

    def direction(self, kind: str) -> Direction:
        """The most that we do for a kind."""
        return self.directions.get(kind, Direction.SENDRECV)


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The browser's end of the one bundled transport."""

    ufrag: str
    pwd: str = field(repr=False)
    fingerprints: tuple[Fingerprint, ...]
    dtls_role: Literal["server", "client"]
    """Ours: server unless the browser insists on being it."""
    ice_restart: bool = False
    """True if the credentials changed with the description handled last."""


@dataclass(frozen=True, slots=True)
class Section:
    """One `m=` section as agreed; a refused or stopped one keeps its place with `rejected`.

    `send` and `receive` hold media codecs, their rtx or red, and telephone events; the first media codec is the
    choice. Payload types of `send` are the browser's, those of `receive` ours; they are equal except with rare peers.
    `send` and `receive` do not depend on `direction`, which is ours.
    """

    index: int
    mid: str
    kind: str
    direction: Direction = Direction.INACTIVE
    send: tuple[Codec, ...] = ()
    receive: tuple[Codec, ...] = ()
    capable: tuple[Codec, ...] = ()
    """Every codec both sides can use here, also those left out by narrowing; what `prefer` may choose from."""
    remote_direction: Direction = Direction.INACTIVE
    """The browser's, as it said last."""
    remote_ssrcs: tuple[int, ...] = ()
    """As announced, media first; empty where the browser says none (simulcast), then mid and rid tell."""
    remote_msid: str | None = None
    remote_rids: tuple[str, ...] = ()
    """Simulcast layers that are taken, in the browser's order of preference; empty where one stream comes."""
    remote_repairs: Mapping[int, int] = field(default_factory=dict)
    """SSRC of the stream that repairs another one, by the SSRC of that (RFC 4588 §8.8), where the browser says so."""
    local_ssrc: int = 0
    local_repair_ssrc: int = 0
    """Of the stream on which we send lost packets again; used where `send` has rtx."""
    msid: str = ""
    """Ours: "<stream> <track>"."""
    reduced_size: bool = False
    """Feedback may be sent without a report before it (RFC 5506 §5): both say `a=rtcp-rsize`."""
    extensions: tuple[Extension, ...] = ()
    protocol: str = "UDP/TLS/RTP/SAVPF"
    formats: tuple[str, ...] = ("0",)
    """As offered; what a refused section repeats."""
    named: bool = True
    """False if the browser gave no mid; `mid` is then the index."""
    rejected: bool = False
    data: DataParameters | None = None
    """What the browser says about SCTP, in a section of data channels."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a handled description changed, by mid; the engine and the call act on exactly this."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Sections that were stopped, or whose place was taken by a new one."""
    codecs: tuple[str, ...] = ()
    """Sections whose `send` or `receive` changed."""
    directions: tuple[str, ...] = ()
    """Sections in which our or the browser's direction changed."""
    ssrcs: tuple[str, ...] = ()
    """Sections whose `remote_ssrcs`, `remote_repairs` or `remote_rids` changed."""
    extensions: bool = False
    first: bool = False
    """True for the first description, which also brings the transport."""
    ice_restart: bool = False
    """Ask the engine for new credentials, and set them as `Negotiation.local` before answering."""
    fingerprint: bool = False
    """True if the browser has other certificates than before: its DTLS association is a new one."""


DEPENDENCY_URI: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
"""Says what a frame depends on, so that layers can be chosen (AV1 RTP specification, appendix A)."""

RID_URI: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
"""Names a packet's layer (RFC 8852 §3)."""

EXTENSIONS: Final = (
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    RID_URI,
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    DEPENDENCY_URI,
)
"""Header extensions that the engine reads or writes."""

DEFAULT_EXTENSIONS: Final[Mapping[str, tuple[Extension, ...]]] = {
    "audio": (
        Extension(1, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
        Extension(2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
        Extension(3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
        Extension(4, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    ),
    "video": (
        Extension(2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
        Extension(3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
        Extension(4, "urn:ietf:params:rtp-hdrext:sdes:mid"),
        Extension(10, RID_URI),
        Extension(11, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
        Extension(12, DEPENDENCY_URI),
    ),
}
"""What we offer on a section before the browser has named ids of its own."""
