"""Commands to the packet engine, as they cross the boundary (msgpack maps tagged by `type`).

`id` names the object that a command is about; it is chosen by the sender (see `mediaserver.engine.ids`), and its upper
16 bits are the shard. A track must be on the shard of its transport. `request`, where given, is echoed in exactly one
`CommandDone` or `CommandFailed`. Durations are milliseconds, addresses are `(ip, port)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mediaserver.engine.config import PageCertificate

Address = tuple[str, int]
"""IP address as text and UDP port."""

Kind = Literal["audio", "video"]
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


class ClipPacket(msgspec.Struct, frozen=True, kw_only=True):
    """One RTP payload of a clip."""

    timestamp: int
    """Clock units since the start of the clip."""
    marker: bool
    keyframe: bool
    payload: bytes


class ClipTrack(msgspec.Struct, frozen=True, kw_only=True):
    """One encoding of a clip; a down track takes the one that its peer can decode."""

    codec: str
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = {}
    packets: tuple[ClipPacket, ...]
    duration_ms: int


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all commands."""

    id: int
    request: int | None = None


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


class AddUpTrack(Command, frozen=True, kw_only=True, tag="add_up_track"):
    """Media that comes in over `transport`."""

    transport: int
    kind: Kind
    mid: str | None = None
    payloads: tuple[Payload, ...] = ()
    """What the peer may send. `rtx` rows (fmtp `apt`) and `red` rows belong here, too."""
    ssrcs: tuple[int, ...] = ()
    """SSRCs of the medium that the peer's description names, without those of retransmissions."""
    rtx_ssrcs: Mapping[int, int] = {}
    """SSRC of retransmissions to the SSRC that they repair (`a=ssrc-group:FID`, RFC 5576 §4.2, turned round)."""
    rids: tuple[str, ...] = ()
    """Simulcast layers in the order of our `a=simulcast:recv` (RFC 8853), at most 8; empty: one stream.

    A packet finds its layer by the extensions `rid` and `repaired-rid` (`SetExtensions`), until a receiver report
    lets the browser leave them out; their order says nothing, layers are ranked by size and bitrate as measured."""
    closed_gates: tuple[str, ...] = ()
    """Gates that start closed: `consent`, `mute`, `queued`, `permission`."""


class UpdateUpTrack(Command, frozen=True, kw_only=True, tag="update_up_track"):
    """New payload types, SSRCs or layers after a renegotiation; they replace the old ones whole."""

    payloads: tuple[Payload, ...]
    ssrcs: tuple[int, ...] = ()
    rtx_ssrcs: Mapping[int, int] = {}
    rids: tuple[str, ...] = ()
    """A layer that stays keeps its state; one that is not named any more ends."""


class SetGate(Command, frozen=True, kw_only=True, tag="set_gate"):
    """Open or close a gate of an up track; a packet passes only when all are open."""

    gate: Literal["consent", "mute", "queued", "permission"]
    open: bool


class WatchSpeech(Command, frozen=True, kw_only=True, tag="watch_speech"):
    """Whether `SpeechChanged` is wanted of an up track of sound; by default it is not."""

    on: bool


class RequestKeyframe(Command, frozen=True, kw_only=True, tag="request_keyframe"):
    """Ask the sender of an up track for a keyframe (coalesced and limited)."""


class RemoveUpTrack(Command, frozen=True, kw_only=True, tag="remove_up_track"):
    """Its subscribers fall silent."""


class AddDownTrack(Command, frozen=True, kw_only=True, tag="add_down_track"):
    """Media that we send over `transport`."""

    transport: int
    kind: Kind
    mid: str | None = None
    ssrc: int
    rtx_ssrc: int | None = None
    """SSRC of our retransmissions (RFC 4588), which our description puts into a FID group with `ssrc`. They are sent
    when `payloads` have a row `rtx`, too; otherwise lost packets are answered by a keyframe request to the source."""
    cname: str
    payloads: tuple[Payload, ...] = ()
    """What the peer accepts, with its payload types, in order of preference."""


class UpdateDownTrack(Command, frozen=True, kw_only=True, tag="update_down_track"):
    """New payload types, or sending switched off and on (hold)."""

    payloads: tuple[Payload, ...]
    active: bool = True


