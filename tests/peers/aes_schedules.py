"""AES keys in memory, found by what every implementation computes of them (FIPS 197 §5.2), as forensic tools find them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_PIECE_WORDS = 4 * 1024 * 1024
_LONGEST_WORDS = 16
"""Words of a schedule that are looked at."""

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key whose first rounds follow it in memory."""

    offset: int
    key: bytes


def find_keys(memory: bytes) -> Iterator[FoundKey]:
    """Every AES-128 and AES-256 key of which the expanded form is in `memory` at a multiple of four."""
    words: Words = np.frombuffer(memory, dtype="<u4", count=len(memory) // 4)
    for start in range(0, len(words), _PIECE_WORDS):
        piece = words[start : start + _PIECE_WORDS + _LONGEST_WORDS]
        for length in (4, 8):
            for place in _schedules(piece, length):
                offset = 4 * (start + int(place))
                yield FoundKey(offset, memory[offset : offset + 4 * length])


def _schedules(words: Words, length: int) -> Words:
    """Places where a key of so many words is followed by its expansion."""
    if len(words) < _LONGEST_WORDS:
        return np.empty(0, dtype=np.uint32)
    span = len(words) - _LONGEST_WORDS + 1
    made = [words[place : place + span] for place in range(_LONGEST_WORDS)]
    fits = made[length] != 0
    for place in range(1, 4):
        fits &= made[length + place] == made[place] ^ made[length + place - 1]
    places: Words = np.flatnonzero(fits).astype(np.uint32)
    first = words[places] ^ _substituted(_rotated(words[places + length - 1])) ^ np.uint32(1)
    places = places[words[places + length] == first]
    # The next word that is not only a sum (for long keys without rotation and round constant).
    last = words[places + 2 * length - 1] if length == 4 else words[places + 11]
    if length == 4:
        expected = words[places + 4] ^ _substituted(_rotated(last)) ^ np.uint32(2)
        return places[words[places + 8] == expected]
    return places[words[places + 12] == words[places + 4] ^ _substituted(last)]


def _rotated(words: Words) -> Words:
    return (words >> np.uint32(8)) | (words << np.uint32(24))


def _substituted(words: Words) -> Words:
    return _box()[words.view(np.uint8)].view(np.uint32)


@cache
def _box() -> NDArray[np.uint8]:
    """The S-box (FIPS 197 §5.1.1)."""
    box = np.zeros(256, dtype=np.uint8)
    power = inverse = 1
    while True:
        power ^= (power << 1) ^ (0x11B if power & 0x80 else 0)  # by three, which reaches every number but zero
        power &= 0xFF
        for shift in (1, 2, 4):  # by its inverse
            inverse ^= inverse << shift
        inverse &= 0xFF
        if inverse & 0x80:
            inverse ^= 0x09
        box[power] = (
            0x63 ^ inverse ^ _turned(inverse, 1) ^ _turned(inverse, 2) ^ _turned(inverse, 3) ^ _turned(inverse, 4)
        )
        if power == 1:
            break
    box[0] = 0x63
    return box


def _turned(byte: int, by: int) -> int:
    return (byte << by | byte >> (8 - by)) & 0xFF
