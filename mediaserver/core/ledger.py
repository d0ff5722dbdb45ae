"""Who has reserved how much of which line: exact accounting in bits per second, without any opinion about calls.

A reservation has a floor, which is kept as long as it lives, and a grant between floor and wish. What a grant has above
its floor is a loan: it is taken back, in part or whole, when another floor needs the room, and given again by `grow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.sites import Hop

Key = tuple[str, MediaKind]
"""Id of the leg and kind of its media."""
BudgetOf = Callable[[Hop, MediaKind], int | None]
"""The budget of a hop now, in bits per second; None is none. Asked again every time, so a reload just changes it."""

_WORTH_GROWING = 10
"""A grant grows by at least a tenth, or to its wish: smaller steps would be change for its own sake."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """There is no room for a floor: `hop` has `free` bits per second left, loans included."""

    hop: Hop
    free: int


@dataclass(frozen=True, slots=True)
class Change:
    """A grant that another reservation, or `grow`, has changed."""

    id: str
    kind: MediaKind
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What was reserved, the loans that were taken back for it, and the hop that had no room for more."""

    bps: int
    changes: tuple[Change, ...] = ()
    hop: Hop | None = None


@dataclass(slots=True)
class _Reservation:
    key: Key
    way: tuple[Hop, ...]
    floor: int
    wanted: int
    granted: int = 0


@dataclass(slots=True)
class _Sums:
    granted: int = 0
    floors: int = 0


