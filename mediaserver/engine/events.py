"""Events of the packet engine: msgpack maps tagged by `type`; `id` names a transport or a track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mediaserver.engine.commands import Address

CloseReason = Literal[
    "consent_expired", "dtls_failed", "fingerprint_mismatch", "peer_closed", "commanded", "limit", "failed"
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events."""


class IceTransportOpened(Event, frozen=True, kw_only=True, tag="ice_transport_opened"):
    """A WebRTC transport exists or was restarted; these are its local credentials and host candidates."""

    id: int
    ufrag: str
    pwd: str
    addresses: tuple[Address, ...]
    request: int | None = None


class RtpTransportOpened(Event, frozen=True, kw_only=True, tag="rtp_transport_opened"):
    """An RTP transport exists; with RTCP multiplexing both ports are open all the same."""

    id: int
    ip: str
    rtp_port: int
    rtcp_port: int
    request: int | None = None


class CommandDone(Event, frozen=True, kw_only=True, tag="command_done"):
    """The command with this request took effect."""

    request: int


class CommandFailed(Event, frozen=True, kw_only=True, tag="command_failed"):
    """A command was refused; nothing changed."""

    request: int | None
    id: int
    command: str
    reason: str


class TransportConnected(Event, frozen=True, kw_only=True, tag="transport_connected"):
    """Media can flow: ICE proven, DTLS done and fingerprint verified; for RTP the first accepted media."""

    id: int
    remote: Address
    srtp_profile: str
    """`none` for plain RTP."""


class TransportPathChanged(Event, frozen=True, kw_only=True, tag="transport_path_changed"):
    """Media now goes to another address that answered our challenge, or that latching learned."""

    id: int
    remote: Address


class TransportClosed(Event, frozen=True, kw_only=True, tag="transport_closed"):
    """The transport and its tracks are gone."""

    id: int
    reason: CloseReason
    last: TransportStats | None = None
    """Its counters as it went, which can no longer be read."""


class MediaTimeout(Event, frozen=True, kw_only=True, tag="media_timeout"):
    """Nothing came for the time set when the transport was opened."""

    id: int
    silent_ms: int


class MediaResumed(Event, frozen=True, kw_only=True, tag="media_resumed"):
    """Media came again after `MediaTimeout`."""

    id: int


class UpTrackStarted(Event, frozen=True, kw_only=True, tag="up_track_started"):
    """The first packet of an up track came."""

    id: int
    codec: str
    ssrc: int


class KeyframeNeeded(Event, frozen=True, kw_only=True, tag="keyframe_needed"):
    """A receiver needs a keyframe and the peer negotiated neither PLI nor FIR: ask by SIP INFO."""

    id: int


class DtmfReceived(Event, frozen=True, kw_only=True, tag="dtmf_received"):
    """A telephone event ended on an up track; sent once per event."""

    id: int
    digit: str
    duration_ms: int


class PlayFinished(Event, frozen=True, kw_only=True, tag="play_finished"):
    """The clip ended on a down track, or was stopped."""

    id: int
    clip: int


class UpTrackStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of an up track since it began."""

    id: int
    packets: int
    bytes: int
    lost: int
    jitter_ms: float
    keyframes: int
    gated: Mapping[str, int]
    """Packets dropped by each gate."""
    codec: str | None


class DownTrackStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a down track since it began; the `remote_` ones come from the peer's receiver reports."""

    id: int
    packets: int
    bytes: int
    remote_lost: int
    remote_jitter_ms: float
    codec: str | None


class TransportStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a transport since it was opened."""

    id: int
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    round_trip_ms: float | None
    up: tuple[UpTrackStats, ...]
    down: tuple[DownTrackStats, ...]


class Stats(Event, frozen=True, kw_only=True, tag="stats"):
    """Answer to `ReadStats`; transports that do not exist are left out."""

    request: int | None
    transports: tuple[TransportStats, ...]


AnyEvent = (
    IceTransportOpened
    | RtpTransportOpened
    | CommandDone
    | CommandFailed
    | TransportConnected
    | TransportPathChanged
    | TransportClosed
    | MediaTimeout
    | MediaResumed
    | UpTrackStarted
    | KeyframeNeeded
    | DtmfReceived
    | PlayFinished
    | Stats
)
"""Every event; the decoder's type."""
