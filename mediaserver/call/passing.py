"""Which sound and picture go from one leg of a call to the other: all, but for what is muted or on hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mediaserver.call.leg import KINDS, Leg
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind

Link = Callable[[DownTrack | None, UpTrack | None], None]
"""Sends a track to where it goes, or nothing there."""


class Passing:
    """Belongs to one call. What is muted or held stays so when the media of a leg change, and goes with the leg."""

    def __init__(self) -> None:
        self._muted: set[tuple[str, Kind]] = set()
        self._held: dict[str, int | None] = {}

    def is_held(self, leg: Leg) -> bool:
        """Whether a leg is on hold."""
        return leg.id in self._held

    def muted(self, leg: Leg) -> tuple[Kind, ...]:
        """What of a leg the other side does not get."""
        return tuple(kind for kind in KINDS if (leg.id, kind) in self._muted)

    def mute(self, leg: Leg, kinds: Iterable[Kind], *, on: bool) -> None:
        """Keeps what `leg` sends of these kinds from the other side, or no longer; `connect` makes it so."""
        for kind in kinds:
            if on:
                self._muted.add((leg.id, kind))
            else:
                self._muted.discard((leg.id, kind))

    def hold(self, leg: Leg, *, on: bool, clip: int | None = None) -> None:
        """Parts a leg from the other one, both ways, or joins them again. `clip`, of the engine, is what it gets."""
        if on:
            self._held[leg.id] = clip
        else:
            self._held.pop(leg.id, None)

    def clip(self, leg: Leg) -> int | None:
        """What a leg on hold hears."""
        return self._held.get(leg.id)

    def forget(self, leg: Leg) -> None:
        """The leg has left the call."""
        self._held.pop(leg.id, None)
        self._muted -= {(leg.id, kind) for kind in KINDS}

    def connect(self, one: Leg, two: Leg, link: Link) -> None:
        """Lets each leg get what the other one sends and it may have; a call without change costs nothing."""
        clips = [(leg, self._held.get(leg.id)) for leg in (one, two)]
        for leg, clip in clips:
            if clip is None:
                leg.stop_playing()
        host, guest = (one, two) if one.hosts else (two, one)
        if host.hosts:
            host.host(guest, says=self._passes(guest, host), hears=self._passes(host, guest))
        else:
            for kind in KINDS:
                self._pass(two, one, kind, link)
                self._pass(one, two, kind, link)
        for leg, clip in clips:
            if clip is not None:
                leg.play(clip, loop=True)

    def _passes(self, giver: Leg, taker: Leg) -> frozenset[Kind]:
        """What goes from one leg to the other."""
        if giver.id in self._held or taker.id in self._held:
            return frozenset()
        return frozenset(kind for kind in KINDS if (giver.id, kind) not in self._muted)

    def _pass(self, giver: Leg, taker: Leg, kind: Kind, link: Link) -> None:
        given, taken = giver.media.get(kind), taker.media.get(kind)
        passes = given is not None and kind in self._passes(giver, taker)
        link(taken.down if taken is not None else None, given.up if given is not None and passes else None)
