"""The sections of the configuration file as frozen, strict models; the text under a field is its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from mediaserver.config.values import (
    Address,
    Bind,
    Cidr,
    Duration,
    DurationOrNone,
    Port,
    PortRange,
    Ports,
    Rate,
    Size,
    SocketAddress,
    parse_address,
)

AudioCodec = Literal["opus", "G722", "PCMA", "PCMU"]
VideoCodec = Literal["VP8", "H264"]
SipTransport = Literal["udp", "tcp", "tls"]
SrtpPolicy = Literal["require", "prefer", "never"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A key in one of the named maps: letters, digits, dot, underscore, hyphen."""


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the path of a file or folder")
    return Path(value)


FilePath = Annotated[Path, BeforeValidator(_path), PlainSerializer(str), WithJsonSchema({"type": "string"})]
"""A path; relative ones count from `state_dir`."""


def _shards(value: object) -> int | None:
    if value is None or value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 64:
        raise ValueError("expected auto or a number of shards from 1 to 64")
    return value


Shards = Annotated[
    int | None,
    BeforeValidator(_shards),
    PlainSerializer(lambda count: "auto" if count is None else count),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 64}]}),
]


def _bind(value: object) -> IPv4Address | IPv6Address | None:
    if value is None or value == "auto":
        return None
    try:
        return parse_address(value)
    except ValueError:
        raise ValueError("expected auto or an IP address of this machine, like 192.0.2.10 or 2001:db8::10") from None


BindAddress = Annotated[
    IPv4Address | IPv6Address | None,
    BeforeValidator(_bind),
    PlainSerializer(lambda address: "auto" if address is None else str(address)),
    WithJsonSchema({"type": "string", "description": "auto or an IP address", "examples": ["auto", "192.0.2.10"]}),
]
"""An address of this machine; None is written `auto` and stands for all of them."""


class Section(BaseModel):
    """What all sections share: unknown keys are errors, nothing is converted silently, nothing changes later."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
    )


class SecretRef(Section):
    """Where a secret comes from; exactly one of the three. The configuration file itself never holds one."""

    file: FilePath | None = None
    """File with the secret; surrounding white space is cut. It must be readable by its owner only."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of an environment variable."""

    state: Name | None = None
    """Name of a random secret made on first start in `state_dir`/secrets with mode 0600."""

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if sum(source is not None for source in (self.file, self.env, self.state)) != 1:
            raise ValueError("give exactly one of file, env or state")
        return self


class NetworkAddress(Section):
    """One address that media and SIP use."""

    bind: BindAddress = None
    """Local address to bind; `auto` is every address of this machine except link-local ones, found at start."""

    announced: Address | None = None
    """Address told to peers in its place, where a 1:1 NAT stands in between; null tells them `bind`."""

    @model_validator(mode="after")
    def _one_announced_for_one_bind(self) -> NetworkAddress:
        if self.bind is None and self.announced is not None:
            raise ValueError("an announced address needs a bind address of its own in place of auto")
        return self


class Network(Section):
    """A network that this machine is attached to."""

    addresses: Annotated[tuple[NetworkAddress, ...], Field(min_length=1)] = (NetworkAddress(),)
    """Addresses of this machine in that network."""

    cidrs: tuple[Cidr, ...] = ()
    """Peers reached through this network; empty is any peer. The longest matching prefix of all networks wins."""


