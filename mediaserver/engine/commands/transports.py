"""Commands about transports: how packets come and go, and what is agreed about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mediaserver.engine.commands.command import Address, Command

SrtpSuite = Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One payload type of a media section."""

    pt: int
    codec: str
    """opus, PCMU, PCMA, G722, telephone-event, H264, VP8, VP9, AV1, red, CN or rtx."""
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = {}
    feedback: tuple[str, ...] = ()
    """`nack`, `nack pli`, `ccm fir`, `ccm tmmbr`, `transport-cc`, `goog-remb`."""


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """One RTP header extension mapping of a transport."""

    id: int
    uri: str


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """Hash of the certificate that the peer must show (RFC 8122)."""

    algorithm: str
    """`sha-256`, `sha-384` or `sha-512`."""
    value: bytes


class SrtpKeys(msgspec.Struct, frozen=True, kw_only=True):
    """SDES keys (RFC 4568); each key is master key and master salt in one piece."""

    local_suite: SrtpSuite
    local_key: bytes
    """What we send with."""
    remote_suite: SrtpSuite
    remote_key: bytes
    """What the peer sends with."""


class DtlsTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the descriptions of a SIP leg say about DTLS (RFC 5763)."""

    association: int
    """Names the association, 32 bits: as long as it stays the same, its keys go on (RFC 8842 §3.1)."""
    role: Literal["server", "client"]
    """Our role."""
    fingerprints: tuple[Fingerprint, ...]


class OpenIceTransport(Command, frozen=True, kw_only=True, tag="open_ice_transport"):
    """Make a WebRTC transport; answered by `IceTransportOpened`."""

    restart_grace_ms: int = 5_000


class SetIceRemote(Command, frozen=True, kw_only=True, tag="set_ice_remote"):
    """What the peer's description said."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    dtls_role: Literal["server", "client"] = "server"
    """Our role."""
    reduced_size: bool = True
    """Feedback needs no report before it (RFC 5506)."""


class RestartIce(Command, frozen=True, kw_only=True, tag="restart_ice"):
    """New local credentials; answered by `IceTransportOpened`; the old ones are honoured for the grace."""


class EdgePorts(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of ports that an Edge has opened for a transport, as peers see it."""

    link: int
    """The media link to the thread of the Edge that has them."""
    ip: str
    rtp_port: int
    rtcp_port: int


class OpenRtpTransport(Command, frozen=True, kw_only=True, tag="open_rtp_transport"):
    """Make a transport with ports of its own for a SIP leg; answered by `RtpTransportOpened`."""

    bind_ip: str
    rtcp_mux: bool = False
    latching_ms: int = 0
    """How long after `SetRtpRemote` media may move the remote address (symmetric RTP); 0 is never."""
    timeout_ms: int = 0
    """Silence after which `MediaTimeout` is sent; 0 is never."""
    edge: EdgePorts | None = None
    """Ports at an Edge in place of our own."""


class SetRtpRemote(Command, frozen=True, kw_only=True, tag="set_rtp_remote"):
    """What the peer's description said; re-arms latching."""

    rtp: Address | None = None
    rtcp: Address | None = None
    rtcp_mux: bool = False
    srtp: SrtpKeys | None = None
    dtls: DtlsTerms | None = None
    """Keys come by DTLS, and `srtp` has no say. Nothing is sent or taken before they are there."""


class SetExtensions(Command, frozen=True, kw_only=True, tag="set_extensions"):
    """RTP header extensions of a transport."""

    extensions: tuple[Extension, ...]


class SetLimits(Command, frozen=True, kw_only=True, tag="set_limits"):
    """Most that all media of a transport take together, in bits per second above UDP; None is no bound.

    What is sent is chosen to fit; the peer is asked to keep to the other, where it negotiated that (REMB, TMMBR).
    """

    send_bps: int | None = None
    receive_bps: int | None = None


class CloseTransport(Command, frozen=True, kw_only=True, tag="close_transport"):
    """Close a transport with its tracks; answered by `TransportClosed`."""

    reason: str = "commanded"


class ReadStats(Command, frozen=True, kw_only=True, tag="read_stats"):
    """Answered by `Stats`; `id` is any of `ids`, which must all be on one shard."""

    ids: tuple[int, ...]


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    """Does nothing, and is answered by `CommandDone`; `id` is any of the thread that is to answer."""
