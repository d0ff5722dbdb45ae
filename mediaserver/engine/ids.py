"""Ids of engine objects: 64-bit numbers chosen by Python whose upper 16 bits name the shard that owns the object."""

from __future__ import annotations

SHARD_SHIFT = 48
MAX_SHARDS = 1 << 16
_NUMBER_MASK = (1 << SHARD_SHIFT) - 1


def make_id(shard: int, number: int) -> int:
    """The id of object `number` on `shard`. Raises ValueError when either does not fit."""
    if not 0 <= shard < MAX_SHARDS:
        raise ValueError(f"shard {shard} does not fit into 16 bits")
    if not 0 <= number <= _NUMBER_MASK:
        raise ValueError(f"number {number} does not fit into 48 bits")
    return (shard << SHARD_SHIFT) | number


def shard_of(object_id: int) -> int:
    """The shard that owns the object."""
    return object_id >> SHARD_SHIFT


class IdSequence:
    """Gives every id once for the life of the process."""

    def __init__(self) -> None:
        self._next = 1

    def next(self, shard: int) -> int:
        """A fresh id on `shard`."""
        number = self._next
        self._next += 1
        return make_id(shard, number)