class Ledger:
    """Reservations by leg and kind. The cost of a call is the length of its way, except where loans are taken back."""

    def __init__(self, budget_of: BudgetOf) -> None:
        self._budget_of = budget_of
        self._reservations: dict[Key, _Reservation] = {}
        self._sums: dict[tuple[Hop, MediaKind], _Sums] = {}
        self._on: dict[tuple[Hop, MediaKind], dict[Key, _Reservation]] = {}

    def __len__(self) -> int:
        return len(self._reservations)

    def reserve(self, id: str, kind: MediaKind, way: Sequence[Hop], *, floor: int, wanted: int) -> Grant | Shortage:
        """Reserves at least `floor` and at most `wanted` on every hop, or nothing at all.

        A second call for the same id and kind takes the place of the first and is charged the difference; when it does
        not fit, the first stays as it was. Less than before always fits. Raises ValueError for numbers that make no
        sense, and for a hop that is on the way twice.
        """
        if not 0 <= floor <= wanted or len(set(way)) != len(way):
            raise ValueError("a reservation needs 0 <= floor <= wanted, and each hop once")
        key = (id, kind)
        old = self._reservations.get(key)
        if old is not None and old.floor == floor and old.wanted == wanted == old.granted and old.way == tuple(way):
            return Grant(wanted)  # it has that already
        for hop in way:
            room = self._room(hop, kind, old, loans=True)
            if room is not None and room < floor:
                return Shortage(hop, max(0, room))
        changes = self._take_back(key, way, floor, old)
        rooms = [(room, hop) for hop in way if (room := self._room(hop, kind, old, loans=False)) is not None]
        room, tight = min(rooms, default=(wanted, None))
        new = _Reservation(key, tuple(way), floor, wanted, min(wanted, room))
        if old is not None:
            self._remove(old)
        self._add(new)
        return Grant(new.granted, changes, tight if room < wanted else None)

    def release(self, id: str, kind: MediaKind | None = None) -> int:
        """Gives back what a leg has, all or of one kind; returns how many reservations that were. Idempotent."""
        kinds: tuple[MediaKind, ...] = ("audio", "video", "screen") if kind is None else (kind,)
        found = [self._reservations[id, each] for each in kinds if (id, each) in self._reservations]
        for reservation in found:
            self._remove(reservation)
        return len(found)

    def granted(self, id: str, kind: MediaKind) -> int | None:
        """Bits per second reserved now; None without a reservation."""
        found = self._reservations.get((id, kind))
        return None if found is None else found.granted

    def used(self, hop: Hop, kind: MediaKind) -> int:
        """The sum of all grants on a hop."""
        found = self._sums.get((hop, kind))
        return found.granted if found is not None else 0

    def usage(self) -> Iterator[tuple[Hop, MediaKind, int]]:
        """Every hop with something reserved on it, by kind."""
        return ((hop, kind, sums.granted) for (hop, kind), sums in sorted(self._sums.items()))

    def grow(self) -> tuple[Change, ...]:
        """Lends what is free to grants below their wish, the smallest first, an equal share to each."""
        below = [one for one in self._reservations.values() if one.granted < one.wanted]
        waiting: dict[tuple[Hop, MediaKind], int] = {}
        for one in below:
            for hop in one.way:
                waiting[hop, one.key[1]] = waiting.get((hop, one.key[1]), 0) + 1
        changes = []
        for one in sorted(below, key=lambda each: (each.granted, each.key)):
            kind, share = one.key[1], one.wanted - one.granted
            for hop in one.way:
                room = self._room(hop, kind, one, loans=False)
                if room is not None:
                    share = min(share, max(0, room - one.granted) // waiting[hop, kind])
                waiting[hop, kind] -= 1
            after = one.granted + share
            if after < one.wanted and share * _WORTH_GROWING < max(1, one.granted):
                continue
            changes.append(self._set(one, after))
        return tuple(changes)

    def shrink_to_budget(self) -> tuple[Change, ...]:
        """After budgets fell: takes loans back wherever more is granted than there is; floors are never touched."""
        changes: list[Change] = []
        for (hop, kind), sums in list(self._sums.items()):
            budget = self._budget_of(hop, kind)
            if budget is not None and sums.granted > budget:
                changes += self._collect(hop, kind, sums.granted - budget, spare=None)
        return tuple(_merged(changes))

    # -- inside --------------------------------------------------------------------------------------------------

    def _room(self, hop: Hop, kind: MediaKind, own: _Reservation | None, *, loans: bool) -> int | None:
        """What `own`, or a new reservation, could have on a hop: what it has already, or what others leave it."""
        budget = self._budget_of(hop, kind)
        if budget is None:
            return None
        sums = self._sums.get((hop, kind), _Sums())
        mine = own is not None and hop in own.way
        has, floor = (own.granted, own.floor) if mine and own is not None else (0, 0)
        others = sums.floors - floor if loans else sums.granted - has
        # A hop over its budget (after a reload) admits nothing new and cuts nobody.
        return max(has, budget - others)

    def _take_back(self, key: Key, way: Sequence[Hop], floor: int, old: _Reservation | None) -> tuple[Change, ...]:
        changes: list[Change] = []
        for hop in way:
            room = self._room(hop, key[1], old, loans=False)
            if room is not None and room < floor:
                changes += self._collect(hop, key[1], floor - room, spare=key)
        return tuple(_merged(changes))

    def _collect(self, hop: Hop, kind: MediaKind, missing: int, *, spare: Key | None) -> list[Change]:
        """Takes `missing` from the largest loans on a hop, so that as few calls as possible notice."""
        lent = [one for key, one in self._on.get((hop, kind), {}).items() if key != spare and one.granted > one.floor]
        changes = []
        for one in sorted(lent, key=lambda each: (each.floor - each.granted, each.key)):
            if missing <= 0:
                break
            taken = min(missing, one.granted - one.floor)
            missing -= taken
            changes.append(self._set(one, one.granted - taken))
        return changes

    def _set(self, reservation: _Reservation, granted: int) -> Change:
        change = Change(*reservation.key, reservation.granted, granted)
        for hop in reservation.way:
            self._sums[hop, reservation.key[1]].granted += granted - reservation.granted
        reservation.granted = granted
        return change

    def _add(self, reservation: _Reservation) -> None:
        kind = reservation.key[1]
        self._reservations[reservation.key] = reservation
        for hop in reservation.way:
            sums = self._sums.setdefault((hop, kind), _Sums())
            sums.granted += reservation.granted
            sums.floors += reservation.floor
            self._on.setdefault((hop, kind), {})[reservation.key] = reservation

    def _remove(self, reservation: _Reservation) -> None:
        kind = reservation.key[1]
        del self._reservations[reservation.key]
        for hop in reservation.way:
            sums, on = self._sums[hop, kind], self._on[hop, kind]
            sums.granted -= reservation.granted
            sums.floors -= reservation.floor
            del on[reservation.key]
            if not on:
                del self._on[hop, kind], self._sums[hop, kind]


def _merged(changes: Sequence[Change]) -> Iterator[Change]:
    """One change for each reservation, from its first value to its last."""
    first: dict[Key, Change] = {}
    for change in changes:
        known = first.get((change.id, change.kind))
        before = known.before if known is not None else change.before
        first[change.id, change.kind] = Change(change.id, change.kind, before, change.after)
    return (change for change in first.values() if change.before != change.after)