class SetDownTrackTarget(Command, frozen=True, kw_only=True, tag="set_down_track_target"):
    """The most that a receiver shall get of its source, whichever that is; replaces the target before it whole.

    The engine forwards the best live layer within these bounds; bandwidth allocation may choose less, never more.
    Without the command there is no bound and the priority is 100. Answered by `DownTrackLayerChanged` when another
    layer flows, and by `UpTrackLayersWanted` of the source when its publisher could switch a layer off or on."""

    max_width: int | None = None
    max_height: int | None = None
    """Size of the picture in pixels, compared as the publisher sends it, unrotated."""
    max_macroblocks: int | None = None
    """Area of the picture in macroblocks of 16 x 16 pixels, begun ones counted whole."""
    max_spatial: int | None = None
    """Index of the layer, counted from 0 for the smallest that the publisher is known to send."""
    max_temporal: int | None = None
    """Temporal layer, 0 for the lowest frame rate."""
    max_bitrate_bps: int | None = None
    """Measured bitrate of the layer with all its temporal layers."""
    strict: bool = False
    """The size is a decoder's limit: nothing is forwarded rather than a larger picture. Without it the size is a wish,
    as rank and bitrate always are: where no layer meets the wishes, the smallest one is forwarded."""
    priority: int = 100
    """Who gets bandwidth first among the tracks of one receiver, 0 to 255; 0 is the last."""
    is_screen: bool = False
    """The source is a shared screen: the packets carry the mark of one."""
    paused: bool = False
    """Forward nothing, without a gap in sequence numbers; the picture comes back with a keyframe."""


class RemoveDownTrack(Command, frozen=True, kw_only=True, tag="remove_down_track"):
    """Stop sending for good (RTCP BYE)."""


class Subscribe(Command, frozen=True, kw_only=True, tag="subscribe"):
    """Send the up track `up` on this down track from now on; an earlier source gives way without a gap in numbers."""

    up: int


class Unsubscribe(Command, frozen=True, kw_only=True, tag="unsubscribe"):
    """Send nothing on this down track."""


class LoadClip(Command, frozen=True, kw_only=True, tag="load_clip"):
    """Keep packets for playing, on every shard."""

    tracks: tuple[ClipTrack, ...]


class UnloadClip(Command, frozen=True, kw_only=True, tag="unload_clip"):
    """Forget a clip; what plays now plays on to its end."""


class Play(Command, frozen=True, kw_only=True, tag="play"):
    """Start the down tracks `ids` together with a clip, in place of their source until it ends. `id` is the clip."""

    ids: tuple[int, ...]
    clip: int
    loop: bool = False


class StopPlaying(Command, frozen=True, kw_only=True, tag="stop_playing"):
    """End clips on the down tracks `ids`; `id` is any of them."""

    ids: tuple[int, ...]


class SendDtmf(Command, frozen=True, kw_only=True, tag="send_dtmf"):
    """Send digits as telephone events (RFC 4733) on a down track."""

    digits: str
    duration_ms: int = 160
    gap_ms: int = 60


class OpenTranscoder(Command, frozen=True, kw_only=True, tag="open_transcoder"):
    """Makes an up track of its own out of another one, in another codec; the id is on an audio thread.

    Codec names are those of `a=rtpmap`. Refused with `limit transcodes` when all are in use."""

    source: int
    """The up track that is decoded, on any shard."""
    source_codec: str
    """What it sends; when something else comes, that is decoded."""
    codec: str
    """What it becomes, in frames of 20 ms."""


class CloseTranscoder(Command, frozen=True, kw_only=True, tag="close_transcoder"):
    """Ends a transcoder; those who are subscribed to it hear nothing more."""


class MixVoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whose sound goes into a mix."""

    source: int
    """An up track on any shard."""
    codec: str
    """What it sends; when something else comes, that is decoded."""
    judged: bool = True
    """Whether `SpeechChanged` is to be made of what is decoded; not where `WatchSpeech` makes it of what packets say."""


class MixListener(msgspec.Struct, frozen=True, kw_only=True):
    """Who hears a mix."""

    id: int
    """The up track that is made for it: an id on the audio thread of the mix."""
    codec: str
    """What it gets, in frames of 20 ms."""
    without: tuple[int, ...] = ()
    """Sources that it does not hear: its own, and those that are not meant for it."""


class SetMix(Command, frozen=True, kw_only=True, tag="set_mix"):
    """Makes a mix, or makes it what it is to be from now on; the id is on an audio thread.

    Each voice is decoded once, each listener gets the sum of all voices but those `without`. Who stays is not disturbed.
    `SpeechChanged` follows for each `judged` source that speaks louder or quieter. Refused as a whole with
    `limit mixed_legs` when all are in use, or with more than 64 voices or listeners."""

    voices: tuple[MixVoice, ...]
    listeners: tuple[MixListener, ...]


class CloseMix(Command, frozen=True, kw_only=True, tag="close_mix"):
    """Ends a mix; those who are subscribed to its tracks hear nothing more."""


class ReadStats(Command, frozen=True, kw_only=True, tag="read_stats"):
    """Answered by `Stats`; `id` is any of `ids`, which must all be on one shard."""

    ids: tuple[int, ...]


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    """Does nothing, and is answered by `CommandDone`; `id` is any of the thread that is to answer."""


class AcceptData(Command, frozen=True, kw_only=True, tag="accept_data"):
    """A WebRTC transport has agreed on data channels (RFC 8831). Only the first one counts: the association stays.

    A channel takes messages of 64 KiB; beyond 16 channels, and with more than 256 KiB waiting on one of them or
    512 KiB on all, an unreliable channel loses messages and a reliable one is closed."""

    local_port: int = 5000
    remote_port: int = 5000
    remote_message_bytes: int = 65_536
    """The peer's `a=max-message-size`; 0 means any."""
    messages_per_second: int = 100
    """What the peer may send over all its channels; twice as many may come at once. The rest is dropped and counted."""
    bytes_per_second: int = 524_288


class OpenChannel(Command, frozen=True, kw_only=True, tag="open_channel"):
    """Open a data channel from our side; `ChannelOpened` follows when the peer has it."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime_ms: int | None = None
    """Not together with `max_retransmits`; with neither the channel is reliable."""
    negotiated: int | None = None
    """The stream that both sides agreed on elsewhere; None opens the channel in band (RFC 8832)."""


class CloseChannel(Command, frozen=True, kw_only=True, tag="close_channel"):
    """Close a data channel of the transport `id`; `ChannelClosed` follows."""

    stream: int


class JoinTopic(Command, frozen=True, kw_only=True, tag="join_topic"):
    """Put a data channel of the transport `id` into a topic, in place of the one it was in.

    What it sends goes to every other channel of the topic, on whichever shard. What it sent before it was in any
    topic follows now, in order. Where nobody else is in the topic yet, the messages of a reliable channel wait for the
    first who comes. 256 messages and 256 KiB of a channel are held, 512 KiB of a transport, for 20 s."""

    stream: int
    topic: int
    """Any id (`Engine.new_id`) that names no other topic; it is there as long as somebody is in it."""
    may_send: bool = True
    may_receive: bool = True
    report: bool = False
    """Its messages come as `ChannelMessage`, too."""
    sender: str = ""
    """Whom its messages are from, at most 128 bytes of one line. A channel that was opened with the protocol
    `mediaserver.named` gets each message as `SENDER\\nMESSAGE`; others get the message alone."""


class LeaveTopic(Command, frozen=True, kw_only=True, tag="leave_topic"):
    """Take a data channel of the transport `id` out of its topic."""

    stream: int


class TextFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Payload types of one direction of real-time text: `t140/1000`, and `red/1000` of it where it is agreed on."""

    t140: int
    red: int | None = None


class OpenText(Command, frozen=True, kw_only=True, tag="open_text"):
    """Carry real-time text (RFC 4103) on an RTP transport without tracks, or under other formats from now on.

    It is one data channel on stream 0, open at once and without `ChannelOpened`, which `JoinTopic` puts into a topic.
    Lost text comes as U+FFFD; 8 KiB wait for the phone, and what is written beyond them is lost, counted and marked."""

    ssrc: int
    cname: str
    receive: TextFormat
    send: TextFormat | None
    """The phone's formats; None while nothing may be sent, and then it waits."""
    characters_per_second: int = 30
    """The phone's `cps`: a mean over ten seconds (RFC 4103 §6)."""


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Send on one data channel of the transport `id`; text is UTF-8."""

    stream: int
    text: bool = True
    payload: bytes


class Publish(Command, frozen=True, kw_only=True, tag="publish"):
    """Send to every channel of the topic `id`; text is UTF-8."""

    text: bool = True
    payload: bytes


class OpenMediaLink(Command, frozen=True, kw_only=True, tag="open_media_link"):
    """Begin a link of the shard of `id` to a worker of an Edge; `MediaLinkUp` follows when the Edge answers.

    Our end is a socket of the link's own, so a firewall need let nothing in."""

    edge: Address
    """The worker's socket for Cores."""
    bind_ip: str = "0.0.0.0"
    """Local address from which the link is opened, of the same family."""
    key: bytes
    """32 random bytes, which the worker was given by `SetMediaLink` for this core and shard."""
    path_bytes_per_second: int = 0
    """What one visitor may send through the Edge once its address is proven; 0 for no bound."""
    tls_link: int | None = None
    """The link by whose TLS connection frames go where UDP does not pass."""
    worker: int = 0
    """Number of the Edge's worker."""


