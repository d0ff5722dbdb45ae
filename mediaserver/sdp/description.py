"""The values of a session description: sessions, media sections and what their lines mean (RFC 8866)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mediaserver.errors import RemoteProtocolError


class SdpError(RemoteProtocolError):
    """A session description of the peer breaks a rule; `line` is the 1-based number of the line (0: the whole)."""

    def __init__(self, line: int, reason: str, *, text: str = "") -> None:
        shown = f" ({text[:80]!r})" if text else ""
        where = f"line {line}{shown}" if line else "session description"
        super().__init__(f"SDP {where}: {reason}", status=400)
        self.line = line
        self.reason = reason


class Direction(StrEnum):
    """Which way media flows, seen from the side that wrote the description (RFC 8866 §6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        """The direction of a side that sends and receives as said."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    @property
    def sends(self) -> bool:
        """True if the writer of the description sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """True if the writer of the description receives."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def reversed(self) -> Direction:
        """The same flow seen from the other side."""
        return Direction.of(sends=self.receives, receives=self.sends)

    def limited_to(self, other: Direction) -> Direction:
        """What both directions allow, each seen from the same side."""
        return Direction.of(sends=self.sends and other.sends, receives=self.receives and other.receives)

    def answering(self, offered: Direction) -> Direction:
        """The answer to `offered` of a side that would like this direction (RFC 3264 §6.1)."""
        return self.limited_to(offered.reversed)


@dataclass(frozen=True, slots=True)
class Origin:
    """The `o=` line; `session_id` and `version` are decimal texts, because some peers exceed 64 bits."""

    username: str = "-"
    session_id: str = "0"
    version: str = "0"
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A `b=` line; `value` is kbit/s for AS and CT, bit/s for TIAS (RFC 3890), RS and RR (RFC 3556)."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """An `a=` line that has no field of its own; `value` is None for a property attribute."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Codec:
    """A payload type with its rtpmap, fmtp and rtcp-fb lines.

    `channels` is 1 unless the rtpmap says otherwise. A format parameter without `=` (events of telephone-event,
    the list of red) is a key with an empty value. `feedback` holds texts such as "nack pli", in order.
    """

    pt: int
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = field(default_factory=dict, hash=False)
    feedback: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name in lower case, by which encodings are compared (RFC 8866 §6.6)."""
        return self.name.lower()

    def with_feedback(self, feedback: tuple[str, ...]) -> Codec:
        """This codec with other feedback; itself where that is what it has."""
        return self if feedback == self.feedback else replace(self, feedback=feedback)

    def __str__(self) -> str:
        text = f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")
        shown = [f"{key}={self.fmtp[key]}" for key in ("packetization-mode", "profile-level-id") if key in self.fmtp]
        return f"{text} ({', '.join(shown)})" if shown else text


@dataclass(frozen=True, slots=True)
class Extension:
    """An RTP header extension (RFC 8285 §8); `attributes` is the text behind the URI."""

    id: int
    uri: str
    direction: Direction | None = None
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a DTLS certificate (RFC 8122 §5); `algorithm` in lower case, such as "sha-256"."""

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Crypto:
    """An SDES key (RFC 4568 §9.1); `key` is the master key with the salt behind it.

    `lifetime` and `mki` are the texts of the key parameter. Suites are named as registered by IANA.
    """

    tag: int
    suite: str
    key: bytes = field(repr=False)
    lifetime: str = ""
    mki: str = ""
    session_parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ICE candidate (RFC 8839 §5.1); `address` may be an mDNS name that is never resolved."""

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: str
    extensions: tuple[tuple[str, str], ...] = ()
    """Name and value pairs behind the type: raddr, rport, tcptype, ufrag, ..."""

    def __str__(self) -> str:
        head = f"{self.foundation} {self.component} {self.transport} {self.priority} {self.address} {self.port}"
        return f"{head} typ {self.type}" + "".join(f" {name} {value}" for name, value in self.extensions)


@dataclass(frozen=True, slots=True)
class Ssrc:
    """All `a=ssrc` lines of one SSRC (RFC 5576 §4.1)."""

    id: int
    cname: str | None = None
    msid: str | None = None


@dataclass(frozen=True, slots=True)
class SsrcGroup:
    """An `a=ssrc-group` line (RFC 5576 §4.2), FID for instance."""

    semantics: str
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rid:
    """An `a=rid` line (RFC 8851): one encoding of a simulcast; `direction` is "send" or "recv"."""

    id: str
    direction: str
    restrictions: str = ""


@dataclass(frozen=True, slots=True)
class Simulcast:
    """An `a=simulcast` line (RFC 8853 §5.1): per direction the streams, each with its alternative rids.

    A leading "~" of a rid (paused at first) is kept.
    """

    send: tuple[tuple[str, ...], ...] = ()
    receive: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """An `a=group` line (RFC 5888 §5)."""

    semantics: str
    mids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """A `t=` line, in seconds since 1900; (0, 0) is a session without an end."""

    start: int = 0
    stop: int = 0


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One `m=` section.

    The parser puts in here what the session level says for all sections (connection, direction, ICE credentials,
    fingerprints, setup, extensions), so a reader never has to look at two places.
    """

    kind: str
    """"audio", "video", "application", "image", ..."""
    port: int
    """0 means rejected, or not offered (RFC 3264 §6)."""
    protocol: str
    """"RTP/AVP", "UDP/TLS/RTP/SAVPF", ... in upper case."""
    formats: tuple[str, ...]
    """As written; payload types of RTP sections are all here, also those whose codec is unknown."""
    title: str | None = None
    connection: str | None = None
    """Address or host name of the effective `c=` line, without TTL."""
    bandwidth: tuple[Bandwidth, ...] = ()
    direction: Direction = Direction.SENDRECV
    codecs: tuple[Codec, ...] = ()
    """In the order of preference of the writer."""
    ptime: int | None = None
    """Milliseconds of sound per packet the writer would like to receive."""
    maxptime: int | None = None
    extensions: tuple[Extension, ...] = ()
    extmap_allow_mixed: bool = False
    mid: str | None = None
    ice_ufrag: str | None = None
    ice_pwd: str | None = field(default=None, repr=False)
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: str | None = None
    """"actpass", "active", "passive" or "holdconn" (RFC 4145 §4)."""
    rtcp_mux: bool = False
    rtcp_mux_only: bool = False
    rtcp_rsize: bool = False
    rtcp_port: int | None = None
    """From `a=rtcp` (RFC 3605)."""
    rtcp_address: str | None = None
    cryptos: tuple[Crypto, ...] = ()
    """Usable SDES lines, in the writer's order."""
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    ssrcs: tuple[Ssrc, ...] = ()
    ssrc_groups: tuple[SsrcGroup, ...] = ()
    msid: str | None = None
    """"<stream> <track>" (RFC 8830)."""
    rids: tuple[Rid, ...] = ()
    simulcast: Simulcast | None = None
    bundle_only: bool = False
    attributes: tuple[Attribute, ...] = ()
    """Every other attribute, in order."""
    line: int = field(default=0, compare=False)
    """Where the section began in the text it was parsed from."""

    @property
    def rejected(self) -> bool:
        """True if the section is refused or switched off: port 0, and not bundle-only (RFC 8843 §6)."""
        return self.port == 0 and not self.bundle_only

    @property
    def is_rtp(self) -> bool:
        """True for the RTP profiles, whatever carries them."""
        return "RTP/" in self.protocol

    def codec(self, pt: int) -> Codec | None:
        """The codec of a payload type."""
        return next((codec for codec in self.codecs if codec.pt == pt), None)

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute `name` among `attributes`; "" for a property attribute."""
        for found in self.attributes:
            if found.name == name:
                return found.value or ""
        return None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description: session level and media sections, in order."""

    origin: Origin = Origin()
    name: str = "-"
    connection: str | None = None
    bandwidth: tuple[Bandwidth, ...] = ()
    timing: tuple[Timing, ...] = (Timing(),)
    groups: tuple[Group, ...] = ()
    ice_lite: bool = False
    ice_options: tuple[str, ...] = ()
    extmap_allow_mixed: bool = False
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()

    def of_kind(self, kind: str) -> Iterator[tuple[int, MediaDescription]]:
        """Index and section of each section of a kind."""
        return ((index, media) for index, media in enumerate(self.media) if media.kind == kind)

    @property
    def bundled(self) -> tuple[str, ...]:
        """The mids of the first BUNDLE group (RFC 8843), empty without one."""
        return next((group.mids for group in self.groups if group.semantics == "BUNDLE"), ())
