"""Text to session description: tolerant of what real peers write, bounded, and exact about the line that is wrong.

Tolerated: bare LF or CR, no final line end, missing `s=` and `t=`, an empty `s=`, lines in odd order within a level,
repeated properties, unknown lines and attributes. A malformed attribute that only informs is kept as text; one that
media depends on is an SdpError.
"""

from __future__ import annotations

from typing import Final

from mediaserver._engine import parse_candidate, parse_sdp, sdp_bounds
from mediaserver.sdp.description import SessionDescription

__all__ = ["MAX_ATTRIBUTES", "MAX_FORMATS", "MAX_LINES", "MAX_LINE_BYTES", "MAX_MEDIA", "parse", "parse_candidate"]

_BOUNDS: Final = sdp_bounds()
MAX_LINES, MAX_LINE_BYTES, MAX_MEDIA, MAX_FORMATS, MAX_ATTRIBUTES = _BOUNDS


def parse(text: str | bytes) -> SessionDescription:
    """Read a session description (RFC 8866).

    Raises SdpError, which names the line, for what cannot be understood or exceeds a bound.
    """
    return parse_sdp(text)
