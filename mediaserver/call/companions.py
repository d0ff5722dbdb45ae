"""Legs of people who have another one in the call: a browser that brings the picture of somebody who talks by phone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mediaserver.call.leg import Leg


class Companions:
    """Belongs to one call. A companion is no party: it comes and goes with whom it accompanies."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._alone: set[str] = set()
        """Companions on whose other side nobody had a picture yet."""

    def __contains__(self, leg: Leg) -> bool:
        return leg.id in self._of

    @property
    def of(self) -> Mapping[str, str]:
        """Whom each accompanies, by leg."""
        return self._of

    def add(self, companion: Leg, of: Leg) -> None:
        """Somebody has another leg now."""
        self._of[companion.id] = of.id

    def forget(self, leg: Leg) -> str | None:
        """The leg has left; whom it accompanied, if it did."""
        self._alone.discard(leg.id)
        return self._of.pop(leg.id, None)

    def of_leg(self, leg: Leg, members: Iterable[Leg]) -> list[Leg]:
        """Who accompanies a leg."""
        return [each for each in members if self._of.get(each.id) == leg.id]

    async def meet(self, companion: Leg, other: Leg) -> None:
        """Shows a companion whom it sees."""
        if "video" not in other.media:
            self._alone.add(companion.id)
        else:
            self._alone.discard(companion.id)
        await companion.joined(other)

    def met_by(self, party: Leg, members: Iterable[Leg]) -> list[Leg]:
        """The companions that have waited for somebody's picture, and `party` has one now."""
        if not self._alone or "video" not in party.media:
            return []
        return [each for each in members if each.id in self._alone and self._of[each.id] != party.id]

    async def show(self, members: Sequence[Leg], parties: Sequence[Leg]) -> None:
        """Lets every party have the pictures that the others bring by a second leg."""
        for companion in members:
            of = next((each for each in parties if each.id == self._of.get(companion.id)), None)
            for party in parties if of is not None else ():
                if of is not None and party is not of:
                    await party.see(of, companion)
