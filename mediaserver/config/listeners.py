"""Sections about addresses: networks, listeners and their certificates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from mediaserver.config.base import FilePath, Name, SecretRef, Section
from mediaserver.config.values import (
    Address,
    Bind,
    Cidr,
    Duration,
    DurationOrNone,
    Origin,
    Port,
    PortRange,
    Ports,
    SocketAddress,
    parse_address,
)


def _bind(value: object) -> IPv4Address | IPv6Address | None:
    if value is None or value == "auto":
        return None
    try:
        return parse_address(value)
    except ValueError:
        raise ValueError("expected auto or an IP address of this machine, like 192.0.2.10 or 2001:db8::10") from None


_HOST_NAME = r"^([A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$"


def _host_name(value: object) -> str:
    if isinstance(value, str) and len(value) <= 253 and re.fullmatch(_HOST_NAME, value):
        return value.lower()
    raise ValueError("expected a name in DNS, like calls.example.org")


HostName = Annotated[
    str,
    BeforeValidator(_host_name),
    WithJsonSchema(
        {"type": "string", "pattern": _HOST_NAME, "description": "A name in DNS", "examples": ["calls.example.org"]}
    ),
]
"""A name in DNS, in lower case."""

BindAddress = Annotated[
    IPv4Address | IPv6Address | None,
    BeforeValidator(_bind),
    PlainSerializer(lambda address: "auto" if address is None else str(address)),
    WithJsonSchema({"type": "string", "description": "auto or an IP address", "examples": ["auto", "192.0.2.10"]}),
]
"""An address of this machine; None is written `auto` and stands for all of them."""


def _tcp_port(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535
    if value is None or value == "same" or number:
        return value
    raise ValueError("expected same, a TCP port of 0 to 65535, or null")


TcpPort = Annotated[
    int | Literal["same"] | None,
    BeforeValidator(_tcp_port),
    WithJsonSchema(
        {
            "anyOf": [{"const": "same"}, {"type": "integer", "minimum": 0, "maximum": 65535}, {"type": "null"}],
            "description": "same, a TCP port, or null",
            "examples": ["same", 443],
        }
    ),
]
"""A TCP port, or the same number as another port of the section."""


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
    """Peers reached through this network, as `mediaserver ports` tells them to a firewall; empty is any peer. Which
    address is used towards a peer is decided by the machine's routes."""


class Certificate(Section):
    """A TLS certificate as PEM files; both null takes a self-signed one made on first start."""

    chain_file: FilePath | None = None
    """Certificate followed by its intermediates, PEM."""

    key_file: FilePath | None = None
    """Private key, PEM; it must be readable by its owner only, or be a credential of the service manager:
    $CREDENTIALS_DIRECTORY/NAME (`LoadCredential=` in the unit)."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Certificate:
        if (self.chain_file is None) != (self.key_file is None):
            raise ValueError("chain_file and key_file go together: give both or neither")
        return self


class HttpListener(Section):
    """Plain HTTP: pages, WebSocket sessions, WHIP and WHEP. Browsers allow camera and microphone on localhost only."""

    bind: tuple[Bind, ...] = (SocketAddress("127.0.0.1", 8080),)
    """Addresses to listen on; an empty list switches the listener off."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """Reverse proxies in front, whose X-Forwarded-For is believed: the last address in it that is none of these is
    the source that limits and logs go by. Empty believes nobody; behind a proxy that is not listed here all visitors
    share the limits of one address."""


class HttpsListener(Section):
    """The same over TLS, for everybody else."""

    bind: tuple[Bind, ...] = (SocketAddress("0.0.0.0", 8443),)
    """Addresses to listen on; an empty list switches the listener off."""

    certificate: Certificate = Certificate()
    """Certificate shown to browsers."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """The same as `trusted_proxies` of plain HTTP, for requests that come in by HTTPS."""


class SharedTlsListener(Section):
    """One TLS port, mostly 443, for all that a firewall lets through as HTTPS: pages, by the name that a browser asks
    for, TURN, and media over TCP (`webrtc.tcp`). Who asks for a name of a page gets it under the certificate of `https`;
    what else comes by TLS is shown the certificate given here."""

    bind: tuple[Bind, ...] = ()
    """Addresses to listen on, like 0.0.0.0:443; an empty list has no such port."""

    names: tuple[HostName, ...] = ()
    """Names of this server's pages, like calls.example.org."""

    turn_name: HostName | None = None
    """Name that `certificate` is for, like turn.example.org, and that leads here: where `turn` is on, pages are told it
    for networks that let nothing but TLS out. null tells them nothing of it."""

    certificate: Certificate = Certificate()
    """Certificate shown to those who ask for another name, or for none."""


