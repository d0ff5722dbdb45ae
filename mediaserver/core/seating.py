"""Who sits where among a fixed number of places, so that nobody moves who may stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def seat(present: Sequence[_T | None], wanted: Iterable[_T]) -> list[_T | None]:
    """The new occupants of the places whose occupants are `present`.

    The first of `wanted`, as many as there are places, get one; who had one keeps it. A place that nobody wants is None.
    """
    chosen: dict[_T, None] = {}
    for one in wanted:
        # `wanted` may be everybody in a large room: no further than needed.
        if len(chosen) == len(present):
            break
        chosen[one] = None
    places = [occupant if occupant in chosen else None for occupant in present]
    seated = set(places)
    newcomers = (one for one in chosen if one not in seated)
    return [occupant if occupant is not None else next(newcomers, None) for occupant in places]
