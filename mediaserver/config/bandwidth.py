"""Bit rates by kind of media, the caps that hold everywhere, and the marks that packets carry."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from mediaserver.config.base import Section
from mediaserver.config.values import Bitrate

MediaKind = Literal["audio", "video", "screen"]
"""What a budget tells apart; a screen is a video stream that shows one (RFC 4796 `slides`)."""

MEDIA_KINDS: Final[tuple[MediaKind, ...]] = ("audio", "video", "screen")


class Rates(Section):
    """Bit rates by kind of media, headers of RTP, UDP and IP included; null is no bound."""

    audio: Bitrate | None = None
    """Sound."""

    video: Bitrate | None = None
    """Cameras."""

    screen: Bitrate | None = None
    """Shared screens."""

    def of(self, kind: MediaKind) -> int | None:
        """Bits per second for a kind; None without a bound."""
        rate: int | None = getattr(self, kind)
        return rate


class Lowest(Section):
    """Least that a picture is useful with; it is reserved before a picture may be sent at all."""

    video: Bitrate = 150_000
    """A camera's."""

    screen: Bitrate = 150_000
    """A shared screen's."""


class Bandwidth(Section):
    """Caps that hold for all sites and trunks, headers of RTP, UDP and IP included."""

    track: Rates = Rates()
    """Most that one track carries; told to phones and browsers by `b=AS` and `b=TIAS`."""

    participant: Rates = Rates()
    """Most that one participant of a room sends, all tracks of a kind together."""

    room: Rates = Rates()
    """Most that all participants of one room send together."""

    lowest: Lowest = Lowest()
    """Least that a picture is useful with; where less is free, a call has none."""


# RFC 2474 §4.2.2 (CS), RFC 2597 §6 (AF), RFC 3246 §2.7 (EF), RFC 5865 §2.3 (VOICE-ADMIT), RFC 8622 §4 (LE).
_NAMED: Final = {
    **{f"CS{number}": number << 3 for number in range(8)},
    **{f"AF{group}{drop}": (group << 3) | (drop << 1) for group in range(1, 5) for drop in range(1, 4)},
    "EF": 46,
    "VA": 44,
    "LE": 1,
}
_NAMES: Final = {value: name for name, value in _NAMED.items()}


def parse_dscp(value: object) -> int:
    """`EF`, `AF41`, `CS3` or a number from 0 to 63 -> the six bits of the mark. Raises `ValueError`."""
    if isinstance(value, str) and value.upper() in _NAMED:
        return _NAMED[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 63:
        return value
    raise ValueError("expected a DSCP: CS0 to CS7, AF11 to AF43, EF, VA, LE, or a number from 0 to 63")


def format_dscp(value: int) -> str | int:
    """The name of a mark, or its number where it has none: 46 -> `EF`."""
    return _NAMES.get(value, value)


DscpValue = Annotated[
    int,
    BeforeValidator(parse_dscp),
    PlainSerializer(format_dscp),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^(CS[0-7]|AF[1-4][1-3]|EF|VA|LE)$"},
                {"type": "integer", "minimum": 0, "maximum": 63},
            ],
            "description": "A DSCP by name or number",
            "examples": ["EF"],
        }
    ),
]
"""The six bits of a mark."""


class Dscp(Section):
    """Marks of outgoing packets (RFC 2474); CS0 is no mark. Networks honour them, or do not."""

    audio: DscpValue = 46
    """Sound (RFC 4594 §4.1)."""

    video: DscpValue = 34
    """Cameras (RFC 4594 §4.3), and what goes beside media on the same ports (RFC 8837 §5)."""

    screen: DscpValue = 26
    """Shared screens."""

    signaling: DscpValue = 24
    """SIP."""