class AdminListener(Section):
    """Metrics, health in detail and administration; keep it away from callers."""

    bind: tuple[Bind, ...] = (SocketAddress("127.0.0.1", 9090),)
    """Addresses to listen on; an empty list switches the listener off."""


class SipWebSocket(Section):
    """SIP over WebSocket (RFC 7118) for SIP clients in web pages (JsSIP, SIP.js), on the ports of HTTP and HTTPS."""

    path: Annotated[str, Field(pattern=r"^/sip[A-Za-z0-9._~/-]{0,120}$")] | None = "/sip"
    """Path that clients connect to, like wss://calls.example.org/sip; it begins with /sip. null switches it off."""

    allowed_origins: tuple[Origin, ...] = ("self",)
    """Web origins whose pages may connect: https://www.example.org, https://*.example.org (every name below), `self`
    (the daemon's own pages), `*` (every page). Whoever connects still needs a user's password."""


WebAddress = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2000)]


class CertificateStatus(Section):
    """Who says which client certificates are revoked; without `crls` and `ocsp` nobody does."""

    crls: Annotated[tuple[WebAddress, ...], Field(max_length=16)] = ()
    """Addresses of revocation lists, like http://ca.example.org/devices.crl, each signed by an authority of
    `client_ca_file`."""

    ocsp: WebAddress | None = None
    """Address of the authorities' OCSP responder, asked for certificates of which no list says anything; null asks
    nobody."""

    otherwise: Literal["refuse", "accept"] = "refuse"
    """What becomes of connections while neither can be had, or what they said is too old."""

    refresh: Annotated[Duration, Field(ge=10, le=604_800)] = 3600.0
    """How often lists are fetched, and how long an answer of the responder counts at most."""


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

    shared_tls_names: tuple[HostName, ...] = ()
    """Names, like sip.example.org, whose connections are SIP over TLS where they come by the shared TLS port of this
    machine or of an Edge. That port passes them through where its `names` have them, too."""

    certificate: Certificate = Certificate()
    """Certificate shown to phones and trunks, also to those that ask for one when we call them."""

    client_ca_file: FilePath | None = None
    """Authorities (PEM) that sign the certificates of trunks and phones that prove themselves by one; null asks for none."""

    certificate_status: CertificateStatus = CertificateStatus()
    """Whether such a certificate still holds. What was revoked by `/v1/revoked-certificates` never does."""

    nat_keep_alive: DurationOrNone = 25.0
    """How often phones behind a NAT that registered over UDP are sent an empty packet, so that calls find their way in;
    0s sends none."""

    registration_min: Annotated[Duration, Field(ge=10, le=86_400)] = 60.0
    """Shortest life of a registration; who asks for less is told so (423)."""

    registration_max: Annotated[Duration, Field(ge=10, le=604_800)] = 7200.0
    """Longest life of a registration."""

    session_timer: DurationOrNone = 1800.0
    """How often calls are refreshed, so that those whose other end has vanished come to an end (RFC 4028); 0s asks for
    no refreshing, and takes part where the other end asks."""

    session_timer_min: Annotated[Duration, Field(ge=90, le=86_400)] = 90.0
    """Shortest interval that the other end may ask for; who asks for less is told so (422)."""

    websocket: SipWebSocket = SipWebSocket()
    """SIP clients in web pages."""

    realm: Annotated[str, Field(pattern=r'^[^"\\\s]{1,128}$')] = "mediaserver"
    """Realm of digest authentication, and the domain of users that name none. Changing it changes every digest."""

    @model_validator(mode="after")
    def _shortest_before_longest(self) -> SipListener:
        if self.registration_min > self.registration_max:
            raise ValueError("registration_min is longer than registration_max: give a shorter one")
        if 0 < self.session_timer < self.session_timer_min:
            raise ValueError("session_timer is shorter than session_timer_min: give a longer one, or 0s")
        return self


