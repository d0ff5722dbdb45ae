"""The section of trunks: who they are, where calls to them go, what they may do, and how numbers are written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mediaserver.config.bandwidth import Rates
from mediaserver.config.base import SecretRef, Section
from mediaserver.config.values import Cidr, Duration, DurationOrNone, Rate

AudioCodec = Literal["opus", "G722", "PCMA", "PCMU"]
VideoCodec = Literal["VP8", "H264", "VP9", "AV1"]
SipTransport = Literal["udp", "tcp", "tls"]
AudioTranscode = Literal["never", "when_needed", "prefer_opus"]
SrtpPolicy = Literal["require", "prefer", "never"]
SrtpKeying = Literal["sdes", "dtls"]
NumberForm = Literal["as_is", "e164", "plain", "international", "national"]

SipUriText = Annotated[str, Field(pattern=r"^sips?:([^@\s]+@)?[^@\s]+$")]
"""A SIP URI, as far as the file can tell."""

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9.!%*_+`'~-]{0,63}$")]
"""Name of a header field (RFC 3261 §25.1 token)."""

HeaderValue = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Value of a header field, one line."""

Region = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""A country or territory by its two letters (ISO 3166-1), like DE or US."""

OWN_HEADERS = frozenset(
    (
        *("via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "route", "record-route"),
        *("content-length", "content-type", "authorization", "proxy-authorization", "www-authenticate"),
        *("proxy-authenticate", "require", "proxy-require", "supported", "allow", "user-agent", "server", "expires"),
        *("min-se", "session-expires", "rseq", "rack", "replaces", "session-id", "referred-by"),
    )
)
"""What the daemon writes by itself: no rule may set or pass it on."""

IDENTITY_HEADERS = frozenset(
    ("p-asserted-identity", "p-preferred-identity", "remote-party-id", "privacy", "user-to-user")
)
"""What goes on by the rules of `identity` alone: no other rule may pass it on."""


class TrunkCredentials(Section):
    """A user name and password of a trunk."""

    user: str
    """User name."""

    secret: SecretRef
    """Password."""


class TrunkTarget(Section):
    """One of several places that calls to a trunk may go to; the text of its URI alone stands for it, too."""

    uri: SipUriText
    """SIP URI, like sip:192.0.2.10:5060; a name without a port is looked up by NAPTR and SRV (RFC 3263)."""

    order: Annotated[int, Field(ge=0, le=65_535)] = 10
    """Lower ones are tried first; higher ones have calls only while no lower one lives."""

    weight: Annotated[int, Field(ge=0, le=65_535)] = 10
    """Share of the calls among targets of the same order."""


def _target(value: object) -> object:
    return {"uri": value} if isinstance(value, str) else value


def _target_schema() -> dict[str, Any]:
    return {
        "anyOf": [
            {"type": "string", "examples": ["sip:192.0.2.10:5060"]},
            {
                "type": "object",
                "properties": {
                    "uri": {"type": "string", "description": "SIP URI"},
                    "order": {"type": "integer", "default": 10, "description": "Lower ones are tried first"},
                    "weight": {"type": "integer", "default": 10, "description": "Share within an order"},
                },
                "required": ["uri"],
                "additionalProperties": False,
            },
        ]
    }


TargetItem = Annotated[TrunkTarget, BeforeValidator(_target), WithJsonSchema(_target_schema())]


class UpstreamRegistration(Section):
    """Signing in at the trunk, so that it knows where our calls are to go (RFC 3261 §10.2); needs `credentials`."""

    registrar: SipUriText | None = None
    """SIP URI of the registrar, like sip:carrier.example; null is the first target without its user part."""

    user: str | None = None
    """User part that is registered; null is the user of `credentials`."""

    expires: Annotated[Duration, Field(ge=60, le=86_400)] = 3600.0
    """Life that is asked for; the trunk has the last word, and half of what it grants is when we come again."""

    outbound: bool = True
    """Ask the trunk to send its calls over the connection that we registered on, and keep that alive (RFC 5626); a trunk
    that does not know this registers us all the same."""

    proxies: Annotated[tuple[SipUriText, ...], Field(max_length=4)] = ()
    """Outbound proxies by which we register and call, like [sip:edge1.carrier.example, sip:edge2.carrier.example]: one
    flow over each, where the trunk knows flows; an empty list goes straight to the registrar."""


class KeepAlive(Section):
    """OPTIONS to every target, which decide who lives (RFC 3261 §11)."""

    interval: DurationOrNone = 30.0
    """Time between two; 0s sends none, and a target is then dead only after calls have failed there."""

    failures: Annotated[int, Field(ge=1, le=20)] = 2
    """Times in a row without an answer, or with 408 or 5xx, after which a target is dead."""

    successes: Annotated[int, Field(ge=1, le=20)] = 1
    """Answers in a row after which it lives again."""


class Numbers(Section):
    """How numbers are written on a trunk. What is no number of a country (names, short extensions) stays as it is."""

    region: Region | None = None
    """Country whose national numbers the trunk speaks, like DE; null reads numbers with + only."""

    incoming: Literal["as_is", "e164"] = "as_is"
    """Called and calling numbers of calls from the trunk: left, or written +49301234 before routes look at them."""

    called: NumberForm = "as_is"
    """Called numbers of calls to the trunk: `e164` +49301234, `plain` 49301234, `international` 0049301234 (by the
    custom of `region`), `national` 0301234 for the own country and international for others."""

    caller: NumberForm = "as_is"
    """Calling numbers of calls to the trunk, the same forms."""

    prefix: Annotated[str, Field(pattern=r"^[0-9*#]{0,16}$")] = ""
    """Digits that the trunk wants before every called number, like 0 for an outside line."""

    own: Annotated[str, Field(pattern=r"^\+?[0-9]{1,15}$")] | None = None
    """Number shown for callers who have none, like visitors of a page; null shows them as anonymous."""

    premium: bool = False
    """Let calls out to premium-rate, shared-cost and personal numbers; most toll fraud goes there."""

    countries: tuple[Region, ...] = ()
    """Countries that may be called over the trunk; an empty list is all of them."""

    @model_validator(mode="after")
    def _national_needs_a_region(self) -> Numbers:
        if self.region is None and ("national" in (self.called, self.caller)):
            raise ValueError("national numbers need a region: give the country, like region: DE")
        return self


def _free_header(name: str) -> str:
    if name.lower() in OWN_HEADERS:
        raise ValueError(f"{name} is written by the daemon itself: leave it out")
    return name


class HeaderRules(Section):
    """Header fields of calls to a trunk, beside those that SIP asks for."""

    fixed: Mapping[HeaderName, HeaderValue] = {}
    """Fields that every call carries, by name."""

    copied: tuple[HeaderName, ...] = ()
    """Fields of the caller's own INVITE that go on to the trunk, where the call came by SIP."""

    @model_validator(mode="after")
    def _none_of_ours(self) -> HeaderRules:
        for name in (*self.fixed, *self.copied):
            _free_header(name)
        for name in self.copied:
            if name.lower() in IDENTITY_HEADERS:
                raise ValueError(f"{name} says who is calling: `identity` of the trunk rules whether it goes on")
        return self


