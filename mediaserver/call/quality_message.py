"""How a page is told how its line is doing."""

from __future__ import annotations

from mediaserver.call.quality import LegQuality
from mediaserver.webrtc.messages import Quality


def quality_message(quality: LegQuality) -> Quality:
    """The session's message of one interval."""
    return Quality(
        level=quality.level,
        mos=None if quality.mos is None else round(quality.mos, 2),
        round_trip_ms=None if quality.round_trip_ms is None else round(quality.round_trip_ms),
        freezes=sum(picture.freezes for picture in quality.pictures),
    )
