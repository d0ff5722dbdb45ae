"""The sections of the configuration file as frozen, strict models; the text under a field is its documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from mediaserver.config.bandwidth import Bandwidth, Dscp
from mediaserver.config.base import FilePath as FilePath
from mediaserver.config.base import Name as Name
from mediaserver.config.base import SecretRef as SecretRef
from mediaserver.config.base import Section as Section
from mediaserver.config.edge import Edge as Edge
from mediaserver.config.events import Events as Events
from mediaserver.config.limits import Limits as Limits
from mediaserver.config.link import Link as Link
from mediaserver.config.listeners import Certificate as Certificate
from mediaserver.config.listeners import Dns as Dns
from mediaserver.config.listeners import Listeners as Listeners
from mediaserver.config.listeners import Network as Network
from mediaserver.config.listeners import NetworkAddress as NetworkAddress
from mediaserver.config.listeners import SipListener as SipListener
from mediaserver.config.listeners import TurnListener as TurnListener
from mediaserver.config.listeners import WebRtcListener as WebRtcListener
from mediaserver.config.routes import Group as Group
from mediaserver.config.routes import Match as Match
from mediaserver.config.routes import Route as Route
from mediaserver.config.routes import Target as Target
from mediaserver.config.routes import Webhook as Webhook
from mediaserver.config.sites import Site as Site
from mediaserver.config.trunks import AudioCodec as AudioCodec
from mediaserver.config.trunks import SipTransport as SipTransport
from mediaserver.config.trunks import SrtpKeying as SrtpKeying
from mediaserver.config.trunks import SrtpPolicy as SrtpPolicy
from mediaserver.config.trunks import Trunk as Trunk
from mediaserver.config.trunks import TrunkCredentials as TrunkCredentials
from mediaserver.config.trunks import VideoCodec as VideoCodec
from mediaserver.config.values import BaseUrl, Duration, DurationOrNone, Origin, PortRange, Ports
from mediaserver.config.web_paths import PathPrefix


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


CertificateName = Annotated[str, Field(pattern=r"^(sip:[^@\s]+@)?[^@\s:]+$")]
"""A host name or a SIP URI in the subjectAltName of a certificate (RFC 5922)."""


class User(Section):
    """Somebody who registers a phone or signs in on the agent page; the key of the map is the user name."""

    display_name: str | None = None
    """Name shown to the other side; null shows the user name."""

    secret: SecretRef
    """Password for SIP digest and for the agent page, or its digests as `mediaserver hash-password` prints them. A phone
    whose TLS certificate names sip:USER@DOMAIN needs none (`listeners.sip.client_ca_file`)."""

    certificate_names: tuple[CertificateName, ...] = ()
    """Names in TLS client certificates of the user's devices, like desk-17.phones.example.org or sip:17@example.org, by
    which they need no password; the authority that signed them stands in `listeners.sip.client_ca_file`."""

    roles: tuple[Literal["agent"], ...] = ("agent",)
    """What the user may do: `agent` takes and makes calls."""

    domain: str | None = None
    """SIP domain of the user's address of record; null is the realm of the SIP listener."""

    srtp: SrtpPolicy = "prefer"
    """SRTP towards the user's phones: `require` refuses calls without it, `prefer` offers it over TLS signalling and
    takes what the phone offers, `never` speaks plain RTP."""

    srtp_keys: SrtpKeying = "sdes"
    """How our offers want the keys of SRTP to be agreed: `sdes` in the signalling, which `prefer` offers over TLS only, or
    `dtls` between the media ports (RFC 5763). What the phone offers is taken either way."""


