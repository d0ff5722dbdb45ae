"""Events of the packet engine: msgpack maps tagged by `type`; `id` names a transport or a track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mediaserver.engine.commands import Address, Service

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
    tcp_addresses: tuple[Address, ...] = ()
    """Where the same is taken over TCP (RFC 6544), passively."""
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
    """Media can flow: ICE proven, DTLS done and fingerprint verified; for RTP without DTLS the first accepted media.

    Comes again when a phone's DTLS association is made anew."""

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


class SpeechChanged(Event, frozen=True, kw_only=True, tag="speech_changed"):
    """Somebody speaks louder or quieter on an up track that is watched (`WatchSpeech`); at most about five times a second.

    Told by the level extension (RFC 6464), above that sender's own background; a sender that tells no levels counts 1
    while it sends."""

    id: int
    loudness: int
    """0 for silence up to 5 for a loud voice; a shout is no louder than that."""


class DtmfReceived(Event, frozen=True, kw_only=True, tag="dtmf_received"):
    """A telephone event ended on an up track; sent once per event."""

    id: int
    digit: str
    duration_ms: int


class PlayFinished(Event, frozen=True, kw_only=True, tag="play_finished"):
    """The clip ended on a down track, or was stopped."""

    id: int
    clip: int


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One simulcast layer of an up track, or one spatial layer of its only stream (SVC)."""

    rid: str | None = None
    """Its name in the publisher's description; None without simulcast."""
    spatial: int = 0
    """Spatial layer within the stream; 0 with simulcast."""
    width: int | None = None
    height: int | None = None
    """Size in pixels by the last keyframe; None before one, and where the codec hides it."""
    bitrate_bps: int = 0
    """Measured, without headers and retransmissions."""
    alive: bool = False
    """Whether packets came within the last half second."""
    wanted: bool = False
    """Whether a receiver may be given it, by its target and subscription."""


class UpTrackLayersChanged(Event, frozen=True, kw_only=True, tag="up_track_layers_changed"):
    """A layer of a picture came to life, fell silent, or changed its size."""

    id: int
    layers: tuple[Layer, ...]
    """From the smallest to the largest; layers never heard of come last."""


class UpTrackLayersWanted(Event, frozen=True, kw_only=True, tag="up_track_layers_wanted"):
    """Which layers any receiver may be given has changed: the publisher can switch the others off.

    Sent at once when more is wanted, and 5 s after less is wanted, so that it follows no flicker. Layers below a
    wanted one count as wanted: they are what a receiver falls back to."""

    id: int
    rids: tuple[str, ...]
    """Simulcast layers that are wanted, in the order of `AddUpTrack.rids`."""
    max_spatial: int | None
    """Highest layer wanted, counted as in `SetDownTrackTarget`; None when nobody wants anything of the track."""


class DownTrackLayerChanged(Event, frozen=True, kw_only=True, tag="down_track_layer_changed"):
    """Another layer flows to a receiver, or none: `state` says why."""

    id: int
    state: Literal["forwarding", "paused", "too_large", "silent"]
    """`too_large`: a strict target, and every live layer is larger; `silent`: the source has no live layer."""
    layer: Layer | None = None
    """What is forwarded from now on; None unless `state` is `forwarding`."""
    temporal: int | None = None
    """Highest temporal layer that is forwarded; None where the stream has none."""


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
    layers: tuple[Layer, ...] = ()
    """Of a picture, as in `UpTrackLayersChanged`."""
    nacked: int = 0
    """Lost packets that the peer was asked to send again; each counts once."""
    recovered: int = 0
    """Lost packets that came by retransmission."""
    freezes: int = 0
    """How often the picture froze as it came (W3C webrtc-stats, `freezeCount`, by the first packet of each frame); of
    simulcast that of the smoothest layer. A gap of 5 s or more is a pause and no freeze."""
    frozen_ms: float = 0.0


class DownTrackStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a down track since it began; the `remote_` ones come from the peer's receiver reports."""

    id: int
    packets: int
    bytes: int
    remote_lost: int
    remote_jitter_ms: float
    codec: str | None
    layer: Layer | None = None
    """What is forwarded now; None for sound, and while nothing is."""
    temporal: int | None = None
    layer_switches: int = 0
    """How often another layer began to flow."""
    nacked: int = 0
    """Packets that the peer asked for again, repetitions included."""
    retransmitted: int = 0
    """Packets sent again."""
    recovered: int = 0
    """Packets that the peer had after all, each once: sent again, or from the redundancy of later ones."""
    freezes: int = 0
    """As for up tracks, of the picture as it left; pauses that were asked for do not count."""
    frozen_ms: float = 0.0


