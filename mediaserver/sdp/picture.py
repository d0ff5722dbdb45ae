"""How large a picture a peer takes, by everything that its description says: level, size parameters, `imageattr`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, TypeVar

from mediaserver.sdp.description import Codec, MediaDescription
from mediaserver.sdp.h264_level import decoder_level

_N = TypeVar("_N", int, float)
_MAX_ATTRIBUTES: Final = 8
_MAX_CHARS: Final = 512
"""Of an `imageattr` line, and so many lines: looking for sets takes time by the square of what is looked at."""
_MAX_SETS: Final = 16
_SET: Final = re.compile(r"\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]")
_PARAMETER: Final = re.compile(r"([A-Za-z]+)=(\[[^\]]*\]|[^,\[\]]+)")
_DIRECTION: Final = re.compile(r"(?:^|\s)(send|recv)\s+")


@dataclass(frozen=True, slots=True)
class PictureBounds:
    """The most of a picture; None is no bound. A macroblock is 16 x 16 pixels, begun ones counted whole."""

    max_width: int | None = None
    max_height: int | None = None
    """In pixels."""
    max_macroblocks: int | None = None
    max_macroblocks_per_s: int | None = None
    max_frames_per_s: float | None = None
    max_bps: int | None = None
    """RTP payload."""

    def within(self, other: PictureBounds) -> PictureBounds:
        """What both allow."""
        return PictureBounds(
            _least(self.max_width, other.max_width),
            _least(self.max_height, other.max_height),
            _least(self.max_macroblocks, other.max_macroblocks),
            _least(self.max_macroblocks_per_s, other.max_macroblocks_per_s),
            _least(self.max_frames_per_s, other.max_frames_per_s),
            _least(self.max_bps, other.max_bps),
        )

    @property
    def bounded(self) -> bool:
        """Whether anything is bounded."""
        return self != UNBOUNDED


UNBOUNDED: Final = PictureBounds()


def picture_bounds(section: MediaDescription, theirs: Codec, ours: Codec | None = None) -> PictureBounds:
    """What may be sent to the writer of a section in the codec `theirs` of it; `ours` is its match in our description.

    Reads the H.264 level with what widens it (RFC 6184 §8.1), `max-fs` and `max-fr` of VP8 and VP9 (RFC 7741 §6.1,
    RFC 9628 §6), `a=framerate` (RFC 8866 §6.13) and `a=imageattr` (RFC 6236). What is malformed bounds nothing.
    """
    bounds = _by_codec(theirs, ours)
    rate = _positive(section.attribute("framerate") or "")
    return bounds.within(PictureBounds(max_frames_per_s=rate)).within(_by_imageattr(section, theirs.pt))


def _by_codec(theirs: Codec, ours: Codec | None) -> PictureBounds:
    if theirs.key == "h264":
        level = decoder_level(theirs.fmtp, ours.fmtp if ours is not None else None)
        # ITU-T H.264 §A.3.1: neither side may be longer than the root of eight times the area, in macroblocks.
        side = math.isqrt(8 * level.macroblocks) * 16
        return PictureBounds(side, side, level.macroblocks, level.macroblocks_per_s, None, level.bps)
    if theirs.key in ("vp8", "vp9"):
        rate, size = _positive(theirs.fmtp.get("max-fr", "")), int(_positive(theirs.fmtp.get("max-fs", "")) or 0)
        if not size:
            return PictureBounds(max_frames_per_s=rate)
        side = math.isqrt(8 * size) * 16
        return PictureBounds(side, side, size, None, rate)
    return UNBOUNDED


def _by_imageattr(section: MediaDescription, pt: int) -> PictureBounds:
    """The largest of the sizes that the writer names for receiving; a set with `q=0` is one that it cannot (§3.1.1).

    A sender that does not scale can keep to the largest, not to one of them.
    """
    widths: list[int] = []
    heights: list[int] = []
    values = [found.value or "" for found in section.attributes if found.name == "imageattr"]
    for value in (text[:_MAX_CHARS] for text in values[:_MAX_ATTRIBUTES]):
        number, _, rest = value.partition(" ")
        if number not in ("*", str(pt)):
            continue
        for text in _sets_received(rest)[:_MAX_SETS]:
            parameters = {name.lower(): said for name, said in _PARAMETER.findall(text)}
            width, height = _largest(parameters.get("x", "")), _largest(parameters.get("y", ""))
            if width and height and _positive(parameters.get("q", "0.5")):
                widths.append(width)
                heights.append(height)
    return PictureBounds(max(widths, default=None), max(heights, default=None))


def _sets_received(text: str) -> list[str]:
    """The attribute sets behind `recv`, without their brackets; `*` and nothing are none."""
    parts = _DIRECTION.split(text)
    return [
        found
        for way, sets in zip(parts[1::2], parts[2::2], strict=True)
        if way == "recv"
        for found in _SET.findall(sets)
    ]


def _largest(value: str) -> int | None:
    """The top of `480`, `[320:16:640]`, `[320:640]` or `[320,480,640]` (§3.1.1)."""
    numbers = re.split(r"[:,]", value.strip("[]"))
    if ":" in value:
        numbers = numbers[-1:]
    found = [int(number) for number in numbers if number.isascii() and number.isdecimal() and len(number) <= 6]
    return max(found, default=None)


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def _least(a: _N | None, b: _N | None) -> _N | None:
    return min((value for value in (a, b) if value is not None), default=None)