class ConsentText(Section):
    """What a caller agrees to by showing the camera."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "1"
    """Name of the text, kept in the record of a contact; give a new one whenever the text changes."""

    text: Annotated[str, Field(min_length=1, max_length=2000)] = (
        "Your camera is off. You can be seen only after you press Show my camera."
    )
    """What the page shows above *Show my camera*, as plain text."""


class Entry(Section):
    """A way in for anonymous browsers; they reach what is named here and nothing else. The key is the entry's name."""

    title: str = "Video call"
    """What the page shows above the button."""

    to: Target | None = None
    """Where callers go; null asks the routes."""

    audio_codecs: tuple[AudioCodec, ...] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs offered to callers, best first, as far as `media` allows them."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264", "VP9", "AV1")
    """Video codecs offered to callers, best first, as far as `media` allows them."""

    video: Literal["two-way", "agent-only", "none"] = "two-way"
    """`two-way` shows the caller's camera after consent, `agent-only` never shows it, `none` is an audio call."""

    announcement: Name | None = None
    """Announcement played while the agent's phone rings; null plays nothing."""

    consent: ConsentText = ConsentText()
    """What the caller agrees to before the camera is shown."""

    allowed_origins: tuple[Origin, ...] = ("self",)
    """Web origins whose pages may use the entry: https://www.example.org, https://*.example.org (every name below),
    `self` (the daemon's own pages). `*` lets every page of the web and every program call here: anybody can then use up
    `max_calls`, and only the limits per source stand in the way."""

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
    """Engine threads; `auto` is one for each CPU of this machine, pinned to it. A number leaves them unpinned."""

    real_time: bool = False
    """Let engine threads run before everything else on their CPU (SCHED_RR), as long as they leave a fifth of it: packets
    then never wait for the control plane. The system must allow it, as CAP_SYS_NICE or LimitRTPRIO=1 do; where it does
    not, nothing changes. The metric `mediaserver_engine_real_time` tells."""

    audio_codecs: Annotated[tuple[AudioCodec, ...], Field(min_length=1)] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs the daemon accepts at all, best first."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264", "VP9", "AV1")
    """Video codecs the daemon accepts at all, best first. Phones are offered VP9 and AV1 by trunks that name
    them, only."""

    data_channels: bool = True
    """Take data channels of browsers and pass their messages on, by label, to the others in the call or room."""

    offer_text: bool = False
    """Offer phones real-time text (RFC 4103) when a page calls them; some cannot bear a line that they do not know. What
    phones themselves offer is always taken, and passed on to pages and other phones."""

    rtp_timeout: Duration = 30.0
    """Silence of a SIP leg that should be sending, after which its call ends."""

    latching_window: DurationOrNone = 5.0
    """How long after an offer or answer the media of a SIP leg may come from another address than its SDP says
    (symmetric RTP); 0s trusts the SDP only."""

    quality_interval: Duration = 10.0
    """How often the legs of calls are looked at: loss, delay, freezes and the score of their sound, for metrics, records
    and the pages."""

    bandwidth: Bandwidth = Bandwidth()
    """Caps that hold for all sites and trunks, headers of RTP, UDP and IP included."""

    dscp: Dscp = Dscp()
    """Marks of outgoing packets (RFC 2474); CS0 is no mark. Networks honour them, or do not."""

    gso: bool = True
    """Send runs of equal packets with UDP segmentation offload; the engine switches it off where the kernel cannot."""

    def accepted_audio(self, wanted: Sequence[AudioCodec]) -> tuple[AudioCodec, ...]:
        """Those of `wanted` that the daemon accepts at all, in the order of `wanted`."""
        return tuple(codec for codec in wanted if codec in self.audio_codecs)

    def accepted_video(self, wanted: Sequence[VideoCodec]) -> tuple[VideoCodec, ...]:
        """Those of `wanted` that the daemon accepts at all, in the order of `wanted`."""
        return tuple(codec for codec in wanted if codec in self.video_codecs)


class RoomDefaults(Section):
    """Rooms, where a token says nothing else."""

    audio_slots: Annotated[int, Field(ge=1, le=16)] = 4
    """Voices that a participant hears at a time; who speaks last is heard, however many are in the room."""

    video_slots: Annotated[int, Field(ge=0, le=64)] = 9
    """Cameras and screens that a participant sees at a time."""

    publish: tuple[Literal["audio", "video", "screen", "data"], ...] = ("audio", "video", "screen", "data")
    """What may be published with a token that allows publishing and names nothing: sound, camera, screen, messages."""


class Secrets(Section):
    """Keys of the daemon itself and of the house's site."""

    session_key: SecretRef = SecretRef(state="session-key")
    """Signs the agents' sign-in."""

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
    """Life of WHIP and WHEP tokens that the daemon makes, where the request for one names no other."""

    agent_lifetime: Duration = 12 * 3600.0
    """Life of an agent's sign-in on the agent page."""

    clock_skew: DurationOrNone = 10.0
    """Difference of clocks that is forgiven."""


class Records(Section):
    """Where finished contacts are written."""

    file: FilePath = Path("records.sqlite")
    """SQLite file; the agents' sign-outs are kept in it, too."""


class Web(Section):
    """The pages that ship with the daemon."""

    pages: bool = True
    """Serve the caller page, the agent page and widget.js."""

    origin: BaseUrl | None = None
    """Where visitors open the pages, like `https://video.example.org`; needed where Edges have an `origin` of their own, so
    that a page of the one may go on over the other."""

    path_prefix: PathPrefix | None = None
    """Path beneath which a proxy of the house shows pages, sockets, API and `widget.js`, like /video/. It may take the path
    away before it asks here, or leave it. null for none."""


class Log(Section):
    """Logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe lines that are written."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is console on a terminal and JSON elsewhere."""


class Supervision(Section):
    """Supervisors who listen to calls or speak in them (`POST /v1/calls/{call}/supervise`)."""

    visible: bool = False
    """Show the page of whoever is supervised that somebody listens, whispers or joins in. Phones show nothing."""


class Drain(Section):
    """What SIGTERM does."""

    deadline: DurationOrNone = 60.0
    """How long calls may go on; those left are then ended."""

    retry_after: Duration = 30.0
    """What new callers are told to wait (Retry-After)."""