class Certificate(Section):
    """A TLS certificate as PEM files; both null takes a self-signed one made on first start."""

    chain_file: FilePath | None = None
    """Certificate followed by its intermediates, PEM."""

    key_file: FilePath | None = None
    """Private key, PEM; it must be readable by its owner only."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Certificate:
        if (self.chain_file is None) != (self.key_file is None):
            raise ValueError("chain_file and key_file go together: give both or neither")
        return self


class HttpListener(Section):
    """Plain HTTP: pages, WebSocket sessions, WHIP and WHEP. Browsers allow camera and microphone on localhost only."""

    bind: tuple[Bind, ...] = (SocketAddress("127.0.0.1", 8080),)
    """Addresses to listen on; an empty list switches the listener off."""


class HttpsListener(Section):
    """The same over TLS, for everybody else."""

    bind: tuple[Bind, ...] = (SocketAddress("0.0.0.0", 8443),)
    """Addresses to listen on; an empty list switches the listener off."""

    certificate: Certificate = Certificate()
    """Certificate shown to browsers."""


class AdminListener(Section):
    """Metrics, health in detail and administration; keep it away from callers."""

    bind: tuple[Bind, ...] = (SocketAddress("127.0.0.1", 9090),)
    """Addresses to listen on; an empty list switches the listener off."""


class SipListener(Section):
    """SIP for phones and trunks."""

    networks: tuple[Name, ...] = ("main",)
    """Networks on whose addresses SIP listens."""

    udp: Port | None = 5060
    """UDP port; null switches UDP off."""

    tcp: Port | None = 5060
    """TCP port; null switches TCP off."""

    tls: Port | None = 5061
    """TLS port; null switches TLS off."""

    certificate: Certificate = Certificate()
    """Certificate shown to phones and trunks."""

    realm: Annotated[str, Field(pattern=r'^[^"\\\s]{1,128}$')] = "mediaserver"
    """Realm of digest authentication, and the domain of users that name none. Changing it changes every digest."""


class WebRtcListener(Section):
    """All media of browsers, on one UDP port."""

    networks: tuple[Name, ...] = ("main",)
    """Networks on whose addresses browsers' media arrives."""

    port: Port = 10000
    """The UDP port, the same on every address."""


class Listeners(Section):
    """Where the daemon listens."""

    http: HttpListener = HttpListener()
    """Plain HTTP for browsers on this machine or behind a TLS proxy."""

    https: HttpsListener = HttpsListener()
    """HTTPS and secure WebSockets for browsers."""

    admin: AdminListener = AdminListener()
    """Metrics and administration."""

    sip: SipListener = SipListener()
    """SIP over UDP, TCP and TLS."""

    webrtc: WebRtcListener = WebRtcListener()
    """WebRTC media."""


class User(Section):
    """Somebody who registers a phone or signs in on the agent page; the key of the map is the user name."""

    display_name: str | None = None
    """Name shown to the other side; null shows the user name."""

    secret: SecretRef
    """Password for SIP digest and for the agent page."""

    roles: tuple[Literal["agent"], ...] = ("agent",)
    """What the user may do: `agent` takes and makes calls."""

    domain: str | None = None
    """SIP domain of the user's address of record; null is the realm of the SIP listener."""

    srtp: SrtpPolicy = "prefer"
    """SRTP towards the user's phones: `require` refuses calls without it, `prefer` offers it over TLS signalling and
    takes what the phone offers, `never` speaks plain RTP."""


class TrunkCredentials(Section):
    """Answers a trunk's digest challenge."""

    user: str
    """User name at the trunk."""

    secret: SecretRef
    """Password at the trunk."""


class Trunk(Section):
    """A call manager, ACD or provider, known by its addresses; the key of the map is the trunk's name."""

    peers: Annotated[tuple[Cidr, ...], Field(min_length=1)]
    """Addresses that its requests come from; they are not challenged."""

    target: Annotated[str, Field(pattern=r"^sips?:([^@\s]+@)?[^@\s]+$")]
    """SIP URI that calls to the trunk go to, like sip:192.0.2.10:5060; a called number becomes its user part."""

    transport: SipTransport = "udp"
    """Transport towards `target`."""

    srtp: SrtpPolicy = "prefer"
    """SRTP towards the trunk: `require`, `prefer` (offered over TLS signalling) or `never`."""

    audio_codecs: tuple[AudioCodec, ...] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs allowed, best first."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264")
    """Video codecs allowed, best first; an empty list is audio only."""

    credentials: TrunkCredentials | None = None
    """For trunks that challenge us; null answers no challenge."""

    max_calls: Annotated[int, Field(ge=1)] = 100
    """Calls at a time over this trunk."""


class Match(Section):
    """What a route looks at; every key given must match. In text keys `*` stands for any run of characters."""

    called: str | None = None
    """User part of the address that was called."""

    caller: str | None = None
    """User part of the caller's address."""

    trunk: Name | None = None
    """Trunk that the call came from."""

    entry: Name | None = None
    """Entry that the browser came in by."""