class Identity(Section):
    """Who is calling, as header fields beside From say it: what is believed, and what is told (RFC 3325, RFC 3323)."""

    incoming: Literal["stripped", "trusted"] = "stripped"
    """What the trunk says beside From: `trusted` takes P-Asserted-Identity or Remote-Party-ID for who is calling, and
    what it says of the call's way (History-Info, Diversion) and User-to-User as verified attributes; `stripped` goes by
    From alone, and the rest is unverified."""

    outgoing: Literal["none", "asserted", "remote_party_id", "preferred"] = "none"
    """How the trunk is told who is calling: `asserted` (P-Asserted-Identity) and `remote_party_id` name also callers
    who want to be anonymous, with that wish beside it, because the trunk is trusted to keep it; so does `preferred`
    (P-Preferred-Identity), for providers that assert identities themselves. `none` is for trunks that are not trusted."""

    user_to_user: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Attribute of the contact that User-to-User (RFC 7433) of calls from the trunk is kept in, and that of calls to the
    trunk is written from, like ticket; at most 511 bytes. null neither reads nor writes it."""


class Trunk(Section):
    """A call manager, ACD or provider; the key of the map is the trunk's name."""

    peers: tuple[Cidr, ...] = ()
    """Addresses that its requests come from; they are not challenged. A trunk that we register with is known by the
    addresses of its targets, too."""

    authenticate: TrunkCredentials | None = None
    """User and password by which the trunk proves itself (digest) from any address; null asks for none."""

    certificate_names: tuple[str, ...] = ()
    """Names in a TLS client certificate by which the trunk proves itself, like sbc.carrier.example; the authority that
    signed it stands in `listeners.sip.client_ca_file`."""

    target: SipUriText | None = None
    """SIP URI that calls to the trunk go to, like sip:192.0.2.10:5060 or sip:carrier.example; a called number becomes
    its user part. A name without a port is looked up by NAPTR and SRV (RFC 3263)."""

    targets: tuple[TargetItem, ...] = ()
    """Several in place of `target`, each a URI or {uri: URI, order: 10, weight: 10}."""

    transport: SipTransport | None = None
    """Transport towards targets whose URI names none; null leaves it to DNS, and is UDP for addresses."""

    edge: bool = False
    """The trunk lies beyond the Edges: its TLS connections are opened by one of them (`edge.dial_trunks` there). Only
    targets over TLS are called, and its media go by ports of that Edge (`edge.sip_media_ports`), encrypted."""

    allow_plain: bool = False
    """Media of the trunk may go by an Edge without encryption: whoever holds the Edge, or listens there, hears them."""

    credentials: TrunkCredentials | None = None
    """For trunks that challenge us; null answers no challenge."""

    registration: UpstreamRegistration | None = None
    """Sign in at the trunk; null does not."""

    keep_alive: KeepAlive = KeepAlive()
    """OPTIONS to every target."""

    max_calls: Annotated[int, Field(ge=1)] = 100
    """Calls at a time over this trunk, those that come and those that go."""

    calls_per_second: Rate | None = None
    """New calls over this trunk in both directions, like 10/s, with as many again at once; null is no bound."""

    numbers: Numbers = Numbers()
    """How numbers are written there."""

    headers: HeaderRules = HeaderRules()
    """Header fields of calls to the trunk."""

    identity: Identity = Identity()
    """Who is calling: what the trunk is believed, and what it is told."""

    srtp: SrtpPolicy = "prefer"
    """SRTP towards the trunk: `require`, `prefer` (offered where its keys are safe) or `never`."""

    srtp_keys: SrtpKeying = "sdes"
    """How our offers want the keys of SRTP to be agreed: `sdes` in the signalling, safe over TLS only, or `dtls` between
    the media ports (RFC 5763). What the trunk offers is taken either way."""

    audio_codecs: tuple[AudioCodec, ...] = ("opus", "G722", "PCMA", "PCMU")
    """Audio codecs allowed, best first, as far as `media` allows them."""

    audio_transcode: AudioTranscode = "never"
    """Decode sound and encode it again: `never`, `when_needed` where the two sides share no audio codec, or
    `prefer_opus` to keep Opus, which repairs losses, towards whoever has it, whatever the trunk speaks."""

    offer_text: bool = False
    """Offer real-time text (RFC 4103) when a page calls over this trunk. What the trunk offers is always taken."""

    hold_signalled: bool = True
    """Tell the trunk by a re-INVITE (`sendonly` or `inactive`) when software of the house puts its call on hold; false
    leaves the signalling as it is, and the trunk hears the announcement or nothing."""

    video_codecs: tuple[VideoCodec, ...] = ("VP8", "H264")
    """Video codecs allowed, best first, as far as `media` allows them; an empty list is audio only."""

    bandwidth: Rates = Rates()
    """Most that all calls over this trunk send together, each way, headers of RTP, UDP and IP included. Which site the
    trunk stands at, `sites.NAME.trunks` says."""

    per_call: Rates = Rates()
    """Most that one call over this trunk sends, each way."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Trunk:
        if (self.target is None) == (not self.targets):
            raise ValueError("give either target (one SIP URI) or targets (a list of them)")
        if self.registration is not None and self.credentials is None:
            raise ValueError("registration needs credentials: the user and password that the trunk knows us by")
        if self.edge and self.transport not in (None, "tls"):
            raise ValueError("a trunk beyond the Edges is called by TLS: give transport: tls")
        if self.edge and self.srtp == "never" and not self.allow_plain:
            raise ValueError("the Edge would hear the trunk's media: give srtp: require, or allow_plain: true")
        return self

    @property
    def all_targets(self) -> Sequence[TrunkTarget]:
        """`target` and `targets` as one list, in the order of the file."""
        return self.targets or ((TrunkTarget(uri=self.target),) if self.target is not None else ())
