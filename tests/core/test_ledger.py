"""The ledger: exact sums, floors that are kept, loans that come back, and budgets that change under live calls."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.ledger import Change, Grant, Ledger, Shortage
from mediaserver.core.sites import Hop

MUNICH, BERLIN = Hop("site", "munich"), Hop("site", "berlin")
LINE = Hop("link", "berlin/munich")
HOPS = (MUNICH, BERLIN, LINE)


def ledger_of(**video: int) -> tuple[Ledger, dict[Hop, int]]:
    budgets = {hop: video[hop.name] for hop in (MUNICH, BERLIN) if hop.name in video}
    return Ledger(lambda hop, kind: budgets.get(hop) if kind == "video" else None), budgets


def test_a_reservation_is_counted_on_every_hop_of_its_way() -> None:
    ledger, _ = ledger_of(munich=100, berlin=60)
    assert ledger.reserve("a", "video", (MUNICH, LINE, BERLIN), floor=10, wanted=50) == Grant(50)
    assert [ledger.used(hop, "video") for hop in HOPS] == [50, 50, 50]
    assert ledger.used(MUNICH, "audio") == 0


def test_a_floor_that_does_not_fit_reserves_nothing_and_names_the_hop() -> None:
    ledger, _ = ledger_of(munich=100, berlin=5)
    assert ledger.reserve("a", "video", (MUNICH, LINE, BERLIN), floor=10, wanted=50) == Shortage(BERLIN, 5)
    assert len(ledger) == 0
    assert ledger.used(MUNICH, "video") == 0


def test_what_is_above_a_floor_is_a_loan_and_the_largest_is_taken_back_first() -> None:
    ledger, _ = ledger_of(munich=100)
    ledger.reserve("small", "video", (MUNICH,), floor=10, wanted=30)
    ledger.reserve("large", "video", (MUNICH,), floor=10, wanted=70)
    grant = ledger.reserve("new", "video", (MUNICH,), floor=20, wanted=90)
    assert grant == Grant(20, (Change("large", "video", 70, 50),), MUNICH)
    assert ledger.granted("small", "video") == 30


def test_floors_are_never_taken_back() -> None:
    ledger, _ = ledger_of(munich=100)
    for name in "abcd":
        ledger.reserve(name, "video", (MUNICH,), floor=25, wanted=100)
    assert [ledger.granted(name, "video") for name in "abcd"] == [25, 25, 25, 25]
    assert ledger.reserve("e", "video", (MUNICH,), floor=1, wanted=1) == Shortage(MUNICH, 0)


def test_releasing_twice_is_releasing_once() -> None:
    ledger, _ = ledger_of(munich=100)
    ledger.reserve("a", "video", (MUNICH,), floor=10, wanted=10)
    ledger.reserve("a", "audio", (MUNICH,), floor=5, wanted=5)
    ledger.reserve("b", "video", (MUNICH,), floor=7, wanted=7)
    assert (ledger.release("a"), ledger.release("a"), ledger.release("never")) == (2, 0, 0)
    assert list(ledger.usage()) == [(MUNICH, "video", 7)]


def test_changing_a_reservation_is_charged_the_difference() -> None:
    ledger, _ = ledger_of(munich=100)
    ledger.reserve("a", "video", (MUNICH,), floor=60, wanted=60)
    assert ledger.reserve("a", "video", (MUNICH,), floor=90, wanted=90) == Grant(90)
    assert ledger.reserve("a", "video", (MUNICH,), floor=101, wanted=120) == Shortage(MUNICH, 100)
    assert ledger.used(MUNICH, "video") == 90


def test_what_was_given_back_is_lent_again_in_equal_shares() -> None:
    ledger, _ = ledger_of(munich=100)
    ledger.reserve("gone", "video", (MUNICH,), floor=60, wanted=60)
    ledger.reserve("a", "video", (MUNICH,), floor=20, wanted=100)
    ledger.reserve("b", "video", (MUNICH,), floor=20, wanted=100)
    ledger.release("gone")
    assert set(ledger.grow()) == {Change("a", "video", 20, 50), Change("b", "video", 20, 50)}
    assert ledger.grow() == ()


def test_a_loan_too_small_to_matter_is_not_made() -> None:
    ledger, budgets = ledger_of(munich=100)
    ledger.reserve("a", "video", (MUNICH,), floor=10, wanted=1000)
    budgets[MUNICH] = 105
    assert ledger.grow() == ()
    budgets[MUNICH] = 110
    assert ledger.grow() == (Change("a", "video", 100, 110),)


def test_a_budget_that_falls_takes_loans_back_but_cuts_nobody_and_admits_nobody() -> None:
    ledger, budgets = ledger_of(munich=100)
    ledger.reserve("a", "video", (MUNICH,), floor=30, wanted=40)
    ledger.reserve("b", "video", (MUNICH,), floor=30, wanted=60)
    budgets[MUNICH] = 50
    assert set(ledger.shrink_to_budget()) == {Change("a", "video", 40, 30), Change("b", "video", 60, 30)}
    assert ledger.used(MUNICH, "video") == 60
    assert ledger.reserve("c", "video", (MUNICH,), floor=1, wanted=1) == Shortage(MUNICH, 0)
    assert ledger.reserve("a", "video", (MUNICH,), floor=20, wanted=25) == Grant(25)


@pytest.mark.parametrize(("floor", "wanted"), [(-1, 5), (6, 5)])
def test_numbers_that_make_no_sense_are_a_mistake_of_the_caller(floor: int, wanted: int) -> None:
    ledger, _ = ledger_of()
    with pytest.raises(ValueError, match="floor"):
        ledger.reserve("a", "video", (MUNICH,), floor=floor, wanted=wanted)


def test_a_hop_twice_on_the_way_is_a_mistake_of_the_caller() -> None:
    ledger, _ = ledger_of()
    with pytest.raises(ValueError, match="once"):
        ledger.reserve("a", "video", (MUNICH, MUNICH), floor=1, wanted=1)


IDS = st.sampled_from([f"leg{number}" for number in range(8)])
KINDS: st.SearchStrategy[MediaKind] = st.sampled_from(["audio", "video", "screen"])
WAYS = st.lists(st.sampled_from(HOPS), unique=True, max_size=3)
AMOUNT = st.integers(0, 120)


class Bookkeeper(RuleBasedStateMachine):
    """Any order of calls, compared with sums made from scratch."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets: dict[tuple[Hop, MediaKind], int | None] = {}
        self.ledger = Ledger(lambda hop, kind: self.budgets.get((hop, kind)))
        self.live: dict[tuple[str, MediaKind], tuple[tuple[Hop, ...], int, int]] = {}
        self.last: Counter[tuple[Hop, MediaKind]] = Counter()

    def sums(self) -> Counter[tuple[Hop, MediaKind]]:
        sums: Counter[tuple[Hop, MediaKind]] = Counter()
        for (id, kind), (way, _, _) in self.live.items():
            for hop in way:
                sums[hop, kind] += self.ledger.granted(id, kind) or 0
        return sums

    @rule(id=IDS, kind=KINDS, way=WAYS, floor=AMOUNT, more=AMOUNT)
    def reserve(self, id: str, kind: MediaKind, way: list[Hop], floor: int, more: int) -> None:
        before = self.ledger.granted(id, kind)
        outcome = self.ledger.reserve(id, kind, way, floor=floor, wanted=floor + more)
        if isinstance(outcome, Grant):
            assert floor <= outcome.bps <= floor + more
            assert self.ledger.granted(id, kind) == outcome.bps
            self.live[id, kind] = (tuple(way), floor, floor + more)
        else:
            assert outcome.free < floor
            assert self.ledger.granted(id, kind) == before

    @rule(id=IDS)
    def release(self, id: str) -> None:
        self.ledger.release(id)
        assert self.ledger.release(id) == 0
        self.live = {key: value for key, value in self.live.items() if key[0] != id}

    @rule(hop=st.sampled_from(HOPS), kind=KINDS, budget=st.none() | AMOUNT)
    def reload(self, hop: Hop, kind: MediaKind, budget: int | None) -> None:
        self.budgets[hop, kind] = budget
        self.ledger.shrink_to_budget()

    @rule()
    def grow(self) -> None:
        before = {key: self.ledger.granted(*key) for key in self.live}
        self.ledger.grow()
        assert all((self.ledger.granted(*key) or 0) >= (before[key] or 0) for key in self.live)

    @invariant()
    def sums_are_those_of_the_living(self) -> None:
        sums = self.sums()
        assert {(hop, kind): used for hop, kind, used in self.ledger.usage() if used} == {
            key: used for key, used in sums.items() if used
        }
        assert len(self.ledger) == len(self.live)

    @invariant()
    def every_grant_lies_between_floor_and_wish(self) -> None:
        for key, (_, floor, wanted) in self.live.items():
            assert floor <= (self.ledger.granted(*key) or 0) <= wanted

    @invariant()
    def nothing_goes_over_a_budget_or_further_over_one_that_fell(self) -> None:
        sums = self.sums()
        for hop, kind in sums:
            budget = self.budgets.get((hop, kind))
            assert budget is None or sums[hop, kind] <= max(budget, self.last[hop, kind])
        self.last = sums


TestBookkeeper = Bookkeeper.TestCase
TestBookkeeper.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