class Target(Section):
    """Where a call goes; exactly one key."""

    user: Name | None = None
    """Phones and agent page of this user."""

    trunk: Name | None = None
    """This trunk, with the called number."""

    entry: Name | None = None
    """This entry, as if a browser had come in by it."""

    room: Name | None = None
    """A room of this name."""

    refuse: Annotated[int, Field(ge=400, le=699)] | None = None
    """Nowhere: refused with this SIP status."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if len(self.model_fields_set) != 1 or all(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("give exactly one of user, trunk, entry, room or refuse")
        return self


class Route(Section):
    """One line of the routing table; the first that matches decides."""

    match: Match = Match()
    """What the line looks at; empty matches every call."""

    to: Target
    """Where a matching call goes."""


class Site(Section):
    """A place with its own lines; the key of the map is the site's name."""

    cidrs: Annotated[tuple[Cidr, ...], Field(min_length=1)]
    """Addresses that belong to the site; the longest matching prefix of all sites wins."""


class Entry(Section):
    """A way in for anonymous browsers; they reach what is named here and nothing else. The key is the entry's name."""

    title: str = "Video call"
    """What the page shows above the button."""

    to: Target | None = None
    """Where callers go; null asks the routes."""

    audio_codecs: tuple[AudioCodec, ...] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs offered to callers, best first."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264")
    """Video codecs offered to callers, best first."""

    video: Literal["two-way", "agent-only", "none"] = "two-way"
    """`two-way` shows the caller's camera after consent, `agent-only` never shows it, `none` is an audio call."""

    announcement: Name | None = None
    """Announcement played while the agent's phone rings; null plays nothing."""

    allowed_origins: tuple[Annotated[str, Field(pattern=r"^(self|https?://[^/\s*]+)$")], ...] = ("self",)
    """Web origins whose pages may use the entry, like https://www.example.org; `self` is the daemon's own pages."""

    identity: Literal["optional", "required"] = "optional"
    """Whether callers must bring a token signed by the house's site."""

    max_calls: Annotated[int, Field(ge=1)] = 50
    """Contacts at a time through this entry."""


class Announcement(Section):
    """Sound and picture, turned into packets once at load; the key of the map is the announcement's name."""

    file: FilePath | None = None
    """Any file that FFmpeg reads; null is the greeting that ships with the project."""

    loop: bool = True
    """Starts again until the call is answered."""


class Media(Section):
    """How media is received and sent."""

    sip_ports: Ports = PortRange(20000, 29999)
    """UDP ports for the media of SIP legs, two for each stream."""

    shards: Shards = None
    """Engine threads, each pinned to a CPU; `auto` is one for each CPU of this machine."""

    audio_codecs: Annotated[tuple[AudioCodec, ...], Field(min_length=1)] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs the daemon accepts at all, best first."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264")
    """Video codecs the daemon accepts at all, best first."""

    rtp_timeout: Duration = 30.0
    """Silence of a SIP leg that should be sending, after which its call ends."""

    latching_window: DurationOrNone = 5.0
    """How long after an offer or answer the media of a SIP leg may come from another address than its SDP says
    (symmetric RTP); 0s trusts the SDP only."""

    gso: bool = True
    """Send runs of equal packets with UDP segmentation offload; the engine switches it off where the kernel cannot."""


