"""What the packet engine is started with, as it crosses the boundary (a msgpack map)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the engine; what goes beyond is refused or dropped by name and counted."""

    transports: int = 10_000
    """Transports per shard."""
    tracks_per_transport: int = 64
    """Up and down tracks together."""
    unknown_ssrcs: int = 16
    """SSRCs per transport that belong to no track and are still remembered."""
    half_open: int = 1_000
    """WebRTC transports per shard that have not finished DTLS."""
    clip_bytes: int = 64 * 1024 * 1024
    """Payload bytes of all loaded clips together."""
    transcodes: int = 100
    """Directions of sound that are decoded and encoded at one time."""
    mixed_legs: int = 100
    """Legs that hear others mixed at one time; the voices of all mixes together are at most twice as many."""


class DscpMarks(msgspec.Struct, frozen=True, kw_only=True):
    """Marks of outgoing packets by what they carry (RFC 2474 §3), from 0 to 63."""

    audio: int = 0
    video: int = 0
    """Cameras, and what is not media: STUN, DTLS, RTCP, data channels."""
    screen: int = 0


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The engine of an Edge: threads that carry visitors' datagrams to Cores, and hold no key of theirs."""

    workers: int = 1
    """Threads; their ids follow those of the audio threads and of the TURN server."""
    public_binds: tuple[str, ...]
    """`ip:port` of the public sockets, the same for all workers. Port 0 lets the kernel choose one."""
    link_bind: str
    """`ip:port` of the socket towards Cores, never a public one; each further worker takes the next port."""
    sip_tls_binds: tuple[str, ...] = ()
    """`ip:port` of the sockets for SIP over TLS, whose connections come out as `StreamOpened`, as they are."""
    media_binds: tuple[str, ...] = ()
    """Local addresses on which ports for media of phones and trunks may be opened."""
    media_ports: tuple[int, int] = (20_000, 29_999)
    """First and last of those ports; each thread has its share."""
    paths: int = 65_536
    """Visitors' addresses that one worker knows at a time, 65,536 at the most."""
    unproven_per_prefix: int = 64
    """Of those that have not answered a challenge, from one network (/24 of IPv4, /56 of IPv6)."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of TCP connections of visitors."""

    connections: int = 8_192
    """All together."""
    waiting_per_prefix: int = 64
    """Of one network (/24 of IPv4, /56 of IPv6) before they have proven anything."""


class PageCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What pages are shown under whose TLS ends here."""

    names: tuple[str, ...]
    chain: tuple[bytes, ...]
    """X.509, its own certificate first."""
    private_key_der: bytes
    """PKCS #8."""


class SharedTls(msgspec.Struct, frozen=True, kw_only=True):
    """A TLS port for pages, by their name, and for others."""

    binds: tuple[str, ...]
    """`ip:port` or `[ip6]:port`."""
    names: tuple[str, ...]
    """Connections that ask for one of these come out as `StreamOpened`, as they are."""
    certificate_chain: tuple[bytes, ...]
    """What all others are shown: X.509, its own certificate first."""
    private_key_der: bytes
    """PKCS #8."""
    page_certificate: PageCertificate | None = None
    """With it, TLS of its names ends here: what comes out as `StreamOpened` is what was inside."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies, whose connections begin with a PROXY header (version 2)."""
    ice: tuple[str, ...] = ()
    """`ip:port` as browsers see these sockets, where they take media over TCP too (RFC 6544); with none they take none."""


class OpenRelay(msgspec.Struct, frozen=True, kw_only=True):
    """A relay that leads out into the world."""

    addresses: tuple[tuple[str, str], ...]
    """Local address and the address that peers see, one pair for each family that is relayed."""
    ports: tuple[int, int]
    """First and last relayed UDP port."""
    allowed: tuple[str, ...] = ()
    """Networks that users may reach although they are inner ones."""
    denied: tuple[str, ...] = ()
    """Networks that they may not reach beside those that are denied anyway."""


class TurnConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The TURN server (RFC 8656), on a thread of its own whose index follows those of shards and sound."""

    binds: tuple[str, ...]
    """`ip:port` of the UDP sockets that clients send to; an Edge's public ones may be among them."""
    tcp_binds: tuple[str, ...] = ()
    """The same by TCP."""
    realm: str
    """At most 28 bytes."""
    secrets: tuple[bytes, ...] = ()
    """Make the passwords of time-limited names; the first 16 count."""
    users: tuple[tuple[str, str], ...] = ()
    """Other users: name and password."""
    allocations: int
    """Allocations and reserved ports at one time."""
    allocations_per_user: int
    answers_per_second: int
    """Answers to one source prefix that has proven nothing."""
    open: OpenRelay | None = None
    """Without it data goes to the engine's own media addresses and nowhere else."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the engine must know before its threads start."""

    shards: int = 1
    """Threads that move packets; an Edge may have none."""
    audio_threads: int = 1
    """Threads that decode and encode sound; their ids follow those of the shards."""
    pin: bool = False
    """Bind shard n to CPU n."""
    real_time: bool = False
    """Schedule shards by SCHED_RR, where the system allows it; a shard that takes four fifths of its CPU gives it up."""
    webrtc_binds: tuple[str, ...] = ()
    """`ip:port` or `[ip6]:port`; every shard listens on each of them. Port 0 lets the kernel choose one for all."""
    webrtc_ports: int = 1
    """Ports from that of each bind on, which the shards take in turn."""
    webrtc_tcp_binds: tuple[str, ...] = ()
    """`ip:port` on which the same media is taken over TCP (ICE-TCP, RFC 6544); empty has no thread for it."""
    shared_tls: SharedTls | None = None
    announced: Mapping[str, str] = {}
    """Bind address to the address that peers see (1:1 NAT); absent means the same."""
    sip_binds: tuple[str, ...] = ()
    """Local addresses on which RTP transports may be opened."""
    sip_ports: tuple[int, int] = (20_000, 29_999)
    """First and last UDP port given to RTP transports, taken in even/odd pairs."""
    certificate_der: bytes = b""
    """X.509 certificate for DTLS; without shards none is needed."""
    private_key_der: bytes = b""
    """Its private key, PKCS #8."""
    ufrag_key: bytes = b""
    """32 bytes that sign structured ICE user fragments."""
    edge: EdgeConfig | None = None
    """What this engine is for the Cores of other machines."""
    core_id: int = 0
    key_id: int = 0
    limits: EngineLimits = EngineLimits()
    gso: bool = True
    """Send runs of equal datagrams as one message (UDP_SEGMENT)."""
    receive_buffer_bytes: int = 8 * 1024 * 1024
    """SO_RCVBUF asked for on the shared port; the kernel caps it at net.core.rmem_max."""
    dscp: DscpMarks = DscpMarks()
    turn: TurnConfig | None = None
    """The TURN server; without it there is none."""
    connections: ConnectionLimits = ConnectionLimits()
    media_over_tls: bool = False
    """Media links may go over TLS where UDP does not pass; at an Edge they always may."""
