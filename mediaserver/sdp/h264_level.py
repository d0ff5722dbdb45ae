"""What an H.264 decoder takes: the levels of ITU-T H.264 Annex A, and the parameters with which SDP widens them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class H264Level:
    """Limits of a decoder. A macroblock is 16 x 16 pixels; `bps` counts NAL units (RTP payload, nearly)."""

    idc: int
    """`level_idc` as in a profile-level-id: 31 is level 3.1, and 9 is level 1b."""
    macroblocks_per_s: int
    macroblocks: int
    """Most in a picture; its width and height have at most the root of eight times as many each (§A.3.1)."""
    bps: int


# ITU-T H.264 (08/2021) table A-1: level_idc, MaxMBPS, MaxFS, MaxBR in units of 1000 bit/s (VCL) or 1200 bit/s (NAL).
_TABLE: Final = (
    (10, 1_485, 99, 64),
    (9, 1_485, 99, 128),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
    (60, 4_177_920, 139_264, 240_000),
    (61, 8_355_840, 139_264, 480_000),
    (62, 16_711_680, 139_264, 800_000),
)
_RANKS: Final = {row[0]: rank for rank, row in enumerate(_TABLE)}
_1B: Final = 9
_UNNAMED: Final = 31
"""The level of who names none. RFC 6184 §8.1 infers level 1, a picture of 176 x 144, which nobody means who leaves the
parameter out; browsers read 3.1, too."""
_BASELINE, _MAIN, _EXTENDED, _HIGH = 0x42, 0x4D, 0x58, 0x64
_CONSTRAINT_SET3: Final = 0x10


def decoder_level(theirs: Mapping[str, str], ours: Mapping[str, str] | None = None) -> H264Level:
    """What may be sent to the writer of the format parameters `theirs`; `ours` are those of our own description.

    Without `level-asymmetry-allowed` on both sides a level holds for both directions, so the lower one counts
    (RFC 6184 §8.2.2). `max-fs`, `max-mbps` and `max-br` widen a level and never narrow it (§8.1), and so does
    `max-recv-level`.
    """
    rank, factor = _rank(theirs)
    if "max-recv-level" in theirs:
        rank = max(rank, _rank_of(theirs["max-recv-level"], 4, profile=None) or 0)
    asymmetric = (
        ours is not None and theirs.get("level-asymmetry-allowed") == ours.get("level-asymmetry-allowed") == "1"
    )
    if ours is not None and not asymmetric:
        rank = min(rank, _rank(ours)[0])
    idc, per_s, size, rate = _TABLE[rank]
    return H264Level(
        idc=idc,
        macroblocks_per_s=max(per_s, _number(theirs, "max-mbps")),
        macroblocks=max(size, _number(theirs, "max-fs")),
        bps=max(rate, _number(theirs, "max-br")) * factor,
    )


def _rank(fmtp: Mapping[str, str]) -> tuple[int, int]:
    """The row of a profile-level-id, and its bits per unit of MaxBR (table A-1 note, table A-2: cpbBrNalFactor)."""
    text = fmtp.get("profile-level-id", "")
    profile = int(text[:2], 16) if _is_hex(text, 6) else _BASELINE
    rank = _rank_of(text, 6, profile=profile)
    return (_RANKS[_UNNAMED] if rank is None else rank), (1_500 if profile == _HIGH else 1_200)


def _rank_of(text: str, digits: int, *, profile: int | None) -> int | None:
    """The row of the last two bytes of `text`, constraint flags and level; one between two levels is the lower."""
    if not _is_hex(text, digits):
        return None
    constraints, idc = int(text[-4:-2], 16), int(text[-2:], 16)
    # Table A-1 and §A.3.4.1: level 1b is level 1.1 with a flag in the older profiles, a number of its own in others.
    if idc == 11 and constraints & _CONSTRAINT_SET3 and profile in (None, _BASELINE, _MAIN, _EXTENDED):
        idc = _1B
    if idc == _1B:
        return _RANKS[_1B]
    return max((rank for known, rank in _RANKS.items() if known != _1B and known <= idc), default=0)


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(char in "0123456789abcdefABCDEF" for char in text)


def _number(fmtp: Mapping[str, str], name: str) -> int:
    text = fmtp.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