class WebRtcListener(Section):
    """All media of browsers, on one UDP port, or on a few."""

    networks: tuple[Name, ...] = ("main",)
    """Networks on whose addresses browsers' media arrives."""

    port: Port = 10000
    """The UDP port, the same on every address."""

    port_count: Annotated[int, Field(ge=1, le=64)] = 1
    """UDP ports from `port` on, which engine threads (`media.shards`) take in turn. With one for each thread the kernel
    brings every packet to the thread that works on it; with fewer, many packets go from thread to thread."""

    tcp: TcpPort = "same"
    """TCP port of the same addresses, for browsers that UDP does not get through from (ICE-TCP); they use it only then.
    `same` is the number of `port`, null takes media by UDP only. With it the ports of `shared_tls` take such media, too."""

    @model_validator(mode="after")
    def _all_exist(self) -> Self:
        if self.port + self.port_count - 1 > 65535:
            raise ValueError("port and port_count go beyond 65535: choose a lower port")
        return self

    @property
    def tcp_port(self) -> int | None:
        """The TCP port, if there is one."""
        return self.port if self.tcp == "same" else self.tcp

    @property
    def shown_ports(self) -> str:
        """One port, or the first and last of several."""
        last = self.port + self.port_count - 1
        return str(self.port) if last == self.port or self.port == 0 else f"{self.port}-{last}"


class TurnUser(Section):
    """A user of a TURN server that is open."""

    secret: SecretRef
    """Password."""


class TurnListener(Section):
    """TURN over UDP and TCP (RFC 8656), for browsers whose network lets nothing else out; over TLS by `shared_tls`."""

    port: Port | None = None
    """UDP port; 3478 is what TURN has. null switches TURN off."""

    tcp: TcpPort = "same"
    """TCP port; `same` is the number of `port`, null takes no TURN over plain TCP."""

    networks: tuple[Name, ...] = ("main",)
    """Networks on whose addresses TURN listens."""

    relay: Literal["closed", "open"] = "closed"
    """closed: pages are given credentials for their session, and what they send goes to the daemon's own media and
    nowhere else. open: a general TURN server for the users named here, with real relayed ports."""

    realm: Annotated[str, Field(pattern=r'^[^"\\\s]{1,28}$')] = "mediaserver"
    """Realm of its users; at most 28 bytes, so that nobody gains by asking under another's address."""

    credential_lifetime: Annotated[Duration, Field(ge=60, le=604_800)] = 43_200.0
    """How long the credentials that a page gets are good for something new; what it has begun with them goes on."""

    users: Mapping[Name, TurnUser] = {}
    """Users of an open relay. A reload takes them over: who is gone, or has another password, gets nothing new by the old
    one, and what it has ends by itself, after an hour at the latest."""

    shared_secret: SecretRef | None = None
    """Secret by which others make time-limited credentials for an open relay: the name is EXPIRY:ANY, EXPIRY in seconds
    of Unix time, and the password the base64 of the HMAC-SHA1 of the name."""

    ports: Ports = PortRange(49152, 65535)
    """Relayed UDP ports of an open relay."""

    allowed_peers: tuple[Cidr, ...] = ()
    """Networks that users of an open relay may reach although they are inner ones. Private, loopback, link-local and
    multicast networks and those that tell a cloud's machines their secrets are denied however they are written."""

    denied_peers: tuple[Cidr, ...] = ()
    """Networks that they may not reach beside those."""

    alternates: tuple[Bind, ...] = ()
    """TURN servers that take new clients while this one drains (ALTERNATE-SERVER); empty refuses them."""

    @property
    def tcp_port(self) -> int | None:
        """The TCP port, if there is one."""
        return None if self.port is None else self.port if self.tcp == "same" else self.tcp

    @model_validator(mode="after")
    def _closed_or_open(self) -> Self:
        if self.relay == "open" and not self.users and self.shared_secret is None:
            raise ValueError("an open relay needs users or a shared_secret: nobody could use it")
        if self.relay == "closed" and (self.users or self.shared_secret is not None):
            raise ValueError("users and shared_secret are those of an open relay: give relay: open, or leave them out")
        return self


class Listeners(Section):
    """Where the daemon listens."""

    http: HttpListener = HttpListener()
    """Plain HTTP for browsers on this machine or behind a TLS proxy."""

    https: HttpsListener = HttpsListener()
    """HTTPS and secure WebSockets for browsers."""

    shared_tls: SharedTlsListener = SharedTlsListener()
    """HTTPS on a port that it shares with what is none."""

    admin: AdminListener = AdminListener()
    """Metrics and administration."""

    sip: SipListener = SipListener()
    """SIP over UDP, TCP and TLS."""

    webrtc: WebRtcListener = WebRtcListener()
    """WebRTC media."""

    turn: TurnListener = TurnListener()
    """TURN for browsers."""


class Dns(Section):
    """How names of trunks and phones are looked up (RFC 3263)."""

    servers: tuple[Bind, ...] = ()
    """Name servers to ask, like 192.0.2.53:53; an empty list asks those of this machine's own configuration."""

    timeout: Duration = 3.0
    """How long an answer is waited for; what was known before is used on when none comes."""
