"""Real-time text in SDP (RFC 4103 §10): the payload types of an `m=text` section, and the rate that its writer takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mediaserver.sdp.codecs import PayloadTypes, redundancy_for
from mediaserver.sdp.description import Codec, MediaDescription

CLOCK_RATE: Final = 1000
DEFAULT_CHARACTERS_PER_SECOND: Final = 30
"""Of a side that names no `cps` (RFC 4103 §6)."""
_MOST_CHARACTERS_PER_SECOND: Final = 1000
_GENERATIONS: Final = 2

T140: Final = Codec(98, "t140", CLOCK_RATE)


@dataclass(frozen=True, slots=True)
class TextFormats:
    """What one side wrote: its payload types and, in characters a second, the most that it wants to get."""

    t140: int
    red: int | None
    characters_per_second: int


def text_codecs(payload_types: PayloadTypes) -> tuple[Codec, ...]:
    """What we offer: redundancy first, because the first format is what is sent, then the text alone."""
    t140 = payload_types.give(T140)
    red = payload_types.give(Codec(0, "red", CLOCK_RATE))
    blocks = "/".join([str(t140.pt)] * (_GENERATIONS + 1))
    return replace(red, fmtp={blocks: ""}), t140


def text_formats(section: MediaDescription) -> TextFormats | None:
    """What an `m=text` section says; None where it has no T.140."""
    t140 = next((codec for codec in section.codecs if codec.key == "t140" and codec.clock_rate == CLOCK_RATE), None)
    if t140 is None:
        return None
    red = next(iter(text_redundancy(t140, section.codecs)), None)
    return TextFormats(t140.pt, red.pt if red is not None else None, _rate(t140.fmtp.get("cps")))


def text_redundancy(t140: Codec, codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """The redundancy of `codecs` whose blocks are all of `t140` (RFC 4102)."""
    return tuple(codec for codec in redundancy_for([t140], codecs) if codec.clock_rate == CLOCK_RATE)


def _rate(cps: str | None) -> int:
    if cps is None or not (cps.isascii() and cps.isdigit() and len(cps) < 10) or not int(cps):
        return DEFAULT_CHARACTERS_PER_SECOND
    return min(int(cps), _MOST_CHARACTERS_PER_SECOND)
