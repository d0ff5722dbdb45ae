"""Which Core an Edge brings a visitor to."""

from __future__ import annotations

from collections import Counter

from mediaserver.daemon.core_choice import REMEMBERED_S, CoreChoice, KnownCore

SOURCES = [f"203.{first}.{second}.7" for first in range(50) for second in range(60)]
BOTH = {"a", "b"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def choice(*cores: KnownCore, clock: Clock | None = None) -> CoreChoice:
    return CoreChoice(cores or (KnownCore("a"), KnownCore("b")), clock=clock or Clock())


def shares(chosen: CoreChoice, present: set[str]) -> Counter[str | None]:
    return Counter(chosen.choose(source, "", present) for source in SOURCES)


def test_visitors_are_shared_by_weight() -> None:
    found = shares(choice(KnownCore("a", 3), KnownCore("b", 1)), BOTH)
    assert 0.70 < found["a"] / len(SOURCES) < 0.80
    assert found["a"] + found["b"] == len(SOURCES)


def test_one_network_comes_to_one_core_over_every_edge_and_by_every_name() -> None:
    one, other = choice(), choice(KnownCore("b"), KnownCore("a"))
    for source in SOURCES:
        first = one.choose(source, "video.bank.example", BOTH)
        assert other.choose(source, "edge1.video.bank.example", BOTH) == first
        assert one.choose(f"{source}1", "", BOTH) == first


def test_a_core_that_is_away_is_skipped_and_others_keep_their_visitors() -> None:
    chosen = choice(KnownCore("a"), KnownCore("b"), KnownCore("c"))
    everybody = {"a", "b", "c"}
    before = {source: chosen.choose(source, "", everybody) for source in SOURCES}
    after = {source: chosen.choose(source, "", {"a", "c"}) for source in SOURCES}
    assert all(after[source] == core for source, core in before.items() if core != "b")
    moved = Counter(after[source] for source, core in before.items() if core == "b")
    assert moved["a"] > 0 < moved["c"]


def test_who_had_to_go_elsewhere_stays_there_until_nothing_was_heard_for_an_hour() -> None:
    clock = Clock()
    chosen = choice(clock=clock)
    source = next(source for source in SOURCES if chosen.choose(source, "", BOTH) == "a")
    assert chosen.choose(source, "", {"b"}) == "b"
    clock.now = REMEMBERED_S - 1
    assert chosen.choose(source, "", BOTH) == "b"
    clock.now += REMEMBERED_S - 1
    assert chosen.choose(source, "", BOTH) == "b"
    clock.now += REMEMBERED_S
    assert chosen.choose(source, "", BOTH) == "a"


def test_what_is_remembered_has_a_bound() -> None:
    chosen = CoreChoice([KnownCore("a"), KnownCore("b", 0)], clock=Clock(), most_remembered=10)
    for source in SOURCES[:30]:
        assert chosen.choose(source, "", {"b"}) == "b"
    # The latest ten, and nobody else.
    assert [chosen.choose(source, "", BOTH) for source in SOURCES[20:30]] == ["b"] * 10
    assert [chosen.choose(source, "", BOTH) for source in SOURCES[:20]] == ["a"] * 20


def test_a_core_in_reserve_takes_those_alone_who_find_no_other() -> None:
    chosen = choice(KnownCore("a"), KnownCore("b", 0))
    assert shares(chosen, BOTH) == {"a": len(SOURCES)}
    assert shares(chosen, {"b"}) == {"b": len(SOURCES)}


def test_a_name_of_one_core_leads_there_or_waits() -> None:
    chosen = choice(KnownCore("a"), KnownCore("b", server_names=frozenset({"b.bank.example"})))
    assert all(chosen.choose(source, "B.bank.example", BOTH) == "b" for source in SOURCES)
    assert chosen.choose(SOURCES[0], "b.bank.example", {"a"}) is None


def test_without_any_core_a_visitor_waits() -> None:
    assert choice().choose(SOURCES[0], "video.bank.example", set()) is None


def by_home(home: str) -> list[str]:
    """Sources whose own Core this is, of different networks."""
    chosen = choice()
    return [source for source in SOURCES if chosen.choose(source, "", BOTH) == home]


def test_a_core_that_drains_gets_nobody_new_and_keeps_those_that_it_has() -> None:
    clock = Clock()
    chosen = choice(clock=clock)
    there, fresh = by_home("a")[:10], by_home("a")[10:20]
    assert {chosen.choose(source, "", BOTH) for source in there} == {"a"}
    clock.now = REMEMBERED_S - 1
    assert {chosen.choose(source, "", BOTH, {"a"}) for source in there} == {"a"}
    assert {chosen.choose(source, "", BOTH, {"a"}) for source in fresh} == {"b"}
    # A neighbour of somebody who is in a call there is new all the same.
    assert chosen.choose(f"{there[0]}1", "", BOTH, {"a"}) == "b"
    assert chosen.choose(there[0], "", BOTH, {"a"}) == "a"
    clock.now += REMEMBERED_S
    assert {chosen.choose(source, "", BOTH, {"a"}) for source in there[1:]} == {"b"}


def test_who_came_while_a_core_drained_stays_elsewhere_when_it_is_back() -> None:
    chosen = choice()
    source = by_home("a")[0]
    assert chosen.choose(source, "", BOTH, {"a"}) == "b"
    assert chosen.choose(source, "", BOTH) == "b"


def test_who_is_in_a_call_comes_to_another_core_when_the_one_that_drained_is_gone() -> None:
    chosen = choice()
    source = by_home("a")[0]
    assert chosen.choose(source, "", BOTH, {"a"}) == "b"
    assert chosen.choose(source, "", BOTH, {"b"}) == "b"
    assert chosen.choose(source, "", {"a"}, {"b"}) == "a"


def test_cores_that_all_drain_take_visitors_as_ever_and_say_no_themselves() -> None:
    chosen = choice()
    source = by_home("a")[0]
    assert chosen.choose(source, "", BOTH, BOTH) == "a"
    assert choice().choose(by_home("b")[0], "", {"a"}, {"a"}) == "a"


def test_a_name_of_one_core_leads_there_also_while_it_drains() -> None:
    chosen = choice(KnownCore("a"), KnownCore("b", server_names=frozenset({"b.bank.example"})))
    assert chosen.choose(SOURCES[0], "b.bank.example", BOTH, {"b"}) == "b"


def test_who_was_brought_where_has_a_bound() -> None:
    chosen = CoreChoice([KnownCore("a"), KnownCore("b")], clock=Clock(), most_remembered=10)
    there = by_home("a")[:20]
    for source in there:
        chosen.choose(source, "", BOTH)
    assert [chosen.choose(source, "", BOTH, {"a"}) for source in there[10:]] == ["a"] * 10
    assert chosen.choose(there[0], "", BOTH, {"a"}) == "b"


def test_a_new_visitor_behind_the_address_of_a_call_comes_to_another_core_once_the_draining_one_said_no() -> None:
    chosen = choice()
    source = by_home("a")[0]
    assert chosen.choose(source, "", BOTH) == "a"
    assert chosen.choose(source, "", BOTH, {"a"}) == "a"
    chosen.forget(source, "a")
    assert [chosen.choose(source, "", BOTH, {"a"}) for _ in range(3)] == ["b"] * 3


def test_who_resumes_behind_the_address_of_a_new_visitor_comes_back_to_the_core_of_the_session() -> None:
    chosen = choice()
    source = by_home("a")[0]
    chosen.choose(source, "", BOTH)
    chosen.forget(source, "a")
    assert chosen.choose(source, "", BOTH, {"a"}) == "b"
    chosen.point(f"::ffff:{source}", "a")
    assert [chosen.choose(source, "", BOTH, {"a"}) for _ in range(3)] == ["a"] * 3
    # The last word counts, and a Core can speak of itself alone.
    chosen.forget(source, "b")
    assert chosen.choose(source, "", BOTH, {"a"}) == "a"
    chosen.forget(source, "a")
    assert chosen.choose(source, "", BOTH, {"a"}) == "b"


def test_who_took_a_call_along_to_another_network_comes_to_its_core_as_long_as_that_is_there() -> None:
    clock = Clock()
    chosen = choice(clock=clock)
    source = by_home("a")[0]
    chosen.point(source, "b")
    for _ in range(3):
        assert chosen.choose(source, "", BOTH) == "b"
        clock.now += REMEMBERED_S - 1
    assert chosen.choose(source, "", {"a"}) == "a"
    clock.now += REMEMBERED_S
    assert chosen.choose(source, "", BOTH) == "a"


def test_who_was_pointed_where_has_a_bound() -> None:
    chosen = CoreChoice([KnownCore("a"), KnownCore("b")], clock=Clock(), most_remembered=10)
    there = by_home("a")[:20]
    for source in there:
        chosen.point(source, "b")
    assert [chosen.choose(source, "", BOTH) for source in there] == ["a"] * 10 + ["b"] * 10