class Limits(Section):
    """Bounds of everything that can grow; what goes over one is refused and counted by its name."""

    contacts: Annotated[int, Field(ge=1)] = 500
    """Contacts at a time."""

    contacts_per_source: Annotated[int, Field(ge=1)] = 10
    """Contacts at a time from one address (IPv6: one /64)."""

    calls: Annotated[int, Field(ge=1)] = 500
    """Calls at a time, SIP to SIP included."""

    call_duration: Duration = 4 * 3600.0
    """Longest call."""

    ring_duration: Duration = 60.0
    """How long a phone rings before the call counts as not answered."""

    sessions: Annotated[int, Field(ge=1)] = 2000
    """WebSocket sessions at a time."""

    sessions_per_source: Annotated[int, Field(ge=1)] = 20
    """WebSocket sessions at a time from one address (IPv6: one /64)."""

    session_resume: DurationOrNone = 30.0
    """How long a session that lost its connection can be resumed."""

    session_message: Size = 64 * 1024
    """Longest message on a WebSocket session."""

    session_messages: Rate = 50.0
    """Messages on one WebSocket session; a burst of as many is allowed."""

    attributes: Annotated[int, Field(ge=0, le=1000)] = 32
    """Attributes of one contact."""

    attribute_size: Size = 1024
    """Longest attribute, name and value together."""

    http_body: Size = 256 * 1024
    """Longest body of an HTTP request."""

    http_requests_per_source: Rate = 50.0
    """HTTP requests from one address; a burst of as many is allowed."""

    sign_in_failures_per_source: Rate = 10 / 60
    """Failed sign-ins and SIP authentications from one address before it is put off."""

    rooms: Annotated[int, Field(ge=1)] = 200
    """Rooms at a time."""

    publishers_per_room: Annotated[int, Field(ge=1)] = 50
    """Publishers in one room."""

    viewers_per_room: Annotated[int, Field(ge=1)] = 500
    """Viewers of one room."""

    sip_message: Size = 64 * 1024
    """Longest SIP message."""

    sip_connections: Annotated[int, Field(ge=1)] = 2000
    """SIP connections over TCP and TLS at a time."""

    sip_connections_per_source: Annotated[int, Field(ge=1)] = 100
    """SIP connections at a time from one address."""

    sip_connection_idle: Duration = 300.0
    """Silence after which a SIP connection without a registration is closed."""

    sip_transactions: Annotated[int, Field(ge=1)] = 20000
    """SIP transactions at a time."""

    sip_bindings_per_user: Annotated[int, Field(ge=1)] = 10
    """Phones that one user can register at a time."""

    handshake: Duration = 10.0
    """Longest TLS or DTLS handshake."""

    transports: Annotated[int, Field(ge=1)] = 5000
    """Media transports at a time on one shard."""

    tracks_per_transport: Annotated[int, Field(ge=1, le=256)] = 32
    """Tracks of one media transport, each direction."""

    unknown_ssrcs: Annotated[int, Field(ge=0, le=256)] = 16
    """SSRCs that one transport may send before signalling has named them."""

    records_waiting: Annotated[int, Field(ge=1)] = 1000
    """Finished contacts that wait to be written."""


class Secrets(Section):
    """Keys of the daemon itself and of the house's site."""

    session_key: SecretRef = SecretRef(state="session-key")
    """Signs resume tokens of WebSocket sessions and the agents' sign-in."""

    ufrag_key: SecretRef = SecretRef(state="ufrag-key")
    """Authenticates the structured ICE user name fragments."""

    room_key: SecretRef = SecretRef(state="room-key")
    """Signs and checks the bearer tokens of WHIP and WHEP."""

    admin_token: SecretRef = SecretRef(state="admin-token")
    """Bearer token of the administration listener; metrics and health need none."""

    site_keys: Mapping[Name, SecretRef] = {}
    """Keys (at least 32 bytes) with which the house's site signs callers' tokens (HS256), by key id."""


class Tokens(Section):
    """Tokens that the daemon accepts and hands out."""

    site_audience: str = "mediaserver"
    """Audience (`aud`) that a token of the house's site must name."""

    site_max_age: Duration = 300.0
    """Longest life of a token of the house's site, from `iat` to `exp`."""

    room_lifetime: Duration = 3600.0
    """Life of WHIP and WHEP tokens that the daemon makes."""

    agent_lifetime: Duration = 12 * 3600.0
    """Life of an agent's sign-in on the agent page."""

    clock_skew: DurationOrNone = 10.0
    """Difference of clocks that is forgiven."""


class Records(Section):
    """Where finished contacts are written."""

    file: FilePath = Path("records.sqlite")
    """SQLite file."""


class Web(Section):
    """The pages that ship with the daemon."""

    pages: bool = True
    """Serve the caller page, the agent page and widget.js."""


class Log(Section):
    """Logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe lines that are written."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is console on a terminal and JSON elsewhere."""


class Drain(Section):
    """What SIGTERM does."""

    deadline: DurationOrNone = 60.0
    """How long calls may go on; those left are then ended."""

    retry_after: Duration = 30.0
    """What new callers are told to wait (Retry-After)."""
