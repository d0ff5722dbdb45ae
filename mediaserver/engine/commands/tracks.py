"""Commands about tracks: what is taken from one peer and given to others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mediaserver.engine.commands.command import Command
from mediaserver.engine.commands.transports import Payload

Kind = Literal["audio", "video"]


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