class CloseMediaLink(Command, frozen=True, kw_only=True, tag="close_media_link"):
    """End a link; the Edge notices by its silence."""


class SetUfragKey(Command, frozen=True, kw_only=True, tag="set_ufrag_key"):
    """The shard of `id` signs ufrags by another key from now on; those that the last one signed count on."""

    key_id: int
    """Below 256, another one than the last key has."""
    key: bytes
    """32 bytes."""


class LeaveMediaLink(Command, frozen=True, kw_only=True, tag="leave_media_link"):
    """The Edge of a link is lost, or shall be left: media that went over it goes another proven way where there is one, and
    `EdgeLeft` follows for each such transport. Nothing is forgotten, for the Edge may come back."""


class SweepMediaLink(Command, frozen=True, kw_only=True, tag="sweep_media_link"):
    """Forget the paths over a link by which no media goes; `MediaLinkSwept` answers."""


class SetEdgeAddresses(Command, frozen=True, kw_only=True, tag="set_edge_addresses"):
    """Where visitors reach the shard of `id` over Edges: candidates of every `IceTransportOpened` from now on, behind
    those of the shard's own sockets. Replaces what was said before."""

    addresses: tuple[Address, ...]
    tcp_addresses: tuple[Address, ...] = ()
    """The same by TCP (RFC 6544)."""


class SetCoreKey(Command, frozen=True, kw_only=True, tag="set_core_key"):
    """On an Edge's worker: a key by which a Core signs ICE user fragments. A third one of a Core replaces its oldest."""

    core: int
    key_id: int
    key: bytes


class RemoveCoreKey(Command, frozen=True, kw_only=True, tag="remove_core_key"):
    """On an Edge's worker: what this key signed is refused from now on."""

    core: int
    key_id: int


class SetMediaLink(Command, frozen=True, kw_only=True, tag="set_media_link"):
    """On an Edge's worker: a shard of a Core may open a link with this key; `EdgeLinkUp` follows when it has."""

    core: int
    shard: int
    key: bytes


class RemoveMediaLink(Command, frozen=True, kw_only=True, tag="remove_media_link"):
    """On an Edge's worker: the link and its visitors' paths end."""

    core: int
    shard: int


class RevokeSessions(Command, frozen=True, kw_only=True, tag="revoke_sessions"):
    """On an Edge's worker: these transports of a Core have ended; their paths close, their user fragments are refused."""

    core: int
    sessions: tuple[int, ...]
    """Ids of transports."""


class SetTurnSecrets(Command, frozen=True, kw_only=True, tag="set_turn_secrets"):
    """Other secrets for time-limited TURN names; `id` names nothing."""

    secrets: tuple[bytes, ...]


class DrainTurn(Command, frozen=True, kw_only=True, tag="drain_turn"):
    """New TURN clients are sent to one of these, or away where there is none; None ends that. `id` names nothing."""

    alternates: tuple[Address, ...] | None


class SetSharedTls(Command, frozen=True, kw_only=True, tag="set_shared_tls"):
    """Other names, certificates and proxies for the connections that come to the shared TLS port from now on; where it
    listens stays. `id` names nothing."""

    binds: tuple[str, ...]
    names: tuple[str, ...]
    certificate_chain: tuple[bytes, ...]
    private_key_der: bytes
    page_certificate: PageCertificate | None
    trusted_proxies: tuple[str, ...]


class LinkCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who this end of a link is, and who vouches for the other; PEM."""

    certificate_chain_pem: bytes
    private_key_pem: bytes
    issuers_pem: bytes

    def __repr__(self) -> str:
        return "LinkCredentials(...)"


class LinkPin(msgspec.Struct, frozen=True, kw_only=True):
    """A Core that a listener admits. Several pins may name the same link, while its certificate changes."""

    link: int
    """Id of the link that this Core has when it comes, chosen by the sender."""
    name: str
    """DNS name in its certificate."""
    fingerprint: bytes
    """SHA-256 of its certificate (DER)."""


class DialLink(Command, frozen=True, kw_only=True, tag="dial_link"):
    """Keep a link to an Edge from now on (TLS 1.3, certificates both ways). `LinkUp` and `LinkDown` tell how it goes.

    Links belong to no shard; their ids may be of any."""

    address: Address
    server_name: str
    """DNS name in the Edge's certificate."""
    fingerprint: bytes
    """SHA-256 of the Edge's certificate (DER)."""
    credentials: LinkCredentials
    media: bool = False
    """Keep a second connection for media frames, where UDP is blocked."""


class ListenLink(Command, frozen=True, kw_only=True, tag="listen_link"):
    """Admit Cores from now on; answered by `LinkListening`. Of one Core the newest connection stays."""

    bind: Address
    credentials: LinkCredentials
    cores: tuple[LinkPin, ...]


class OpenEdgePorts(Command, frozen=True, kw_only=True, tag="open_edge_ports"):
    """On an Edge's thread: open a pair of ports for media of a Core's transport; answered by `EdgePortsOpened`. They end
    with the session (`RevokeSessions`), with the Core's life, and after an hour in which nobody sent."""

    core: int
    transport: int
    ip: str
    """Address to bind."""


class AimEdgePorts(Command, frozen=True, kw_only=True, tag="aim_edge_ports"):
    """On an Edge's thread: where the peer's media comes from by its description, and how long others may come in its
    place."""

    core: int
    transport: int
    rtp: Address | None = None
    rtcp: Address | None = None
    latching_ms: int = 0


Service = Literal["page", "sip", "dialled"]
"""What a connection is for."""


class CarryStream(Command, frozen=True, kw_only=True, tag="carry_stream"):
    """Carry a visitor's connection to the other end of the link; `StreamOpened` follows there. Where the link is down the
    connection is closed."""

    fd: int
    """A connected TCP socket; it belongs to the engine from now on."""
    source: Address
    local: Address
    server_name: str
    service: Service = "page"
    number: int = 0
    """The Core's own number of a connection that it had opened."""


class CloseLink(Command, frozen=True, kw_only=True, tag="close_link"):
    """Close what was dialled or listens under `id`, with its links; `LinkDown` follows for those that were up."""


class SetLinkBusy(Command, frozen=True, kw_only=True, tag="set_link_busy"):
    """Whether paths exist on the link: then its other end is asked for a sign of life every 500 ms instead of every 5 s,
    and it comes back within 500 ms."""

    busy: bool


class SendLinkMessage(Command, frozen=True, kw_only=True, tag="send_link_message"):
    """Send a control message, at most 256 KiB; at most 4 MiB wait. Refused while the link is down."""

    payload: bytes


AnyCommand = (
    OpenIceTransport
    | SetIceRemote
    | RestartIce
    | OpenRtpTransport
    | SetRtpRemote
    | SetExtensions
    | CloseTransport
    | AddUpTrack
    | UpdateUpTrack
    | SetGate
    | WatchSpeech
    | RequestKeyframe
    | RemoveUpTrack
    | AddDownTrack
    | UpdateDownTrack
    | SetDownTrackTarget
    | RemoveDownTrack
    | Subscribe
    | Unsubscribe
    | LoadClip
    | UnloadClip
    | Play
    | StopPlaying
    | SendDtmf
    | OpenTranscoder
    | CloseTranscoder
    | SetMix
    | CloseMix
    | ReadStats
    | Ping
    | AcceptData
    | OpenChannel
    | CloseChannel
    | JoinTopic
    | LeaveTopic
    | OpenText
    | SendMessage
    | Publish
    | OpenMediaLink
    | CloseMediaLink
    | SetUfragKey
    | LeaveMediaLink
    | SweepMediaLink
    | SetEdgeAddresses
    | OpenEdgePorts
    | AimEdgePorts
    | SetCoreKey
    | RemoveCoreKey
    | SetMediaLink
    | RemoveMediaLink
    | RevokeSessions
    | SetTurnSecrets
    | DrainTurn
    | SetSharedTls
    | DialLink
    | ListenLink
    | CarryStream
    | CloseLink
    | SetLinkBusy
    | SendLinkMessage
)
"""Every command; used by tests to read a batch back."""