class Bandwidth(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the line to a peer, as of its last feedback."""

    estimate_bps: int
    """What the line carries."""
    acked_bps: int
    """What arrives."""
    queue_ms: float
    """Delay by queues on the line, above the smallest of the last seconds."""
    loss: float
    """Share of packets lost on it, 0 to 1."""
    probes: int
    probes_carried: int
    """Trains of packets sent to try a higher rate, and those that went through."""
    padding_packets: int
    """Packets sent again only for these trains."""
    waiting_bytes: int
    """What waits for its turn, so that the line is not flooded."""


class TransportStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a transport since it was opened."""

    id: int
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    round_trip_ms: float | None
    bandwidth: Bandwidth | None = None
    """None where the peer gives no feedback about what it receives."""
    asked_bps: int | None = None
    """What the peer is asked to send at most, all media together; None is as much as it likes."""
    up: tuple[UpTrackStats, ...]
    down: tuple[DownTrackStats, ...]


class Stats(Event, frozen=True, kw_only=True, tag="stats"):
    """Answer to `ReadStats`; transports that do not exist are left out."""

    request: int | None
    transports: tuple[TransportStats, ...]


class ChannelOpened(Event, frozen=True, kw_only=True, tag="channel_opened"):
    """A data channel of the transport `id` can be used, whoever opened it; it is in no topic yet (`JoinTopic`)."""

    id: int
    stream: int
    label: str
    protocol: str
    """Label and protocol are the peer's words: up to 256 bytes of any text."""
    ordered: bool
    max_retransmits: int | None
    max_lifetime_ms: int | None
    """With neither the channel is reliable."""


class ChannelClosed(Event, frozen=True, kw_only=True, tag="channel_closed"):
    """A data channel is over. It does not come for channels that end with their transport."""

    id: int
    stream: int
    reason: Literal["peer", "commanded", "too_slow", "protocol", "association"]
    """`too_slow`: a reliable channel whose peer did not read; `protocol`: the peer broke the rules or the limits."""


class ChannelMessage(Event, frozen=True, kw_only=True, tag="channel_message"):
    """A message of a channel that joined its topic with `report`."""

    id: int
    stream: int
    text: bool
    """The payload is valid UTF-8."""
    payload: bytes


class MediaLinkUp(Event, frozen=True, kw_only=True, tag="media_link_up"):
    """The Edge at the other end of the link `id` answers, or answers by another way than before."""

    id: int
    way: Literal["udp", "tls"]


class MediaLinkDown(Event, frozen=True, kw_only=True, tag="media_link_down"):
    """It has not answered for two seconds. The link tries on by itself, and its visitors' paths stay."""

    id: int


class EdgeLeft(Event, frozen=True, kw_only=True, tag="edge_left"):
    """Media of the transport `id` went over an Edge that is lost or shall be left: an ICE restart brings the browser to
    another one."""

    id: int


class MediaLinkSwept(Event, frozen=True, kw_only=True, tag="media_link_swept"):
    """Answer to `SweepMediaLink`."""

    id: int
    transports: int
    """Those whose media still goes over the link."""
    request: int | None = None


class EdgeOpened(Event, frozen=True, kw_only=True, tag="edge_opened"):
    """An Edge's worker runs; `id` is the one that `Engine.edge_id` gives."""

    id: int
    public: tuple[Address, ...]
    link: Address


class EdgePortsOpened(Event, frozen=True, kw_only=True, tag="edge_ports_opened"):
    """An Edge's thread has opened a pair of ports for media."""

    id: int
    rtp_port: int
    rtcp_port: int
    request: int | None = None


class EdgePortsClosed(Event, frozen=True, kw_only=True, tag="edge_ports_closed"):
    """They are closed."""

    id: int
    core: int
    transport: int


class EdgeLinkUp(Event, frozen=True, kw_only=True, tag="edge_link_up"):
    """A shard of a Core has proven its address to an Edge's worker, for the first time or anew."""

    id: int
    core: int
    shard: int
    remote: Address | None
    """None over TLS."""
    way: Literal["udp", "tls"]


class EdgeLinkDown(Event, frozen=True, kw_only=True, tag="edge_link_down"):
    """It is silent; its visitors' paths stay, and nobody new is let in."""

    id: int
    core: int
    shard: int


class LinkListening(Event, frozen=True, kw_only=True, tag="link_listening"):
    """Answer to `ListenLink`: the address that was bound."""

    id: int
    address: Address
    request: int | None = None


class LinkUp(Event, frozen=True, kw_only=True, tag="link_up"):
    """The other end of a link is there: control messages can go both ways."""

    id: int
    remote: Address


class LinkDown(Event, frozen=True, kw_only=True, tag="link_down"):
    """A link is down, or an attempt to bring it up failed for another reason than the one before."""

    id: int
    reason: str
    """In words for an operator."""


class LinkMessage(Event, frozen=True, kw_only=True, tag="link_message"):
    """A control message of the other end."""

    id: int
    payload: bytes


class StreamOpened(Event, frozen=True, kw_only=True, tag="stream_opened"):
    """A visitor's connection came, by a link or by the shared TLS port; nothing of it is read yet. Whoever takes the event
    owns the descriptor."""

    id: int
    """The link; 0 is the shared TLS port."""
    stream: int
    """Its number on the link."""
    fd: int
    """A stream socket that does not block; its end is the visitor's end, in both directions. A reset shows as an end."""
    source: Address
    """The visitor's address."""
    local: Address
    """The address that the visitor came to."""
    server_name: str
    """The name that the visitor asked for, lower case; empty for none."""
    service: Service = "page"
    """`page` by the shared TLS port, `sip` by that of SIP over TLS, `dialled` by the Edge for the Core."""
    number: int = 0
    """The Core's own number of a connection that it had the Edge open; else 0."""


class LinkMediaUp(Event, frozen=True, kw_only=True, tag="link_media_up"):
    """Media frames can go over TLS."""

    id: int


class LinkMediaDown(Event, frozen=True, kw_only=True, tag="link_media_down"):
    """No media frames can go over TLS any more."""

    id: int
    reason: str


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
    | UpTrackLayersChanged
    | UpTrackLayersWanted
    | DownTrackLayerChanged
    | KeyframeNeeded
    | SpeechChanged
    | DtmfReceived
    | PlayFinished
    | Stats
    | EdgePortsOpened
    | EdgePortsClosed
    | StreamOpened
    | ChannelOpened
    | ChannelClosed
    | ChannelMessage
    | MediaLinkUp
    | MediaLinkDown
    | EdgeLeft
    | MediaLinkSwept
    | EdgeOpened
    | EdgeLinkUp
    | EdgeLinkDown
    | LinkListening
    | LinkUp
    | LinkDown
    | LinkMessage
    | LinkMediaUp
    | LinkMediaDown
)
"""Every event; the decoder's type."""
