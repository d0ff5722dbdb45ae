"""Commands to the packet engine, as they cross the boundary (msgpack maps tagged by `type`).

`id` names the object that a command is about; it is chosen by the sender (see `mediaserver.engine.ids`), and its upper
16 bits are the shard. A track must be on the shard of its transport. `request`, where given, is echoed in exactly one
`CommandDone` or `CommandFailed`. Durations are milliseconds, addresses are `(ip, port)`.
"""

from __future__ import annotations

from mediaserver.engine.commands.command import (
    Address,
    Command,
)
from mediaserver.engine.commands.data import (
    AcceptData,
    CloseChannel,
    JoinTopic,
    LeaveTopic,
    OpenChannel,
    OpenText,
    Publish,
    SendMessage,
    TextFormat,
)
from mediaserver.engine.commands.links import (
    CarryStream,
    CloseLink,
    DialLink,
    LinkCredentials,
    LinkPin,
    ListenLink,
    SendLinkMessage,
    Service,
    SetConnectionLimits,
    SetLinkBusy,
    SetSharedTls,
)
from mediaserver.engine.commands.paths import (
    AimEdgePorts,
    CloseMediaLink,
    DrainTurn,
    LeaveMediaLink,
    OpenEdgePorts,
    OpenMediaLink,
    RemoveCoreKey,
    RemoveMediaLink,
    RevokeSessions,
    SetCoreKey,
    SetEdgeAddresses,
    SetMediaLink,
    SetPathLimits,
    SetTurnLimits,
    SetTurnSecrets,
    SetTurnUsers,
    SetUfragKey,
    SweepMediaLink,
)
from mediaserver.engine.commands.sound import (
    ClipPacket,
    ClipTrack,
    CloseMix,
    CloseTranscoder,
    LoadClip,
    MixListener,
    MixVoice,
    OpenTranscoder,
    Play,
    SendDtmf,
    SetMix,
    StopPlaying,
    UnloadClip,
)
from mediaserver.engine.commands.tracks import (
    AddDownTrack,
    AddUpTrack,
    Kind,
    RemoveDownTrack,
    RemoveUpTrack,
    RequestKeyframe,
    SetDownTrackTarget,
    SetGate,
    Subscribe,
    Unsubscribe,
    UpdateDownTrack,
    UpdateUpTrack,
    WatchSpeech,
)
from mediaserver.engine.commands.transports import (
    CloseTransport,
    DtlsTerms,
    EdgePorts,
    Extension,
    Fingerprint,
    OpenIceTransport,
    OpenRtpTransport,
    Payload,
    Ping,
    ReadStats,
    RestartIce,
    SetExtensions,
    SetIceRemote,
    SetLimits,
    SetRtpRemote,
    SrtpKeys,
    SrtpSuite,
)

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
    | SetTurnUsers
    | DrainTurn
    | SetSharedTls
    | SetConnectionLimits
    | SetPathLimits
    | SetTurnLimits
    | DialLink
    | ListenLink
    | CarryStream
    | CloseLink
    | SetLinkBusy
    | SendLinkMessage
)
"""Every command; used by tests to read a batch back."""

__all__ = [
    "AcceptData",
    "AddDownTrack",
    "AddUpTrack",
    "Address",
    "AimEdgePorts",
    "AnyCommand",
    "CarryStream",
    "ClipPacket",
    "ClipTrack",
    "CloseChannel",
    "CloseLink",
    "CloseMediaLink",
    "CloseMix",
    "CloseTranscoder",
    "CloseTransport",
    "Command",
    "DialLink",
    "DrainTurn",
    "DtlsTerms",
    "EdgePorts",
    "Extension",
    "Fingerprint",
    "JoinTopic",
    "Kind",
    "LeaveMediaLink",
    "LeaveTopic",
    "LinkCredentials",
    "LinkPin",
    "ListenLink",
    "LoadClip",
    "MixListener",
    "MixVoice",
    "OpenChannel",
    "OpenEdgePorts",
    "OpenIceTransport",
    "OpenMediaLink",
    "OpenRtpTransport",
    "OpenText",
    "OpenTranscoder",
    "Payload",
    "Ping",
    "Play",
    "Publish",
    "ReadStats",
    "RemoveCoreKey",
    "RemoveDownTrack",
    "RemoveMediaLink",
    "RemoveUpTrack",
    "RequestKeyframe",
    "RestartIce",
    "RevokeSessions",
    "SendDtmf",
    "SendLinkMessage",
    "SendMessage",
    "Service",
    "SetConnectionLimits",
    "SetCoreKey",
    "SetDownTrackTarget",
    "SetEdgeAddresses",
    "SetExtensions",
    "SetGate",
    "SetIceRemote",
    "SetLimits",
    "SetLinkBusy",
    "SetMediaLink",
    "SetMix",
    "SetPathLimits",
    "SetRtpRemote",
    "SetSharedTls",
    "SetTurnLimits",
    "SetTurnSecrets",
    "SetTurnUsers",
    "SetUfragKey",
    "SrtpKeys",
    "SrtpSuite",
    "StopPlaying",
    "Subscribe",
    "SweepMediaLink",
    "TextFormat",
    "UnloadClip",
    "Unsubscribe",
    "UpdateDownTrack",
    "UpdateUpTrack",
    "WatchSpeech",
]
