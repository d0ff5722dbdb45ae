"""Admission control for what speaks WebRTC: an offer is narrowed to what its lines have room for."""

from __future__ import annotations

from dataclasses import replace

from mediaserver.call.booking import Booking
from mediaserver.call.leg import KINDS
from mediaserver.config.bandwidth import MediaKind
from mediaserver.sdp.bandwidth import bandwidth_lines
from mediaserver.sdp.codecs import matches, ordered
from mediaserver.sdp.description import Bandwidth, Codec
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.section import MediaPolicy


def admitted_policy(booking: Booking, policy: MediaPolicy, offer_sdp: str) -> MediaPolicy:
    """`policy` as far as there is bandwidth for what the browser offers; a kind without room has no codec left.

    Reserves what is left. Raises InsufficientBandwidth, SdpError.
    """
    sections = [media for media in parse(offer_sdp).media if not media.rejected]
    wanted: dict[MediaKind, tuple[Codec, ...]] = {}
    for kind in KINDS:
        offered = [codec for media in sections if media.kind == kind for codec in media.codecs]
        if kind in policy.only:
            offered = [codec for codec in offered if any(matches(codec, each) for each in policy.only[kind])]
        found = ordered(offered, policy.codecs(kind))
        if found:
            wanted[kind] = found
    allowed = booking.narrow(wanted)
    names = {kind: {codec.key for codec in allowed.get(kind, ())} for kind in KINDS}
    return replace(
        policy,
        audio=tuple(name for name in policy.audio if name.lower() in names["audio"]),
        video=tuple(name for name in policy.video if name.lower() in names["video"]),
        bandwidth=rate_lines(booking),
    )


def rate_lines(booking: Booking) -> dict[str, tuple[Bandwidth, ...]]:
    """The `b=` lines of our descriptions by kind; browsers send no more than they say."""
    caps = {kind: booking.cap(kind) for kind in KINDS}
    return {kind: bandwidth_lines(kind, cap, booking.packets) for kind, cap in caps.items() if cap}
